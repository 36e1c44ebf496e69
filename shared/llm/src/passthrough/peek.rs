//! A request of the same format: the little of it that is read, and the name that is replaced.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::LlmError;
use crate::json;
use crate::rest::Wire;

/// What is read of a request that passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peeked {
    /// The model, as the caller names it.
    pub model: String,
    /// Whether the answer is wanted as a stream.
    pub is_stream: bool,
    /// The most tokens of one answer, where the caller says so.
    pub max_output_tokens: Option<u64>,
    /// How many answers are wanted; 1 where the caller does not say.
    pub answers: u64,
    /// Whether the stream is to end with its usage. Those of Anthropic always tell it.
    pub wants_usage: bool,
    places: Places,
}

/// Where the values stand that can be replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places {
    model: Range<usize>,
    stream_options: Option<Range<usize>>,
}

/// A request as it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// Its bytes.
    pub body: Vec<u8>,
    /// Whether usage was asked for that the caller did not ask for: it has to be taken out of the stream
    /// again, by a [`UsageFilter`](super::UsageFilter).
    pub hides_usage: bool,
}

/// Reads what is needed of a request.
///
/// # Errors
///
/// [`LlmError::Json`] where it is not JSON or says something twice of what is read here: another parser may take the
/// other one. [`LlmError::Malformed`] where something is not what it must be.
pub fn peek(wire: Wire, body: &[u8]) -> Result<Peeked, LlmError> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(LlmError::Malformed { at: String::new(), problem: "it is not UTF-8" });
    };
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|source| LlmError::Json { source })?;
    let malformed =
        |name: &str, problem: &'static str| LlmError::Malformed { at: format!("/{name}"), problem };
    let parsed = |raw: Option<&RawValue>| raw.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let model_raw = raw.model.ok_or_else(|| malformed("model", "this is required"))?;
    let Some(Value::String(model)) = parsed(Some(model_raw)) else {
        return Err(malformed("model", "a text is expected here"));
    };
    let is_stream = match parsed(raw.stream) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(is_stream)) => is_stream,
        Some(_) => return Err(malformed("stream", "true or false is expected here")),
    };
    let count = |name: &str, raw: Option<&RawValue>| match parsed(raw) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let problem = "a whole number from 0 is expected here";
            value.as_u64().map(Some).ok_or_else(|| malformed(name, problem))
        }
    };
    let most = count("max_tokens", raw.max_tokens)?;
    let completion = count("max_completion_tokens", raw.max_completion_tokens)?;
    let options = raw.stream_options.map(|raw| json::parse(raw.get().as_bytes())).transpose()?;
    let asks = options.as_ref().and_then(|options| options.get("include_usage"));
    let is_openai = wire == Wire::OpenAiChat;
    Ok(Peeked {
        model,
        is_stream,
        max_output_tokens: if is_openai { completion.or(most) } else { most },
        answers: if is_openai { count("n", raw.n)?.unwrap_or(1) } else { 1 },
        wants_usage: !is_openai || asks == Some(&Value::Bool(true)),
        places: Places {
            model: place(text, model_raw),
            stream_options: raw.stream_options.map(|raw| place(text, raw)),
        },
    })
}

/// Replaces the name of the model, and asks for the usage of a stream of OpenAI's where the caller does not. Every other
/// byte stays.
///
/// # Errors
///
/// [`LlmError::Malformed`] where `stream_options` is no object. `peeked` must be of the same body.
pub fn rename(wire: Wire, body: &[u8], peeked: &Peeked, model: &str) -> Result<Renamed, LlmError> {
    let mut edits = vec![(peeked.places.model.clone(), json::text(&model))];
    let hides_usage = wire == Wire::OpenAiChat && peeked.is_stream && !peeked.wants_usage;
    if hides_usage {
        edits.push(usage_edit(body, peeked)?);
    }
    edits.sort_by_key(|(place, _)| place.start);
    let mut written = Vec::with_capacity(body.len().saturating_add(64));
    let mut from = 0;
    for (place, text) in edits {
        written.extend_from_slice(body.get(from..place.start).unwrap_or_default());
        written.extend_from_slice(text.as_bytes());
        from = place.end;
    }
    written.extend_from_slice(body.get(from..).unwrap_or_default());
    Ok(Renamed { body: written, hides_usage })
}

fn usage_edit(body: &[u8], peeked: &Peeked) -> Result<(Range<usize>, String), LlmError> {
    let Some(place) = peeked.places.stream_options.clone() else {
        // There is a model before it, so there is a comma.
        let end = body.iter().rposition(|byte| *byte == b'}').unwrap_or(body.len());
        return Ok((end..end, r#","stream_options":{"include_usage":true}"#.to_owned()));
    };
    let mut options = match json::parse(body.get(place.clone()).unwrap_or_default())? {
        Value::Object(options) => options,
        Value::Null => json::object([]),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            let problem = "an object is expected here";
            return Err(LlmError::Malformed { at: "/stream_options".to_owned(), problem });
        }
    };
    options.insert("include_usage".to_owned(), true.into());
    Ok((place, json::text(&options)))
}

/// Where a value that was read from a text stands in it.
fn place(text: &str, raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start.saturating_add(raw.get().len())
}

/// The values as they are written, and nothing of all others.
#[derive(Default)]
struct Raw<'a> {
    model: Option<&'a RawValue>,
    stream: Option<&'a RawValue>,
    stream_options: Option<&'a RawValue>,
    max_tokens: Option<&'a RawValue>,
    max_completion_tokens: Option<&'a RawValue>,
    n: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw<'de>, A::Error> {
        let mut raw = Raw::default();
        while let Some(name) = entries.next_key::<Name>()? {
            let place = match name {
                Name::Other => {
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
                Name::Model => &mut raw.model,
                Name::Stream => &mut raw.stream,
                Name::StreamOptions => &mut raw.stream_options,
                Name::MaxTokens => &mut raw.max_tokens,
                Name::MaxCompletionTokens => &mut raw.max_completion_tokens,
                Name::N => &mut raw.n,
            };
            if place.replace(entries.next_value()?).is_some() {
                return Err(A::Error::custom("a name stands twice in one object"));
            }
        }
        Ok(raw)
    }
}

/// A name of a field, with its escapes undone.
enum Name {
    Model,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    N,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(match name {
            "model" => Name::Model,
            "stream" => Name::Stream,
            "stream_options" => Name::StreamOptions,
            "max_tokens" => Name::MaxTokens,
            "max_completion_tokens" => Name::MaxCompletionTokens,
            "n" => Name::N,
            _ => Name::Other,
        })
    }
}
