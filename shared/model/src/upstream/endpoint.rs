//! One server, or those of a service: where they are, and their share of the calls.

use std::fmt;
use std::sync::Arc;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use schemars::JsonSchema;

use super::service::{Scheme, Service, ServiceName};
use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::trust::ServerName;

/// One server, or those of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub location: Location,
    /// Its share of the calls against the others', 1 to 1000.
    pub weight: Weight,
    /// Endpoints of a greater number are asked only where all of smaller ones are out.
    pub priority: u8,
}

/// Where calls go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// To a server.
    Url(EndpointUrl),
    /// To the servers of a service.
    Service(Service),
}

impl Location {
    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Url(url) => url.is_tls(),
            Self::Service(service) => service.scheme == Scheme::Https,
        }
    }

    /// The name that certificates must bear where `tls.server_name` says no other: the host of a URL, the domain of a
    /// service.
    ///
    /// RFC 9525 §6.1 (formerly RFC 6125 §6.2.1): what is verified comes from the configuration and not from the answer
    /// of a server of names, else whoever forges the answer chooses the certificate too.
    #[must_use]
    pub fn certified_name(&self) -> &str {
        match self {
            Self::Url(url) => url.host(),
            Self::Service(service) => service.name.domain(),
        }
    }

    /// The field that it is written in.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Service(_) => "srv",
        }
    }
}

/// One server, or those of a service: `url` or `srv`.
#[derive(Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "Endpoint")]
pub(crate) struct Written {
    /// `http://HOST:PORT` or `https://HOST:PORT`, without a path.
    #[deserr(default)]
    url: Option<EndpointUrl>,
    /// In place of `url`, a service such as `_http._tcp.shop.internal`: DNS says which servers it has (SRV records, RFC
    /// 2782), with the port, priority and weight of each.
    #[deserr(default)]
    srv: Option<ServiceName>,
    /// How the servers of `srv` are reached. Default `http`.
    #[deserr(default)]
    scheme: Option<Scheme>,
    /// Its share of the calls against the others', 1 to 1000. Each address of a name has it whole; the servers of a
    /// service share it by their records' weights. Default 1.
    #[deserr(default)]
    #[schemars(with = "Option<Weight>")]
    weight: Weight,
    /// Endpoints of a greater number are asked only where all of smaller ones are out. 0 to 255. Default 0.
    #[deserr(default)]
    #[schemars(with = "Option<u8>")]
    priority: u8,
}

impl Written {
    fn location(self, at: &str, issues: &mut Issues) -> Option<Location> {
        if self.url.is_some() && self.scheme.is_some() {
            let problem = "is about `srv`; a `url` begins with it";
            issues.add(format!("{at}/scheme"), "conflicting_fields", problem);
        }
        match (self.url, self.srv) {
            (None, None) => {
                let problem = "`url` is missing; add it, or `srv` for the servers of a service";
                issues.add(at, "missing_field", problem);
                None
            }
            (Some(_), Some(_)) => {
                let problem = "give `url` or `srv`; write an endpoint for each";
                issues.add(format!("{at}/srv"), "conflicting_fields", problem);
                None
            }
            (Some(url), None) => Some(Location::Url(url)),
            (None, Some(name)) => {
                let scheme = self.scheme.unwrap_or_default();
                Some(Location::Service(Service { name, scheme }))
            }
        }
    }
}

impl Deserr<Issues> for Endpoint {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let written = Written::deserialize_from_value(value, location)?;
        let (weight, priority) = (written.weight, written.priority);
        let mut issues = Issues::default();
        let location = written.location(&crate::issue::pointer(location), &mut issues);
        // Without one there is an issue that says so.
        let Some(location) = location else { return Err(issues) };
        issues.into_result(Self { location, weight, priority })
    }
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
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
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
    scheme: Scheme,
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
        self.scheme == Scheme::Https
    }

    /// `HOST:PORT` as it stands in a `host` field; the port is left out where it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        self.scheme.authority(&self.host, self.port)
    }
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
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
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
        if scheme == Scheme::Https && ServerName::from_text(host).is_err() {
            return Err(refuse("has a host that no certificate can name"));
        }
        Ok(Self {
            host: Arc::from(host.to_ascii_lowercase()),
            port: authority.port_u16().unwrap_or_else(|| scheme.own_port()),
            scheme,
        })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls() { "https" } else { "http" };
        write!(formatter, "{scheme}://{}", self.authority())
    }
}

deserr_text!(EndpointUrl);
text_schema!(EndpointUrl, "EndpointUrl", "http://HOST:PORT or https://HOST:PORT, without a path.");
