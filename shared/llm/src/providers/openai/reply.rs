//! A whole answer, read.

use serde_json::{Map, Value, json};

use super::WIRE;
use crate::chat::{Form, Part, Piece};
use crate::dialects::openai_chat::message::read_assistant;
use crate::dialects::openai_chat::{finish_of, usage};
use crate::error::LlmError;
use crate::json::{self, At, Fields};
use crate::reply::{Finish, FinishReason, Reply};
use crate::rest::Rest;
use crate::target::Reading;

pub(crate) fn parse(body: &[u8], reading: &Reading) -> Result<Reply, LlmError> {
    let root = At::ROOT;
    let mut fields = Fields::of(json::parse(body)?, &root)?;
    let mut reply = Reply {
        id: fields.text("id")?.unwrap_or_default(),
        model: fields.text("model")?.unwrap_or_default(),
        created_secs: fields.count("created")?,
        usage: fields.get("usage").and_then(usage::read),
        service_tier: fields.text("service_tier")?,
        ..Reply::default()
    };
    fields.drop_constant("object", "chat.completion");
    let at = root.name("choices");
    let mut choices = fields.list("choices")?.unwrap_or_default().into_iter();
    let (Some(choice), None) = (choices.next(), choices.next()) else {
        return Err(at.malformed("one answer is expected here"));
    };
    let left = choice_into(choice, &mut reply, reading)?;
    if !left.is_empty() {
        fields.put("choices", left.into());
    }
    reply.rest = Rest::new(WIRE, fields.left());
    Ok(reply)
}

/// Reads the only choice; what is left of it stays in the rest of the whole.
fn choice_into(
    choice: Value,
    reply: &mut Reply,
    reading: &Reading,
) -> Result<Map<String, Value>, LlmError> {
    let root = At::ROOT;
    let at = root.name("choices");
    let at = at.item(0);
    let mut choice = Fields::of(choice, &at)?;
    if choice.get("index") == Some(&json!(0)) {
        choice.take("index");
    }
    let word = choice.text("finish_reason")?.unwrap_or_default();
    let message_at = at.name("message");
    let message = choice.take("message");
    let message = message.ok_or_else(|| message_at.malformed("this is required"))?;
    let mut message = Fields::of(message, &message_at)?;
    message.drop_constant("role", "assistant");
    let content = read_assistant(&mut message)?;
    let is_list = content.form == Form::List;
    reply.parts = content.parts;
    // The empty text says nothing; the same format gets it back.
    let is_nothing = |part: &Part| matches!(&part.piece, Piece::Text(text) if text.is_empty());
    if !is_list && reply.parts.iter().any(is_nothing) {
        reply.parts.retain(|part| !is_nothing(part));
        message.put("content", "".into());
    }
    name_calls(reply, reading);
    reply.finish = Finish { reason: finish_of(&word), ..Finish::default() };
    let calls = |part: &Part| matches!(part.piece, Piece::ToolCall { .. });
    // Several vendors say that all was said where calls are to be done.
    if reply.finish.reason == FinishReason::End && reply.parts.iter().any(calls) {
        reply.finish.reason = FinishReason::ToolCalls;
    }
    let mut left = message.left();
    // A list is written back as the text that it is.
    if is_list {
        left.shift_remove("content");
    }
    if !left.is_empty() {
        choice.put("message", left.into());
    }
    let known = ["stop", "length", "tool_calls", "content_filter"];
    if !word.is_empty() && !known.contains(&word.as_str()) {
        choice.put("finish_reason", word.into());
    }
    Ok(choice.left())
}

/// Tools get the caller's names; calls without an id get one.
fn name_calls(reply: &mut Reply, reading: &Reading) {
    for (i, part) in reply.parts.iter_mut().enumerate() {
        if let Piece::ToolCall { id, name, .. } = &mut part.piece {
            *name = reading.name(std::mem::take(name));
            if id.is_empty() {
                *id = made_id(&reply.id, i);
            }
        }
    }
}

/// An id for a call that has none: its own in the conversation, since it is made of the answer's.
pub(super) fn made_id(reply: &str, number: usize) -> String {
    let letters = reply.chars().filter(char::is_ascii_alphanumeric).take(40);
    format!("call_{}_{number}", letters.collect::<String>())
}
