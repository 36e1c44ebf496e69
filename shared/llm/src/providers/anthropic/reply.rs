//! A whole answer, read.

use serde_json::Value;

use super::WIRE;
use crate::chat::{Part, Piece};
use crate::dialects::anthropic_messages::{block, finish_of, usage};
use crate::error::LlmError;
use crate::json::{self, At, Fields};
use crate::reply::{Finish, FinishReason, Reply};
use crate::rest::Rest;
use crate::target::Reading;

pub(crate) fn parse(body: &[u8], reading: &Reading) -> Result<Reply, LlmError> {
    let root = At::ROOT;
    let mut fields = Fields::of(json::parse(body)?, &root)?;
    let at = root.name("content");
    let mut parts = Vec::new();
    let content = fields.list("content")?.ok_or_else(|| at.malformed("this is required"))?;
    for (i, value) in content.into_iter().enumerate() {
        parts.push(caller_part(block::read(value, &at.item(i))?, reading));
    }
    let word = fields.text("stop_reason")?.unwrap_or_default();
    let mut finish = Finish {
        reason: finish_of(&word),
        stop_sequence: fields.text("stop_sequence")?,
        explanation: explanation(fields.get("stop_details")),
    };
    if reading.json_tool.is_some() && finish.reason == FinishReason::ToolCalls {
        finish.reason = FinishReason::End;
    }
    if is_unknown(&word) {
        fields.put("stop_reason", word.into());
    }
    let tier = fields.get("usage").and_then(|usage| usage.get("service_tier"));
    let service_tier = tier.and_then(Value::as_str).map(str::to_owned);
    fields.drop_constant("type", "message");
    fields.drop_constant("role", "assistant");
    Ok(Reply {
        id: fields.text("id")?.unwrap_or_default(),
        model: fields.text("model")?.unwrap_or_default(),
        created_secs: None,
        parts,
        finish,
        usage: fields.get("usage").and_then(usage::read),
        service_tier,
        rest: Rest::new(WIRE, fields.left()),
    })
}

/// A word that the hub has no reason for; it stays in the rest.
fn is_unknown(word: &str) -> bool {
    const KNOWN: [&str; 7] = [
        "end_turn",
        "stop_sequence",
        "max_tokens",
        "tool_use",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
    ];
    !word.is_empty() && !KNOWN.contains(&word)
}

pub(super) fn explanation(details: Option<&Value>) -> Option<String> {
    let text = details.and_then(|details| details.get("explanation")).and_then(Value::as_str);
    text.map(str::to_owned)
}

/// Under the caller's names; the tool that stands for a schema is the answer itself.
pub(super) fn caller_part(mut part: Part, reading: &Reading) -> Part {
    if let Piece::ToolCall { name, arguments, .. } = &mut part.piece {
        if reading.is_json_tool(name) {
            return Part::text(std::mem::take(arguments));
        }
        *name = reading.name(std::mem::take(name));
    }
    part
}
