//! What can go wrong with a call that is not a policy's doing, and the one place where it becomes a
//! status, a code and a sentence.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use tollgate_policy::Refusal;

use crate::framing::Violation;
use crate::route::TargetFault;

/// The code of whatever the client took too long for.
pub const REQUEST_TIMEOUT: &str = "request_timeout";

/// Why an exchange has no answer of the upstream's.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request is malformed or can be read in two ways.
    Malformed {
        /// The stable code.
        code: &'static str,
        /// The status, a 4xx or 501 or 505.
        status: StatusCode,
        /// For the caller.
        problem: &'static str,
    },
    /// The node has no configuration yet.
    NotConfigured,
    /// The request's head did not come in time.
    TooSlow,
    /// No route matched.
    NoRoute,
    /// A route matched in all but the method.
    MethodNotAllowed {
        /// The methods of those routes.
        allow: Vec<Method>,
    },
    /// This node refuses what the route needs.
    RouteUnavailable,
    /// No connection to any endpoint that was tried.
    Unreachable,
    /// The endpoint gave up before its answer's head.
    Reset,
    /// No answer within the upstream's bounds.
    TimedOut,
    /// As much is under way to the upstream as may be.
    UpstreamOverloaded,
    /// Too many calls of the upstream failed, and it is left alone for a while.
    CircuitOpen {
        /// How long that lasts at most.
        retry_after: Duration,
    },
    /// There is no token to prove the gateway to the upstream with.
    CredentialsUnavailable,
    /// No answer before the deadline that the client set.
    DeadlineExceeded,
    /// The node holds as many connections as it may.
    Overloaded,
    /// A policy refused.
    Refused(Box<Refusal>),
}

/// Whose doing a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller's.
    Client,
    /// A policy's decision.
    Policy,
    /// The upstream's.
    Upstream,
    /// This node's.
    Tollgate,
}

impl Side {
    /// As it stands in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Policy => "policy",
            Self::Upstream => "upstream",
            Self::Tollgate => "tollgate",
        }
    }
}

impl From<TargetFault> for Fault {
    fn from(fault: TargetFault) -> Self {
        Self::Malformed {
            code: fault.code,
            status: StatusCode::BAD_REQUEST,
            problem: fault.problem,
        }
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Malformed {
            code: violation.code,
            status: StatusCode::from_u16(violation.status).unwrap_or(StatusCode::BAD_REQUEST),
            problem: violation.problem,
        }
    }
}

impl Fault {
    /// Plain HTTP where TLS is spoken.
    pub const TLS_REQUIRED: Self = Self::Malformed {
        code: "tls_required",
        status: StatusCode::BAD_REQUEST,
        problem: "this port speaks https, and the request came in plain http",
    };
    /// The host is none that the connection's certificate is for.
    pub const MISDIRECTED: Self = Self::Malformed {
        code: "misdirected_request",
        status: StatusCode::MISDIRECTED_REQUEST,
        problem: "this connection was made for another host; make one for this host",
    };

    /// A value over HTTP/2 that two servers could read in two ways.
    pub const VALUE_NOT_WHOLE: Self = Self::Malformed {
        code: "malformed_request",
        status: StatusCode::BAD_REQUEST,
        problem: "a field begins or ends with white space, or content-length is empty",
    };

    /// More header fields over HTTP/2 than are taken.
    pub const TOO_MANY_FIELDS: Self = Self::Malformed {
        code: "head_too_large",
        status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        problem: "there are more header fields than this gateway takes",
    };

    /// Whose doing it is.
    #[must_use]
    pub fn side(&self) -> Side {
        match self {
            // What the client set is not the upstream's failure, however soon it is over.
            Self::Malformed { .. }
            | Self::TooSlow
            | Self::DeadlineExceeded
            | Self::NoRoute
            | Self::MethodNotAllowed { .. } => Side::Client,
            // A body that policies were reading, too.
            Self::Refused(refusal) if refusal.code == REQUEST_TIMEOUT => Side::Client,
            Self::Refused(_) => Side::Policy,
            Self::Unreachable
            | Self::Reset
            | Self::TimedOut
            | Self::UpstreamOverloaded
            | Self::CircuitOpen { .. }
            | Self::CredentialsUnavailable => Side::Upstream,
            Self::NotConfigured | Self::RouteUnavailable | Self::Overloaded => Side::Tollgate,
        }
    }

    /// What is answered: the one place where a fault becomes a status.
    #[must_use]
    pub fn into_refusal(self) -> Refusal {
        let refusal = |status: StatusCode, code: &'static str, detail: &'static str| {
            Refusal::new(status, code, Cow::Borrowed(detail))
        };
        let later = |code, detail, seconds: u64| {
            refusal(StatusCode::SERVICE_UNAVAILABLE, code, detail)
                .with(header::RETRY_AFTER, HeaderValue::from(seconds))
        };
        match self {
            Self::Malformed { code, status, problem } => refusal(status, code, problem),
            Self::NotConfigured => {
                later("not_configured", "the gateway has not received its configuration yet", 1)
            }
            Self::TooSlow => refusal(
                StatusCode::REQUEST_TIMEOUT,
                REQUEST_TIMEOUT,
                "the request's head took too long to come",
            ),
            Self::NoRoute => refusal(
                StatusCode::NOT_FOUND,
                "no_route",
                "no API is published at this host and path",
            ),
            Self::MethodNotAllowed { allow } => method_not_allowed(&allow),
            Self::RouteUnavailable => refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "route_unavailable",
                "the gateway cannot run this API's configuration",
            ),
            Self::Unreachable => refusal(
                StatusCode::BAD_GATEWAY,
                "upstream_unreachable",
                "no server of this API could be reached",
            ),
            Self::Reset => refusal(
                StatusCode::BAD_GATEWAY,
                "upstream_reset",
                "the server of this API ended the connection before it answered",
            ),
            Self::TimedOut => refusal(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "the server of this API did not answer in time",
            ),
            Self::DeadlineExceeded => refusal(
                StatusCode::GATEWAY_TIMEOUT,
                "deadline_exceeded",
                "the call's own deadline was over before there was an answer",
            ),
            Self::UpstreamOverloaded => later(
                "upstream_overloaded",
                "the servers of this API have as many requests under way as they may",
                1,
            ),
            Self::CircuitOpen { retry_after } => later(
                "circuit_open",
                "too many calls of this API failed, and its servers are left alone for a while",
                seconds_up(retry_after),
            ),
            Self::CredentialsUnavailable => later(
                "upstream_credentials_unavailable",
                "the gateway could not get what it proves itself with to the server of this API",
                1,
            ),
            Self::Overloaded => {
                later("overloaded", "the gateway holds as many connections as it may", 1)
            }
            Self::Refused(refusal) => *refusal,
        }
    }
}

fn method_not_allowed(allow: &[Method]) -> Refusal {
    let names: Vec<&str> = allow.iter().map(Method::as_str).collect();
    let refused = Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "the API does not offer this method here",
    );
    match HeaderValue::from_str(&names.join(", ")) {
        Ok(value) => refused.with(header::ALLOW, value),
        Err(_) => refused,
    }
}

/// Whole seconds, at least one (RFC 9110 §10.2.3).
fn seconds_up(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
}
