//! What of a request, its caller and its route an expression can name. Each is looked at when it is asked
//! for, so what no expression names costs nothing.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, Request, header};
use jiff::Timestamp;
use tollgate_model::Name;

use super::types::Type;
use super::value::{Failure, List, Map, Value};
use crate::body::Body;
use crate::claims::{Claims, ClientCertificate};
use crate::policy::Cx;
use crate::target::{EncodedSlash, Target};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Method,
    Path,
    Host,
    Scheme,
    Id,
    Query,
    Headers,
    Address,
    Time,
    Application,
    Credential,
    Groups,
    Subject,
    Scopes,
    Claims,
    Tenant,
    Api,
    Route,
    CertificateSubject,
    CertificateNames,
    CertificateFingerprint,
    /// A parameter of the route's path.
    Parameter(Box<str>),
}

/// Those that stand in a family: `request.method`.
const FAMILIES: [(&str, &[(&str, Variable)]); 5] = [
    (
        "request",
        &[
            ("method", Variable::Method),
            ("path", Variable::Path),
            ("host", Variable::Host),
            ("scheme", Variable::Scheme),
            ("query", Variable::Query),
            ("headers", Variable::Headers),
            ("id", Variable::Id),
        ],
    ),
    ("client", &[("ip", Variable::Address)]),
    (
        "identity",
        &[
            ("application", Variable::Application),
            ("credential", Variable::Credential),
            ("groups", Variable::Groups),
            ("subject", Variable::Subject),
            ("scopes", Variable::Scopes),
        ],
    ),
    ("route", &[("tenant", Variable::Tenant), ("api", Variable::Api), ("route", Variable::Route)]),
    (
        "certificate",
        &[
            ("subject", Variable::CertificateSubject),
            ("names", Variable::CertificateNames),
            ("fingerprint", Variable::CertificateFingerprint),
        ],
    ),
];

/// The family whose members are the parameters of the route's path.
pub(super) const PARAMETERS: &str = "path";

/// Every name that an expression can begin with.
pub(super) const ROOTS: [&str; 8] =
    ["request", "client", "identity", "route", "certificate", PARAMETERS, "claims", "time"];

/// A variable that stands in no family.
pub(super) fn alone(name: &str) -> Option<Variable> {
    match name {
        "claims" => Some(Variable::Claims),
        "time" => Some(Variable::Time),
        _ => None,
    }
}

/// The members of a family; none where there is no such family.
pub(super) fn family(name: &str) -> Option<&'static [(&'static str, Variable)]> {
    FAMILIES.iter().find(|(known, _)| *known == name).map(|(_, members)| *members)
}

impl Variable {
    /// What it is.
    pub(super) fn kind(&self) -> Type {
        match self {
            Self::Method
            | Self::Path
            | Self::Host
            | Self::Scheme
            | Self::Id
            | Self::Address
            | Self::Application
            | Self::Credential
            | Self::Subject
            | Self::Tenant
            | Self::Api
            | Self::Route
            | Self::CertificateSubject
            | Self::CertificateFingerprint
            | Self::Parameter(_) => Type::Text,
            Self::Groups | Self::Scopes | Self::CertificateNames => Type::list(Type::Text),
            Self::Query => Type::map(Type::list(Type::Text)),
            Self::Headers => Type::map(Type::Text),
            Self::Claims => Type::map(Type::Any),
            Self::Time => Type::Time,
        }
    }
}

/// One request, as expressions see it.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) cx: &'a Cx<'a>,
    pub(super) request: &'a Request<Body>,
}

