#![doc = include_str!("MANUAL.md")]

use std::future::Future;

use deserr::Deserr;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use schemars::JsonSchema;
use tollgate_model::Issues;
use tollgate_model::route::{FieldName, Method as MethodName};
use tollgate_model::units::Span;

use crate::body::Body;
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};

mod origin;

pub use origin::Origin;

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Origins whose pages may read answers, at least one: `https://shop.test`, `https://*.shop.test`, `*`, or
    /// `{regex: …}`.
    pub allow_origins: Vec<Origin>,
    /// Methods that those pages may use. None: every method that has a route.
    #[deserr(default)]
    pub allow_methods: Option<Vec<MethodName>>,
    /// Header fields that those pages may send. None: every field that they ask for.
    #[deserr(default)]
    pub allow_headers: Option<Vec<FieldName>>,
    /// Header fields of answers that those pages may read, beside the few that they always may.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<FieldName>>")]
    pub expose_headers: Vec<FieldName>,
    /// Whether browsers may send cookies and other credentials of their own. Not with `*`. Default false.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub credentials: bool,
    /// How long browsers may remember what they may do, in whole seconds; none: as they see fit.
    #[deserr(default)]
    pub max_age: Option<Span>,
    /// Whether pages of public networks may call this API in a private one. Default false.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub private_network: bool,
}

/// Tells browsers which pages may read answers (CORS, of the Fetch standard).
pub struct Cors {
    origins: Box<[Origin]>,
    /// Answers do not depend on the origin.
    is_for_all: bool,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    has_credentials: bool,
    max_age: Option<HeaderValue>,
    is_private_network: bool,
}

const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");
const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const VARY: HeaderValue = HeaderValue::from_static("origin");
/// What the answer to a preflight depends on.
const VARY_OF_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers, \
     access-control-request-private-network",
);

/// What the names of all of them begin with.
const PREFIX: &str = "access-control-";
/// What an upstream may have said by itself; what stands here is said in one place.
const SAID_HERE: [HeaderName; 7] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    ALLOW_PRIVATE_NETWORK,
];

impl Policy for Cors {
    type Config = Config;
    /// The origin that may read the answer, as the field says it; none: no page may.
    type Carry = Option<HeaderValue>;

    const NAME: &'static str = "cors";
    const PHASE: Phase = Phase::Guard;
    const REPEAT: Repeat = Repeat::Innermost;
    const ANSWERS_PREFLIGHTS: bool = true;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, _scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        if config.allow_origins.is_empty() {
            issues.add("/allow_origins", "invalid_count", "is empty; name an origin, or `*`");
        }
        let any = config.allow_origins.iter().position(|origin| matches!(origin, Origin::Any));
        if let Some(i) = any.filter(|_| config.credentials) {
            issues.add(
                format!("/allow_origins/{i}"),
                "credentials_for_all",
                "`*` with `credentials` would let every page act as its reader; name the origins",
            );
        }
        let null = config.allow_origins.iter().position(|origin| origin.accepts("null"));
        if let Some(i) = null.filter(|_| config.credentials && any.is_none()) {
            issues.add(
                format!("/allow_origins/{i}"),
                "credentials_for_all",
                "`null` with `credentials` would let every page act as its reader; name the origins",
            );
        }
        if config.max_age.is_some_and(|age| age.get().subsec_nanos() > 0) {
            issues.add("/max_age", "out_of_range", "is not a number of whole seconds");
        }
        let methods = config.allow_methods.as_deref();
        let headers = config.allow_headers.as_deref();
        issues.into_result(Self {
            is_for_all: any.is_some(),
            origins: config.allow_origins.into(),
            methods: methods.map(|names| list(names.iter().map(MethodName::as_str))),
            headers: headers.map(|names| list(names.iter().map(FieldName::as_str))),
            expose: (!config.expose_headers.is_empty())
                .then(|| list(config.expose_headers.iter().map(FieldName::as_str))),
            has_credentials: config.credentials,
            max_age: config.max_age.map(|age| HeaderValue::from(age.get().as_secs())),
            is_private_network: config.private_network,
        })
    }

    fn on_request(
        &self,
        _cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<Self::Carry>> {
        let allowed = self.allowed(request.headers());
        std::future::ready(match (requested_method(request), allowed) {
            (None, allowed) => Flow::Next(allowed),
            (Some(method), Some(allowed)) => {
                let mut response = Response::new(Body::Empty);
                *response.status_mut() = StatusCode::NO_CONTENT;
                self.answer_preflight(allowed, method, request.headers(), response.headers_mut());
                Flow::Answer(Box::new(response))
            }
            (Some(_), None) => {
                let detail = "calls from pages of this origin are not allowed";
                Refusal::new(StatusCode::FORBIDDEN, "forbidden", detail)
                    .with(header::VARY, VARY_OF_PREFLIGHT)
                    .into_flow()
            }
        })
    }

    fn on_response(
        &self,
        allowed: &mut Self::Carry,
        _cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) -> impl Future<Output = ()> {
        let headers = response.headers_mut();
        let found = Found::in_answer(headers);
        if found.is_said_already {
            for name in &SAID_HERE {
                headers.remove(name);
            }
        }
        if !self.is_for_all && !found.varies_by_origin {
            headers.append(header::VARY, VARY);
        }
        if let Some(allowed) = allowed.take() {
            self.allow(allowed, headers);
            if let Some(expose) = &self.expose {
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
            }
        }
        std::future::ready(())
    }
}

