//! Refusals by Redis that a node remembers, so that a subject over its limit costs no traffic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate_policy::limit::{Definition, Enforcement};
use tollgate_policy::ports::Decision;

use super::super::script::Reply;
use super::{Subject, ceil_millis};

/// Where permits may come back before their time, Redis is asked again so often.
pub(super) const LONGEST_MS: u64 = 1_000;

/// A refusal, and for what requests it holds.
#[derive(Default)]
pub(super) struct Denial {
    /// Redis is not asked before.
    holds_until_ms: AtomicU64,
    /// What the request is told.
    until_ms: AtomicU64,
    limit: AtomicU64,
    shape: AtomicU64,
    cost: AtomicU64,
}

impl Denial {
    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        self.holds_until_ms.load(Ordering::Acquire) <= now_ms
    }

    /// Has Redis asked again.
    pub(super) fn forget(&self) {
        self.holds_until_ms.store(0, Ordering::Release);
    }
}

impl Subject {
    /// A refusal that still holds for such a request.
    pub(in super::super) fn denial(
        &self,
        definition: &Definition,
        cost: u64,
        now_ms: u64,
    ) -> Option<Decision> {
        let denial = &self.denial;
        let holds = !denial.is_over(now_ms)
            && denial.cost.load(Ordering::Relaxed) <= cost
            && denial.limit.load(Ordering::Relaxed) == definition.limit
            && denial.shape.load(Ordering::Relaxed) == definition.window.shape();
        holds.then(|| Decision {
            is_admitted: false,
            remaining: self.left_in_redis.load(Ordering::Relaxed).min(cost.saturating_sub(1)),
            reset: Duration::from_millis(
                denial.until_ms.load(Ordering::Relaxed).saturating_sub(now_ms).max(1),
            ),
            booked: None,
        })
    }

    /// Keeps a refusal by Redis until asking again can help.
    pub(in super::super) fn deny(
        &self,
        definition: &Definition,
        cost: u64,
        reply: &Reply,
        now_ms: u64,
    ) -> Decision {
        let denial = &self.denial;
        let reset_ms = ceil_millis(reply.reset);
        // Not in force while its parts do not belong together.
        denial.forget();
        denial.until_ms.store(now_ms.saturating_add(reset_ms), Ordering::Relaxed);
        denial.cost.store(cost, Ordering::Relaxed);
        denial.limit.store(definition.limit, Ordering::Relaxed);
        denial.shape.store(definition.window.shape(), Ordering::Relaxed);
        self.left_in_redis.store(reply.left, Ordering::Relaxed);
        // Nodes may give permits back, unspent or when a call has ended: then some can be had before the window moves on.
        let comes_back = definition.is_settled || definition.enforcement == Enforcement::Leased;
        let holds_ms = if comes_back { reset_ms.min(LONGEST_MS) } else { reset_ms };
        denial.holds_until_ms.store(now_ms.saturating_add(holds_ms), Ordering::Release);
        let (remaining, reset) = (reply.left, reply.reset);
        Decision { is_admitted: false, remaining, reset, booked: None }
    }
}
