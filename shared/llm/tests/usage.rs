//! Usage, from one format into the other.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use serde_json::{Value, json};
use support::{asked, value};
use tollgate_llm::{Dialect, Provider};

/// What one provider tells, as the other format tells it.
fn told(provider: Provider, usage: &Value, dialect: Dialect) -> Value {
    let body = match provider {
        Provider::OpenAi => json!({
            "choices": [{ "message": { "content": "x" }, "finish_reason": "stop" }],
            "usage": usage,
        }),
        Provider::Anthropic => json!({ "content": [], "stop_reason": "end_turn", "usage": usage }),
    };
    let reply = provider.parse(body.to_string().as_bytes(), &Default::default());
    value(&dialect.render(&reply.expect("an answer"), &asked()).body)["usage"].take()
}

fn openai(of: &Value) -> [u64; 6] {
    let count = |value: &Value| value.as_u64().expect("a number");
    let prompt = &of["prompt_tokens_details"];
    [
        count(&of["prompt_tokens"]),
        count(&prompt["cached_tokens"]),
        count(&prompt["cache_write_tokens"]),
        count(&of["completion_tokens"]),
        count(&of["completion_tokens_details"]["reasoning_tokens"]),
        count(&of["total_tokens"]),
    ]
}

#[test]
fn anthropics_usage_is_added_up_for_openai() {
    let usage = json!({
        "input_tokens": 18, "cache_read_input_tokens": 64, "cache_creation_input_tokens": 100,
        "output_tokens": 57, "output_tokens_details": { "thinking_tokens": 21 },
    });
    let told = told(Provider::Anthropic, &usage, Dialect::OpenAiChat);
    assert_eq!(openai(&told), [182, 64, 100, 57, 21, 239]);
}

#[test]
fn openais_usage_is_taken_apart_for_anthropic() {
    let usage = json!({
        "prompt_tokens": 182, "completion_tokens": 57,
        "prompt_tokens_details": { "cached_tokens": 64, "cache_write_tokens": 100 },
    });
    let told = told(Provider::OpenAi, &usage, Dialect::AnthropicMessages);
    assert_eq!(told["input_tokens"], 18);
    assert_eq!(told["cache_read_input_tokens"], 64);
    assert_eq!(told["cache_creation_input_tokens"], 100);
    assert_eq!(told["output_tokens"], 57);
}

#[test]
fn what_xai_counts_beside_the_answer_is_counted_once() {
    let usage = json!({
        "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 35,
        "completion_tokens_details": { "reasoning_tokens": 20 },
    });
    let told = told(Provider::OpenAi, &usage, Dialect::AnthropicMessages);
    assert_eq!(told["output_tokens"], 25);
    assert_eq!(told["output_tokens_details"]["thinking_tokens"], 20);
    // The same numbers with a total that has it within.
    let mut within = usage;
    within["completion_tokens"] = 25.into();
    let told = self::told(Provider::OpenAi, &within, Dialect::AnthropicMessages);
    assert_eq!(told["output_tokens"], 25);
}

#[test]
fn names_that_others_have_for_the_cache_are_read() {
    for usage in [
        json!({ "prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 8 }),
        json!({ "prompt_tokens": 10, "completion_tokens": 1, "cached_tokens": 8 }),
    ] {
        let told = told(Provider::OpenAi, &usage, Dialect::AnthropicMessages);
        assert_eq!(
            (&told["input_tokens"], &told["cache_read_input_tokens"]),
            (&json!(2), &json!(8))
        );
    }
}

#[test]
fn numbers_that_cannot_be_come_to_nothing_instead_of_wrapping() {
    let most = u64::MAX;
    let usage = json!({
        "prompt_tokens": 1, "completion_tokens": most, "total_tokens": 2,
        "prompt_tokens_details": { "cached_tokens": most, "audio_tokens": most },
        "completion_tokens_details": { "reasoning_tokens": most, "audio_tokens": -5 },
    });
    let told = told(Provider::OpenAi, &usage, Dialect::AnthropicMessages);
    assert_eq!(told["cache_read_input_tokens"], most);
    let usage = json!({ "input_tokens": most, "cache_creation_input_tokens": 1, "output_tokens": most,
        "cache_creation": { "ephemeral_1h_input_tokens": most },
        "output_tokens_details": { "thinking_tokens": most } });
    let told = self::told(Provider::Anthropic, &usage, Dialect::OpenAiChat);
    assert_eq!(told["prompt_tokens"], most);
    assert_eq!(told["completion_tokens"], most);
}
