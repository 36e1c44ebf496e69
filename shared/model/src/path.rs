//! Paths of APIs and routes: base paths, exact paths, templates, segment prefixes, expressions.

use std::fmt;
use std::sync::Arc;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::issue::{Issues, nearest};
use crate::parse::{self, FromText, Rejected, deserr_text, expected, text_schema};

/// The path below which an API lives: `/` or `/orders/v1`, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BasePath(Arc<str>);

impl BasePath {
    /// The root, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from(""))
    }

    /// The path without a slash at its end: empty for the root, so that `base + route` is a path.
    #[must_use]
    pub fn as_prefix(&self) -> &str {
        &self.0
    }
}

impl FromText for BasePath {
    const EXPECTED: &'static str = "a path such as /orders";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        check_path(text)?;
        if text.contains(['{', '}']) {
            return Err(Rejected::new(
                "invalid_path",
                "a base path has no parameters; put `{…}` into a route's path",
            ));
        }
        Ok(Self(Arc::from(text.trim_end_matches('/'))))
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

/// One piece of a path between slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// This text, byte for byte.
    Literal(Arc<str>),
    /// Any one segment that is not empty, kept under this name.
    Parameter(Arc<str>),
}

/// What a route asks of the path below its API's base path.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// Written as a string without parameters: exactly this path.
    Exact(Arc<str>),
    /// Written as a string with `{name}` segments.
    Template(Vec<Segment>),
    /// Written as `{prefix: /x}`: `/x` and everything below it, by whole segments. Without a slash
    /// at its end; empty matches everything.
    Prefix(Arc<str>),
    /// Written as `{regex: …}`: an expression that must match the whole path. Linear in time.
    Regex(Box<PathRegex>),
}

/// A regular expression over a whole path.
#[derive(Clone, Debug)]
pub struct PathRegex {
    /// As the operator wrote it.
    pub source: String,
    /// Anchored at both ends.
    pub regex: regex::Regex,
}

impl PathMatch {
    /// Everything below the base path.
    #[must_use]
    pub fn any() -> Self {
        Self::Prefix(Arc::from(""))
    }

    /// A text that is equal for two matches that match the same paths by the same rule: parameters
    /// lose their names. It is what makes routes tie.
    #[must_use]
    pub fn shape(&self) -> String {
        match self {
            Self::Exact(path) => format!("= {path}"),
            Self::Template(segments) => {
                let mut shape = String::from("=");
                for segment in segments {
                    shape.push('/');
                    match segment {
                        Segment::Literal(text) => shape.push_str(text),
                        Segment::Parameter(_) => shape.push_str("{}"),
                    }
                }
                shape
            }
            Self::Prefix(prefix) => format!("^ {prefix}"),
            Self::Regex(regex) => format!("~ {}", regex.source),
        }
    }

    /// The names of its parameters, in order. A regex has its named groups.
    #[must_use]
    pub fn parameters(&self) -> Vec<&str> {
        match self {
            Self::Exact(_) | Self::Prefix(_) => Vec::new(),
            Self::Template(segments) => segments
                .iter()
                .filter_map(|segment| match segment {
                    Segment::Parameter(name) => Some(&**name),
                    Segment::Literal(_) => None,
                })
                .collect(),
            Self::Regex(regex) => regex.regex.capture_names().flatten().collect(),
        }
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => formatter.write_str(path),
            Self::Template(segments) => segments.iter().try_for_each(|segment| match segment {
                Segment::Literal(text) => write!(formatter, "/{text}"),
                Segment::Parameter(name) => write!(formatter, "/{{{name}}}"),
            }),
            Self::Prefix(prefix) => write!(formatter, "{prefix}/…"),
            Self::Regex(regex) => write!(formatter, "~{}", regex.source),
        }
    }
}

impl FromText for PathMatch {
    const EXPECTED: &'static str = "a path such as /items/{id}, or {prefix: /items}, or {regex: …}";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        check_path(text)?;
        if !text.contains(['{', '}']) {
            return Ok(Self::Exact(Arc::from(text)));
        }
        let mut segments = Vec::new();
        for part in text.split('/').skip(1) {
            let segment = parse_segment(part)?;
            if let Segment::Parameter(name) = &segment
                && segments.contains(&segment)
            {
                return Err(Rejected::new(
                    "duplicate_parameter",
                    format!("`{{{name}}}` stands twice; give each parameter its own name"),
                ));
            }
            segments.push(segment);
        }
        Ok(Self::Template(segments))
    }
}

fn parse_segment(part: &str) -> Result<Segment, Rejected> {
    let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        if part.contains(['{', '}']) {
            return Err(Rejected::new(
                "invalid_path",
                format!(
                    "`{}` mixes text and a parameter; a parameter is a whole segment",
                    part.escape_debug()
                ),
            ));
        }
        return Ok(Segment::Literal(Arc::from(part)));
    };
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_name {
        return Err(Rejected::new(
            "invalid_parameter",
            format!(
                "`{{{}}}` is not a parameter; its name has letters, digits and `_`",
                name.escape_debug()
            ),
        ));
    }
    Ok(Segment::Parameter(Arc::from(name)))
}

