//! What a request must be for a route to be its route.

use std::collections::BTreeMap;

use deserr::{Deserr, IntoValue, Map, Value, ValuePointerRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::attachment::Attachment;
use crate::id::Name;
use crate::issue::{Issues, nearest};
use crate::parse::{self, FromText, Mapping, Rejected, deserr_text, expected, text_schema};
use crate::path::PathMatch;

/// A route: a match, and what is particular to the calls that it matches.
#[derive(Clone, Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Route {
    /// Unique within the API; stands in records and metrics.
    pub name: Name,
    /// What a request must be.
    #[deserr(rename = "match", default)]
    #[schemars(rename = "match", with = "Option<RouteMatch>")]
    pub matches: RouteMatch,
    /// Where its calls go, in place of the API's.
    #[deserr(default)]
    pub upstream: Option<Name>,
    /// Run after the API's policies of the same phase.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<Attachment>>")]
    pub policies: Vec<Attachment>,
}

/// All conditions of a route; all must hold.
#[derive(Clone, Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct RouteMatch {
    /// One of these; none: any method.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<Method>>")]
    pub methods: Vec<Method>,
    /// The path below the base path; none: any.
    #[deserr(default = PathMatch::any())]
    #[schemars(with = "Option<PathMatch>")]
    pub path: PathMatch,
    /// Header fields, each by its name.
    #[deserr(default, from(Mapping<FieldName, ValueMatch>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, ValueMatch>>")]
    pub headers: BTreeMap<FieldName, ValueMatch>,
    /// Query parameters, each by its name, in decoded form.
    #[deserr(default, from(Mapping<String, ValueMatch>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, ValueMatch>>")]
    pub query: BTreeMap<String, ValueMatch>,
}

impl Default for RouteMatch {
    fn default() -> Self {
        Self {
            methods: Vec::new(),
            path: PathMatch::any(),
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
        }
    }
}

impl RouteMatch {
    /// One text a method: two routes of one place tie if they share one.
    #[must_use]
    pub fn tie_keys(&self) -> Vec<String> {
        let mut rest = self.path.shape();
        for (name, value) in &self.headers {
            rest.push_str(&format!("\u{1}h {}{}", name.as_str(), value.shape()));
        }
        for (name, value) in &self.query {
            rest.push_str(&format!("\u{1}q {name}{}", value.shape()));
        }
        if self.methods.is_empty() {
            return vec![format!("* {rest}")];
        }
        self.methods.iter().map(|method| format!("{} {rest}", method.as_str())).collect()
    }
}

/// A method, as in RFC 9110 §9: a token, conventionally in upper case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Method(http::Method);

impl Method {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// As the `http` crate has it.
    #[must_use]
    pub fn as_http(&self) -> &http::Method {
        &self.0
    }
}

impl FromText for Method {
    const EXPECTED: &'static str = "a method such as GET";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let refuse = || {
            Rejected::new(
                "invalid_method",
                format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED),
            )
        };
        if text == "CONNECT" || text.bytes().any(|b| b.is_ascii_lowercase()) {
            return Err(refuse());
        }
        http::Method::from_bytes(text.as_bytes()).map(Self).map_err(|_not_a_token| refuse())
    }
}

/// Fields of one hop or of the message's framing: the connection's own.
pub const OF_CONNECTION: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What else belongs to one hop (RFC 9110 §11.7).
pub const OF_PROXIES: [&str; 2] = ["proxy-authenticate", "proxy-authorization"];
/// What Tollgate itself tells upstreams: whatever somebody else said of it would be lost.
pub const WRITTEN_BY_TOLLGATE: [&str; 6] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// The name of a header field, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldName(http::HeaderName);

impl FieldName {
    /// As text, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// As the `http` crate has it.
    #[must_use]
    pub fn as_http(&self) -> &http::HeaderName {
        &self.0
    }
}

impl Ord for FieldName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for FieldName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl FromText for FieldName {
    const EXPECTED: &'static str = "the name of a header field such as x-region";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        http::HeaderName::from_bytes(text.as_bytes()).map(Self).map_err(|_not_a_token| {
            Rejected::new(
                "invalid_header_name",
                format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED),
            )
        })
    }
}

impl std::str::FromStr for FieldName {
    type Err = Rejected;

    fn from_str(text: &str) -> Result<Self, Rejected> {
        Self::from_text(text)
    }
}

/// What a header field or query parameter must be.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// Written as a string: exactly this value, byte for byte.
    Exact(String),
    /// Written as `{present: true}` or `{present: false}`.
    Present(bool),
    /// Written as `{regex: …}`: the whole value matches. Linear in time.
    Regex(Box<crate::path::PathRegex>),
}

impl ValueMatch {
    fn shape(&self) -> String {
        match self {
            Self::Exact(text) => format!("={text}"),
            Self::Present(is_present) => format!("?{is_present}"),
            Self::Regex(regex) => format!("~{}", regex.source),
        }
    }

    /// Whether a value, or its absence, is what is asked for.
    #[must_use]
    pub fn accepts(&self, value: Option<&[u8]>) -> bool {
        match (self, value) {
            (Self::Present(is_present), value) => value.is_some() == *is_present,
            (Self::Exact(text), Some(value)) => value == text.as_bytes(),
            (Self::Regex(regex), Some(value)) => {
                std::str::from_utf8(value).is_ok_and(|text| regex.regex.is_match(text))
            }
            (Self::Exact(_) | Self::Regex(_), None) => false,
        }
    }
}

impl Deserr<Issues> for ValueMatch {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        const EXPECTED: &str = "a text, or {present: true}, or {regex: …}";
        let Value::Map(map) = value else {
            return match &value {
                Value::String(text) => Ok(Self::Exact(text.clone())),
                Value::Integer(number) => Ok(Self::Exact(number.to_string())),
                Value::Null
                | Value::Boolean(_)
                | Value::NegativeInteger(_)
                | Value::Float(_)
                | Value::Sequence(_)
                | Value::Map(_) => Err(expected(EXPECTED, &value, location)),
            };
        };
        let mut entries = map.into_iter();
        let (Some((key, inner)), None) = (entries.next(), entries.next()) else {
            return Err(parse::reject(location, format!("give {EXPECTED}")));
        };
        let at = location.push_key(&key);
        match key.as_str() {
            "present" => bool::deserialize_from_value(inner.into_value(), at).map(Self::Present),
            "regex" => Ok(Self::Regex(Box::new(parse::text(inner.into_value(), at)?))),
            _ => Err(parse::reject(
                at,
                format!(
                    "`{key}` is not a way to match a value; {}",
                    nearest(&key, &["present", "regex"])
                ),
            )),
        }
    }
}

impl JsonSchema for ValueMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ValueMatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A text, the presence, or an expression over the whole value.",
            "oneOf": [
                { "type": ["string", "integer"] },
                { "type": "object", "properties": { "present": { "type": "boolean" } },
                  "required": ["present"], "additionalProperties": false },
                { "type": "object", "properties": { "regex": { "type": "string" } },
                  "required": ["regex"], "additionalProperties": false }
            ]
        })
    }
}

deserr_text!(Method, FieldName);
text_schema!(Method, "Method", "A request method in upper case.");
text_schema!(FieldName, "FieldName", "The name of a header field.");
