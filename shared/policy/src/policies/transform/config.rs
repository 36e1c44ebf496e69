//! What the operator writes, and what is made of it.

use deserr::{Deserr, IntoValue, ValuePointerRef};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use tollgate_model::parse::{self, Rejected};
use tollgate_model::units::Size;
use tollgate_model::{FromText, Issues};

use super::jq::Program;
use super::template::Template;
use super::xml;

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// What becomes of bodies on their way to the upstream. Default: nothing.
    #[deserr(default)]
    pub request: Option<Side>,
    /// What becomes of bodies on their way to the client. Default: nothing.
    #[deserr(default)]
    pub response: Option<Side>,
}

/// What becomes of a body: it is read, changed, and written.
#[derive(Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(rename = "BodyTransformation", deny_unknown_fields)]
pub struct Side {
    /// What it is read as: `json`, `form`, `xml`. Default: what its `content-type` says.
    #[deserr(default)]
    pub from: Option<Format>,
    /// Elements of XML that are lists also where they stand once, at most 64. Default: none.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub lists: Vec<String>,
    /// A jq program that makes another value of it, at most 4 KiB. Default: none.
    #[deserr(default)]
    pub jq: Option<String>,
    /// What it is written as: `json`, `form`, `xml`. Default `json`. Not beside `template`.
    #[deserr(default)]
    pub to: Option<Format>,
    /// The root of the XML that is written, around the whole value. Default: the value's only member.
    #[deserr(default)]
    pub root: Option<String>,
    /// A text in the syntax of Jinja that is written in its place, at most 64 KiB. Not beside `to`.
    #[deserr(default)]
    pub template: Option<String>,
    /// The media type of what is written. Default: that of `to`, and `application/json` for `template`.
    #[deserr(default)]
    pub content_type: Option<String>,
    /// How large it may be as it comes, and as it goes on, 1B to 16MiB. Default 1MiB.
    #[deserr(default)]
    pub max_body: Option<Size>,
    /// Which answers: statuses such as `404` and ranges such as `200-299`. Default 200-299. Of `response` alone.
    #[deserr(default)]
    pub statuses: Option<Vec<Statuses>>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename = "BodyFormat", rename_all = "lowercase")]
pub enum Format {
    /// JSON.
    Json,
    /// A form, as browsers send it.
    Form,
    /// XML.
    Xml,
}

impl Format {
    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
            Self::Xml => "application/xml",
        })
    }
}

/// Statuses, from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "StatusText", rename = "StatusRange")]
pub struct Statuses {
    first: u16,
    last: u16,
}

/// Beside the text, YAML has a number for one status.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "StatusRange")]
#[expect(dead_code, reason = "it is there for the schema alone")]
enum StatusText {
    One(u16),
    Range(String),
}

impl Statuses {
    /// 200 to 299.
    const SUCCESS: Self = Self { first: 200, last: 299 };

    /// Whether a status is among them.
    pub(super) fn contains(self, status: StatusCode) -> bool {
        (self.first..=self.last).contains(&status.as_u16())
    }
}

impl FromText for Statuses {
    const EXPECTED: &'static str =
        "a status from 200 to 599 such as 404, or a range such as 200-299";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number =
            |text: &str| text.trim().parse().ok().filter(|status| (200..600).contains(status));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(Rejected::new(
                "invalid_status",
                format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED),
            )),
        }
    }
}

impl Deserr<Issues> for Statuses {
    fn deserialize_from_value<V: IntoValue>(
        value: deserr::Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        parse::text(value, location)
    }
}

/// What becomes of a body, ready to run.
pub(super) struct Pipeline {
    pub(super) from: Option<Format>,
    pub(super) lists: Box<[Box<str>]>,
    pub(super) program: Option<Program>,
    pub(super) written: Written,
    pub(super) content_type: HeaderValue,
    pub(super) most_bytes: usize,
    pub(super) statuses: Box<[Statuses]>,
}

/// What is written.
pub(super) enum Written {
    /// The value as JSON.
    Json,
    /// The value as a form.
    Form,
    /// The value as XML, in a root of this name.
    Xml(Option<Box<str>>),
    /// A text.
    Text(Box<Template>),
}

/// How many elements may be named as lists.
const MAX_LISTS: usize = 64;

const MOST_BYTES: usize = 16 << 20;

