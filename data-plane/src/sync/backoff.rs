//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(15);

/// Doubles from 50 ms to 15 s, each wait drawn from its upper half, so that the nodes of a control
/// plane that comes back don't all come at once.
pub(super) struct Backoff(Duration);

impl Backoff {
    /// The shortest wait is next.
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let longest = self.0;
        self.0 = longest.saturating_mul(2).min(LONGEST);
        longest.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// All is well: the next failure is the first again.
    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_50_ms_to_15_s_and_begin_anew_after_a_reset() {
        let mut backoff = Backoff::new();
        for longest_ms in [50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000] {
            let wait_ms = backoff.next().as_millis();
            assert!((longest_ms / 2..=longest_ms).contains(&wait_ms), "{wait_ms} of {longest_ms}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
