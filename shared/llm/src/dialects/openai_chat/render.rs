//! A whole answer, written.

use serde_json::{Map, Value, json};

use super::message::write_reasoning;
use super::tools::write_tool_call;
use super::{WIRE, usage};
use crate::chat::Piece;
use crate::json::{self, At};
use crate::loss::{Losses, Place};
use crate::reply::{Finish, FinishReason, Reply};
use crate::rest::Rest;
use crate::target::{Asked, Rendered};

pub(crate) fn render(reply: &Reply, asked: &Asked) -> Rendered {
    let mut losses = Losses::of_answer();
    let root = At::ROOT;
    losses.rest(&root, Place::Reply, &reply.rest, WIRE);
    let created = reply.created_secs.unwrap_or(asked.now_secs);
    let model = asked.model.as_deref().unwrap_or(&reply.model);
    let mut choice = json::object([
        ("index", 0.into()),
        ("message", message(reply, &mut losses).into()),
        ("finish_reason", finish_word(reply).into()),
    ]);
    let written = reply.rest.get(WIRE, "choices").and_then(Value::as_object);
    Rest::new(WIRE, written.cloned().unwrap_or_default()).complete(WIRE, &mut choice);
    choice.entry("logprobs").or_insert(Value::Null);
    let mut body = json::object([
        ("id", reply.id.as_str().into()),
        ("object", "chat.completion".into()),
        ("created", created.into()),
        ("model", model.into()),
        ("choices", json!([choice])),
    ]);
    if let Some(told) = reply.usage {
        let written = reply.rest.get(WIRE, "usage");
        let same = written.filter(|written| usage::read(written) == Some(told));
        let told = same.cloned().unwrap_or_else(|| usage::write(&told).into());
        body.insert("usage".to_owned(), told);
    }
    if let Some(tier) = &reply.service_tier {
        // The other format's word for the plain one.
        let tier = if tier == "standard" { "default" } else { tier };
        body.insert("service_tier".to_owned(), tier.into());
    }
    reply.rest.complete(WIRE, &mut body);
    Rendered { body: json::bytes(&body), lost: losses.into_listed() }
}

fn message(reply: &Reply, losses: &mut Losses) -> Map<String, Value> {
    let (root, mut text, mut refusal) = (At::ROOT, String::new(), String::new());
    let (mut has_text, mut calls) = (false, Vec::new());
    let content = root.name("content");
    for (i, part) in reply.parts.iter().enumerate() {
        let at = content.item(i);
        if part.piece != Piece::Other {
            losses.rest(&at, Place::Part, &part.rest, WIRE);
        }
        match &part.piece {
            Piece::Text(more) => {
                text.push_str(more);
                has_text = true;
            }
            Piece::Refusal(more) => refusal.push_str(more),
            Piece::ToolCall { id, name, arguments } => {
                let mut call = write_tool_call(id, name, arguments);
                part.rest.complete(WIRE, &mut call);
                calls.push(Value::Object(call));
            }
            Piece::Reasoning { .. } | Piece::RedactedReasoning(_) => {}
            Piece::Other => match part.rest.object(WIRE) {
                Some(call) => calls.push(Value::Object(call.clone())),
                None => losses.list(&at, "is left out"),
            },
            Piece::Image(_)
            | Piece::Document { .. }
            | Piece::Audio { .. }
            | Piece::ToolResult { .. } => losses.list(&at, "is left out"),
        }
    }
    if refusal.is_empty()
        && let Some(explanation) = &reply.finish.explanation
    {
        refusal.push_str(explanation);
    }
    let nothing_said = if calls.is_empty() { json!("") } else { Value::Null };
    let content = if has_text { text.into() } else { nothing_said };
    let refusal = if refusal.is_empty() { Value::Null } else { refusal.into() };
    let mut message = json::object([("role", "assistant".into()), ("refusal", refusal)]);
    let written = reply.rest.get(WIRE, "choices").and_then(|choice| choice.get("message"));
    let written = written.and_then(Value::as_object).cloned().unwrap_or_default();
    // Null and the empty text are two ways to say nothing.
    let same = written.get("content").filter(|_| !has_text).cloned();
    message.insert("content".to_owned(), same.unwrap_or(content));
    let written = Rest::new(WIRE, written);
    write_reasoning(&reply.parts, &written, &mut message);
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), calls.into());
    }
    written.complete(WIRE, &mut message);
    message
}

/// In the provider's own word where it means the same still.
fn finish_word(reply: &Reply) -> &str {
    let written = reply.rest.get(WIRE, "choices").and_then(|choice| choice.get("finish_reason"));
    let written = written.and_then(Value::as_str);
    written
        .filter(|word| finish_of(word) == reply.finish.reason)
        .unwrap_or_else(|| finish_reason(&reply.finish))
}

/// What a word of this format says; one that nobody knows is an end as any other.
pub(crate) fn finish_of(word: &str) -> FinishReason {
    match word {
        "length" | "model_length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" | "sensitive" => FinishReason::Refused,
        _ => FinishReason::End,
    }
}

/// The word for why an answer ended.
pub(crate) fn finish_reason(finish: &Finish) -> &'static str {
    match finish.reason {
        FinishReason::End | FinishReason::StopSequence | FinishReason::Pause => "stop",
        FinishReason::Length | FinishReason::ContextWindow => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::Refused => "content_filter",
    }
}
