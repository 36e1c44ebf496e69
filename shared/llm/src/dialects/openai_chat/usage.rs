//! Usage, as chat completions tell it: the parts of a number are within it.

use serde_json::{Map, Value};

use crate::json;
use crate::usage::Usage;

/// Reads usage. What is missing is nothing; what is more than the whole it is part of counts for itself.
pub(crate) fn read(usage: &Value) -> Option<Usage> {
    let usage = usage.as_object()?;
    let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
    let detail = |group: &str, name: &str| {
        let value = usage.get(group).and_then(|group| group.get(name));
        value.and_then(Value::as_u64).unwrap_or(0)
    };
    let (prompt, completion) = (count("prompt_tokens"), count("completion_tokens"));
    // Moonshot tells it outside the details, DeepSeek under a name of its own.
    let cached = [
        detail("prompt_tokens_details", "cached_tokens"),
        count("cached_tokens"),
        count("prompt_cache_hit_tokens"),
    ];
    let cached_input_tokens = cached.into_iter().max().unwrap_or(0);
    let cache_write_tokens = detail("prompt_tokens_details", "cache_write_tokens");
    let audio_input_tokens = detail("prompt_tokens_details", "audio_tokens");
    let reasoning_tokens = detail("completion_tokens_details", "reasoning_tokens");
    let audio_output_tokens = detail("completion_tokens_details", "audio_tokens");
    // xAI counts what was reasoned beside the answer; its total tells.
    let with_reasoning = prompt.saturating_add(completion).saturating_add(reasoning_tokens);
    let is_beside = reasoning_tokens > 0 && count("total_tokens") == with_reasoning;
    let within_completion = if is_beside { 0 } else { reasoning_tokens };
    Some(Usage {
        input_tokens: prompt
            .saturating_sub(cached_input_tokens)
            .saturating_sub(cache_write_tokens)
            .saturating_sub(audio_input_tokens),
        cached_input_tokens,
        cache_write_tokens,
        cache_write_1h_tokens: 0,
        audio_input_tokens,
        output_tokens: completion
            .saturating_sub(within_completion)
            .saturating_sub(audio_output_tokens),
        reasoning_tokens,
        audio_output_tokens,
    })
}

/// Writes usage.
pub(crate) fn write(usage: &Usage) -> Map<String, Value> {
    let (prompt, completion) = (usage.total_input_tokens(), usage.total_output_tokens());
    let cache_writes = usage.cache_write_tokens.saturating_add(usage.cache_write_1h_tokens);
    let prompt_details = json::object([
        ("cached_tokens", usage.cached_input_tokens.into()),
        ("cache_write_tokens", cache_writes.into()),
        ("audio_tokens", usage.audio_input_tokens.into()),
    ]);
    let completion_details = json::object([
        ("reasoning_tokens", usage.reasoning_tokens.into()),
        ("audio_tokens", usage.audio_output_tokens.into()),
    ]);
    json::object([
        ("prompt_tokens", prompt.into()),
        ("completion_tokens", completion.into()),
        ("total_tokens", prompt.saturating_add(completion).into()),
        ("prompt_tokens_details", prompt_details.into()),
        ("completion_tokens_details", completion_details.into()),
    ])
}
