//! A service that DNS knows the servers of.

use std::fmt;
use std::sync::Arc;

use deserr::Deserr;
use rustls_pki_types::DnsName;
use schemars::JsonSchema;

use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};

/// The servers that the SRV records of a name tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What is asked for.
    pub name: ServiceName,
    /// How its servers are reached.
    pub scheme: Scheme,
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserr, JsonSchema)]
#[deserr(error = Issues)]
pub enum Scheme {
    /// In the clear.
    #[default]
    #[deserr(rename = "http")]
    #[schemars(rename = "http")]
    Http,
    /// Over TLS.
    #[deserr(rename = "https")]
    #[schemars(rename = "https")]
    Https,
}

impl Scheme {
    /// The port where none is written.
    pub(super) fn own_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// `HOST:PORT` as it stands in a `host` field; the port is left out where it is the scheme's own.
    #[must_use]
    pub fn authority(self, host: &str, port: u16) -> String {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        if port == self.own_port() { host } else { format!("{host}:{port}") }
    }
}

/// `_SERVICE._PROTOCOL.DOMAIN` (RFC 2782), in lower case. It may end with a dot, as other names may: no search domain is
/// appended then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the service and its protocol, without a dot at the end: a name that a certificate can bear.
    #[must_use]
    pub fn domain(&self) -> &str {
        parts(&self.0).map(|[_, _, domain]| domain).unwrap_or_default()
    }
}

/// Service, protocol, domain.
fn parts(text: &str) -> Option<[&str; 3]> {
    let (service, rest) = text.split_once('.')?;
    let (protocol, domain) = rest.split_once('.')?;
    Some([service, protocol, domain.strip_suffix('.').unwrap_or(domain)])
}

impl FromText for ServiceName {
    const EXPECTED: &'static str = "a service such as _http._tcp.shop.internal";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let refuse = |why: &str| {
            Rejected::new(
                "invalid_service",
                format!("`{}` {why}; give {}", text.escape_debug(), Self::EXPECTED),
            )
        };
        let lower = text.to_ascii_lowercase();
        let is_label = |label: &str| {
            (2..=63).contains(&label.len())
                && label.starts_with('_')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let domain = match parts(&lower) {
            Some([service, protocol, domain]) if is_label(service) && is_label(protocol) => domain,
            _ => return Err(refuse("does not begin with a service and a protocol")),
        };
        // RFC 1035 §2.3.4: 255 octets on the wire are 253 characters and a dot.
        let length = lower.strip_suffix('.').unwrap_or(&lower).len();
        if length > 253 || domain.ends_with('.') || DnsName::try_from(domain).is_err() {
            return Err(refuse("has no domain that can be asked for"));
        }
        Ok(Self(Arc::from(lower)))
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

deserr_text!(ServiceName);
text_schema!(
    ServiceName,
    "ServiceName",
    "`_SERVICE._PROTOCOL.DOMAIN`, such as _http._tcp.shop.internal."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_in_lower_case_and_its_domain_is_what_certificates_bear() {
        for (text, whole, domain) in [
            ("_HTTP._tcp.Shop.internal", "_http._tcp.shop.internal", "shop.internal"),
            ("_web-1._tcp.service.consul.", "_web-1._tcp.service.consul.", "service.consul"),
            ("_http._tcp.shop", "_http._tcp.shop", "shop"),
        ] {
            let name = ServiceName::from_text(text).unwrap();
            assert_eq!((name.as_str(), name.domain()), (whole, domain), "{text}");
        }
    }

    #[test]
    fn what_is_no_service_is_refused() {
        let long = format!("_http._tcp.{}", ["a".repeat(60).as_str(); 4].join("."));
        for text in [
            "",
            ".",
            "shop.internal",
            "_http.shop.internal",
            "http._tcp.shop.internal",
            "_._tcp.shop.internal",
            "_http._tcp",
            "_http._tcp.",
            "_http._tcp..",
            "_http._tcp.shop..",
            "_http._tcp.shop internal",
            "_http._tcp.-shop.internal",
            "_http._tcp.10.0.0.1",
            "_http._tcp.shop.internal:80",
            "_ht/tp._tcp.shop.internal",
            &long,
        ] {
            assert_eq!(ServiceName::from_text(text).unwrap_err().code, "invalid_service", "{text}");
        }
    }
}