impl Pipeline {
    /// Makes one, with faults below `at`.
    pub(super) fn compile(side: Side, at: &str, issues: &mut Issues) -> Option<Self> {
        let before = issues.0.len();
        check_fields(&side, at, issues);
        let program = side.jq.as_deref().and_then(|text| Program::compile(text, at, issues));
        let default = match (&side.template, side.to) {
            (Some(_), _) | (None, None) => Format::Json,
            (None, Some(format)) => format,
        };
        let content_type = match side.content_type.as_deref() {
            None => Some(default.content_type()),
            Some(text) => content_type(text, at, issues),
        };
        let written = match side.template.as_deref() {
            Some(text) => Template::compile(text, content_type.as_ref(), at, issues)
                .map(|template| Written::Text(Box::new(template))),
            None => Some(match default {
                Format::Json => Written::Json,
                Format::Form => Written::Form,
                Format::Xml => Written::Xml(side.root.map(Box::from)),
            }),
        };
        let most_bytes = side.max_body.map_or(1 << 20, Size::bytes);
        let most_bytes = usize::try_from(most_bytes).unwrap_or(usize::MAX);
        if !(1..=MOST_BYTES).contains(&most_bytes) {
            issues.add(format!("{at}/max_body"), "out_of_range", "give a size from 1B to 16MiB");
        }
        if issues.0.len() > before {
            return None;
        }
        Some(Self {
            from: side.from,
            lists: side.lists.into_iter().map(Box::from).collect(),
            program,
            written: written?,
            content_type: content_type?,
            most_bytes,
            statuses: side.statuses.unwrap_or_else(|| vec![Statuses::SUCCESS]).into(),
        })
    }

    /// Whether it asks for more of a request than its body.
    pub(super) fn asks_facts(&self) -> bool {
        let of_text = match &self.written {
            Written::Text(template) => template.asks_facts(),
            Written::Json | Written::Form | Written::Xml(_) => false,
        };
        of_text || self.program.as_ref().is_some_and(Program::asks_facts)
    }
}

fn check_fields(side: &Side, at: &str, issues: &mut Issues) {
    if side.jq.is_none() && side.to.is_none() && side.template.is_none() {
        let problem = "changes nothing; give `jq`, `to` or `template`";
        issues.add(at, "missing_field", problem);
    }
    if side.to.is_some() && side.template.is_some() {
        issues.add(at, "too_many_fields", "has `to` and `template`; give one of them");
    }
    let is_same = side.from.is_some() && side.from == side.to && side.jq.is_none();
    if is_same && side.content_type.is_none() && side.root.is_none() && side.lists.is_empty() {
        let problem =
            "is what it was read as, so that nothing is changed; take it out or give `jq`";
        issues.add(format!("{at}/to"), "no_effect", problem);
    }
    if let Some(root) = &side.root {
        let at = format!("{at}/root");
        if side.to != Some(Format::Xml) {
            issues.add(&at, "no_effect", "is the root of XML; give `to: xml` or take it out");
        }
        if !xml::is_name(root) {
            let problem = format!("`{}` cannot be the name of an element", root.escape_debug());
            issues.add(at, "invalid_name", problem);
        }
    }
    if matches!(side.from, Some(Format::Json | Format::Form)) && !side.lists.is_empty() {
        let problem = "are elements of XML; give `from: xml` or take them out";
        issues.add(format!("{at}/lists"), "no_effect", problem);
    }
    if side.lists.len() > MAX_LISTS {
        issues.add(format!("{at}/lists"), "too_many", "are more than 64; name fewer elements");
    }
    for (i, name) in side.lists.iter().enumerate().filter(|(_, name)| !xml::is_name(name)) {
        let problem = format!("`{}` cannot be the name of an element", name.escape_debug());
        issues.add(format!("{at}/lists/{i}"), "invalid_name", problem);
    }
    if side.statuses.as_ref().is_some_and(Vec::is_empty) {
        issues.add(format!("{at}/statuses"), "empty", "names no status, so nothing is changed");
    }
}

fn content_type(text: &str, at: &str, issues: &mut Issues) -> Option<HeaderValue> {
    let is_type = text
        .split_once('/')
        .is_some_and(|(kind, rest)| !kind.trim().is_empty() && !rest.trim().is_empty());
    match HeaderValue::from_str(text) {
        Ok(value) if is_type && text.is_ascii() => Some(value),
        _ => {
            let problem = format!("`{}` is not a media type such as text/xml", text.escape_debug());
            issues.add(format!("{at}/content_type"), "invalid_media_type", problem);
            None
        }
    }
}
