//! What a control plane's messages do to what the node holds. No socket here: every message of a
//! session goes through [`Intake::take`], in order, and whatever it is, it cannot break the node.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use prost::Message as _;
use tokio::runtime::{Handle, RuntimeFlavor};
use tollgate_model::wire::Digest;
use tollgate_proto::v1;
use tollgate_proto::v1::control_message::Message;

use super::disk::DiskQueue;
use super::holding::Holding;
use super::pieces::{DECODED_LIMIT_BYTES, unpack};
use super::purger::Purger;
use super::readiness::Readiness;
use crate::plan::Update;

const HEARTBEAT_SECONDS: std::ops::RangeInclusive<u32> = 1..=300;
/// A delta of this many changes is applied where it arrives, which is soonest.
const QUICK_CHANGES: usize = 64;
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(5);

/// What a session has to do after a message.
#[derive(Debug)]
pub(super) enum Taken {
    /// Nothing.
    Nothing,
    /// The session has begun: send heartbeats, and what is said of what runs already.
    Welcome { heartbeat: Duration, applied: Option<v1::Applied> },
    /// Say that purges up to this one are carried out.
    Purged(u64),
    /// Acknowledge; then hand the rest to [`Intake::keep`].
    Applied { applied: v1::Applied, keep: Keep },
}

/// What is left to be kept on disk, once it is acknowledged.
#[derive(Debug)]
pub(super) enum Keep {
    /// A change.
    Delta(v1::Delta),
    /// All that is held.
    Whole,
}

/// Why a session ends: the control plane did what it must not do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Violation {
    #[error("the first message was no welcome")]
    NoWelcome,
    #[error("the control plane welcomed the node twice")]
    SecondWelcome,
    #[error("the control plane sent a key of {bytes} bytes for 32, or no epoch")]
    Welcome { bytes: usize },
    #[error("a delta begins at revision {from}, but {held} is held")]
    OutOfOrder { from: u64, held: u64 },
    #[error("a delta goes from revision {from} to {to}")]
    Backwards { from: u64, to: u64 },
    #[error("a delta came where a snapshot was needed")]
    SnapshotNeeded,
    #[error("the pieces of a snapshot came out of order")]
    PieceOrder,
    #[error("a snapshot is larger than 1 GiB")]
    TooLarge,
    #[error("a snapshot cannot be decoded")]
    Undecodable(#[source] io::Error),
    #[error(
        "the digest of revision {revision} is not that of the control plane; a snapshot is asked for"
    )]
    Digest { revision: u64 },
}

/// Takes the messages of one session after another.
pub(super) struct Intake {
    holding: Arc<Mutex<Holding>>,
    disk: Arc<DiskQueue>,
    readiness: Arc<Readiness>,
    live_nodes: Arc<AtomicU32>,
    purger: Purger,
    /// What is held is not what the control plane means by its revision.
    is_snapshot_wanted: bool,
    session: Option<Session>,
}

struct Session {
    epoch: u64,
    credential_key: [u8; 32],
    /// Whether what is held is what deltas of this session build on.
    takes_deltas: bool,
    snapshot: Option<Snapshot>,
}

/// A snapshot of which some pieces are still to come.
struct Snapshot {
    revision: u64,
    digest: Bytes,
    pieces: VecDeque<Bytes>,
    next_index: u32,
    bytes: u64,
}

impl Intake {
    /// Gives what it takes to `holding`, and says so everywhere else.
    pub(super) fn new(
        holding: Arc<Mutex<Holding>>,
        disk: Arc<DiskQueue>,
        readiness: Arc<Readiness>,
        live_nodes: Arc<AtomicU32>,
        purger: Purger,
    ) -> Self {
        let (is_snapshot_wanted, session) = (false, None);
        Self { holding, disk, readiness, live_nodes, purger, is_snapshot_wanted, session }
    }

    /// The newest purge that is carried out: the epoch that numbered it, and its number.
    pub(super) fn purged(&self) -> (u64, u64) {
        self.purger.held()
    }

    /// Begins a session: the epoch, revision and digest for its Hello.
    pub(super) fn begin(&mut self) -> (u64, u64, Digest) {
        self.session = None;
        if self.is_snapshot_wanted {
            return (0, 0, Digest::default());
        }
        let holding = self.holding();
        match holding.epoch() {
            0 => (0, 0, Digest::default()),
            epoch => (epoch, holding.revision(), holding.digest()),
        }
    }

