use std::collections::BTreeMap;
use std::time::Duration;

use super::{Call, Reply, Slots};

/// One counter as `take.lua` keeps it.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Model {
    counts: BTreeMap<u64, u64>,
    length: Option<u64>,
    until: Option<u64>,
}

impl Model {
    pub(in super::super) fn take(&mut self, call: &Call<'_>, now: u64) -> Reply {
        match call.slots {
            Slots::Rolling { slot_micros, look_back } => {
                self.take_rolling(call, slot_micros, look_back, now)
            }
            Slots::Calendar { bounds, node_micros } => {
                let is_far = !(bounds[0]..bounds[3]).contains(&now);
                self.take_calendar(call, bounds, if is_far { node_micros } else { now })
            }
        }
    }

    fn take_rolling(&mut self, call: &Call<'_>, length: u64, back: u64, now: u64) -> Reply {
        let current = now / length;
        if self.until.is_some() || self.length.is_some_and(|old| old != length) {
            let mut moved = BTreeMap::new();
            for (slot, count) in &self.counts {
                *moved.entry((self.last(*slot) / length).min(current)).or_insert(0) += count;
            }
            (self.counts, self.length, self.until) = (moved, Some(length), None);
        }
        let charged = self.give_back(call, current.saturating_sub(back));
        self.counts.retain(|slot, _| *slot >= current.saturating_sub(back));
        let newest = self.counts.keys().next_back().copied().unwrap_or(0).max(current);
        self.charge(newest, charged);
        let (used, granted) = self.grant(call, newest);
        if granted > 0 || charged > 0 {
            self.length = Some(length);
        }
        let reset = self.reset(call, (used, granted), now, (length, back));
        Reply {
            granted,
            left: call.limit.saturating_sub(used + granted),
            reset,
            slot: newest,
            slot_left: Duration::from_micros((current + 1) * length - now),
        }
    }

    fn take_calendar(&mut self, call: &Call<'_>, bounds: [u64; 4], now: u64) -> Reply {
        let i = (0..3).rev().find(|i| now >= bounds[*i]).unwrap();
        let (mut from, mut until) = (bounds[i], bounds[i + 1]);
        let counted = self.until.and_then(|ended| Some((*self.counts.keys().next()?, ended)));
        match counted {
            Some((first, ended)) if first > now => (from, until) = (first, ended),
            Some(same) if same == (from, until) => {}
            _ => {
                let counts = self.counts.iter().filter(|(slot, _)| self.last(**slot) >= from);
                let kept: u64 = counts.map(|(_, count)| count).sum();
                let had_some = self.counts.keys().any(|slot| self.last(*slot) >= from);
                self.counts = had_some.then_some((from, kept)).into_iter().collect();
                (self.length, self.until) = (None, Some(until));
            }
        }
        let charged = self.give_back(call, 0);
        self.charge(from, charged);
        let (used, granted) = self.grant(call, from);
        Reply {
            granted,
            left: call.limit.saturating_sub(used + granted),
            reset: Duration::from_micros(until - now),
            slot: from,
            slot_left: Duration::from_micros(until - now),
        }
    }

    /// Says how much is to be charged for slots that are gone.
    fn give_back(&mut self, call: &Call<'_>, oldest: u64) -> u64 {
        let mut charged = 0;
        for (slot, unused) in call.give_back {
            match self.counts.get_mut(slot) {
                Some(count) if *slot >= oldest => {
                    *count = count.saturating_add_signed(-unused);
                }
                _ => charged += u64::try_from(-unused).unwrap_or(0),
            }
        }
        charged
    }

    fn charge(&mut self, slot: u64, charged: u64) {
        if charged > 0 {
            *self.counts.entry(slot).or_default() += charged;
        }
    }

    fn grant(&mut self, call: &Call<'_>, slot: u64) -> (u64, u64) {
        let used: u64 = self.counts.values().sum();
        let left = call.limit.saturating_sub(used);
        let mut granted = left.min(call.need.max(call.want.min(left / call.divisor)));
        if granted < call.fewest {
            granted = 0;
        }
        if granted > 0 {
            *self.counts.entry(slot).or_default() += granted;
        }
        (used, granted)
    }

    /// The last moment of a slot.
    fn last(&self, slot: u64) -> u64 {
        match (self.until, self.length) {
            (Some(until), _) => until - 1,
            (None, Some(length)) => (slot + 1) * length - 1,
            (None, None) => slot,
        }
    }

    fn reset(
        &self,
        call: &Call<'_>,
        (used, granted): (u64, u64),
        now: u64,
        (length, back): (u64, u64),
    ) -> Duration {
        let (ask, bound) = if granted < call.need {
            (call.fewest.max(1), call.limit)
        } else {
            (1, used + granted)
        };
        let mut sum = used + granted;
        for (slot, count) in &self.counts {
            sum -= count;
            if sum + ask <= bound {
                let free_at = (slot + back + 1) * length;
                return Duration::from_micros(free_at.saturating_sub(now));
            }
        }
        Duration::from_micros(length * 32)
    }
}
