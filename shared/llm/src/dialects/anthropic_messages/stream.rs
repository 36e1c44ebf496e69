//! An answer as a stream, written. Blocks follow each other here: a part that begins while another is open waits for it.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::error::body;
use super::render::{finish, finish_reason, is_refusal, stop_details};
use super::{WIRE, usage};
use crate::chat::{Part, Piece};
use crate::error::{Failure, LlmError};
use crate::json::{self, At};
use crate::loss::{Losses, Lost, Place};
use crate::reply::{Delta, Event, Finish, Start};
use crate::sse;
use crate::target::Asked;
use crate::usage::Usage;

/// The most that waits for a block before it.
const MAX_WAITING_BYTES: usize = 8 << 20;
/// How many parts may wait, and how many may be open at once.
const MAX_WAITING_PARTS: usize = 1024;

/// Writes an answer as events.
pub struct Writer {
    asked: Asked,
    /// The part that is written, and the ones after it.
    parts: VecDeque<Open>,
    next_block: u32,
    waiting_bytes: usize,
    has_refused: bool,
    is_started: bool,
    finish: Finish,
    usage: Option<Usage>,
    is_over: bool,
    losses: Losses,
}

/// A part that is begun.
struct Open {
    index: u32,
    part: Part,
    /// What came while another was written; empty for the one that is.
    waiting: Vec<Delta>,
    has_ended: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writer").field("finish", &self.finish).finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(asked: Asked) -> Self {
        Self {
            asked,
            parts: VecDeque::new(),
            next_block: 0,
            waiting_bytes: 0,
            has_refused: false,
            is_started: false,
            finish: Finish::default(),
            usage: None,
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
            Event::Finish(finish) => self.finish = finish.clone(),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Ping => write(out, "ping", json!({})),
            Event::Failed(failure) => self.fail(failure, out),
            Event::End => self.end(out),
        }
        Ok(())
    }

    /// `message_stop` is left out: without it a client knows that the answer is not whole.
    pub(crate) fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_over, true) {
            sse::write(out, Some("error"), &json::text(&body(failure)));
        }
    }

    pub(crate) fn lost(&self) -> &[Lost] {
        self.losses.listed()
    }

    fn start(&mut self, start: &Start, out: &mut Vec<u8>) {
        self.is_started = true;
        let told = start.usage.unwrap_or_default();
        let message = json!({
            "id": start.id,
            "type": "message",
            "role": "assistant",
            "model": self.asked.model.as_deref().unwrap_or(&start.model),
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": usage::write(&told),
        });
        write(out, "message_start", json!({ "message": message }));
    }

    fn part_start(&mut self, index: u32, part: &Part, out: &mut Vec<u8>) -> Result<(), LlmError> {
        if self.parts.len() >= MAX_WAITING_PARTS {
            let limit = MAX_WAITING_PARTS;
            return Err(LlmError::TooMuch { what: "open parts of an answer", limit });
        }
        self.has_refused |= is_refusal(part);
        let open = Open { index, part: part.clone(), waiting: Vec::new(), has_ended: false };
        self.parts.push_back(open);
        if self.parts.len() == 1 {
            self.open_first(out);
        }
        Ok(())
    }

    fn delta(&mut self, index: u32, delta: &Delta, out: &mut Vec<u8>) -> Result<(), LlmError> {
        if self.parts.front().is_some_and(|part| part.index == index) {
            self.write_delta(delta, out);
            return Ok(());
        }
        let Some(open) = self.parts.iter_mut().find(|part| part.index == index) else {
            return Ok(());
        };
        // The place that it takes in the list counts as well.
        let bytes = size(delta).saturating_add(size_of::<Delta>());
        self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
        if self.waiting_bytes > MAX_WAITING_BYTES {
            let limit = MAX_WAITING_BYTES;
            return Err(LlmError::TooMuch { what: "bytes of an answer that wait", limit });
        }
        open.waiting.push(delta.clone());
        Ok(())
    }

    fn part_end(&mut self, index: u32, out: &mut Vec<u8>) {
        if let Some(open) = self.parts.iter_mut().find(|part| part.index == index) {
            open.has_ended = true;
        }
        while self.parts.front().is_some_and(|part| part.has_ended) {
            self.close_first(out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if !self.is_started {
            self.start(&Start::default(), out);
        }
        while !self.parts.is_empty() {
            self.close_first(out);
        }
        let finish = finish(&self.finish, self.has_refused);
        let mut delta = json::object([
            ("stop_reason", finish_reason(finish.reason).into()),
            ("stop_sequence", finish.stop_sequence.as_deref().into()),
        ]);
        let details = stop_details(&finish);
        if !details.is_null() {
            delta.insert("stop_details".to_owned(), details);
        }
        let told = usage::write(&self.usage.unwrap_or_default());
        write(out, "message_delta", json!({ "delta": delta, "usage": told }));
        write(out, "message_stop", json!({}));
        self.is_over = true;
    }

    /// Writes that the first part begins, and what waited of it.
    fn open_first(&mut self, out: &mut Vec<u8>) {
        let Some(open) = self.parts.front_mut() else { return };
        let waiting = std::mem::take(&mut open.waiting);
        let part = open.part.clone();
        for delta in &waiting {
            let bytes = size(delta).saturating_add(size_of::<Delta>());
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        }
        if let Some(block) = self.block(&part) {
            let start = json!({ "index": self.next_block, "content_block": block });
            write(out, "content_block_start", start);
            for first in first_deltas(&part.piece) {
                self.write_delta(&first, out);
            }
        }
        for delta in &waiting {
            self.write_delta(delta, out);
        }
    }

    /// Writes that the first part is whole, and that the next begins.
    fn close_first(&mut self, out: &mut Vec<u8>) {
        let Some(open) = self.parts.pop_front() else { return };
        if self.is_shown(&open.part) {
            write(out, "content_block_stop", json!({ "index": self.next_block }));
            self.next_block = self.next_block.saturating_add(1);
        }
        self.open_first(out);
    }

    fn is_shown(&self, part: &Part) -> bool {
        match &part.piece {
            // What is signed has to come back with the next request, whoever wants to see it.
            Piece::Reasoning { signature, .. } => signature.is_some() || self.asked.wants_reasoning,
            Piece::RedactedReasoning(_)
            | Piece::Text(_)
            | Piece::Refusal(_)
            | Piece::ToolCall { .. } => true,
            Piece::Other => part.rest.object(WIRE).is_some(),
            Piece::Image(_)
            | Piece::Document { .. }
            | Piece::Audio { .. }
            | Piece::ToolResult { .. } => false,
        }
    }

    /// A block as it begins: without what its deltas bring.
    fn block(&mut self, part: &Part) -> Option<Value> {
        let root = At::ROOT;
        let place = usize::try_from(self.next_block).unwrap_or(usize::MAX);
        let at = root.name("content");
        let at = at.item(place);
        if !self.is_shown(part) {
            self.losses.list(&at, "is left out");
            return None;
        }
        self.losses.rest(&at, Place::Part, &part.rest, WIRE);
        let mut block = match &part.piece {
            Piece::Text(_) | Piece::Refusal(_) => json!({ "type": "text", "text": "" }),
            Piece::Reasoning { .. } => {
                json!({ "type": "thinking", "thinking": "", "signature": "" })
            }
            Piece::RedactedReasoning(data) => {
                json!({ "type": "redacted_thinking", "data": data })
            }
            Piece::ToolCall { id, name, .. } => {
                json!({ "type": "tool_use", "id": id, "name": name, "input": {} })
            }
            Piece::Other
            | Piece::Image(_)
            | Piece::Document { .. }
            | Piece::Audio { .. }
            | Piece::ToolResult { .. } => Value::Object(Map::new()),
        };
        if let Some(fields) = block.as_object_mut() {
            part.rest.complete(WIRE, fields);
        }
        Some(block)
    }

    /// Writes more of the first part.
    fn write_delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if !self.parts.front().is_some_and(|open| self.is_shown(&open.part)) {
            return;
        }
        let delta = match delta {
            Delta::Text(text) | Delta::Refusal(text) => {
                json!({ "type": "text_delta", "text": text })
            }
            Delta::Reasoning(text) => json!({ "type": "thinking_delta", "thinking": text }),
            Delta::Signature(text) => json!({ "type": "signature_delta", "signature": text }),
            Delta::Arguments(text) => json!({ "type": "input_json_delta", "partial_json": text }),
            Delta::Other(rest) => match rest.object(WIRE) {
                Some(whole) => Value::Object(whole.clone()),
                None => {
                    self.losses.list(&At::ROOT.name("content"), "is left out");
                    return;
                }
            },
        };
        let delta = json!({ "index": self.next_block, "delta": delta });
        write(out, "content_block_delta", delta);
    }
}

