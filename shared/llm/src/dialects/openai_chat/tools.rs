//! Tools and calls of them, as chat completions write them.

use serde_json::{Map, Value};

use super::WIRE;
use super::message::cache_mark;
use crate::chat::{Function, Part, Piece, Tool, ToolChoice};
use crate::error::LlmError;
use crate::json::{self, At, Fields};
use crate::rest::Rest;

/// Reads a call; its id is empty where it has none. One of a tool that takes free text is this format's own.
pub(super) fn read_tool_call(value: Value, at: &At<'_>) -> Result<Part, LlmError> {
    let mut fields = Fields::of(value, at)?;
    if fields.look("type").is_some_and(|of_type| of_type != "function") {
        let rest = Rest::new(WIRE, fields.left());
        return Ok(Part { rest, ..Part::new(Piece::Other) });
    }
    fields.take("type");
    let id = fields.text("id")?.unwrap_or_default();
    let inner_at = at.name("function");
    let function = fields.take("function").ok_or_else(|| inner_at.malformed("this is required"))?;
    let mut function = Fields::of(function, &inner_at)?;
    let name = function.required_text("name")?;
    let arguments = match function.take("arguments") {
        None => String::new(),
        Some(Value::String(text)) => text,
        // Some vendors write the object itself.
        Some(value @ Value::Object(_)) => json::text(&value),
        Some(_) => return Err(function.malformed("arguments", "a text is expected here")),
    };
    let left = function.left();
    if !left.is_empty() {
        fields.put("function", left.into());
    }
    let rest = Rest::new(WIRE, fields.left());
    Ok(Part { rest, ..Part::new(Piece::ToolCall { id, name, arguments }) })
}

/// Writes a call.
pub(crate) fn write_tool_call(id: &str, name: &str, arguments: &str) -> Map<String, Value> {
    let function = json::object([("name", name.into()), ("arguments", arguments.into())]);
    json::object([("id", id.into()), ("type", "function".into()), ("function", function.into())])
}

/// Reads a tool.
pub(super) fn read_tool(value: Value, at: &At<'_>) -> Result<Tool, LlmError> {
    let mut fields = Fields::of(value, at)?;
    if fields.look("type") != Some("function") {
        return match fields.look("type") {
            Some(_) => Ok(Tool::Other(Rest::new(WIRE, fields.left()))),
            None => Err(fields.malformed("type", "this is required")),
        };
    }
    fields.take("type");
    let cache = cache_mark(&fields);
    let inner_at = at.name("function");
    let function = fields.take("function").ok_or_else(|| inner_at.malformed("this is required"))?;
    let mut function = Fields::of(function, &inner_at)?;
    let mut tool = Function {
        name: function.required_text("name")?,
        description: function.text("description")?,
        parameters: function.take("parameters"),
        strict: function.flag("strict")?,
        cache,
        rest: Rest::default(),
    };
    if tool.parameters.as_ref().is_some_and(|parameters| !parameters.is_object()) {
        return Err(function.malformed("parameters", "an object is expected here"));
    }
    let left = function.left();
    if !left.is_empty() {
        fields.put("function", left.into());
    }
    tool.rest = Rest::new(WIRE, fields.left());
    Ok(Tool::Function(tool))
}

/// Reads whether tools may or must be called.
pub(super) fn read_choice(value: Value, at: &At<'_>) -> Result<ToolChoice, LlmError> {
    if let Some(word) = value.as_str() {
        return match word {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(at.malformed("there is no such choice")),
        };
    }
    if let Some(name) = named(&value) {
        return Ok(ToolChoice::Named(name));
    }
    if let Some(allowed) = allowed(&value) {
        return Ok(allowed);
    }
    let fields = Fields::of(value, at)?;
    if fields.look("type").is_none() {
        return Err(fields.malformed("type", "this is required"));
    }
    Ok(ToolChoice::Other(Rest::new(WIRE, fields.left())))
}

/// `{type: function, function: {name}}`, and nothing more.
fn named(value: &Value) -> Option<String> {
    let name = value.get("function")?.get("name")?.as_str()?;
    (*value == write_named(name)).then(|| name.to_owned())
}

fn write_named(name: &str) -> Value {
    let function = json::object([("name", name.into())]);
    json::object([("type", "function".into()), ("function", function.into())]).into()
}

/// `{type: allowed_tools, allowed_tools: {mode, tools}}` of functions, and nothing more.
fn allowed(value: &Value) -> Option<ToolChoice> {
    let inner = value.get("allowed_tools")?;
    let is_required = match inner.get("mode")?.as_str()? {
        "auto" => false,
        "required" => true,
        _ => return None,
    };
    let names = inner.get("tools")?.as_array()?.iter().map(named).collect::<Option<Vec<_>>>()?;
    let choice = ToolChoice::Allowed { names, is_required };
    (write_choice(&choice, str::to_owned).as_ref() == Some(value)).then_some(choice)
}

/// Writes whether tools may or must be called; nothing for a choice of another format.
pub(crate) fn write_choice(choice: &ToolChoice, sent: impl Fn(&str) -> String) -> Option<Value> {
    Some(match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => write_named(&sent(name)),
        ToolChoice::Allowed { names, is_required } => {
            let tools = names.iter().map(|name| write_named(&sent(name))).collect::<Vec<_>>();
            let mode = if *is_required { "required" } else { "auto" };
            let inner = json::object([("mode", mode.into()), ("tools", tools.into())]);
            json::object([("type", "allowed_tools".into()), ("allowed_tools", inner.into())]).into()
        }
        ToolChoice::Other(rest) => Value::Object(rest.object(WIRE)?.clone()),
    })
}
