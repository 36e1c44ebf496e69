//! How long an upstream may take, how often it is asked again, and how much it is asked at a time.

use deserr::Deserr;
use schemars::JsonSchema;

use crate::issue::Issues;
use crate::units::Span;

/// Bounds on waiting for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Timeouts {
    /// Until the connection stands. Default 1s.
    #[deserr(default = Span::from_secs(1))]
    #[schemars(with = "Option<Span>")]
    pub connect: Span,
    /// From the request's last byte to the response's head. Default 30s.
    #[deserr(default = Span::from_secs(30))]
    #[schemars(with = "Option<Span>")]
    pub first_byte: Span,
    /// Between two pieces of a body. Default 60s.
    #[deserr(default = Span::from_secs(60))]
    #[schemars(with = "Option<Span>")]
    pub idle: Span,
    /// Between two pieces in either direction on a connection that switched to WebSocket. Default 1h.
    #[deserr(default = Span::from_secs(3600))]
    #[schemars(with = "Option<Span>")]
    pub tunnel: Span,
    /// The whole exchange with all attempts, to the response's last byte; none: no bound.
    #[deserr(default)]
    pub total: Option<Span>,
    /// One attempt, from its start to the response's head; for a request with a body, its connection and then the time
    /// from the request's last byte. None: what `connect` and `first_byte` say.
    #[deserr(default)]
    pub attempt: Option<Span>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Span::from_secs(1),
            first_byte: Span::from_secs(30),
            idle: Span::from_secs(60),
            tunnel: Span::from_secs(3600),
            total: None,
            attempt: None,
        }
    }
}

/// What happens after a failed attempt: only where nothing can have been done by it (RFC 9110
/// §9.2.2: the method is idempotent, or no byte was sent), and before any byte of an answer.
#[derive(Clone, Debug, PartialEq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = retry_in_range -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct Retry {
    /// Attempts after the first, 0 to 5. Default 1.
    #[deserr(default = 1)]
    #[schemars(with = "Option<u8>")]
    pub attempts: u8,
    /// Retries as a share of requests, 0.0 to 1.0, so that they cannot multiply an overload. Default 0.2.
    #[deserr(default = 0.2)]
    #[schemars(with = "Option<f64>")]
    pub budget: f64,
    /// Statuses of answers that count as a failed attempt where the request has no body and an idempotent method: 429
    /// and 500 to 599. The last attempt's answer is passed on, whatever its status. Default: none.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<u16>>")]
    pub statuses: Vec<u16>,
    /// Which failures are followed by another attempt, beside `statuses`. Default: all of them.
    #[deserr(default = RetryOn::ALL.to_vec())]
    #[schemars(with = "Option<Vec<RetryOn>>")]
    pub on: Vec<RetryOn>,
}

/// How an attempt fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues)]
pub enum RetryOn {
    /// There is no connection, or none in time.
    #[deserr(rename = "connect")]
    #[schemars(rename = "connect")]
    Connect,
    /// The connection ended before the answer's head.
    #[deserr(rename = "reset")]
    #[schemars(rename = "reset")]
    Reset,
    /// The answer's head did not come in time.
    #[deserr(rename = "timeout")]
    #[schemars(rename = "timeout")]
    Timeout,
}

impl RetryOn {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Reset, Self::Timeout];
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, budget: 0.2, statuses: Vec::new(), on: RetryOn::ALL.to_vec() }
    }
}

fn retry_in_range(retry: Retry, location: deserr::ValuePointerRef<'_>) -> Result<Retry, Issues> {
    let at = crate::issue::pointer(location);
    let mut issues = Issues::default();
    if retry.attempts > 5 {
        issues.add(format!("{at}/attempts"), "out_of_range", "give 0 to 5 attempts");
    }
    if !retry.statuses.iter().all(|status| matches!(status, 429 | 500..=599)) {
        issues.add(
            format!("{at}/statuses"),
            "out_of_range",
            "give 429 or statuses from 500 to 599",
        );
    }
    if !(0.0..=1.0).contains(&retry.budget) {
        issues.add(format!("{at}/budget"), "out_of_range", "give a share from 0.0 to 1.0");
    }
    issues.into_result(retry)
}

/// The most that one node has under way at a time, over all its request threads. What is beyond it is answered with 503
/// at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = limits_in_range -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct UpstreamLimits {
    /// Requests to the upstream, from their start to the response's last byte, 1 to 1000000. None: no bound.
    #[deserr(default)]
    pub requests: Option<u32>,
    /// Requests to one endpoint, 1 to 1000000. An endpoint that has as many is passed over. None: no bound.
    #[deserr(default)]
    pub endpoint_requests: Option<u32>,
}

fn limits_in_range(
    limits: UpstreamLimits,
    location: deserr::ValuePointerRef<'_>,
) -> Result<UpstreamLimits, Issues> {
    let at = crate::issue::pointer(location);
    let mut issues = Issues::default();
    for (name, limit) in
        [("requests", limits.requests), ("endpoint_requests", limits.endpoint_requests)]
    {
        if limit.is_some_and(|limit| !(1..=1_000_000).contains(&limit)) {
            issues.add(format!("{at}/{name}"), "out_of_range", "give 1 to 1000000 requests");
        }
    }
    issues.into_result(limits)
}

/// Where too many calls fail, none are sent for a while: they are answered with 503.
///
/// Then one is let through; if that succeeds, all are. A call fails as it does for `health.passive`, after its last
/// attempt. Each node decides by its own calls.
#[derive(Clone, Copy, Debug, PartialEq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = breaker_in_range -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct Breaker {
    /// The share of failed calls from which on it opens, above 0.0 to 1.0. Default 0.5.
    #[deserr(default = 0.5)]
    #[schemars(with = "Option<f64>")]
    pub failures: f64,
    /// The fewest calls within the window that it judges by, 1 to 100000. Default 20.
    #[deserr(default = 20)]
    #[schemars(with = "Option<u32>")]
    pub calls: u32,
    /// For how long a call counts, 1s to 1h. Default 10s.
    #[deserr(default = Span::from_secs(10))]
    #[schemars(with = "Option<Span>")]
    pub window: Span,
    /// How long it stays open before one call is let through. Default 5s.
    #[deserr(default = Span::from_secs(5))]
    #[schemars(with = "Option<Span>")]
    pub open_for: Span,
}

fn breaker_in_range(
    breaker: Breaker,
    location: deserr::ValuePointerRef<'_>,
) -> Result<Breaker, Issues> {
    let at = crate::issue::pointer(location);
    let mut issues = Issues::default();
    if !(breaker.failures > 0.0 && breaker.failures <= 1.0) {
        issues.add(format!("{at}/failures"), "out_of_range", "give a share above 0.0, up to 1.0");
    }
    if !(1..=100_000).contains(&breaker.calls) {
        issues.add(format!("{at}/calls"), "out_of_range", "give 1 to 100000 calls");
    }
    if !(Span::from_secs(1)..=Span::from_secs(3600)).contains(&breaker.window) {
        issues.add(format!("{at}/window"), "out_of_range", "give 1s to 1h");
    }
    issues.into_result(breaker)
}
