//! Counters of this node alone: for `local` limits, for every limit where there is no Redis, and
//! for a limit's local share while Redis is away.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tollgate_policy::limit::Usage;
use tollgate_policy::ports::{Decision, Settlement, Take};

use super::key::{Shards, Table};

/// Subjects kept in one shard: 917,504 in all, some 80 MB. A flood of subjects grows it no further.
const MOST_IN_SHARD: usize = 3_584;
/// Below this many a shard is not swept.
const FEW: usize = 64;

/// What subjects have used, by [`super::key::Keys::key`].
#[derive(Debug, Default)]
pub(super) struct Memory {
    shards: Shards<Mutex<Shard>>,
}

#[derive(Debug, Default)]
struct Shard {
    subjects: Table<Usage>,
    /// How many there were after the last sweep.
    kept: usize,
}

impl Memory {
    /// Takes permits, all or none. `limit` is the definition's own or a share of it.
    pub(super) fn take(&self, key: u128, take: &Take<'_>, limit: u64) -> Decision {
        let mut shard = lock(self.shards.of(key));
        let Take { definition, cost, now_unix_micros, .. } = *take;
        if let Some(usage) = shard.subjects.get_mut(&key) {
            return usage.take(definition, limit, cost, now_unix_micros);
        }
        let mut usage = Usage::default();
        let decision = usage.take(definition, limit, cost, now_unix_micros);
        // A refusal takes nothing, so there is nothing to keep.
        if decision.is_admitted {
            shard.make_room(now_unix_micros);
            shard.subjects.insert(key, usage);
        }
        decision
    }

    /// Puts right what was taken. Where the subject is gone, what is charged counts for now.
    pub(super) fn settle(&self, key: u128, settlement: &Settlement<'_>, now_unix_micros: u64) {
        let Settlement { take: Take { definition, .. }, booked, .. } = *settlement;
        let differences = settlement.differences();
        let (_, more) = differences;
        let mut shard = lock(self.shards.of(key));
        if let Some(usage) = shard.subjects.get_mut(&key) {
            usage.settle(definition, booked.slot, differences, now_unix_micros);
        } else if more > 0 {
            let mut usage = Usage::default();
            usage.settle(definition, booked.slot, differences, now_unix_micros);
            shard.make_room(now_unix_micros);
            shard.subjects.insert(key, usage);
        }
    }

    /// What [`Memory::take`] would answer.
    pub(super) fn look(&self, key: u128, take: &Take<'_>, limit: u64) -> Decision {
        let counted = lock(self.shards.of(key)).subjects.get(&key).cloned();
        let mut usage = counted.unwrap_or_default();
        usage.take(take.definition, limit, take.cost, take.now_unix_micros)
    }

    /// How many subjects are counted.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).subjects.len()).sum()
    }
}

impl Shard {
    /// Sweeps out what counts no more when the shard has doubled since the last sweep, so that an
    /// insertion costs the same at any size. Where the shard is full all the same, an eighth goes:
    /// those whose counts would have ended first.
    fn make_room(&mut self, now_unix_micros: u64) {
        let len = self.subjects.len();
        if len < FEW.max(self.kept.saturating_mul(2)) && len < MOST_IN_SHARD {
            return;
        }
        self.subjects.retain(|_, usage| !usage.is_idle(now_unix_micros));
        if self.subjects.len() >= MOST_IN_SHARD {
            let mut ends: Vec<u64> = self.subjects.values().map(Usage::idle_from).collect();
            let mut to_go = MOST_IN_SHARD / 8;
            let (_, last_to_go, _) = ends.select_nth_unstable(to_go);
            let last_to_go = *last_to_go;
            self.subjects.retain(|_, usage| {
                let goes = to_go > 0 && usage.idle_from() <= last_to_go;
                to_go -= usize::from(goes);
                !goes
            });
        }
        self.kept = self.subjects.len();
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing in here panics half-way; what a shard holds is whole.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tollgate_model::Name;
    use tollgate_policy::limit::{Definition, Enforcement, OnFailure};

    use super::super::key::Keys;
    use super::*;

    const START: u64 = 1_700_000_000_000_000;

    fn definition() -> Definition {
        Definition {
            id: Arc::from("limit"),
            limit: 3,
            window: Duration::from_secs(1).into(),
            enforcement: Enforcement::Local,
            on_failure: OnFailure::Open,
            is_settled: false,
        }
    }

    fn take(memory: &Memory, keys: &Keys, subject: &str, now_unix_micros: u64) -> Decision {
        let definition = definition();
        let tenant = Name::default_name();
        let take =
            Take { definition: &definition, tenant: &tenant, subject, cost: 1, now_unix_micros };
        memory.take(keys.key(&take), &take, definition.limit)
    }

    #[test]
    fn subjects_are_counted_apart() {
        let (memory, keys) = (Memory::default(), Keys::default());
        let admitted =
            |subject| (0..9).filter(|_| take(&memory, &keys, subject, START).is_admitted).count();
        assert_eq!((admitted("a"), admitted("b")), (3, 3));
    }

    #[test]
    fn a_flood_of_subjects_is_bounded() {
        let (memory, keys) = (Memory::default(), Keys::default());
        for i in 0..1_200_000_u64 {
            take(&memory, &keys, &i.to_string(), START);
        }
        let len = memory.len();
        assert!(len <= MOST_IN_SHARD * 256, "{len}");
        assert!(len > 700_000, "{len}");
    }

    #[test]
    fn who_counts_longest_outlives_a_flood() {
        let (memory, keys) = (Memory::default(), Keys::default());
        let later = START + 500_000;
        assert_eq!(take(&memory, &keys, "regular", later).remaining, 2);
        for i in 0..1_200_000_u64 {
            take(&memory, &keys, &i.to_string(), START);
        }
        assert_eq!(take(&memory, &keys, "regular", later).remaining, 1);
    }

    #[test]
    fn what_counts_no_more_is_swept() {
        let (memory, keys) = (Memory::default(), Keys::default());
        for second in 0..60_u64 {
            for i in 0..20_000_u64 {
                take(&memory, &keys, &format!("{second}-{i}"), START + second * 2_000_000);
            }
        }
        let len = memory.len();
        assert!(len < 120_000, "{len}");
    }
}