    /// Takes the next message of a session.
    ///
    /// # Errors
    ///
    /// The session must end. What the node holds is whole nevertheless.
    pub(super) fn take(&mut self, message: v1::ControlMessage) -> Result<Taken, Violation> {
        // What a newer control plane says, and this version does not know, is not for it.
        let Some(message) = message.message else { return Ok(Taken::Nothing) };
        match message {
            Message::Welcome(welcome) => self.welcome(&welcome),
            Message::Snapshot(chunk) => self.chunk(chunk),
            Message::Delta(delta) => self.delta(delta),
            Message::Cluster(cluster) => {
                self.session.as_ref().ok_or(Violation::NoWelcome)?;
                self.set_cluster(cluster);
                Ok(Taken::Nothing)
            }
            // Answered by who has the session.
            Message::Explain(_) => Ok(Taken::Nothing),
            Message::Purges(purges) => {
                let session = self.session.as_ref().ok_or(Violation::NoWelcome)?;
                Ok(Taken::Purged(self.purger.carry_out(session.epoch, &purges)))
            }
        }
    }

    /// Has what was applied kept on disk. Does not wait for the disk.
    pub(super) fn keep(&self, keep: Keep) {
        match keep {
            Keep::Delta(delta) => self.disk.put_delta(delta),
            Keep::Whole => self.disk.put_whole(),
        }
    }

    fn welcome(&mut self, welcome: &v1::Welcome) -> Result<Taken, Violation> {
        if self.session.is_some() {
            return Err(Violation::SecondWelcome);
        }
        let bytes = welcome.credential_key.len();
        let credential_key = <[u8; 32]>::try_from(&*welcome.credential_key);
        let credential_key = credential_key.map_err(|_length| Violation::Welcome { bytes })?;
        if welcome.epoch == 0 {
            return Err(Violation::Welcome { bytes });
        }
        let mut holding = lock(&self.holding);
        let is_held = holding.epoch() == welcome.epoch;
        let takes_deltas = is_held && !self.is_snapshot_wanted;
        // The key of another epoch comes with its snapshot: until then, what is held needs its own.
        if is_held && holding.set_credential_key(&credential_key) {
            self.disk.put_whole();
        }
        let applied = is_held.then(|| applied(&holding));
        drop(holding);
        if takes_deltas {
            self.readiness.set_confirmed();
        }
        if let Some(cluster) = welcome.cluster {
            self.set_cluster(cluster);
        }
        self.session =
            Some(Session { epoch: welcome.epoch, credential_key, takes_deltas, snapshot: None });
        Ok(Taken::Welcome { heartbeat: heartbeat(welcome.heartbeat_seconds), applied })
    }

    fn chunk(&mut self, chunk: v1::SnapshotChunk) -> Result<Taken, Violation> {
        let session = self.session.as_mut().ok_or(Violation::NoWelcome)?;
        let mut snapshot = match session.snapshot.take() {
            Some(snapshot) => snapshot,
            None => Snapshot::begin(&chunk),
        };
        let is_last = chunk.last;
        snapshot.push(chunk)?;
        if !is_last {
            session.snapshot = Some(snapshot);
            return Ok(Taken::Nothing);
        }
        let (epoch, credential_key) = (session.epoch, session.credential_key);
        let holding = Arc::clone(&self.holding);
        let taken = slowly(|| {
            let (revision, digest) = (snapshot.revision, snapshot.digest.clone());
            let update = snapshot.decode()?;
            let mut holding = lock(&holding);
            holding.take_whole(epoch, &credential_key, update);
            let is_same = *holding.digest().as_bytes() == *digest;
            if is_same { Ok(applied(&holding)) } else { Err(Violation::Digest { revision }) }
        });
        self.is_snapshot_wanted = matches!(taken, Err(Violation::Digest { .. }));
        let applied = taken?;
        session.takes_deltas = true;
        self.live(&applied, "snapshot");
        Ok(Taken::Applied { applied, keep: Keep::Whole })
    }

    fn delta(&mut self, mut delta: v1::Delta) -> Result<Taken, Violation> {
        let session = self.session.as_ref().ok_or(Violation::NoWelcome)?;
        if session.snapshot.is_some() {
            return Err(Violation::PieceOrder);
        }
        if !session.takes_deltas {
            return Err(Violation::SnapshotNeeded);
        }
        let (from, to) = (delta.from, delta.to);
        if to <= from {
            return Err(Violation::Backwards { from, to });
        }
        // The connection's buffer is shared by all that arrived with it: one resource that stays
        // would hold all of it.
        for resource in &mut delta.upserts {
            resource.spec = Bytes::copy_from_slice(&resource.spec);
        }
        let changes = delta.upserts.len().saturating_add(delta.removals.len());
        let taken = if changes > QUICK_CHANGES {
            slowly(|| apply(&self.holding, &delta))
        } else {
            apply(&self.holding, &delta)
        };
        if let Err(Violation::Digest { .. }) = taken {
            self.is_snapshot_wanted = true;
        }
        let applied = taken?;
        self.live(&applied, "delta");
        Ok(Taken::Applied { applied, keep: Keep::Delta(delta) })
    }

