//! `tollgate data-plane`: one node, until it is told to stop; then it drains.

use clap::Args;
use tokio_util::sync::CancellationToken;
use tollgate_data_plane::{Node, Settings};

use super::{DONE, Logging, control_runtime, signal};
use crate::failure::{Failure, Outcome};

/// What `tollgate data-plane` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    logging: Logging,
}

/// Carries out `tollgate data-plane`.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome, Failure> {
    arguments.logging.init()?;
    let control = control_runtime()?;
    let node = Node::start(&arguments.settings, control.handle()).map_err(Failure::Node)?;
    tracing::info!(address = %node.address(), status = %node.status_address(), "listening");
    control.block_on(async {
        let shutdown = CancellationToken::new();
        let mut running = std::pin::pin!(node.run(shutdown.clone()));
        tokio::select! {
            () = &mut running => {}
            stop = signal() => {
                stop?;
                shutdown.cancel();
                running.await;
            }
        }
        DONE
    })
}
