//! Blocks of content, as messages write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::WIRE;
use crate::chat::{CacheMark, CacheTtl, Content, Form, Part, Piece, Source};
use crate::error::LlmError;
use crate::json::{self, At, Fields};
use crate::loss::{Losses, Place};
use crate::rest::Rest;

/// The pictures that models take.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const NO_INPUT: &str = "is not a JSON object; it is sent as the text that it is, in `_raw`";

/// Reads content: a text or a list of blocks.
pub(crate) fn read_content(value: Value, at: &At<'_>) -> Result<Content, LlmError> {
    match value {
        Value::String(text) => Ok(Content::text(text)),
        Value::Array(blocks) => {
            let block = |(i, block)| read(block, &at.item(i));
            let parts = blocks.into_iter().enumerate().map(block).collect::<Result<_, _>>()?;
            Ok(Content { parts, form: Form::List })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err(at.malformed("a text or a list of blocks is expected here"))
        }
    }
}

/// Reads a block. One that the hub has no part for stays whole.
pub(crate) fn read(value: Value, at: &At<'_>) -> Result<Part, LlmError> {
    let mut fields = Fields::of(value, at)?;
    let Some(of_type) = fields.look("type") else {
        return Err(fields.malformed("type", "this is required"));
    };
    let piece = match of_type {
        "text" => Some(Piece::Text(fields.required_text("text")?)),
        "image" => source(&mut fields)?.map(Piece::Image),
        "document" => match source(&mut fields)? {
            Some(source) => Some(Piece::Document { source, title: fields.text("title")? }),
            None => None,
        },
        "thinking" => {
            let text = fields.required_text("thinking")?;
            Some(Piece::Reasoning { text, signature: fields.text("signature")? })
        }
        "redacted_thinking" => Some(Piece::RedactedReasoning(fields.required_text("data")?)),
        "tool_use" => {
            let id = fields.required_text("id")?;
            let name = fields.required_text("name")?;
            let input = fields.take("input").unwrap_or_else(|| json!({}));
            if !input.is_object() {
                return Err(fields.malformed("input", "an object is expected here"));
            }
            Some(Piece::ToolCall { id, name, arguments: json::text(&input) })
        }
        "tool_result" => Some(tool_result(&mut fields)?),
        _ => None,
    };
    let Some(piece) = piece else {
        return Ok(Part { rest: Rest::new(WIRE, fields.left()), ..Part::new(Piece::Other) });
    };
    fields.take("type");
    let cache = cache_mark(&mut fields);
    Ok(Part { piece, cache, rest: Rest::new(WIRE, fields.left()) })
}

fn tool_result(fields: &mut Fields<'_>) -> Result<Piece, LlmError> {
    let id = fields.required_text("tool_use_id")?;
    let at = fields.at();
    let content = match fields.take("content") {
        Some(content) => read_content(content, &at.name("content"))?,
        None => Content::default(),
    };
    Ok(Piece::ToolResult { id, content, is_error: fields.flag("is_error")? })
}

/// A mark with more to it than is known stays where it is.
pub(super) fn cache_mark(fields: &mut Fields<'_>) -> Option<CacheMark> {
    let mark = fields.get("cache_control")?;
    let ttl = match mark.get("ttl").and_then(Value::as_str) {
        Some("1h") => Some(CacheTtl::Hour),
        Some("5m") => Some(CacheTtl::FiveMinutes),
        Some(_) | None => None,
    };
    let known = CacheMark { ttl };
    if *mark != write_cache_mark(known) {
        return None;
    }
    fields.take("cache_control");
    Some(known)
}

/// Writes a mark.
pub(crate) fn write_cache_mark(mark: CacheMark) -> Value {
    match mark.ttl {
        None => json!({ "type": "ephemeral" }),
        Some(CacheTtl::FiveMinutes) => json!({ "type": "ephemeral", "ttl": "5m" }),
        Some(CacheTtl::Hour) => json!({ "type": "ephemeral", "ttl": "1h" }),
    }
}

