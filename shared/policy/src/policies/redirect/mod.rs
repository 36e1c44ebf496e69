#![doc = include_str!("MANUAL.md")]

use std::borrow::Cow;
use std::future::Future;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tollgate_model::issue::pointer;
use tollgate_model::parse::{self, Rejected};
use tollgate_model::{Issue, Issues, Name, ResourceId};

use crate::body::Body;
use crate::escape::Escape;
use crate::onward::{MAX_TARGET, refuse_length, refuse_path};
use crate::path_edit::{Fields, PathEdit, Prefix, Substitution};
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};
use crate::target::{EncodedSlash, Target};
use crate::template::Template;

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Where to: a URL or a path with variables, or the parts of the request's own URL that change.
    pub to: To,
    /// 301, 302, 303, 307 or 308. Default 302.
    #[deserr(default)]
    #[schemars(with = "Option<Code>")]
    pub status: Code,
    /// Whether the request's query goes with it, behind the target's own. Default true.
    #[deserr(default = true)]
    #[schemars(with = "Option<bool>")]
    pub keep_query: bool,
}

/// Where to.
#[derive(Debug)]
pub enum To {
    /// A URL or a path with variables.
    Text(String),
    /// What of the request's URL changes.
    Parts(Box<Parts>),
}

/// What of the request's URL changes; the rest of it stays. At least one.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(rename = "RedirectParts", deny_unknown_fields)]
pub struct Parts {
    /// `http` or `https`. None: the one that the client used.
    #[deserr(default)]
    pub scheme: Option<Scheme>,
    /// A host name, without port. None: the one that the client named.
    #[deserr(default)]
    pub host: Option<String>,
    /// 1 to 65535. None: the scheme's own, where a scheme or a host is given.
    #[deserr(default)]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// A whole path with variables.
    #[deserr(default)]
    pub path: Option<String>,
    /// Another prefix of the path.
    #[deserr(default)]
    pub prefix: Option<Prefix>,
    /// An expression over the path, and what takes the place of its match.
    #[deserr(default)]
    pub regex: Option<Substitution>,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename = "RedirectScheme", rename_all = "lowercase")]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

/// The status of a redirect.
#[derive(Clone, Copy, Debug)]
pub struct Code(StatusCode);

impl Default for Code {
    fn default() -> Self {
        Self(StatusCode::FOUND)
    }
}

impl Deserr<Issues> for Code {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        match u16::deserialize_from_value(value, location)? {
            301 => Ok(Self(StatusCode::MOVED_PERMANENTLY)),
            302 => Ok(Self(StatusCode::FOUND)),
            303 => Ok(Self(StatusCode::SEE_OTHER)),
            307 => Ok(Self(StatusCode::TEMPORARY_REDIRECT)),
            308 => Ok(Self(StatusCode::PERMANENT_REDIRECT)),
            _ => Err(Issues::one(Issue::new(
                pointer(location),
                "out_of_range",
                "give a status that redirects: 301, 302, 303, 307 or 308",
            ))),
        }
    }
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "RedirectStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "enum": [301, 302, 303, 307, 308] })
    }
}

impl Deserr<Issues> for To {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let what = "a URL, a path, or a mapping of parts";
        match value {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Map(map) => {
                let map = Value::<V>::Map(map);
                Parts::deserialize_from_value(map, location).map(Box::new).map(Self::Parts)
            }
            Value::Null
            | Value::Boolean(_)
            | Value::Integer(_)
            | Value::NegativeInteger(_)
            | Value::Float(_)
            | Value::Sequence(_) => Err(parse::expected(what, &value, location)),
        }
    }
}

impl JsonSchema for To {
    fn schema_name() -> Cow<'static, str> {
        "RedirectTo".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let parts = generator.subschema_for::<Parts>();
        json_schema!({ "anyOf": [{ "type": "string" }, parts] })
    }
}

/// Sends the client to another URL.
pub struct Redirect {
    to: Where,
    status: StatusCode,
    keeps_query: bool,
}

enum Where {
    /// The first bytes, scheme and authority, are the operator's own; the rest may vary.
    Text {
        template: Template,
        origin_length: usize,
    },
    Parts {
        origin: Origin,
        path: Option<PathEdit>,
    },
}

