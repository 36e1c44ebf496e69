//! `tollgate control-plane`: one control plane, until it is told to stop.

use clap::Args;
use tokio_util::sync::CancellationToken;
use tollgate_control_plane::{ControlPlane, Settings};

use super::{DONE, Logging, control_runtime, signal};
use crate::failure::{Failure, Outcome};

/// What `tollgate control-plane` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    logging: Logging,
}

/// Carries out `tollgate control-plane`.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome, Failure> {
    arguments.logging.init()?;
    for problem in tollgate_control_plane::settings::unknown_variables() {
        tracing::warn!("{problem}");
    }
    control_runtime()?.block_on(serve(arguments.settings))
}

async fn serve(settings: Settings) -> Result<Outcome, Failure> {
    let plane = ControlPlane::start(settings).await.map_err(Failure::ControlPlane)?;
    let shutdown = CancellationToken::new();
    let mut running = std::pin::pin!(plane.run(shutdown.clone()));
    tokio::select! {
        ended = &mut running => ended.map_err(Failure::ControlPlaneEnded)?,
        stop = signal() => {
            stop?;
            shutdown.cancel();
            running.await.map_err(Failure::ControlPlaneEnded)?;
        }
    }
    DONE
}
