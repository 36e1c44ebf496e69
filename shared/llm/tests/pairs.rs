//! Whole exchanges of every dialect with every provider: a question, an answer with reasoning and calls, the results
//! sent back as the client got them.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use serde_json::{Value, json};
use support::{collected, events, target, told, value, written};
use tollgate_llm::{Asked, Dialect, Provider, Reply, Target};

const NOW: u64 = 1_790_000_001;

fn question(dialect: Dialect, is_stream: bool) -> Value {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    match dialect {
        Dialect::OpenAiChat => json!({
            "model": "m", "stream": is_stream, "reasoning_effort": "high", "max_completion_tokens": 4000,
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": [
                    { "type": "text", "text": "What is the weather here, and in Oslo?" },
                    { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=" } },
                ] },
            ],
            "tools": [{ "type": "function", "function": { "name": "get_weather", "parameters": schema } }],
        }),
        Dialect::AnthropicMessages => json!({
            "model": "m", "stream": is_stream, "max_tokens": 4000,
            "thinking": { "type": "adaptive" }, "output_config": { "effort": "high" },
            "system": "Be brief.",
            "messages": [{ "role": "user", "content": [
                { "type": "text", "text": "What is the weather here, and in Oslo?" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo=" } },
            ] }],
            "tools": [{ "name": "get_weather", "input_schema": schema }],
        }),
    }
}

fn answer(provider: Provider) -> Value {
    match provider {
        Provider::OpenAi => json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": "gpt",
            "choices": [{ "index": 0, "finish_reason": "tool_calls", "logprobs": null, "message": {
                "role": "assistant", "content": "Checking.", "refusal": null, "reasoning_content": "Two cities.",
                "tool_calls": [
                    { "id": "call_a", "type": "function", "function": { "name": "get_weather", "arguments": "{\"city\":\"Bergen\"}" } },
                    { "id": "call_b", "type": "function", "function": { "name": "get_weather", "arguments": "{\"city\":\"Oslo\"}" } },
                ],
            } }],
            "usage": { "prompt_tokens": 80, "completion_tokens": 20, "total_tokens": 100 },
        }),
        Provider::Anthropic => json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
            "content": [
                { "type": "thinking", "thinking": "Two cities.", "signature": "EqQB" },
                { "type": "redacted_thinking", "data": "Zm9v" },
                { "type": "text", "text": "Checking." },
                { "type": "tool_use", "id": "toolu_a", "name": "get_weather", "input": { "city": "Bergen" } },
                { "type": "tool_use", "id": "toolu_b", "name": "get_weather", "input": { "city": "Oslo" } },
            ],
            "stop_reason": "tool_use", "stop_sequence": null,
            "usage": { "input_tokens": 80, "output_tokens": 20 },
        }),
    }
}

/// The next request of a client that adds the answer as it got it, and the results.
fn next(dialect: Dialect, mut asked: Value, answered: &Value) -> Value {
    let mut messages = asked["messages"].as_array().unwrap().clone();
    match dialect {
        Dialect::OpenAiChat => {
            let message = answered["choices"][0]["message"].clone();
            messages.push(message.clone());
            for call in message["tool_calls"].as_array().unwrap() {
                messages.push(
                    json!({ "role": "tool", "tool_call_id": call["id"], "content": "4 degrees" }),
                );
            }
        }
        Dialect::AnthropicMessages => {
            messages.push(json!({ "role": "assistant", "content": answered["content"] }));
            let calls = answered["content"].as_array().unwrap().iter();
            let calls = calls.filter(|block| block["type"] == "tool_use");
            let result = |call: &Value| json!({ "type": "tool_result", "tool_use_id": call["id"], "content": "4 degrees" });
            let results: Vec<Value> = calls.map(result).collect();
            messages.push(json!({ "role": "user", "content": results }));
        }
    }
    asked["messages"] = messages.into();
    asked
}

/// One exchange: what was sent, and the hub's answer.
fn exchange(dialect: Dialect, provider: Provider, asked: &Value) -> (Value, Reply, Value) {
    let chat = dialect.parse(asked.to_string().as_bytes()).unwrap();
    let outgoing = provider.render(&chat, &target()).unwrap();
    let answer = answer(provider).to_string();
    let reply = provider.parse(answer.as_bytes(), &outgoing.reading).unwrap();
    let shown = dialect.render(&reply, &Asked::of(&chat, NOW));
    (value(&outgoing.body), reply, value(&shown.body))
}

#[test]
fn every_pair_asks_answers_and_takes_the_results() {
    for dialect in Dialect::ALL {
        for provider in Provider::ALL {
            let asked = question(*dialect, false);
            let (first, _, answered) = exchange(*dialect, *provider, &asked);
            let (second, ..) = exchange(*dialect, *provider, &next(*dialect, asked, &answered));
            let name = format!("{}_with_{}", dialect.name(), provider.name());
            let whole = json!({ "first": first, "answered": answered, "second": second });
            insta::assert_json_snapshot!(name, whole);
        }
    }
}

