//! Where calls go.

use deserr::Deserr;
use schemars::JsonSchema;

use crate::health::Health;
use crate::id::Name;
use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::trust::{Authorities, ServerName};
use crate::units::Span;

// One server, or those of a service.
mod endpoint;
// A service that DNS knows the servers of.
mod service;
// How long, how often, how much.
mod bounds;
// What endpoints are told of who calls.
mod credentials;

pub use bounds::{Breaker, Retry, RetryOn, Timeouts, UpstreamLimits};
pub use credentials::{
    BasicCredential, ClientAuth, Credentials, HeaderCredential, OAuth2Credential, ScopeToken,
};
pub use endpoint::{Endpoint, EndpointUrl, Location, Weight};
pub use service::{Scheme, Service, ServiceName};

/// An upstream: endpoints that answer alike, and how they are called.
#[derive(Clone, Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = is_coherent -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct Upstream {
    /// For people.
    #[deserr(default)]
    pub description: Option<String>,
    /// 1 to 256 of them.
    #[schemars(with = "Vec<endpoint::Written>")]
    pub endpoints: Vec<Endpoint>,
    /// How an endpoint is picked. Default `round_robin`.
    #[deserr(default)]
    #[schemars(with = "Option<Balance>")]
    pub balance: Balance,
    /// What of a request decides its endpoint where `balance` is `consistent_hash`: `ip`, `path`, `header.NAME` or
    /// `cookie.NAME`. Default `ip`. A request without it counts by its address.
    #[deserr(default)]
    #[schemars(with = "Option<HashBy>")]
    pub hash_by: HashBy,
    /// Over how long an endpoint that is new, or well again, comes to its whole share of the calls; it rises evenly.
    /// Where `balance` is `consistent_hash`, it has its share at once. Default: at once.
    #[deserr(default)]
    pub slow_start: Option<Span>,
    /// Which endpoints are left out.
    #[deserr(default)]
    #[schemars(with = "Option<Health>")]
    pub health: Health,
    /// The most that is under way at a time. Default: no bound.
    #[deserr(default)]
    #[schemars(with = "Option<UpstreamLimits>")]
    pub limits: UpstreamLimits,
    /// When calls are refused for a while, because too many of those before them failed. Default: never.
    #[deserr(default)]
    pub breaker: Option<Breaker>,
    /// What is spoken to the endpoints. Default `http1`.
    #[deserr(default)]
    #[schemars(with = "Option<Protocol>")]
    pub protocol: Protocol,
    /// Bounds on waiting.
    #[deserr(default)]
    #[schemars(with = "Option<Timeouts>")]
    pub timeouts: Timeouts,
    /// What happens after a failed attempt.
    #[deserr(default)]
    #[schemars(with = "Option<Retry>")]
    pub retry: Retry,
    /// How endpoints with `https` are met.
    #[deserr(default)]
    #[schemars(with = "Option<Tls>")]
    pub tls: Tls,
    /// What the gateway proves itself with to the endpoints, with every request. Default: nothing.
    #[deserr(default)]
    pub credentials: Option<Credentials>,
    /// Whether the endpoint gets the client's `host`. Default false: it gets its own.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub preserve_host: bool,
}

fn is_coherent(
    upstream: Upstream,
    location: deserr::ValuePointerRef<'_>,
) -> Result<Upstream, Issues> {
    let at = format!("{}/endpoints", crate::issue::pointer(location));
    let mut issues = Issues::default();
    if upstream.endpoints.is_empty() || upstream.endpoints.len() > 256 {
        issues.add(at.as_str(), "invalid_count", "give 1 to 256 endpoints");
    }
    for (i, endpoint) in upstream.endpoints.iter().enumerate() {
        if upstream.endpoints.iter().take(i).any(|other| other.location == endpoint.location) {
            issues.add(
                format!("{at}/{i}/{}", endpoint.location.field()),
                "duplicate_endpoint",
                "stands above already; give it once, with a weight",
            );
        }
    }
    let asks_grpc = upstream.health.active.as_ref().is_some_and(|active| active.grpc.is_some());
    if asks_grpc && upstream.protocol != Protocol::Http2 {
        issues.add(
            format!("{}/health/active/grpc", crate::issue::pointer(location)),
            "conflicting_fields",
            "gRPC is spoken over HTTP/2; give `protocol: http2` too",
        );
    }
    issues.into_result(upstream)
}

/// TLS to endpoints: 1.2 or 1.3, their certificates always verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Tls {
    /// The name that certificates must bear and that is sent as SNI. Default: the host of the endpoint's URL; of `srv`, the
    /// domain of the service, whatever the targets of its records are.
    #[deserr(default)]
    pub server_name: Option<ServerName>,
    /// Certificates of the authorities that are believed, in PEM; in place of the public ones.
    #[deserr(default)]
    pub authorities: Option<Authorities>,
    /// The Certificate of the same tenant that is shown to endpoints that ask for one, with its chain. Default: none is
    /// shown.
    #[deserr(default)]
    pub certificate: Option<Name>,
}

/// How an endpoint is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues)]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    #[deserr(rename = "round_robin")]
    #[schemars(rename = "round_robin")]
    RoundRobin,
    /// The one with fewer requests under way of two drawn by weight.
    #[deserr(rename = "least_request")]
    #[schemars(rename = "least_request")]
    LeastRequest,
    /// The one of two drawn by weight that has been answering faster, by what it has under way (peak EWMA).
    #[deserr(rename = "ewma")]
    #[schemars(rename = "ewma")]
    Ewma,
    /// Always the same one for the same `hash_by`, as long as it is well.
    #[deserr(rename = "consistent_hash")]
    #[schemars(rename = "consistent_hash")]
    ConsistentHash,
}

/// What of a request decides its endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashBy {
    /// The client's address.
    #[default]
    Ip,
    /// The path as it goes upstream.
    Path,
    /// The first line of a header field.
    Header(http::HeaderName),
    /// A cookie.
    Cookie(Box<str>),
}

impl FromText for HashBy {
    const EXPECTED: &'static str = "`ip`, `path`, `header.NAME` or `cookie.NAME`";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let refuse = || {
            Rejected::new(
                "invalid_hash_key",
                format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED),
            )
        };
        match text.split_once('.') {
            None if text == "ip" => Ok(Self::Ip),
            None if text == "path" => Ok(Self::Path),
            Some(("header", name)) => name.parse().map(Self::Header).map_err(|_bad| refuse()),
            // RFC 6265 §4.1.1: a cookie's name is a token, as a field's is.
            Some(("cookie", name)) => name
                .parse::<http::HeaderName>()
                .map(|_token| Self::Cookie(Box::from(name)))
                .map_err(|_bad| refuse()),
            _ => Err(refuse()),
        }
    }
}

deserr_text!(HashBy);
text_schema!(HashBy, "HashBy", "`ip`, `path`, `header.NAME` or `cookie.NAME`.");

/// What is spoken to endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserr, JsonSchema)]
#[deserr(error = Issues)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    #[deserr(rename = "http1")]
    #[schemars(rename = "http1")]
    Http1,
    /// HTTP/2: over TLS by ALPN, in the clear with prior knowledge (RFC 9113 §3.3).
    #[deserr(rename = "http2")]
    #[schemars(rename = "http2")]
    Http2,
}
