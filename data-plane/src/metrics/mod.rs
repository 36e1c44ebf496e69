//! Every metric: what is counted, and its bounds. Each core counts for itself; who reads adds them up.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use http::StatusCode;
use tollgate_policy::policy::RouteFacts;
use tollgate_policy::stored::Outcome as CacheOutcome;

// Names, labels and units, as Prometheus reads them.
mod text;

pub use text::{NodeFacts, render};

/// The most APIs that have series of their own on a core; the others share `_other`.
const MAX_APIS: usize = 1_000;

/// The most numbers of APIs that a core remembers the counters of: more than there are APIs.
const MOST_KNOWN: usize = 1 << 16;

/// Upper bounds of the duration histogram, in microseconds.
const BOUNDS_MICROS: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// A counter with one writer: plain loads and stores, no locked instruction.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the core that owns it may.
    pub fn add(&self, number: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(number), Ordering::Relaxed);
    }

    /// What it holds.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one core counts of one API.
#[derive(Default)]
pub struct ApiCounters {
    /// By the first digit of the status, from 1.
    responses: [Counter; 5],
    buckets: [Counter; BOUNDS_MICROS.len() + 1],
    duration_micros: Counter,
    request_bytes: Counter,
    response_bytes: Counter,
}

/// What one core counts.
#[derive(Default)]
pub struct CoreMetrics {
    /// By the API's number; `/metrics` reads them while the core goes on.
    apis: DashMap<u32, (ApiLabels, Arc<ApiCounters>), foldhash::fast::FixedState>,
    /// Connections taken.
    pub connections_accepted: Counter,
    /// Connections that ended.
    pub connections_closed: Counter,
    /// Connections refused for want of room.
    pub connections_refused: Counter,
    /// Connections closed for want of a good header of the PROXY protocol.
    pub proxy_headers_refused: Counter,
    /// TLS handshakes that ended well.
    pub tls_handshakes: Counter,
    /// Of those, of sessions that went on.
    pub tls_resumed: Counter,
    /// TLS handshakes that did not end well.
    pub tls_failures: Counter,
    /// Connections given up for what the client sent.
    pub framing_violations: Counter,
    /// Connections of HTTP/2 given up for frames that carry nothing.
    pub http2_floods: Counter,
    /// Connections made to upstreams.
    pub upstream_connections: Counter,
    /// Connections to upstreams that failed.
    pub upstream_connect_failures: Counter,
    /// Attempts after the first.
    pub upstream_retries: Counter,
    /// Endpoints left out for calls that failed.
    pub upstream_ejections: Counter,
    /// Calls refused because as much was under way to the upstream as may be.
    pub upstream_overloads: Counter,
    /// Upstreams that were left alone for calls that failed.
    pub upstream_breaker_openings: Counter,
    /// Calls refused meanwhile.
    pub upstream_breaker_refusals: Counter,
    /// Calls of policies' own without a usable answer.
    pub policy_call_failures: Counter,
    /// Copies of requests sent to mirrors.
    pub mirrored_requests: Counter,
    /// Copies that were not sent for want of room, or had no answer.
    pub mirror_failures: Counter,
    /// What caches did, in the order of [`CacheOutcome::ALL`].
    pub cache_outcomes: [Counter; CacheOutcome::ALL.len()],
    /// Exchanges that ended.
    pub requests: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ApiLabels {
    tenant: String,
    api: String,
}

/// How an exchange ended, for counting.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The status that was sent.
    pub status: StatusCode,
    /// From the request's head to the response's last byte.
    pub duration_micros: u64,
    /// Of the request's body.
    pub request_bytes: u64,
    /// Of the response's body.
    pub response_bytes: u64,
}

/// The API counters that a core knows without asking; by the API's number.
#[derive(Default)]
pub struct KnownApis(RefCell<HashMap<u32, Arc<ApiCounters>, foldhash::fast::FixedState>>);

impl CoreMetrics {
    /// Counts an exchange. `facts` is none where no route was found.
    pub fn count(&self, known: &KnownApis, facts: Option<(u32, &RouteFacts)>, outcome: Outcome) {
        self.requests.add(1);
        let number = facts.map_or(0, |(number, _)| number);
        let mut known = known.0.borrow_mut();
        if known.len() >= MOST_KNOWN {
            // Numbers are never used again: where APIs come and go, most of these are gone.
            known.clear();
        }
        let counters = known.entry(number).or_insert_with(|| self.register(number, facts));
        counters.count(outcome);
    }

    /// Counts what a cache did.
    pub fn count_cache(&self, outcome: CacheOutcome) {
        let index = CacheOutcome::ALL.iter().position(|known| *known == outcome);
        if let Some(counter) = index.and_then(|index| self.cache_outcomes.get(index)) {
            counter.add(1);
        }
    }

    /// Lets the series of APIs go that are not there any more, so that others have room.
    fn keep_apis(&self, live: &HashSet<u32>) {
        self.apis.retain(|number, _| matches!(*number, 0 | u32::MAX) || live.contains(number));
    }

    fn register(&self, number: u32, facts: Option<(u32, &RouteFacts)>) -> Arc<ApiCounters> {
        if let Some(entry) = self.apis.get(&number) {
            return Arc::clone(&entry.1);
        }
        let (number, labels) = match facts {
            Some((_, facts)) if self.apis.len() < MAX_APIS => (
                number,
                ApiLabels {
                    tenant: facts.tenant.as_str().to_owned(),
                    api: facts.api.as_str().to_owned(),
                },
            ),
            Some(_) => (u32::MAX, ApiLabels { tenant: "_other".into(), api: "_other".into() }),
            None => (0, ApiLabels { tenant: "_none".into(), api: "_none".into() }),
        };
        let entry = self.apis.entry(number).or_insert_with(|| (labels, Arc::default()));
        Arc::clone(&entry.1)
    }
}

