//! Whom a limit counts for.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use http::Request;
use schemars::JsonSchema;
use tollgate_model::issue::nearest;
use tollgate_model::parse::{self, Rejected};
use tollgate_model::{FromText, Issue, Issues, Name, ResourceId};

use crate::body::Body;
use crate::policy::{Cx, Scope};
use crate::template::Template;

/// Whom something is counted for, as it is written; which variables a text may have depends on its place.
#[derive(Clone, Debug)]
pub enum Subject {
    /// The application, or the client's address.
    Application,
    /// The credential, or the client's address.
    Credential,
    /// The client's address, as one of its network.
    Ip(Networks),
    /// The route.
    Route,
    /// A text with variables.
    Text(String),
}

/// A [`Subject`] in JSON.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum Written {
    /// A word, or a text with variables.
    Text(String),
    /// Addresses by their networks.
    Networks(ByNetwork),
}

/// Addresses by their networks.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct ByNetwork {
    /// How much of an address counts.
    pub ip: Networks,
}

/// How many bits of an address tell clients apart.
#[derive(Clone, Copy, Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Networks {
    /// Of an IPv4 address, 1 to 32. Default 32.
    #[deserr(default)]
    #[schemars(range(min = 1, max = 32))]
    pub v4: Option<u8>,
    /// Of an IPv6 address, 1 to 128. Default 64: what one client usually has to itself.
    #[deserr(default)]
    #[schemars(range(min = 1, max = 128))]
    pub v6: Option<u8>,
}

impl FromText for Subject {
    const EXPECTED: &'static str = "application, credential, ip, route, or a text with variables";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        const KNOWN: [&str; 4] = ["application", "credential", "ip", "route"];
        match text {
            "application" => Ok(Self::Application),
            "credential" => Ok(Self::Credential),
            "ip" => Ok(Self::Ip(Networks::default())),
            "route" => Ok(Self::Route),
            text if text.contains('{') => Ok(Self::Text(text.to_owned())),
            other => Err(Rejected::new(
                "unknown_value",
                format!(
                    "`{}` is not something to count by; {}, or a text with variables such as \"{{header.x-user}}\"",
                    other.escape_debug(),
                    nearest(other, &KNOWN)
                ),
            )),
        }
    }
}

impl Deserr<Issues> for Subject {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        if matches!(value, Value::Map(_)) {
            return ByNetwork::deserialize_from_value(value, location).map(|by| Self::Ip(by.ip));
        }
        parse::text(value, location)
    }
}

/// Whom a limit counts for, compiled.
#[derive(Clone, Debug)]
pub enum By {
    /// The application, or the client's network.
    Application,
    /// The credential, or the client's network.
    Credential,
    /// The client's network.
    Ip(Prefixes),
    /// The route.
    Route,
    /// A text with variables.
    Text(Template),
}

/// Bits of an address that count; none is all of them.
#[derive(Clone, Copy, Debug)]
pub struct Prefixes {
    v4: u8,
    v6: u8,
}

impl Default for Prefixes {
    fn default() -> Self {
        // Who has one address of IPv6 has the 2^64 beside it, too: counted one by one, they are no limit.
        Self { v4: 32, v6: 64 }
    }
}

impl By {
    /// Compiles what is written, or the default: the application.
    ///
    /// # Errors
    ///
    /// Every fault, with pointers below `/by`.
    pub fn compile(subject: Option<Subject>, scope: Scope<'_>) -> Result<Self, Issues> {
        let rejected =
            |rejected: Rejected| Issues::one(Issue::new("/by", rejected.code, rejected.problem));
        Ok(match subject {
            None | Some(Subject::Application) => Self::Application,
            Some(Subject::Credential) => Self::Credential,
            Some(Subject::Ip(networks)) => Self::Ip(Prefixes::compile(networks)?),
            Some(Subject::Route) => Self::Route,
            Some(Subject::Text(text)) => {
                Self::Text(Template::parse(&text, scope).map_err(rejected)?)
            }
        })
    }

    /// The secrets that it names.
    #[must_use]
    pub fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        match self {
            Self::Text(template) => template.references(tenant),
            Self::Application | Self::Credential | Self::Ip(_) | Self::Route => Vec::new(),
        }
    }

    /// Whom a request counts for.
    #[must_use]
    pub fn subject<'a>(&'a self, cx: &'a Cx<'_>, request: &'a Request<Body>) -> SubjectText<'a> {
        let network = || Prefixes::default().network(cx);
        let name = |name: &'a Name| SubjectText::Given(Cow::Borrowed(name.as_str()));
        match self {
            Self::Application => {
                cx.identity.as_ref().map_or_else(network, |caller| name(&caller.application))
            }
            Self::Credential => {
                cx.identity.as_ref().map_or_else(network, |caller| name(&caller.credential))
            }
            Self::Ip(prefixes) => prefixes.network(cx),
            // A limit above the API meets routes of the same name.
            Self::Route => {
                let route = cx.route.route.as_ref().map_or("", Name::as_str);
                SubjectText::Given(Cow::Owned([cx.route.api.as_str(), "/", route].concat()))
            }
            Self::Text(template) => SubjectText::Given(template.render(cx, request)),
        }
    }
}

