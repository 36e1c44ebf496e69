#![doc = include_str!("MANUAL.md")]

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use serde_json::Value;
use tollgate_model::{Issue, Issues};

use super::compress::{is_identity, weaken_etag};
use crate::body::Body;
use crate::policy::{Cx, Flow, IsRefusal, Phase, Policy, Refusal, Repeat, Scope};

// What the operator writes.
mod config;
// How much a body may be.
mod bounds;
// Why a body cannot be transformed.
mod fault;
// Bodies read to their end.
mod message;
// What is known of a request beside its body.
mod facts;

// JSON.
mod json;
// Forms.
mod form;
// XML.
mod xml;
// Programs that make another value of a value.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is of none of the types that are asked for is an error of the program, whatever it is"
)]
mod jq;
// Texts with values in them.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not known to be bounded is refused, whatever it is"
)]
mod template;

pub use config::{Config, Format, Side, Statuses};
use config::{Pipeline, Written};
use fault::{Fault, Kind};

/// Changes bodies of requests and answers.
pub struct Transform {
    request: Option<Box<Pipeline>>,
    response: Option<Box<Pipeline>>,
    /// The parameters of the route's path.
    parameters: Box<[Box<str>]>,
}

/// What the answer's half has to know of the request.
pub struct Waiting {
    is_head: bool,
    facts: Option<Box<Value>>,
}

impl Policy for Transform {
    type Config = Config;
    type Carry = Waiting;

    const NAME: &'static str = "transform";
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let Config { request, response } = config;
        if request.is_none() && response.is_none() {
            return Err(Issues::one(Issue::new(
                "",
                "missing_field",
                "give `request`, `response` or both, such as `request: {from: form, to: json}`",
            )));
        }
        let mut issues = Issues::default();
        if request.as_ref().is_some_and(|side| side.statuses.is_some()) {
            let problem = "are of answers; a request has none, so take them out";
            issues.add("/request/statuses", "no_effect", problem);
        }
        let mut compile = |side: Option<Side>, at: &str| {
            side.and_then(|side| Pipeline::compile(side, at, &mut issues)).map(Box::new)
        };
        let (request, response) = (compile(request, "/request"), compile(response, "/response"));
        let parameters = scope.parameters.unwrap_or_default();
        let parameters = parameters.iter().map(|name| Box::from(*name)).collect();
        issues.into_result(Self { request, response, parameters })
    }

    async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<Waiting> {
        let waiting = self.prepare(cx, request);
        if let Some(pipeline) = &self.request
            && !request.body().is_end_stream()
        {
            // In its own memory: few requests have a body, and all of them have room for this.
            let changing = Box::pin(self.change_request(pipeline, cx, request));
            if let Err(refusal) = changing.await {
                return Flow::Refuse(refusal);
            }
        }
        Flow::Next(waiting)
    }

    async fn on_response(
        &self,
        waiting: &mut Waiting,
        cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) {
        let Some(pipeline) = &self.response else { return };
        let is_met = pipeline.statuses.iter().any(|range| range.contains(response.status()));
        let is_refusal = response.extensions().get::<IsRefusal>().is_some();
        if !is_met || is_refusal || waiting.is_head || !may_have_body(response) {
            return;
        }
        let changing = Box::pin(change_response(pipeline, waiting, cx, response));
        if let Err(refusal) = changing.await {
            refusal.replace(response);
        }
    }
}

impl Transform {
    /// Asks the upstream for answers that can be changed, and keeps what they are changed with.
    fn prepare(&self, cx: &Cx<'_>, request: &mut Request<Body>) -> Waiting {
        let is_head = request.method() == Method::HEAD;
        let Some(pipeline) = &self.response else { return Waiting { is_head, facts: None } };
        let facts = (!is_head && pipeline.asks_facts())
            .then(|| Box::new(facts::facts(cx, request, &self.parameters)));
        let headers = request.headers_mut();
        // A part of what the upstream has is no part of what comes of it.
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Waiting { is_head, facts }
    }

