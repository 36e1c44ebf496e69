//! Where in a request its token is.

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use super::fault::Fault;
use crate::body::Body;

/// Where a token is looked for.
pub(super) struct Places {
    pub(super) headers: Box<[HeaderName]>,
    pub(super) cookies: Box<[Box<str>]>,
    pub(super) query: Box<[Box<str>]>,
}

impl Places {
    /// The token of a request.
    ///
    /// # Errors
    ///
    /// Where there is more than one (RFC 6750 §2): who reads the request behind us may take another.
    pub(super) fn find<'r>(&self, request: &'r Request<Body>) -> Result<Option<&'r [u8]>, Fault> {
        let fields = request.headers();
        let in_fields = self
            .headers
            .iter()
            .flat_map(|name| fields.get_all(name).iter().filter_map(|value| token_of(name, value)));
        let in_cookies = self.cookies.iter().flat_map(|name| {
            pairs_of_cookies(fields).filter_map(move |pair| value_of(pair, name.as_bytes()))
        });
        let query = request.uri().query().unwrap_or_default();
        let in_query = self.query.iter().flat_map(|name| {
            query.split('&').filter_map(move |pair| value_of(pair.as_bytes(), name.as_bytes()))
        });
        let mut tokens = in_fields.chain(in_cookies).chain(in_query);
        match (tokens.next(), tokens.next()) {
            (_, Some(_)) => Err(Fault::Ambiguous),
            (found, None) => Ok(found),
        }
    }

    /// Takes the token off.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        for name in &self.headers {
            if headers.get_all(name).iter().all(|value| token_of(name, value).is_some()) {
                headers.remove(name);
                continue;
            }
            let kept: Vec<HeaderValue> = headers
                .get_all(name)
                .iter()
                .filter(|value| token_of(name, value).is_none())
                .cloned()
                .collect();
            headers.remove(name);
            for value in kept {
                headers.append(name, value);
            }
        }
        let is_held =
            |pair: &[u8]| self.cookies.iter().any(|name| value_of(pair, name.as_bytes()).is_some());
        if pairs_of_cookies(headers).any(is_held) {
            let kept: Vec<&[u8]> =
                pairs_of_cookies(headers).filter(|pair| !is_held(pair)).collect();
            let kept = HeaderValue::from_bytes(&kept.join(&b"; "[..]));
            headers.remove(header::COOKIE);
            if let Ok(kept) = kept
                && !kept.is_empty()
            {
                headers.insert(header::COOKIE, kept);
            }
        }
    }
}

/// The token in a value of a header field; none where it is empty, or `authorization` of another scheme.
fn token_of<'a>(name: &HeaderName, value: &'a HeaderValue) -> Option<&'a [u8]> {
    let value = value.as_bytes().trim_ascii();
    // RFC 6750 §2.1; the scheme's name is case-insensitive (RFC 9110 §11.1).
    let bearer = value
        .split_at_checked(7)
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, token)| token.trim_ascii());
    let token = if *name == header::AUTHORIZATION { bearer? } else { bearer.unwrap_or(value) };
    (!token.is_empty()).then_some(token)
}

fn pairs_of_cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii)
}

/// The value of `name=value`, where it is not empty.
fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = pair.strip_prefix(name)?.strip_prefix(b"=")?;
    (!value.is_empty()).then_some(value)
}
