//! The subjects of shared limits that this node knows of, in bounded memory.

use std::sync::{Arc, PoisonError, RwLock};

use super::key::{Shards, Table};
use super::lease::Subject;

/// Subjects kept in one shard: 229,376 in all, some 90 MB.
const MOST_IN_SHARD: usize = 896;
/// Below this many a shard is not swept.
const FEW: usize = 32;

/// Subjects by [`super::key::Keys::key`].
#[derive(Default)]
pub(super) struct Subjects {
    shards: Shards<RwLock<Shard>>,
}

#[derive(Default)]
struct Shard {
    subjects: Table<Arc<Subject>>,
    /// How many there were after the last sweep.
    kept: usize,
}

impl Subjects {
    /// Looks at a subject; none where it is not known. Readers do not keep one another waiting.
    pub(super) fn with<T>(&self, key: u128, look: impl FnOnce(&Arc<Subject>) -> T) -> Option<T> {
        let shard = self.shards.of(key).read().unwrap_or_else(PoisonError::into_inner);
        shard.subjects.get(&key).map(look)
    }

    /// Finds a subject, or makes it.
    pub(super) fn find_or_make(
        &self,
        key: u128,
        now_ms: u64,
        redis_key: impl FnOnce() -> String,
    ) -> Arc<Subject> {
        if let Some(subject) = self.with(key, Arc::clone) {
            return subject;
        }
        let mut shard = self.shards.of(key).write().unwrap_or_else(PoisonError::into_inner);
        if let Some(subject) = shard.subjects.get(&key) {
            return Arc::clone(subject);
        }
        shard.make_room(now_ms);
        let subject = Arc::new(Subject::new(redis_key()));
        shard.subjects.insert(key, Arc::clone(&subject));
        subject
    }

    /// How many are known.
    pub(super) fn len(&self) -> usize {
        let len = |shard: &RwLock<Shard>| {
            shard.read().unwrap_or_else(PoisonError::into_inner).subjects.len()
        };
        self.shards.iter().map(len).sum()
    }
}

impl Shard {
    /// Lets idle subjects go when the shard has doubled since the last sweep. Where it is full all
    /// the same, an eighth goes: nothing is miscounted, for what they hold is debited in Redis already
    /// and the reconciler gives it back.
    fn make_room(&mut self, now_ms: u64) {
        let len = self.subjects.len();
        if len < FEW.max(self.kept.saturating_mul(2)) && len < MOST_IN_SHARD {
            return;
        }
        self.subjects
            .retain(|_, subject| !subject.is_idle(now_ms) || Arc::strong_count(subject) > 1);
        if self.subjects.len() >= MOST_IN_SHARD {
            let mut to_go = MOST_IN_SHARD / 8;
            self.subjects.retain(|_, _| {
                let goes = to_go > 0;
                to_go -= usize::from(goes);
                !goes
            });
        }
        self.kept = self.subjects.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_made_once() {
        let subjects = Subjects::default();
        let first = subjects.find_or_make(7, 0, || "a".to_owned());
        let second = subjects.find_or_make(7, 0, || "b".to_owned());
        assert!(Arc::ptr_eq(&first, &second) && first.key() == "a");
    }

    #[test]
    fn a_flood_of_subjects_is_bounded() {
        let subjects = Subjects::default();
        let keys: Vec<Arc<Subject>> = (0..300_000_u128)
            .map(|i| subjects.find_or_make(i << 120 | i << 60 | i, 0, || "subject".to_owned()))
            .collect();
        assert_eq!(keys.len(), 300_000);
        assert!(subjects.len() <= MOST_IN_SHARD * 256);
    }
}
