//! How much a field of this format says that the hub has no place for.

use serde_json::Value;

use crate::loss::{Place, Weight};

pub(crate) fn weight(place: Place, field: &str, value: &Value) -> Weight {
    match place {
        Place::Chat => chat(field, value),
        Place::Message => match field {
            "reasoning_content" | "reasoning" | "thinking_blocks" => Weight::Nothing,
            "name" | "annotations" => Weight::Hint,
            _ => Weight::Meaning,
        },
        Place::Part => match field {
            "cache_control" | "prompt_cache_breakpoint" => Weight::Nothing,
            "image_url" if has_only(value, "detail") => Weight::Hint,
            _ => Weight::Meaning,
        },
        Place::Tool => match field {
            "cache_control" => Weight::Nothing,
            _ => Weight::Meaning,
        },
        Place::Reply => match field {
            "usage" | "reasoning_content" | "reasoning" | "thinking_blocks" => Weight::Nothing,
            _ => Weight::Hint,
        },
    }
}

fn chat(field: &str, value: &Value) -> Weight {
    let is_off = *value == Value::Bool(false);
    match field {
        // The hub knows them, under another name or in another shape.
        "stop"
        | "max_tokens"
        | "max_completion_tokens"
        | "stream"
        | "stream_options"
        | "user"
        | "safety_identifier" => Weight::Nothing,
        "n" if value.as_u64() == Some(1) => Weight::Nothing,
        "top_logprobs" if value.as_u64() == Some(0) => Weight::Nothing,
        "logprobs" | "store" if is_off => Weight::Nothing,
        "modalities" if *value == serde_json::json!(["text"]) => Weight::Nothing,
        "store"
        | "metadata"
        | "logit_bias"
        | "prediction"
        | "verbosity"
        | "prompt_cache_key"
        | "prompt_cache_options"
        | "prompt_cache_retention" => Weight::Hint,
        _ => Weight::Meaning,
    }
}

fn has_only(value: &Value, name: &str) -> bool {
    value.as_object().is_some_and(|fields| fields.keys().all(|field| field == name))
}
