//! How a subject of a limit is called, on the node and in Redis.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use foldhash::quality::RandomState;
use tollgate_model::Name;
use tollgate_policy::ports::Take;

/// Shards of the node's tables: enough that two cores rarely want the same one.
const SHARDS: usize = 256;
/// Longer subjects stand in Redis by their hash.
const LONGEST_SUBJECT: usize = 128;

/// Makes 128-bit keys of a limit and a subject, under seeds of this process. With a million
/// subjects, two share a key with a probability of 2⁻⁸⁹.
#[derive(Debug, Default)]
pub(in crate::ports) struct Keys {
    low: RandomState,
    high: RandomState,
}

impl Keys {
    pub(in crate::ports) fn key(&self, take: &Take<'_>) -> u128 {
        self.of(&take.definition.id, take.tenant, take.subject)
    }

    pub(in crate::ports) fn of(&self, id: &str, tenant: &Name, subject: &str) -> u128 {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            for text in [id, tenant.as_str()] {
                hasher.write(text.as_bytes());
                // Ends it: no text holds this byte.
                hasher.write_u8(0xff);
            }
            hasher.write(subject.as_bytes());
            u128::from(hasher.finish())
        };
        half(&self.high) << 64 | half(&self.low)
    }
}

/// The name of a counter in Redis. The braces keep one subject on one node of a cluster.
pub(in crate::ports) fn redis_key(take: &Take<'_>) -> String {
    let subject = take.subject;
    let mut key = format!("tollgate:{{{}|{}|", take.definition.id, take.tenant);
    if subject.len() > LONGEST_SUBJECT || subject.starts_with('#') {
        let hash = blake3::hash(subject.as_bytes());
        // Writing to a `String` cannot fail.
        let _ = write!(key, "#{}", hash.to_hex());
    } else {
        key.push_str(subject);
    }
    key.push('}');
    key
}

/// A table by [`Keys::key`].
pub(in crate::ports) type Table<V> = HashMap<u128, V, BuildHasherDefault<KeyIsHash>>;

/// The key is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ports) struct KeyIsHash(u64);

impl Hasher for KeyIsHash {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = u64::try_from(key & u128::from(u64::MAX)).unwrap_or_default();
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// As many locks as it takes that requests rarely meet at one.
#[derive(Debug)]
pub(in crate::ports) struct Shards<T> {
    first: T,
    others: Box<[T]>,
}

impl<T: Default> Default for Shards<T> {
    fn default() -> Self {
        Self { first: T::default(), others: (1..SHARDS).map(|_| T::default()).collect() }
    }
}

impl<T> Shards<T> {
    /// The shard of a key: by its upper half, for the lower one places it within the table.
    pub(in crate::ports) fn of(&self, key: u128) -> &T {
        let number = usize::try_from(key >> 120).unwrap_or_default();
        number.checked_sub(1).and_then(|i| self.others.get(i)).unwrap_or(&self.first)
    }

    pub(in crate::ports) fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tollgate_model::FromText as _;
    use tollgate_policy::limit::{Definition, Enforcement, OnFailure};

    use super::*;

    fn take<T>(id: &str, tenant: &str, subject: &str, look: impl FnOnce(&Take<'_>) -> T) -> T {
        let definition = Definition {
            id: Arc::from(id),
            limit: 1,
            window: Duration::from_secs(1).into(),
            enforcement: Enforcement::Exact,
            on_failure: OnFailure::Open,
            is_settled: false,
        };
        let tenant = Name::from_text(tenant).unwrap();
        look(&Take {
            definition: &definition,
            tenant: &tenant,
            subject,
            cost: 1,
            now_unix_micros: 0,
        })
    }

    #[test]
    fn where_a_part_ends_is_part_of_the_key() {
        let keys = Keys::default();
        let key = |id, tenant, subject| take(id, tenant, subject, |take| keys.key(take));
        assert_eq!(key("ab", "t", "c"), key("ab", "t", "c"));
        assert_ne!(key("ab", "t", "c"), key("a", "t", "bc"));
        assert_ne!(key("ab", "t", "c"), key("ab", "u", "c"));
        assert_ne!(key("ab", "t", "c"), key("ab", "tc", ""));
    }

    #[test]
    fn a_long_subject_stands_by_its_hash_and_none_can_pretend_to_be_one() {
        let key = |subject: &str| take("id", "t", subject, redis_key);
        assert_eq!(key("shop"), "tollgate:{id|t|shop}");
        let long = key(&"x".repeat(10_000));
        assert!(long.len() < 100);
        let forged = long.trim_start_matches("tollgate:{id|t|").trim_end_matches('}');
        assert_ne!(key(forged), long);
    }

    #[test]
    fn every_shard_is_used() {
        let shards: Shards<AtomicU32> = Shards::default();
        let keys = Keys::default();
        for i in 0..10_000 {
            let key = take("id", "t", &i.to_string(), |take| keys.key(take));
            shards.of(key).fetch_add(1, Ordering::Relaxed);
        }
        assert!(shards.iter().all(|shard| shard.load(Ordering::Relaxed) > 0));
    }
}
