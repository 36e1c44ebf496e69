//! What was counted, in the text format of Prometheus (version 0.0.4).

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tollgate_policy::stored::Outcome as CacheOutcome;

use super::{ApiCounters, ApiLabels, BOUNDS_MICROS, CoreMetrics, Counter, open_connections};
use crate::ports::cache::Filling;
use crate::ports::counters::Health;
use crate::upstream::TokenCounts;
use crate::upstream::names::Lookups;

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
