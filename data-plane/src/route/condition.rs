//! What a route asks of method, headers and query.

use std::cmp::{Ordering, Reverse};

use smallvec::SmallVec;
use tollgate_model::route::{FieldName, RouteMatch, ValueMatch};
use tollgate_policy::target::hex_digit;

use super::explain::Because;
use super::table::MatchInput;

/// Every condition of a route beside its path. Most have none, so it is small.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// A bit for each of [`COMMON`].
    common_methods: u16,
    rest: Option<Box<Rest>>,
}

/// What few routes ask.
#[derive(Debug)]
struct Rest {
    other_methods: Box<[http::Method]>,
    headers: Box<[(http::HeaderName, ValueMatch)]>,
    query: Box<[(Box<str>, ValueMatch)]>,
}

static COMMON: [http::Method; 8] = [
    http::Method::GET,
    http::Method::HEAD,
    http::Method::POST,
    http::Method::PUT,
    http::Method::DELETE,
    http::Method::OPTIONS,
    http::Method::TRACE,
    http::Method::PATCH,
];

/// The bit of a common method; 0 for another.
#[inline]
fn common_bit(method: &http::Method) -> u16 {
    COMMON.iter().position(|common| common == method).map_or(0, |i| 1 << i)
}

impl Conditions {
    pub(super) fn of(matches: &RouteMatch) -> Self {
        let methods = || matches.methods.iter().map(tollgate_model::route::Method::as_http);
        let header =
            |(name, value): (&FieldName, &ValueMatch)| (name.as_http().clone(), value.clone());
        let query = |(name, value): (&String, &ValueMatch)| (name.as_str().into(), value.clone());
        let rest = Rest {
            other_methods: methods().filter(|method| common_bit(method) == 0).cloned().collect(),
            headers: matches.headers.iter().map(header).collect(),
            query: matches.query.iter().map(query).collect(),
        };
        let is_empty =
            rest.other_methods.is_empty() && rest.headers.is_empty() && rest.query.is_empty();
        Self {
            common_methods: methods().fold(0, |bits, method| bits | common_bit(method)),
            rest: (!is_empty).then(|| Box::new(rest)),
        }
    }

    /// The methods that it names.
    pub(super) fn methods(&self) -> impl Iterator<Item = &http::Method> {
        let common = COMMON.iter().filter(|common| self.common_methods & common_bit(common) != 0);
        common.chain(self.rest.iter().flat_map(|rest| &rest.other_methods))
    }

    fn has_methods(&self) -> bool {
        let has_other = || self.rest.as_ref().is_some_and(|rest| !rest.other_methods.is_empty());
        self.common_methods != 0 || has_other()
    }

    /// Whether the method is one of those named, or none is.
    #[inline]
    pub(super) fn take_method(&self, method: &http::Method) -> bool {
        let is_other =
            || self.rest.as_ref().is_some_and(|rest| rest.other_methods.contains(method));
        !self.has_methods() || self.common_methods & common_bit(method) != 0 || is_other()
    }

    /// Whether every condition holds beside the one on the method.
    #[inline]
    pub(super) fn take_rest(&self, input: &MatchInput<'_>) -> bool {
        self.rest.as_ref().is_none_or(|rest| rest.unmet(input).is_none())
    }

    /// The first condition that does not hold.
    pub(super) fn unmet(&self, input: &MatchInput<'_>) -> Option<Because<'_>> {
        if !self.take_method(input.method) {
            return Some(Because::Method);
        }
        self.rest.as_ref().and_then(|rest| rest.unmet(input))
    }

    /// The order of precedence among routes of one path: more headers, more parameters, methods.
    pub(super) fn precedence(&self, other: &Self) -> Ordering {
        let rank = |of: &Self| {
            let count = |count: fn(&Rest) -> usize| of.rest.as_ref().map_or(0, |rest| count(rest));
            let headers = count(|rest| rest.headers.len());
            let query = count(|rest| rest.query.len());
            (Reverse(headers), Reverse(query), !of.has_methods())
        };
        rank(self).cmp(&rank(other))
    }
}

impl Rest {
    /// The first header or parameter that is not what is asked for.
    fn unmet(&self, input: &MatchInput<'_>) -> Option<Because<'_>> {
        let header = self.headers.iter().find(|(name, value)| !takes_header(input, name, value));
        if let Some((name, _)) = header {
            return Some(Because::Header(name.as_str()));
        }
        let query = self.query.iter().find(|(name, value)| !takes_parameter(input, name, value));
        query.map(|(name, _)| Because::Query(name))
    }
}

/// Of several fields of one name, the first counts.
fn takes_header(input: &MatchInput<'_>, name: &http::HeaderName, value: &ValueMatch) -> bool {
    value.accepts(input.headers.get(name).map(http::HeaderValue::as_bytes))
}

/// Of several parameters of one name, the first counts.
fn takes_parameter(input: &MatchInput<'_>, name: &str, value: &ValueMatch) -> bool {
    let Some(raw) = input.query.and_then(|query| first_value(query, name)) else {
        return value.accepts(None);
    };
    if !is_encoded(raw) {
        return value.accepts(Some(raw.as_bytes()));
    }
    let decoded: SmallVec<[u8; 256]> = decode(raw).collect();
    value.accepts(Some(&decoded))
}

/// The value of the first parameter of that name, as it was sent.
fn first_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').filter(|pair| !pair.is_empty()).find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_named = if is_encoded(key) { decode(key).eq(name.bytes()) } else { key == name };
        is_named.then_some(value)
    })
}

fn is_encoded(text: &str) -> bool {
    memchr::memchr2(b'%', b'+', text.as_bytes()).is_some()
}

/// Decodes a name or value of a query: `+` is a space, and a `%` without two digits is itself.
///
/// Source: URL Standard, "application/x-www-form-urlencoded parsing".
fn decode(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.bytes();
    std::iter::from_fn(move || match rest.next()? {
        b'+' => Some(b' '),
        b'%' => {
            let mut ahead = rest.clone();
            let (Some(high), Some(low)) = (hex_digit(ahead.next()), hex_digit(ahead.next())) else {
                return Some(b'%');
            };
            rest = ahead;
            Some(high << 4 | low)
        }
        byte => Some(byte),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded_and_the_first_counts() {
        let value =
            |query, name| first_value(query, name).map(|raw| decode(raw).collect::<Vec<_>>());
        let text = |query, name| value(query, name).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(text("a=1&a=2", "a").as_deref(), Some("1"));
        assert_eq!(text("&&%61=x+y%2Bz", "a").as_deref(), Some("x y+z"));
        assert_eq!(text("a", "a").as_deref(), Some(""));
        assert_eq!(text("a=b=c", "a").as_deref(), Some("b=c"));
        assert_eq!(text("a+b=%zz%4", "a b").as_deref(), Some("%zz%4"));
        assert_eq!(text("A=1", "a"), None);
        assert_eq!(value("a=%ff", "a"), Some(vec![0xff]));
    }
}
