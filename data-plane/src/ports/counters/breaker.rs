//! Keeps requests from waiting for a Redis that does not answer.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::Notify;

/// Failures in a row that open it.
const FAILURES: u32 = 3;

/// Closed while calls succeed. While it is open nobody calls but the prober, which closes it.
#[derive(Debug)]
pub(super) struct Breaker {
    is_open: AtomicBool,
    failures: AtomicU32,
    opened: Notify,
}

impl Breaker {
    /// Open: nothing is known of the other side yet.
    pub(super) fn new() -> Self {
        Self { is_open: AtomicBool::new(true), failures: AtomicU32::new(0), opened: Notify::new() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// A call succeeded. It does not close an open breaker: the call may be an old one.
    pub(super) fn succeeded(&self) {
        // A load first: the common case must not write to what all threads read.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A call failed or took too long.
    pub(super) fn failed(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            self.open();
        }
    }

    /// Opens at once, where no further call can succeed.
    pub(super) fn open(&self) {
        if !self.is_open.swap(true, Ordering::AcqRel) {
            self.opened.notify_one();
        }
    }

    /// The prober succeeded.
    pub(super) fn close(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.is_open.store(false, Ordering::Release);
    }

    /// Returns when it has been opened. For one prober alone.
    pub(super) async fn opened(&self) {
        while !self.is_open() {
            self.opened.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let breaker = Breaker::new();
        breaker.close();
        breaker.failed();
        breaker.failed();
        breaker.succeeded();
        breaker.failed();
        breaker.failed();
        assert!(!breaker.is_open());
        breaker.failed();
        assert!(breaker.is_open());
    }

    #[test]
    fn a_late_success_does_not_close_it() {
        let breaker = Breaker::new();
        breaker.succeeded();
        assert!(breaker.is_open());
    }
}
