//! Bodies read to their end, and the fields of messages that say something of them.

use std::future::pending;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Format;
use crate::body::whole::{self, Read};
use crate::body::{Body, BodyError};

/// Why a body was not read to its end.
pub(super) enum Unread {
    /// It is larger than may be.
    TooLarge,
    /// It broke off.
    Broke(BodyError),
}

/// Reads a body to its end.
pub(super) async fn collect(body: Body, most: usize) -> Result<Bytes, Unread> {
    match whole::read(body, most, pending()).await.map_err(Unread::Broke)? {
        // Its trailers are of the bytes as they were.
        Read::Whole(whole) => Ok(whole.bytes),
        Read::TooLarge(_) => Err(Unread::TooLarge),
    }
}

/// What a message says that its body is; none where it says nothing that is known here.
pub(super) fn format_of(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (kind, subtype) = essence.split_once('/')?;
    match (kind, subtype) {
        ("application", "json") => Some(Format::Json),
        ("application", "x-www-form-urlencoded") => Some(Format::Form),
        ("application" | "text", "xml") => Some(Format::Xml),
        // RFC 6838 §4.2.8.
        (_, subtype) if subtype.ends_with("+json") => Some(Format::Json),
        (_, subtype) if subtype.ends_with("+xml") => Some(Format::Xml),
        _ => None,
    }
}

/// What is of the bytes as they were.
const OF_THE_BYTES: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Says what a body is now.
pub(super) fn describe(headers: &mut HeaderMap, content_type: &HeaderValue, length: usize) {
    for name in &OF_THE_BYTES {
        headers.remove(name);
    }
    headers.remove(header::CONTENT_ENCODING);
    headers.insert(header::CONTENT_TYPE, content_type.clone());
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
}
