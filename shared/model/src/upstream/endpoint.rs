//! One server: where it is, and its share of the calls.

use std::fmt;
use std::sync::Arc;

use deserr::Deserr;
use schemars::JsonSchema;

use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::trust::ServerName;

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
