//! What can be said of a node's configuration at any time, without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::clock;

/// Whether the node can carry calls, and how it stands with its control plane. Cheap to read.
#[derive(Debug, Default)]
pub struct Readiness {
    is_complete: AtomicBool,
    revision: AtomicU64,
    is_connected: AtomicBool,
    changed_unix_micros: AtomicU64,
    is_from_disk: AtomicBool,
    is_draining: AtomicBool,
    is_disk_failing: AtomicBool,
    sessions: AtomicU64,
    problem: ArcSwapOption<String>,
}

impl Readiness {
    /// A node that holds nothing and is not connected.
    #[must_use]
    pub(super) fn new() -> Self {
        let readiness = Self::default();
        readiness.changed_unix_micros.store(clock::unix_micros(), Ordering::Relaxed);
        readiness
    }

    /// Whether the node holds a complete configuration, empty as it may be.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// Whether new calls should come here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_complete() && !self.is_draining()
    }

    /// The revision that the node runs; 0 where it has none.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Whether a control plane has welcomed the node and the stream is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    /// Since when it is connected, or not; microseconds since 1970-01-01.
    #[must_use]
    pub fn changed_unix_micros(&self) -> u64 {
        self.changed_unix_micros.load(Ordering::Relaxed)
    }

    /// Whether what it runs comes from its own disk and no control plane has confirmed it since
    /// the start.
    #[must_use]
    pub fn is_serving_from_disk(&self) -> bool {
        self.is_from_disk.load(Ordering::Relaxed)
    }

    /// Whether the node is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Whether the configuration can't be kept on disk at present.
    #[must_use]
    pub fn is_disk_failing(&self) -> bool {
        self.is_disk_failing.load(Ordering::Relaxed)
    }

    /// How often a control plane has welcomed the node since the start.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Why the node is not connected, as far as it knows. Holds no secret.
    #[must_use]
    pub fn problem(&self) -> Option<Arc<String>> {
        self.problem.load_full()
    }

    /// Says that the node is about to stop: from now on it is not ready.
    pub fn set_draining(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    pub(super) fn set_held(&self, revision: u64) {
        self.revision.store(revision, Ordering::Relaxed);
        self.is_complete.store(true, Ordering::Release);
    }

    pub(super) fn set_from_disk(&self) {
        self.is_from_disk.store(true, Ordering::Relaxed);
    }

    /// The control plane knows what the node runs.
    pub(super) fn set_confirmed(&self) {
        self.is_from_disk.store(false, Ordering::Relaxed);
    }

    pub(super) fn set_connected(&self) {
        if !self.is_connected.swap(true, Ordering::Relaxed) {
            self.changed_unix_micros.store(clock::unix_micros(), Ordering::Relaxed);
        }
        self.sessions.fetch_add(1, Ordering::Relaxed);
        self.problem.store(None);
    }

    pub(super) fn set_disconnected(&self, problem: String) {
        if self.is_connected.swap(false, Ordering::Relaxed) {
            self.changed_unix_micros.store(clock::unix_micros(), Ordering::Relaxed);
        }
        self.problem.store(Some(Arc::new(problem)));
    }

    pub(super) fn set_disk_failing(&self, is_failing: bool) {
        self.is_disk_failing.store(is_failing, Ordering::Relaxed);
    }
}