/// What is not at a URL nor here is the provider's own, and so is the block.
fn source(fields: &mut Fields<'_>) -> Result<Option<Source>, LlmError> {
    let at = fields.at();
    let at = at.name("source");
    let Some(value) = fields.get("source") else { return Err(at.malformed("this is required")) };
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let source = match text("type").as_deref() {
        Some("url") => text("url").map(Source::Url),
        Some("base64") => match (text("media_type"), text("data")) {
            (Some(media_type), Some(data)) => Some(Source::Base64 { media_type, data }),
            (None, _) | (_, None) => None,
        },
        Some("text") => text("data").map(Source::Text),
        Some(_) => return Ok(None),
        None => return Err(at.malformed("a source with a type is expected here")),
    };
    let source = source.ok_or_else(|| at.malformed("there is no data in the source"))?;
    if write_source(&source) != *value {
        return Ok(None);
    }
    fields.take("source");
    Ok(Some(source))
}

fn write_source(source: &Source) -> Value {
    match source {
        Source::Url(url) => json!({ "type": "url", "url": url }),
        Source::Base64 { media_type, data } => {
            json!({ "type": "base64", "media_type": media_type, "data": data })
        }
        Source::Text(text) => json!({ "type": "text", "media_type": "text/plain", "data": text }),
    }
}

/// Writes blocks, and tells what it cannot write.
pub(crate) struct BlockWriter<'a> {
    /// What is lost.
    pub(crate) losses: &'a mut Losses,
    /// Whether the blocks were read from this format, so that all of them are right for it.
    pub(crate) is_same: bool,
    /// Whether what was reasoned is written where no signature proves it.
    pub(crate) shows_unsigned: bool,
    /// The name to write for a tool.
    pub(crate) name: &'a dyn Fn(&str) -> String,
    /// The id to write for a call.
    pub(crate) id: &'a dyn Fn(&str) -> String,
}

