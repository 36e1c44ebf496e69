//! Answers made of stored responses: preconditions (RFC 9110 §13), ranges (§14), `age`, and the
//! update by a 304 (RFC 9111 §3.2).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::freshness::{SECOND, date};
use crate::body::Body;
use crate::stored::Stored;

/// Fields of a request that make it conditional on what the client holds.
const CLIENTS_VALIDATORS: [HeaderName; 4] =
    [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE];

/// Fields about content that a 304 does not have (RFC 9110 §15.4.5).
const ABOUT_CONTENT: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_RANGE,
];

/// Answers a request with a stored response; `conditions` are the request's fields where one of them makes it
/// conditional or asks for a part.
pub(super) fn answer(
    stored: &Stored,
    method: &Method,
    conditions: Option<&HeaderMap>,
    now_unix_micros: u64,
) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = stored.status;
    response.headers_mut().clone_from(&stored.headers);
    let age = stored.age_micros(now_unix_micros) / SECOND;
    if let Ok(age) = HeaderValue::from_str(itoa::Buffer::new().format(age)) {
        response.headers_mut().insert(header::AGE, age);
    }
    // Only a whole answer can be unchanged, or be asked for in part.
    let conditions = conditions.filter(|_| stored.status == StatusCode::OK);
    if conditions.is_some_and(|request| is_unchanged(stored, request)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        for name in ABOUT_CONTENT {
            response.headers_mut().remove(name);
        }
        return response;
    }
    if *method == Method::HEAD {
        return response;
    }
    let part = conditions.map_or(Part::Whole, |request| part_of(stored, request));
    match part {
        Part::Whole => *response.body_mut() = Body::from(stored.body.clone()),
        Part::Range { first, bytes } => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let last = first.saturating_add(bytes.len()).saturating_sub(1);
            let range = format!("bytes {first}-{last}/{}", stored.body.len());
            set_content(&mut response, &range, bytes);
        }
        Part::Unsatisfiable => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            let range = format!("bytes */{}", stored.body.len());
            set_content(&mut response, &range, Bytes::new());
        }
    }
    response
}

fn set_content(response: &mut Response<Body>, range: &str, bytes: Bytes) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    if let Ok(value) = HeaderValue::from_str(range) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    *response.body_mut() = Body::from(bytes);
}

/// Whether the client holds what is stored (RFC 9111 §4.3.2).
fn is_unchanged(stored: &Stored, request: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let known = stored.headers.get(header::ETAG).map(HeaderValue::as_bytes);
        let mut lines = request.get_all(header::IF_NONE_MATCH).iter();
        return lines.any(|line| {
            let mut tags = entity_tags(line.as_bytes());
            // RFC 9110 §13.1.2: by the weak comparison.
            tags.any(|tag| tag == b"*" || known.is_some_and(|known| opaque(known) == opaque(tag)))
        });
    }
    let Some(since) = date(request, &header::IF_MODIFIED_SINCE) else { return false };
    // Without `last-modified`, it was changed at `date` at the latest.
    let changed = date(&stored.headers, &header::LAST_MODIFIED)
        .or_else(|| date(&stored.headers, &header::DATE));
    changed.is_some_and(|changed| changed <= since)
}

/// Entity tags in a list; a comma may stand within one.
fn entity_tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let tags = line.split(move |byte| {
        is_quoted ^= *byte == b'"';
        *byte == b',' && !is_quoted
    });
    tags.map(<[u8]>::trim_ascii)
}

/// An entity tag without its weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

enum Part {
    Whole,
    Range { first: usize, bytes: Bytes },
    Unsatisfiable,
}

/// What of the body is asked for. Whatever is not one well-formed range of bytes is answered whole
/// (RFC 9110 §14.2).
fn part_of(stored: &Stored, request: &HeaderMap) -> Part {
    let mut lines = request.get_all(header::RANGE).iter();
    let (Some(range), None) = (lines.next(), lines.next()) else { return Part::Whole };
    if !is_range_for(stored, request) || stored.headers.contains_key(header::CONTENT_RANGE) {
        return Part::Whole;
    }
    let Some((unit, spec)) = range.to_str().ok().and_then(|range| range.split_once('=')) else {
        return Part::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<usize>().unwrap_or(usize::MAX))
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Part::Whole;
    }
    let length = stored.body.len();
    let (first, end) = match (first, number(first), last, number(last)) {
        ("", _, _, Some(0)) => return Part::Unsatisfiable,
        ("", _, _, Some(suffix)) => (length.saturating_sub(suffix), length),
        (_, Some(first), "", _) => (first, length),
        (_, Some(first), _, Some(last)) if first <= last => {
            (first, last.saturating_add(1).min(length))
        }
        _ => return Part::Whole,
    };
    if first >= length {
        return Part::Unsatisfiable;
    }
    Part::Range { first, bytes: stored.body.slice(first..end) }
}

/// Whether a range is of what is stored (RFC 9110 §13.1.5): by the strong comparison.
fn is_range_for(stored: &Stored, request: &HeaderMap) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else { return true };
    let is_tag = condition.as_bytes().contains(&b'"');
    if is_tag {
        let is_strong = !condition.as_bytes().starts_with(b"W/");
        return is_strong && stored.headers.get(header::ETAG) == Some(condition);
    }
    let modified = date(&stored.headers, &header::LAST_MODIFIED);
    let asked = date(request, &header::IF_RANGE);
    // RFC 9110 §8.8.2.2: a date is strong where the change lies a minute behind the answer.
    let is_strong = modified.zip(date(&stored.headers, &header::DATE));
    is_strong.is_some_and(|(modified, date)| modified.saturating_add(60) <= date)
        && modified == asked
}

/// The fields of a stored response after a 304.
pub(super) fn updated(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    // RFC 9111 §3.2: what the stored body depends on, or what is of its bytes, stays as it is.
    const KEPT: [HeaderName; 8] = [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::SET_COOKIE,
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("repr-digest"),
        HeaderName::from_static("digest"),
    ];
    let mut headers = stored.clone();
    for name in not_modified.keys().filter(|name| !KEPT.contains(name)) {
        headers.remove(name);
        for value in not_modified.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// Whether a 304 is about another representation than the stored one (RFC 9111 §4.3.4): then it says nothing of that.
pub(super) fn is_of_another(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    let tag = not_modified.get(header::ETAG);
    tag.is_some_and(|tag| {
        !tag.as_bytes().starts_with(b"W/") && stored.get(header::ETAG) != Some(tag)
    })
}

/// Makes a request ask whether what is stored still holds.
pub(super) fn ask_whether(stored: &HeaderMap, request: &mut HeaderMap) {
    for name in CLIENTS_VALIDATORS {
        request.remove(name);
    }
    if let Some(tag) = stored.get(header::ETAG) {
        request.insert(header::IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = stored.get(header::LAST_MODIFIED) {
        request.insert(header::IF_MODIFIED_SINCE, modified.clone());
    }
}
