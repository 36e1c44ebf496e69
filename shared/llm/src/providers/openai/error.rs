//! What went wrong, read: as OpenAI says it, and as those who speak its format do.

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
    if let Some(message) = error.as_str() {
        return Said { message: message.to_owned(), ..Said::default() };
    }
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let words = [text("code"), text("type")].into_iter().flatten().map(str::to_ascii_lowercase);
    let message = text("message").or_else(|| text("detail")).unwrap_or_default().to_owned();
    let param = text("param").map(str::to_owned);
    Said { words: words.collect(), message, param }
}