    async fn change_request(
        &self,
        pipeline: &Pipeline,
        cx: &Cx<'_>,
        request: &mut Request<Body>,
    ) -> Result<(), Box<Refusal>> {
        if !is_identity(request.headers()) {
            let why = "has a content-encoding; send it without";
            return Err(Fault::new(Kind::Coding, why).of_request());
        }
        let format = format(pipeline, request.headers()).map_err(Fault::of_request)?;
        let body = cx.ports.in_time(std::mem::take(request.body_mut()));
        let bytes =
            message::collect(body, pipeline.most_bytes).await.map_err(|unread| match unread {
                message::Unread::TooLarge => too_large().of_request(),
                message::Unread::Broke(error) => fault::broken_request(error),
            })?;
        let asks_facts = pipeline.asks_facts();
        let facts = asks_facts.then(|| facts::facts(cx, request, &self.parameters));
        let changed = pipeline.change(format, &bytes, facts.as_ref()).map_err(Fault::of_request)?;
        message::describe(request.headers_mut(), &pipeline.content_type, changed.len());
        *request.body_mut() = Body::from(changed);
        Ok(())
    }
}

async fn change_response(
    pipeline: &Pipeline,
    waiting: &Waiting,
    cx: &Cx<'_>,
    response: &mut Response<Body>,
) -> Result<(), Refusal> {
    if !is_identity(response.headers()) {
        let why = "has a content-encoding that was not asked for";
        return Err(Fault::new(Kind::Coding, why).of_response());
    }
    if response.status() == StatusCode::PARTIAL_CONTENT
        || response.headers().contains_key(header::CONTENT_RANGE)
    {
        return Err(Fault::new(Kind::Type, "is a part that was not asked for").of_response());
    }
    let format = format(pipeline, response.headers()).map_err(Fault::of_response)?;
    let body = cx.ports.in_time(std::mem::take(response.body_mut()));
    let bytes =
        message::collect(body, pipeline.most_bytes).await.map_err(|unread| match unread {
            message::Unread::TooLarge => too_large().of_response(),
            message::Unread::Broke(error) => fault::broken_response(error),
        })?;
    let facts = waiting.facts.as_deref();
    let changed = pipeline.change(format, &bytes, facts).map_err(Fault::of_response)?;
    let headers = response.headers_mut();
    message::describe(headers, &pipeline.content_type, changed.len());
    headers.remove(header::ACCEPT_RANGES);
    weaken_etag(headers);
    if facts.is_some() {
        // Who asks, and with what, is in it: no cache may give it to another request.
        headers.insert(header::VARY, HeaderValue::from_static("*"));
    }
    if let Written::Text(_) = pipeline.written {
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    *response.body_mut() = Body::from(changed);
    Ok(())
}

impl Pipeline {
    /// The whole way of a body. Bounded in all that it takes, but not short: it is not interrupted.
    fn change(&self, format: Format, bytes: &[u8], facts: Option<&Value>) -> Result<Bytes, Fault> {
        let mut value = match format {
            Format::Json => json::read(bytes)?,
            Format::Form => form::read(bytes)?,
            Format::Xml => xml::read(bytes, &self.lists)?,
        };
        if let Some(program) = &self.program {
            value = program.run(&value, facts)?;
        }
        let mut output = bounds::Output::new(self.most_bytes);
        match &self.written {
            Written::Json => json::write(&value, &mut output)?,
            Written::Form => form::write(&value, &mut output)?,
            Written::Xml(root) => xml::write(&value, root.as_deref(), &mut output)?,
            Written::Text(template) => template.render(value, facts, &mut output)?,
        }
        Ok(Bytes::from(output.into_bytes()))
    }
}

/// What a body is read as.
fn format(pipeline: &Pipeline, headers: &http::HeaderMap) -> Result<Format, Fault> {
    let told = || {
        let why = "has a content-type that is neither JSON, XML nor a form";
        message::format_of(headers).ok_or_else(|| Fault::new(Kind::Type, Cow::Borrowed(why)))
    };
    pipeline.from.map_or_else(told, Ok)
}

fn too_large() -> Fault {
    Fault::new(Kind::TooLarge, "is larger than is taken here")
}

fn may_have_body(response: &Response<Body>) -> bool {
    let is_bodiless = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
    !is_bodiless.contains(&response.status()) && !response.body().is_end_stream()
}

#[cfg(test)]
mod tests;
