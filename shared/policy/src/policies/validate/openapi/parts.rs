//! The parts of an operation: parameters, bodies, answers.

use std::collections::BTreeMap;

use http::HeaderName;
use serde_json::{Map, Value};
use tollgate_model::issue::escape;

use super::parameter::{Parameter, Place, Style};
use super::{Written, field_name};
use crate::policies::validate::media::Contents;
use crate::policies::validate::operation::{AnswerRule, Answers, BodyRule, Required, Statuses};
use crate::policies::validate::schema::{Builder, NodeId, Scalar, Shape};

/// Parameters in these fields are told elsewhere in the document (OpenAPI 3.1.1, "Parameter Object").
const NO_PARAMETERS: [&str; 3] = ["accept", "content-type", "authorization"];

/// Parameters and body of a request.
pub(super) fn of_request(
    builder: &mut Builder<'_, '_>,
    written: &Written,
) -> (Box<[Parameter]>, Option<BodyRule>) {
    let parameters = parameters(builder, written);
    let body = builder.resolve(&format!("{}/requestBody", written.operation));
    let body = body.map(|(at, body)| {
        let is_required = body.get("required") == Some(&Value::Bool(true));
        BodyRule {
            required: if is_required { Required::Always } else { Required::Never },
            contents: contents(builder, &at, body),
        }
    });
    (parameters, body)
}

/// Those of the path item, and over them those of the operation.
fn parameters(builder: &mut Builder<'_, '_>, written: &Written) -> Box<[Parameter]> {
    let mut found: BTreeMap<(String, Box<str>), Parameter> = BTreeMap::new();
    for holder in [&written.item, &written.operation] {
        let list = builder.list(holder, "parameters");
        for place in 0..list {
            let at = format!("{holder}/parameters/{place}");
            let Some((at, Value::Object(members))) = builder.resolve(&at) else { continue };
            let Some((place, parameter)) = parameter(builder, &at, members) else { continue };
            if parameter.place == Place::Path && !written.names.contains(&parameter.name) {
                let problem = "is not in the path; write it there as `{name}`, or take it out";
                builder.faults.add(&format!("{at}/name"), "unknown_parameter", problem);
            }
            found.insert((place, parameter.name.clone()), parameter);
        }
    }
    for name in &written.names {
        if !found.contains_key(&("path".to_owned(), name.clone())) {
            let problem = format!(
                "does not describe the parameter `{name}` of its path; add it to `parameters`"
            );
            builder.faults.add(&written.operation, "missing_parameter", problem);
        }
    }
    found.into_values().collect()
}

/// One parameter, and where it says that it stands; none where it is not looked at.
fn parameter(
    builder: &mut Builder<'_, '_>,
    at: &str,
    members: &Map<String, Value>,
) -> Option<(String, Parameter)> {
    let text = |key: &str| members.get(key).and_then(Value::as_str);
    let (Some(name), Some(place)) = (text("name"), text("in")) else {
        let problem = "has no `name` or no `in`; give both, such as `name: limit` and `in: query`";
        builder.faults.add(at, "missing_field", problem);
        return None;
    };
    let own_place = match place {
        "path" => Place::Path,
        "query" => Place::Query,
        "cookie" => Place::Cookie,
        "header" => {
            if NO_PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                return None;
            }
            let Some(field) = field_name(name) else {
                builder.faults.add(&format!("{at}/name"), "invalid_header_name", "is not a field");
                return None;
            };
            Place::Header(field)
        }
        _ => {
            let problem = "is not a place; give path, query, header or cookie";
            builder.faults.add(&format!("{at}/in"), "unknown_value", problem);
            return None;
        }
    };
    let (node, style, shape) = value(builder, at, members, &own_place)?;
    let is_flag = |key: &str| members.get(key) == Some(&Value::Bool(true));
    let parameter = Parameter {
        is_required: is_flag("required") || own_place == Place::Path,
        allows_empty: is_flag("allowEmptyValue"),
        place: own_place,
        name: name.into(),
        style,
        shape,
        node,
    };
    Some((place.to_owned(), parameter))
}

/// The schema of a value, and how the value is written.
fn value(
    builder: &mut Builder<'_, '_>,
    at: &str,
    members: &Map<String, Value>,
    place: &Place,
) -> Option<(NodeId, Style, Shape)> {
    if members.contains_key("schema") {
        let pointer = format!("{at}/schema");
        let shape = builder.shape(&pointer);
        let style = style(builder, at, members, (place, &shape))?;
        return Some((builder.schema(&pointer), style, shape));
    }
    let content = members.get("content").and_then(Value::as_object).and_then(|c| c.keys().next());
    match content {
        Some(media) if crate::policies::validate::media::is_json(media) => {
            let pointer = format!("{at}/content/{}/schema", escape(media));
            let node = builder.at(&pointer).is_some().then(|| builder.schema(&pointer))?;
            Some((node, Style::Json, Shape::Scalar(Scalar::TEXT)))
        }
        // Nothing is asked of it.
        _ => None,
    }
}

