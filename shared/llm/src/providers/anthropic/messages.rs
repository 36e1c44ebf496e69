//! Messages of a conversation, written. Those of another format are put into the order that this one demands.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::WIRE;
use crate::chat::{Chat, Message, Part, Piece, Role, Tool};
use crate::dialects::anthropic_messages::block::BlockWriter;
use crate::error::LlmError;
use crate::json::{self, At};
use crate::loss::{Losses, Place};
use crate::target::{Names, Target};

/// How long a name may be.
pub(super) const NAME_CHARS: usize = 128;
/// How long an id is made. No limit is known; those of others are shorter.
const ID_CHARS: usize = 256;

/// The instructions and the conversation.
pub(super) struct Written {
    pub(super) system: Option<Value>,
    pub(super) messages: Vec<Value>,
}

/// Every name that a tool has, or had when it was called.
pub(super) fn tool_names(chat: &Chat) -> Vec<&str> {
    let tools = chat.tools.iter().filter_map(|tool| match tool {
        Tool::Function(function) => Some(function.name.as_str()),
        Tool::Other(_) => None,
    });
    tools.chain(calls(chat).map(|(_, name)| name)).collect()
}

/// The calls of a conversation: id and name.
fn calls(chat: &Chat) -> impl Iterator<Item = (&str, &str)> {
    let parts = chat.messages.iter().flat_map(|message| &message.content.parts);
    parts.filter_map(|part| match &part.piece {
        Piece::ToolCall { id, name, .. } => Some((id.as_str(), name.as_str())),
        Piece::Text(_)
        | Piece::Image(_)
        | Piece::Document { .. }
        | Piece::Audio { .. }
        | Piece::Reasoning { .. }
        | Piece::RedactedReasoning(_)
        | Piece::ToolResult { .. }
        | Piece::Refusal(_)
        | Piece::Other => None,
    })
}

/// Ids of calls in the letters of this format.
fn ids(chat: &Chat) -> Names {
    let is_same = chat.origin == Some(WIRE);
    Names::new(ID_CHARS, calls(chat).map(|(id, _)| id).filter(|_| !is_same))
}

pub(super) fn write(
    chat: &Chat,
    target: &Target,
    names: &Names,
    losses: &mut Losses,
) -> Result<Written, LlmError> {
    let ids = ids(chat);
    let is_same = chat.origin == Some(WIRE);
    let mut writer = BlockWriter {
        losses,
        is_same,
        shows_unsigned: false,
        name: &|name| names.sent(name).to_owned(),
        id: &|id| ids.sent(id).to_owned(),
    };
    if is_same {
        return Ok(as_written(chat, &mut writer));
    }
    check_results(chat)?;
    let mut order = Order { target, writer, system: Vec::new(), turns: Vec::new() };
    order.all(chat);
    order.finish()
}

fn as_written(chat: &Chat, writer: &mut BlockWriter<'_>) -> Written {
    let root = At::ROOT;
    let at = root.name("messages");
    let (mut system, mut messages) = (None, Vec::new());
    for (i, message) in chat.messages.iter().enumerate() {
        let at = at.item(i);
        let content = writer.content(&message.content, &at.name("content"));
        let role = match message.role {
            Role::System | Role::Developer if i == 0 => {
                system = Some(content);
                continue;
            }
            Role::System | Role::Developer => "system",
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        let mut object = json::object([("role", role.into()), ("content", content)]);
        message.rest.complete(WIRE, &mut object);
        messages.push(object.into());
    }
    Written { system, messages }
}

/// Every call has its result before anyone else speaks, and every result its call: both formats demand it.
fn check_results(chat: &Chat) -> Result<(), LlmError> {
    let (root, mut open) = (At::ROOT, BTreeSet::new());
    let at = root.name("messages");
    for (i, message) in chat.messages.iter().enumerate() {
        let at = at.item(i);
        let mut says_more = false;
        for part in &message.content.parts {
            match &part.piece {
                Piece::ToolResult { id, .. } if !open.remove(id.as_str()) => {
                    return Err(at.malformed("it is the result of no call before it"));
                }
                Piece::ToolResult { .. } => {}
                Piece::ToolCall { .. }
                | Piece::Text(_)
                | Piece::Image(_)
                | Piece::Document { .. }
                | Piece::Audio { .. }
                | Piece::Reasoning { .. }
                | Piece::RedactedReasoning(_)
                | Piece::Refusal(_)
                | Piece::Other => says_more = true,
            }
        }
        if says_more && !open.is_empty() {
            return Err(at.malformed("a call before it has no result"));
        }
        for part in &message.content.parts {
            let id =
                if let Piece::ToolCall { id, .. } = &part.piece { Some(id.as_str()) } else { None };
            // A call of a kind that the hub does not know is one too.
            let other =
                part.rest.fields().find(|(name, _)| *name == "id" && part.piece == Piece::Other);
            let other = other.and_then(|(_, id)| id.as_str());
            if id.or(other).is_some_and(|id| !open.insert(id)) {
                return Err(at.malformed("two calls have one id"));
            }
        }
    }
    if open.is_empty() { Ok(()) } else { Err(at.malformed("a call has no result")) }
}

/// Puts messages of another format into order.
struct Order<'a> {
    target: &'a Target,
    writer: BlockWriter<'a>,
    system: Vec<Value>,
    turns: Vec<Turn>,
}

