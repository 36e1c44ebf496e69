//! A persistent map from texts: a hash trie that reads one place a level.
//!
//! `rpds::HashTrieMap` reads two places a level and three more for an entry. At 50,000 entries,
//! when every look-up is for another one, reads of memory are nearly all that a look-up costs, and
//! this map takes a third to a half of it away (`benches/route.rs`).

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use smallvec::SmallVec;

/// How many bits of a hash a level takes.
const BITS: u32 = 6;
/// How many levels one hash lasts; below, another one is taken, so that keys part in the end.
const LEVELS: u32 = u64::BITS / BITS;

/// A persistent map from texts; a clone is O(1), a change O(log n).
///
/// Keys come from many tenants, so their hashes are seeded.
#[derive(Clone, Debug)]
pub(super) struct TextMap<V, S = foldhash::quality::RandomState> {
    root: Option<Slot<V>>,
    hasher: S,
}

/// Paths and names are short, so they lie beside the value.
type Key = SmallVec<[u8; 40]>;

#[derive(Debug)]
enum Slot<V> {
    Branch(Branch<V>),
    Entry(Arc<Entry<V>>),
}

/// The children of those of 64 that are there; always two or more, or one that is a branch.
#[derive(Debug)]
struct Branch<V> {
    present: u64,
    children: Arc<[Slot<V>]>,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    key: Key,
    value: V,
}

impl<V> Clone for Slot<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Branch(Branch { present, children }) => {
                Self::Branch(Branch { present: *present, children: Arc::clone(children) })
            }
            Self::Entry(entry) => Self::Entry(Arc::clone(entry)),
        }
    }
}

impl<V, S: Default> Default for TextMap<V, S> {
    fn default() -> Self {
        Self { root: None, hasher: S::default() }
    }
}

impl<V, S: BuildHasher> TextMap<V, S> {
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        let mut slot = self.root.as_ref()?;
        let mut path = HashPath::new(&self.hasher, key.as_bytes());
        loop {
            match slot {
                Slot::Branch(branch) => slot = branch.get(path.next_bit())?,
                Slot::Entry(entry) => {
                    return (*entry.key == *key.as_bytes()).then_some(&entry.value);
                }
            }
        }
    }
}

impl<V: Clone, S: BuildHasher> TextMap<V, S> {
    /// The value of a key, to change it in this map and in none of its clones.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        // What is not there must not cost a copy of the way to it.
        self.get(key)?;
        let mut slot = self.root.as_mut()?;
        let mut path = HashPath::new(&self.hasher, key.as_bytes());
        loop {
            match slot {
                Slot::Branch(branch) => slot = branch.get_mut(path.next_bit())?,
                Slot::Entry(entry) => return Some(&mut Arc::make_mut(entry).value),
            }
        }
    }

    /// Sets the value of a key.
    pub(super) fn insert(&mut self, key: &str, value: V) {
        let entry = Arc::new(Entry { key: Key::from_slice(key.as_bytes()), value });
        let mut path = HashPath::new(&self.hasher, key.as_bytes());
        let Some(root) = &mut self.root else {
            self.root = Some(Slot::Entry(entry));
            return;
        };
        let mut slot = root;
        loop {
            if let Slot::Entry(other) = slot {
                *slot = if other.key == entry.key {
                    Slot::Entry(entry)
                } else {
                    let mut other_path = HashPath::new(&self.hasher, &other.key);
                    other_path.skip_to(&path);
                    part(Arc::clone(other), other_path, entry, path)
                };
                return;
            }
            let Slot::Branch(branch) = slot else { return };
            let bit = path.next_bit();
            if branch.present & bit == 0 {
                return branch.add(bit, Slot::Entry(entry));
            }
            let Some(child) = branch.get_mut(bit) else { return };
            slot = child;
        }
    }

    /// Takes a key out, if it is there.
    pub(super) fn remove(&mut self, key: &str) {
        if self.get(key).is_none() {
            return;
        }
        let path = HashPath::new(&self.hasher, key.as_bytes());
        self.root = self.root.take().and_then(|root| without(root, path));
    }
}

impl<V> Branch<V> {
    #[inline]
    fn index(&self, bit: u64) -> usize {
        let before = self.present & (bit - 1);
        usize::try_from(before.count_ones()).unwrap_or(0)
    }

    #[inline]
    fn get(&self, bit: u64) -> Option<&Slot<V>> {
        if self.present & bit == 0 { None } else { self.children.get(self.index(bit)) }
    }

    fn get_mut(&mut self, bit: u64) -> Option<&mut Slot<V>> {
        let index = self.index(bit);
        Arc::make_mut(&mut self.children).get_mut(index)
    }

    /// Puts a child where none is.
    fn add(&mut self, bit: u64, child: Slot<V>) {
        let (before, after) =
            self.children.split_at_checked(self.index(bit)).unwrap_or((&self.children, &[]));
        let children = before.iter().cloned().chain([child]).chain(after.iter().cloned());
        self.children = children.collect();
        self.present |= bit;
    }
}

