//! Messages of a conversation, written.

use serde_json::{Map, Value, json};

use super::WIRE;
use crate::chat::{Chat, Content, Form, Message, Part, Piece, Role, Source};
use crate::dialects::openai_chat::message::write_reasoning;
use crate::dialects::openai_chat::write_tool_call;
use crate::json::{self, At};
use crate::loss::{Losses, Place};
use crate::target::{Names, Target};

const OTHERS: &str = "has no equal at this provider";

pub(super) struct MessageWriter<'a> {
    pub(super) chat: &'a Chat,
    pub(super) target: &'a Target,
    pub(super) names: &'a Names,
    pub(super) losses: &'a mut Losses,
    /// Whether they were read from this format.
    pub(super) is_same: bool,
}

impl MessageWriter<'_> {
    pub(super) fn all(&mut self) -> Vec<Value> {
        let (root, mut written) = (At::ROOT, Vec::new());
        let (system, messages) = (root.name("system"), root.name("messages"));
        // Where the caller wrote it, which is beside the messages in the other format.
        let beside = usize::from(self.chat.has_system_beside_messages());
        for (i, message) in self.chat.messages.iter().enumerate() {
            let at = i.checked_sub(beside).map_or(system, |i| messages.item(i));
            self.losses.rest(&at, Place::Message, &message.rest, WIRE);
            match message.role {
                Role::System | Role::Developer => self.system(message, &at, &mut written),
                Role::User | Role::Tool => self.user(message, &at, &mut written),
                Role::Assistant => self.assistant(message, &at, &mut written),
            }
        }
        written
    }

    fn system(&mut self, message: &Message, at: &At<'_>, written: &mut Vec<Value>) {
        let is_developer = message.role == Role::Developer && self.target.takes_developer;
        let role = if is_developer { "developer" } else { "system" };
        let content = if self.is_same {
            self.content(&message.content, at)
        } else {
            // Not everyone who speaks this format takes a list here.
            self.joined(&message.content.parts, "\n", at)
        };
        let object = json::object([("role", role.into()), ("content", content)]);
        written.push(finished(message, object));
    }

    /// Results are messages of their own here, and come first.
    fn user(&mut self, message: &Message, at: &At<'_>, written: &mut Vec<Value>) {
        let mut said = Content { parts: Vec::new(), form: message.content.form };
        let mut has_results = false;
        let content_at = at.name("content");
        for (i, part) in message.content.parts.iter().enumerate() {
            let Piece::ToolResult { id, content, is_error } = &part.piece else {
                said.parts.push(part.clone());
                continue;
            };
            let at = content_at.item(i);
            self.losses.rest(&at, Place::Part, &part.rest, WIRE);
            self.cache(part, &at);
            has_results = true;
            let content = if self.is_same {
                self.content(content, &at)
            } else {
                self.result(content, is_error.unwrap_or(false), &at, &mut said)
            };
            let object = json::object([
                ("role", "tool".into()),
                ("tool_call_id", id.as_str().into()),
                ("content", content),
            ]);
            let rest = if message.role == Role::Tool { Some(message) } else { None };
            written.push(match rest {
                Some(message) => finished(message, object),
                None => object.into(),
            });
        }
        if !has_results || !said.parts.is_empty() {
            let content = self.content(&said, &content_at);
            let object = json::object([("role", "user".into()), ("content", content)]);
            let rest_is_written = has_results && message.role == Role::Tool;
            written.push(if rest_is_written { object.into() } else { finished(message, object) });
        }
    }

    /// Messages of tools hold text alone; a picture follows in a message of the user's.
    fn result(
        &mut self,
        content: &Content,
        is_error: bool,
        at: &At<'_>,
        said: &mut Content,
    ) -> Value {
        let (mut texts, mut others) = (Vec::new(), 0_usize);
        for part in &content.parts {
            match &part.piece {
                Piece::Text(_) | Piece::Document { source: Source::Text(_), .. } => {
                    texts.push(part.clone());
                }
                Piece::Image(_)
                | Piece::Document { .. }
                | Piece::Audio { .. }
                | Piece::Reasoning { .. }
                | Piece::RedactedReasoning(_)
                | Piece::ToolCall { .. }
                | Piece::ToolResult { .. }
                | Piece::Refusal(_)
                | Piece::Other => {
                    said.parts.insert(others, part.clone());
                    others += 1;
                }
            }
        }
        if others > 0 {
            self.losses.list(at, "has what is no text; it follows in a message of the user's");
            texts.push(Part::text("(The rest follows in the next message.)"));
        }
        if is_error {
            self.losses.list(&at.name("is_error"), "is said in words");
            texts.insert(0, Part::text("Error:"));
        }
        self.joined(&texts, "\n", at)
    }

    fn assistant(&mut self, message: &Message, at: &At<'_>, written: &mut Vec<Value>) {
        let (mut said, mut calls) = (Vec::new(), Vec::new());
        let (mut refusal, is_list) = (String::new(), message.content.form == Form::List);
        let content_at = at.name("content");
        for (i, part) in message.content.parts.iter().enumerate() {
            let at = content_at.item(i);
            match &part.piece {
                Piece::ToolCall { id, name, arguments } => {
                    self.losses.rest(&at, Place::Part, &part.rest, WIRE);
                    self.cache(part, &at);
                    let mut call = write_tool_call(id, self.names.sent(name), arguments);
                    part.rest.complete(WIRE, &mut call);
                    calls.push(Value::Object(call));
                }
                Piece::Reasoning { .. } | Piece::RedactedReasoning(_) => {
                    if !self.is_same && !self.target.wants_reasoning_back {
                        self.losses.list(&at, "is what another model reasoned, and left out");
                    }
                }
                Piece::Refusal(text) if !(self.is_same && is_list) => refusal.push_str(text),
                Piece::Other if part.rest.get(WIRE, "id").is_some() => {
                    let call = part.rest.object(WIRE).cloned().unwrap_or_default();
                    calls.push(Value::Object(call));
                }
                Piece::Text(_)
                | Piece::Image(_)
                | Piece::Document { .. }
                | Piece::Audio { .. }
                | Piece::ToolResult { .. }
                | Piece::Refusal(_)
                | Piece::Other => said.push(part.clone()),
            }
        }
        let mut object = json::object([("role", "assistant".into())]);
        if !said.is_empty() || (is_list && self.is_same) {
            let content = if self.is_same {
                self.content(&Content { parts: said, form: message.content.form }, &content_at)
            } else {
                self.joined(&said, "", &content_at)
            };
            object.insert("content".to_owned(), content);
        } else if !self.is_same && calls.is_empty() && refusal.is_empty() {
            object.insert("content".to_owned(), "".into());
        }
        if !refusal.is_empty() {
            object.insert("refusal".to_owned(), refusal.into());
        }
        if self.is_same || self.target.wants_reasoning_back {
            write_reasoning(&message.content.parts, &message.rest, &mut object);
        }
        // Signatures are for whoever made them.
        if !self.is_same {
            object.shift_remove("thinking_blocks");
        }
        if !calls.is_empty() {
            object.insert("tool_calls".to_owned(), calls.into());
        }
        written.push(finished(message, object));
    }

    /// Texts as one, with what is no text refused.
    fn joined(&mut self, parts: &[Part], separator: &str, at: &At<'_>) -> Value {
        let mut texts = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            let at = at.item(i);
            self.cache(part, &at);
            if part.piece != Piece::Other {
                self.losses.rest(&at, Place::Part, &part.rest, WIRE);
            }
            match &part.piece {
                Piece::Text(text)
                | Piece::Refusal(text)
                | Piece::Document { source: Source::Text(text), .. } => texts.push(text.as_str()),
                Piece::Image(_)
                | Piece::Document { .. }
                | Piece::Audio { .. }
                | Piece::Reasoning { .. }
                | Piece::RedactedReasoning(_)
                | Piece::ToolCall { .. }
                | Piece::ToolResult { .. }
                | Piece::Other => self.losses.refuse(&at, OTHERS),
            }
        }
        texts.join(separator).into()
    }

    /// A text where it was one or can be one, else a list of parts.
    fn content(&mut self, content: &Content, at: &At<'_>) -> Value {
        if let [Part { piece: Piece::Text(text), cache, rest }] = content.parts.as_slice()
            && rest.is_empty()
            && (content.form != Form::List || !self.is_same)
        {
            if cache.is_some() {
                self.losses.list(&at.item(0).name("cache_control"), "is left out");
            }
            return text.as_str().into();
        }
        let part = |(i, part)| self.part(part, &at.item(i));
        content.parts.iter().enumerate().filter_map(part).collect()
    }

    fn part(&mut self, part: &Part, at: &At<'_>) -> Option<Value> {
        self.cache(part, at);
        let mut object = match &part.piece {
            Piece::Text(text) => {
                json::object([("type", "text".into()), ("text", text.as_str().into())])
            }
            Piece::Refusal(text) => {
                json::object([("type", "refusal".into()), ("refusal", text.as_str().into())])
            }
            Piece::Image(source) => {
                let url = json!({ "url": url(source) });
                json::object([("type", "image_url".into()), ("image_url", url)])
            }
            Piece::Document { source: Source::Text(text), title } if !self.is_same => {
                if title.is_some() {
                    self.losses.list(&at.name("title"), "is left out");
                }
                json::object([("type", "text".into()), ("text", text.as_str().into())])
            }
            Piece::Document { source: Source::Url(_), .. } if !self.is_same => {
                self.losses.refuse(at, "is at a URL, which this provider does not fetch");
                return None;
            }
            Piece::Document { source, title } => {
                let mut file = json::object([("file_data", url(source).into())]);
                let title = title.as_deref().or(if self.is_same { None } else { Some("document") });
                if let Some(title) = title {
                    file.insert("filename".to_owned(), title.into());
                }
                json::object([("type", "file".into()), ("file", file.into())])
            }
            Piece::Audio { base64, format } => json::object([
                ("type", "input_audio".into()),
                ("input_audio", json!({ "data": base64, "format": format })),
            ]),
            Piece::Other => match part.rest.object(WIRE) {
                Some(whole) => return Some(Value::Object(whole.clone())),
                None => {
                    self.losses.refuse(at, OTHERS);
                    return None;
                }
            },
            Piece::Reasoning { .. }
            | Piece::RedactedReasoning(_)
            | Piece::ToolCall { .. }
            | Piece::ToolResult { .. } => {
                self.losses.refuse(at, "does not belong into a message of this role");
                return None;
            }
        };
        self.losses.rest(at, Place::Part, &part.rest, WIRE);
        part.rest.complete(WIRE, &mut object);
        Some(Value::Object(object))
    }

    /// A mark of this format's own is in the rest.
    fn cache(&mut self, part: &Part, at: &At<'_>) {
        if part.cache.is_some() && part.rest.object(WIRE).is_none() {
            self.losses.list(&at.name("cache_control"), "is left out");
        }
    }
}

fn finished(message: &Message, mut object: Map<String, Value>) -> Value {
    message.rest.complete(WIRE, &mut object);
    Value::Object(object)
}

fn url(source: &Source) -> String {
    match source {
        Source::Url(url) => url.clone(),
        Source::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
        // Only a caller within makes one of these for this format.
        Source::Text(text) => {
            use base64::Engine as _;
            let data = base64::engine::general_purpose::STANDARD.encode(text);
            format!("data:text/plain;base64,{data}")
        }
    }
}