fn style(
    builder: &mut Builder<'_, '_>,
    at: &str,
    members: &Map<String, Value>,
    (place, shape): (&Place, &Shape),
) -> Option<Style> {
    let is_form = matches!(place, Place::Query | Place::Cookie);
    let default = if is_form { "form" } else { "simple" };
    let name = members.get("style").and_then(Value::as_str).unwrap_or(default);
    let explodes = members.get("explode").and_then(Value::as_bool).unwrap_or(name == "form");
    let is_object = matches!(shape, Shape::Object(_));
    let style = match (name, place) {
        // A cookie is one text: nothing says where a second one would be.
        ("form", Place::Cookie) if explodes && matches!(shape, Shape::Scalar(_)) => Style::Commas,
        ("form", Place::Query) if explodes => Style::Exploded,
        ("form", Place::Query) => Style::Commas,
        ("form", Place::Cookie) if !explodes => Style::Commas,
        ("simple", Place::Path | Place::Header(_)) if explodes && is_object => Style::Assignments,
        ("simple", Place::Path | Place::Header(_)) => Style::Commas,
        ("spaceDelimited", Place::Query) if !explodes && !is_object => Style::Spaces,
        ("pipeDelimited", Place::Query) if !explodes && !is_object => Style::Pipes,
        ("deepObject", Place::Query) if is_object => Style::Deep,
        _ => {
            let problem = "is not known here with this `explode` and `schema`; known: form (query; cookie without \
                 `explode`), simple (path, header), spaceDelimited and pipeDelimited (query, lists, without `explode`), \
                 deepObject (query, objects)";
            builder.faults.add(&format!("{at}/style"), "unsupported_style", problem);
            return None;
        }
    };
    Some(style)
}

/// The media types of a body.
fn contents(builder: &mut Builder<'_, '_>, at: &str, holder: &Value) -> Contents {
    let mut contents = Contents::default();
    let Some(members) = holder.as_object() else { return contents };
    let ranges = members.get("content").and_then(Value::as_object);
    for (range, media) in ranges.into_iter().flatten() {
        let pointer = format!("{at}/content/{}", escape(range));
        let schema = format!("{pointer}/schema");
        let has_schema = media.get("schema").is_some();
        let node = has_schema.then(|| builder.schema(&schema));
        let shape = if has_schema && range.to_ascii_lowercase().contains("form") {
            builder.shape(&schema)
        } else {
            Shape::Object(Box::default())
        };
        if !contents.add(range, node, shape) {
            let problem = "is not a media type such as application/json or text/*";
            builder.faults.add(&pointer, "invalid_media_type", problem);
        }
    }
    contents
}

/// What is asked of answers.
pub(super) fn of_answers(builder: &mut Builder<'_, '_>, written: &Written) -> Answers {
    let at = format!("{}/responses", written.operation);
    let mut answers = Answers { rules: Vec::new(), is_closed: true };
    let Some(Value::Object(members)) = builder.at(&at) else {
        builder.faults.add(&at, "missing_field", "is not here; give the responses");
        return answers;
    };
    for status in members.keys().filter(|status| !status.starts_with("x-")) {
        let pointer = format!("{at}/{}", escape(status));
        let Some(statuses) = statuses(status) else {
            let problem = "is no status; give one such as 200, 4XX or default";
            builder.faults.add(&pointer, "unknown_status", problem);
            continue;
        };
        let Some((pointer, answer)) = builder.resolve(&pointer) else { continue };
        let contents = contents(builder, &pointer, answer);
        let body =
            (!contents.is_empty()).then_some(BodyRule { required: Required::Always, contents });
        answers.rules.push((statuses, AnswerRule { fields: fields(builder, &pointer), body }));
    }
    answers.rules.sort_by_key(|(statuses, _)| *statuses);
    answers
}

fn statuses(text: &str) -> Option<Statuses> {
    if text == "default" {
        return Some(Statuses::Default);
    }
    let hundred = text.strip_suffix("XX").and_then(|hundred| hundred.parse().ok());
    match hundred {
        Some(hundred @ 1..=5) => Some(Statuses::Hundred(hundred)),
        Some(_) => None,
        None => text.parse().ok().filter(|code| (100..600).contains(code)).map(Statuses::Exactly),
    }
}

fn fields(builder: &mut Builder<'_, '_>, at: &str) -> Box<[Parameter]> {
    let mut fields = Vec::new();
    let names: Vec<String> = match builder.at(&format!("{at}/headers")) {
        Some(Value::Object(members)) => members.keys().cloned().collect(),
        _ => Vec::new(),
    };
    for name in names.iter().filter(|name| !name.eq_ignore_ascii_case("content-type")) {
        let pointer = format!("{at}/headers/{}", escape(name));
        let Some(field): Option<HeaderName> = field_name(name) else {
            builder.faults.add(&pointer, "invalid_header_name", "is not a field");
            continue;
        };
        let Some((pointer, Value::Object(members))) = builder.resolve(&pointer) else { continue };
        let place = Place::Header(field);
        if let Some((node, style, shape)) = value(builder, &pointer, members, &place) {
            fields.push(Parameter {
                place,
                name: name.as_str().into(),
                is_required: members.get("required") == Some(&Value::Bool(true)),
                allows_empty: false,
                style,
                shape,
                node,
            });
        }
    }
    fields.into()
}
