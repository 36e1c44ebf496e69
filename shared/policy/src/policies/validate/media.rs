//! Which media type a body has, and which schema goes with it.

use http::{HeaderMap, header};

use super::schema::{NodeId, Shape};

/// What `content-type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told<'a> {
    Nothing,
    /// Kind and subtype, without parameters.
    Type(&'a str),
    /// It stands there twice, or is no media type: gateway and upstream could take it for different ones.
    Unclear,
}

impl<'a> Told<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
        let Some(line) = lines.next() else { return Self::Nothing };
        let essence = line.to_str().ok().and_then(|text| text.split(';').next()).map(str::trim);
        match essence {
            Some(essence) if lines.next().is_none() && is_type(essence) => Self::Type(essence),
            _ => Self::Unclear,
        }
    }
}

fn is_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// `application/json`, and what ends with `+json` (RFC 6839 §3.1).
pub(super) fn is_json(essence: &str) -> bool {
    let ends_with = |suffix: &str| {
        let start = essence.len().checked_sub(suffix.len());
        start
            .and_then(|start| essence.get(start..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    ends_with("/json") || ends_with("+json")
}

fn is_form(essence: &str) -> bool {
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The media types that a body may have.
#[derive(Default)]
pub(super) struct Contents(Vec<Content>);

/// One of them, and what is checked of it.
pub(super) struct Content {
    range: Range,
    node: Option<NodeId>,
    /// What the fields of a form stand for.
    shape: Shape,
}

enum Range {
    Exact(Box<str>),
    /// All of a kind: `text/`.
    Kind(Box<str>),
    Any,
    Json,
}

/// How a body is checked.
pub(super) enum Reading<'c> {
    Json(NodeId),
    Form(NodeId, &'c Shape),
    /// It goes on as it comes.
    Unread,
}

impl Contents {
    /// JSON of any name.
    pub(super) fn json(node: NodeId) -> Self {
        Self(vec![Content {
            range: Range::Json,
            node: Some(node),
            shape: Shape::Object(Box::default()),
        }])
    }

    /// Adds a media type as OpenAPI writes it; false where it is none.
    pub(super) fn add(&mut self, range: &str, node: Option<NodeId>, shape: Shape) -> bool {
        let essence = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let range = match essence.strip_suffix('*') {
            Some("*/") => Range::Any,
            Some(kind) if kind.ends_with('/') => Range::Kind(kind.into()),
            _ if is_type(&essence) => Range::Exact(essence.into()),
            _ => return false,
        };
        self.0.push(Content { range, node, shape });
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some body is read.
    pub(super) fn reads(&self) -> bool {
        self.0.iter().any(|content| content.node.is_some())
    }

    /// How a body of a type is checked; none where that type is not taken. The most particular one counts.
    pub(super) fn reading(&self, told: Told<'_>) -> Option<Reading<'_>> {
        let essence = match told {
            Told::Type(essence) => essence,
            Told::Unclear => return None,
            // RFC 9110 §8.3: it may be anything.
            Told::Nothing => "application/octet-stream",
        };
        let fits = |content: &&Content| match &content.range {
            Range::Exact(known) => essence.eq_ignore_ascii_case(known),
            Range::Kind(kind) => essence
                .split_at_checked(kind.len())
                .is_some_and(|(start, _)| start.eq_ignore_ascii_case(kind)),
            Range::Any => true,
            Range::Json => is_json(essence),
        };
        let width = |content: &&Content| match &content.range {
            Range::Exact(_) => 0,
            Range::Kind(_) => 1,
            Range::Any | Range::Json => 2,
        };
        let content = self.0.iter().filter(fits).min_by_key(width)?;
        Some(match content.node {
            Some(node) if is_json(essence) => Reading::Json(node),
            Some(node) if is_form(essence) => Reading::Form(node, &content.shape),
            Some(_) | None => Reading::Unread,
        })
    }
}