impl Prefixes {
    fn compile(networks: Networks) -> Result<Self, Issues> {
        let default = Self::default();
        let v4 = networks.v4.unwrap_or(default.v4);
        let v6 = networks.v6.unwrap_or(default.v6);
        let mut issues = Issues::default();
        if !(1..=32).contains(&v4) {
            issues.add("/by/ip/v4".to_owned(), "out_of_range", "give 1 to 32 bits".to_owned());
        }
        if !(1..=128).contains(&v6) {
            issues.add("/by/ip/v6".to_owned(), "out_of_range", "give 1 to 128 bits".to_owned());
        }
        issues.into_result(Self { v4, v6 })
    }

    fn network<'a>(self, cx: &'a Cx<'_>) -> SubjectText<'a> {
        let client = cx.client;
        let whole = SubjectText::Given(Cow::Borrowed(&*client.address_text));
        // An IPv4 address in the clothes of IPv6 is the same client.
        match (client.address.to_canonical(), client.address) {
            (IpAddr::V4(_), IpAddr::V4(_)) if self.v4 == 32 => whole,
            (IpAddr::V6(_), _) if self.v6 == 128 => whole,
            (IpAddr::V4(address), _) if self.v4 == 32 => {
                SubjectText::Network(Network::of(format_args!("{address}")))
            }
            (IpAddr::V4(address), _) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.v4)).unwrap_or(0);
                let network = Ipv4Addr::from_bits(address.to_bits() & mask);
                SubjectText::Network(Network::of(format_args!("{network}/{}", self.v4)))
            }
            (IpAddr::V6(address), _) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.v6)).unwrap_or(0);
                let network = Ipv6Addr::from_bits(address.to_bits() & mask);
                SubjectText::Network(Network::of(format_args!("{network}/{}", self.v6)))
            }
        }
    }
}

/// The name of a subject: borrowed where that will do.
#[derive(Debug)]
pub enum SubjectText<'a> {
    /// A text of the request or the configuration.
    Given(Cow<'a, str>),
    /// A network that an address lies in.
    Network(Network),
}

impl Deref for SubjectText<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Given(text) => text,
            Self::Network(network) => network.as_str(),
        }
    }
}

/// A network as text, such as `2001:db8::/64`, without memory of its own.
#[derive(Debug)]
pub struct Network {
    /// The longest is that of eight groups of four digits and `/128`.
    bytes: [u8; 48],
    length: usize,
}

impl Network {
    fn of(text: fmt::Arguments<'_>) -> Self {
        let mut network = Self { bytes: [0; 48], length: 0 };
        // What does not fit is cut; nothing does not fit.
        let _ = network.write_fmt(text);
        network
    }

    fn as_str(&self) -> &str {
        let written = self.bytes.get(..self.length).unwrap_or_default();
        std::str::from_utf8(written).unwrap_or_default()
    }
}

impl fmt::Write for Network {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Client;
    use crate::support::{World, request};

    fn subject(by: &By, address: &str) -> String {
        let address: IpAddr = address.parse().unwrap();
        let client = Client { address, address_text: address.to_string().into() };
        let world = World { client, ..World::default() };
        by.subject(&world.cx(), &request(&[])).to_owned()
    }

    #[test]
    fn an_address_of_ipv6_counts_as_its_network_of_64_bits() {
        for by in [By::Application, By::Credential, By::Ip(Prefixes::default())] {
            assert_eq!(subject(&by, "2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
            assert_eq!(subject(&by, "192.0.2.7"), "192.0.2.7");
        }
    }

    #[test]
    fn networks_are_as_wide_as_is_written() {
        let by = |v4, v6| By::Ip(Prefixes { v4, v6 });
        for (v4, network) in
            [(32, "192.0.2.255"), (24, "192.0.2.0/24"), (23, "192.0.2.0/23"), (1, "128.0.0.0/1")]
        {
            assert_eq!(subject(&by(v4, 64), "192.0.2.255"), network);
        }
        let address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for (v6, network) in [
            (128, address),
            (127, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"),
            (48, "ffff:ffff:ffff::/48"),
            (1, "8000::/1"),
        ] {
            assert_eq!(subject(&by(32, v6), address), network);
        }
    }

    #[test]
    fn one_address_in_two_spellings_of_its_family_is_one_network() {
        for v4 in [24, 32] {
            let by = By::Ip(Prefixes { v4, v6: 64 });
            assert_eq!(subject(&by, "::ffff:192.0.2.7"), subject(&by, "192.0.2.7"));
        }
    }

    #[test]
    fn bits_that_no_address_has_are_refused() {
        let issues = Prefixes::compile(Networks { v4: Some(33), v6: Some(0) }).unwrap_err();
        let places: Vec<&str> = issues.0.iter().map(|issue| issue.at.as_str()).collect();
        assert_eq!(places, ["/by/ip/v4", "/by/ip/v6"]);
    }
}
