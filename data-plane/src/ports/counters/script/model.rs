use std::collections::BTreeMap;
use std::time::Duration;

use super::{Call, Reply};

/// One counter as `take.lua` keeps it.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Model {
    counts: BTreeMap<u64, u64>,
    length: Option<u64>,
}

impl Model {
    pub(in super::super) fn take(&mut self, call: &Call<'_>, now: u64) -> Reply {
        let (length, current) = (call.slot_micros, now / call.slot_micros);
        self.renumber(length, current);
        for (slot, unused) in call.give_back {
            if let Some(count) = self.counts.get_mut(slot) {
                *count = count.saturating_sub(*unused);
            }
        }
        self.counts.retain(|slot, _| *slot >= current.saturating_sub(call.look_back));
        let used: u64 = self.counts.values().sum();
        let newest = self.counts.keys().next_back().copied().unwrap_or(0).max(current);
        let left = call.limit.saturating_sub(used);
        let mut granted = left.min(call.need.max(call.want.min(left / call.divisor)));
        if granted < call.fewest {
            granted = 0;
        }
        if granted > 0 {
            *self.counts.entry(newest).or_default() += granted;
            self.length = Some(length);
        }
        let reset = self.reset(call, used, granted, now);
        Reply {
            granted,
            left: call.limit.saturating_sub(used + granted),
            reset,
            slot: newest,
            slot_left: Duration::from_micros((current + 1) * length - now),
        }
    }

    fn renumber(&mut self, length: u64, current: u64) {
        let Some(old) = self.length.filter(|old| *old != length) else { return };
        let mut moved = BTreeMap::new();
        for (slot, count) in std::mem::take(&mut self.counts) {
            let to = (((slot + 1) * old - 1) / length).min(current);
            *moved.entry(to).or_insert(0) += count;
        }
        self.length = Some(length);
        self.counts = moved;
    }

    fn reset(&self, call: &Call<'_>, used: u64, granted: u64, now: u64) -> Duration {
        let (ask, bound) = if granted < call.need {
            (call.fewest.max(1), call.limit)
        } else {
            (1, used + granted)
        };
        let mut sum = used + granted;
        for (slot, count) in &self.counts {
            sum -= count;
            if sum + ask <= bound {
                let free_at = (slot + call.look_back + 1) * call.slot_micros;
                return Duration::from_micros(free_at.saturating_sub(now));
            }
        }
        Duration::from_micros(call.slot_micros * 32)
    }
}
