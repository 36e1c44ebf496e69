//! Tools and their choice, as messages write them.

use serde_json::{Map, Value, json};

use super::WIRE;
use super::block::{cache_mark, write_cache_mark};
use crate::chat::{Function, Tool, ToolChoice};
use crate::error::LlmError;
use crate::json::{self, At, Fields};
use crate::rest::Rest;

/// Reads a tool. One with a type of its own is run by the provider.
pub(super) fn read_tool(value: Value, at: &At<'_>) -> Result<Tool, LlmError> {
    let mut fields = Fields::of(value, at)?;
    if fields.look("type").is_some_and(|of_type| of_type != "custom") {
        return Ok(Tool::Other(Rest::new(WIRE, fields.left())));
    }
    let mut tool = Function {
        name: fields.required_text("name")?,
        description: fields.text("description")?,
        parameters: fields.take("input_schema"),
        strict: fields.flag("strict")?,
        cache: cache_mark(&mut fields),
        rest: Rest::default(),
    };
    if !tool.parameters.as_ref().is_some_and(Value::is_object) {
        return Err(fields.malformed("input_schema", "a JSON schema is required"));
    }
    tool.rest = Rest::new(WIRE, fields.left());
    Ok(Tool::Function(tool))
}

/// Writes a function under a name.
pub(crate) fn write_tool(tool: &Function, name: &str) -> Map<String, Value> {
    let mut schema = match &tool.parameters {
        Some(Value::Object(schema)) => schema.clone(),
        Some(_) | None => json::object([("properties", json!({}))]),
    };
    schema.entry("type").or_insert_with(|| "object".into());
    let mut written = json::object([("name", name.into())]);
    if let Some(description) = &tool.description {
        written.insert("description".to_owned(), description.as_str().into());
    }
    written.insert("input_schema".to_owned(), schema.into());
    if let Some(strict) = tool.strict {
        written.insert("strict".to_owned(), strict.into());
    }
    if let Some(mark) = tool.cache {
        written.insert("cache_control".to_owned(), write_cache_mark(mark));
    }
    tool.rest.complete(WIRE, &mut written);
    written
}

/// Reads the choice, and whether several calls may come at once.
pub(super) fn read_choice(
    value: Value,
    at: &At<'_>,
) -> Result<(ToolChoice, Option<bool>), LlmError> {
    let mut fields = Fields::of(value, at)?;
    let whole = fields.look("type").map(str::to_owned);
    let parallel = fields.flag("disable_parallel_tool_use")?.map(|is_disabled| !is_disabled);
    let choice = match whole.as_deref() {
        Some("auto") => ToolChoice::Auto,
        Some("any") => ToolChoice::Required,
        Some("none") => ToolChoice::None,
        Some("tool") => ToolChoice::Named(fields.required_text("name")?),
        Some(_) => return Ok((ToolChoice::Other(Rest::new(WIRE, fields.left())), parallel)),
        None => return Err(fields.malformed("type", "this is required")),
    };
    fields.take("type");
    if fields.left().is_empty() {
        Ok((choice, parallel))
    } else {
        Err(at.malformed("there is more to it than is known"))
    }
}

/// Writes the choice; nothing for one of another format.
pub(crate) fn write_choice(
    choice: &ToolChoice,
    parallel: Option<bool>,
    name: impl Fn(&str) -> String,
) -> Option<Map<String, Value>> {
    let mut written = match choice {
        ToolChoice::Auto | ToolChoice::Allowed { is_required: false, .. } => {
            json::object([("type", "auto".into())])
        }
        ToolChoice::Required | ToolChoice::Allowed { is_required: true, .. } => {
            json::object([("type", "any".into())])
        }
        // Nothing can be called at once where nothing is called at all.
        ToolChoice::None => return Some(json::object([("type", "none".into())])),
        ToolChoice::Named(named) => {
            json::object([("type", "tool".into()), ("name", name(named).into())])
        }
        ToolChoice::Other(rest) => rest.object(WIRE)?.clone(),
    };
    if let Some(is_parallel) = parallel {
        written.insert("disable_parallel_tool_use".to_owned(), (!is_parallel).into());
    }
    Some(written)
}
