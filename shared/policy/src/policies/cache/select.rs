//! Which of several responses answers a request: `vary` (RFC 9111 §4.1).

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::stored::{Selecting, Stored, Variants};

/// Fields that the gateway itself writes after the policies: nothing that varies by them is found again.
const WRITTEN_LATER: [&str; 8] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// The request fields that select a response, with their values; none where no later request can
/// be compared: for `*`, and for a field that was changed after the cache had seen it.
pub(super) fn selecting(
    response: &HeaderMap,
    extra: &[HeaderName],
    seen: &HeaderMap,
    sent: Option<&HeaderMap>,
) -> Option<Selecting> {
    let mut names: Vec<HeaderName> = extra.to_vec();
    for line in response.get_all(header::VARY) {
        for member in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if member.is_empty() {
                continue;
            }
            // `*` is no field name either.
            let name = HeaderName::from_bytes(member).ok().filter(|name| name != "*")?;
            if WRITTEN_LATER.contains(&name.as_str()) {
                return None;
            }
            if let Some(sent) = sent
                && value(sent, &name) != value(seen, &name)
            {
                return None;
            }
            names.push(name);
        }
    }
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    // The host is part of the key.
    names.retain(|name| *name != header::HOST);
    let values = names.into_iter().map(|name| {
        let value = value(seen, &name).map(|value| Box::from(&*value));
        (name, value)
    });
    Some(values.collect())
}

/// The newest response that the fields of a request select.
pub(super) fn select<'a>(
    variants: &'a Variants,
    request: &HeaderMap,
    is_fit: impl Fn(&Stored) -> bool,
) -> Option<&'a Arc<Stored>> {
    variants.iter().find(|stored| {
        let is_selected = |(name, known): &(HeaderName, Option<Box<[u8]>>)| {
            value(request, name).as_deref() == known.as_deref()
        };
        is_fit(stored) && stored.selecting.iter().all(is_selected)
    })
}

/// The value of a field, its lines joined, without the white space around commas; none where it is absent.
fn value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    let has_more = lines.next().is_some();
    if !has_more && !first.as_bytes().contains(&b',') {
        return Some(Cow::Borrowed(first.as_bytes().trim_ascii()));
    }
    let members = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let members = members.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    Some(Cow::Owned(members.collect::<Vec<_>>().join(&b","[..])))
}