enum Origin {
    /// The one that the client used.
    Same,
    /// This one, with `//` before it and the scheme where there is one.
    Constant(Box<str>),
    /// The host that the client named, between these.
    OfClient { before: &'static str, after: Box<str> },
}

impl Policy for Redirect {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "redirect";
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        let to = match config.to {
            To::Text(text) => match compile_text(&text, scope) {
                Ok(to) => Some(to),
                Err(rejected) => {
                    issues.add("/to", rejected.code, rejected.problem);
                    None
                }
            },
            To::Parts(parts) => compile_parts(*parts, scope, &mut issues),
        };
        let Some(to) = to else { return Err(issues) };
        issues.into_result(Self { to, status: config.status.0, keeps_query: config.keep_query })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        let template = match &self.to {
            Where::Text { template, .. } => Some(template),
            Where::Parts { path, .. } => path.as_ref().and_then(PathEdit::template),
        };
        template.map(|template| template.references(tenant)).unwrap_or_default()
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<()>> {
        std::future::ready(match self.location(cx, request) {
            Ok(location) => {
                let mut response = Response::new(Body::Empty);
                *response.status_mut() = self.status;
                response.headers_mut().insert(header::LOCATION, location);
                Flow::Answer(Box::new(response))
            }
            Err(refusal) => Flow::Refuse(refusal),
        })
    }
}

impl Redirect {
    fn location(&self, cx: &Cx<'_>, request: &Request<Body>) -> Result<HeaderValue, Box<Refusal>> {
        let mut location = match &self.to {
            Where::Text { template, origin_length } => {
                let text = template
                    .render_escaped(cx, request, Escape::Url, MAX_TARGET)
                    .ok_or_else(refuse_length)?;
                check_path(&text, *origin_length)?;
                text
            }
            Where::Parts { origin, path } => {
                let client_path = request.uri().path();
                let changed = match path {
                    Some(edit) => edit.apply(client_path, cx, request)?,
                    None => None,
                };
                let mut location = origin.render(request)?;
                let path = changed.as_deref().unwrap_or(client_path);
                let path = Target::parse(path, EncodedSlash::Refuse).map_err(refuse_path)?;
                location.push_str(path.path());
                location
            }
        };
        if self.keeps_query
            && let Some(query) = request.uri().query().filter(|query| !query.is_empty())
        {
            add_query(&mut location, query);
        }
        if location.len() > MAX_TARGET {
            return Err(refuse_length());
        }
        HeaderValue::from_str(&location).map_err(|_not_visible| {
            Box::new(Refusal::new(
                StatusCode::BAD_REQUEST,
                "ambiguous_path",
                "the request target has a byte that a URL cannot hold; percent-encode it",
            ))
        })
    }
}

impl Origin {
    fn compile(scheme: Option<Scheme>, host: Option<&str>, port: Option<u16>) -> Self {
        let before = match scheme {
            Some(Scheme::Http) => "http://",
            Some(Scheme::Https) => "https://",
            None => "//",
        };
        let after = port.map(|port| format!(":{port}")).unwrap_or_default();
        match host {
            Some(host) => Self::Constant([before, host, &after].concat().into()),
            None if scheme.is_none() && port.is_none() => Self::Same,
            None => Self::OfClient { before, after: after.into() },
        }
    }

    fn render(&self, request: &Request<Body>) -> Result<String, Box<Refusal>> {
        match self {
            Self::Same => Ok(String::new()),
            Self::Constant(origin) => Ok(String::from(&**origin)),
            Self::OfClient { before, after } => match client_host(request) {
                Some(host) => Ok([before, &*host, after].concat()),
                None => Err(Box::new(Refusal::new(
                    StatusCode::BAD_REQUEST,
                    "malformed_request",
                    "the request names no host",
                ))),
            },
        }
    }
}

/// The host that the client named, without its port.
fn client_host(request: &Request<Body>) -> Option<String> {
    let host = match request.headers().get(header::HOST) {
        Some(field) => Authority::try_from(field.as_bytes()).ok()?.host().to_owned(),
        None => request.uri().host()?.to_owned(),
    };
    (!host.is_empty()).then_some(host)
}

/// Puts a query behind what is there, before the fragment. What no URL holds is encoded.
fn add_query(location: &mut String, query: &str) {
    let fragment = location.find('#').map(|at| location.split_off(at));
    location.push(if location.contains('?') { '&' } else { '?' });
    for byte in query.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#' => {
                crate::escape::push_component(location, &[byte]);
            }
            0x21..=0x7e => location.push(char::from(byte)),
            _ => crate::escape::push_component(location, &[byte]),
        }
    }
    location.push_str(&fragment.unwrap_or_default());
}

