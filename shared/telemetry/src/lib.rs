//! How a process of ours logs; the only place that installs a subscriber. It never decides what is
//! logged, and never sees a call: access records go their own way.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log events look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people, on a terminal; else JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter is not one.
    #[error("read the log filter `{filter}`; give one such as `info` or `tollgate=debug`")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber is installed already.
    #[error("install the log subscriber")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// Installs the process's subscriber: events go to standard error, so that standard output stays
/// for what a verb prints and for the access log.
///
/// `filter` is in the syntax of `tracing_subscriber::EnvFilter`, such as `info,tollgate=debug`.
///
/// # Errors
///
/// Where the filter is not one, or a subscriber is installed already.
pub fn init(filter: &str, format: Format) -> Result<(), InitError> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|source| InitError::Filter { filter: filter.to_owned(), source })?;
    let is_json = match format {
        Format::Auto => !std::io::stderr().is_terminal(),
        Format::Text => false,
        Format::Json => true,
    };
    let registry = tracing_subscriber::registry().with(parsed);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if is_json {
        registry.with(layer.json().flatten_event(true)).try_init()?;
    } else {
        let is_terminal = std::io::stderr().is_terminal();
        registry.with(layer.with_target(false).with_ansi(is_terminal)).try_init()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_refused_by_its_text() {
        let error = init("tollgate=loud", Format::Text).unwrap_err();
        assert!(error.to_string().contains("`tollgate=loud`"));
    }
}
