//! Messages and their parts, as chat completions write them.

use serde_json::{Map, Value, json};

use super::WIRE;
use super::tools::read_tool_call;
use crate::chat::{CacheMark, CacheTtl, Content, Form, Message, Part, Piece, Role, Source};
use crate::error::LlmError;
use crate::json::{At, Fields};
use crate::rest::Rest;

/// Reads a message of a conversation.
pub(super) fn read(value: Value, at: &At<'_>) -> Result<Message, LlmError> {
    let mut fields = Fields::of(value, at)?;
    let role = fields.required_text("role")?;
    let role = match role.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        "function" => {
            return Err(fields.malformed("role", "functions are not taken; say it with tools"));
        }
        _ => return Err(fields.malformed("role", "there is no such role")),
    };
    let content = match role {
        Role::System | Role::Developer | Role::User => required_content(&mut fields)?,
        Role::Tool => {
            let id = fields.required_text("tool_call_id")?;
            let content = required_content(&mut fields)?;
            let result = Piece::ToolResult { id, content, is_error: None };
            Content { parts: vec![Part::new(result)], form: Form::Any }
        }
        Role::Assistant => {
            let content = read_assistant(&mut fields)?;
            let without_id =
                |part: &Part| matches!(&part.piece, Piece::ToolCall { id, .. } if id.is_empty());
            if content.parts.iter().any(without_id) {
                return Err(fields.malformed("tool_calls", "a call needs an id"));
            }
            content
        }
    };
    Ok(Message { role, content, rest: Rest::new(WIRE, fields.left()) })
}

/// Reads what a model said, in a conversation or in an answer: what was reasoned, then content, then calls.
pub(crate) fn read_assistant(fields: &mut Fields<'_>) -> Result<Content, LlmError> {
    let mut parts = reasoning(fields);
    let content = content(fields)?.unwrap_or_default();
    parts.extend(content.parts);
    // A refusal in the list of parts is one already.
    if content.form != Form::List
        && let Some(refusal) = fields.text("refusal")?
    {
        parts.push(Part::new(Piece::Refusal(refusal)));
    }
    let at = fields.at();
    let at = at.name("tool_calls");
    if fields.get("tool_calls").is_some_and(|calls| *calls != json!([])) {
        for (i, call) in fields.list("tool_calls")?.into_iter().flatten().enumerate() {
            parts.push(read_tool_call(call, &at.item(i))?);
        }
    }
    Ok(Content { parts, form: content.form })
}

/// What was reasoned: with signatures where it has them. The fields stay, so that they can be written as they came.
pub(crate) fn reasoning(fields: &Fields<'_>) -> Vec<Part> {
    let blocks = fields.get("thinking_blocks").and_then(Value::as_array);
    let blocks: Vec<Part> = blocks.into_iter().flatten().filter_map(thinking_block).collect();
    if !blocks.is_empty() {
        return blocks;
    }
    let text = fields.look("reasoning_content").or_else(|| fields.look("reasoning"));
    let text = text.filter(|text| !text.is_empty());
    let part = |text: &str| Part::new(Piece::Reasoning { text: text.to_owned(), signature: None });
    text.map(part).into_iter().collect()
}

fn thinking_block(block: &Value) -> Option<Part> {
    let text = |name: &str| block.get(name).and_then(Value::as_str);
    match text("type")? {
        "thinking" => {
            let signature = text("signature").filter(|signature| !signature.is_empty());
            let thinking = text("thinking").unwrap_or_default().to_owned();
            let signature = signature.map(str::to_owned);
            Some(Part::new(Piece::Reasoning { text: thinking, signature }))
        }
        "redacted_thinking" => Some(Part::new(Piece::RedactedReasoning(text("data")?.to_owned()))),
        _ => None,
    }
}

/// Writes a block of what was reasoned, where it is one that can be sent back.
pub(crate) fn write_thinking_block(part: &Part) -> Option<Value> {
    match &part.piece {
        Piece::Reasoning { text, signature: Some(signature) } if !signature.is_empty() => {
            Some(json!({ "type": "thinking", "thinking": text, "signature": signature }))
        }
        Piece::RedactedReasoning(data) => {
            Some(json!({ "type": "redacted_thinking", "data": data }))
        }
        Piece::Reasoning { .. }
        | Piece::Text(_)
        | Piece::Image(_)
        | Piece::Document { .. }
        | Piece::Audio { .. }
        | Piece::ToolCall { .. }
        | Piece::ToolResult { .. }
        | Piece::Refusal(_)
        | Piece::Other => None,
    }
}

