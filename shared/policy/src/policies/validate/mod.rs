#![doc = include_str!("MANUAL.md")]

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use smallvec::SmallVec;
use tollgate_model::Issues;
use tollgate_model::path::BasePath;

use crate::body::Body;
use crate::onward::refuse_path;
use crate::policy::{Cx, Flow, IsRefusal, Phase, Policy, Refusal, Repeat, Scope};
use crate::target::{EncodedSlash, Target};

/// A body that is read whole.
mod body;
/// What the operator writes.
mod config;
/// JSON, bounded.
mod json;
/// Media types, and the schemas of them.
mod media;
/// Documents of OpenAPI.
mod openapi;
/// What is asked of requests and answers.
mod operation;
/// What is told to callers.
mod refusal;
/// Schemas.
mod schema;

use body::Unread;
pub use config::{Bodies, Config, Directions, Unknown};
use config::{Compiled, Source};
use media::{Reading, Told};
use openapi::Asked;
use operation::{AnswerRule, BodyRule, Given, Operation, Required, Strangers};
use schema::{At, Checker, Outcome};

/// Checks requests and answers against JSON Schema or OpenAPI.
pub struct Validate {
    compiled: Compiled,
    strangers: Strangers,
    unknown_operations: Unknown,
}

/// What is known of the request when the answer comes.
#[derive(Clone, Copy, Debug)]
pub struct Called {
    operation: Option<usize>,
    is_head: bool,
}

/// A message of which all is checked but its body.
struct Opened<'p> {
    checker: Checker<'p>,
    body: Option<(Reading<'p>, bool)>,
}

impl Policy for Validate {
    type Config = Config;
    /// The operation.
    type Carry = Called;

    const NAME: &'static str = "validate";
    // Before the upstream, and behind the cache: what the cache stores has been checked, and what it answers needs
    // no second look. Among the policies of this phase, it reads what those before it have decompressed.
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, _scope: Scope<'_>) -> Result<Self, Issues> {
        let compiled = config::compile(&config)?;
        let strangers = match config.unknown_parameters {
            Some(Unknown::Refuse) => Strangers::Refused,
            Some(Unknown::Allow) | None => Strangers::Taken,
        };
        let unknown_operations = config.unknown_operations.unwrap_or(Unknown::Refuse);
        Ok(Self { compiled, strangers, unknown_operations })
    }

    async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<Called> {
        let is_head = request.method() == Method::HEAD;
        let opened = match self.open(cx, request) {
            Ok((operation, opened)) => (Called { operation, is_head }, opened),
            Err(refusal) => return Flow::Refuse(refusal),
        };
        match opened {
            (called, None) => Flow::Next(called),
            (called, Some(opened)) => {
                match Box::pin(self.read_request(cx, request, opened)).await {
                    Ok(()) => Flow::Next(called),
                    Err(refusal) => Flow::Refuse(refusal),
                }
            }
        }
    }

    async fn on_response(
        &self,
        called: &mut Called,
        cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) {
        if let Some(opened) = self.open_answer(*called, response) {
            Box::pin(self.read_answer(cx, response, opened)).await;
        }
    }
}

/// The operation of a request, and its body where that is to be read.
type Asking<'a> = (Option<usize>, Option<Box<Opened<'a>>>);

impl Validate {
    /// Finds the operation and checks all but the body. None is left where there is no body to read.
    fn open(&self, cx: &Cx<'_>, request: &mut Request<Body>) -> Result<Asking<'_>, Box<Refusal>> {
        let mut checker = Checker::new(&self.compiled.requests);
        let place = match &self.compiled.source {
            Source::Schemas(_) => Some(0),
            Source::Document(document) => {
                let target = Target::parse(request.uri().path(), EncodedSlash::Refuse);
                let target = target.map_err(refuse_path)?;
                let path = below(target.path(), &cx.route.base_path);
                match document.ask(request.method(), path) {
                    Asked::Operation { place, names, values } => {
                        let pairs = names.iter().map(|name| &**name).zip(values);
                        let path: SmallVec<[(&str, &str); 4]> = pairs.collect();
                        if let Some(operation) = document.operation(place) {
                            let given = Given { request, path: &path };
                            operation.check_parameters(&given, self.strangers, &mut checker);
                        }
                        Some(place)
                    }
                    _ if self.unknown_operations == Unknown::Allow => None,
                    Asked::OtherMethods(allow) => return Err(refusal::other_methods(allow)),
                    Asked::UnknownPath => return Err(refusal::unknown_path()),
                }
            }
        };
        let Some(operation) = place.and_then(|place| self.operation(place)) else {
            return Ok((None, None));
        };
        if operation.answers.reads() && request.headers().contains_key(header::ACCEPT_ENCODING) {
            // An answer in a coding could not be read.
            let plain = HeaderValue::from_static("identity");
            request.headers_mut().insert(header::ACCEPT_ENCODING, plain);
        }
        let body = match &operation.body {
            None => None,
            Some(rule) => open_body(rule, request, &mut checker)?,
        };
        if body.is_none() {
            refuse(checker.outcome())?;
            return Ok((place, None));
        }
        Ok((place, Some(Box::new(Opened { checker, body }))))
    }

    fn operation(&self, place: usize) -> Option<&Operation> {
        match &self.compiled.source {
            Source::Schemas(operation) => Some(operation),
            Source::Document(document) => document.operation(place),
        }
    }

    async fn read_request(
        &self,
        cx: &Cx<'_>,
        request: &mut Request<Body>,
        opened: Box<Opened<'_>>,
    ) -> Result<(), Box<Refusal>> {
        let Opened { mut checker, body } = *opened;
        let Some((reading, is_required)) = body else { return Ok(()) };
        let read = self.read(cx, request.body_mut()).await;
        let bytes =
            read.map_err(|unread| refusal::unread_request(unread, self.compiled.max_body))?;
        operation::check_body(&reading, &bytes, is_required, &mut checker);
        refuse(checker.outcome())
    }

    async fn read(&self, cx: &Cx<'_>, body: &mut Body) -> Result<bytes::Bytes, Unread> {
        // The timer is set when the body has to be waited for.
        let late = async { cx.ports.sleep(self.compiled.timeout).await };
        body::read(body, self.compiled.max_body, late).await
    }

    /// Checks all but the body of an answer; none where nothing is asked of it, or all is told.
    fn open_answer(
        &self,
        called: Called,
        response: &mut Response<Body>,
    ) -> Option<Box<Opened<'_>>> {
        let answers = &self.operation(called.operation?)?.answers;
        let is_asked = !answers.rules.is_empty() || answers.is_closed;
        if !is_asked || !is_of_upstream(response) {
            return None;
        }
        let mut checker = Checker::new(&self.compiled.answers);
        let body = match answers.rule(response.status()) {
            Some(rule) => open_answer(rule, called, response, &mut checker),
            None if !answers.is_closed || response.status() == StatusCode::NOT_MODIFIED => None,
            None => {
                let status = response.status().as_u16();
                checker.fault(At::Part("/status"), "unknown_status", || {
                    format!("{status} is not a status of this operation")
                });
                None
            }
        };
        if body.is_none() {
            refusal::replace_answer(checker.outcome(), response);
            return None;
        }
        Some(Box::new(Opened { checker, body }))
    }

