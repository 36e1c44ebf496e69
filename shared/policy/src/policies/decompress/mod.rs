#![doc = include_str!("MANUAL.md")]

use std::future::Future;

use deserr::Deserr;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use schemars::JsonSchema;
use tollgate_model::Issues;
use tollgate_model::units::Size;

use super::compress::{Coding, forget_bytes, weaken_etag};
use crate::body::Body;
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};

/// Which codings the upstream is asked for.
mod onward;
/// A body that is decompressed as it comes.
mod stream;

pub use onward::Asked;
use stream::Decompressed;

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Whether bodies of requests are decompressed. Default true.
    #[deserr(default = true)]
    #[schemars(with = "Option<bool>")]
    pub request: bool,
    /// Whether bodies of answers are decompressed. Default false.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub response: bool,
    /// How large a body may become. Default 10MiB.
    #[deserr(default = Size::from_kib(10 * 1024))]
    #[schemars(with = "Option<Size>")]
    pub max_size: Size,
    /// How many times larger a body may become, 1 to 10,000; the first 64 KiB are free. Default 100.
    #[deserr(default = 100)]
    #[schemars(with = "Option<u16>", range(min = 1, max = 10_000))]
    pub max_ratio: u16,
}

/// What a decompressed body may become.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub(super) max_size: u64,
    pub(super) max_ratio: u64,
}

/// Whose body it is.
#[derive(Clone, Copy, Debug)]
enum Side {
    Request,
    Response,
}

/// Takes the coding off bodies of requests, of answers, or of both.
pub struct Decompress {
    takes_requests: bool,
    takes_responses: bool,
    bounds: Bounds,
}

/// What is taken, for those who sent something else.
const ACCEPTED: HeaderValue = HeaderValue::from_static("zstd, br, gzip");
/// No coding.
pub(super) const PLAIN: HeaderValue = HeaderValue::from_static("identity");

impl Policy for Decompress {
    type Config = Config;
    type Carry = Asked;

    const NAME: &'static str = "decompress";
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, _scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        if !(1..=10_000).contains(&config.max_ratio) {
            issues.add("/max_ratio", "out_of_range", "give a ratio from 1 to 10,000");
        }
        if !config.request && !config.response {
            issues.add(
                "/request",
                "no_effect",
                "takes neither requests nor answers; leave `request` out, or set `response: true`",
            );
        }
        let bounds =
            Bounds { max_size: config.max_size.bytes(), max_ratio: u64::from(config.max_ratio) };
        let (takes_requests, takes_responses) = (config.request, config.response);
        issues.into_result(Self { takes_requests, takes_responses, bounds })
    }

    fn on_request(
        &self,
        _cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<Asked>> {
        std::future::ready(match self.meet_request(request) {
            Ok(asked) => Flow::Next(asked),
            Err(refusal) => Flow::Refuse(refusal),
        })
    }

    fn on_response(
        &self,
        asked: &mut Asked,
        cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) -> impl Future<Output = ()> {
        asked.settle(cx);
        if self.takes_responses
            && may_be_decoded(response)
            && let Err(refusal) = decode_response(response, self.bounds)
        {
            refusal.replace(response);
        }
        std::future::ready(())
    }
}

impl Decompress {
    fn meet_request(&self, request: &mut Request<Body>) -> Result<Asked, Box<Refusal>> {
        if self.takes_requests {
            self.decode_request(request)?;
        }
        if !self.takes_responses {
            return Ok(Asked::default());
        }
        // A part of a coded body cannot be decoded, and the client's range is one of the plain body. The
        // answer to HEAD tells of the one to GET.
        let is_told = request.method() == Method::HEAD;
        let is_part = request.headers().contains_key(header::RANGE);
        let codings = if is_told || is_part { PLAIN } else { ACCEPTED };
        Ok(Asked::instead(request.headers_mut(), codings))
    }

    fn decode_request(&self, request: &mut Request<Body>) -> Result<(), Box<Refusal>> {
        let coding = match codings(request.headers()) {
            Codings::None => return Ok(()),
            Codings::One(coding) => coding,
            Codings::Other => {
                let refusal = Refusal::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "unsupported_encoding",
                    "the request's body has a content-encoding that is not taken here, or several",
                );
                return Err(Box::new(refusal.with(header::ACCEPT_ENCODING, ACCEPTED)));
            }
        };
        if request.body().is_end_stream() {
            return Ok(());
        }
        let body = std::mem::take(request.body_mut());
        let body =
            Decompressed::new(body, coding, self.bounds, Side::Request).map_err(|_no_memory| {
                Box::new(Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "overloaded",
                    "the gateway has no memory to decompress the request's body",
                ))
            })?;
        *request.body_mut() = Body::stream(body);
        request.headers_mut().remove(header::CONTENT_ENCODING);
        forget_bytes(request.headers_mut());
        Ok(())
    }
}

/// Whether an answer has a whole body.
pub(super) fn may_be_decoded(response: &Response<Body>) -> bool {
    response.status() != StatusCode::PARTIAL_CONTENT && !response.body().is_end_stream()
}

/// Takes the coding off an answer, as it comes, if it has one.
///
/// # Errors
///
/// What is answered in its place, where it has another coding or several. What is found within the
/// body breaks it off there.
pub(super) fn decode_response(
    response: &mut Response<Body>,
    bounds: Bounds,
) -> Result<(), Box<Refusal>> {
    let coding = match codings(response.headers()) {
        Codings::None => return Ok(()),
        Codings::One(coding) => coding,
        Codings::Other => {
            return Err(Box::new(Refusal::new(
                StatusCode::BAD_GATEWAY,
                "unsupported_response_encoding",
                "the answer of this API has a content-encoding that is not taken here, or several",
            )));
        }
    };
    let body = std::mem::take(response.body_mut());
    let body = Decompressed::new(body, coding, bounds, Side::Response).map_err(|_no_memory| {
        Box::new(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "the gateway has no memory to decompress the answer of this API",
        ))
    })?;
    *response.body_mut() = Body::stream(body);
    response.headers_mut().remove(header::CONTENT_ENCODING);
    forget_bytes(response.headers_mut());
    weaken_etag(response.headers_mut());
    Ok(())
}

/// The codings of a body, as far as they matter.
enum Codings {
    None,
    One(Coding),
    Other,
}

fn codings(headers: &HeaderMap) -> Codings {
    let mut found = Codings::None;
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    for member in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
        let member = member.trim_ascii();
        if member.is_empty() || member.eq_ignore_ascii_case(b"identity") {
            continue;
        }
        found = match (found, Coding::named(member)) {
            (Codings::None, Some(coding)) => Codings::One(coding),
            (Codings::None | Codings::One(_) | Codings::Other, _) => return Codings::Other,
        };
    }
    found
}

#[cfg(test)]
mod tests;