    fn live(&self, applied: &v1::Applied, by: &'static str) {
        self.readiness.set_held(applied.revision);
        self.readiness.set_confirmed();
        let rejected = applied.rejected.len();
        tracing::info!(revision = applied.revision, rejected, by, "new configuration is live");
    }

    fn set_cluster(&self, cluster: v1::Cluster) {
        self.live_nodes.store(cluster.live_nodes.max(1), Ordering::Relaxed);
    }

    fn holding(&self) -> MutexGuard<'_, Holding> {
        lock(&self.holding)
    }
}

impl Snapshot {
    fn begin(chunk: &v1::SnapshotChunk) -> Self {
        Self {
            revision: chunk.revision,
            digest: chunk.digest.clone(),
            pieces: VecDeque::new(),
            next_index: 0,
            bytes: 0,
        }
    }

    fn push(&mut self, chunk: v1::SnapshotChunk) -> Result<(), Violation> {
        let is_of_it = chunk.revision == self.revision && chunk.digest == self.digest;
        if !is_of_it || chunk.index != self.next_index {
            return Err(Violation::PieceOrder);
        }
        let bytes = u64::try_from(chunk.data.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        self.next_index = self.next_index.checked_add(1).ok_or(Violation::PieceOrder)?;
        if self.bytes > DECODED_LIMIT_BYTES {
            return Err(Violation::TooLarge);
        }
        self.pieces.push_back(chunk.data);
        Ok(())
    }

    /// Checked before it is applied: what is damaged never runs.
    fn decode(self) -> Result<Update, Violation> {
        let revision = self.revision;
        let decoded = unpack(Joined(self.pieces)).map_err(Violation::Undecodable)?;
        // From a slice, so that each specification is of its own.
        let list = v1::ResourceList::decode(decoded.as_slice())
            .map_err(|error| Violation::Undecodable(io::Error::other(error)))?;
        let mut digest = Digest::default();
        for resource in &list.resources {
            digest.toggle(resource);
        }
        if *digest.as_bytes() != *self.digest {
            return Err(Violation::Digest { revision });
        }
        Ok(Update {
            is_whole: true,
            revision,
            upserts: list.resources,
            removals: Vec::new(),
            committed_unix_micros: 0,
        })
    }
}

/// Pieces, read one after another.
struct Joined(VecDeque<Bytes>);

impl Read for Joined {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(piece) = self.0.front_mut() {
            if piece.is_empty() {
                self.0.pop_front();
                continue;
            }
            let bytes = piece.len().min(into.len());
            if let Some(into) = into.get_mut(..bytes) {
                piece.copy_to_slice(into);
            }
            return Ok(bytes);
        }
        Ok(0)
    }
}

fn apply(holding: &Mutex<Holding>, delta: &v1::Delta) -> Result<v1::Applied, Violation> {
    let mut holding = lock(holding);
    let (from, held) = (delta.from, holding.revision());
    if from != held {
        return Err(Violation::OutOfOrder { from, held });
    }
    let began = Instant::now();
    holding.apply(Update {
        is_whole: false,
        revision: delta.to,
        upserts: delta.upserts.clone(),
        removals: delta.removals.clone(),
        committed_unix_micros: delta.committed_unix_micros,
    });
    tracing::debug!(revision = delta.to, duration_us = micros(began.elapsed()), "delta applied");
    if *holding.digest().as_bytes() == *delta.digest {
        Ok(applied(&holding))
    } else {
        Err(Violation::Digest { revision: delta.to })
    }
}

fn lock(holding: &Mutex<Holding>) -> MutexGuard<'_, Holding> {
    holding.lock().unwrap_or_else(PoisonError::into_inner)
}

fn applied(holding: &Holding) -> v1::Applied {
    v1::Applied {
        revision: holding.revision(),
        digest: holding.digest().as_bytes().to_vec().into(),
        rejected: holding.configurator().rejections(),
    }
}

fn heartbeat(seconds: u32) -> Duration {
    match seconds {
        0 => DEFAULT_HEARTBEAT,
        seconds => {
            let seconds = seconds.clamp(*HEARTBEAT_SECONDS.start(), *HEARTBEAT_SECONDS.end());
            Duration::from_secs(seconds.into())
        }
    }
}

/// Does long work without holding up the other tasks of this thread.
fn slowly<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
