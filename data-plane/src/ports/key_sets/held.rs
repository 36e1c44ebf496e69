//! One set of keys: what is held of it, and who waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tollgate_policy::jose::{Generation, KeySet, KeySource};
use tollgate_policy::ports::FoundKeys;

/// How often at most a provider is asked because a key is not known.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// One set of keys.
pub(super) struct Held {
    pub(super) source: KeySource,
    set: ArcSwapOption<KeySet>,
    /// How many fetches have ended.
    rounds: watch::Sender<u64>,
    renew: Notify,
    /// Whether a renewal was asked for and has not ended.
    is_renewing: AtomicBool,
    /// The first moment, in milliseconds since the node's start, when a renewal may be asked for.
    renewal_from_ms: AtomicU64,
    /// The last minute in which a request needed it.
    wanted_minute: AtomicU64,
}

impl Held {
    pub(super) fn new(source: KeySource, now: Duration) -> Self {
        Self {
            source,
            set: ArcSwapOption::empty(),
            rounds: watch::Sender::new(0),
            renew: Notify::new(),
            is_renewing: AtomicBool::new(false),
            renewal_from_ms: AtomicU64::new(0),
            wanted_minute: AtomicU64::new(now.as_secs() / 60),
        }
    }

    pub(super) fn generation(&self) -> Option<Generation> {
        self.set.load().as_ref().map(|set| set.generation())
    }

    /// Notes that a request needs it; writes once a minute, so that cores do not contend for it.
    pub(super) fn note_wanted(&self, now: Duration) {
        let minute = now.as_secs() / 60;
        if self.wanted_minute.load(Ordering::Relaxed) != minute {
            self.wanted_minute.store(minute, Ordering::Relaxed);
        }
    }

    pub(super) fn idle_for(&self, now: Duration) -> Duration {
        let minutes =
            (now.as_secs() / 60).saturating_sub(self.wanted_minute.load(Ordering::Relaxed));
        Duration::from_secs(minutes * 60)
    }

    /// What is held; where nothing has been fetched yet, what the first fetch brings.
    pub(super) fn keys(self: Arc<Self>, wait: Duration) -> FoundKeys<'static> {
        let mut rounds = self.rounds.subscribe();
        let set = self.set.load_full();
        if set.is_some() || *rounds.borrow_and_update() > 0 {
            return FoundKeys::Now(set.or_else(|| self.set.load_full()));
        }
        FoundKeys::Wait(Box::pin(async move {
            // Too late or gone is the same to who asks: there are no keys.
            drop(timeout(wait, rounds.wait_for(|ended| *ended > 0)).await);
            self.set.load_full()
        }))
    }

    /// What is held once the provider was asked again, if it may be.
    pub(super) fn keys_after(
        self: Arc<Self>,
        known: Generation,
        now: Duration,
        wait: Duration,
    ) -> FoundKeys<'static> {
        let mut rounds = self.rounds.subscribe();
        let ended = *rounds.borrow_and_update();
        let set = self.set.load_full();
        if set.as_ref().is_some_and(|set| set.generation() != known) {
            return FoundKeys::Now(set);
        }
        if self.may_renew(now) {
            self.is_renewing.store(true, Ordering::SeqCst);
            self.renew.notify_one();
        } else if !self.is_renewing.load(Ordering::SeqCst) {
            return FoundKeys::Now(self.set.load_full());
        }
        FoundKeys::Wait(Box::pin(async move {
            drop(timeout(wait, rounds.wait_for(|count| *count > ended)).await);
            self.set.load_full()
        }))
    }

    pub(super) fn may_renew(&self, now: Duration) -> bool {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let from = self.renewal_from_ms.load(Ordering::Relaxed);
        let next = ms(now + ASKED_AGAIN_AFTER);
        ms(now) >= from
            && self
                .renewal_from_ms
                .compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    pub(super) fn replace(&self, set: KeySet) {
        // The same keys stay the same value, and what they verified stays remembered.
        if self.generation() != Some(set.generation()) {
            self.set.store(Some(Arc::new(set)));
        }
    }

    /// Lets everybody go on who waits. The flag first: who finds it down finds what was fetched.
    pub(super) fn end_round(&self) {
        self.is_renewing.store(false, Ordering::SeqCst);
        self.rounds.send_modify(|ended| *ended += 1);
    }

    /// Ends when a renewal is asked for.
    pub(super) async fn renewal(&self) {
        self.renew.notified().await;
    }
}
