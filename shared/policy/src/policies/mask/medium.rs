//! What an answer is, by its `content-type` (RFC 9110 §8.3).

use http::{HeaderMap, HeaderValue, header};

use crate::policies::compress::MediaRange;

/// Events as they come, which cannot be read whole.
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    /// One value of JSON.
    Json,
    /// Values of JSON, one after the other.
    JsonLines,
    /// A form.
    Form,
    /// HTML or XML.
    Markup,
    /// Any text.
    Text,
    /// Nobody says; what begins as JSON and is JSON is read as JSON, else it is a text.
    Unknown,
}

/// What becomes of an answer by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is none of those that are read.
    Leave,
    /// It is read.
    Read(Medium),
    /// It is one of those that are read, and cannot be.
    Events,
    /// The same: its characters are in another encoding than UTF-8.
    Charset,
}

/// What is read where the operator does not say, beside `text/*`, `+json` and `+xml`.
const DEFAULT_TYPES: [&str; 12] = [
    "application/json",
    "application/xml",
    "application/x-www-form-urlencoded",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/json-lines",
    "application/json-seq",
    "application/javascript",
    "application/ecmascript",
    "application/yaml",
    "application/x-yaml",
];

/// Judges an answer by its type. One that has several, or none that is one, may be anything.
pub(super) fn judge(headers: &HeaderMap, content_types: Option<&[MediaRange]>) -> Judgement {
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
    let (first, second) = (lines.next(), lines.next());
    let text = first.filter(|_| second.is_none()).and_then(|line| line.to_str().ok());
    let Some(text) = text else { return Judgement::Read(Medium::Unknown) };
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let essence = essence.trim();
    if !is_type(essence) {
        return Judgement::Read(Medium::Unknown);
    }
    let is_read = match content_types {
        Some(ranges) => ranges.iter().any(|range| range.covers(essence.as_bytes())),
        None => is_text(essence),
    };
    match () {
        () if !is_read => Judgement::Leave,
        () if essence.eq_ignore_ascii_case(EVENT_STREAM) => Judgement::Events,
        () if !is_utf8(parameters) => Judgement::Charset,
        () => Judgement::Read(medium(&essence.to_ascii_lowercase())),
    }
}

fn is_text(essence: &str) -> bool {
    let (kind, rest) = essence.split_once('/').unwrap_or((essence, ""));
    let suffix = rest.rsplit_once('+').map_or("", |(_, suffix)| suffix);
    kind.eq_ignore_ascii_case("text")
        || suffix.eq_ignore_ascii_case("json")
        || suffix.eq_ignore_ascii_case("xml")
        || DEFAULT_TYPES.iter().any(|known| known.eq_ignore_ascii_case(essence))
}

fn is_type(essence: &str) -> bool {
    let is_token = |part: &str| {
        let is_of_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !part.is_empty() && part.bytes().all(is_of_token)
    };
    essence.split_once('/').is_some_and(|(kind, rest)| is_token(kind) && is_token(rest))
}

/// Whether nothing else than UTF-8, or a part of it, is said.
fn is_utf8(parameters: &str) -> bool {
    parameters.split(';').all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
    })
}

fn medium(essence: &str) -> Medium {
    match essence {
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/json-lines"
        | "application/json-seq" => Medium::JsonLines,
        "application/x-www-form-urlencoded" => Medium::Form,
        "text/html" | "text/xml" | "application/xml" => Medium::Markup,
        json if json.ends_with("/json") || json.ends_with("+json") => Medium::Json,
        xml if xml.ends_with("+xml") => Medium::Markup,
        _ => Medium::Text,
    }
}

/// Whether an answer is parts of another in one body, each with a type of its own.
pub(super) fn is_of_parts(headers: &HeaderMap) -> bool {
    let line = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let ranges = b"multipart/byteranges";
    line.get(..ranges.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(ranges))
}
