//! Another path made of a request's: by prefix, by a text with variables, by an expression.

use deserr::Deserr;
use http::Request;
use regex::{Captures, Regex, RegexBuilder};
use schemars::JsonSchema;
use tollgate_model::Issues;
use tollgate_model::parse::Rejected;
use tollgate_model::path::BasePath;

use crate::body::Body;
use crate::escape::Escape;
use crate::onward::{MAX_TARGET, refuse_length};
use crate::policy::{Cx, Refusal, Scope};
use crate::target::{EncodedSlash, Target};
use crate::template::Template;

/// A prefix of whole segments, and what takes its place.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(rename = "PathPrefix", deny_unknown_fields)]
pub struct Prefix {
    /// The prefix, by whole segments. A path that does not begin with it stays as it is.
    #[schemars(with = "String")]
    pub from: BasePath,
    /// What takes its place.
    #[schemars(with = "String")]
    pub to: BasePath,
}

/// An expression, and what takes the place of what it matches.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(rename = "PathSubstitution", deny_unknown_fields)]
pub struct Substitution {
    /// A regular expression, linear in time. Its first match in the path is replaced; a path without
    /// a match stays as it is.
    pub pattern: String,
    /// What takes its place: `$1` and `${name}` are groups, `$$` is a dollar.
    pub substitution: String,
}

/// How a path is changed, as it is written: one of these, or none.
#[derive(Debug, Default)]
pub struct Fields {
    /// Where the field of a whole path is written, such as `/template`.
    pub template_at: &'static str,
    /// A whole path with variables.
    pub template: Option<String>,
    /// A prefix.
    pub prefix: Option<Prefix>,
    /// An expression.
    pub regex: Option<Substitution>,
}

/// How a path is changed.
pub enum PathEdit {
    /// The prefix gives way to another; both without a slash at their end.
    Prefix {
        /// What a path begins with.
        from: BasePath,
        /// What takes its place.
        to: BasePath,
    },
    /// A whole path, whatever the request's is.
    Template(Template),
    /// The first match gives way.
    Regex {
        /// The expression.
        pattern: Regex,
        /// What takes the place of its match.
        pieces: Box<[Piece]>,
    },
}

/// A piece of what takes the place of a match.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// This text.
    Text(String),
    /// What a group of the expression matched.
    Group(usize),
}

/// The longest expression and the longest text that takes a match's place, in bytes.
const MAX_TEXT: usize = 2048;

impl PathEdit {
    /// Compiles what is written; none where nothing is. Faults go to `issues`, their places below `at`.
    pub fn compile(
        fields: Fields,
        at: &str,
        scope: Scope<'_>,
        issues: &mut Issues,
    ) -> Option<Self> {
        let Fields { template_at, template, prefix, regex } = fields;
        let ways = [template.is_some(), prefix.is_some(), regex.is_some()];
        if ways.iter().filter(|is_given| **is_given).count() > 1 {
            let name = template_at.trim_start_matches('/');
            issues.add(
                at,
                "too_many_fields",
                format!(
                    "changes the path in several ways; give one of `{name}`, `prefix`, `regex`"
                ),
            );
        }
        let mut keep = |place: String, edit: Result<Self, Rejected>| {
            edit.map_err(|rejected| issues.add(place, rejected.code, rejected.problem)).ok()
        };
        let template = template.and_then(|text| {
            keep(format!("{at}{template_at}"), path_template(&text, scope).map(Self::Template))
        });
        let regex = regex.and_then(|Substitution { pattern, substitution }| {
            let place = format!("{at}/regex/pattern");
            let pattern = match expression(&pattern) {
                Ok(pattern) => pattern,
                Err(rejected) => return keep(place, Err(rejected)),
            };
            let pieces = pieces(&substitution, &pattern);
            let edit = pieces.map(|pieces| Self::Regex { pattern, pieces: pieces.into() });
            keep(format!("{at}/regex/substitution"), edit)
        });
        let prefix = prefix.map(|Prefix { from, to }| Self::Prefix { from, to });
        template.or(prefix).or(regex)
    }

    /// The changed path; none where it stays as it is. Whether it is a path that can be sent is the
    /// caller's to check.
    ///
    /// # Errors
    ///
    /// A refusal, where it becomes too long.
    pub fn apply(
        &self,
        path: &str,
        cx: &Cx<'_>,
        request: &Request<Body>,
    ) -> Result<Option<String>, Box<Refusal>> {
        match self {
            Self::Prefix { from, to } => Ok(with_prefix(path, from.as_prefix(), to.as_prefix())),
            Self::Template(template) => template
                .render_escaped(cx, request, Escape::Url, MAX_TARGET)
                .map(Some)
                .ok_or_else(refuse_length),
            Self::Regex { pattern, pieces } => match pattern.captures(path) {
                None => Ok(None),
                Some(found) => {
                    substituted(path, &found, pieces).map(Some).ok_or_else(refuse_length)
                }
            },
        }
    }

    /// The secrets that it names come from its text, where it has one.
    #[must_use]
    pub fn template(&self) -> Option<&Template> {
        match self {
            Self::Template(template) => Some(template),
            Self::Prefix { .. } | Self::Regex { .. } => None,
        }
    }
}

