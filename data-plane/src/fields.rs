//! Header fields that belong to one hop only, on the way in and on the way out (RFC 9110 §7.6.1).

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

const OF_ONE_HOP: [HeaderName; 8] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    PROXY_CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Takes off what is for this hop only. `te: trailers` stays: gRPC servers ask for it.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // Most messages have none, or one `connection` that names no field: one pass that only looks.
    let mut found = headers.iter().filter(|(name, _)| is_of_one_hop(name));
    match (found.next(), found.next()) {
        (None, _) => return,
        (Some((name, value)), None) if *name == CONNECTION && is_about_itself(value) => {
            headers.remove(CONNECTION);
            return;
        }
        _ => {}
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .filter(|name| !is_end_to_end(name))
        .collect();
    let takes_trailers =
        headers.get(TE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in named.iter().chain(&OF_ONE_HOP) {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// How many fields there are, the pieces of `cookie` counted as one.
#[must_use]
pub fn count(headers: &HeaderMap) -> usize {
    let more_pieces = headers.get_all(COOKIE).iter().count().saturating_sub(1);
    headers.len().saturating_sub(more_pieces)
}

/// Whether each value of a request over HTTP/2 is one that may stand there.
///
/// RFC 9113 §8.2.1 has none begin or end with white space: over HTTP/1 that is no part of the value, so that a route
/// or policy would have decided by another value than the upstream reads. h2 looks for neither, and takes an empty
/// `content-length` for 0.
#[must_use]
pub fn are_whole(headers: &HeaderMap) -> bool {
    let is_white = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let is_trimmed = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        !is_white(bytes.first()) && !is_white(bytes.last())
    };
    headers.values().all(is_trimmed) && headers.get(CONTENT_LENGTH).is_none_or(|n| !n.is_empty())
}

/// Puts the pieces of `cookie`, which HTTP/2 may send apart, together again (RFC 9113 §8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut pieces = headers.get_all(COOKIE).iter();
    if pieces.next().is_none() || pieces.next().is_none() {
        return;
    }
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(COOKIE, whole);
    }
}

fn is_of_one_hop(name: &HeaderName) -> bool {
    // By length first: it tells nearly all others apart without a comparison of texts.
    match name.as_str().len() {
        2 => *name == TE,
        7 => *name == UPGRADE,
        10 => *name == CONNECTION || *name == KEEP_ALIVE,
        16 => *name == PROXY_CONNECTION,
        17 => *name == TRANSFER_ENCODING,
        18 => *name == PROXY_AUTHENTICATE,
        19 => *name == PROXY_AUTHORIZATION,
        _ => false,
    }
}

/// Whether `connection` says only what becomes of the connection.
fn is_about_itself(connection: &HeaderValue) -> bool {
    [&b"keep-alive"[..], b"close"]
        .iter()
        .any(|option| connection.as_bytes().eq_ignore_ascii_case(option))
}

/// What `connection` may not name: a client could take the gateway's own fields off with it.
fn is_end_to_end(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("x-forwarded-")
        || matches!(
            text,
            "host"
                | "forwarded"
                | "via"
                | "x-request-id"
                | "authorization"
                | "content-length"
                | "content-type"
                | "cache-control"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(&str, &str)]) -> HeaderMap {
        entries
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn fields_of_one_hop_and_those_that_connection_names_go() {
        let mut fields = headers(&[
            ("connection", "keep-alive, X-Mine"),
            ("keep-alive", "timeout=5"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut fields);
        assert_eq!(fields.len(), 1);
        assert!(fields.contains_key("accept"));
    }

    #[test]
    fn connection_alone_goes_alone() {
        for option in ["keep-alive", "Close", "x-mine", "keep-alive, x-mine"] {
            let mut fields = headers(&[("connection", option), ("accept", "*/*")]);
            remove_hop_by_hop(&mut fields);
            assert_eq!(fields.len(), 1, "{option}");
        }
        let mut fields =
            headers(&[("connection", "close"), ("connection", "x-mine"), ("x-mine", "1")]);
        remove_hop_by_hop(&mut fields);
        assert!(fields.is_empty());
    }

    #[test]
    fn te_trailers_stays_and_other_te_goes() {
        let mut fields = headers(&[("te", "trailers")]);
        remove_hop_by_hop(&mut fields);
        assert_eq!(fields["te"], "trailers");
        let mut fields = headers(&[("te", "gzip")]);
        remove_hop_by_hop(&mut fields);
        assert!(fields.is_empty());
    }

    #[test]
    fn connection_cannot_take_off_what_the_gateway_says() {
        let mut fields = headers(&[
            ("connection", "x-forwarded-for, host, authorization"),
            ("x-forwarded-for", "1.1.1.1"),
            ("host", "a"),
        ]);
        remove_hop_by_hop(&mut fields);
        assert!(fields.contains_key("x-forwarded-for") && fields.contains_key("host"));
    }
}