/// Writes what was reasoned into a message: as it came where it is the same still.
pub(crate) fn write_reasoning(parts: &[Part], rest: &Rest, message: &mut Map<String, Value>) {
    let is_reasoning =
        |part: &&Part| matches!(part.piece, Piece::Reasoning { .. } | Piece::RedactedReasoning(_));
    let parts: Vec<&Part> = parts.iter().filter(is_reasoning).collect();
    if let Some(written) = rest.object(WIRE) {
        let at = At::ROOT;
        let written = Fields::of(Value::Object(written.clone()), &at);
        let written = written.map(|fields| reasoning(&fields)).unwrap_or_default();
        if written.iter().collect::<Vec<_>>() == parts {
            return;
        }
    }
    let mut text = String::new();
    for part in &parts {
        if let Piece::Reasoning { text: more, .. } = &part.piece {
            text.push_str(more);
        }
    }
    let blocks: Vec<Value> = parts.iter().filter_map(|part| write_thinking_block(part)).collect();
    if !text.is_empty() {
        message.insert("reasoning_content".to_owned(), text.into());
    }
    if !blocks.is_empty() {
        message.insert("thinking_blocks".to_owned(), blocks.into());
    }
    // What came and is not so any more must not come back with the rest.
    for name in ["reasoning_content", "reasoning", "thinking_blocks"] {
        if rest.get(WIRE, name).is_some() {
            message.entry(name).or_insert(Value::Null);
        }
    }
}

fn required_content(fields: &mut Fields<'_>) -> Result<Content, LlmError> {
    content(fields)?.ok_or_else(|| fields.malformed("content", "this is required"))
}

fn content(fields: &mut Fields<'_>) -> Result<Option<Content>, LlmError> {
    let at = fields.at();
    let at = at.name("content");
    match fields.take("content") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(Content::text(text))),
        Some(Value::Array(parts)) => {
            let part = |(i, part)| read_part(part, &at.item(i));
            let parts = parts.into_iter().enumerate().map(part).collect::<Result<_, _>>()?;
            Ok(Some(Content { parts, form: Form::List }))
        }
        Some(_) => Err(at.malformed("a text or a list of parts is expected here")),
    }
}

fn read_part(value: Value, at: &At<'_>) -> Result<Part, LlmError> {
    let mut fields = Fields::of(value, at)?;
    let cache = cache_mark(&fields);
    let piece = match fields.look("type") {
        Some("text") => Some(Piece::Text(fields.required_text("text")?)),
        Some("refusal") => Some(Piece::Refusal(fields.required_text("refusal")?)),
        Some("image_url") => Some(image(&mut fields)?),
        Some("input_audio") => audio(&mut fields)?,
        Some("file") => file(&mut fields)?,
        Some(_) => None,
        None => return Err(fields.malformed("type", "this is required")),
    };
    let Some(piece) = piece else {
        let rest = Rest::new(WIRE, fields.left());
        return Ok(Part { piece: Piece::Other, cache, rest });
    };
    fields.take("type");
    Ok(Part { piece, cache, rest: Rest::new(WIRE, fields.left()) })
}

/// The mark stays as well, so that it can be written as it came.
pub(super) fn cache_mark(fields: &Fields<'_>) -> Option<CacheMark> {
    if let Some(mark) = fields.get("cache_control") {
        let ttl = match mark.get("ttl").and_then(Value::as_str) {
            Some("1h") => Some(CacheTtl::Hour),
            Some("5m") => Some(CacheTtl::FiveMinutes),
            Some(_) | None => None,
        };
        return Some(CacheMark { ttl });
    }
    fields.get("prompt_cache_breakpoint").map(|_| CacheMark::default())
}

fn image(fields: &mut Fields<'_>) -> Result<Piece, LlmError> {
    let at = fields.at();
    let at = at.name("image_url");
    let image = fields.take("image_url").ok_or_else(|| at.malformed("this is required"))?;
    let mut image = Fields::of(image, &at)?;
    let url = image.required_text("url")?;
    let left = image.left();
    if !left.is_empty() {
        fields.put("image_url", left.into());
    }
    Ok(Piece::Image(source(url)))
}

/// Bytes where a URL holds them.
fn source(url: String) -> Source {
    let parts = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match parts {
        Some((media_type, data)) => {
            Source::Base64 { media_type: media_type.to_owned(), data: data.to_owned() }
        }
        None => Source::Url(url),
    }
}

fn audio(fields: &mut Fields<'_>) -> Result<Option<Piece>, LlmError> {
    let at = fields.at();
    let at = at.name("input_audio");
    // Others than OpenAI write a text here.
    let Some(Value::Object(_)) = fields.get("input_audio") else { return Ok(None) };
    let Some(value) = fields.take("input_audio") else { return Ok(None) };
    let mut audio = Fields::of(value, &at)?;
    let (base64, format) = (audio.required_text("data")?, audio.required_text("format")?);
    let left = audio.left();
    if !left.is_empty() {
        fields.put("input_audio", left.into());
    }
    Ok(Some(Piece::Audio { base64, format }))
}

/// A file whose bytes are here; any other is its provider's own.
fn file(fields: &mut Fields<'_>) -> Result<Option<Piece>, LlmError> {
    let at = fields.at();
    let at = at.name("file");
    let data = fields.get("file").and_then(|file| file.get("file_data")).and_then(Value::as_str);
    if !data.is_some_and(|data| data.starts_with("data:") && data.contains(";base64,")) {
        return Ok(None);
    }
    let Some(value) = fields.take("file") else { return Ok(None) };
    let mut file = Fields::of(value, &at)?;
    let source = source(file.required_text("file_data")?);
    let title = file.text("filename")?;
    let left = file.left();
    if !left.is_empty() {
        fields.put("file", left.into());
    }
    Ok(Some(Piece::Document { source, title }))
}
