//! Responses in memory, for all request threads of the node: within a budget of bytes, read without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use moka::sync::Cache as Moka;
use tollgate_model::units::Size;
use tollgate_policy::ports::{Cache, Turn};
use tollgate_policy::stored::{Digest, Key, Stored, Variants};

use crate::clock;

// Who fetches, and who waits for it.
mod flights;

use flights::Flights;

/// Targets whose invalidation is remembered one by one.
const MOST_INVALIDATED: u64 = 1 << 16;
/// Keys of which it is known that their answers cannot be stored, and for how long.
const MOST_PASSED: u64 = 1 << 14;
const PASSED_FOR: Duration = Duration::from_secs(10);

/// Responses in memory.
pub struct MemoryCache {
    responses: Moka<Digest, Arc<Variants>, RandomState>,
    /// When targets were invalidated, and groups purged.
    invalidated: Moka<Digest, u64, RandomState>,
    /// When a group was purged last: what was asked for since needs no look at its groups.
    purged: AtomicU64,
    /// Whatever is older than this may have been invalidated: nobody remembers.
    forgotten: Arc<AtomicU64>,
    passed: Moka<Digest, (), RandomState>,
    flights: Arc<Flights>,
    stored: AtomicU64,
    evictions: Arc<AtomicU64>,
}

/// How full it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filling {
    /// Memory that stored responses take.
    pub bytes: u64,
    /// Keys under which responses are stored.
    pub entries: u64,
    /// Responses that were stored since the start.
    pub stored: u64,
    /// Keys that went for want of room since the start.
    pub evictions: u64,
}

impl MemoryCache {
    /// A cache with room for so much; none where that is nothing.
    #[must_use]
    pub fn with_room(size: Size) -> Option<Self> {
        if size.bytes() == 0 {
            return None;
        }
        let evictions = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&evictions);
        let responses = Moka::builder()
            .max_capacity(size.bytes())
            .weigher(|_key: &Digest, variants: &Arc<Variants>| {
                u32::try_from(variants.weight_bytes()).unwrap_or(u32::MAX)
            })
            .eviction_listener(move |_key, _variants, cause| {
                if cause.was_evicted() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build_with_hasher(RandomState::default());
        let forgotten = Arc::<AtomicU64>::default();
        let floor = Arc::clone(&forgotten);
        let invalidated = Moka::builder()
            .max_capacity(MOST_INVALIDATED)
            .eviction_listener(move |_target, at: u64, cause| {
                if cause.was_evicted() {
                    floor.fetch_max(at, Ordering::Relaxed);
                }
            })
            .build_with_hasher(RandomState::default());
        let passed = Moka::builder()
            .max_capacity(MOST_PASSED)
            .time_to_live(PASSED_FOR)
            .build_with_hasher(RandomState::default());
        Some(Self {
            responses,
            invalidated,
            purged: AtomicU64::new(0),
            forgotten,
            passed,
            flights: Arc::default(),
            stored: AtomicU64::new(0),
            evictions,
        })
    }

    /// How full it is.
    #[must_use]
    pub fn filling(&self) -> Filling {
        // What was written lately is not counted before.
        self.responses.run_pending_tasks();
        Filling {
            bytes: self.responses.weighted_size(),
            entries: self.responses.entry_count(),
            stored: self.stored.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
        }
    }

    /// Lets everything go.
    pub fn purge_all(&self) {
        let now = clock::unix_micros();
        self.forgotten.fetch_max(now, Ordering::Relaxed);
        self.purged.fetch_max(now, Ordering::Relaxed);
        self.responses.invalidate_all();
    }

    /// Gives back the memory of what was purged and cannot be found any more. Its cost follows the number
    /// of responses: not for a thread that carries calls.
    pub fn sweep(&self) {
        for (key, variants) in &self.responses {
            if variants.iter().all(|stored| self.is_purged(stored)) {
                self.responses.invalidate(&*key);
            }
        }
        self.responses.run_pending_tasks();
    }

    /// Whether one of its groups was purged after it was asked for.
    fn is_purged(&self, stored: &Stored) -> bool {
        let asked = stored.requested_unix_micros;
        asked <= self.purged.load(Ordering::Acquire)
            && stored.groups.iter().any(|group| asked <= self.invalidated_at(group))
    }

    /// What was asked for until then is not to be used.
    fn invalidated_at(&self, target: &Digest) -> u64 {
        let known = self.invalidated.get(target).unwrap_or(0);
        known.max(self.forgotten.load(Ordering::Relaxed))
    }
}

impl Cache for MemoryCache {
    fn lookup(&self, key: &Key) -> Option<Arc<Variants>> {
        let mut variants = self.responses.get(&key.whole)?;
        if variants.iter().any(|stored| self.is_purged(stored)) {
            variants = variants.retain(|stored| !self.is_purged(stored)).map(Arc::new)?;
        }
        if key.part.is_none() {
            return Some(variants);
        }
        // Parts of a target cannot be found by it: they are older than its invalidation.
        let since = self.invalidated_at(&key.target);
        if variants.iter().all(|stored| stored.requested_unix_micros > since) {
            return Some(variants);
        }
        variants.newer_than(since).map(Arc::new)
    }

    fn store(&self, key: &Key, response: Stored) {
        let since = self.invalidated_at(&key.target);
        if response.requested_unix_micros <= since || self.is_purged(&response) {
            return;
        }
        let requested = response.requested_unix_micros;
        let response = Arc::new(response);
        self.responses.entry(key.whole).and_upsert_with(|known| {
            let known = known.and_then(|known| known.into_value().newer_than(since));
            Arc::new(known.unwrap_or_default().with(response))
        });
        // An invalidation may have come between the look above and the store, and found nothing to let go.
        if requested <= self.invalidated_at(&key.target) {
            self.responses.invalidate(&key.whole);
        }
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    fn invalidate(&self, target: &Digest) {
        self.invalidated.insert(*target, clock::unix_micros());
        self.responses.invalidate(target);
    }

    fn purge(&self, group: &Digest) {
        let now = clock::unix_micros();
        self.invalidated.insert(*group, now);
        // After it: who sees this looks for that.
        self.purged.fetch_max(now, Ordering::Release);
    }

    fn turn(&self, key: &Key, limit: Duration) -> Turn {
        if self.passed.contains_key(&key.whole) {
            return Turn::Alone;
        }
        Flights::turn(&self.flights, key.whole, limit)
    }

    fn pass(&self, key: &Key) {
        self.passed.insert(key.whole, ());
    }

    fn now_unix_micros(&self) -> u64 {
        clock::unix_micros()
    }
}

#[cfg(test)]
mod tests;
