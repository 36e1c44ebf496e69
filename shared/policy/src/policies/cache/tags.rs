//! What a response can be purged by beside its URL: words that its origin gives it.

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, List, ListEntry, Parser};

use crate::policy::RouteFacts;
use crate::stored::{Digest, api_group, tag_group};

/// Words between spaces, as Fastly and Varnish know them.
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// Words between commas, as Cloudflare and Akamai know them.
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// A list of strings, for all caches on the way (RFC 9875 §2).
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// The same, of what an unsafe request has changed (RFC 9875 §3).
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// Fields that are for the operator's own caches, and not for clients.
const FOR_OWN_CACHES: [HeaderName; 2] = [SURROGATE_KEY, CACHE_TAG];

/// A response with more tags is not stored: what cannot be purged by all of its tags must not be kept.
const MOST_TAGS: usize = 256;

/// What a response is purged with; none where it has too many tags.
pub(super) fn groups(route: &RouteFacts, headers: &HeaderMap) -> Option<Box<[Digest]>> {
    let tenant = route.tenant.as_str();
    let mut groups = vec![api_group(tenant, route.api.as_str())];
    for_each_tag(headers, |tag| {
        if groups.len() <= MOST_TAGS + 1 {
            groups.push(tag_group(tenant, tag));
        }
    });
    (groups.len() <= MOST_TAGS + 1).then(|| groups.into_boxed_slice())
}

/// Whether a response says anything of its tags.
pub(super) fn is_tagged(headers: &HeaderMap) -> bool {
    [SURROGATE_KEY, CACHE_TAG, CACHE_GROUPS].iter().any(|name| headers.contains_key(name))
}

/// The groups that an answer to an unsafe request invalidates.
pub(super) fn invalidated(route: &RouteFacts, headers: &HeaderMap) -> Vec<Digest> {
    let mut groups = Vec::new();
    for_each_string(headers, &CACHE_GROUP_INVALIDATION, |tag| {
        if groups.len() < MOST_TAGS {
            groups.push(tag_group(route.tenant.as_str(), tag));
        }
    });
    groups
}

/// Takes off what is for the operator's own caches.
pub(super) fn take_off(headers: &mut HeaderMap) {
    for name in &FOR_OWN_CACHES {
        headers.remove(name);
    }
}

fn for_each_tag(headers: &HeaderMap, mut take: impl FnMut(&str)) {
    let is_between = |name: &HeaderName, character: char| {
        character == ' ' || character == '\t' || (*name == CACHE_TAG && character == ',')
    };
    for name in &FOR_OWN_CACHES {
        for value in headers.get_all(name) {
            let text = String::from_utf8_lossy(value.as_bytes());
            let words = text.split(|character| is_between(name, character));
            words.filter(|word| !word.is_empty()).for_each(&mut take);
        }
    }
    for_each_string(headers, &CACHE_GROUPS, take);
}

/// The strings of a list; nothing where it is not one (RFC 9875 §2: it is ignored as a whole).
fn for_each_string(headers: &HeaderMap, name: &HeaderName, mut take: impl FnMut(&str)) {
    if !headers.contains_key(name) {
        return;
    }
    // RFC 9651 §4.2: lines of one field are one list.
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
    let Ok(list) = Parser::new(&lines.join(&b',')).parse::<List>() else { return };
    for entry in &list {
        if let ListEntry::Item(item) = entry
            && let BareItem::String(text) = &item.bare_item
        {
            take(text.as_str());
        }
    }
}
