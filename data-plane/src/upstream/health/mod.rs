//! Which endpoints are well, as this node knows: by calls that failed, and by questions of its own. Shared by all
//! request threads, and kept from one plan to the next.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use tollgate_model::health::Passive;

use crate::clock;
use crate::core::Core;
use crate::fault::Fault;
use crate::plan::{Endpoint, UpstreamPlan};

// Questions of the node's own.
mod active;
// Those over gRPC.
mod grpc;

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
    /// From when on its share of the calls rises, in microseconds since 1970-01-01; 0: it has all of it.
    rising_from_micros: AtomicU64,
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
        let is_new = self.is_down.swap(is_down, Ordering::Relaxed) != is_down;
        if is_new && !is_down {
            self.rise_from(clock::unix_micros());
        }
        is_new
    }

    /// One that was not there before.
    #[must_use]
    pub(crate) fn of_newcomer() -> Self {
        let health = Self::default();
        health.rise_from(clock::unix_micros());
        health
    }

    fn rise_from(&self, micros: u64) {
        // What leaves it out for longer counts.
        self.rising_from_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// How much of its share of the calls it is to have, 0.0 to 1.0, where that rises over so long.
    pub(super) fn share(&self, slow_start: Duration) -> f64 {
        let from = self.rising_from_micros.load(Ordering::Relaxed);
        if from == 0 {
            return 1.0;
        }
        let risen = Duration::from_micros(clock::unix_micros().saturating_sub(from));
        if risen < slow_start {
            return risen.div_duration_f64(slow_start);
        }
        // From here on the clock is not asked.
        let rising = &self.rising_from_micros;
        let _ = rising.compare_exchange(from, 0, Ordering::Relaxed, Ordering::Relaxed);
        1.0
    }
}

/// Whether what came of a request speaks against who was asked; none where it says nothing of them.
pub(super) fn is_failure(outcome: Result<StatusCode, &Fault>) -> Option<bool> {
    match outcome {
        Ok(status) => Some(status.is_server_error()),
        Err(fault) => {
            matches!(fault, Fault::Unreachable | Fault::Reset | Fault::TimedOut).then_some(true)
        }
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
    let endpoints = &upstream.endpoints.current().all;
    let ejected = endpoints.iter().filter(|endpoint| endpoint.health.is_ejected()).count();
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    count(ejected + 1) <= count(endpoints.len()) * passive.max_ejected
}

fn eject(endpoint: &Endpoint, passive: &Passive) {
    let health = &endpoint.health;
    let times = (health.ejections.fetch_add(1, Ordering::Relaxed) + 1).min(MAX_EJECT_FACTOR);
    let time = passive.eject_for.get() * times;
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let until = clock::unix_micros().saturating_add(micros);
    health.ejected_until_micros.store(until, Ordering::Relaxed);
    health.rise_from(until);
    health.failures.store(0, Ordering::Relaxed);
    tracing::warn!(
        endpoint = ?endpoint.authority,
        address = %endpoint.address,
        time_ms = time.as_millis(),
        "an endpoint is left out for calls that failed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_rises_evenly_from_when_an_endpoint_may_be_asked_again() {
        let hour = Duration::from_secs(3600);
        let health = EndpointHealth::default();
        assert!(health.share(hour) >= 1.0);
        let ago = |duration: Duration| {
            clock::unix_micros() - u64::try_from(duration.as_micros()).unwrap()
        };
        health.rise_from(ago(hour / 4));
        assert!((health.share(hour) - 0.25).abs() < 0.01);
        // Left out until then, it begins then.
        health.rise_from(clock::unix_micros() + 60_000_000);
        assert!(health.share(hour) <= 0.0);
        assert!(health.share(Duration::from_nanos(1)) <= 0.0);
    }

    #[test]
    fn a_share_is_whole_after_its_time_and_stays_so() {
        let health = EndpointHealth::of_newcomer();
        assert!(health.share(Duration::from_secs(3600)) < 0.1);
        while health.share(Duration::from_micros(10)) < 1.0 {}
        assert!(health.share(Duration::from_secs(3600)) >= 1.0);
    }

    #[test]
    fn who_is_well_again_rises_and_who_is_found_well_at_once_does_not() {
        let health = EndpointHealth::default();
        assert!(!health.set_down(false) && health.share(Duration::from_secs(3600)) >= 1.0);
        health.set_down(true);
        assert!(health.set_down(false) && health.share(Duration::from_secs(3600)) < 0.1);
    }
}
