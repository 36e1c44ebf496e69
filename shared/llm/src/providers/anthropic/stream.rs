//! An answer as a stream, read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::WIRE;
use super::error::said;
use super::reply::{caller_part, explanation};
use crate::chat::{Part, Piece};
use crate::dialects::anthropic_messages::usage::Told;
use crate::dialects::anthropic_messages::{block, finish_of};
use crate::error::LlmError;
use crate::json::{self, At, Fields};
use crate::loss::{Losses, Lost};
use crate::reply::{Delta, Event, Finish, FinishReason, Metered, Start};
use crate::rest::Rest;
use crate::sse::{Limits, SseEvent, SseReader};
use crate::target::Reading;

/// How many blocks may be open at once; the format says one.
const MAX_OPEN_BLOCKS: usize = 256;

/// Reads events.
pub struct Reader {
    sse: SseReader,
    reading: Reading,
    told: Told,
    metered: Metered,
    open: BTreeMap<u32, Kind>,
    finish: Option<Finish>,
    is_started: bool,
    is_over: bool,
    losses: Losses,
}

/// What a block that is open becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What it is.
    Same,
    /// A text: it is the arguments of the tool that stands for a schema.
    JsonTool,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reader").field("metered", &self.metered).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(reading: Reading) -> Self {
        Self {
            sse: SseReader::new(Limits::default()),
            reading,
            told: Told::default(),
            metered: Metered::default(),
            open: BTreeMap::new(),
            finish: None,
            is_started: false,
            is_over: false,
            losses: Losses::of_answer(),
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), LlmError> {
        let mut lines = Vec::new();
        let read = self.sse.push(bytes, &mut lines);
        self.take(&lines, events)?;
        Ok(read?)
    }

    pub(crate) fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), LlmError> {
        let mut lines = Vec::new();
        let read = self.sse.finish(&mut lines);
        self.take(&lines, events)?;
        read?;
        if self.is_over {
            return Ok(());
        }
        if self.finish.is_none() {
            return Err(LlmError::EndedEarly);
        }
        self.end(events);
        Ok(())
    }

    pub(crate) fn metered(&self) -> Metered {
        Metered { usage: self.told.usage(), ..self.metered.clone() }
    }

    pub(crate) fn lost(&self) -> &[Lost] {
        self.losses.listed()
    }

    fn take(&mut self, lines: &[SseEvent], events: &mut Vec<Event>) -> Result<(), LlmError> {
        for line in lines {
            if self.is_over {
                return Ok(());
            }
            self.event(json::parse(line.data.as_bytes())?, events)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Value, events: &mut Vec<Event>) -> Result<(), LlmError> {
        let root = At::ROOT;
        let mut event = Fields::of(event, &root)?;
        let name = event.required_text("type")?;
        match name.as_str() {
            "message_start" => self.start(event, events),
            "content_block_start" => self.block_start(event, events),
            "content_block_delta" => self.block_delta(event, events),
            "content_block_stop" => {
                let index = index(&mut event)?;
                if self.open.remove(&index).is_some() {
                    events.push(Event::PartEnd { index });
                }
                Ok(())
            }
            "message_delta" => self.message_delta(event),
            "message_stop" => {
                self.end(events);
                Ok(())
            }
            "ping" => {
                events.push(Event::Ping);
                Ok(())
            }
            "error" => {
                let body = Value::Object(event.left());
                events.push(Event::Failed(said(&body).failure(None, None)));
                self.is_over = true;
                Ok(())
            }
            // New kinds come without notice.
            _ => {
                self.losses.list(&root, "has an event that nobody knows, which is left out");
                Ok(())
            }
        }
    }

    fn start(&mut self, mut event: Fields<'_>, events: &mut Vec<Event>) -> Result<(), LlmError> {
        let root = At::ROOT;
        let at = root.name("message");
        let Some(message) = event.take("message") else {
            return Err(at.malformed("this is required"));
        };
        let mut message = Fields::of(message, &at)?;
        let id = message.text("id")?.unwrap_or_default();
        let model = message.text("model")?.unwrap_or_default();
        if let Some(usage) = message.take("usage") {
            self.usage(&usage);
        }
        self.metered.model = Some(model.clone()).filter(|model| !model.is_empty());
        self.is_started = true;
        let usage = self.told.usage();
        events.push(Event::Start(Start { id, model, created_secs: None, usage }));
        Ok(())
    }

    fn usage(&mut self, usage: &Value) {
        self.told.take(usage);
        if let Some(tier) = usage.get("service_tier").and_then(Value::as_str) {
            self.metered.service_tier = Some(tier.to_owned());
        }
    }

    fn block_start(
        &mut self,
        mut event: Fields<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), LlmError> {
        let root = At::ROOT;
        let at = root.name("content_block");
        let index = index(&mut event)?;
        let Some(value) = event.take("content_block") else {
            return Err(at.malformed("this is required"));
        };
        if self.open.len() >= MAX_OPEN_BLOCKS {
            let limit = MAX_OPEN_BLOCKS;
            return Err(LlmError::TooMuch { what: "open blocks of an answer", limit });
        }
        let mut part = block::read(value, &at)?;
        let mut kind = Kind::Same;
        match &mut part.piece {
            Piece::ToolCall { name, arguments, .. } => {
                // The empty object stands for what the deltas bring.
                if arguments == "{}" {
                    arguments.clear();
                }
                if self.reading.is_json_tool(name) {
                    kind = Kind::JsonTool;
                }
            }
            // Its signature is empty until the delta that brings it; that it is there tells that one comes.
            Piece::Reasoning { .. }
            | Piece::Text(_)
            | Piece::Image(_)
            | Piece::Document { .. }
            | Piece::Audio { .. }
            | Piece::RedactedReasoning(_)
            | Piece::ToolResult { .. }
            | Piece::Refusal(_)
            | Piece::Other => {}
        }
        let part: Part = caller_part(part, &self.reading);
        self.open.insert(index, kind);
        events.push(Event::PartStart { index, part });
        Ok(())
    }

    fn block_delta(
        &mut self,
        mut event: Fields<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), LlmError> {
        let root = At::ROOT;
        let at = root.name("delta");
        let index = index(&mut event)?;
        let Some(delta) = event.take("delta") else { return Err(at.malformed("this is required")) };
        let Some(kind) = self.open.get(&index).copied() else {
            return Err(root.name("index").malformed("no block of this number is open"));
        };
        let mut delta = Fields::of(delta, &at)?;
        let delta = match delta.look("type") {
            Some("text_delta") => Delta::Text(delta.required_text("text")?),
            Some("thinking_delta") => Delta::Reasoning(delta.required_text("thinking")?),
            Some("signature_delta") => Delta::Signature(delta.required_text("signature")?),
            Some("input_json_delta") => {
                let text = delta.required_text("partial_json")?;
                match kind {
                    Kind::Same => Delta::Arguments(text),
                    Kind::JsonTool => Delta::Text(text),
                }
            }
            Some(_) | None => Delta::Other(Rest::new(WIRE, delta.left())),
        };
        events.push(Event::Delta { index, delta });
        Ok(())
    }

    /// May come several times; the last counts.
    fn message_delta(&mut self, mut event: Fields<'_>) -> Result<(), LlmError> {
        let root = At::ROOT;
        if let Some(usage) = event.take("usage") {
            self.usage(&usage);
        }
        let at = root.name("delta");
        let Some(delta) = event.take("delta") else { return Ok(()) };
        let mut delta = Fields::of(delta, &at)?;
        if let Some(word) = delta.text("stop_reason")? {
            let mut reason = finish_of(&word);
            if self.reading.json_tool.is_some() && reason == FinishReason::ToolCalls {
                reason = FinishReason::End;
            }
            let stop_sequence = delta.text("stop_sequence")?;
            let explanation = explanation(delta.get("stop_details"));
            self.finish = Some(Finish { reason, stop_sequence, explanation });
        }
        Ok(())
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        if !self.is_started {
            events.push(Event::Start(Start::default()));
        }
        for index in std::mem::take(&mut self.open).into_keys() {
            events.push(Event::PartEnd { index });
        }
        events.push(Event::Finish(self.finish.take().unwrap_or_default()));
        events.extend(self.told.usage().map(Event::Usage));
        events.push(Event::End);
        self.is_over = true;
    }
}

fn index(event: &mut Fields<'_>) -> Result<u32, LlmError> {
    let index = event.count("index")?.and_then(|index| u32::try_from(index).ok());
    index.ok_or_else(|| event.malformed("index", "a number of a block is required"))
}
