//! Errors as this dialect's clients expect them.

use serde_json::{Value, json};

use crate::error::{ErrorAnswer, ErrorKind, Failure};
use crate::json;

pub(crate) fn error(failure: &Failure) -> ErrorAnswer {
    let (status, _) = shape(failure.kind);
    ErrorAnswer::new(status, failure, json::bytes(&body(failure)))
}

pub(super) fn body(failure: &Failure) -> Value {
    let (_, of_type) = shape(failure.kind);
    json!({ "error": {
        "message": failure.message,
        "type": of_type,
        "param": failure.param,
        "code": failure.code,
    } })
}

fn shape(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::BadRequest
        | ErrorKind::NotSupported
        | ErrorKind::ContextTooLong
        | ErrorKind::ContentBlocked => (400, "invalid_request_error"),
        ErrorKind::Unauthenticated => (401, "authentication_error"),
        // The caller's own key is right, so it is not a 401.
        ErrorKind::BadKey => (502, "authentication_error"),
        ErrorKind::Forbidden => (403, "permission_error"),
        ErrorKind::QuotaExhausted => (402, "billing_error"),
        ErrorKind::NotFound => (404, "invalid_request_error"),
        ErrorKind::TooLarge => (413, "invalid_request_error"),
        ErrorKind::RateLimited => (429, "rate_limit_error"),
        ErrorKind::Overloaded => (503, "server_error"),
        ErrorKind::Timeout => (504, "server_error"),
        ErrorKind::Broken => (502, "server_error"),
    }
}
