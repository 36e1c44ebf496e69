//! Which origins may read answers.

use deserr::{Deserr, IntoValue, Map as _, Value, ValuePointerRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tollgate_model::issue::nearest;
use tollgate_model::parse::{self, Rejected, expected};
use tollgate_model::path::PathRegex;
use tollgate_model::{FromText, Issues};

/// One entry of `allow_origins`.
#[derive(Clone, Debug)]
pub enum Origin {
    /// `*`.
    Any,
    /// One origin, as browsers write it.
    Exact(Box<str>),
    /// `https://*.example.com`: what stands before the wildcard, and what behind it.
    Below {
        /// The scheme with `://`.
        scheme: Box<str>,
        /// The domain with its dot, and the port if there is one.
        domain: Box<str>,
    },
    /// `{regex: …}`: an expression that must match the whole origin. Linear in time.
    Regex(PathRegex),
}

/// The most bytes of an origin that a pattern is compared with: a scheme, a host, a port.
const ORIGIN_BYTES: usize = 512;

impl Origin {
    /// Whether an origin is meant by it.
    pub(super) fn accepts(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(known) => **known == *origin,
            Self::Below { scheme, domain } => origin
                .strip_prefix(&**scheme)
                .and_then(|rest| rest.strip_suffix(&**domain))
                .is_some_and(|labels| !labels.is_empty() && labels.bytes().all(is_of_host)),
            // What has no origin of its own calls itself `null`; only its name can mean it.
            Self::Regex(expression) => {
                origin.len() <= ORIGIN_BYTES
                    && origin != "null"
                    && expression.regex.is_match(origin)
            }
        }
    }
}

impl FromText for Origin {
    const EXPECTED: &'static str =
        "an origin such as https://shop.test, https://*.shop.test, `*`, or {regex: …}";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text == "null" {
            return Ok(Self::Exact(text.into()));
        }
        let refuse = || {
            let problem = format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED);
            Rejected::new("invalid_origin", problem)
        };
        // Browsers write scheme and host in lower case.
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) = lower.split_once("://").ok_or_else(refuse)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let (host, port) = split_port(authority).ok_or_else(refuse)?;
        // Browsers leave out the port that the scheme implies.
        let port = match (scheme, port) {
            ("http", Some("80")) | ("https", Some("443")) | (_, None) => String::new(),
            (_, Some(port)) => format!(":{port}"),
        };
        let wildcard = host.strip_prefix("*.");
        let name = wildcard.unwrap_or(host);
        if !is_scheme || !is_host(name) || (wildcard.is_some() && name.starts_with('[')) {
            return Err(refuse());
        }
        let scheme = format!("{scheme}://");
        Ok(match wildcard {
            None => Self::Exact(format!("{scheme}{host}{port}").into()),
            Some(domain) => {
                Self::Below { scheme: scheme.into(), domain: format!(".{domain}{port}").into() }
            }
        })
    }
}

/// The host and the port of an authority; none where the port is none.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let end_of_address = authority.rfind(']').map_or(0, |end| end + 1);
    let rest = authority.get(end_of_address..)?;
    let Some((_, port)) = rest.split_once(':') else { return Some((authority, None)) };
    let host = authority.strip_suffix(port)?.strip_suffix(':')?;
    let is_port = port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port);
    is_port.then_some((host, Some(port)))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            host.len() <= 253
                && host.bytes().all(is_of_host)
                && host.split('.').all(|label| !label.is_empty())
        }
    }
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)
}

impl Deserr<Issues> for Origin {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let map = match value {
            Value::Map(map) => map,
            Value::String(_) => return parse::text(value, location),
            Value::Null
            | Value::Boolean(_)
            | Value::Integer(_)
            | Value::NegativeInteger(_)
            | Value::Float(_)
            | Value::Sequence(_) => return Err(expected(Self::EXPECTED, &value, location)),
        };
        let entries: Vec<(String, V)> = map.into_iter().collect();
        let mut entries = entries.into_iter();
        let (Some((key, inner)), None) = (entries.next(), entries.next()) else {
            return Err(parse::reject(location, format!("give {}", Self::EXPECTED)));
        };
        let at = location.push_key(&key);
        if key != "regex" {
            let problem =
                format!("`{key}` is not a way to name origins; {}", nearest(&key, &["regex"]));
            return Err(parse::reject(at, problem));
        }
        parse::text(inner.into_value(), at).map(Self::Regex)
    }
}

impl JsonSchema for Origin {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Origin".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An origin, all origins below a domain, every origin, or an expression.",
            "oneOf": [
                { "type": "string" },
                { "type": "object", "properties": { "regex": { "type": "string" } },
                  "required": ["regex"], "additionalProperties": false }
            ]
        })
    }
}
