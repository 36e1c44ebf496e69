//! Errors as this dialect's clients expect them.

use serde_json::{Value, json};

use crate::error::{ErrorAnswer, ErrorKind, Failure};
use crate::json;

pub(crate) fn error(failure: &Failure) -> ErrorAnswer {
    let (status, _) = shape(failure.kind);
    ErrorAnswer::new(status, failure, json::bytes(&body(failure)))
}

/// `error.details.error_code` is where this format names a finer case than its type.
pub(super) fn body(failure: &Failure) -> Value {
    let (_, of_type) = shape(failure.kind);
    json!({ "type": "error", "error": {
        "type": of_type,
        "message": failure.message,
        "details": { "error_code": failure.code },
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
        ErrorKind::NotFound => (404, "not_found_error"),
        ErrorKind::TooLarge => (413, "request_too_large"),
        ErrorKind::RateLimited => (429, "rate_limit_error"),
        ErrorKind::Overloaded => (529, "overloaded_error"),
        ErrorKind::Timeout => (504, "timeout_error"),
        ErrorKind::Broken => (502, "api_error"),
    }
}
