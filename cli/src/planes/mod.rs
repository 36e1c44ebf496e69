//! The verbs that run a plane, or both: `up`, `control-plane`, `data-plane`.

// `tollgate up`.
pub(crate) mod up;
// `tollgate control-plane`.
pub(crate) mod control;
// `tollgate data-plane`.
pub(crate) mod data;

use clap::{Args, ValueEnum};

use crate::failure::{Failure, Outcome};

/// How a plane logs.
#[derive(Args)]
pub(crate) struct Logging {
    /// What is logged, such as `info` or `info,tollgate=debug`
    #[arg(long, env = "TOLLGATE_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
    /// How it is logged; auto: text on a terminal, else JSON
    #[arg(long, env = "TOLLGATE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
}

/// How log events look.
#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people on a terminal, else JSON
    Auto,
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Logging {
    fn init(&self) -> Result<(), Failure> {
        let format = match self.log_format {
            LogFormat::Auto => tollgate_telemetry::Format::Auto,
            LogFormat::Text => tollgate_telemetry::Format::Text,
            LogFormat::Json => tollgate_telemetry::Format::Json,
        };
        tollgate_telemetry::init(&self.log, format).map_err(Failure::Logging)
    }
}

/// The runtime of everything that is not on the path of a call.
fn control_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(Failure::Runtime)
}

/// Waits for the signal to stop.
async fn signal() -> Result<(), Failure> {
    tollgate_data_plane::node::signal().await.map_err(Failure::Runtime)
}

const DONE: Result<Outcome, Failure> = Ok(Outcome::Done);
