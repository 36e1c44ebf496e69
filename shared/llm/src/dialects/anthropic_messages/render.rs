//! A whole answer, written.

use serde_json::{Value, json};

use super::block::BlockWriter;
use super::{WIRE, usage};
use crate::chat::{Part, Piece};
use crate::json::{self, At};
use crate::loss::{Losses, Place};
use crate::reply::{Finish, FinishReason, Reply};
use crate::target::{Asked, Rendered};
use crate::usage::Usage;

pub(crate) fn render(reply: &Reply, asked: &Asked) -> Rendered {
    let mut losses = Losses::of_answer();
    let root = At::ROOT;
    losses.rest(&root, Place::Reply, &reply.rest, WIRE);
    let is_same = reply.rest.wire() == Some(WIRE);
    let mut writer = BlockWriter {
        losses: &mut losses,
        is_same,
        shows_unsigned: asked.wants_reasoning || is_same,
        name: &str::to_owned,
        id: &str::to_owned,
    };
    let content = writer.blocks(&reply.parts, &root.name("content"));
    let has_refused = reply.parts.iter().any(is_refusal);
    let finish = finish(&reply.finish, has_refused);
    let told = reply.usage.unwrap_or_default();
    let mut body = json::object([
        ("id", reply.id.as_str().into()),
        ("type", "message".into()),
        ("role", "assistant".into()),
        ("model", asked.model.as_deref().unwrap_or(&reply.model).into()),
        ("content", content.into()),
        ("stop_reason", reason_word(reply, &finish).into()),
        ("stop_sequence", finish.stop_sequence.as_deref().into()),
        ("usage", told_usage(reply, &told)),
    ]);
    let details = stop_details(&finish);
    if !details.is_null() && reply.rest.get(WIRE, "stop_details").is_none() {
        body.insert("stop_details".to_owned(), details);
    }
    reply.rest.complete(WIRE, &mut body);
    Rendered { body: json::bytes(&body), lost: losses.into_listed() }
}

pub(super) fn is_refusal(part: &Part) -> bool {
    matches!(part.piece, Piece::Refusal(_))
}

/// A refusal in an answer's content is one of the whole answer here.
pub(super) fn finish(finish: &Finish, has_refused: bool) -> Finish {
    match finish.reason {
        FinishReason::End if has_refused => {
            Finish { reason: FinishReason::Refused, ..finish.clone() }
        }
        FinishReason::End
        | FinishReason::StopSequence
        | FinishReason::Length
        | FinishReason::ContextWindow
        | FinishReason::ToolCalls
        | FinishReason::Refused
        | FinishReason::Pause => finish.clone(),
    }
}

pub(super) fn stop_details(finish: &Finish) -> Value {
    match &finish.explanation {
        Some(why) => json!({ "type": "refusal", "category": null, "explanation": why }),
        None => Value::Null,
    }
}

/// As the provider wrote it where it says the same still.
fn told_usage(reply: &Reply, told: &Usage) -> Value {
    let written = reply.rest.get(WIRE, "usage");
    let same = written.filter(|written| usage::read(written).as_ref() == Some(told));
    same.cloned().unwrap_or_else(|| {
        let mut written = usage::write(told);
        if let Some(tier) = &reply.service_tier {
            // The other format's word for the plain one.
            let tier = if tier == "default" { "standard" } else { tier };
            written.insert("service_tier".to_owned(), tier.into());
        }
        written.into()
    })
}

/// In the provider's own word where it means the same still.
fn reason_word(reply: &Reply, finish: &Finish) -> String {
    let written = reply.rest.get(WIRE, "stop_reason").and_then(Value::as_str);
    let written = written.filter(|word| finish_of(word) == finish.reason);
    written.unwrap_or_else(|| finish_reason(finish.reason)).to_owned()
}

/// What a word of this format says; one that nobody knows is an end as any other.
pub(crate) fn finish_of(word: &str) -> FinishReason {
    match word {
        "max_tokens" => FinishReason::Length,
        "stop_sequence" => FinishReason::StopSequence,
        "tool_use" => FinishReason::ToolCalls,
        "pause_turn" => FinishReason::Pause,
        "refusal" => FinishReason::Refused,
        "model_context_window_exceeded" => FinishReason::ContextWindow,
        _ => FinishReason::End,
    }
}

/// The word for why an answer ended.
pub(crate) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::End => "end_turn",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::Length => "max_tokens",
        FinishReason::ContextWindow => "model_context_window_exceeded",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::Refused => "refusal",
        FinishReason::Pause => "pause_turn",
    }
}
