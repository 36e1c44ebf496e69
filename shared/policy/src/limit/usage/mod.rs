//! What a subject has used of a limit.

use std::time::Duration;

use smallvec::SmallVec;

use super::calendar::Period;
use super::{Definition, SLOTS, Window, slot_micros};
use crate::ports::{Booked, Decision};

/// What a subject has used of a limit: a count for each slot that has one, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    slots: SmallVec<[(u64, u64); 2]>,
    /// What the slots' numbers mean. An edit of the window changes it, and the counts move over.
    layout: Layout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Slots of this length, numbered from 1970 on.
    Rolling { slot_micros: u64 },
    /// One slot, whose number is the window's first microsecond; it ends here.
    Calendar { until: u64 },
}

impl Default for Layout {
    fn default() -> Self {
        Self::Rolling { slot_micros: 0 }
    }
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
        match &definition.window {
            Window::Rolling(window) => self.take_rolling(*window, limit, cost, now_unix_micros),
            Window::Calendar(calendar) => {
                let period = calendar.window_at(now_unix_micros);
                self.take_of_period(period, limit, cost, now_unix_micros)
            }
        }
    }

    /// Puts right what was taken in `slot`: gives back, and charges whatever the limit. What is charged for a slot that
    /// has left the window counts for now.
    pub fn settle(
        &mut self,
        definition: &Definition,
        slot: u64,
        (back, more): (u64, u64),
        now_unix_micros: u64,
    ) {
        // Nothing is taken: what has left the window goes.
        let now = self.take(definition, u64::MAX, 0, now_unix_micros).booked;
        if let Some((_, count)) = self.slots.iter_mut().find(|(number, _)| *number == slot) {
            *count = count.saturating_sub(back).saturating_add(more);
        } else if let Some(Booked { slot: newest, .. }) = now {
            self.count(newest, more);
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
        self.slots.last().map_or(0, |(slot, _)| match self.layout {
            Layout::Rolling { slot_micros } => {
                slot.saturating_add(SLOTS + 1).saturating_mul(slot_micros)
            }
            Layout::Calendar { until } => until,
        })
    }

    fn take_rolling(&mut self, window: Duration, limit: u64, cost: u64, now: u64) -> Decision {
        let slot_micros = slot_micros(window);
        let slot = now / slot_micros;
        if self.layout != (Layout::Rolling { slot_micros }) {
            self.renumber(slot_micros, slot);
        }
        self.forget_before(slot.saturating_sub(SLOTS));
        let used = self.used();
        let left = limit.saturating_sub(used);
        if cost > left {
            let reset = self.until_free(slot_micros, limit, cost, now).unwrap_or(window);
            return Decision { is_admitted: false, remaining: left, reset, booked: None };
        }
        let booked = Some(Booked { slot: self.count(slot, cost), is_shared: false });
        let reset = self.until_free(slot_micros, used.saturating_add(cost), 1, now);
        let reset = reset.unwrap_or(window);
        Decision { is_admitted: true, remaining: left - cost, reset, booked }
    }

    fn take_of_period(&mut self, period: Period, limit: u64, cost: u64, now: u64) -> Decision {
        let period = self.enter(period, now);
        let left = limit.saturating_sub(self.used());
        let reset = Duration::from_micros(period.until.saturating_sub(now));
        if cost > left {
            return Decision { is_admitted: false, remaining: left, reset, booked: None };
        }
        let booked = Some(Booked { slot: self.count(period.from, cost), is_shared: false });
        Decision { is_admitted: true, remaining: left - cost, reset, booked }
    }

    /// Counts on in a window of the calendar: the one of now, unless the clock has stepped back out
    /// of the one in which was counted last.
    fn enter(&mut self, period: Period, now: u64) -> Period {
        let first = self.slots.first().map(|(slot, _)| *slot);
        if let (Layout::Calendar { until }, Some(from)) = (self.layout, first) {
            let counted = Period { from, until };
            if counted == period || from > now {
                return counted;
            }
        }
        // What was counted in a slot that ends before the window is over; the rest is in it.
        let kept = self.slots.iter().filter(|(slot, _)| self.last_micros(*slot) >= period.from);
        let kept = kept.fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        self.slots.clear();
        self.layout = Layout::Calendar { until: period.until };
        if kept > 0 {
            self.slots.push((period.from, kept));
        }
        period
    }

    /// The last moment of a slot.
    fn last_micros(&self, slot: u64) -> u64 {
        match self.layout {
            Layout::Rolling { slot_micros } => {
                slot.saturating_add(1).saturating_mul(slot_micros).saturating_sub(1)
            }
            Layout::Calendar { until } => until.saturating_sub(1),
        }
    }

    /// Counts on in slots of another length. What was counted moves to the new slot of its old slot's
    /// end, so it is kept at least as long as before; never past `newest`, the slot of now.
    fn renumber(&mut self, slot_micros: u64, newest: u64) {
        let moved: SmallVec<[(u64, u64); 2]> = self
            .slots
            .iter()
            .map(|(slot, count)| ((self.last_micros(*slot) / slot_micros).min(newest), *count))
            .collect();
        self.slots.clear();
        self.layout = Layout::Rolling { slot_micros };
        for (slot, count) in moved {
            self.count(slot, count);
        }
    }

    fn forget_before(&mut self, oldest: u64) {
        // Most calls find nothing to forget: one comparison.
        if self.slots.first().is_some_and(|(slot, _)| *slot < oldest) {
            self.slots.retain(|(slot, _)| *slot >= oldest);
        }
    }

    /// Counts, and says in which slot.
    fn count(&mut self, slot: u64, cost: u64) -> u64 {
        match self.slots.last_mut() {
            // A clock that steps back counts into the newest slot: late, never lost.
            Some((newest, count)) if *newest >= slot => {
                *count = count.saturating_add(cost);
                *newest
            }
            _ => {
                self.slots.push((slot, cost));
                slot
            }
        }
    }

    /// Until enough of the oldest slots have left the window for `cost` permits under `limit`.
    fn until_free(&self, slot_micros: u64, limit: u64, cost: u64, now: u64) -> Option<Duration> {
        let mut used = self.used();
        self.slots.iter().find_map(|(slot, count)| {
            used = used.saturating_sub(*count);
            // The slot is in no window any more when SLOTS whole slots follow it.
            let free_at = slot.saturating_add(SLOTS + 1).saturating_mul(slot_micros);
            (used.saturating_add(cost) <= limit)
                .then(|| Duration::from_micros(free_at.saturating_sub(now)))
        })
    }
}

#[cfg(test)]
mod tests;
