#![doc = include_str!("MANUAL.md")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;

use bytes::Bytes;
use deserr::{Deserr, IntoValue, ValuePointerRef};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use tollgate_model::issue::{escape, pointer};
use tollgate_model::parse::{Mapping, Raw, Rejected};
use tollgate_model::route::FieldName;
use tollgate_model::{Issue, Issues, Name, ResourceId};

use super::headers;
use crate::body::Body;
use crate::escape::Escape;
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};
use crate::template::Template;

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// 200 to 599. Default 200.
    #[deserr(default)]
    #[schemars(with = "Option<Code>")]
    pub status: Code,
    /// Header fields. Values are texts with variables.
    #[deserr(default, from(Mapping<FieldName, String>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub headers: BTreeMap<FieldName, String>,
    /// The body, a text with variables, at most 256 KiB. Not beside `json`.
    #[deserr(default)]
    pub body: Option<String>,
    /// The body as JSON; its strings are texts with variables. Not beside `body`.
    #[deserr(default)]
    #[schemars(with = "Option<Value>")]
    pub json: Option<Raw>,
    /// The media type of the body. Default `application/json` for `json`, `text/plain; charset=utf-8` for `body`.
    #[deserr(default)]
    pub content_type: Option<String>,
}

/// A status that can be answered with.
#[derive(Clone, Copy, Debug)]
pub struct Code(StatusCode);

impl Default for Code {
    fn default() -> Self {
        Self(StatusCode::OK)
    }
}

impl Deserr<Issues> for Code {
    fn deserialize_from_value<V: IntoValue>(
        value: deserr::Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let code = u16::deserialize_from_value(value, location)?;
        match StatusCode::from_u16(code) {
            Ok(status) if (200..600).contains(&code) => Ok(Self(status)),
            _ => Err(Issues::one(Issue::new(
                pointer(location),
                "out_of_range",
                "give a status from 200 to 599",
            ))),
        }
    }
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "RespondStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 200, "maximum": 599 })
    }
}

/// Answers in the upstream's place.
pub struct Respond {
    status: StatusCode,
    headers: Box<[(HeaderName, headers::Value)]>,
    content_type: Option<HeaderValue>,
    body: Content,
}

enum Content {
    Constant(Bytes),
    Template(Template, Escape),
}

/// The longest body that is written down.
const MAX_WRITTEN: usize = 256 << 10;

/// The longest body that is answered, with what requests bring into it.
const MAX_ANSWERED: usize = 1 << 20;

const NO_SNIFFING: (HeaderName, HeaderValue) =
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

impl Policy for Respond {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "respond";
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        let Config { status: Code(status), headers, body, json, content_type } = config;
        if body.is_some() && json.is_some() {
            issues.add("", "too_many_fields", "has a `body` and `json`; give one of them");
        }
        let has_body = body.is_some() || json.is_some();
        let is_bodiless =
            [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
        if has_body && is_bodiless.contains(&status) {
            issues.add(
                "/status",
                "no_body",
                format!("an answer with {status} has no body; take it out"),
            );
        }
        if headers.keys().any(|name| name.as_str() == "content-type") {
            issues.add(
                "/headers/content-type",
                "reserved_header",
                "the media type is written as `content_type`",
            );
        }
        let headers = headers::compile_entries(headers, "/headers", scope, &mut issues);
        let written = content_type.clone();
        let content_type = content_type_of(content_type, has_body, json.is_some(), &mut issues);
        let escape = escape_of(content_type.as_ref());
        let template = match (body, json) {
            (_, Some(Raw(json))) => template_of_json(&json, scope, &mut issues),
            (Some(text), None) => template_of_text(&text, scope, &mut issues),
            (None, None) => Template::constant(String::new()),
        };
        if written.is_some() && !has_body {
            issues.add("/content_type", "no_body", "is the type of a body, and there is none");
        }
        let body = match template.as_constant() {
            Some(text) => Content::Constant(Bytes::copy_from_slice(text.as_bytes())),
            None => Content::Template(template, escape),
        };
        issues.into_result(Self { status, headers: headers.into(), content_type, body })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        let of_body = match &self.body {
            Content::Template(template, _) => template.references(tenant),
            Content::Constant(_) => Vec::new(),
        };
        let values = self.headers.iter().flat_map(|(_, value)| value.references(tenant));
        of_body.into_iter().chain(values).collect()
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<()>> {
        std::future::ready(match self.answer(cx, request) {
            Some(response) => Flow::Answer(Box::new(response)),
            None => Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "answer_too_large",
                "the answer would be larger than 1 MiB",
            )
            .into_flow(),
        })
    }
}

