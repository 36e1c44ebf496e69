//! A named group of nodes: where they listen, what they accept.

use std::net::SocketAddr;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::attachment::Attachment;
use crate::id::Name;
use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, expected, text_schema};
use crate::trust::Authorities;
use crate::units::{Size, Span};

/// A gateway: what all nodes that joined it have in common.
///
/// The gateway `default` is there without being written, with every default below.
#[derive(Clone, Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = proxies_named -> Issues)]
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

fn proxies_named(gateway: Gateway, location: ValuePointerRef<'_>) -> Result<Gateway, Issues> {
    let mut issues = Issues::default();
    let at = crate::issue::pointer(location);
    for (i, listener) in gateway.listeners.iter().enumerate() {
        if listener.proxy_protocol && gateway.trusted_proxies.is_empty() {
            issues.add(
                format!("{at}/listeners/{i}/proxy_protocol"),
                "no_trusted_proxies",
                "nobody is trusted to send the header; name the balancers in `trusted_proxies`",
            );
        }
    }
    issues.into_result(gateway)
}

/// An address to listen on: in the clear, or with TLS.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Listener {
    /// Unique within the gateway.
    pub name: Name,
    /// IP address and port, such as `0.0.0.0:8081` or `[::]:8081`.
    pub address: ListenAddress,
    /// Whether every connection begins with a header of the PROXY protocol, version 1 or 2, that tells
    /// the client's address. Taken from `trusted_proxies` alone; all others are closed. Default false.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub proxy_protocol: bool,
    /// TLS for every connection; none: in the clear.
    #[deserr(default)]
    pub tls: Option<ListenerTls>,
}

/// TLS of a listener. Clients choose HTTP/2 or HTTP/1.1 by ALPN.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = some_certificate -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct ListenerTls {
    /// Certificates of the tenant `default`; the first is for clients that name no known host. None: all
    /// of the tenant `default` by name, and those of other tenants for the hosts that these own.
    #[deserr(default)]
    pub certificates: Option<Vec<Name>>,
    /// The oldest version that is spoken. Default 1.2.
    #[deserr(default)]
    #[schemars(with = "Option<TlsVersion>")]
    pub min_version: TlsVersion,
    /// Whether clients prove themselves with certificates too; none: they are not asked.
    #[deserr(default)]
    pub client_certificates: Option<ClientCertificates>,
}

fn some_certificate(
    tls: ListenerTls,
    location: ValuePointerRef<'_>,
) -> Result<ListenerTls, Issues> {
    let mut issues = Issues::default();
    let at = format!("{}/certificates", crate::issue::pointer(location));
    let names = tls.certificates.as_deref();
    if names.is_some_and(<[Name]>::is_empty) {
        let problem = "is empty; name a certificate, or leave `certificates` out for all";
        issues.add(at.as_str(), "invalid_count", problem);
    }
    for (i, name) in names.unwrap_or_default().iter().enumerate() {
        if names.unwrap_or_default().iter().take(i).any(|other| other == name) {
            issues.add(format!("{at}/{i}"), "duplicate", format!("`{name}` stands here already"));
        }
    }
    issues.into_result(tls)
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2 (RFC 5246), with ECDHE and AEAD ciphers alone.
    #[default]
    V1_2,
    /// 1.3 (RFC 8446).
    V1_3,
}

/// Certificates that clients prove themselves with.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct ClientCertificates {
    /// Whether a client may come without one. Default required. One of an unknown authority is refused
    /// either way.
    #[deserr(default)]
    #[schemars(with = "Option<ClientCertificateMode>")]
    pub mode: ClientCertificateMode,
    /// The authorities' own certificates, in PEM.
    pub authorities: Authorities,
}

/// Whether a client may come without a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum ClientCertificateMode {
    /// It may not.
    #[default]
    Required,
    /// It may.
    Optional,
}

/// An IP address and a port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddress(pub SocketAddr);

/// A network in CIDR form, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub ipnet::IpNet);

const BODY_RATE: Size = Size::from_bytes(512);

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
    /// How long a client may be waited for while its request's body comes, and a second more for every
    /// `body_rate` that has come. Until an answer has begun; not for gRPC, whose calls have deadlines. Default 10s.
    #[deserr(default = Span::from_secs(10))]
    #[schemars(with = "Option<Span>")]
    pub body_time: Span,
    /// The fewest bytes a second of a request's body. `0B`: no bound but the upstream's `timeouts.idle`. Default
    /// 512B: half of what a mobile network of the slowest kind (GPRS) carries.
    #[deserr(default = BODY_RATE)]
    #[schemars(with = "Option<Size>")]
    pub body_rate: Size,
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
            body_time: Span::from_secs(10),
            body_rate: BODY_RATE,
            idle_time: Span::from_secs(75),
            connections: 50_000,
            streams: 128,
        }
    }
}

impl Deserr<Issues> for TlsVersion {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        // Without quotes, YAML reads a number.
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Float(number) => number.to_string(),
            Value::Null
            | Value::Boolean(_)
            | Value::Integer(_)
            | Value::NegativeInteger(_)
            | Value::Sequence(_)
            | Value::Map(_) => return Err(expected("\"1.2\" or \"1.3\"", &value, location)),
        };
        match text.as_str() {
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            _ => {
                let at = crate::issue::pointer(location);
                let problem = format!("`{}` is not spoken; give 1.2 or 1.3", text.escape_debug());
                Err(Issues::one(crate::issue::Issue::new(at, "unknown_value", problem)))
            }
        }
    }
}

impl JsonSchema for TlsVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TlsVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A version of TLS.", "enum": ["1.2", "1.3", 1.2, 1.3] })
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