/// The path of a rendered URL must be one that is read in one way: an empty value may not make `//`
/// of `/{query.a}/b`, behind which a browser would look for a host.
fn check_path(text: &str, origin_length: usize) -> Result<(), Box<Refusal>> {
    let path = path_of(text, origin_length);
    if path.is_empty() && origin_length > 0 {
        return Ok(());
    }
    Target::parse(path, EncodedSlash::Refuse).map(|_| ()).map_err(refuse_path)
}

fn path_of(text: &str, origin_length: usize) -> &str {
    let rest = text.get(origin_length..).unwrap_or_default();
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

fn compile_text(text: &str, scope: Scope<'_>) -> Result<Where, Rejected> {
    let template = Template::parse(text, scope)?;
    let sample = template.sample("x");
    if sample.len() > 2048 {
        return Err(Rejected::new("too_long", "is longer than 2048 bytes"));
    }
    let is_odd = |c: &char| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(*c);
    if let Some(odd) = sample.chars().find(is_odd) {
        return Err(Rejected::new(
            "invalid_url",
            format!("has `{}`, which a URL cannot hold; percent-encode it", odd.escape_debug()),
        ));
    }
    let origin_length = origin_length(&template)?;
    check_path(&sample, origin_length)
        .map_err(|refusal| Rejected::new("invalid_url", refusal.detail))?;
    Ok(Where::Text { template, origin_length })
}

/// How many bytes scheme and authority have; none of them may come from a request.
fn origin_length(template: &Template) -> Result<usize, Rejected> {
    let lead = template.leading_text();
    let Some(rest) = lead.strip_prefix("https://").or_else(|| lead.strip_prefix("http://")) else {
        return if lead.starts_with('/') {
            Ok(0)
        } else {
            Err(Rejected::new(
                "invalid_url",
                "is neither an `http://` or `https://` URL nor a path that begins with `/`",
            ))
        };
    };
    let end = match rest.find(['/', '?', '#']) {
        Some(end) => end,
        None if template.as_constant().is_some() => rest.len(),
        None => {
            return Err(Rejected::new(
                "variable_host",
                "takes its host from a variable, so that a caller could choose where others are sent; write the host out, \
                 with a `/` behind it",
            ));
        }
    };
    let (authority, _) = rest.split_at(end);
    match Authority::try_from(authority) {
        Ok(parsed) if !parsed.host().is_empty() && !authority.contains('@') => {
            Ok(lead.len() - rest.len() + end)
        }
        _ => Err(Rejected::new(
            "invalid_url",
            format!("`{}` is not a host with or without a port", authority.escape_debug()),
        )),
    }
}

fn compile_parts(parts: Parts, scope: Scope<'_>, issues: &mut Issues) -> Option<Where> {
    let Parts { scheme, host, port, path, prefix, regex } = parts;
    if let Some(host) = &host {
        let is_host = Authority::try_from(host.as_str())
            .is_ok_and(|authority| authority.host() == host && !host.is_empty());
        if !is_host {
            issues.add(
                "/to/host",
                "invalid_host",
                format!("`{}` is not a host name such as api.shop.test", host.escape_debug()),
            );
        }
    }
    if port == Some(0) {
        issues.add("/to/port", "out_of_range", "give a port from 1 to 65535");
    }
    let origin = Origin::compile(scheme, host.as_deref(), port);
    let is_path_given = path.is_some() || prefix.is_some() || regex.is_some();
    if matches!(origin, Origin::Same) && !is_path_given {
        issues.add("/to", "nothing_to_change", "names no part of the URL that changes");
    }
    let fields = Fields { template_at: "/path", template: path, prefix, regex };
    let path = PathEdit::compile(fields, "/to", scope, issues);
    Some(Where::Parts { origin, path })
}

#[cfg(test)]
mod tests;
