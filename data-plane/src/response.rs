//! The response half of an exchange that has no answer of the upstream's: a problem document
//! (RFC 9457), or `grpc-status` for gRPC.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use tollgate_model::Issue;
use tollgate_policy::policy::IsRefusal;
use tollgate_policy::{Body, Refusal};

use crate::deadline::MALFORMED_TIMEOUT;

/// `application/problem+json`.
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// So many issues stand in `grpc-message`: fields have no room for all of them.
const GRPC_ISSUES: usize = 5;

/// What `grpc-message` cannot hold as it is (gRPC over HTTP/2, "Status-Message").
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    issues: &'a [Issue],
}

/// Renders a refusal. Nothing of the inside stands in it.
#[must_use]
pub fn refused(refusal: Refusal, request_id: &str, is_grpc: bool) -> Response<Body> {
    let mut response = if is_grpc {
        grpc(&refusal)
    } else {
        let bytes = problem_document(&refusal, request_id);
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = refusal.status;
        response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM);
        response
    };
    response.extensions_mut().insert(IsRefusal);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in refusal.headers {
        response.headers_mut().append(name, value);
    }
    response
}

/// The body of a refusal.
#[must_use]
pub fn problem_document(refusal: &Refusal, request_id: &str) -> Bytes {
    let problem = Problem {
        r#type: "about:blank",
        title: refusal.status.canonical_reason().unwrap_or("Refused"),
        status: refusal.status.as_u16(),
        detail: &refusal.detail,
        code: refusal.code,
        request_id,
        issues: issues_for_the_caller(refusal),
    };
    // Texts and numbers always serialise.
    serde_json::to_vec(&problem).map(Bytes::from).unwrap_or_default()
}

/// What is wrong with an answer is of the inside.
fn issues_for_the_caller(refusal: &Refusal) -> &[Issue] {
    if refusal.status.is_server_error() { &[] } else { &refusal.issues }
}

/// Whether a request is gRPC, whose clients read nothing but `grpc-status`.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// A trailers-only response (gRPC over HTTP/2, "Responses").
fn grpc(refusal: &Refusal) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(grpc_status(refusal)));
    let mut message = format!("{}: {}", refusal.code, refusal.detail);
    for issue in issues_for_the_caller(refusal).iter().take(GRPC_ISSUES) {
        message.push_str("; ");
        message.push_str(&issue.to_string());
    }
    let message = utf8_percent_encode(&message, GRPC_MESSAGE).to_string();
    if let Ok(value) = HeaderValue::from_str(&message) {
        headers.insert("grpc-message", value);
    }
    response
}

/// The gRPC status that says the same (gRPC, "HTTP to gRPC Status Code Mapping").
fn grpc_status(refusal: &Refusal) -> u16 {
    // INTERNAL, as gRPC's own servers answer it: INVALID_ARGUMENT is for applications alone (gRPC, "Status codes").
    if refusal.code == MALFORMED_TIMEOUT {
        return 13;
    }
    match refusal.status {
        StatusCode::BAD_REQUEST => 3,
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => 12,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => 8,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::GATEWAY_TIMEOUT => 4,
        _ => 2,
    }
}
