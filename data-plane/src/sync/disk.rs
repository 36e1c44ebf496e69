//! Keeps the configuration on disk, behind what the node runs: nothing waits for it, and a disk
//! that fails takes nothing from the node but its start without a control plane.

use std::fs::{File, TryLockError};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tollgate_proto::v1;

use super::holding::Holding;
use super::last_good::{LastGood, Position};
use super::readiness::Readiness;
use super::seal;

/// Deltas wait for the disk up to this much; beyond it, they are given up for one whole base.
const QUEUE_LIMIT_BYTES: usize = 16 << 20;
const RETRY_TIME: Duration = Duration::from_secs(10);
const WARNING_TIME: Duration = Duration::from_secs(60);

/// What is to be written.
#[derive(Default)]
struct Batch {
    is_whole_due: bool,
    deltas: Vec<v1::Delta>,
    bytes: usize,
}

/// Where the receiver of the configuration leaves what is to be kept. Never waits.
#[derive(Default)]
pub(super) struct DiskQueue {
    batch: Mutex<Batch>,
    changed: Notify,
}

/// Writes what is queued.
pub(super) struct DiskWriter {
    files: LastGood,
    position: Option<Position>,
    holding: Arc<Mutex<Holding>>,
    /// Held while this process writes, so that two of one folder don't mix their records.
    lock: Option<File>,
}

impl DiskQueue {
    /// A delta that was applied.
    pub(super) fn put_delta(&self, delta: v1::Delta) {
        let bytes = delta_bytes(&delta);
        self.change(|batch| {
            batch.bytes = batch.bytes.saturating_add(bytes);
            if batch.bytes > QUEUE_LIMIT_BYTES {
                batch.is_whole_due = true;
            }
            if batch.is_whole_due {
                batch.deltas = Vec::new();
            } else {
                batch.deltas.push(delta);
            }
        });
    }

    /// What is held is to be written whole.
    pub(super) fn put_whole(&self) {
        self.change(|batch| {
            batch.is_whole_due = true;
            batch.deltas = Vec::new();
        });
    }

    fn change(&self, change: impl FnOnce(&mut Batch)) {
        change(&mut self.batch.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    fn take(&self) -> Option<Batch> {
        let batch = std::mem::take(&mut *self.batch.lock().unwrap_or_else(PoisonError::into_inner));
        (batch.is_whole_due || !batch.deltas.is_empty()).then_some(batch)
    }
}

impl DiskWriter {
    /// Goes on after `position`; where there is none, with a whole base.
    pub(super) fn new(
        files: LastGood,
        position: Option<Position>,
        holding: Arc<Mutex<Holding>>,
    ) -> Self {
        Self { files, position, holding, lock: None }
    }

    /// Writes until it is stopped, and then what is left.
    pub(super) async fn run(
        mut self,
        queue: Arc<DiskQueue>,
        readiness: Arc<Readiness>,
        stop: CancellationToken,
    ) {
        let mut warnings = Warnings::default();
        let mut retry_at: Option<Instant> = None;
        loop {
            let is_last = tokio::select! {
                () = stop.cancelled() => true,
                () = wait(&queue, retry_at) => false,
            };
            if let Some(batch) = queue.take() {
                let written = tokio::task::spawn_blocking(move || {
                    let result = self.write(batch);
                    (self, result)
                });
                let Ok((writer, result)) = written.await else {
                    end_without_writer(&readiness);
                    return;
                };
                self = writer;
                readiness.set_disk_failing(result.is_err());
                retry_at = result.err().map(|error| {
                    warnings.tell(&self.files, &error);
                    queue.put_whole();
                    Instant::now() + RETRY_TIME
                });
            }
            if is_last {
                return;
            }
        }
    }

    fn write(&mut self, batch: Batch) -> io::Result<()> {
        self.lock()?;
        let appended = match &mut self.position {
            Some(position) if !batch.is_whole_due => {
                // A base may have been written after these were queued; it has them.
                let known = position.revision;
                let deltas: Vec<_> =
                    batch.deltas.into_iter().filter(|delta| delta.to > known).collect();
                if deltas.first().is_none_or(|first| first.from == known) {
                    if !deltas.is_empty() {
                        self.files.append(position, &deltas)?;
                    }
                    !position.is_outgrown()
                } else {
                    false
                }
            }
            Some(_) | None => false,
        };
        if appended {
            return Ok(());
        }
        let saved = self.holding.lock().unwrap_or_else(PoisonError::into_inner).to_saved();
        if let Some(saved) = saved {
            self.position = Some(self.files.write_base(saved, self.position)?);
        }
        Ok(())
    }

    fn lock(&mut self) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        seal::make_folder(self.files.folder())?;
        let path = self.files.folder().join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::other("another node uses this folder"),
        })?;
        self.files.remove_leftovers();
        // Another process may have written since this one read.
        self.position = self.position.filter(|position| self.files.ends_at(position));
        self.lock = Some(file);
        Ok(())
    }
}

/// Tells of a disk that fails, but not each time.
#[derive(Default)]
struct Warnings {
    told_at: Option<Instant>,
}

impl Warnings {
    fn tell(&mut self, files: &LastGood, error: &io::Error) {
        if self.told_at.is_none_or(|at| at.elapsed() >= WARNING_TIME) {
            self.told_at = Some(Instant::now());
            let folder = files.folder().display();
            tracing::warn!(%folder, %error, "the configuration is not kept on disk; serving on");
        }
    }
}

/// The thread that wrote has panicked: nothing is kept from now on.
fn end_without_writer(readiness: &Readiness) {
    tracing::error!("the writer of the configuration on disk is gone");
    readiness.set_disk_failing(true);
}

async fn wait(queue: &DiskQueue, retry_at: Option<Instant>) {
    match retry_at {
        // What failed is tried again when its time has come, however much is queued.
        Some(at) => sleep_until(at).await,
        None => queue.changed.notified().await,
    }
}

fn delta_bytes(delta: &v1::Delta) -> usize {
    let upserts = delta.upserts.iter();
    let upserts = upserts.map(|resource| {
        resource.spec.len() + resource.kind.len() + resource.tenant.len() + resource.name.len() + 64
    });
    upserts.sum::<usize>() + delta.removals.len() * 128
}