/// The slot for two entries that came to one.
fn part<V, S: BuildHasher>(
    a: Arc<Entry<V>>,
    mut path_a: HashPath<'_, S>,
    b: Arc<Entry<V>>,
    mut path_b: HashPath<'_, S>,
) -> Slot<V> {
    let (bit_a, bit_b) = (path_a.next_bit(), path_b.next_bit());
    let children: Arc<[Slot<V>]> = if bit_a == bit_b {
        Arc::new([part(a, path_a, b, path_b)])
    } else if bit_a < bit_b {
        Arc::new([Slot::Entry(a), Slot::Entry(b)])
    } else {
        Arc::new([Slot::Entry(b), Slot::Entry(a)])
    };
    Slot::Branch(Branch { present: bit_a | bit_b, children })
}

/// A slot without the entry that the path leads to; a branch with one entry left is that entry.
fn without<V, S: BuildHasher>(slot: Slot<V>, mut path: HashPath<'_, S>) -> Option<Slot<V>> {
    let Slot::Branch(mut branch) = slot else { return None };
    let bit = path.next_bit();
    let index = branch.index(bit);
    match branch.get(bit).cloned().and_then(|child| without(child, path)) {
        Some(child) => *branch.get_mut(bit)? = child,
        None => {
            let others = branch.children.iter().enumerate().filter(|(i, _)| *i != index);
            branch.children = others.map(|(_, child)| child.clone()).collect();
            branch.present &= !bit;
        }
    }
    match &*branch.children {
        [] => None,
        [Slot::Entry(only)] => Some(Slot::Entry(Arc::clone(only))),
        _ => Some(Slot::Branch(branch)),
    }
}

/// The way of a key from the root: at each level, the bit of its child.
struct HashPath<'k, S> {
    hasher: &'k S,
    key: &'k [u8],
    hash: u64,
    level: u32,
}

impl<'k, S: BuildHasher> HashPath<'k, S> {
    #[inline]
    fn new(hasher: &'k S, key: &'k [u8]) -> Self {
        Self { hasher, key, hash: hash(hasher, key, 0), level: 0 }
    }

    #[inline]
    fn next_bit(&mut self) -> u64 {
        if self.level > 0 && self.level.is_multiple_of(LEVELS) {
            self.hash = hash(self.hasher, self.key, self.level / LEVELS);
        }
        self.level += 1;
        let bit = 1 << (self.hash & u64::from(u64::BITS - 1));
        self.hash >>= BITS;
        bit
    }

    /// Goes to the level of another path.
    fn skip_to(&mut self, other: &Self) {
        while self.level < other.level {
            self.next_bit();
        }
    }
}

#[inline]
fn hash(hasher: &impl BuildHasher, key: &[u8], round: u32) -> u64 {
    let mut state = hasher.build_hasher();
    if round > 0 {
        state.write_u32(round);
    }
    state.write(key);
    state.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Parts keys in no round before the third.
    #[derive(Clone, Default)]
    struct Colliding;

    struct CollidingHasher(u32, u64);

    impl BuildHasher for Colliding {
        type Hasher = CollidingHasher;

        fn build_hasher(&self) -> CollidingHasher {
            CollidingHasher(0, 0)
        }
    }

    impl Hasher for CollidingHasher {
        fn write_u32(&mut self, round: u32) {
            self.0 = round;
        }

        fn write(&mut self, bytes: &[u8]) {
            self.1 = bytes.iter().fold(7, |sum, byte| sum * 31 + u64::from(*byte));
        }

        fn finish(&self) -> u64 {
            if self.0 < 2 { 5 } else { self.1 }
        }
    }

    fn agrees<S: BuildHasher>(map: &TextMap<u32, S>, model: &BTreeMap<String, u32>) {
        assert_eq!(map.is_empty(), model.is_empty());
        for i in 0..300 {
            let key = format!("/k{i}");
            assert_eq!(map.get(&key), model.get(&key), "{key}");
        }
    }

    fn equals_a_model<S: BuildHasher + Default + Clone>(changes: &[(u32, Option<u32>)]) {
        let mut map: TextMap<u32, S> = TextMap::default();
        let mut model = BTreeMap::new();
        let mut clones = Vec::new();
        for (i, (key, value)) in changes.iter().enumerate() {
            let key = format!("/k{key}");
            match value {
                Some(value) if i % 2 == 0 && model.contains_key(&key) => {
                    *map.get_mut(&key).unwrap() = *value;
                    model.insert(key, *value);
                }
                Some(value) => {
                    map.insert(&key, *value);
                    model.insert(key, *value);
                }
                None => {
                    map.remove(&key);
                    model.remove(&key);
                }
            }
            if i % 16 == 0 {
                clones.push((map.clone(), model.clone()));
            }
        }
        agrees(&map, &model);
        for (map, model) in &clones {
            agrees(map, model);
        }
        for key in model.keys() {
            map.remove(key);
        }
        assert!(map.is_empty() && map.get_mut("/k1").is_none());
    }

    fn any_changes() -> impl Strategy<Value = Vec<(u32, Option<u32>)>> {
        let value = prop::option::weighted(0.6, any::<u32>());
        prop::collection::vec((0..300_u32, value), 0..400)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_changes_leave_what_a_plain_map_has(changes in any_changes()) {
            equals_a_model::<foldhash::quality::RandomState>(&changes);
        }

        #[test]
        fn keys_whose_hashes_are_equal_part_in_a_later_round(changes in any_changes()) {
            equals_a_model::<Colliding>(&changes);
        }
    }

    #[test]
    fn a_slot_is_three_words() {
        assert_eq!(size_of::<Slot<u8>>(), 24);
    }
}
