//! Every revision, encoded once and shared by all streams; and the newest revisions, so that who was away
//! for a moment gets only what it missed.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prost::Message as _;
use tokio::sync::broadcast;
use tollgate_model::ResourceId;
use tollgate_model::wire::Digest;
use tollgate_proto::v1;

use crate::live::LiveState;
use crate::snapshot::delta;

/// The most bytes of one delta: beyond it a snapshot does, which is compressed and comes in pieces. Half
/// of what a gRPC client takes by default.
const DELTA_BYTES: usize = 2 << 20;

/// How much is kept for streams that are behind.
#[derive(Clone, Debug)]
pub struct StreamLimits {
    /// Revisions that wait for a stream before it gets all of them as one.
    pub queue_revisions: usize,
    /// Revisions that are kept for streams that come back.
    pub tail_revisions: usize,
    /// Changed resources that are kept for them; a stream that missed more gets a snapshot.
    pub tail_resources: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { queue_revisions: 128, tail_revisions: 1024, tail_resources: 4096 }
    }
}

/// One revision that took effect.
pub(crate) struct Published {
    pub(crate) from: u64,
    pub(crate) to: u64,
    digest_before: Digest,
    changed: Vec<ResourceId>,
    /// As it goes to nodes; none where it is too large for one message.
    message: Option<v1::ControlMessage>,
    /// When it took effect here.
    at: Instant,
}

impl Published {
    pub(crate) fn new(before: &LiveState, after: &LiveState, changed: Vec<ResourceId>) -> Self {
        let message = message(delta(before.revision(), &changed, after));
        Self {
            from: before.revision(),
            to: after.revision(),
            digest_before: *before.digest(),
            changed,
            message,
            at: Instant::now(),
        }
    }

    pub(crate) fn message(&self) -> Option<v1::ControlMessage> {
        self.message.clone()
    }
}

/// The delta as a message, if it is small enough to be one.
pub(crate) fn message(delta: v1::Delta) -> Option<v1::ControlMessage> {
    let is_small = delta.encoded_len() <= DELTA_BYTES;
    is_small
        .then(|| v1::ControlMessage { message: Some(v1::control_message::Message::Delta(delta)) })
}

/// Hands revisions to streams.
pub(crate) struct Fanout {
    limits: StreamLimits,
    tail: Mutex<Tail>,
    sender: broadcast::Sender<Arc<Published>>,
}

#[derive(Default)]
struct Tail {
    revisions: VecDeque<Arc<Published>>,
    resources: usize,
}

/// What a stream missed.
pub(crate) enum Missed {
    /// These resources differ; each stands there once.
    Resources(Vec<ResourceId>),
    /// More than is kept.
    TooMuch,
    /// It holds something else than this cluster had at that revision.
    Contradicted,
}

impl Fanout {
    pub(crate) fn new(limits: StreamLimits) -> Self {
        let (sender, _) = broadcast::channel(limits.queue_revisions.max(1));
        Self { limits, tail: Mutex::default(), sender }
    }

    /// Keeps a revision for streams that are behind. The caller sees to the order.
    pub(crate) fn keep(&self, published: Arc<Published>) {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.resources += published.changed.len();
        tail.revisions.push_back(published);
        while tail.resources > self.limits.tail_resources
            || tail.revisions.len() > self.limits.tail_revisions
        {
            let Some(oldest) = tail.revisions.pop_front() else { break };
            tail.resources -= oldest.changed.len();
        }
    }

    /// Hands a revision that is kept to all streams.
    pub(crate) fn send(&self, published: Arc<Published>) {
        // Nobody may be listening.
        drop(self.sender.send(published));
    }

    /// Revisions from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Published>> {
        self.sender.subscribe()
    }

    /// What changed after `revision`, whose digest was `digest` where that is known.
    pub(crate) fn missed(&self, revision: u64, digest: Option<&Digest>) -> Missed {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = || tail.revisions.iter().skip_while(|published| published.from < revision);
        let Some(first) = missed().next().filter(|first| first.from == revision) else {
            return Missed::TooMuch;
        };
        if digest.is_some_and(|digest| *digest != first.digest_before) {
            return Missed::Contradicted;
        }
        let changed: BTreeSet<&ResourceId> =
            missed().flat_map(|published| &published.changed).collect();
        Missed::Resources(changed.into_iter().cloned().collect())
    }

    /// When a revision took effect here; none where it is too old to say.
    pub(crate) fn published_at(&self, revision: u64) -> Option<Instant> {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.revisions.iter().rev().find(|published| published.to == revision).map(|found| found.at)
    }

    pub(crate) fn tail_resources(&self) -> usize {
        self.limits.tail_resources
    }
}
