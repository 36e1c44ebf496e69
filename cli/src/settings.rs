//! What every verb takes, and the only reader of the environment.

use std::path::PathBuf;

use clap::Args;

use crate::output::Format;

/// The flags that every verb has. A flag comes before its variable, the variable before the context.
#[derive(Clone, Args)]
pub(crate) struct Global {
    /// The admin API, such as <http://127.0.0.1:9080> (default: the context's)
    #[arg(
        long,
        global = true,
        env = "TOLLGATE_SERVER",
        value_name = "URL",
        help_heading = "Global"
    )]
    pub(crate) server: Option<String>,
    /// An administrator's token (default: the context's)
    #[arg(
        long,
        global = true,
        env = "TOLLGATE_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        help_heading = "Global"
    )]
    pub(crate) token: Option<String>,
    /// The tenant of resources that name none (default: the context's, else the token's)
    #[arg(
        long,
        global = true,
        env = "TOLLGATE_TENANT",
        value_name = "NAME",
        help_heading = "Global"
    )]
    pub(crate) tenant: Option<String>,
    /// The context to take server, token and tenant from (default: the current one)
    #[arg(
        long,
        global = true,
        env = "TOLLGATE_CONTEXT",
        value_name = "NAME",
        help_heading = "Global"
    )]
    pub(crate) context: Option<String>,
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t = Format::Table,
        value_name = "FORMAT",
        help_heading = "Global"
    )]
    pub(crate) output: Format,
}

impl Global {
    /// The same flags, with those left out that are there but empty: an empty variable says nothing.
    #[must_use]
    pub(crate) fn without_empty(mut self) -> Self {
        for flag in [&mut self.server, &mut self.token, &mut self.tenant, &mut self.context] {
            if flag.as_deref().is_some_and(|text| text.trim().is_empty()) {
                *flag = None;
            }
        }
        self
    }
}

/// Where the contexts are kept: below `XDG_CONFIG_HOME`, else below `~/.config`. None where the
/// user has no home.
#[must_use]
pub(crate) fn contexts_path() -> Option<PathBuf> {
    // The XDG base directory specification: a path that is not absolute is ignored.
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join("tollgate").join("config.toml"))
}

/// A variable that holds a secret, such as one that a resource file names in `from_env`. None where it is not set or not UTF-8.
#[must_use]
pub(crate) fn secret_variable(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok())
}

/// The user's editor, as a shell takes it: it may have arguments.
#[must_use]
pub(crate) fn editor() -> String {
    let named = |name: &str| std::env::var_os(name).and_then(|value| value.into_string().ok());
    let is_named = |editor: &String| !editor.trim().is_empty();
    named("VISUAL")
        .filter(is_named)
        .or_else(|| named("EDITOR").filter(is_named))
        .unwrap_or_else(|| "vi".to_owned())
}

/// Whether the user refuses colours (<https://no-color.org>), or the terminal has none.
#[must_use]
pub(crate) fn refuses_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}