    async fn read_answer(
        &self,
        cx: &Cx<'_>,
        response: &mut Response<Body>,
        opened: Box<Opened<'_>>,
    ) {
        let Opened { mut checker, body } = *opened;
        let Some((reading, is_required)) = body else { return };
        match self.read(cx, response.body_mut()).await {
            Ok(bytes) => {
                operation::check_body(&reading, &bytes, is_required, &mut checker);
                refusal::replace_answer(checker.outcome(), response);
            }
            Err(unread) => {
                refusal::unread_answer(unread, self.compiled.max_body).replace(response);
            }
        }
    }
}

/// The part of a path below an API's base path.
fn below<'p>(path: &'p str, base: &BasePath) -> &'p str {
    match path.strip_prefix(base.as_prefix()) {
        Some("") => "/",
        Some(below) if below.starts_with('/') => below,
        _ => path,
    }
}

/// How the body of a request is checked; none where it is not read.
fn open_body<'r>(
    rule: &'r BodyRule,
    request: &Request<Body>,
    checker: &mut Checker<'_>,
) -> Result<Option<(Reading<'r>, bool)>, Box<Refusal>> {
    let is_required = match rule.required {
        Required::Never => false,
        Required::Always => true,
        Required::ByMethod => [Method::POST, Method::PUT, Method::PATCH].contains(request.method()),
    };
    if request.body().is_end_stream() {
        if is_required {
            operation::lacks_body(checker);
        }
        return Ok(None);
    }
    match rule.contents.reading(Told::of(request.headers())) {
        None if rule.contents.is_empty() => Ok(None),
        None => Err(refusal::other_type()),
        Some(Reading::Unread) => Ok(None),
        Some(_) if is_coded(request.headers()) => Err(refusal::coded()),
        Some(reading) => Ok(Some((reading, is_required))),
    }
}

/// The same for an answer, with its fields checked.
fn open_answer<'r>(
    rule: &'r AnswerRule,
    called: Called,
    response: &Response<Body>,
    checker: &mut Checker<'_>,
) -> Option<(Reading<'r>, bool)> {
    for field in &rule.fields {
        if let openapi::parameter::Place::Header(name) = &field.place {
            operation::check_field(field, response.headers(), name, checker);
        }
    }
    let rule = rule.body.as_ref()?;
    let is_bodiless = called.is_head
        || [
            StatusCode::NO_CONTENT,
            StatusCode::RESET_CONTENT,
            // A part of what the schema is of.
            StatusCode::PARTIAL_CONTENT,
            StatusCode::NOT_MODIFIED,
        ]
        .contains(&response.status());
    if is_bodiless {
        return None;
    }
    if response.body().is_end_stream() {
        if rule.required == Required::Always {
            operation::lacks_body(checker);
        }
        return None;
    }
    let header_at = At::Part("/header");
    match rule.contents.reading(Told::of(response.headers())) {
        None => {
            checker.fault(At::Member(&header_at, "content-type"), "media_type", || {
                "is not a media type of this answer".to_owned()
            });
            None
        }
        Some(Reading::Unread) => None,
        Some(_) if is_coded(response.headers()) => {
            checker.fault(At::Member(&header_at, "content-encoding"), "encoding", || {
                "is not read; let the upstream answer without a coding".to_owned()
            });
            None
        }
        Some(reading) => Some((reading, rule.required == Required::Always)),
    }
}

fn is_coded(headers: &http::HeaderMap) -> bool {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}

/// Whether an answer is one that nobody has refused yet.
fn is_of_upstream(response: &Response<Body>) -> bool {
    let extensions = response.extensions();
    extensions.get::<IsRefusal>().is_none()
        && extensions.get::<Box<Refusal>>().is_none()
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
}

fn refuse(outcome: Outcome) -> Result<(), Box<Refusal>> {
    match outcome {
        Outcome::Valid => Ok(()),
        Outcome::Faults(issues) => Err(refusal::invalid_request(issues)),
        Outcome::TooComplex => Err(refusal::too_complex()),
    }
}

#[cfg(test)]
mod tests;
