//! A breaker: where too many calls of an upstream fail, none are sent for a while, so that it has time to recover and
//! callers need not wait for what would fail. One for all request threads of a node.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_model::upstream::Breaker as Spec;

/// Into so many slots a window is cut; a call counts for the window, less up to one slot.
const SLOTS: u32 = 10;
/// The most calls that a slot counts; those beyond it would not change a share.
const MOST: u64 = 0xffff;

/// Counts how calls end, and says which may be sent.
#[derive(Debug)]
pub struct Breaker {
    spec: Spec,
    /// What its times are counted from.
    began: Instant,
    /// Until when it is open, in microseconds from `began`; 0: it is closed. Who finds that time past moves it on, and is
    /// let through: of all threads, one.
    open_until: AtomicU64,
    slots: [AtomicU64; 10],
}

/// A call that was let through. Dropped without an end, it says nothing.
#[derive(Debug)]
pub(super) struct Passage<'a> {
    breaker: &'a Breaker,
    /// For the one call that is to show whether the upstream is well again: what it moved `open_until` to.
    probe: Option<u64>,
}

/// What a slot holds: the number of its time in 32 bits, calls in 16, failed ones in 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    number: u64,
    calls: u64,
    failures: u64,
}

impl Tally {
    fn of(packed: u64) -> Self {
        Self { number: packed >> 32, calls: (packed >> 16) & MOST, failures: packed & MOST }
    }

    fn packed(self) -> u64 {
        (self.number << 32) | (self.calls << 16) | self.failures
    }

    /// With one more call in the time of that number.
    fn with(self, number: u64, is_failure: bool) -> Self {
        let Self { calls, failures, .. } =
            if self.number == number { self } else { Self::default() };
        if calls == MOST {
            return self;
        }
        Self { number, calls: calls + 1, failures: failures + u64::from(is_failure) }
    }
}

impl Breaker {
    /// One that is closed.
    #[must_use]
    pub(crate) fn new(spec: Spec) -> Self {
        let (open_until, slots) = (AtomicU64::new(0), std::array::from_fn(|_| AtomicU64::new(0)));
        Self { spec, began: Instant::now(), open_until, slots }
    }

    /// What it goes by.
    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Lets a call through, or says after how long one may be.
    pub(super) fn admit(&self, now: Instant) -> Result<Passage<'_>, Duration> {
        let (now, until) = (self.micros(now), self.open_until.load(Ordering::Relaxed));
        if until == 0 {
            return Ok(Passage { breaker: self, probe: None });
        }
        if now < until {
            return Err(Duration::from_micros(until - now));
        }
        let next = self.until(now);
        let moved =
            self.open_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed);
        match moved {
            Ok(_) => Ok(Passage { breaker: self, probe: Some(next) }),
            Err(0) => Ok(Passage { breaker: self, probe: None }),
            Err(other) => Err(Duration::from_micros(other.saturating_sub(now))),
        }
    }

    /// Counts a call. Returns whether it opens.
    fn count(&self, now: Instant, is_failure: bool) -> bool {
        let now = self.micros(now);
        let number = self.number_at(now);
        let index = usize::try_from(number % u64::from(SLOTS)).unwrap_or(0);
        let Some(slot) = self.slots.get(index) else { return false };
        let more = |packed| Some(Tally::of(packed).with(number, is_failure).packed());
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        is_failure && self.is_too_much(number) && {
            let until = self.until(now);
            let open = &self.open_until;
            open.compare_exchange(0, until, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        }
    }

    fn is_too_much(&self, number: u64) -> bool {
        let first = number.saturating_sub(u64::from(SLOTS) - 1);
        let tallies = self.slots.iter().map(|slot| Tally::of(slot.load(Ordering::Relaxed)));
        let recent = tallies.filter(|tally| (first..=number).contains(&tally.number));
        let (calls, failures) = recent.fold((0, 0), |(calls, failures), tally| {
            (calls + tally.calls, failures + tally.failures)
        });
        let count = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        calls >= u64::from(self.spec.calls) && count(failures) >= count(calls) * self.spec.failures
    }

    /// What came before says nothing of how it is now.
    fn close(&self) {
        for slot in &self.slots {
            slot.store(0, Ordering::Relaxed);
        }
        self.open_until.store(0, Ordering::Relaxed);
    }

    fn until(&self, now: u64) -> u64 {
        // Never 0, which means that it is closed.
        now.saturating_add(micros(self.spec.open_for.get())).max(1)
    }

    fn micros(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.began))
    }

    fn number_at(&self, now: u64) -> u64 {
        // From 1 on: a slot of number 0 was never used.
        now / micros(self.spec.window.get() / SLOTS).max(1) + 1
    }
}

