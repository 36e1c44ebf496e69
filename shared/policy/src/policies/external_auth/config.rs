//! What the operator writes, and what is wrong with it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use deserr::Deserr;
use http::uri::PathAndQuery;
use http::{HeaderName, header};
use schemars::JsonSchema;
use tollgate_model::issue::escape;
use tollgate_model::parse::Mapping;
use tollgate_model::route::{FieldName, OF_CONNECTION, OF_PROXIES, WRITTEN_BY_TOLLGATE};
use tollgate_model::units::{Size, Span};
use tollgate_model::{Issues, Name};

use super::grpc_service::GrpcService;
use super::http_service::{HttpService, Place};
use super::question::{TRACEPARENT, TRACESTATE};
use super::upload::Buffering;
use super::{ExternalAuth, Service, Taken};
use crate::policies::headers;
use crate::policy::Scope;
use crate::target::{EncodedSlash, Target};
use crate::template::Template;

/// What the operator writes. Exactly one of `http` and `grpc` is given.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// The Upstream of the tenant that is the service. For `grpc` its `protocol` is `http2`.
    pub upstream: Name,
    /// The service speaks HTTP: 2xx lets the request through.
    #[deserr(default)]
    pub http: Option<Http>,
    /// The service speaks `envoy.service.auth.v3.Authorization` over gRPC.
    #[deserr(default)]
    pub grpc: Option<Grpc>,
    /// Header fields of the client's that the service gets, up to 64. Default `[authorization, cookie, traceparent, tracestate]`.
    #[deserr(default)]
    pub send_headers: Option<Vec<FieldName>>,
    /// Whether the service gets the body of the request. Default: it does not.
    #[deserr(default)]
    pub send_body: Option<SendBody>,
    /// Header fields that the service may set on the request to the upstream, up to 64. What a client sends in them
    /// never goes upstream.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<FieldName>>")]
    pub take_headers: Vec<FieldName>,
    /// Header fields of the service's that the client gets with the upstream's answer, up to 64.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<FieldName>>")]
    pub take_response_headers: Vec<FieldName>,
    /// Header fields of the service's that the client gets with a refusal, beside the body and what describes it, up to 64.
    /// Default `[www-authenticate, location, set-cookie, retry-after, cache-control]`.
    #[deserr(default)]
    pub deny_headers: Option<Vec<FieldName>>,
    /// From the question to the last byte of the answer, up to 10s. Default 200ms.
    #[deserr(default)]
    pub timeout: Option<Span>,
    /// The largest body of an answer that is read, 1B to 1MiB. Default 64KiB.
    #[deserr(default)]
    pub max_response: Option<Size>,
    /// Where the service cannot be asked or says nothing of use: `refuse`, or `allow` the request without any
    /// of `take_headers`. Default `refuse`.
    #[deserr(default)]
    #[schemars(with = "Option<Failure>")]
    pub on_failure: Failure,
}

/// A service that speaks HTTP. At most one of `path` and `prefix` is given.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "ExternalAuthHttp")]
pub struct Http {
    /// `GET`, `HEAD`, `POST`, or `same` for the client's. Default `GET`.
    #[deserr(default)]
    #[schemars(with = "Option<Method>")]
    pub method: Method,
    /// The target that is asked, with a query where it has one. Default `/`.
    #[deserr(default)]
    pub path: Option<String>,
    /// The path that stands before the client's target to make the one that is asked.
    #[deserr(default)]
    pub prefix: Option<String>,
    /// Header fields for the service. Values are texts with variables.
    #[deserr(default, from(Mapping<FieldName, String>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub headers: BTreeMap<FieldName, String>,
}

/// What the service is asked with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues)]
#[schemars(rename = "ExternalAuthMethod")]
pub enum Method {
    /// `GET`.
    #[default]
    #[deserr(rename = "GET")]
    #[schemars(rename = "GET")]
    Get,
    /// `HEAD`.
    #[deserr(rename = "HEAD")]
    #[schemars(rename = "HEAD")]
    Head,
    /// `POST`.
    #[deserr(rename = "POST")]
    #[schemars(rename = "POST")]
    Post,
    /// The client's own.
    #[deserr(rename = "same")]
    #[schemars(rename = "same")]
    Same,
}

/// A service that speaks gRPC.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "ExternalAuthGrpc")]
pub struct Grpc {
    /// Its `context_extensions`, up to 64. Values are texts with variables.
    #[deserr(default, from(Mapping<String, String>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub context: BTreeMap<String, String>,
}