/// A whole path with variables. Each value goes into one segment.
fn path_template(text: &str, scope: Scope<'_>) -> Result<Template, Rejected> {
    let template = Template::parse(text, scope)?;
    let sample = template.sample("x");
    if sample.contains(['?', '#']) {
        return Err(Rejected::new(
            "invalid_path",
            "has a query or a fragment; only the path is written here",
        ));
    }
    match Target::parse(&sample, EncodedSlash::Refuse) {
        Ok(_) => Ok(template),
        Err(fault) => Err(Rejected::new("invalid_path", fault.problem)),
    }
}

fn expression(text: &str) -> Result<Regex, Rejected> {
    if text.len() > MAX_TEXT {
        return Err(too_long());
    }
    // The bound on the compiled size keeps one policy from taking the memory of all.
    RegexBuilder::new(text).size_limit(1 << 20).build().map_err(|error| {
        let detail = error.to_string();
        let last = detail.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Rejected::new(
            "invalid_regex",
            format!("is not a regular expression that can be used: {last}"),
        )
    })
}

fn too_long() -> Rejected {
    Rejected::new("too_long", format!("is longer than {MAX_TEXT} bytes"))
}

fn pieces(text: &str, pattern: &Regex) -> Result<Vec<Piece>, Rejected> {
    if text.len() > MAX_TEXT {
        return Err(too_long());
    }
    let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            literal.push('$');
            rest = after;
            continue;
        }
        let (name, after) = group_name(after)?;
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Group(group_number(name, pattern)?));
        rest = after;
    }
    literal.push_str(rest);
    if literal.bytes().chain(text.bytes()).any(|byte| !byte.is_ascii_graphic()) {
        return Err(Rejected::new(
            "invalid_path",
            "has a character that a path cannot hold; percent-encode it",
        ));
    }
    if text.contains(['?', '#']) {
        return Err(Rejected::new(
            "invalid_path",
            "has a query or a fragment; only the path is written here",
        ));
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

/// The name of a group, and what stands behind it.
fn group_name(text: &str) -> Result<(&str, &str), Rejected> {
    if let Some(inner) = text.strip_prefix('{') {
        return inner
            .split_once('}')
            .ok_or_else(|| Rejected::new("invalid_substitution", "has `${` without its `}`"));
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    if name.is_empty() {
        return Err(Rejected::new(
            "invalid_substitution",
            "has a `$` that is not followed by a group; write `$1`, `${name}`, or `$$` for a dollar",
        ));
    }
    Ok((name, after))
}

fn group_number(name: &str, pattern: &Regex) -> Result<usize, Rejected> {
    let by_name = pattern.capture_names().position(|known| known == Some(name));
    let by_number = || name.parse().ok().filter(|number| *number < pattern.captures_len());
    by_name.or_else(by_number).ok_or_else(|| {
        Rejected::new(
            "unknown_group",
            format!("`{}` is not a group of the pattern", name.escape_debug()),
        )
    })
}

/// By whole segments: `/a` is a prefix of `/a` and `/a/b`, and not of `/ab`.
fn with_prefix(path: &str, from: &str, to: &str) -> Option<String> {
    let rest = path.strip_prefix(from)?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let changed = [to, rest].concat();
    Some(if changed.is_empty() { "/".to_owned() } else { changed })
}

fn substituted(path: &str, found: &Captures<'_>, pieces: &[Piece]) -> Option<String> {
    let whole = found.get(0)?;
    let (before, _) = path.split_at_checked(whole.start())?;
    let (_, after) = path.split_at_checked(whole.end())?;
    let mut changed = String::from(before);
    for piece in pieces {
        changed.push_str(match piece {
            Piece::Text(text) => text,
            Piece::Group(number) => found.get(*number).map_or("", |group| group.as_str()),
        });
        if changed.len() > MAX_TARGET {
            return None;
        }
    }
    changed.push_str(after);
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_of_whole_segments() {
        for (path, from, to, changed) in [
            ("/a/b", "/a", "/x/y", Some("/x/y/b")),
            ("/a", "/a", "/x", Some("/x")),
            ("/a/", "/a", "/x", Some("/x/")),
            ("/ab", "/a", "/x", None),
            ("/b", "/a", "/x", None),
            ("/a", "/a", "", Some("/")),
            ("/a/b", "/a", "", Some("/b")),
            ("/b", "", "/x", Some("/x/b")),
        ] {
            assert_eq!(with_prefix(path, from, to).as_deref(), changed, "{path} {from} {to}");
        }
    }

    #[test]
    fn groups_are_by_number_and_by_name() {
        let pattern = expression("^/(?<kind>[a-z]+)/([0-9]+)").unwrap();
        let change = |text: &str| {
            let pieces = pieces(text, &pattern).unwrap();
            substituted("/items/7/x", &pattern.captures("/items/7/x").unwrap(), &pieces).unwrap()
        };
        assert_eq!(change("/v2/${kind}-$2"), "/v2/items-7/x");
        assert_eq!(change("/$$1/${2}0"), "/$1/70/x");
        for (text, code) in [
            ("/$3", "unknown_group"),
            ("/${other}", "unknown_group"),
            ("/$", "invalid_substitution"),
            ("/$x", "invalid_substitution"),
            ("/${1", "invalid_substitution"),
            ("/a b", "invalid_path"),
            ("/a?b", "invalid_path"),
        ] {
            assert_eq!(pieces(text, &pattern).unwrap_err().code, code, "{text}");
        }
    }
}