#[test]
fn what_was_reasoned_comes_back_to_anthropic_as_it_was_signed() {
    let expected = json!([
        { "type": "thinking", "thinking": "Two cities.", "signature": "EqQB" },
        { "type": "redacted_thinking", "data": "Zm9v" },
    ]);
    for dialect in Dialect::ALL {
        let asked = question(*dialect, false);
        let (.., answered) = exchange(*dialect, Provider::Anthropic, &asked);
        let (second, ..) =
            exchange(*dialect, Provider::Anthropic, &next(*dialect, asked, &answered));
        let blocks = second["messages"][1]["content"].as_array().unwrap();
        assert_eq!(Value::from(&blocks[..2]), expected, "{}", dialect.name());
        assert_eq!(blocks[2]["text"], "Checking.");
        assert_eq!(blocks.len(), 5);
    }
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    for dialect in Dialect::ALL {
        for provider in Provider::ALL {
            let asked = question(*dialect, true);
            let chat = dialect.parse(asked.to_string().as_bytes()).unwrap();
            assert!(chat.is_stream);
            let outgoing = provider.render(&chat, &target()).unwrap();
            assert_eq!(value(&outgoing.body)["stream"], true);
            let (_, reply, _) = exchange(*dialect, *provider, &asked);
            // The provider's stream, as its own dialect writes it.
            let same = support::same_dialect(*provider);
            let (sent, _) = written(same, support::asked(), &support::as_events(&reply));
            let (read, error) = events(*provider, outgoing.reading, &[sent.as_bytes()]);
            assert!(error.is_none(), "{error:?}");
            let through = collected(&read);
            assert_eq!((&through.parts, &through.finish), (&reply.parts, &reply.finish));
            assert_eq!(through.usage, reply.usage);
            // And as the client's dialect writes it, read by a client.
            let (shown, lost) = written(*dialect, support::asked(), &read);
            assert_eq!(told(&lost), json!([]));
            let client = support::same_provider(*dialect);
            let (seen, error) = events(client, Default::default(), &[shown.as_bytes()]);
            assert!(error.is_none(), "{error:?}");
            let seen = collected(&seen);
            assert_eq!(seen.finish, reply.finish);
            let calls = |reply: &Reply| {
                let calls =
                    reply.parts.iter().filter(|part| format!("{part:?}").contains("ToolCall"));
                calls.cloned().collect::<Vec<_>>()
            };
            assert_eq!(calls(&seen), calls(&reply));
            assert_eq!(calls(&seen).len(), 2);
        }
    }
}

#[test]
fn a_client_that_did_not_ask_for_reasoning_or_usage_gets_none() {
    let (_, reply, _) =
        exchange(Dialect::OpenAiChat, Provider::OpenAi, &question(Dialect::OpenAiChat, false));
    let quiet = Asked { now_secs: NOW, ..Asked::default() };
    let shown = Dialect::AnthropicMessages.render(&reply, &quiet);
    assert_eq!(value(&shown.body)["content"][0]["type"], "text");
    assert_eq!(told(&shown.lost), json!(["/content/0 has no signature and is left out"]));
    let (shown, _) =
        written(Dialect::AnthropicMessages, quiet.clone(), &support::as_events(&reply));
    assert!(!shown.contains("thinking"), "{shown}");
    let (shown, _) = written(Dialect::OpenAiChat, quiet, &support::as_events(&reply));
    assert!(!shown.contains("usage") && shown.ends_with("data: [DONE]\n\n"), "{shown}");
}

#[test]
fn an_answer_is_shown_under_the_name_that_the_caller_gave_the_model() {
    let (_, reply, _) =
        exchange(Dialect::OpenAiChat, Provider::OpenAi, &question(Dialect::OpenAiChat, false));
    let asked = Asked { model: Some("fast".to_owned()), ..support::asked() };
    for dialect in Dialect::ALL {
        assert_eq!(value(&dialect.render(&reply, &asked).body)["model"], "fast");
        let (shown, _) = written(*dialect, asked.clone(), &support::as_events(&reply));
        assert!(shown.contains("\"model\":\"fast\"") && !shown.contains("\"gpt\""), "{shown}");
    }
}

#[test]
fn what_a_model_does_not_take_is_left_out_or_refused() {
    let body = json!({
        "model": "m", "temperature": 0.5, "reasoning_effort": "high", "max_tokens": 500,
        "messages": [
            { "role": "developer", "content": "Be brief." },
            { "role": "user", "content": "Hi" },
            { "role": "system", "content": "Be long." },
            { "role": "user", "content": "Ho" },
            { "role": "assistant", "content": "Hum " },
        ],
    });
    let chat = Dialect::OpenAiChat.parse(body.to_string().as_bytes()).unwrap();
    let plain = Target::new("x");
    let budget = Target {
        takes_late_system: true,
        reasoning: tollgate_llm::target::ReasoningForm::Budget,
        max_output_tokens: Some(8000),
        ..plain.clone()
    };
    let sent = value(&Provider::Anthropic.render(&chat, &budget).unwrap().body);
    assert_eq!(sent["max_tokens"], 8000);
    assert_eq!(sent["thinking"], json!({ "type": "enabled", "budget_tokens": 7999 }));
    assert_eq!(sent["temperature"], Value::Null);
    assert_eq!(sent["messages"][1], json!({ "role": "system", "content": "Be long." }));
    assert_eq!(sent["messages"][3], json!({ "role": "assistant", "content": "Hum" }));
    let old = Target {
        takes_prefill: false,
        takes_developer: false,
        takes_sampling: false,
        takes_stream_options: false,
        reasoning: tollgate_llm::target::ReasoningForm::None,
        ..plain
    };
    let refused = Provider::Anthropic.render(&chat, &old).unwrap_err();
    assert_eq!(refused.failure().code, "unsupported_parameter");
    let mut streamed = chat;
    streamed.is_stream = true;
    let sent = Provider::OpenAi.render(&streamed, &old).unwrap();
    let told = told(&sent.lost);
    let sent = value(&sent.body);
    assert_eq!(sent["messages"][0]["role"], "system");
    assert_eq!((&sent["temperature"], &sent["reasoning_effort"]), (&Value::Null, &Value::Null));
    assert_eq!((&sent["stream_options"], &sent["stream"]), (&Value::Null, &json!(true)));
    assert_eq!(sent["max_tokens"], 500, "as the caller wrote it");
    assert_eq!(told.as_array().unwrap().len(), 2, "{told}");
}
