//! Nothing that a caller or a provider sends takes unbounded memory, depth or time.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use serde_json::{Value, json};
use support::{asked, events, target, value};
use tollgate_llm::chat::{Part, Piece};
use tollgate_llm::loss::MAX_TOLD;
use tollgate_llm::reply::Delta;
use tollgate_llm::rest::{Rest, Wire};
use tollgate_llm::{Dialect, Event, LlmError, Provider, Reading, passthrough};

fn request(more: &Value) -> Vec<u8> {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string().into_bytes()
}

#[test]
fn depth_is_refused_before_it_is_a_stack() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let body = format!("{{\"model\":\"m\",\"messages\":{deep}}}");
    for dialect in Dialect::ALL {
        let refused = dialect.parse(body.as_bytes());
        assert!(matches!(refused, Err(LlmError::Json { .. })), "{refused:?}");
        // What passes is not parsed, so its depth costs nothing.
        assert_eq!(passthrough::peek(dialect.wire(), body.as_bytes()).unwrap().model, "m");
    }
    for provider in Provider::ALL {
        assert!(provider.parse(deep.as_bytes(), &Reading::default()).is_err());
        let stream = format!("data: {deep}\n\n");
        assert!(events(*provider, Reading::default(), &[stream.as_bytes()]).1.is_some());
    }
}

#[test]
fn what_is_lost_is_told_up_to_a_number() {
    let many: Value = (0..10_000).map(|i| (format!("x{i}"), json!(1))).collect();
    let chat = Dialect::OpenAiChat.parse(&request(&many)).unwrap();
    let Err(LlmError::NotSupported { lost }) = Provider::Anthropic.render(&chat, &target()) else {
        panic!("it was taken");
    };
    assert_eq!(lost.len(), MAX_TOLD + 1);
    assert_eq!(lost.last().unwrap().what, "and more than are told here");
}

#[test]
fn names_that_are_made_are_made_in_time_and_are_different() {
    // Each is cut to one beginning, and the endings that would be tried first are taken.
    let name = |i: usize| format!("{}é{i}", "a".repeat(130));
    let wrong = (0..20_000).map(name);
    let taken = (0..20_000).map(|i: usize| {
        let ending = format!("_{i}");
        format!("{}{ending}", "a".repeat(128 - ending.len()))
    });
    let tools =
        wrong.chain(taken).map(|name| json!({ "type": "function", "function": { "name": name } }));
    let body = request(&json!({ "tools": tools.collect::<Vec<_>>() }));
    let chat = Dialect::OpenAiChat.parse(&body).unwrap();
    let sent = value(&Provider::Anthropic.render(&chat, &target()).unwrap().body);
    let names = sent["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap());
    let names: std::collections::BTreeSet<&str> = names.collect();
    assert_eq!(names.len(), 40_000);
    assert!(names.iter().all(|name| name.len() <= 128));
}

fn too_much(provider: Provider, stream: &str) -> &'static str {
    match events(provider, Reading::default(), &[stream.as_bytes()]) {
        (_, Some(LlmError::TooMuch { what, .. })) => what,
        (_, other) => panic!("{other:?}"),
    }
}

#[test]
fn a_provider_can_open_only_so_much() {
    let call = |i: usize, function: Value| {
        let call = json!({ "index": i, "id": format!("c{i}"), "function": function });
        let choices = json!([{ "index": 0, "delta": { "tool_calls": [call] } }]);
        format!("data: {}\n\n", json!({ "choices": choices }))
    };
    let calls: String = (0..300).map(|i| call(i, json!({ "name": "f" }))).collect();
    assert_eq!(too_much(Provider::OpenAi, &calls), "calls of an answer");
    let nameless: String =
        (0..30).map(|_| call(0, json!({ "arguments": "x".repeat(1000) }))).collect();
    assert_eq!(too_much(Provider::OpenAi, &nameless), "bytes of a call without a name");
    let block = |i: usize| {
        let block = json!({ "type": "text", "text": "" });
        let event = json!({ "type": "content_block_start", "index": i, "content_block": block });
        format!("data: {event}\n\n")
    };
    let blocks: String = (0..300).map(block).collect();
    assert_eq!(too_much(Provider::Anthropic, &blocks), "open blocks of an answer");
}

#[test]
fn a_call_whose_name_never_comes_is_no_answer() {
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"arguments\":\"{}\"}}]}}]}\n\ndata: [DONE]\n\n";
    let (_, error) = events(Provider::OpenAi, Reading::default(), &[stream.as_bytes()]);
    assert!(matches!(error, Some(LlmError::BadAnswer { .. })), "{error:?}");
}

/// What a dialect says to this event, again and again; never more than a thousand times.
fn until(dialect: Dialect, first: &[Event], again: impl Fn(u32) -> Event) -> LlmError {
    let (mut writer, mut out) = (dialect.stream(asked()), Vec::new());
    for event in first {
        writer.push(event, &mut out).unwrap();
    }
    for i in 0..2_000 {
        out.clear();
        if let Err(error) = writer.push(&again(i), &mut out) {
            return error;
        }
    }
    panic!("it takes everything");
}

#[test]
fn a_writer_keeps_only_so_much_of_an_answer() {
    let open = |index, piece| Event::PartStart { index, part: Part::new(piece) };
    let call = |index: u32| {
        let id = format!("c{index}");
        open(index, Piece::ToolCall { id, name: "f".to_owned(), arguments: String::new() })
    };
    let reasoning = || Piece::Reasoning { text: String::new(), signature: None };
    let many = "x".repeat(64 << 10);
    let reasoned = until(Dialect::OpenAiChat, &[open(0, reasoning())], |_| Event::Delta {
        index: 0,
        delta: Delta::Reasoning(many.clone()),
    });
    let waiting = until(Dialect::AnthropicMessages, &[call(0), call(1)], |_| Event::Delta {
        index: 1,
        delta: Delta::Arguments(many.clone()),
    });
    for error in [reasoned, waiting] {
        assert!(matches!(error, LlmError::TooMuch { limit: 8_388_608, .. }), "{error}");
    }
    for dialect in Dialect::ALL {
        let error = until(*dialect, &[], call);
        assert!(matches!(error, LlmError::TooMuch { limit: 1024, .. }), "{error}");
    }
    // What is one format's own waits as well, and counts.
    let rest =
        Rest::new(Wire::AnthropicMessages, [("x".to_owned(), many.into())].into_iter().collect());
    let other = until(Dialect::AnthropicMessages, &[call(0), call(1)], |_| Event::Delta {
        index: 1,
        delta: Delta::Other(rest.clone()),
    });
    assert!(matches!(other, LlmError::TooMuch { .. }), "{other}");
}
