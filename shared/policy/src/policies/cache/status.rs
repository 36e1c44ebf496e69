//! `cache-status` (RFC 9211).

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::freshness::SECOND;
use crate::stored::Stored;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request went on to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarded {
    /// Nothing is stored under its target.
    UriMiss,
    /// What is stored is selected by other fields.
    VaryMiss,
    /// What is stored is stale.
    Stale,
    /// The client wanted that.
    Request,
}

impl Forwarded {
    const fn name(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

/// Tells that a stored response was used; `ttl` is negative for one that is stale.
pub(super) fn tell_hit(headers: &mut HeaderMap, stored: &Stored, now: u64, is_collapsed: bool) {
    // As long as every text of this kind: nothing is allocated but the value.
    let mut text = SmallVec::<[u8; 64]>::from_slice(b"tollgate; hit; ttl=");
    text.extend_from_slice(itoa::Buffer::new().format(ttl(stored, now)).as_bytes());
    if is_collapsed {
        text.extend_from_slice(b"; detail=collapsed");
    }
    append(headers, &text);
}

/// Tells that the origin was asked; `answered` is its status where that is not the answer's.
pub(super) fn tell_forwarded(
    headers: &mut HeaderMap,
    forwarded: Forwarded,
    answered: Option<StatusCode>,
    is_stored: bool,
) {
    let mut text = format!("tollgate; fwd={}", forwarded.name());
    if let Some(status) = answered {
        // Writing to a string cannot fail.
        let _ = write!(text, "; fwd-status={}", status.as_u16());
    }
    if is_stored {
        text.push_str("; stored");
    }
    append(headers, text.as_bytes());
}

fn ttl(stored: &Stored, now: u64) -> i64 {
    let seconds = |micros: u64| i64::try_from(micros / SECOND).unwrap_or(i64::MAX);
    seconds(stored.rules.lifetime_micros).saturating_sub(seconds(stored.age_micros(now)))
}

fn append(headers: &mut HeaderMap, text: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(text) {
        headers.append(CACHE_STATUS, value);
    }
}
