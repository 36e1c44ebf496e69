//! What expressions work with. Values borrow what the request, its claims and the policy hold.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map as JsonMap, Value as Json};
use tollgate_model::Name;

use crate::escape::decode_query;

/// A value of CEL.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    Time(Timestamp),
    Span(SignedDuration),
    List(List<'a>),
    Map(Map<'a>),
}

/// A list where it is held.
#[derive(Clone, Debug)]
pub(super) enum List<'a> {
    /// Of a claim.
    Json(&'a [Json]),
    /// Names of resources, and after them what is proven of the caller: the groups of both.
    Texts(&'a [Name], &'a [Box<str>]),
    Strings(&'a [String]),
    /// What the expression itself makes.
    Made(Rc<[Value<'a>]>),
}

/// Values by texts, where they are held.
#[derive(Clone, Debug)]
pub(super) enum Map<'a> {
    /// A claim, or all of them. None: no claims are known.
    Json(Option<&'a JsonMap<String, Json>>),
    Headers(&'a HeaderMap),
    /// The query as it was sent.
    Query(&'a str),
}

/// Why an expression has no value for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The request has no such field, claim or item.
    Missing,
    /// A claim is of another type than what is done with it.
    WrongType,
    /// A number, a moment or a text leaves its range.
    OutOfRange,
    /// A text is not what is read from it: a number, an address, UTF-8.
    Unreadable,
    /// The steps of one request are used up. No other failure or value takes its place.
    TooCostly,
}

impl<'a> Value<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(super) fn made(items: Vec<Self>) -> Self {
        Self::List(List::Made(items.into()))
    }

    pub(super) fn of_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Bool(*truth),
            Json::Number(number) => number
                .as_i64()
                .map(Self::Int)
                .or_else(|| number.as_f64().map(Self::Double))
                .unwrap_or(Self::Null),
            Json::String(text) => Self::text(text),
            Json::Array(items) => Self::List(List::Json(items)),
            Json::Object(fields) => Self::Map(Map::Json(Some(fields))),
        }
    }

    /// The order of two values of one kind; none where they have none, as of texts and numbers.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            (Self::Int(one), Self::Int(other)) => Some(one.cmp(other)),
            (Self::Double(one), Self::Double(other)) => one.partial_cmp(other),
            (Self::Int(one), Self::Double(other)) => as_double(*one).partial_cmp(other),
            (Self::Double(one), Self::Int(other)) => one.partial_cmp(&as_double(*other)),
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Time(one), Self::Time(other)) => Some(one.cmp(other)),
            (Self::Span(one), Self::Span(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(items) => items.len(),
            Self::Texts(of_application, proven) => of_application.len() + proven.len(),
            Self::Strings(items) => items.len(),
            Self::Made(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(items) => items.get(index).map(Value::of_json),
            Self::Texts(of_application, proven) => match of_application.get(index) {
                Some(group) => Some(Value::text(group.as_str())),
                None => {
                    let index = index.checked_sub(of_application.len())?;
                    proven.get(index).map(|group| Value::text(group))
                }
            },
            Self::Strings(items) => items.get(index).map(|item| Value::text(item)),
            Self::Made(items) => items.get(index).cloned(),
        }
    }
}

impl<'a> Map<'a> {
    /// The value of a key; none where there is no such key.
    ///
    /// # Errors
    ///
    /// Where the value is no text that can be read.
    pub(super) fn get(&self, key: &str) -> Result<Option<Value<'a>>, Failure> {
        match self {
            Self::Json(fields) => Ok(fields.and_then(|fields| fields.get(key)).map(Value::of_json)),
            Self::Headers(fields) => {
                // Names are in lower case here; looked up in another spelling they are not there.
                let is_spelt = !key.bytes().any(|byte| byte.is_ascii_uppercase());
                match HeaderName::from_bytes(key.as_bytes()) {
                    Ok(name) if is_spelt => field(fields, &name),
                    Ok(_) | Err(_) => Ok(None),
                }
            }
            Self::Query(query) => parameter(query, key),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        match self {
            Self::Json(fields) => fields.is_some_and(|fields| fields.contains_key(key)),
            Self::Headers(fields) => {
                !key.bytes().any(|byte| byte.is_ascii_uppercase()) && fields.contains_key(key)
            }
            Self::Query(query) => {
                pairs(query).any(|(name, _)| *decode_query(name) == *key.as_bytes())
            }
        }
    }

    /// All keys, each once.
    ///
    /// # Errors
    ///
    /// Where one is no text that can be read.
    pub(super) fn keys(&self) -> Result<Vec<Value<'a>>, Failure> {
        Ok(match self {
            Self::Json(fields) => {
                fields.iter().flat_map(|fields| fields.keys()).map(|key| Value::text(key)).collect()
            }
            Self::Headers(fields) => fields.keys().map(|name| Value::text(name.as_str())).collect(),
            Self::Query(query) => {
                let mut names =
                    pairs(query).map(|(name, _)| readable(name)).collect::<Result<Vec<_>, _>>()?;
                names.sort_unstable();
                names.dedup();
                names.into_iter().map(Value::Text).collect()
            }
        })
    }

    /// How much it is to look for a key: the more of it there is, the more.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Json(_) | Self::Headers(_) => 1,
            Self::Query(query) => 1 + query.len() / 16,
        }
    }
}