/// How much of a body the service gets. It is held until the service has answered.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "ExternalAuthBody")]
pub struct SendBody {
    /// The largest body that is sent, 1B to 1MiB. Default 8KiB.
    #[deserr(default)]
    pub max: Option<Size>,
    /// A larger one: `refuse` the request, or `omit` the body from the question. Default `refuse`.
    #[deserr(default)]
    #[schemars(with = "Option<Larger>")]
    pub on_larger: Larger,
    /// How long the body may take to come, up to 1m. Default 10s.
    #[deserr(default)]
    pub wait: Option<Span>,
}

/// What becomes of a body that is too large for the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase", rename = "ExternalAuthLarger")]
pub enum Larger {
    /// The request is refused.
    #[default]
    Refuse,
    /// The service is asked without it.
    Omit,
}

/// What happens without a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase", rename = "ExternalAuthFailure")]
pub enum Failure {
    /// The request is refused.
    #[default]
    Refuse,
    /// It goes on.
    Allow,
}

const SENT: [HeaderName; 4] = [header::AUTHORIZATION, header::COOKIE, TRACEPARENT, TRACESTATE];
const OF_DENIALS: [HeaderName; 5] = [
    header::WWW_AUTHENTICATE,
    header::LOCATION,
    header::SET_COOKIE,
    header::RETRY_AFTER,
    header::CACHE_CONTROL,
];

/// The most names of one list.
const MOST_NAMES: usize = 64;
const TIMEOUT: Duration = Duration::from_millis(200);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const RESPONSE_BYTES: usize = 64 << 10;
const BODY_BYTES: usize = 8 << 10;
const BYTES: RangeInclusive<u64> = 1..=1 << 20;

impl Config {
    pub(super) fn compile(self, scope: Scope<'_>) -> Result<ExternalAuth, Issues> {
        let mut issues = Issues::default();
        let body = self.send_body.as_ref().map(|body| body.compile(&mut issues));
        let taken = Taken {
            request: taken_names(&self.take_headers, "/take_headers", &mut issues),
            response: names(&self.take_response_headers, "/take_response_headers", &mut issues),
            denial: match &self.deny_headers {
                None => OF_DENIALS.into(),
                Some(given) => names(given, "/deny_headers", &mut issues),
            },
        };
        let sent = match &self.send_headers {
            None => SENT.into(),
            Some(given) => names(given, "/send_headers", &mut issues),
        };
        let timeout = self.timeout.map_or(TIMEOUT, Span::get);
        if timeout > LONGEST_TIMEOUT {
            issues.add("/timeout", "out_of_range", "give at most 10s");
        }
        let most_bytes = bytes(self.max_response, RESPONSE_BYTES, "/max_response", &mut issues);
        let service = match (self.http, self.grpc) {
            (Some(http), None) => {
                Some(Service::Http(http.compile(body.is_some(), scope, &mut issues)))
            }
            (None, Some(grpc)) => Some(Service::Grpc(grpc.compile(scope, &mut issues))),
            (None, None) => {
                issues.add("", "missing_field", "say what the service speaks: `http` or `grpc`");
                None
            }
            (Some(_), Some(_)) => {
                let problem = "give only one of `http` and `grpc`";
                issues.add("", "conflicting_fields", problem);
                None
            }
        };
        let Some(service) = service else { return Err(issues) };
        issues.into_result(ExternalAuth {
            upstream: self.upstream,
            holder: scope.holder(),
            service,
            sent,
            body,
            taken,
            timeout,
            most_bytes,
            on_failure: self.on_failure,
        })
    }
}

