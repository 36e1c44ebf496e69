//! Tokens that were verified, until they expire: of one request thread, within bounds.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::HeaderValue;
use tollgate_model::Name;

use super::key_set::Generation;
use crate::claims::Claims;

/// Under what a token is remembered: a keyed hash of it and of what it was verified by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenKey([u8; 32]);

/// What was found in a token that is good.
#[derive(Debug)]
pub struct Verified {
    /// What it says.
    pub claims: Arc<Claims>,
    /// Values of the fields that the policy makes of it, in the order of the policy's list.
    pub fields: Box<[Option<HeaderValue>]>,
    /// The application that it names.
    pub application: Option<Name>,
    /// From when on it is refused, in microseconds since 1970-01-01.
    pub ends_at_unix_micros: u64,
}

/// Tokens that were verified.
pub struct Remembered {
    key: [u8; 32],
    memory: RefCell<Memory>,
}

struct Memory {
    places: HashMap<TokenKey, usize, RandomState>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Where the next victim is looked for.
    hand: usize,
    bytes: usize,
}

struct Slot {
    key: TokenKey,
    generation: Generation,
    verified: Option<Arc<Verified>>,
    bytes: usize,
    /// Whether it was asked for since the hand last passed.
    is_used: bool,
}

impl Remembered {
    /// The most tokens that are remembered.
    pub const MAX_TOKENS: usize = 4096;
    /// The most bytes of them; their claims take a small multiple of it.
    pub const MAX_BYTES: usize = 4 << 20;
    /// How far the hand goes for one token: what was used is then given up all the same.
    const MAX_STEPS: usize = 16;

    /// Remembers nothing yet. Under `key`, which nobody else knows, tokens are hashed.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        let memory = Memory {
            places: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
        };
        Self { key, memory: RefCell::new(memory) }
    }

    /// Under what a token is remembered that is verified by a policy of this identity.
    #[must_use]
    pub fn key(&self, policy: &[u8; 32], token: &[u8]) -> TokenKey {
        let hash = blake3::Hasher::new_keyed(&self.key).update(policy).update(token).finalize();
        TokenKey(*hash.as_bytes())
    }

    /// What was found in a token, where it was verified with these keys and has not expired.
    #[must_use]
    pub fn get(
        &self,
        key: &TokenKey,
        keys: Generation,
        now_unix_micros: u64,
    ) -> Option<Arc<Verified>> {
        let mut memory = self.memory.borrow_mut();
        let place = *memory.places.get(key)?;
        let slot = memory.slots.get_mut(place)?;
        let verified = slot.verified.as_ref()?;
        if slot.generation != keys || verified.ends_at_unix_micros <= now_unix_micros {
            memory.forget(place);
            return None;
        }
        slot.is_used = true;
        Some(Arc::clone(verified))
    }

    /// Remembers a token of this many bytes.
    pub fn put(&self, key: TokenKey, keys: Generation, bytes: usize, verified: Arc<Verified>) {
        let mut memory = self.memory.borrow_mut();
        if let Some(place) = memory.places.get(&key).copied() {
            memory.forget(place);
        }
        while memory.places.len() >= Self::MAX_TOKENS
            || (memory.bytes + bytes > Self::MAX_BYTES && !memory.places.is_empty())
        {
            memory.make_room();
        }
        let slot = Slot { key, generation: keys, verified: Some(verified), bytes, is_used: false };
        memory.bytes += bytes;
        let free = memory.free.pop();
        let place = match free.and_then(|place| Some((place, memory.slots.get_mut(place)?))) {
            Some((place, vacant)) => {
                *vacant = slot;
                place
            }
            None => {
                memory.slots.push(slot);
                memory.slots.len() - 1
            }
        };
        memory.places.insert(key, place);
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.borrow().places.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Memory {
    fn forget(&mut self, place: usize) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        if slot.verified.take().is_none() {
            return;
        }
        self.bytes -= slot.bytes;
        self.places.remove(&slot.key);
        self.free.push(place);
    }

    /// Gives up one that was not asked for lately.
    fn make_room(&mut self) {
        for step in 0.. {
            let place = self.hand;
            self.hand = if place + 1 < self.slots.len() { place + 1 } else { 0 };
            let Some(slot) = self.slots.get_mut(place) else { return };
            if slot.verified.is_none() {
                continue;
            }
            if !slot.is_used || step >= Remembered::MAX_STEPS {
                return self.forget(place);
            }
            slot.is_used = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(ends_at_unix_micros: u64) -> Arc<Verified> {
        Arc::new(Verified {
            claims: Arc::default(),
            fields: Box::default(),
            application: None,
            ends_at_unix_micros,
        })
    }

    fn keys(text: &str) -> Generation {
        Generation::of(text.as_bytes())
    }

    #[test]
    fn a_token_is_remembered_until_it_expires_and_by_its_policy_and_keys_alone() {
        let remembered = Remembered::new([1; 32]);
        let key = remembered.key(&[2; 32], b"token");
        remembered.put(key, keys("a"), 5, verified(100));
        assert!(remembered.get(&key, keys("a"), 99).is_some());
        assert!(remembered.get(&remembered.key(&[3; 32], b"token"), keys("a"), 99).is_none());
        assert!(remembered.get(&remembered.key(&[2; 32], b"tokem"), keys("a"), 99).is_none());
        assert!(remembered.get(&key, keys("a"), 100).is_none());
        assert!(remembered.is_empty());
        remembered.put(key, keys("a"), 5, verified(100));
        assert!(remembered.get(&key, keys("b"), 99).is_none());
        assert!(remembered.is_empty());
    }

    #[test]
    fn there_are_never_more_than_the_bounds_allow() {
        let remembered = Remembered::new([1; 32]);
        for number in 0..Remembered::MAX_TOKENS * 2 {
            let key = remembered.key(&[2; 32], &number.to_le_bytes());
            remembered.put(key, keys("a"), 100, verified(100));
        }
        assert_eq!(remembered.len(), Remembered::MAX_TOKENS);
        for number in 0..2000_usize {
            let key = remembered.key(&[3; 32], &number.to_le_bytes());
            remembered.put(key, keys("a"), 16 << 10, verified(100));
            assert!(remembered.memory.borrow().bytes <= Remembered::MAX_BYTES);
        }
        assert!(remembered.len() <= Remembered::MAX_BYTES / (16 << 10));
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        let remembered = Remembered::new([1; 32]);
        let key_of = |number: usize| remembered.key(&[2; 32], &number.to_le_bytes());
        for number in 0..Remembered::MAX_TOKENS {
            remembered.put(key_of(number), keys("a"), 100, verified(100));
        }
        for number in Remembered::MAX_TOKENS..Remembered::MAX_TOKENS * 3 {
            assert!(remembered.get(&key_of(7), keys("a"), 1).is_some(), "{number}");
            remembered.put(key_of(number), keys("a"), 100, verified(100));
        }
    }
}
