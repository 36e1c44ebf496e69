//! How it is found out that an endpoint is not well, and what follows.

use deserr::Deserr;
use schemars::JsonSchema;

use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::units::Span;

/// What takes an endpoint out, and lets it back in. Nothing takes out the last one: where all are out, all are
/// asked.
#[derive(Clone, Debug, Default, PartialEq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Health {
    /// By calls that fail. None: they take nothing out.
    #[deserr(default)]
    pub passive: Option<Passive>,
    /// By questions that each node asks by itself. None: none are asked.
    #[deserr(default)]
    pub active: Option<Active>,
}

/// An endpoint whose calls fail in a row is left out for a while. A call fails by a connection that cannot be
/// made, is reset or answers too late, and by a status from 500 on.
#[derive(Clone, Copy, Debug, PartialEq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = passive_in_range -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct Passive {
    /// Failures in a row, 1 to 1000. Default 5.
    #[deserr(default = 5)]
    #[schemars(with = "Option<u16>")]
    pub failures: u16,
    /// For how long it is left out; the second time in a row twice as long, and so on, up to ten times.
    /// Default 10s.
    #[deserr(default = Span::from_secs(10))]
    #[schemars(with = "Option<Span>")]
    pub eject_for: Span,
    /// The greatest share of the endpoints that may be left out at a time, 0.0 to 1.0. Default 0.5.
    #[deserr(default = 0.5)]
    #[schemars(with = "Option<f64>")]
    pub max_ejected: f64,
}

/// Each node asks each endpoint, once an interval.
#[derive(Clone, Debug, PartialEq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = active_in_range -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct Active {
    /// What is asked for over HTTP, as the upstream's `protocol` says. None: a connection that can be made is enough.
    #[deserr(default)]
    pub path: Option<ProbePath>,
    /// What is asked over gRPC in place of a `path`: `Check` of `grpc.health.v1.Health`. An endpoint is well that answers
    /// `SERVING`. Needs the upstream's `protocol` to be `http2`.
    #[deserr(default)]
    pub grpc: Option<GrpcCheck>,
    /// Statuses of an endpoint that is well. Default: 200 to 399.
    #[deserr(default)]
    pub statuses: Option<Vec<u16>>,
    /// From one question to the next, at least 100ms. Default 5s.
    #[deserr(default = Span::from_secs(5))]
    #[schemars(with = "Option<Span>")]
    pub interval: Span,
    /// How long an answer may take. Default 1s.
    #[deserr(default = Span::from_secs(1))]
    #[schemars(with = "Option<Span>")]
    pub timeout: Span,
    /// Good answers in a row that let it back in, 1 to 100. Default 2.
    #[deserr(default = 2)]
    #[schemars(with = "Option<u8>")]
    pub healthy_after: u8,
    /// Bad ones in a row that take it out, 1 to 100. Default 3.
    #[deserr(default = 3)]
    #[schemars(with = "Option<u8>")]
    pub unhealthy_after: u8,
}

/// A question by the gRPC health checking protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = service_in_range -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct GrpcCheck {
    /// The service that is asked about, such as `shop.v1.Orders`, at most 256 bytes. Default: none, which asks about the
    /// server as a whole.
    #[deserr(default)]
    #[schemars(with = "Option<String>")]
    pub service: String,
}

fn service_in_range(
    check: GrpcCheck,
    location: deserr::ValuePointerRef<'_>,
) -> Result<GrpcCheck, Issues> {
    if check.service.len() <= 256 {
        return Ok(check);
    }
    let at = format!("{}/service", crate::issue::pointer(location));
    Err(Issues::one(crate::Issue::new(at, "too_large", "give a name of at most 256 bytes")))
}

/// What is asked for: a path, perhaps with a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePath(http::uri::PathAndQuery);

impl ProbePath {
    /// As it stands in a request.
    #[must_use]
    pub fn as_http(&self) -> &http::uri::PathAndQuery {
        &self.0
    }
}

impl FromText for ProbePath {
    const EXPECTED: &'static str = "a path such as /healthz";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let path = text.starts_with('/').then(|| text.parse().ok()).flatten();
        path.map(Self).ok_or_else(|| {
            Rejected::new(
                "invalid_path",
                format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED),
            )
        })
    }
}

deserr_text!(ProbePath);
text_schema!(ProbePath, "ProbePath", "A path, perhaps with a query.");

fn passive_in_range(
    passive: Passive,
    location: deserr::ValuePointerRef<'_>,
) -> Result<Passive, Issues> {
    let at = crate::issue::pointer(location);
    let mut issues = Issues::default();
    if !(1..=1000).contains(&passive.failures) {
        issues.add(format!("{at}/failures"), "out_of_range", "give 1 to 1000 failures");
    }
    if !(0.0..=1.0).contains(&passive.max_ejected) {
        issues.add(format!("{at}/max_ejected"), "out_of_range", "give a share from 0.0 to 1.0");
    }
    issues.into_result(passive)
}

fn active_in_range(
    active: Active,
    location: deserr::ValuePointerRef<'_>,
) -> Result<Active, Issues> {
    let at = crate::issue::pointer(location);
    let mut issues = Issues::default();
    if active.interval.get().as_millis() < 100 {
        issues.add(format!("{at}/interval"), "out_of_range", "give at least 100ms");
    }
    for (name, number) in
        [("healthy_after", active.healthy_after), ("unhealthy_after", active.unhealthy_after)]
    {
        if !(1..=100).contains(&number) {
            issues.add(format!("{at}/{name}"), "out_of_range", "give 1 to 100 answers");
        }
    }
    if active.grpc.is_some() && active.path.is_some() {
        let problem = "it is asked either for a `path` or over `grpc`; give one of them";
        issues.add(format!("{at}/grpc"), "conflicting_fields", problem);
    }
    if let Some(statuses) = &active.statuses {
        if active.path.is_none() {
            let problem = "only an answer over HTTP has a status; give a `path` too";
            issues.add(format!("{at}/statuses"), "missing_field", problem);
        }
        if statuses.is_empty() || statuses.iter().any(|status| !(100..=599).contains(status)) {
            let problem = "give statuses from 100 to 599, at least one";
            issues.add(format!("{at}/statuses"), "out_of_range", problem);
        }
    }
    issues.into_result(active)
}