impl Cors {
    /// What the answer says of who may read it.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.is_for_all {
            return Some(ANY);
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (origin, None) = (origins.next()?, origins.next()) else { return None };
        let text = origin.to_str().ok()?;
        self.origins.iter().any(|known| known.accepts(text)).then(|| origin.clone())
    }

    fn allow(&self, allowed: HeaderValue, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.has_credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
    }

    fn answer_preflight(
        &self,
        allowed: HeaderValue,
        method: &HeaderValue,
        asked: &HeaderMap,
        answer: &mut HeaderMap,
    ) {
        self.allow(allowed, answer);
        // The route was found by the method that is asked for, so there is one that takes it.
        let methods = self.methods.as_ref().unwrap_or(method);
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        let fields = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(fields) = self.headers.as_ref().or(fields) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, fields.clone());
        }
        if let Some(max_age) = &self.max_age {
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, max_age.clone());
        }
        let is_asked = asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|asked| asked == "true");
        if self.is_private_network && is_asked {
            answer.insert(ALLOW_PRIVATE_NETWORK, TRUE);
        }
        answer.insert(header::VARY, VARY_OF_PREFLIGHT);
    }
}

/// The method that a preflight asks for; none where the request is no preflight.
///
/// Source: Fetch standard, "CORS-preflight request".
#[must_use]
pub fn requested_method<B>(request: &Request<B>) -> Option<&HeaderValue> {
    let headers = request.headers();
    (request.method() == Method::OPTIONS && headers.contains_key(header::ORIGIN))
        .then(|| headers.get(header::ACCESS_CONTROL_REQUEST_METHOD))
        .flatten()
}

/// What an answer says before anything is said here.
#[derive(Default)]
struct Found {
    /// Who may read it.
    is_said_already: bool,
    /// That it depends on the origin, or on everything.
    varies_by_origin: bool,
}

impl Found {
    /// One look at the fields that there are: asking for each of those that hardly ever are takes longer.
    fn in_answer(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            if *name == header::VARY {
                found.varies_by_origin |= names_origin(value);
            } else {
                found.is_said_already |= name.as_str().starts_with(PREFIX);
            }
        }
        found
    }
}

fn names_origin(vary: &HeaderValue) -> bool {
    vary.as_bytes().split(|byte| *byte == b',').any(|name| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(b"origin")
    })
}

/// Names of methods or fields as one field's value.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> HeaderValue {
    let names: Vec<&str> = names.collect();
    // Names are tokens, which can stand in any field.
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