impl<'a> Facts<'a> {
    pub(super) fn headers(self) -> &'a HeaderMap {
        self.request.headers()
    }

    /// The client's address in its own family.
    pub(super) fn address(self) -> IpAddr {
        self.cx.client.address.to_canonical()
    }

    fn claims(self) -> Option<&'a Claims> {
        self.cx.claims.as_deref()
    }

    /// # Errors
    ///
    /// Where this request has no such thing, or it is no text that can be read.
    pub(super) fn value(self, variable: &Variable) -> Result<Value<'a>, Failure> {
        let (cx, uri) = (self.cx, self.request.uri());
        let name = |name: &'a Name| name.as_str();
        let of_certificate = |part: fn(&'a ClientCertificate) -> Value<'a>| {
            cx.certificate.map(part).ok_or(Failure::Missing)
        };
        let text = match variable {
            Variable::Method => Some(self.request.method().as_str()),
            Variable::Path => return path(uri.path()),
            Variable::Host => return Ok(Value::Text(host(self.request))),
            Variable::Scheme => Some(cx.scheme),
            Variable::Id => Some(cx.request_id),
            Variable::Address => return Ok(Value::Text(self.address_text())),
            Variable::Application => cx.identity.as_deref().map(|caller| name(&caller.application)),
            Variable::Credential => cx.identity.as_deref().map(|caller| name(&caller.credential)),
            Variable::Subject => self.claims().and_then(|claims| claims.subject.as_deref()),
            Variable::Tenant => Some(name(&cx.route.tenant)),
            Variable::Api => Some(name(&cx.route.api)),
            Variable::Route => cx.route.route.as_ref().map(name),
            Variable::Parameter(name) => return parameter(cx.parameters.get(name)),
            Variable::Query => return Ok(Value::Map(Map::Query(uri.query().unwrap_or_default()))),
            Variable::Headers => return Ok(Value::Map(Map::Headers(self.headers()))),
            Variable::Claims => {
                return Ok(Value::Map(Map::Json(self.claims().map(|claims| &claims.all))));
            }
            Variable::Groups => {
                let of_application = cx.identity.as_deref().map(|caller| &*caller.groups);
                let proven = self.claims().map(|claims| &*claims.groups);
                let (own, proven) =
                    (of_application.unwrap_or_default(), proven.unwrap_or_default());
                return Ok(Value::List(List::Texts(own, proven)));
            }
            Variable::Scopes => {
                let scopes = self.claims().map(|claims| &*claims.scopes).unwrap_or_default();
                return Ok(Value::List(List::Texts(&[], scopes)));
            }
            Variable::CertificateSubject => {
                return of_certificate(|certificate| Value::text(&certificate.facts.subject));
            }
            Variable::CertificateNames => {
                return of_certificate(|certificate| {
                    Value::List(List::Strings(&certificate.facts.alternative_names))
                });
            }
            Variable::CertificateFingerprint => {
                return of_certificate(|certificate| {
                    Value::Text(Cow::Owned(certificate.facts.fingerprint_text()))
                });
            }
            Variable::Time => return self.time().map(Value::Time),
        };
        text.map(Value::text).ok_or(Failure::Missing)
    }

    /// When the request came.
    fn time(self) -> Result<Timestamp, Failure> {
        let micros =
            i64::try_from(self.cx.now_unix_micros).map_err(|_too_late| Failure::OutOfRange)?;
        Timestamp::from_microsecond(micros).map_err(|_too_late| Failure::OutOfRange)
    }

    fn address_text(self) -> Cow<'a, str> {
        let client = self.cx.client;
        if client.address.to_canonical() == client.address {
            Cow::Borrowed(&*client.address_text)
        } else {
            Cow::Owned(client.address.to_canonical().to_string())
        }
    }
}

/// The path in the one form that routes are matched in, so that no rule is passed by another spelling.
fn path(sent: &str) -> Result<Value<'_>, Failure> {
    // Normalising changes percent-encodings alone.
    if !sent.contains('%') {
        return Ok(Value::text(sent));
    }
    let target = Target::parse(sent, EncodedSlash::Refuse).map_err(|_fault| Failure::Unreadable)?;
    Ok(Value::Text(target.into_path()))
}

/// A parameter of the path, decoded.
fn parameter(value: Option<&str>) -> Result<Value<'_>, Failure> {
    let value = value.ok_or(Failure::Missing)?;
    if !value.contains('%') {
        return Ok(Value::text(value));
    }
    let bytes = crate::escape::decode(value).into_owned();
    let text = String::from_utf8(bytes).map_err(|_not_text| Failure::Unreadable)?;
    Ok(Value::Text(Cow::Owned(text)))
}

/// The host in the form that APIs are found by: in lower case, without its port and one dot at its end.
fn host(request: &Request<Body>) -> Cow<'_, str> {
    let field = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = field
        .or_else(|| request.uri().authority().map(http::uri::Authority::as_str))
        .unwrap_or_default();
    let host = if authority.starts_with('[') {
        authority.split_inclusive(']').next()
    } else {
        authority.split(':').next()
    };
    let host = host.unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}
