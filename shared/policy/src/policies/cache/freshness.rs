//! What may be stored, and for how long it is fresh (RFC 9111 §3, §4.2).

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::control::Control;
use crate::stored::Rules;

/// A second in microseconds.
pub(super) const SECOND: u64 = 1_000_000;

/// RFC 9111 §4.2.2: a tenth of the time since the last change, but never more than a day.
const LONGEST_HEURISTIC_SECS: u64 = 86_400;

/// What the operator says about freshness. Durations are in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    /// In place of what responses say.
    pub(super) lifetime: Option<u64>,
    /// For responses that say nothing.
    pub(super) default_lifetime: Option<u64>,
    /// Whether a lifetime may be guessed.
    pub(super) has_heuristics: bool,
    /// For responses that say nothing of it.
    pub(super) while_revalidating: u64,
    /// For responses that say nothing of it.
    pub(super) if_error: u64,
}

/// A response as it came.
pub(super) struct Came<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) requested_unix_micros: u64,
    pub(super) received_unix_micros: u64,
}

/// What may be done with a response; none where it must not be stored. `is_personal` says that
/// the request told who calls, and that the key does not.
pub(super) fn judge(
    terms: &Terms,
    control: &Control,
    came: &Came<'_>,
    is_personal: bool,
) -> Option<Rules> {
    let is_for_all = control.public || control.s_maxage.is_some() || control.must_revalidate;
    if !may_store(control, came) || (is_personal && !is_for_all) {
        return None;
    }
    let is_plain = is_plain_answer(came.status);
    let own = terms.lifetime.filter(|_| is_plain);
    let stated = control.s_maxage.or(control.max_age).map(|seconds| seconds.saturating_mul(SECOND));
    let stated = stated.or_else(|| expires(control, came));
    if own.is_none() && stated.is_none() && !control.public && !is_heuristic(came.status) {
        return None;
    }
    let guessed = || {
        let default = terms.default_lifetime.filter(|_| is_plain && !control.no_cache);
        default.or_else(|| heuristic(terms, came)).unwrap_or(0)
    };
    let lifetime_micros = own.or(stated).unwrap_or_else(guessed);
    let must_validate = control.no_cache;
    let has_validator =
        came.headers.contains_key(header::ETAG) || came.headers.contains_key(header::LAST_MODIFIED);
    let is_strict = control.no_cache || control.must_revalidate || control.proxy_revalidate;
    // RFC 9111 §5.2.2.10: `s-maxage` forbids staleness too, but for what the origin itself allows.
    let may_be_stale = !is_strict && control.s_maxage.is_none();
    let window = |said: Option<u64>, default: u64| match said {
        _ if is_strict => 0,
        Some(seconds) => seconds.saturating_mul(SECOND),
        None if may_be_stale => default,
        None => 0,
    };
    let rules = Rules {
        lifetime_micros,
        must_validate,
        may_be_stale,
        is_for_all,
        while_revalidating_micros: window(control.stale_while_revalidate, terms.while_revalidating),
        if_error_micros: window(control.stale_if_error, terms.if_error),
    };
    let is_of_use = (lifetime_micros > 0 && !must_validate)
        || has_validator
        || rules.while_revalidating_micros > 0
        || rules.if_error_micros > 0;
    is_of_use.then_some(rules)
}

/// RFC 9111 §3.
fn may_store(control: &Control, came: &Came<'_>) -> bool {
    // What has no registered meaning is not understood.
    let is_understood = came.status.canonical_reason().is_some();
    let no_store = if control.must_understand { !is_understood } else { control.no_store };
    let is_part = matches!(came.status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
    // A cookie is one caller's, unless the origin says that it is not, or that it is not to be kept.
    let has_cookie = came.headers.contains_key(header::SET_COOKIE)
        && !control.public
        && !control.kept_out.contains(&header::SET_COOKIE);
    !no_store && !control.private && !is_part && came.status.as_u16() >= 200 && !has_cookie
}

/// What an operator's own lifetimes are about: answers that say what was asked for, or where it is.
fn is_plain_answer(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::OK
            | StatusCode::NON_AUTHORITATIVE_INFORMATION
            | StatusCode::NO_CONTENT
            | StatusCode::MULTIPLE_CHOICES
            | StatusCode::MOVED_PERMANENTLY
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// RFC 9110 §15.1: statuses that may be stored without a word about it.
fn is_heuristic(status: StatusCode) -> bool {
    is_plain_answer(status)
        || matches!(
            status,
            StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::GONE
                | StatusCode::URI_TOO_LONG
                | StatusCode::NOT_IMPLEMENTED
        )
}

/// RFC 9111 §5.3. An invalid date is one of the past.
fn expires(control: &Control, came: &Came<'_>) -> Option<u64> {
    if control.is_targeted {
        return None;
    }
    let lines = came.headers.get_all(header::EXPIRES).iter();
    let earliest = lines.map(|line| date_of(line).unwrap_or(0)).min()?;
    let seconds = earliest.saturating_sub(date_secs(came)).min(1 << 31);
    Some(seconds.saturating_mul(SECOND))
}

fn heuristic(terms: &Terms, came: &Came<'_>) -> Option<u64> {
    if !terms.has_heuristics || !is_heuristic(came.status) {
        return None;
    }
    let modified = date(came.headers, &header::LAST_MODIFIED)?;
    let seconds = date_secs(came).saturating_sub(modified) / 10;
    Some(seconds.min(LONGEST_HEURISTIC_SECS).saturating_mul(SECOND))
}

/// `date`, or when it came.
fn date_secs(came: &Came<'_>) -> u64 {
    date(came.headers, &header::DATE).unwrap_or(came.received_unix_micros / SECOND)
}

/// How old a response was when it came (RFC 9111 §4.2.3).
pub(super) fn initial_age_micros(came: &Came<'_>) -> u64 {
    let received_secs = came.received_unix_micros / SECOND;
    let apparent = received_secs.saturating_sub(date_secs(came)).saturating_mul(SECOND);
    let delay = came.received_unix_micros.saturating_sub(came.requested_unix_micros);
    let corrected = age_secs(came.headers).saturating_mul(SECOND).saturating_add(delay);
    apparent.max(corrected)
}

/// RFC 9111 §5.1: the first value counts, and what is no number is ignored.
fn age_secs(headers: &HeaderMap) -> u64 {
    let text = headers.get(header::AGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = text.split(',').next().unwrap_or_default().trim();
    if first.is_empty() || !first.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    first.parse().map_or(1 << 31, |seconds: u64| seconds.min(1 << 31))
}

/// The date in a field, in seconds since 1970-01-01; none where there is none, or more than one.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.next().is_some() { None } else { date_of(first) }
}

/// RFC 9110 §5.6.7: the one format that is written, and the two that are read.
fn date_of(value: &HeaderValue) -> Option<u64> {
    let time = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// A moment as it stands in `date`.
pub(super) fn as_date(unix_micros: u64) -> Option<HeaderValue> {
    let time: SystemTime = UNIX_EPOCH + std::time::Duration::from_secs(unix_micros / SECOND);
    HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok()
}
