//! A request, read.

use serde_json::{Value, json};

use super::tools::{read_choice, read_tool};
use super::{WIRE, message};
use crate::chat::{
    Chat, Effort, JsonSchema, OutputFormat, Reasoning, ReasoningMode, Sampling, ServiceTier,
};
use crate::error::LlmError;
use crate::json::{self, At, Fields};
use crate::rest::Rest;

pub(crate) fn parse(body: &[u8]) -> Result<Chat, LlmError> {
    let root = At::ROOT;
    let mut fields = Fields::of(json::parse(body)?, &root)?;
    let mut chat = Chat {
        origin: Some(WIRE),
        model: fields.required_text("model")?,
        sampling: sampling(&mut fields)?,
        max_output_tokens: max_output_tokens(&fields)?,
        parallel_tool_calls: fields.flag("parallel_tool_calls")?,
        reasoning: reasoning(&mut fields)?,
        output: output(&mut fields)?,
        service_tier: fields.text("service_tier")?.map(service_tier),
        user: fields.look("safety_identifier").or_else(|| fields.look("user")).map(str::to_owned),
        ..Chat::default()
    };
    if let Some(is_stream) = fields.get("stream") {
        let problem = "true or false is expected here";
        chat.is_stream = is_stream.as_bool().ok_or_else(|| fields.malformed("stream", problem))?;
        if chat.is_stream {
            fields.take("stream");
        }
    }
    let options = fields.get("stream_options").and_then(|options| options.get("include_usage"));
    chat.wants_usage = options.and_then(Value::as_bool).unwrap_or(false);
    let at = root.name("messages");
    let messages = fields.list("messages")?.unwrap_or_default();
    if messages.is_empty() {
        return Err(at.malformed("at least one message is required"));
    }
    for (i, value) in messages.into_iter().enumerate() {
        chat.messages.push(message::read(value, &at.item(i))?);
    }
    let at = root.name("tools");
    for (i, tool) in fields.list("tools")?.into_iter().flatten().enumerate() {
        chat.tools.push(read_tool(tool, &at.item(i))?);
    }
    if let Some(choice) = fields.take("tool_choice") {
        chat.tool_choice = Some(read_choice(choice, &root.name("tool_choice"))?);
    }
    chat.rest = Rest::new(WIRE, fields.left());
    Ok(chat)
}

fn sampling(fields: &mut Fields<'_>) -> Result<Sampling, LlmError> {
    Ok(Sampling {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.number("top_k")?,
        seed: fields.number("seed")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        presence_penalty: fields.number("presence_penalty")?,
        stop: stop(fields)?,
    })
}

/// One text stays as well: the hub has lists only.
fn stop(fields: &mut Fields<'_>) -> Result<Vec<String>, LlmError> {
    if let Some(text) = fields.look("stop") {
        return Ok(vec![text.to_owned()]);
    }
    let problem = "a text or a list of texts is expected here";
    let mut texts = Vec::new();
    let Some(value) = fields.take("stop") else { return Ok(texts) };
    for text in value.as_array().ok_or_else(|| fields.malformed("stop", problem))? {
        let text = text.as_str().ok_or_else(|| fields.malformed("stop", problem))?;
        texts.push(text.to_owned());
    }
    if texts.is_empty() {
        fields.put("stop", json!([]));
    }
    Ok(texts)
}

/// Both of its names stay: which of them a model takes is its own affair.
fn max_output_tokens(fields: &Fields<'_>) -> Result<Option<u64>, LlmError> {
    let mut most = None;
    for name in ["max_completion_tokens", "max_tokens"] {
        if let Some(value) = fields.get(name) {
            let problem = "a whole number from 0 is expected here";
            let tokens = value.as_u64().ok_or_else(|| fields.malformed(name, problem))?;
            most = most.or(Some(tokens));
        }
    }
    Ok(most)
}

fn reasoning(fields: &mut Fields<'_>) -> Result<Reasoning, LlmError> {
    let Some(word) = fields.text("reasoning_effort")? else { return Ok(Reasoning::default()) };
    if word == "none" {
        return Ok(Reasoning { mode: Some(ReasoningMode::Off), effort: None });
    }
    let effort = Effort::of_word(&word);
    if effort.is_none() {
        // New ones come without notice.
        fields.put("reasoning_effort", word.into());
    }
    Ok(Reasoning { mode: None, effort })
}

fn service_tier(word: String) -> ServiceTier {
    match word.as_str() {
        "auto" => ServiceTier::Auto,
        "default" => ServiceTier::Standard,
        _ => ServiceTier::Other(word),
    }
}

/// A format that is not known, or that has more to it than is known, stays whole.
fn output(fields: &mut Fields<'_>) -> Result<Option<OutputFormat>, LlmError> {
    let Some(value) = fields.take("response_format") else { return Ok(None) };
    let output = read_output(&value);
    let said = without_nulls(&value);
    let Some(output) = output.filter(|output| write_output(output) == said) else {
        if value.get("type").and_then(Value::as_str).is_none() {
            return Err(fields.malformed("response_format", "an object with a type is expected"));
        }
        fields.put("response_format", value);
        return Ok(None);
    };
    Ok(Some(output))
}

/// Two levels are all that there are.
fn without_nulls(value: &Value) -> Value {
    let mut value = value.clone();
    for inner in value.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
        if let Some(inner) = inner.as_object_mut() {
            inner.retain(|_, value| !value.is_null());
        }
    }
    value
}

fn read_output(value: &Value) -> Option<OutputFormat> {
    match value.get("type")?.as_str()? {
        "text" => Some(OutputFormat::Text),
        "json_object" => Some(OutputFormat::JsonObject),
        "json_schema" => {
            let schema = value.get("json_schema")?;
            let text = |name: &str| schema.get(name).and_then(Value::as_str).map(str::to_owned);
            Some(OutputFormat::JsonSchema(JsonSchema {
                name: text("name"),
                description: text("description"),
                schema: schema.get("schema").cloned(),
                strict: schema.get("strict").and_then(Value::as_bool),
            }))
        }
        _ => None,
    }
}

/// Writes what an answer must be.
pub(crate) fn write_output(output: &OutputFormat) -> Value {
    match output {
        OutputFormat::Text => json!({ "type": "text" }),
        OutputFormat::JsonObject => json!({ "type": "json_object" }),
        OutputFormat::JsonSchema(schema) => {
            let mut inner = json::object([]);
            let mut put = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    inner.insert(name.to_owned(), value);
                }
            };
            put("name", schema.name.clone().map(Value::from));
            put("description", schema.description.clone().map(Value::from));
            put("schema", schema.schema.clone());
            put("strict", schema.strict.map(Value::from));
            json!({ "type": "json_schema", "json_schema": inner })
        }
    }
}