struct Turn {
    role: &'static str,
    /// Results, which come first.
    results: Vec<Value>,
    others: Vec<Value>,
}

impl Order<'_> {
    fn all(&mut self, chat: &Chat) {
        let root = At::ROOT;
        let at = root.name("messages");
        let mut is_leading = true;
        for (i, message) in chat.messages.iter().enumerate() {
            let at = at.item(i);
            self.writer.losses.rest(&at, Place::Message, &message.rest, WIRE);
            let content = at.name("content");
            match message.role {
                Role::System | Role::Developer => self.system(message, is_leading, &content),
                Role::User | Role::Tool => {
                    is_leading = false;
                    self.turn("user", &message.content.parts, &content);
                }
                Role::Assistant => {
                    is_leading = false;
                    self.turn("assistant", &message.content.parts, &content);
                }
            }
        }
    }

    /// Instructions in the middle stay there where the model takes them; else they go to the others, and are told.
    fn system(&mut self, message: &Message, is_leading: bool, at: &At<'_>) {
        if !is_leading && self.target.takes_late_system {
            self.turn("system", &message.content.parts, at);
            return;
        }
        if !is_leading {
            self.writer.losses.list(at, "goes before the conversation, where instructions stand");
        }
        let blocks = self.writer.blocks(&message.content.parts, at);
        self.system.extend(blocks);
    }

    /// Adds to the turn of whoever spoke last, or begins another.
    fn turn(&mut self, role: &'static str, parts: &[Part], at: &At<'_>) {
        let (mut results, mut others) = (Vec::new(), Vec::new());
        for block in self.writer.blocks(parts, at) {
            let is_result = block.get("type").is_some_and(|of_type| of_type == "tool_result");
            if is_result { results.push(block) } else { others.push(block) }
        }
        if results.is_empty() && others.is_empty() {
            self.writer.losses.list(at, "says nothing and is left out");
            return;
        }
        match self.turns.last_mut().filter(|turn| turn.role == role) {
            Some(turn) => {
                turn.results.extend(results);
                turn.others.extend(others);
            }
            None => self.turns.push(Turn { role, results, others }),
        }
    }

    fn finish(mut self) -> Result<Written, LlmError> {
        let root = At::ROOT;
        let at = root.name("messages");
        if self.turns.first().is_none_or(|turn| turn.role != "user") {
            self.writer.losses.list(&at, "does not begin with the user; a full stop is put before");
            let others = vec![json!({ "type": "text", "text": "." })];
            self.turns.insert(0, Turn { role: "user", results: Vec::new(), others });
        }
        if let Some(turn) = self.turns.last_mut().filter(|turn| turn.role == "assistant") {
            if self.target.takes_prefill {
                self.writer.losses.list(&at, "ends with an answer, which the model goes on with");
                trim_end(&mut turn.others);
            } else {
                self.writer
                    .losses
                    .refuse(&at, "ends with an answer, which the model cannot go on with");
            }
        }
        let messages = self.turns.into_iter().map(|turn| {
            let blocks: Vec<Value> = turn.results.into_iter().chain(turn.others).collect();
            json!({ "role": turn.role, "content": as_text(blocks) })
        });
        let system = (!self.system.is_empty()).then(|| as_text(self.system));
        Ok(Written { system, messages: messages.collect() })
    }
}

/// A single text without anything to it is shorter as one.
fn as_text(blocks: Vec<Value>) -> Value {
    if let [block] = blocks.as_slice()
        && let Some(fields) = block.as_object()
        && fields.len() == 2
        && let Some(text) = fields.get("text")
    {
        return text.clone();
    }
    blocks.into()
}

/// White space at the end of a begun answer is not taken.
fn trim_end(blocks: &mut [Value]) {
    if let Some(text) = blocks.last_mut().and_then(|block| block.get_mut("text"))
        && let Some(trimmed) = text.as_str().map(|text| text.trim_end().to_owned())
    {
        *text = trimmed.into();
    }
}
