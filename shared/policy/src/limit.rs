//! The one limiter's arithmetic: what a limit is, and what a subject has used of it.
//!
//! A rolling window is cut into [`SLOTS`] slots. What is admitted is counted in the slot of its
//! time; a request is admitted if all slots that reach into the window, with its own cost, stay
//! within the limit. The oldest slot counts whole as long as any of it is in the window, so no
//! window of the given length ever sees more than the limit; the price is that permits come back up
//! to one slot late. A token bucket (GCRA) would be smaller and would admit up to twice the limit
//! within one window. See ADR 0008.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::ports::Decision;

/// The slots of a rolling window.
pub const SLOTS: u64 = 32;

/// One limit.
#[derive(Clone, Debug)]
pub struct Definition {
    /// A stable name: counters are kept under it, so an edit of the numbers keeps what is counted.
    pub id: Arc<str>,
    /// Permits in one window, at least 1.
    pub limit: u64,
    /// The rolling window's length, at least one second.
    pub window: Duration,
    /// How exactly the cluster agrees.
    pub enforcement: Enforcement,
    /// What to do while the shared counters cannot be reached.
    pub on_failure: OnFailure,
}

/// How exactly the nodes of a cluster agree on a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Every request asks the shared counters: exactly the limit.
    Exact,
    /// A node debits permits in blocks and spends them by itself: never more than the limit.
    Leased,
    /// Each node counts for itself.
    Local,
}

/// What a limit does while the shared counters cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Admits.
    Open,
    /// Refuses.
    Closed,
    /// Counts on the node, against the limit divided by the live nodes.
    LocalShare,
}

impl Definition {
    /// The length of one slot in microseconds; at least 1.
    #[must_use]
    pub fn slot_micros(&self) -> u64 {
        let window = u64::try_from(self.window.as_micros()).unwrap_or(u64::MAX);
        (window / SLOTS).max(1)
    }

    /// The number of the slot that a moment (microseconds since 1970-01-01) lies in.
    #[must_use]
    pub fn slot_at(&self, now_unix_micros: u64) -> u64 {
        now_unix_micros / self.slot_micros()
    }
}

/// What a subject has used of a limit: a count for each slot that has one, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    slots: SmallVec<[(u64, u64); 2]>,
    /// The length of those slots. An edit of the window changes it, and the counts move over.
    slot_micros: u64,
}

impl Usage {
    /// Takes `cost` permits if they are all there. `limit` is the definition's own or a share of it.
    pub fn take(
        &mut self,
        definition: &Definition,
        limit: u64,
        cost: u64,
        now_unix_micros: u64,
    ) -> Decision {
        let slot = definition.slot_at(now_unix_micros);
        if self.slot_micros != definition.slot_micros() {
            self.renumber(definition.slot_micros(), slot);
        }
        self.forget_before(slot.saturating_sub(SLOTS));
        let used = self.used();
        let left = limit.saturating_sub(used);
        if cost > left {
            let reset = self.until_free(definition, limit, cost, now_unix_micros);
            return Decision { is_admitted: false, remaining: left, reset };
        }
        self.count(slot, cost);
        let reset = self.until_free(definition, used.saturating_add(cost), 1, now_unix_micros);
        Decision { is_admitted: true, remaining: left - cost, reset }
    }

    /// Gives permits back that were taken in `slot` and not used.
    pub fn give_back(&mut self, slot: u64, cost: u64) {
        if let Some((_, count)) = self.slots.iter_mut().find(|(number, _)| *number == slot) {
            *count = count.saturating_sub(cost);
        }
    }

    /// Permits taken in the slots that are kept.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.slots.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Whether nothing is counted any more at a moment, so that the entry may go.
    #[must_use]
    pub fn is_idle(&self, now_unix_micros: u64) -> bool {
        self.idle_from() <= now_unix_micros
    }

    /// From when on nothing is counted any more, in microseconds since 1970-01-01; 0 for an empty one.
    #[must_use]
    pub fn idle_from(&self) -> u64 {
        let end = |slot: u64| slot.saturating_add(SLOTS + 1).saturating_mul(self.slot_micros);
        self.slots.last().map_or(0, |(slot, _)| end(*slot))
    }

    /// Counts on in slots of another length. What was counted moves to the new slot of its old slot's
    /// end, so it is kept at least as long as before; never past `newest`, the slot of now.
    fn renumber(&mut self, slot_micros: u64, newest: u64) {
        let old = std::mem::take(&mut self.slots);
        let old_micros = std::mem::replace(&mut self.slot_micros, slot_micros);
        for (slot, count) in old {
            let last_micros = slot.saturating_add(1).saturating_mul(old_micros).saturating_sub(1);
            self.count((last_micros / slot_micros).min(newest), count);
        }
    }