/// What every path in a configuration must be: absolute, and in the one form that requests have
/// when they are matched (see `tollgate_policy::target`).
fn check_path(text: &str) -> Result<(), Rejected> {
    let refuse =
        |why: &str| Err(Rejected::new("invalid_path", format!("`{}` {why}", text.escape_debug())));
    if !text.starts_with('/') {
        return refuse("does not begin with `/`");
    }
    if text.len() > 2048 {
        return refuse("is longer than 2048 bytes");
    }
    if text.contains("//") {
        return refuse("has an empty segment; a request's path never has one");
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return refuse("has a `.` or `..` segment; write the path that it stands for");
    }
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic() || "?#%\\\"<>^`|".contains(*c)) {
        return refuse(&format!(
            "has `{}`, which a path cannot match; write it without query, fragment and percent-encoding",
            odd.escape_debug()
        ));
    }
    Ok(())
}

impl Deserr<Issues> for PathMatch {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let Value::Map(map) = value else {
            if let Value::String(_) = &value {
                return parse::text(value, location);
            }
            return Err(expected(Self::EXPECTED, &value, location));
        };
        let entries: Vec<(String, V)> = deserr::Map::into_iter(map).collect();
        let mut entries = entries.into_iter();
        let (Some((key, inner)), None) = (entries.next(), entries.next()) else {
            return Err(parse::reject(location, format!("give {}", Self::EXPECTED)));
        };
        let at = location.push_key(&key);
        match key.as_str() {
            "prefix" => {
                let BasePath(prefix) = parse::text(inner.into_value(), at)?;
                Ok(Self::Prefix(prefix))
            }
            "regex" => Ok(Self::Regex(Box::new(parse::text(inner.into_value(), at)?))),
            _ => Err(parse::reject(
                at,
                format!(
                    "`{key}` is not a way to match a path; {}",
                    nearest(&key, &["prefix", "regex"])
                ),
            )),
        }
    }
}

impl FromText for PathRegex {
    const EXPECTED: &'static str = "a regular expression";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        // The bound on the compiled size keeps one route from taking the memory of all. Compiled bare
        // first: a text such as `a)|(?:b` is none, and would slip out of the anchors.
        let compile = |text: &str| regex::RegexBuilder::new(text).size_limit(1 << 20).build();
        let regex = compile(text).and_then(|_bare| compile(&format!("^(?:{text})$")));
        match regex {
            Ok(regex) => Ok(Self { source: text.to_owned(), regex }),
            Err(error) => {
                let detail = error.to_string();
                let last = detail.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(Rejected::new(
                    "invalid_regex",
                    format!("is not a regular expression that can be used: {last}"),
                ))
            }
        }
    }
}

impl JsonSchema for PathMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PathMatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A path (exact, or with `{name}` segments), a segment prefix, or an expression.",
            "oneOf": [
                { "type": "string", "pattern": "^/" },
                { "type": "object", "properties": { "prefix": { "type": "string", "pattern": "^/" } },
                  "required": ["prefix"], "additionalProperties": false },
                { "type": "object", "properties": { "regex": { "type": "string" } },
                  "required": ["regex"], "additionalProperties": false }
            ]
        })
    }
}

deserr_text!(BasePath, PathRegex);
text_schema!(BasePath, "BasePath", "An absolute path without parameters.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_exact_or_a_template() {
        assert!(matches!(PathMatch::from_text("/items").unwrap(), PathMatch::Exact(_)));
        let template = PathMatch::from_text("/items/{id}/parts/{part}").unwrap();
        assert_eq!(template.parameters(), ["id", "part"]);
        assert_eq!(template.shape(), "=/items/{}/parts/{}");
    }

    #[test]
    fn paths_that_no_request_can_have_are_refused() {
        for text in [
            "", "items", "/a//b", "/a/../b", "/a?b", "/a%20b", "/a b", "/{id}x", "/{}", "/{1a}",
            "/{a}/{a}", "/ü",
        ] {
            assert!(PathMatch::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_expression_is_anchored_and_bounded() {
        let regex = PathRegex::from_text("/v[0-9]+/.*").unwrap().regex;
        assert!(regex.is_match("/v1/x") && !regex.is_match("/x/v1/x"));
        assert_eq!(PathRegex::from_text("(").unwrap_err().code, "invalid_regex");
        assert_eq!(PathRegex::from_text("a)|(?:b").unwrap_err().code, "invalid_regex");
        assert_eq!(PathRegex::from_text("(a{1000}){1000}").unwrap_err().code, "invalid_regex");
    }
}