/// The values of a field as one text; none where it is not there.
///
/// # Errors
///
/// Where it is not UTF-8.
pub(super) fn field<'a>(
    fields: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<Value<'a>>, Failure> {
    let text = |value: &'a HeaderValue| {
        std::str::from_utf8(value.as_bytes()).map_err(|_not_text| Failure::Unreadable)
    };
    let mut values = fields.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    let first = text(first)?;
    let Some(second) = values.next() else { return Ok(Some(Value::text(first))) };
    // RFC 9110 §5.3; of cookies, RFC 9113 §8.2.3.
    let between = if name == header::COOKIE { "; " } else { ", " };
    let mut joined = [first, text(second)?].join(between);
    for value in values {
        joined.push_str(between);
        joined.push_str(text(value)?);
    }
    Ok(Some(Value::Text(Cow::Owned(joined))))
}

/// Every value of a parameter of the query, as a list.
fn parameter<'a>(query: &'a str, key: &str) -> Result<Option<Value<'a>>, Failure> {
    let values = pairs(query)
        .filter(|(name, _)| *decode_query(name) == *key.as_bytes())
        .map(|(_, value)| readable(value).map(Value::Text))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(if values.is_empty() { None } else { Some(Value::made(values)) })
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn readable(text: &str) -> Result<Cow<'_, str>, Failure> {
    match decode_query(text) {
        Cow::Borrowed(bytes) => {
            std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_not_text| Failure::Unreadable)
        }
        Cow::Owned(bytes) => {
            String::from_utf8(bytes).map(Cow::Owned).map_err(|_not_text| Failure::Unreadable)
        }
    }
}

/// The nearest number with a fraction.
pub(super) fn as_double(number: i64) -> f64 {
    // The upper half is exact, and the sum is rounded once.
    let upper = i32::try_from(number >> 32).unwrap_or_default();
    let lower = u32::try_from(number & 0xffff_ffff).unwrap_or_default();
    f64::from(upper) * 4_294_967_296.0 + f64::from(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_becomes_the_nearest_with_a_fraction() {
        for number in [0, 1, -1, i64::MAX, i64::MIN, 9_007_199_254_740_993, -9_007_199_254_740_995]
        {
            let expected: f64 = number.to_string().parse().unwrap();
            assert_eq!(as_double(number), expected, "{number}");
        }
    }

    #[test]
    fn keys_of_a_query_are_decoded_and_named_once() {
        let map = Map::Query("%61=1&a=2&b+c=%C3%A9&&=x&d");
        let keys: Vec<String> = map
            .keys()
            .unwrap()
            .iter()
            .map(|key| if let Value::Text(text) = key { text.to_string() } else { String::new() })
            .collect();
        assert_eq!(keys, ["", "a", "b c", "d"]);
        assert!(map.has("a") && map.has("b c") && map.has("d") && !map.has("%61"));
        let Ok(Some(Value::List(values))) = map.get("a") else { panic!("a list") };
        assert_eq!(values.len(), 2);
        assert_eq!(Map::Query("a=%ff").get("a").unwrap_err(), Failure::Unreadable);
    }
}