impl Http {
    fn compile(self, has_body: bool, scope: Scope<'_>, issues: &mut Issues) -> HttpService {
        let Self { method, path, prefix, headers } = self;
        if has_body && matches!(method, Method::Get | Method::Head) {
            let problem = "sends no body; give `POST` or `same` with `send_body`";
            issues.add("/http/method", "conflicting_fields", problem);
        }
        let place = match (path, prefix) {
            (Some(_), Some(_)) => {
                let problem = "give only one of `path` and `prefix`";
                issues.add("/http", "conflicting_fields", problem);
                None
            }
            (None, Some(prefix)) => {
                let prefix = prefix_of(&prefix);
                if prefix.is_none() {
                    let problem = "is not a path such as /auth, without a query";
                    issues.add("/http/prefix", "invalid_path", problem);
                }
                prefix.map(Place::Below)
            }
            (path, None) => {
                let target = target_of(path.as_deref().unwrap_or("/"));
                if target.is_none() {
                    let problem = "is not a target such as /verify or /verify?of=orders";
                    issues.add("/http/path", "invalid_path", problem);
                }
                target.map(Place::Exact)
            }
        };
        let headers =
            headers::compile_entries(headers, "/http/headers", scope, issues).into_boxed_slice();
        // Where there is none, an issue says so.
        let place = place.unwrap_or_else(|| Place::Below(Box::default()));
        HttpService { method, place, headers }
    }
}

impl Grpc {
    fn compile(self, scope: Scope<'_>, issues: &mut Issues) -> GrpcService {
        let mut context = Vec::with_capacity(self.context.len());
        if self.context.len() > MOST_NAMES {
            issues.add("/grpc/context", "too_many", "has more than 64 entries");
        }
        for (name, text) in self.context {
            let at = format!("/grpc/context/{}", escape(&name));
            match Template::parse(&text, scope) {
                Ok(template) => context.push((name, template)),
                Err(rejected) => issues.add(at, rejected.code, rejected.problem),
            }
        }
        GrpcService { context: context.into() }
    }
}

impl SendBody {
    fn compile(&self, issues: &mut Issues) -> Buffering {
        let most_bytes = bytes(self.max, BODY_BYTES, "/send_body/max", issues);
        let wait = self.wait.map_or(WAIT, Span::get);
        if wait > LONGEST_WAIT {
            issues.add("/send_body/wait", "out_of_range", "give at most 1m");
        }
        Buffering { most_bytes, on_larger: self.on_larger, wait }
    }
}

fn bytes(size: Option<Size>, default: usize, at: &str, issues: &mut Issues) -> usize {
    let Some(size) = size else { return default };
    if !BYTES.contains(&size.bytes()) {
        issues.add(at, "out_of_range", "give a size from 1B to 1MiB");
    }
    usize::try_from(size.bytes()).unwrap_or(usize::MAX)
}

/// A target in the one form that paths are sent in.
fn target_of(text: &str) -> Option<PathAndQuery> {
    let path = text.split('?').next().unwrap_or_default();
    let target = Target::parse(path, EncodedSlash::Refuse).ok()?;
    let rest = text.strip_prefix(path)?;
    let is_plain = rest.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#');
    is_plain.then(|| PathAndQuery::try_from(format!("{}{rest}", target.path())).ok())?
}

/// What stands before a target, without the slash that the target begins with.
fn prefix_of(text: &str) -> Option<Box<str>> {
    let target = Target::parse(text, EncodedSlash::Refuse).ok()?;
    let path = target.path();
    Some(Box::from(path.strip_suffix('/').unwrap_or(path)))
}

fn names(given: &[FieldName], at: &str, issues: &mut Issues) -> Box<[HeaderName]> {
    if given.len() > MOST_NAMES {
        issues.add(at, "too_many", "has more than 64 entries");
    }
    for (i, name) in given.iter().enumerate() {
        let text = name.as_str();
        if OF_CONNECTION.contains(&text) || OF_PROXIES.contains(&text) {
            let problem = format!("`{text}` belongs to the connection; it cannot be passed on");
            issues.add(format!("{at}/{i}"), "reserved_header", problem);
        } else if given.iter().take(i).any(|other| other == name) {
            let problem = "stands above already; take it out";
            issues.add(format!("{at}/{i}"), "duplicate_value", problem);
        }
    }
    given.iter().map(|name| name.as_http().clone()).collect()
}

/// The same of those that go upstream.
fn taken_names(given: &[FieldName], at: &str, issues: &mut Issues) -> Box<[HeaderName]> {
    for (i, name) in given.iter().enumerate() {
        let text = name.as_str();
        if WRITTEN_BY_TOLLGATE.contains(&text) {
            let problem = format!("`{text}` is Tollgate's own to write; take another field");
            issues.add(format!("{at}/{i}"), "reserved_header", problem);
        }
    }
    names(given, at, issues)
}

/// Whether a service may take a field off the request to the upstream.
pub(super) fn may_be_removed(name: &HeaderName) -> bool {
    !OF_CONNECTION.contains(&name.as_str())
}
