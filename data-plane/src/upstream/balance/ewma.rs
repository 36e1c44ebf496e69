//! How fast an endpoint answers: an average that forgets, rises at once and falls slowly (the peak EWMA of Finagle).

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// After this long without an answer, the average is a third of what it was.
const DECAY: Duration = Duration::from_secs(10);

/// The average of one core for one endpoint.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Ewma {
    micros: Cell<f64>,
    at: Cell<Option<Instant>>,
}

impl Ewma {
    /// Takes in the time from a request to the head of its answer; for a failure, the time that it took away.
    pub(in crate::upstream) fn observe(&self, elapsed: Duration, now: Instant) {
        let micros = elapsed.as_secs_f64() * 1e6;
        let average = self.now(now);
        let weight = self.weight(now);
        // What got slower is known at once: the others are better until it is shown to be fast again.
        let next = if micros > average {
            micros
        } else {
            self.micros.get() * weight + micros * (1.0 - weight)
        };
        self.micros.set(next);
        self.at.set(Some(now));
    }

    /// The load of an endpoint with so many requests under way, the next one included.
    pub(in crate::upstream) fn load(&self, active: u32, now: Instant) -> f64 {
        // One that was never asked is as good as the fastest.
        self.now(now).max(1.0) * (f64::from(active) + 1.0)
    }

    fn now(&self, now: Instant) -> f64 {
        self.micros.get() * self.weight(now)
    }

    fn weight(&self, now: Instant) -> f64 {
        let age = self.at.get().map_or(Duration::ZERO, |at| now - at);
        (-age.as_secs_f64() / DECAY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_once_falls_slowly_and_forgets() {
        let ewma = Ewma::default();
        let now = Instant::now();
        let ms = Duration::from_millis;
        ewma.observe(ms(1), now);
        ewma.observe(ms(100), now + ms(10));
        assert!(ewma.load(0, now + ms(10)) > 99_000.0);
        ewma.observe(ms(1), now + ms(20));
        assert!(ewma.load(0, now + ms(20)) > 90_000.0);
        for i in 0..100 {
            ewma.observe(ms(1), now + ms(1000 * i));
        }
        assert!(ewma.load(0, now + ms(99_000)) < 2_000.0);
        assert!(ewma.load(0, now + ms(200_000)) < 2.0);
        let load = ewma.load(0, now + ms(99_000));
        assert!((ewma.load(3, now + ms(99_000)) - 4.0 * load).abs() < 0.1);
    }
}
