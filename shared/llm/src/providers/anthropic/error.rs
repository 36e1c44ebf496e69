//! What went wrong, read.

use serde_json::Value;

use crate::error::{Failure, Refused, Said};

pub(crate) fn failure(refused: &Refused<'_>) -> Failure {
    // Pages of proxies are no JSON; then the status alone is known.
    let body = serde_json::from_slice(refused.body).unwrap_or(Value::Null);
    said(&body).failure(Some(refused.status), refused.wait())
}

/// Reads the body of an error, or an event that is one.
pub(super) fn said(body: &Value) -> Said {
    let error = body.get("error").unwrap_or(body);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let finer = error.get("details").and_then(|details| details.get("error_code"));
    let words = [text(finer), text(error.get("type"))].into_iter().flatten();
    let words = words.map(|word| word.to_ascii_lowercase()).collect();
    Said { words, message: text(error.get("message")).unwrap_or_default(), param: None }
}