impl BlockWriter<'_> {
    /// Writes content: as a text where it was one or can be one.
    pub(crate) fn content(&mut self, content: &Content, at: &At<'_>) -> Value {
        if let [Part { piece: Piece::Text(text), cache: None, rest }] = content.parts.as_slice()
            && rest.is_empty()
            && (content.form != Form::List || !self.is_same)
        {
            return text.as_str().into();
        }
        Value::Array(self.blocks(&content.parts, at))
    }

    /// Writes parts, one block each or none.
    pub(crate) fn blocks(&mut self, parts: &[Part], at: &At<'_>) -> Vec<Value> {
        let block = |(i, part)| self.block(part, &at.item(i));
        parts.iter().enumerate().filter_map(block).collect()
    }

    fn block(&mut self, part: &Part, at: &At<'_>) -> Option<Value> {
        if part.piece == Piece::Other {
            let whole = part.rest.object(WIRE);
            if whole.is_none() {
                self.losses.refuse(at, "has no equal at this provider");
            }
            return whole.map(|whole| Value::Object(whole.clone()));
        }
        let mut block = self.piece(&part.piece, at)?;
        if let Some(mark) = part.cache {
            block.insert("cache_control".to_owned(), write_cache_mark(mark));
        }
        self.losses.rest(at, Place::Part, &part.rest, WIRE);
        part.rest.complete(WIRE, &mut block);
        Some(Value::Object(block))
    }

    fn piece(&mut self, piece: &Piece, at: &At<'_>) -> Option<Map<String, Value>> {
        match piece {
            // An empty text is not taken.
            Piece::Text(text) | Piece::Refusal(text) if text.is_empty() && !self.is_same => None,
            Piece::Text(text) | Piece::Refusal(text) => {
                Some(json::object([("type", "text".into()), ("text", text.as_str().into())]))
            }
            Piece::Image(source) => {
                let source = self.image(source, at)?;
                Some(json::object([("type", "image".into()), ("source", source)]))
            }
            Piece::Document { source, title } => {
                let source = self.document(source, at)?;
                let mut block = json::object([("type", "document".into()), ("source", source)]);
                if let Some(title) = title {
                    block.insert("title".to_owned(), title.as_str().into());
                }
                Some(block)
            }
            Piece::Audio { .. } => {
                self.losses.refuse(at, "is sound, which this provider does not take");
                None
            }
            Piece::Reasoning { text, signature } => {
                if signature.as_ref().is_none_or(String::is_empty) && !self.shows_unsigned {
                    self.losses.list(at, "has no signature and is left out");
                    return None;
                }
                Some(json::object([
                    ("type", "thinking".into()),
                    ("thinking", text.as_str().into()),
                    ("signature", signature.as_deref().unwrap_or_default().into()),
                ]))
            }
            Piece::RedactedReasoning(data) => Some(json::object([
                ("type", "redacted_thinking".into()),
                ("data", data.as_str().into()),
            ])),
            Piece::ToolCall { id, name, arguments } => Some(json::object([
                ("type", "tool_use".into()),
                ("id", (self.id)(id).into()),
                ("name", (self.name)(name).into()),
                ("input", self.input(arguments, at).into()),
            ])),
            Piece::ToolResult { id, content, is_error } => {
                Some(self.tool_result(id, content, *is_error, at))
            }
            Piece::Other => None,
        }
    }

    fn tool_result(
        &mut self,
        id: &str,
        content: &Content,
        is_error: Option<bool>,
        at: &At<'_>,
    ) -> Map<String, Value> {
        let id = (self.id)(id);
        let mut block = json::object([("type", "tool_result".into()), ("tool_use_id", id.into())]);
        let says_nothing = content
            .parts
            .iter()
            .all(|part| matches!(&part.piece, Piece::Text(text) if text.is_empty()));
        if !says_nothing || (self.is_same && content.form != Form::Any) {
            let inner = self.content(content, &at.name("content"));
            block.insert("content".to_owned(), inner);
        }
        if let Some(is_error) = is_error {
            block.insert("is_error".to_owned(), is_error.into());
        }
        block
    }

    fn image(&mut self, source: &Source, at: &At<'_>) -> Option<Value> {
        let is_right = match source {
            Source::Url(url) => !url.starts_with("data:"),
            Source::Base64 { media_type, .. } => IMAGES.contains(&media_type.as_str()),
            Source::Text(_) => false,
        };
        if !is_right && !self.is_same {
            self.losses.refuse(at, "is not a JPEG, PNG, GIF or WebP in base64, nor at a URL");
            return None;
        }
        Some(write_source(source))
    }

    fn document(&mut self, source: &Source, at: &At<'_>) -> Option<Value> {
        let is_same = self.is_same;
        match source {
            Source::Base64 { media_type, data }
                if media_type.starts_with("text/plain") && !is_same =>
            {
                let bytes = STANDARD.decode(data).ok();
                let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
                if text.is_none() {
                    self.losses.refuse(at, "is not text in UTF-8");
                }
                Some(write_source(&Source::Text(text?)))
            }
            Source::Base64 { media_type, .. } if media_type != "application/pdf" && !is_same => {
                self.losses.refuse(at, "is neither a PDF nor plain text");
                None
            }
            Source::Url(url) if url.starts_with("data:") && !is_same => {
                self.losses.refuse(at, "is not in base64");
                None
            }
            Source::Url(_) | Source::Base64 { .. } | Source::Text(_) => Some(write_source(source)),
        }
    }

    /// Arguments as the object that they are to be. What a model got wrong is not lost.
    fn input(&mut self, arguments: &str, at: &At<'_>) -> Map<String, Value> {
        if arguments.trim().is_empty() {
            return Map::new();
        }
        if let Ok(Value::Object(input)) = serde_json::from_str(arguments) {
            return input;
        }
        self.losses.list(at, NO_INPUT);
        json::object([("_raw", arguments.into())])
    }
}
