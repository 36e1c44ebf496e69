//! Usage, as messages tell it: what is cached stands beside the rest of the prompt, what was reasoned is within the answer.

use serde_json::{Map, Value};

use crate::json;
use crate::usage::Usage;

/// What is known of usage up to now. A stream tells it several times; what it tells replaces what it told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cache_write_5m: Option<u64>,
    cache_write_1h: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
}

impl Told {
    /// Takes what is told.
    pub(crate) fn take(&mut self, usage: &Value) {
        let mut replace = |place: fn(&mut Self) -> &mut Option<u64>, value: Option<&Value>| {
            if let Some(count) = value.and_then(Value::as_u64) {
                *place(self) = Some(count);
            }
        };
        replace(|told| &mut told.input, usage.get("input_tokens"));
        replace(|told| &mut told.cache_read, usage.get("cache_read_input_tokens"));
        replace(|told| &mut told.cache_write, usage.get("cache_creation_input_tokens"));
        replace(|told| &mut told.output, usage.get("output_tokens"));
        let creation = |name: &str| usage.get("cache_creation").and_then(|group| group.get(name));
        replace(|told| &mut told.cache_write_5m, creation("ephemeral_5m_input_tokens"));
        replace(|told| &mut told.cache_write_1h, creation("ephemeral_1h_input_tokens"));
        let details = usage.get("output_tokens_details");
        replace(|told| &mut told.thinking, details.and_then(|group| group.get("thinking_tokens")));
    }

    /// All of it; nothing where nothing was told.
    pub(crate) fn usage(&self) -> Option<Usage> {
        if *self == Self::default() {
            return None;
        }
        let count = |count: Option<u64>| count.unwrap_or(0);
        let (hour, output) = (count(self.cache_write_1h), count(self.output));
        let minutes = match self.cache_write {
            Some(all) => all.saturating_sub(hour),
            None => count(self.cache_write_5m),
        };
        let reasoning_tokens = count(self.thinking).min(output);
        Some(Usage {
            input_tokens: count(self.input),
            cached_input_tokens: count(self.cache_read),
            cache_write_tokens: minutes,
            cache_write_1h_tokens: hour,
            output_tokens: output.saturating_sub(reasoning_tokens),
            reasoning_tokens,
            ..Usage::default()
        })
    }
}

/// Reads the usage of a whole answer.
pub(crate) fn read(usage: &Value) -> Option<Usage> {
    let mut told = Told::default();
    told.take(usage);
    told.usage()
}

/// Writes usage. Sound has no field here and counts as the rest does.
pub(crate) fn write(usage: &Usage) -> Map<String, Value> {
    let input = usage.input_tokens.saturating_add(usage.audio_input_tokens);
    let writes = usage.cache_write_tokens.saturating_add(usage.cache_write_1h_tokens);
    let creation = json::object([
        ("ephemeral_5m_input_tokens", usage.cache_write_tokens.into()),
        ("ephemeral_1h_input_tokens", usage.cache_write_1h_tokens.into()),
    ]);
    let mut written = json::object([
        ("input_tokens", input.into()),
        ("cache_creation_input_tokens", writes.into()),
        ("cache_read_input_tokens", usage.cached_input_tokens.into()),
        ("cache_creation", creation.into()),
        ("output_tokens", usage.total_output_tokens().into()),
    ]);
    if usage.reasoning_tokens > 0 {
        let details = json::object([("thinking_tokens", usage.reasoning_tokens.into())]);
        written.insert("output_tokens_details".to_owned(), details.into());
    }
    written
}
