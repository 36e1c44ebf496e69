//! Every metric: its name, unit, labels and their bounds. Each core counts for itself; who reads
//! adds them up.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use http::StatusCode;
use tollgate_policy::policy::RouteFacts;
use tollgate_policy::stored::Outcome as CacheOutcome;

use crate::ports::cache::Filling;
use crate::ports::counters::Health;
use crate::upstream::TokenCounts;
use crate::upstream::names::Lookups;

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

/// Name, help, and where a core keeps it; all of them are counters.
type PlainMetric = (&'static str, &'static str, fn(&CoreMetrics) -> &Counter);

#[derive(Default)]
struct Sum {
    responses: [u64; 5],
    buckets: [u64; BOUNDS_MICROS.len() + 1],
    duration_micros: u64,
    request_bytes: u64,
    response_bytes: u64,
}

impl Sum {
    fn add(&mut self, counters: &ApiCounters) {
        for (sum, counter) in self.responses.iter_mut().zip(&counters.responses) {
            *sum += counter.get();
        }
        for (sum, counter) in self.buckets.iter_mut().zip(&counters.buckets) {
            *sum += counter.get();
        }
        self.duration_micros += counters.duration_micros.get();
        self.request_bytes += counters.request_bytes.get();
        self.response_bytes += counters.response_bytes.get();
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

/// What is known of the node beside its cores.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// Since it started.
    pub uptime: Duration,
    /// Memory in use.
    pub resident_bytes: u64,
    /// The configuration that it runs.
    pub revision: u64,
    /// Whether it hears its control plane.
    pub is_connected: bool,
    /// Whether the configuration cannot be kept on disk.
    pub is_disk_failing: bool,
    /// Access log lines that could not be written.
    pub dropped_log_lines: u64,
    /// How the counters are.
    pub counters: Health,
    /// How full the cache is.
    pub cache: Filling,
    /// Tokens for upstreams that were fetched.
    pub tokens: TokenCounts,
    /// How names of endpoints were looked up.
    pub lookups: Lookups,
    /// The numbers of the APIs that are there; none: all that were ever called.
    pub live_apis: Option<HashSet<u32>>,
}

/// All of it in the Prometheus text format, version 0.0.4.
#[must_use]
pub fn render(cores: &[Arc<CoreMetrics>], node: &NodeFacts) -> String {
    let mut text = String::new();
    render_node(&mut text, node);
    for (name, help, pick) in plain_metrics() {
        let sum: u64 = cores.iter().map(|core| pick(core).get()).sum();
        header(&mut text, name, "counter", help);
        line(&mut text, name, "", sum);
    }
    header(&mut text, "tollgate_connections_open", "gauge", "Connections that are open now.");
    line(&mut text, "tollgate_connections_open", "", open_connections(cores));
    render_cache(&mut text, cores, node.cache);
    render_lookups(&mut text, node.lookups);
    if let Some(live) = &node.live_apis {
        cores.iter().for_each(|core| core.keep_apis(live));
    }
    render_apis(&mut text, &sums(cores));
    text
}

/// What each core counts in one number.
fn plain_metrics() -> [PlainMetric; 19] {
    [
        ("tollgate_connections_accepted_total", "Connections taken.", |core| {
            &core.connections_accepted
        }),
        ("tollgate_connections_closed_total", "Connections that ended.", |core| {
            &core.connections_closed
        }),
        ("tollgate_connections_refused_total", "Connections refused for want of room.", |core| {
            &core.connections_refused
        }),
        ("tollgate_proxy_protocol_refused_total", "Connections without a PROXY header.", |core| {
            &core.proxy_headers_refused
        }),
        ("tollgate_tls_handshakes_total", "TLS handshakes that ended well.", |core| {
            &core.tls_handshakes
        }),
        ("tollgate_tls_handshakes_resumed_total", "TLS sessions that were resumed.", |core| {
            &core.tls_resumed
        }),
        ("tollgate_tls_handshake_failures_total", "TLS handshakes that failed.", |core| {
            &core.tls_failures
        }),
        ("tollgate_framing_violations_total", "Connections given up for what was sent.", |core| {
            &core.framing_violations
        }),
        ("tollgate_http2_floods_total", "Connections given up for empty frames.", |core| {
            &core.http2_floods
        }),
        ("tollgate_upstream_connections_total", "Connections made to upstreams.", |core| {
            &core.upstream_connections
        }),
        (
            "tollgate_upstream_connect_failures_total",
            "Connections to upstreams that failed.",
            |core| &core.upstream_connect_failures,
        ),
        ("tollgate_upstream_retries_total", "Attempts after the first.", |core| {
            &core.upstream_retries
        }),
        (
            "tollgate_upstream_ejections_total",
            "Endpoints left out for calls that failed.",
            |core| &core.upstream_ejections,
        ),
        ("tollgate_upstream_overloads_total", "Calls beyond the limits of upstreams.", |core| {
            &core.upstream_overloads
        }),
        ("tollgate_upstream_breaker_openings_total", "Breakers that opened.", |core| {
            &core.upstream_breaker_openings
        }),
        ("tollgate_upstream_breaker_refusals_total", "Calls refused by breakers.", |core| {
            &core.upstream_breaker_refusals
        }),
        (
            "tollgate_policy_call_failures_total",
            "Calls of policies to services of theirs that had no usable answer.",
            |core| &core.policy_call_failures,
        ),
        ("tollgate_mirrored_requests_total", "Copies of requests sent to mirrors.", |core| {
            &core.mirrored_requests
        }),
        (
            "tollgate_mirror_failures_total",
            "Copies of requests that were not sent, or had no answer.",
            |core| &core.mirror_failures,
        ),
    ]
}

fn render_node(text: &mut String, node: &NodeFacts) {
    let (counters, tokens) = (&node.counters, &node.tokens);
    let rows: [(&str, &str, &str, u64); 12] = [
        ("tollgate_uptime_seconds", "gauge", "Since the node started.", node.uptime.as_secs()),
        ("tollgate_resident_bytes", "gauge", "Memory in use.", node.resident_bytes),
        ("tollgate_revision", "gauge", "The configuration that the node runs.", node.revision),
        (
            "tollgate_control_plane_connected",
            "gauge",
            "1 while the node hears its control plane.",
            u64::from(node.is_connected),
        ),
        (
            "tollgate_disk_failing",
            "gauge",
            "1 while the configuration cannot be kept on disk.",
            u64::from(node.is_disk_failing),
        ),
        (
            "tollgate_access_log_dropped_lines_total",
            "counter",
            "Access log lines that could not be written.",
            node.dropped_log_lines,
        ),
        (
            "tollgate_limits_shared",
            "gauge",
            "1 while limits are shared through Redis.",
            u64::from(counters.is_shared),
        ),
        ("tollgate_redis_calls_total", "counter", "Calls of Redis.", counters.calls),
        (
            "tollgate_redis_failures_total",
            "counter",
            "Calls of Redis that failed or took too long.",
            counters.failures,
        ),
        (
            "tollgate_limit_fallbacks_total",
            "counter",
            "Decisions left to a limit's on_failure.",
            counters.fallbacks,
        ),
        ("tollgate_upstream_token_fetches_total", "counter", "Tokens asked for.", tokens.fetches),
        ("tollgate_upstream_token_failures_total", "counter", "Tokens not given.", tokens.failures),
    ];
    for (name, kind, help, value) in rows {
        header(text, name, kind, help);
        line(text, name, "", value);
    }
}

fn render_cache(text: &mut String, cores: &[Arc<CoreMetrics>], cache: Filling) {
    const REQUESTS: &str = "tollgate_cache_requests_total";
    header(text, REQUESTS, "counter", "Requests that met a cache, by what it did.");
    for (index, outcome) in CacheOutcome::ALL.iter().enumerate() {
        let counters = cores.iter().filter_map(|core| core.cache_outcomes.get(index));
        let labels = format!("outcome=\"{}\"", outcome.name());
        line(text, REQUESTS, &labels, counters.map(Counter::get).sum::<u64>());
    }
    let rows = [
        ("tollgate_cache_bytes", "gauge", "Memory that stored responses take.", cache.bytes),
        ("tollgate_cache_entries", "gauge", "Targets of stored responses.", cache.entries),
        ("tollgate_cache_stored_total", "counter", "Responses that were stored.", cache.stored),
        (
            "tollgate_cache_evictions_total",
            "counter",
            "Targets whose stored responses went for want of room.",
            cache.evictions,
        ),
    ];
    for (name, kind, help, value) in rows {
        header(text, name, kind, help);
        line(text, name, "", value);
    }
}

fn render_lookups(text: &mut String, lookups: Lookups) {
    const LOOKUPS: &str = "tollgate_upstream_lookups_total";
    header(text, LOOKUPS, "counter", "Look-ups of endpoints' names, by how they ended.");
    line(text, LOOKUPS, "outcome=\"answered\"", lookups.answered);
    line(text, LOOKUPS, "outcome=\"failed\"", lookups.failed);
}

fn sums(cores: &[Arc<CoreMetrics>]) -> BTreeMap<ApiLabels, Sum> {
    let mut sums: BTreeMap<ApiLabels, Sum> = BTreeMap::new();
    for core in cores {
        for entry in &core.apis {
            let (labels, counters) = entry.value();
            sums.entry(labels.clone()).or_default().add(counters);
        }
    }
    sums
}

fn render_apis(text: &mut String, sums: &BTreeMap<ApiLabels, Sum>) {
    header(
        text,
        "tollgate_requests_total",
        "counter",
        "Requests answered, by API and first digit of the status.",
    );
    for (labels, sum) in sums {
        for (class, number) in (1..).zip(sum.responses) {
            if number > 0 {
                let labels = format!("{},status=\"{class}xx\"", labels.text());
                line(text, "tollgate_requests_total", &labels, number);
            }
        }
    }
    header(text, "tollgate_request_bytes_total", "counter", "Bytes of request bodies.");
    for (labels, sum) in sums {
        line(text, "tollgate_request_bytes_total", &labels.text(), sum.request_bytes);
    }
    header(text, "tollgate_response_bytes_total", "counter", "Bytes of response bodies.");
    for (labels, sum) in sums {
        line(text, "tollgate_response_bytes_total", &labels.text(), sum.response_bytes);
    }
    const DURATION: &str = "tollgate_request_duration_seconds";
    header(text, DURATION, "histogram", "From a request's head to its response's last byte.");
    for (labels, sum) in sums {
        let labels = labels.text();
        let mut count = 0;
        for (i, number) in sum.buckets.iter().enumerate() {
            count += number;
            let bound =
                BOUNDS_MICROS.get(i).map_or_else(|| "+Inf".to_owned(), |micros| seconds(*micros));
            let labels = format!("{labels},le=\"{bound}\"");
            line(text, "tollgate_request_duration_seconds_bucket", &labels, count);
        }
        line(text, "tollgate_request_duration_seconds_sum", &labels, seconds(sum.duration_micros));
        line(text, "tollgate_request_duration_seconds_count", &labels, count);
    }
}

impl ApiLabels {
    fn text(&self) -> String {
        // Names hold no character that the format would escape.
        format!("tenant=\"{}\",api=\"{}\"", self.tenant, self.api)
    }
}

fn header(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = if labels.is_empty() {
        writeln!(text, "{name} {value}")
    } else {
        writeln!(text, "{name}{{{labels}}} {value}")
    };
}

/// Microseconds as decimal seconds, exact.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use tollgate_model::{FromText, Name};

    use super::*;

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
