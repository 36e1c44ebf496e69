//! The calls of Redis that leased limits make.

use smallvec::SmallVec;
use tollgate_policy::limit::Definition;
use tollgate_policy::ports::Take;

use super::super::script::{Call, Slots};
use super::LOOK_BACK;

/// One call that is to be made for a subject.
pub(crate) struct Plan {
    pub(super) definition: Definition,
    pub(super) need: u64,
    pub(super) want: u64,
    pub(super) fewest: u64,
    pub(super) give_back: SmallVec<[(u64, i64); 2]>,
    pub(super) asked_at_ms: u64,
}

impl Plan {
    /// The call, at a moment in microseconds since 1970-01-01. What is taken ahead is at most this node's fair share of half of what is left.
    pub(crate) fn call<'a>(&'a self, key: &'a str, live_nodes: u64, now: u64) -> Call<'a> {
        Call {
            key,
            need: self.need,
            want: self.want,
            fewest: self.fewest,
            divisor: live_nodes.max(1).saturating_mul(2),
            limit: self.definition.limit,
            slots: Slots::of(&self.definition.window, LOOK_BACK, now),
            now_unix_micros: None,
            give_back: &self.give_back,
        }
    }
}

/// The call of a leased request that is too large for blocks.
pub(crate) fn large<'a>(key: &'a str, take: &Take<'_>) -> Call<'a> {
    let slots = Slots::of(&take.definition.window, LOOK_BACK, take.now_unix_micros);
    Call { slots, ..Call::all_or_none(key, take) }
}