impl ApiCounters {
    fn count(&self, outcome: Outcome) {
        let class = usize::from(outcome.status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.responses.get(class) {
            counter.add(1);
        }
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < outcome.duration_micros);
        if let Some(counter) = self.buckets.get(bucket) {
            counter.add(1);
        }
        self.duration_micros.add(outcome.duration_micros);
        self.request_bytes.add(outcome.request_bytes);
        self.response_bytes.add(outcome.response_bytes);
    }
}

/// Connections that are open now, over all cores.
#[must_use]
pub fn open_connections(cores: &[Arc<CoreMetrics>]) -> u64 {
    let sum =
        |pick: fn(&CoreMetrics) -> &Counter| cores.iter().map(|core| pick(core).get()).sum::<u64>();
    sum(|core| &core.connections_accepted).saturating_sub(sum(|core| &core.connections_closed))
}

/// Exchanges that have ended, over all cores.
#[must_use]
pub fn requests(cores: &[Arc<CoreMetrics>]) -> u64 {
    cores.iter().map(|core| core.requests.get()).sum()
}

#[cfg(test)]
mod tests {
    use tollgate_model::{FromText, Name};

    use super::*;
    use crate::upstream::names::Lookups;

    fn facts(api: &str) -> RouteFacts {
        RouteFacts {
            tenant: Name::default_name(),
            api: Name::from_text(api).unwrap(),
            route: None,
            base_path: tollgate_model::path::BasePath::root(),
        }
    }

    fn outcome(status: u16, duration_micros: u64) -> Outcome {
        Outcome {
            status: StatusCode::from_u16(status).unwrap(),
            duration_micros,
            request_bytes: 1,
            response_bytes: 2,
        }
    }

    #[test]
    fn the_series_of_an_api_end_with_it() {
        let (core, known) = (Arc::new(CoreMetrics::default()), KnownApis::default());
        for number in [1, 2] {
            core.count(&known, Some((number, &facts(&format!("a{number}")))), outcome(200, 1));
        }
        core.count(&known, None, outcome(404, 1));
        let live_apis = Some(HashSet::from([2]));
        let text = render(&[Arc::clone(&core)], &NodeFacts { live_apis, ..NodeFacts::default() });
        let shown = |api: &str| text.contains(&format!("api=\"{api}\""));
        assert_eq!((shown("a1"), shown("a2"), shown("_none")), (false, true, true));
    }

    #[test]
    fn an_api_that_has_its_series_keeps_it_when_there_is_no_room_and_the_core_forgot() {
        let (core, known) = (CoreMetrics::default(), KnownApis::default());
        for number in 1..=u32::try_from(MAX_APIS).unwrap() {
            core.count(&known, Some((number, &facts(&format!("a{number}")))), outcome(200, 1));
        }
        core.count(&KnownApis::default(), Some((7, &facts("a7"))), outcome(200, 1));
        let text = render(&[Arc::new(core)], &NodeFacts::default());
        let series = "tollgate_requests_total{tenant=\"default\",api=\"a7\",status=\"2xx\"} 2";
        assert!(text.contains(series) && !text.contains("_other"), "{text}");
    }

    #[test]
    fn cores_are_added_up_by_api() {
        let cores: Vec<Arc<CoreMetrics>> = vec![Arc::default(), Arc::default()];
        for core in &cores {
            let known = KnownApis::default();
            core.count(&known, Some((7, &facts("orders"))), outcome(200, 300));
            core.count(&known, Some((7, &facts("orders"))), outcome(503, 40_000_000));
            core.count(&known, None, outcome(404, 10));
        }
        let text = render(&cores, &NodeFacts::default());
        for line in [
            "tollgate_requests_total{tenant=\"default\",api=\"orders\",status=\"2xx\"} 2",
            "tollgate_requests_total{tenant=\"_none\",api=\"_none\",status=\"4xx\"} 2",
            "tollgate_request_duration_seconds_bucket{tenant=\"default\",api=\"orders\",le=\"0.0005\"} 2",
            "tollgate_request_duration_seconds_bucket{tenant=\"default\",api=\"orders\",le=\"+Inf\"} 4",
            "tollgate_request_duration_seconds_sum{tenant=\"default\",api=\"orders\"} 80.0006",
            "tollgate_response_bytes_total{tenant=\"default\",api=\"orders\"} 8",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(requests(&cores), 6);
    }

    #[test]
    fn lookups_are_told_by_how_they_ended() {
        let lookups = Lookups { answered: 7, failed: 3 };
        let text = render(&[], &NodeFacts { lookups, ..NodeFacts::default() });
        assert!(
            text.contains("tollgate_upstream_lookups_total{outcome=\"answered\"} 7\n"),
            "{text}"
        );
        assert!(text.contains("tollgate_upstream_lookups_total{outcome=\"failed\"} 3\n"), "{text}");
    }

    #[test]
    fn series_are_bounded() {
        let core: Arc<CoreMetrics> = Arc::default();
        let known = KnownApis::default();
        for number in 1..1_500 {
            core.count(&known, Some((number, &facts(&format!("a{number}")))), outcome(200, 1));
        }
        let text = render(&[core], &NodeFacts::default());
        assert!(text.contains(
            "tollgate_requests_total{tenant=\"_other\",api=\"_other\",status=\"2xx\"} 499"
        ));
    }
}