    fn forget_before(&mut self, oldest: u64) {
        // Most calls find nothing to forget: one comparison.
        if self.slots.first().is_some_and(|(slot, _)| *slot < oldest) {
            self.slots.retain(|(slot, _)| *slot >= oldest);
        }
    }

    fn count(&mut self, slot: u64, cost: u64) {
        match self.slots.last_mut() {
            // A clock that steps back counts into the newest slot: late, never lost.
            Some((newest, count)) if *newest >= slot => *count = count.saturating_add(cost),
            _ => self.slots.push((slot, cost)),
        }
    }

    /// Until enough of the oldest slots have left the window for `cost` permits under `limit`.
    fn until_free(&self, definition: &Definition, limit: u64, cost: u64, now: u64) -> Duration {
        let mut used = self.used();
        for (slot, count) in &self.slots {
            used = used.saturating_sub(*count);
            if used.saturating_add(cost) <= limit {
                // The slot is in no window any more when SLOTS whole slots follow it.
                let free_at =
                    slot.saturating_add(SLOTS + 1).saturating_mul(definition.slot_micros());
                return Duration::from_micros(free_at.saturating_sub(now));
            }
        }
        definition.window
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn definition(limit: u64, window: Duration) -> Definition {
        Definition {
            id: Arc::from("test"),
            limit,
            window,
            enforcement: Enforcement::Local,
            on_failure: OnFailure::Open,
        }
    }

    const START: u64 = 1_700_000_000_000_000;

    #[test]
    fn exactly_the_limit_is_admitted_at_once() {
        let definition = definition(100, Duration::from_secs(60));
        let mut usage = Usage::default();
        let admitted =
            (0..1000).filter(|_| usage.take(&definition, 100, 1, START).is_admitted).count();
        assert_eq!(admitted, 100);
    }

    #[test]
    fn a_refusal_says_when_asking_again_helps() {
        let definition = definition(2, Duration::from_secs(32));
        let mut usage = Usage::default();
        assert!(usage.take(&definition, 2, 2, START).is_admitted);
        let refused = usage.take(&definition, 2, 1, START);
        assert!(!refused.is_admitted);
        let wait = u64::try_from(refused.reset.as_micros()).unwrap();
        assert!(!usage.clone().take(&definition, 2, 1, START + wait - 1).is_admitted);
        assert!(usage.take(&definition, 2, 1, START + wait).is_admitted);
    }

    #[test]
    fn an_edit_of_the_window_keeps_what_is_counted() {
        let (short, long) =
            (definition(5, Duration::from_secs(7)), definition(5, Duration::from_secs(60)));
        for (before, after) in [(&short, &long), (&long, &short)] {
            let mut usage = Usage::default();
            assert!(usage.take(before, 5, 3, START).is_admitted);
            assert!(!usage.take(after, 5, 3, START + 1).is_admitted);
            assert!(usage.take(after, 5, 2, START + 2).is_admitted);
            assert!(!usage.take(before, 5, 1, START + 3).is_admitted);
        }
    }

    #[test]
    fn an_entry_is_idle_when_all_of_it_has_left_the_window() {
        let definition = definition(5, Duration::from_secs(32));
        let mut usage = Usage::default();
        assert!(usage.is_idle(START));
        let reset = usage.take(&definition, 5, 1, START).reset;
        let free_at = START + u64::try_from(reset.as_micros()).unwrap();
        assert!(!usage.is_idle(free_at - 1) && usage.is_idle(free_at));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let definition = definition(5, Duration::from_secs(1));
        let mut usage = Usage::default();
        assert!(usage.take(&definition, 5, 5, START).is_admitted);
        usage.give_back(definition.slot_at(START), 3);
        assert_eq!(usage.take(&definition, 5, 3, START).remaining, 0);
    }

    proptest! {
        #[test]
        fn no_window_ever_sees_more_than_the_limit(
            limit in 1u64..20,
            steps in prop::collection::vec((0u64..400_000, 1u64..4), 1..300),
        ) {
            let definition = definition(limit, Duration::from_secs(1));
            let mut usage = Usage::default();
            let mut now = START;
            let mut admitted: Vec<(u64, u64)> = Vec::new();
            for (step, cost) in steps {
                now += step;
                if usage.take(&definition, limit, cost, now).is_admitted {
                    admitted.push((now, cost));
                }
                let in_window: u64 =
                    admitted.iter().filter(|(at, _)| now - at < 1_000_000).map(|(_, cost)| cost).sum();
                prop_assert!(in_window <= limit);
            }
        }
    }
}