/// What a part has when it begins comes as deltas of it, since clients read no other.
fn first_deltas(piece: &Piece) -> Vec<Delta> {
    let mut deltas = match piece {
        Piece::Text(text) | Piece::Refusal(text) => vec![Delta::Text(text.clone())],
        Piece::Reasoning { text, signature } => vec![
            Delta::Reasoning(text.clone()),
            Delta::Signature(signature.clone().unwrap_or_default()),
        ],
        Piece::ToolCall { arguments, .. } => vec![Delta::Arguments(arguments.clone())],
        Piece::RedactedReasoning(_)
        | Piece::Image(_)
        | Piece::Document { .. }
        | Piece::Audio { .. }
        | Piece::ToolResult { .. }
        | Piece::Other => Vec::new(),
    };
    deltas.retain(|delta| size(delta) > 0);
    deltas
}

fn size(delta: &Delta) -> usize {
    match delta {
        Delta::Text(text)
        | Delta::Reasoning(text)
        | Delta::Signature(text)
        | Delta::Arguments(text)
        | Delta::Refusal(text) => text.len(),
        Delta::Other(rest) => rest.fields().map(|(_, value)| json::text(value).len()).sum(),
    }
}

/// Writes an event; its name is its type.
fn write(out: &mut Vec<u8>, name: &str, fields: Value) {
    let mut event = json::object([("type", name.into())]);
    if let Value::Object(fields) = fields {
        event.extend(fields);
    }
    sse::write(out, Some(name), &json::text(&event));
}
