//! Follows the change log and the purges, so that what any control plane commits takes effect on this one,
//! too: in order, each once. A message wakes it where the database has such; it polls to be sure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cause;
use crate::change::{ChangeError, Changes};
use crate::store::Listener;
use crate::stream::Shared;

/// The longest that a revision goes unseen where its message was lost.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// The pause after the store has failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is followed, and who is told.
pub(crate) struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) changes: Changes,
}

/// Whether the log can be followed.
#[derive(Default)]
pub(crate) struct Following {
    is_behind: AtomicBool,
}

impl Following {
    /// Whether a newer Tollgate has written what this one does not know: it serves on with what it has.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }
}

/// Follows the log until the end.
pub(crate) async fn follow(log: Log, following: &Following, stopping: CancellationToken) {
    let mut listener = log.shared.store.listen();
    loop {
        let outcome = tokio::select! {
            () = stopping.cancelled() => return,
            outcome = log.look() => outcome,
        };
        let was_behind = following.is_behind();
        let is_behind = matches!(outcome, Err(ChangeError::Behind(_)));
        following.is_behind.store(is_behind, Ordering::Relaxed);
        let pause = match outcome {
            Ok(()) => None,
            Err(error) => {
                if !was_behind {
                    tracing::error!(error = cause(&error), "follow the change log");
                }
                Some(RETRY_AFTER)
            }
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = wait(pause, listener.as_mut()) => {}
        }
    }
}

impl Log {
    async fn look(&self) -> Result<(), ChangeError> {
        let newest = self.shared.store.newest_revision().await?;
        self.changes.catch_up(newest).await?;
        Ok(self.shared.purges.follow().await?)
    }
}

/// Waits for the next look.
async fn wait(pause: Option<Duration>, listener: Option<&mut Listener>) {
    match (pause, listener) {
        (Some(pause), _) => tokio::time::sleep(pause).await,
        (None, None) => tokio::time::sleep(POLL_EVERY).await,
        (None, Some(listener)) => {
            let told = tokio::time::timeout(POLL_EVERY, listener.changed()).await;
            if let Ok(Err(error)) = told {
                tracing::warn!(error = cause(&error), "hear of new revisions");
                tokio::time::sleep(POLL_EVERY).await;
            }
        }
    }
}
