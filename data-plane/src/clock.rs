//! The one place that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970-01-01; 0 for a clock that is set before that.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock port's implementation")]
pub fn unix_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
