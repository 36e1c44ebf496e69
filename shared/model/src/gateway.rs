//! A named group of nodes: where they listen, what they accept.

use std::net::SocketAddr;

use deserr::Deserr;
use schemars::JsonSchema;

use crate::attachment::Attachment;
use crate::id::Name;
use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::units::{Size, Span};

/// A gateway: what all nodes that joined it have in common.
///
/// The gateway `default` is there without being written, with every default below.
#[derive(Clone, Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Gateway {
    /// For people.
    #[deserr(default)]
    pub description: Option<String>,
    /// Addresses to listen on beside the node's own `--listen`.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<Listener>>")]
    pub listeners: Vec<Listener>,
    /// Peers (networks in CIDR form) whose `x-forwarded-*` and `forwarded` fields are believed.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<Network>>")]
    pub trusted_proxies: Vec<Network>,
    /// Bounds on what clients send.
    #[deserr(default)]
    #[schemars(with = "Option<Limits>")]
    pub limits: Limits,
    /// Run for every call, before the policies of tenant, API and route of the same phase.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<Attachment>>")]
    pub policies: Vec<Attachment>,
}

/// An address to listen on, in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Listener {
    /// Unique within the gateway.
    pub name: Name,
    /// IP address and port, such as `0.0.0.0:8081` or `[::]:8081`.
    pub address: ListenAddress,
}

/// An IP address and a port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddress(pub SocketAddr);

/// A network in CIDR form, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub ipnet::IpNet);

/// Bounds on what clients send; what is over them is refused with a code of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    /// The request line and all header fields together. Default 64KiB.
    #[deserr(default = Size::from_kib(64))]
    #[schemars(with = "Option<Size>")]
    pub head: Size,
    /// Number of header fields. Default 100.
    #[deserr(default = 100)]
    #[schemars(with = "Option<u16>")]
    pub headers: u16,
    /// The longest request target. Default 16KiB.
    #[deserr(default = Size::from_kib(16))]
    #[schemars(with = "Option<Size>")]
    pub target: Size,
    /// From a head's first byte to its last. Default 10s.
    #[deserr(default = Span::from_secs(10))]
    #[schemars(with = "Option<Span>")]
    pub head_time: Span,
    /// How long a connection may wait between requests. Default 75s.
    #[deserr(default = Span::from_secs(75))]
    #[schemars(with = "Option<Span>")]
    pub idle_time: Span,
    /// Open connections on one node. Default 50,000.
    #[deserr(default = 50_000)]
    #[schemars(with = "Option<u32>")]
    pub connections: u32,
    /// Concurrent streams of one HTTP/2 connection. Default 128.
    #[deserr(default = 128)]
    #[schemars(with = "Option<u32>")]
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Size::from_kib(64),
            headers: 100,
            target: Size::from_kib(16),
            head_time: Span::from_secs(10),
            idle_time: Span::from_secs(75),
            connections: 50_000,
            streams: 128,
        }
    }
}

impl FromText for ListenAddress {
    const EXPECTED: &'static str = "an IP address and a port, such as 0.0.0.0:8081";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(Self(address)),
            _ => Err(Rejected::new(
                "invalid_address",
                format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED),
            )),
        }
    }
}

impl FromText for Network {
    const EXPECTED: &'static str = "a network such as 10.0.0.0/8, or one address";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let network = text
            .parse::<ipnet::IpNet>()
            .or_else(|_no_prefix| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from));
        network.map(Self).map_err(|_not_an_address| {
            Rejected::new(
                "invalid_network",
                format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED),
            )
        })
    }
}

deserr_text!(ListenAddress, Network);
text_schema!(ListenAddress, "ListenAddress", "An IP address and a port.");
text_schema!(Network, "Network", "A network in CIDR form, or one address.");
