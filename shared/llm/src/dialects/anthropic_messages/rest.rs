//! How much a field of this format says that the hub has no place for.

use serde_json::Value;

use crate::loss::{Place, Weight};

pub(crate) fn weight(place: Place, field: &str, value: &Value) -> Weight {
    match place {
        Place::Chat => match field {
            // The hub knows them.
            "stream" => Weight::Nothing,
            "metadata" if has_only(value, "user_id") => Weight::Nothing,
            "metadata" | "thinking" | "cache_control" | "speed" | "diagnostics"
            | "user_profile_id" => Weight::Hint,
            _ => Weight::Meaning,
        },
        Place::Message => Weight::Meaning,
        Place::Part => match field {
            // An answer's quotations, in a conversation; a document's is the wish for them.
            "citations" if value.is_array() => Weight::Hint,
            "citations" if value.get("enabled") == Some(&Value::Bool(false)) => Weight::Nothing,
            "caller" | "toolset_name" | "transformations" | "cache_control" => Weight::Hint,
            _ => Weight::Meaning,
        },
        Place::Tool => match field {
            "type" if *value == "custom" => Weight::Nothing,
            "defer_loading" if *value == Value::Bool(false) => Weight::Nothing,
            "allowed_callers" if *value == serde_json::json!(["direct"]) => Weight::Nothing,
            "input_examples" | "eager_input_streaming" | "cache_control" => Weight::Hint,
            _ => Weight::Meaning,
        },
        Place::Reply => match field {
            "usage" | "stop_details" => Weight::Nothing,
            _ => Weight::Hint,
        },
    }
}

fn has_only(value: &Value, name: &str) -> bool {
    value.as_object().is_some_and(|fields| fields.keys().all(|field| field == name))
}