impl Respond {
    /// The answer; none where it is too large.
    fn answer(&self, cx: &Cx<'_>, request: &Request<Body>) -> Option<Response<Body>> {
        let bytes = match &self.body {
            Content::Constant(bytes) => bytes.clone(),
            Content::Template(template, escape) => {
                Bytes::from(template.render_escaped(cx, request, *escape, MAX_ANSWERED)?)
            }
        };
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(content_type) = &self.content_type {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
            // RFC 9110 §8.6: also of the answer to HEAD it is the length that GET would have.
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        if let Content::Template(..) = &self.body {
            let (name, value) = NO_SNIFFING;
            headers.insert(name, value);
        }
        for (name, value) in &self.headers {
            if let Some(value) = value.render(cx, request) {
                headers.insert(name.clone(), value);
            }
        }
        if request.method() != Method::HEAD {
            *response.body_mut() = Body::from(bytes);
        }
        Some(response)
    }
}

fn content_type_of(
    written: Option<String>,
    has_body: bool,
    is_json: bool,
    issues: &mut Issues,
) -> Option<HeaderValue> {
    let default = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
    match written {
        None => has_body.then_some(HeaderValue::from_static(default)),
        Some(text) => {
            let is_type = text
                .split_once('/')
                .is_some_and(|(kind, rest)| !kind.trim().is_empty() && !rest.trim().is_empty());
            match HeaderValue::from_str(&text) {
                Ok(value) if is_type && text.is_ascii() => Some(value),
                _ => {
                    let problem =
                        format!("`{}` is not a media type such as text/html", text.escape_debug());
                    issues.add("/content_type", "invalid_media_type", problem);
                    None
                }
            }
        }
    }
}

/// What values are escaped for, so that no caller's value ends the string or the text it stands in.
pub(super) fn escape_of(content_type: Option<&HeaderValue>) -> Escape {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence.ends_with("/json") || essence.ends_with("+json") {
        Escape::Json
    } else if essence.ends_with("html") || essence.ends_with("xml") {
        Escape::Markup
    } else {
        Escape::Nothing
    }
}

fn template_of_text(text: &str, scope: Scope<'_>, issues: &mut Issues) -> Template {
    let parsed =
        if text.len() > MAX_WRITTEN { Err(too_large()) } else { Template::parse(text, scope) };
    parsed.unwrap_or_else(|rejected| {
        issues.add("/body", rejected.code, rejected.problem);
        Template::constant(String::new())
    })
}

fn too_large() -> Rejected {
    Rejected::new("too_large", "is larger than 256 KiB")
}

/// One text of a JSON value, with the variables of its strings.
fn template_of_json(json: &Value, scope: Scope<'_>, issues: &mut Issues) -> Template {
    let mut parts = Vec::new();
    collect_json(json, "/json", scope, (&mut parts, issues));
    let template = Template::concatenated(parts);
    if template.sample("").len() > MAX_WRITTEN {
        let Rejected { code, problem } = too_large();
        issues.add("/json", code, problem);
    }
    template
}

fn collect_json(
    json: &Value,
    at: &str,
    scope: Scope<'_>,
    (parts, issues): (&mut Vec<Template>, &mut Issues),
) {
    let mut text = |text: &str| parts.push(Template::constant(text.to_owned()));
    match json {
        Value::Null | Value::Bool(_) | Value::Number(_) => text(&json.to_string()),
        Value::String(string) => {
            text("\"");
            match Template::parse(string, scope) {
                Ok(template) => parts.push(template.with_text_escaped(Escape::Json)),
                Err(rejected) => issues.add(at, rejected.code, rejected.problem),
            }
            parts.push(Template::constant("\"".to_owned()));
        }
        Value::Array(items) => {
            text("[");
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    parts.push(Template::constant(",".to_owned()));
                }
                collect_json(item, &format!("{at}/{i}"), scope, (parts, issues));
            }
            parts.push(Template::constant("]".to_owned()));
        }
        Value::Object(fields) => {
            text("{");
            for (i, (name, value)) in fields.iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                let name_text = Value::String(name.clone());
                parts.push(Template::constant(format!("{comma}{name_text}:")));
                let place = format!("{at}/{}", escape(name));
                collect_json(value, &place, scope, (parts, issues));
            }
            parts.push(Template::constant("}".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests;
