//! Which endpoints are well, as this node knows: by calls that failed, and by questions of its own. Shared by all
//! request threads, and kept from one plan to the next.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tollgate_model::health::Passive;

use crate::clock;
use crate::core::Core;
use crate::plan::{Endpoint, UpstreamPlan};

// Questions of the node's own.
mod active;

pub use active::Checks;

/// An endpoint that is left out again and again is left out longer each time, up to so many times as long.
const MAX_EJECT_FACTOR: u32 = 10;

/// What is known of one endpoint of one upstream.
#[derive(Debug, Default)]
pub struct EndpointHealth {
    /// Failed calls in a row.
    failures: AtomicU32,
    /// How often in a row it was left out.
    ejections: AtomicU32,
    /// Until when it is left out, in microseconds since 1970-01-01; 0: it is not.
    ejected_until_micros: AtomicU64,
    /// Whether the node's own questions say so.
    is_down: AtomicBool,
}

impl EndpointHealth {
    /// Whether it is asked.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !self.is_down.load(Ordering::Relaxed) && !self.is_ejected()
    }

    fn is_ejected(&self) -> bool {
        let until = self.ejected_until_micros.load(Ordering::Relaxed);
        until != 0 && clock::unix_micros() < until
    }

    /// What the node's own questions say now. Returns whether that is new.
    fn set_down(&self, is_down: bool) -> bool {
        self.is_down.swap(is_down, Ordering::Relaxed) != is_down
    }
}

/// Takes in how a call ended at an endpoint.
pub(super) fn observe(core: &Core, upstream: &UpstreamPlan, endpoint: &Endpoint, is_failure: bool) {
    let Some(passive) = &upstream.passive else { return };
    let health = &endpoint.health;
    if !is_failure {
        // Written only where it changes: all cores share it.
        if health.failures.load(Ordering::Relaxed) != 0 {
            health.failures.store(0, Ordering::Relaxed);
        }
        if health.ejections.load(Ordering::Relaxed) != 0 && !health.is_ejected() {
            health.ejections.store(0, Ordering::Relaxed);
        }
        return;
    }
    let failures = health.failures.fetch_add(1, Ordering::Relaxed) + 1;
    if failures >= u32::from(passive.failures)
        && !health.is_ejected()
        && may_eject(upstream, passive)
    {
        core.metrics.upstream_ejections.add(1);
        eject(endpoint, passive);
    }
}

/// Whether one more may be left out.
fn may_eject(upstream: &UpstreamPlan, passive: &Passive) -> bool {
    let ejected = upstream.endpoints.iter().filter(|endpoint| endpoint.health.is_ejected()).count();
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    count(ejected + 1) <= count(upstream.endpoints.len()) * passive.max_ejected
}

fn eject(endpoint: &Endpoint, passive: &Passive) {
    let health = &endpoint.health;
    let times = (health.ejections.fetch_add(1, Ordering::Relaxed) + 1).min(MAX_EJECT_FACTOR);
    let time = passive.eject_for.get() * times;
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let until = clock::unix_micros().saturating_add(micros);
    health.ejected_until_micros.store(until, Ordering::Relaxed);
    health.failures.store(0, Ordering::Relaxed);
    tracing::warn!(
        endpoint = ?endpoint.authority,
        time_ms = time.as_millis(),
        "an endpoint is left out for calls that failed"
    );
}
