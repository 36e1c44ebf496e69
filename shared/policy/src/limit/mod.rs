//! The one limiter's arithmetic: what a limit is, and what a subject has used of it.
//!
//! A rolling window is cut into [`SLOTS`] slots. What is admitted is counted in the slot of its
//! time; a request is admitted if all slots that reach into the window, with its own cost, stay
//! within the limit. The oldest slot counts whole as long as any of it is in the window, so no
//! window of the given length ever sees more than the limit; the price is that permits come back up
//! to one slot late. A token bucket (GCRA) would be smaller and would admit up to twice the limit
//! within one window. See ADR 0008.
//!
//! A window of the calendar has one slot, which is the window itself: what was counted in it is gone
//! when it ends.

// Windows of the calendar.
pub mod calendar;
// What a subject has used of a limit.
mod usage;
// Whom a limit counts for.
pub mod subject;
// What one request takes.
pub mod cost;
// What one request did take, told by its answer.
pub mod settle;
// What every limit that is counted does with a request.
pub mod meter;
// What all limits have in common in what an operator writes.
pub mod written;

use std::sync::Arc;
use std::time::Duration;

pub use calendar::Calendar;
pub use usage::Usage;

/// The slots of a rolling window.
pub const SLOTS: u64 = 32;

/// One limit.
#[derive(Clone, Debug)]
pub struct Definition {
    /// A stable name: counters are kept under it, so an edit of the numbers keeps what is counted.
    pub id: Arc<str>,
    /// Permits in one window, at least 1.
    pub limit: u64,
    /// Over what time they are counted.
    pub window: Window,
    /// How exactly the cluster agrees.
    pub enforcement: Enforcement,
    /// What to do while the shared counters cannot be reached.
    pub on_failure: OnFailure,
    /// Whether calls are settled when they end, so that permits may come back before their time.
    pub is_settled: bool,
}

/// Over what time a limit counts.
#[derive(Clone, Debug)]
pub enum Window {
    /// The time before now, of this length; at least one second.
    Rolling(Duration),
    /// The minute, the day, the month of now.
    Calendar(Arc<Calendar>),
}

impl From<Duration> for Window {
    fn from(length: Duration) -> Self {
        Self::Rolling(length)
    }
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

impl Window {
    /// Tells it from every other window: what was decided under one does not hold under another.
    #[must_use]
    pub fn shape(&self) -> u64 {
        match self {
            Self::Rolling(length) => slot_micros(*length),
            Self::Calendar(calendar) => calendar.shape(),
        }
    }

    /// The length of the window that a moment lies in.
    #[must_use]
    pub fn length_at(&self, now_unix_micros: u64) -> Duration {
        match self {
            Self::Rolling(length) => *length,
            Self::Calendar(calendar) => {
                let period = calendar.window_at(now_unix_micros);
                Duration::from_micros(period.until - period.from)
            }
        }
    }

    /// Until the window that a moment lies in is over; of a rolling one, its length.
    #[must_use]
    pub fn left_at(&self, now_unix_micros: u64) -> Duration {
        match self {
            Self::Rolling(length) => *length,
            Self::Calendar(calendar) => {
                let period = calendar.window_at(now_unix_micros);
                Duration::from_micros(period.until.saturating_sub(now_unix_micros))
            }
        }
    }
}

/// The length of one slot of a rolling window, in microseconds; at least 1.
#[must_use]
pub fn slot_micros(window: Duration) -> u64 {
    let window = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
    (window / SLOTS).max(1)
}
