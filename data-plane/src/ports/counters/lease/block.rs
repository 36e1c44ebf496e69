//! Permits that a node holds, and until when, in one word that threads share.

/// Permits and the millisecond from which on they may not be spent, in one word: 40 bits and 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) ends_at_ms: u64,
    pub(super) permits: u64,
}

impl Block {
    pub(super) const PERMIT_BITS: u32 = 24;
    pub(super) const MOST: u64 = (1 << Self::PERMIT_BITS) - 1;
    pub(super) const NONE: Self = Self { ends_at_ms: 0, permits: 0 };

    pub(super) fn unpack(word: u64) -> Self {
        Self { ends_at_ms: word >> Self::PERMIT_BITS, permits: word & Self::MOST }
    }

    pub(super) fn pack(self) -> u64 {
        self.ends_at_ms << Self::PERMIT_BITS | self.permits.min(Self::MOST)
    }
}
