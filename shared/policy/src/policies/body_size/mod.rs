#![doc = include_str!("MANUAL.md")]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use deserr::Deserr;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use schemars::JsonSchema;
use tollgate_model::units::Size;
use tollgate_model::{Issue, Issues};

use crate::body::{Body, BodyError, BrokenOff};
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// The largest body that a request may have, such as `1MiB`. Default: any.
    #[deserr(default)]
    pub request: Option<Size>,
    /// The largest body that an answer may have, as it goes to the client. Default: any.
    #[deserr(default)]
    pub response: Option<Size>,
}

/// Refuses bodies that are larger than a number of bytes.
pub struct BodySize {
    request: Option<u64>,
    response: Option<u64>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its head alone.
    Head,
    /// Head and body.
    Whole,
}

impl Policy for BodySize {
    type Config = Config;
    /// Whether an answer has a body at all.
    type Carry = Answer;

    const NAME: &'static str = "body_size";
    const PHASE: Phase = Phase::Guard;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, _scope: Scope<'_>) -> Result<Self, Issues> {
        if config.request.is_none() && config.response.is_none() {
            return Err(Issues::one(Issue::new(
                "",
                "missing_field",
                "give `request`, `response` or both, such as `request: 1MiB`",
            )));
        }
        let bytes = |size: Option<Size>| size.map(Size::bytes);
        Ok(Self { request: bytes(config.request), response: bytes(config.response) })
    }

    fn on_request(
        &self,
        _cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<Answer>> {
        let answer = if request.method() == Method::HEAD { Answer::Head } else { Answer::Whole };
        let fits = self.request.is_none_or(|most| bound(request.body_mut(), most, too_large));
        std::future::ready(match self.request {
            Some(most) if !fits => too_large(most).into_flow(),
            _ => Flow::Next(answer),
        })
    }

    fn on_response(
        &self,
        answer: &mut Answer,
        _cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) -> impl Future<Output = ()> {
        // RFC 9110 §8.6: without a body, the length is that of another answer.
        let has_body = *answer == Answer::Whole && response.status() != StatusCode::NOT_MODIFIED;
        if let Some(most) = self.response
            && has_body
            && !bound(response.body_mut(), most, answer_too_large)
        {
            answer_too_large(most).replace(response);
        }
        std::future::ready(())
    }
}

/// Whether a body may be within its bound. One that does not tell its length is counted as it comes.
fn bound(body: &mut Body, most: u64, refuse: fn(u64) -> Refusal) -> bool {
    let length = body.size_hint();
    if length.lower() > most {
        return false;
    }
    // What says that it is small enough cannot be larger: HTTP's own framing cuts it there.
    if length.upper().is_none_or(|upper| upper > most) {
        let inner = std::mem::take(body);
        *body = Body::stream(Bounded { body: inner, most, left: most, refuse });
    }
    true
}

fn too_large(most: u64) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the request's body is larger than the {most} bytes that are taken here"),
    )
}

fn answer_too_large(most: u64) -> Refusal {
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "response_too_large",
        format!("the answer's body is larger than the {most} bytes that are passed on here"),
    )
}

/// A body that is broken off where it grows beyond its bound.
struct Bounded {
    body: Body,
    most: u64,
    left: u64,
    refuse: fn(u64) -> Refusal,
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match this.left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)) {
                Some(left) => this.left = left,
                None => {
                    this.body = Body::Empty;
                    let refusal = Box::new((this.refuse)(this.most));
                    return Poll::Ready(Some(Err(Box::new(BrokenOff(refusal)))));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
