//! What is told to callers.

use http::{HeaderValue, Response, StatusCode, header};
use tollgate_model::Issue;

use super::body::Unread;
use super::schema::Outcome;
use crate::body::Body;
use crate::policy::Refusal;

fn boxed(status: StatusCode, code: &'static str, detail: &'static str) -> Box<Refusal> {
    Box::new(Refusal::new(status, code, detail))
}

pub(super) fn invalid_request(issues: Vec<Issue>) -> Box<Refusal> {
    let detail = "the request is not as this API takes it; see `issues`";
    let refusal = Refusal::new(StatusCode::BAD_REQUEST, "invalid_request", detail);
    Box::new(refusal.because_of(issues))
}

pub(super) fn too_complex() -> Box<Refusal> {
    boxed(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_complex",
        "the request is too deep, has too many values, or takes too long to check",
    )
}

pub(super) fn unknown_path() -> Box<Refusal> {
    boxed(StatusCode::NOT_FOUND, "unknown_operation", "this API has nothing at this path")
}

pub(super) fn other_methods(allow: Option<&HeaderValue>) -> Box<Refusal> {
    let detail = "this API does not offer this method here";
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "unknown_operation", detail);
    Box::new(match allow {
        Some(allow) => refusal.with(header::ALLOW, allow.clone()),
        None => refusal,
    })
}

pub(super) fn other_type() -> Box<Refusal> {
    boxed(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "the request's body has a content-type that is not taken here, none, or several",
    )
}

pub(super) fn coded() -> Box<Refusal> {
    let refusal = Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_encoding",
        "the request's body has a content-encoding; send it plain",
    );
    Box::new(refusal.with(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

pub(super) fn unread_request(unread: Unread, most: usize) -> Box<Refusal> {
    match unread {
        Unread::TooLarge => Box::new(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the request's body is larger than the {most} bytes that are taken here"),
        )),
        Unread::Late => boxed(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "the request's body took too long to come",
        ),
        Unread::Refused(refusal) => refusal,
        Unread::Broken => boxed(
            StatusCode::BAD_REQUEST,
            "malformed_request",
            "the request's body broke off or is not framed as HTTP demands",
        ),
    }
}

pub(super) fn unread_answer(unread: Unread, most: usize) -> Refusal {
    let bad = StatusCode::BAD_GATEWAY;
    match unread {
        Unread::TooLarge => Refusal::new(
            bad,
            "response_too_large",
            format!("the answer's body is larger than the {most} bytes that are passed on here"),
        ),
        Unread::Late => Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "the server of this API did not answer in time",
        ),
        Unread::Refused(refusal) => *refusal,
        Unread::Broken => Refusal::new(
            bad,
            "upstream_reset",
            "the server of this API ended the connection before its answer was whole",
        ),
    }
}

/// Puts a refusal in the place of an answer that is not as it must be.
pub(super) fn replace_answer(outcome: Outcome, response: &mut Response<Body>) {
    let issues = match outcome {
        Outcome::Valid => return,
        Outcome::Faults(issues) => issues,
        Outcome::TooComplex => {
            vec![Issue::new(
                "/body",
                "too_complex",
                "is too deep, has too many values, or takes too long to check",
            )]
        }
    };
    let detail = "the server of this API gave an answer that is not as the API promises";
    let refusal = Refusal::new(StatusCode::BAD_GATEWAY, "invalid_response", detail);
    refusal.because_of(issues).replace(response);
}
