//! Where calls go.

use std::fmt;
use std::sync::Arc;

use deserr::Deserr;
use schemars::JsonSchema;

use crate::health::Health;
use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::trust::{Authorities, ServerName};
use crate::units::Span;

/// An upstream: endpoints that answer alike, and how they are called.
#[derive(Clone, Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = has_endpoints -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct Upstream {
    /// For people.
    #[deserr(default)]
    pub description: Option<String>,
    /// 1 to 256 of them.
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
    /// Which endpoints are left out.
    #[deserr(default)]
    #[schemars(with = "Option<Health>")]
    pub health: Health,
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
    /// Whether the endpoint gets the client's `host`. Default false: it gets its own.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub preserve_host: bool,
}

fn has_endpoints(
    upstream: Upstream,
    location: deserr::ValuePointerRef<'_>,
) -> Result<Upstream, Issues> {
    let at = format!("{}/endpoints", crate::issue::pointer(location));
    let mut issues = Issues::default();
    if upstream.endpoints.is_empty() || upstream.endpoints.len() > 256 {
        issues.add(at.as_str(), "invalid_count", "give 1 to 256 endpoints");
    }
    for (i, endpoint) in upstream.endpoints.iter().enumerate() {
        if upstream.endpoints.iter().take(i).any(|other| other.url == endpoint.url) {
            issues.add(
                format!("{at}/{i}/url"),
                "duplicate_endpoint",
                "stands above already; give it once, with a weight",
            );
        }
    }
    issues.into_result(upstream)
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Endpoint {
    /// `http://HOST:PORT` or `https://HOST:PORT`, without a path.
    pub url: EndpointUrl,
    /// Its share of the calls against the others', 1 to 1000. Default 1.
    #[deserr(default)]
    #[schemars(with = "Option<Weight>")]
    pub weight: Weight,
    /// Endpoints of a greater number are asked only where all of smaller ones are out. 0 to 255. Default 0.
    #[deserr(default)]
    #[schemars(with = "Option<u8>")]
    pub priority: u8,
}

/// A share, 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct Weight(#[schemars(range(min = 1, max = 1000))] pub u16);

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl Deserr<Issues> for Weight {
    fn deserialize_from_value<V: deserr::IntoValue>(
        value: deserr::Value<V>,
        location: deserr::ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let number = u16::deserialize_from_value(value, location)?;
        if (1..=1000).contains(&number) {
            return Ok(Self(number));
        }
        Err(Issues::one(crate::Issue::new(
            crate::issue::pointer(location),
            "out_of_range",
            "give a weight from 1 to 1000",
        )))
    }
}

/// Where a server is, and whether it is reached over TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    host: Arc<str>,
    port: u16,
    is_tls: bool,
}

impl EndpointUrl {
    /// A host name or an IP address (IPv6 without brackets).
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; where none was written, 80 or, over TLS, 443.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it was written with `https`.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// `HOST:PORT` as it stands in a `host` field; the port is left out where it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.to_string()
        };
        if self.port == own_port(self.is_tls) { host } else { format!("{host}:{}", self.port) }
    }
}

fn own_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

impl FromText for EndpointUrl {
    const EXPECTED: &'static str = "a URL such as http://10.0.0.7:9000";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let refuse = |why: &str| {
            Rejected::new(
                "invalid_url",
                format!("`{}` {why}; give {}", text.escape_debug(), Self::EXPECTED),
            )
        };
        if text.contains('@') {
            // Not shown, for it may hold a password.
            return Err(Rejected::new(
                "invalid_url",
                format!("has a user in it; give {}", Self::EXPECTED),
            ));
        }
        let uri: http::Uri = text.parse().map_err(|_not_a_uri| refuse("is not a URL"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refuse("does not begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("has no host"))?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(refuse("has a path or a query"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_port_written = authority.as_str().len() > authority.host().len();
        let has_port = authority.port_u16().is_some_and(|port| port > 0);
        if host.is_empty() || (is_port_written && !has_port) {
            return Err(refuse("has no host or no port from 1 to 65535"));
        }
        if is_tls && ServerName::from_text(host).is_err() {
            return Err(refuse("has a host that no certificate can name"));
        }
        Ok(Self {
            host: Arc::from(host.to_ascii_lowercase()),
            port: authority.port_u16().unwrap_or_else(|| own_port(is_tls)),
            is_tls,
        })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(formatter, "{scheme}://{}", self.authority())
    }
}

deserr_text!(EndpointUrl);
text_schema!(EndpointUrl, "EndpointUrl", "http://HOST:PORT or https://HOST:PORT, without a path.");

/// TLS to endpoints: 1.2 or 1.3, their certificates always verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Tls {
    /// The name that certificates must bear and that is sent as SNI. Default: the host of the endpoint's URL.
    #[deserr(default)]
    pub server_name: Option<ServerName>,
    /// Certificates of the authorities that are believed, in PEM; in place of the public ones.
    #[deserr(default)]
    pub authorities: Option<Authorities>,
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
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Span::from_secs(1),
            first_byte: Span::from_secs(30),
            idle: Span::from_secs(60),
            tunnel: Span::from_secs(3600),
            total: None,
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
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, budget: 0.2, statuses: Vec::new() }
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