impl Passage<'_> {
    /// How the call ended; none: in a way that says nothing of the upstream. Returns whether the breaker opens.
    pub(super) fn end(mut self, now: Instant, is_failure: Option<bool>) -> bool {
        let Some(is_failure) = is_failure else { return false };
        if self.probe.take().is_none() {
            return self.breaker.count(now, is_failure);
        }
        if is_failure {
            let until = self.breaker.until(self.breaker.micros(now));
            self.breaker.open_until.store(until, Ordering::Relaxed);
        } else {
            self.breaker.close();
        }
        false
    }
}

impl Drop for Passage<'_> {
    /// Another one may show how the upstream is.
    fn drop(&mut self) {
        let Some(moved_to) = self.probe else { return };
        let back = moved_to.saturating_sub(micros(self.breaker.spec.open_for.get())).max(1);
        let open = &self.breaker.open_until;
        // Where it is another's by now, that one decides.
        let _ = open.compare_exchange(moved_to, back, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tollgate_model::units::Span;

    use super::*;

    fn breaker() -> (Breaker, Instant) {
        let spec = Spec {
            failures: 0.5,
            calls: 4,
            window: Span::from_secs(10),
            open_for: Span::from_secs(5),
        };
        let breaker = Breaker::new(spec);
        let began = breaker.began;
        (breaker, began)
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Whether each call is let through, at that second with that end.
    fn calls(breaker: &Breaker, began: Instant, calls: &[(u64, Option<bool>)]) -> Vec<bool> {
        let call = |(second, is_failure): &(u64, Option<bool>)| {
            let now = began + secs(*second);
            let passage = breaker.admit(now);
            passage.map(|passage| passage.end(now, *is_failure)).is_ok()
        };
        calls.iter().map(call).collect()
    }

    const GOOD: Option<bool> = Some(false);
    const BAD: Option<bool> = Some(true);

    #[test]
    fn it_opens_at_its_share_of_enough_calls_and_not_before() {
        let (breaker, began) = breaker();
        let few = [(0, BAD), (0, BAD), (0, BAD)];
        assert_eq!(calls(&breaker, began, &few), [true; 3]);
        assert_eq!(calls(&breaker, began, &[(1, GOOD)]), [true]);
        // Three of four have failed by now, and this is the next that does.
        assert_eq!(calls(&breaker, began, &[(1, BAD), (1, GOOD), (5, GOOD)]), [true, false, false]);
        let mostly_good = self::breaker();
        let calls = calls(
            &mostly_good.0,
            mostly_good.1,
            &[(0, GOOD), (0, GOOD), (0, GOOD), (0, BAD), (0, BAD), (0, GOOD)],
        );
        assert_eq!(calls, [true; 6]);
    }

    #[test]
    fn what_is_older_than_the_window_or_says_nothing_does_not_count() {
        let (breaker, began) = breaker();
        let old = [(0, BAD), (0, BAD), (0, BAD), (11, BAD), (11, BAD), (12, BAD)];
        assert_eq!(calls(&breaker, began, &old), [true; 6]);
        assert_eq!(calls(&breaker, began, &[(12, None), (12, None), (12, GOOD)]), [true; 3]);
    }

    #[test]
    fn one_call_is_let_through_after_its_time_and_decides() {
        let (breaker, began) = breaker();
        calls(&breaker, began, &[(0, BAD); 4]);
        let now = began + secs(5);
        let probe = breaker.admit(now).unwrap();
        assert_eq!(breaker.admit(now).unwrap_err(), secs(5));
        probe.end(now + secs(1), BAD);
        assert_eq!(breaker.admit(began + secs(10)).unwrap_err(), secs(1));
        // Given up by its client, it leaves the decision to the next.
        drop(breaker.admit(began + secs(11)).unwrap());
        let probe = breaker.admit(began + secs(11)).unwrap();
        probe.end(began + secs(11), GOOD);
        // What failed before is forgotten.
        assert_eq!(calls(&breaker, began, &[(11, BAD), (11, BAD), (11, BAD)]), [true; 3]);
        assert_eq!(calls(&breaker, began, &[(11, BAD), (11, BAD)]), [true, false]);
    }

    #[test]
    fn a_call_that_is_never_heard_of_again_does_not_keep_it_open() {
        let (breaker, began) = breaker();
        calls(&breaker, began, &[(0, BAD); 4]);
        let lost = breaker.admit(began + secs(5)).unwrap();
        assert!(breaker.admit(began + secs(9)).is_err());
        let next = breaker.admit(began + secs(10)).unwrap();
        drop(lost);
        assert!(breaker.admit(began + secs(10)).is_err());
        next.end(began + secs(10), GOOD);
        assert!(breaker.admit(began + secs(10)).is_ok());
    }

    #[test]
    fn a_slot_counts_so_many_calls_and_keeps_their_share() {
        let mut tally = Tally::default();
        for i in 0..100_000_u32 {
            tally = Tally::of(tally.with(7, i % 2 == 0).packed());
        }
        assert_eq!(tally, Tally { number: 7, calls: MOST, failures: MOST / 2 + 1 });
        assert_eq!(tally.with(8, false), Tally { number: 8, calls: 1, failures: 0 });
    }
}
