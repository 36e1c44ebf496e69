//! A request, read.

use serde_json::Value;

use super::WIRE;
use super::block::read_content;
use super::tools::{read_choice, read_tool};
use crate::chat::{
    Chat, Content, Effort, JsonSchema, Message, OutputFormat, Reasoning, ReasoningMode, Role,
    Sampling, ServiceTier,
};
use crate::error::LlmError;
use crate::json::{self, At, Fields};
use crate::rest::Rest;

pub(crate) fn parse(body: &[u8]) -> Result<Chat, LlmError> {
    let root = At::ROOT;
    let mut fields = Fields::of(json::parse(body)?, &root)?;
    let (reasoning, output) = reasoning_and_output(&mut fields)?;
    let mut chat = Chat {
        origin: Some(WIRE),
        model: fields.required_text("model")?,
        max_output_tokens: fields.count("max_tokens")?,
        sampling: sampling(&mut fields)?,
        reasoning,
        output,
        service_tier: fields.text("service_tier")?.map(service_tier),
        is_stream: is_stream(&mut fields)?,
        // Streams of this format always end with it.
        wants_usage: true,
        ..Chat::default()
    };
    if chat.max_output_tokens.is_none() {
        return Err(fields.malformed("max_tokens", "this is required"));
    }
    let user = fields.get("metadata").and_then(|metadata| metadata.get("user_id"));
    chat.user = user.and_then(Value::as_str).map(str::to_owned);
    chat.messages = messages(&mut fields)?;
    let at = root.name("tools");
    let tools = fields.list("tools")?;
    if tools.as_ref().is_some_and(Vec::is_empty) {
        fields.put("tools", Value::Array(Vec::new()));
    }
    for (i, tool) in tools.into_iter().flatten().enumerate() {
        chat.tools.push(read_tool(tool, &at.item(i))?);
    }
    if let Some(choice) = fields.take("tool_choice") {
        let (choice, parallel) = read_choice(choice, &root.name("tool_choice"))?;
        (chat.tool_choice, chat.parallel_tool_calls) = (Some(choice), parallel);
    }
    chat.rest = Rest::new(WIRE, fields.left());
    Ok(chat)
}

/// The instructions, then what was said.
fn messages(fields: &mut Fields<'_>) -> Result<Vec<Message>, LlmError> {
    let mut messages = Vec::new();
    if let Some(system) = fields.take("system") {
        let content = read_content(system, &At::ROOT.name("system"))?;
        messages.push(Message { role: Role::System, content, rest: Rest::default() });
    }
    let root = At::ROOT;
    let at = root.name("messages");
    let said = fields.list("messages")?.unwrap_or_default();
    if said.is_empty() {
        return Err(at.malformed("at least one message is required"));
    }
    for (i, value) in said.into_iter().enumerate() {
        messages.push(message(value, &at.item(i))?);
    }
    Ok(messages)
}

fn message(value: Value, at: &At<'_>) -> Result<Message, LlmError> {
    let mut fields = Fields::of(value, at)?;
    let role = match fields.required_text("role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(fields.malformed("role", "there is no such role")),
    };
    let Some(content) = fields.take("content") else {
        return Err(fields.malformed("content", "this is required"));
    };
    let content: Content = read_content(content, &at.name("content"))?;
    Ok(Message { role, content, rest: Rest::new(WIRE, fields.left()) })
}

fn is_stream(fields: &mut Fields<'_>) -> Result<bool, LlmError> {
    let Some(value) = fields.get("stream") else { return Ok(false) };
    let problem = "true or false is expected here";
    let is_stream = value.as_bool().ok_or_else(|| fields.malformed("stream", problem))?;
    if is_stream {
        fields.take("stream");
    }
    Ok(is_stream)
}

fn sampling(fields: &mut Fields<'_>) -> Result<Sampling, LlmError> {
    let mut stop = Vec::new();
    if let Some(texts) = fields.list("stop_sequences")? {
        let problem = "a list of texts is expected here";
        for text in &texts {
            let text = text.as_str().ok_or_else(|| fields.malformed("stop_sequences", problem))?;
            stop.push(text.to_owned());
        }
        if texts.is_empty() {
            fields.put("stop_sequences", Value::Array(texts));
        }
    }
    Ok(Sampling {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.number("top_k")?,
        stop,
        ..Sampling::default()
    })
}

fn reasoning_and_output(
    fields: &mut Fields<'_>,
) -> Result<(Reasoning, Option<OutputFormat>), LlmError> {
    let mut reasoning = Reasoning { mode: mode(fields)?, effort: None };
    let mut output = None;
    if let Some(config) = fields.take("output_config") {
        let at = At::ROOT;
        let at = at.name("output_config");
        let mut config = Fields::of(config, &at)?.left();
        let effort = config.get("effort").and_then(Value::as_str).and_then(Effort::of_word);
        if effort.is_some() {
            reasoning.effort = effort;
            config.shift_remove("effort");
        }
        output = config.get("format").and_then(schema);
        if output.is_some() {
            config.shift_remove("format");
        }
        if !config.is_empty() {
            fields.put("output_config", config.into());
        }
    }
    Ok((reasoning, output))
}

/// What there is beside the mode, and a mode that is not known, stays.
fn mode(fields: &mut Fields<'_>) -> Result<Option<ReasoningMode>, LlmError> {
    let Some(thinking) = fields.get("thinking").cloned() else { return Ok(None) };
    let root = At::ROOT;
    let at = root.name("thinking");
    let mut thinking = Fields::of(thinking, &at)?;
    let mode = match thinking.look("type") {
        Some("enabled") => {
            let budget = thinking.count("budget_tokens")?;
            let problem = "this is required";
            let budget = budget.ok_or_else(|| thinking.malformed("budget_tokens", problem))?;
            ReasoningMode::Budget(budget)
        }
        Some("adaptive") => ReasoningMode::Adaptive,
        Some("disabled") => ReasoningMode::Off,
        Some(_) => return Ok(None),
        None => return Err(thinking.malformed("type", "this is required")),
    };
    thinking.take("type");
    fields.take("thinking");
    let left = thinking.left();
    if !left.is_empty() {
        fields.put("thinking", left.into());
    }
    Ok(Some(mode))
}

/// A format with more to it than is known stays whole.
fn schema(format: &Value) -> Option<OutputFormat> {
    let fields = format.as_object()?;
    let is_known = fields.keys().all(|name| name == "type" || name == "schema");
    if !is_known || fields.get("type")? != "json_schema" {
        return None;
    }
    let schema = fields.get("schema")?.clone();
    Some(OutputFormat::JsonSchema(JsonSchema { schema: Some(schema), ..JsonSchema::default() }))
}

fn service_tier(word: String) -> ServiceTier {
    match word.as_str() {
        "auto" => ServiceTier::Auto,
        "standard_only" => ServiceTier::Standard,
        _ => ServiceTier::Other(word),
    }
}
