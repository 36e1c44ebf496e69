//! `tollgate-control-plane`: settings, logs, run, signal.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tollgate_control_plane::settings::{LogFormat, unknown_variables};
use tollgate_control_plane::{ControlPlane, Settings};

/// Tollgate's control plane: stores what operators say, checks it, and streams it to the nodes.
#[derive(Parser)]
#[command(name = "tollgate-control-plane", version)]
struct Program {
    #[command(flatten)]
    settings: Settings,
    /// What is logged, such as `info` or `info,tollgate=debug`
    #[arg(long, env = "TOLLGATE_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
    /// How it is logged; auto: text on a terminal, else JSON
    #[arg(long, env = "TOLLGATE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
}

#[expect(
    clippy::print_stderr,
    reason = "what keeps it from running is told in one line, whatever is logged"
)]
fn main() -> ExitCode {
    match run_program(Program::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_program(program: Program) -> anyhow::Result<()> {
    tollgate_telemetry::init(&program.log, program.log_format.into())?;
    unknown_variables().iter().for_each(|problem| tracing::warn!("{problem}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(Box::pin(run(program.settings)))
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let plane = ControlPlane::start(settings).await.context("start the control plane")?;
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut running = std::pin::pin!(plane.run(shutdown.clone()));
    let ended = tokio::select! {
        ended = &mut running => ended,
        _ = terminate.recv() => { shutdown.cancel(); running.await }
        _ = interrupt.recv() => { shutdown.cancel(); running.await }
    };
    ended.context("run the control plane")
}
