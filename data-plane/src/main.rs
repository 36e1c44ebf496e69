//! One node: settings, telemetry, run, drain.

use anyhow::Context;
use clap::Parser;
use tokio_util::sync::CancellationToken;
use tollgate_data_plane::{Node, Settings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Carries calls by the configuration that a control plane streams to it
#[derive(Parser)]
#[command(name = "tollgate-data-plane", version)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// What is logged, such as `info` or `tollgate=debug`
    #[arg(long, env = "TOLLGATE_LOG", default_value = "info")]
    log: String,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tollgate_telemetry::init(&arguments.log, tollgate_telemetry::Format::Auto)?;
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .context("start the control runtime")?;
    let node = Node::start(&arguments.settings, control.handle())?;
    tracing::info!(address = %node.address(), status = %node.status_address(), "listening");
    let shutdown = CancellationToken::new();
    control.block_on(async {
        let run = node.run(shutdown.clone());
        tokio::pin!(run);
        tokio::select! {
            () = &mut run => {}
            signal = tollgate_data_plane::node::signal() => {
                signal?;
                shutdown.cancel();
                run.await;
            }
        }
        Ok(())
    })
}
