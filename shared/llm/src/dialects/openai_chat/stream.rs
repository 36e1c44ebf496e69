//! An answer as a stream, written.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::body;
use super::message::write_thinking_block;
use super::{finish_reason, usage};
use crate::chat::{Part, Piece};
use crate::error::{Failure, LlmError};
use crate::json::{self, At};
use crate::loss::{Losses, Lost, Place};
use crate::reply::{Delta, Event, Finish, Start};
use crate::sse;
use crate::target::Asked;
use crate::usage::Usage;

/// The most of what was reasoned that is kept for the blocks that have its signatures.
const MAX_REASONING_BYTES: usize = 8 << 20;
/// How many parts may be open at once.
const MAX_OPEN_PARTS: usize = 1024;

/// Writes an answer as chunks.
pub struct Writer {
    asked: Asked,
    start: Start,
    open: BTreeMap<u32, Open>,
    next_call: u32,
    kept_bytes: usize,
    usage: Option<Usage>,
    is_finished: bool,
    is_over: bool,
    losses: Losses,
}

enum Open {
    /// A call, its number, and whether any of its arguments are out.
    Call {
        number: u32,
        has_arguments: bool,
    },
    /// What was reasoned up to now: a block is only of use whole.
    Reasoning(Part),
    Plain,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Map<String, Value>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: ChunkDelta<'a>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct ChunkDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_blocks: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Value>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writer").field("start", &self.start).finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(asked: Asked) -> Self {
        Self {
            asked,
            start: Start::default(),
            open: BTreeMap::new(),
            next_call: 0,
            kept_bytes: 0,
            usage: None,
            is_finished: false,
            is_over: false,
            losses: Losses::of_answer(),
        }
    }

    pub(crate) fn push(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), LlmError> {
        if self.is_over {
            return Ok(());
        }
        match event {
            Event::Start(start) => self.start(start, out),
            Event::PartStart { index, part } => return self.part_start(*index, part, out),
            Event::Delta { index, delta } => return self.delta(*index, delta, out),
            Event::PartEnd { index } => self.part_end(*index, out),
            Event::Finish(finish) => self.finish(finish, out),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Ping => sse::write_comment(out),
            Event::Failed(failure) => self.fail(failure, out),
            Event::End => self.end(out),
        }
        Ok(())
    }

    /// The end is left out: without it a client knows that the answer is not whole.
    pub(crate) fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_over, true) {
            sse::write(out, None, &json::text(&body(failure)));
        }
    }

    pub(crate) fn lost(&self) -> &[Lost] {
        self.losses.listed()
    }

    fn start(&mut self, start: &Start, out: &mut Vec<u8>) {
        self.start = start.clone();
        let first = ChunkDelta { role: Some("assistant"), content: Some(""), ..Default::default() };
        self.write(first, None, out);
    }

    fn part_start(&mut self, index: u32, part: &Part, out: &mut Vec<u8>) -> Result<(), LlmError> {
        if self.open.len() >= MAX_OPEN_PARTS {
            return Err(LlmError::TooMuch {
                what: "open parts of an answer",
                limit: MAX_OPEN_PARTS,
            });
        }
        let root = At::ROOT;
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        let content = root.name("content");
        let at = content.item(place);
        if part.piece != Piece::Other {
            self.losses.rest(&at, Place::Part, &part.rest, super::WIRE);
        }
        let mut open = Open::Plain;
        match &part.piece {
            Piece::Text(text) | Piece::Refusal(text) if text.is_empty() => {}
            Piece::Text(text) => self.text(text, out),
            Piece::Refusal(text) => self.refusal(text, out),
            Piece::ToolCall { id, name, arguments } => {
                open = Open::Call { number: self.next_call, has_arguments: !arguments.is_empty() };
                let function = json!({ "name": name, "arguments": arguments });
                let call = json!([{
                    "index": self.next_call, "id": id, "type": "function", "function": function,
                }]);
                self.next_call = self.next_call.saturating_add(1);
                self.write(ChunkDelta { tool_calls: Some(call), ..Default::default() }, None, out);
            }
            Piece::Reasoning { text, .. } => {
                if !text.is_empty() {
                    self.reasoning(text, out);
                }
                open = Open::Reasoning(part.clone());
            }
            Piece::RedactedReasoning(_) => open = Open::Reasoning(part.clone()),
            Piece::Image(_)
            | Piece::Document { .. }
            | Piece::Audio { .. }
            | Piece::ToolResult { .. }
            | Piece::Other => self.losses.list(&at, "is left out"),
        }
        self.open.insert(index, open);
        Ok(())
    }

    fn delta(&mut self, index: u32, delta: &Delta, out: &mut Vec<u8>) -> Result<(), LlmError> {
        match delta {
            Delta::Text(text) => self.text(text, out),
            Delta::Refusal(text) => self.refusal(text, out),
            Delta::Reasoning(more) => {
                self.keep(more)?;
                if let Some(Open::Reasoning(part)) = self.open.get_mut(&index)
                    && let Piece::Reasoning { text, .. } = &mut part.piece
                {
                    text.push_str(more);
                }
                self.reasoning(more, out);
            }
            Delta::Signature(more) => {
                self.keep(more)?;
                if let Some(Open::Reasoning(part)) = self.open.get_mut(&index)
                    && let Piece::Reasoning { signature, .. } = &mut part.piece
                {
                    signature.get_or_insert_default().push_str(more);
                }
            }
            Delta::Arguments(more) if more.is_empty() => {}
            Delta::Arguments(more) => {
                if let Some(Open::Call { number, has_arguments }) = self.open.get_mut(&index) {
                    *has_arguments = true;
                    let number = *number;
                    self.arguments(number, more, out);
                }
            }
            Delta::Other(rest) => {
                let (root, place) = (At::ROOT, usize::try_from(index).unwrap_or(usize::MAX));
                let content = root.name("content");
                if !rest.is_empty() {
                    self.losses.list(&content.item(place), "has more to it, which is left out");
                }
            }
        }
        Ok(())
    }

    /// Counts what is kept of what was reasoned, over all of the answer.
    fn keep(&mut self, more: &str) -> Result<(), LlmError> {
        self.kept_bytes = self.kept_bytes.saturating_add(more.len());
        if self.kept_bytes > MAX_REASONING_BYTES {
            let limit = MAX_REASONING_BYTES;
            return Err(LlmError::TooMuch { what: "bytes of what was reasoned", limit });
        }
        Ok(())
    }

    fn part_end(&mut self, index: u32, out: &mut Vec<u8>) {
        match self.open.remove(&index) {
            // Arguments are JSON, and the empty text is none.
            Some(Open::Call { number, has_arguments: false }) => {
                self.arguments(number, "{}", out);
            }
            Some(Open::Reasoning(part)) => {
                let blocks = write_thinking_block(&part).map(|block| json!([block]));
                if blocks.is_some() {
                    let delta = ChunkDelta { thinking_blocks: blocks, ..Default::default() };
                    self.write(delta, None, out);
                }
            }
            Some(Open::Call { has_arguments: true, .. } | Open::Plain) | None => {}
        }
    }

    fn finish(&mut self, finish: &Finish, out: &mut Vec<u8>) {
        if let Some(explanation) = &finish.explanation {
            self.refusal(explanation, out);
        }
        self.is_finished = true;
        self.write(ChunkDelta::default(), Some(finish_reason(finish)), out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if !self.is_finished {
            self.finish(&Finish::default(), out);
        }
        if self.asked.wants_usage
            && let Some(told) = self.usage
        {
            self.chunk(&[], Some(usage::write(&told)), out);
        }
        sse::write(out, None, "[DONE]");
        self.is_over = true;
    }

    fn text(&self, text: &str, out: &mut Vec<u8>) {
        self.write(ChunkDelta { content: Some(text), ..Default::default() }, None, out);
    }

    fn refusal(&self, text: &str, out: &mut Vec<u8>) {
        self.write(ChunkDelta { refusal: Some(text), ..Default::default() }, None, out);
    }

    fn reasoning(&self, text: &str, out: &mut Vec<u8>) {
        self.write(ChunkDelta { reasoning_content: Some(text), ..Default::default() }, None, out);
    }

    fn arguments(&self, number: u32, more: &str, out: &mut Vec<u8>) {
        let call = json!([{ "index": number, "function": { "arguments": more } }]);
        self.write(ChunkDelta { tool_calls: Some(call), ..Default::default() }, None, out);
    }

    fn write(&self, delta: ChunkDelta<'_>, finish_reason: Option<&'static str>, out: &mut Vec<u8>) {
        self.chunk(&[Choice { index: 0, delta, finish_reason }], None, out);
    }

    fn chunk(&self, choices: &[Choice<'_>], usage: Option<Map<String, Value>>, out: &mut Vec<u8>) {
        let chunk = Chunk {
            id: &self.start.id,
            object: "chat.completion.chunk",
            created: self.start.created_secs.unwrap_or(self.asked.now_secs),
            model: self.asked.model.as_deref().unwrap_or(&self.start.model),
            choices,
            usage,
        };
        sse::write(out, None, &json::text(&chunk));
    }
}
