use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Meter, UsageFilter, peek, rename};
use crate::error::LlmError;
use crate::reply::Metered;
use crate::rest::Wire;
use crate::rest::Wire::{AnthropicMessages, OpenAiChat};
use crate::usage::Usage;

fn renamed(wire: Wire, body: &str, model: &str) -> (String, bool) {
    let peeked = peek(wire, body.as_bytes()).unwrap();
    let renamed = rename(wire, body.as_bytes(), &peeked, model).unwrap();
    (String::from_utf8(renamed.body).unwrap(), renamed.hides_usage)
}

#[test]
fn what_is_needed_of_a_request_is_read() {
    let body = r#"{"messages":[{"model":"no"}],"mod\u0065l":"fast","stream":true,"max_tokens":5,
        "max_completion_tokens":7,"n":3,"stream_options":{"include_usage":true}}"#;
    let peeked = peek(OpenAiChat, body.as_bytes()).unwrap();
    assert_eq!((peeked.model.as_str(), peeked.is_stream, peeked.wants_usage), ("fast", true, true));
    assert_eq!((peeked.max_output_tokens, peeked.answers), (Some(7), 3));
    let peeked = peek(AnthropicMessages, body.as_bytes()).unwrap();
    assert_eq!((peeked.max_output_tokens, peeked.answers), (Some(5), 1));
    let peeked = peek(OpenAiChat, br#"{"model":"m","stream":null,"max_tokens":null}"#).unwrap();
    assert!(!peeked.is_stream && !peeked.wants_usage);
    assert_eq!((peeked.max_output_tokens, peeked.answers), (None, 1));
}

#[test]
fn what_says_two_things_or_none_is_refused() {
    for body in [
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"model":"a","stream":false,"stream":true}"#,
        r#"{"model":"a","max_tokens":1,"max_tokens":2}"#,
        r#"{"model":"a","stream_options":{"include_usage":true,"include_usage":false}}"#,
        r#"{"model":"a"} {"model":"b"}"#,
        r#"{"model":"a""#,
        r#"["model"]"#,
        "",
    ] {
        let refused = peek(OpenAiChat, body.as_bytes());
        assert!(matches!(refused, Err(LlmError::Json { .. })), "{body}: {refused:?}");
    }
    for (body, at) in [
        (r#"{"messages":[]}"#, "/model"),
        (r#"{"model":5}"#, "/model"),
        (r#"{"model":"a","stream":"yes"}"#, "/stream"),
        (r#"{"model":"a","max_tokens":-1}"#, "/max_tokens"),
    ] {
        let Err(LlmError::Malformed { at: found, .. }) = peek(OpenAiChat, body.as_bytes()) else {
            panic!("{body}");
        };
        assert_eq!(found, at);
    }
    assert!(peek(OpenAiChat, b"{\"model\":\"\xff\"}").is_err());
}

#[test]
fn a_name_is_replaced_and_every_other_byte_stays() {
    let body = r#"{ "big": 123456789012345678901234567890.10, "model" : "fast" ,"x":"é\u00e9" } "#;
    let (sent, hides_usage) = renamed(OpenAiChat, body, "gpt \"6\"");
    assert_eq!(sent, body.replace("\"fast\"", r#""gpt \"6\"""#));
    assert!(!hides_usage);
}

#[test]
fn usage_of_a_stream_is_asked_for_and_hidden_where_the_caller_does_not_ask() {
    for (body, expected) in [
        (
            r#"{"model":"a","stream":true} "#,
            r#"{"model":"b","stream":true,"stream_options":{"include_usage":true}} "#,
        ),
        (
            r#"{"stream_options":null,"model":"a","stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"b","stream":true}"#,
        ),
        (
            r#"{"model":"a","stream":true,"stream_options":{ "include_usage" : false, "x": 1}}"#,
            r#"{"model":"b","stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
        ),
    ] {
        assert_eq!(renamed(OpenAiChat, body, "b"), (expected.to_owned(), true));
    }
    let asks = r#"{"model":"a","stream":true,"stream_options":{"include_usage":true}}"#;
    assert_eq!(renamed(OpenAiChat, asks, "a"), (asks.to_owned(), false));
    let other = r#"{"model":"a","stream":true}"#;
    assert_eq!(renamed(AnthropicMessages, other, "a"), (other.to_owned(), false));
    let wrong = br#"{"model":"a","stream":true,"stream_options":5}"#;
    let peeked = peek(OpenAiChat, wrong).unwrap();
    assert!(rename(OpenAiChat, wrong, &peeked, "b").is_err());
}

const STREAM: &str = concat!(
    "data: {\"id\":\"1\",\"model\":\"gpt\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\\"usage\\\"\"}}],\"usage\":null}\n\n",
    ": keep-alive\r\n\r\n",
    "data: {\"choices\":[],\"prompt_filter_results\":[],\"usage\":null}\n\n",
    "data: {\"id\":\"1\",\"choices\":[],\"service_tier\":\"flex\",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n",
    "data: [DONE]\n\n",
);

#[test]
fn the_chunk_that_tells_usage_alone_is_taken_out_however_it_is_cut() {
    let start = STREAM.find("data: {\"id\":\"1\",\"choices\"").unwrap();
    let end = STREAM.find("data: [DONE]").unwrap();
    let expected = format!("{}{}", &STREAM[..start], &STREAM[end..]);
    for size in 1..STREAM.len() {
        let (mut filter, mut out) = (UsageFilter::default(), Vec::new());
        for piece in STREAM.as_bytes().chunks(size) {
            filter.push(piece, &mut out);
        }
        filter.finish(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "by {size}");
    }
}

#[test]
fn an_event_too_long_to_be_usage_is_not_kept_back() {
    let (mut filter, mut out) = (UsageFilter::default(), Vec::new());
    let long = vec![b'x'; 100 << 10];
    filter.push(b"data: ", &mut out);
    filter.push(&long, &mut out);
    assert_eq!(out.len(), long.len() + 6);
    filter.push(b"\n\ndata: 1\n\n", &mut out);
    assert!(out.ends_with(b"x\n\ndata: 1\n\n"));
}

fn metered(mut meter: Meter, pieces: &[&[u8]]) -> Metered {
    for piece in pieces {
        meter.watch(piece);
    }
    meter.finish();
    assert!(!meter.is_broken());
    meter.metered()
}

#[test]
fn a_stream_of_openai_is_metered() {
    let expected = Metered {
        usage: Some(Usage { input_tokens: 9, output_tokens: 2, ..Usage::default() }),
        model: Some("gpt".to_owned()),
        service_tier: Some("flex".to_owned()),
    };
    for size in 1..STREAM.len() {
        let pieces: Vec<&[u8]> = STREAM.as_bytes().chunks(size).collect();
        assert_eq!(metered(Meter::of_stream(OpenAiChat), &pieces), expected, "by {size}");
    }
}

#[test]
fn a_stream_of_anthropic_is_metered_and_the_last_number_counts() {
    let stream = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\",",
        "\"usage\":{\"input_tokens\":18,\"cache_read_input_tokens\":64,\"cache_creation_input_tokens\":100,",
        "\"cache_creation\":{\"ephemeral_1h_input_tokens\":40},\"output_tokens\":1,\"service_tier\":\"batch\"}}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":30}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":57,\"output_tokens_details\":{\"thinking_tokens\":21}}}\n\n",
    );
    let found = metered(Meter::of_stream(AnthropicMessages), &[stream.as_bytes()]);
    let usage = Usage {
        input_tokens: 18,
        cached_input_tokens: 64,
        cache_write_tokens: 60,
        cache_write_1h_tokens: 40,
        output_tokens: 36,
        reasoning_tokens: 21,
        ..Usage::default()
    };
    assert_eq!(found.usage, Some(usage));
    assert_eq!(
        (found.model.as_deref(), found.service_tier.as_deref()),
        (Some("claude"), Some("batch"))
    );
    // Broken off after the first event, what was told then is what is known.
    let (first, _) = stream.split_once("event: message_delta").unwrap();
    let found = metered(Meter::of_stream(AnthropicMessages), &[first.as_bytes()]);
    assert_eq!(found.usage.unwrap().output_tokens, 1);
}

#[test]
fn a_stream_beyond_the_limits_is_told_to_be_broken_and_costs_no_memory() {
    let mut meter = Meter::of_stream(OpenAiChat);
    meter.watch(STREAM.as_bytes());
    for _ in 0..20 {
        meter.watch(&vec![b'x'; 1 << 20]);
    }
    meter.finish();
    assert!(meter.is_broken());
    assert_eq!(meter.metered().usage.unwrap().input_tokens, 9);
}

#[test]
fn a_whole_answer_is_metered_by_its_outermost_fields() {
    let body = json!({
        "choices": [{ "message": { "content": "\"usage\":{\\", "usage": { "prompt_tokens": 7 } } }],
        "model": "gpt",
        "usage": { "prompt_tokens": 9, "completion_tokens": 2, "x": [{ "y": "}" }] },
        "service_tier": "default",
    });
    let text = serde_json::to_string_pretty(&body).unwrap();
    for size in 1..text.len() {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        let found = metered(Meter::of_whole(OpenAiChat), &pieces);
        assert_eq!(found.usage.unwrap().input_tokens, 9, "by {size}");
        assert_eq!(found.model.as_deref(), Some("gpt"));
        assert_eq!(found.service_tier.as_deref(), Some("default"));
    }
    let long = format!("{{\"usage\":{{\"x\":\"{}\"}},\"model\":\"m\"}}", "x".repeat(100 << 10));
    let found = metered(Meter::of_whole(OpenAiChat), &[long.as_bytes()]);
    assert_eq!((found.usage, found.model.as_deref()), (None, Some("m")));
}

proptest! {
    #[test]
    fn any_object_keeps_its_other_fields(
        before in "[a-z]{0,4}",
        text in "\\PC{0,10}",
        model in "\\PC{0,10}",
        is_stream in any::<bool>(),
    ) {
        let mut body = json!({ "messages": [{ "content": text, "model": before }], "other": before });
        body["model"] = "a".into();
        body["stream"] = is_stream.into();
        let given = body.to_string();
        let (sent, hides_usage) = renamed(OpenAiChat, &given, &model);
        let mut sent: Value = serde_json::from_str(&sent).unwrap();
        prop_assert_eq!(&sent["model"], &Value::from(model));
        prop_assert_eq!(hides_usage, is_stream);
        if is_stream {
            let options = sent.as_object_mut().unwrap().shift_remove("stream_options");
            prop_assert_eq!(options, Some(json!({ "include_usage": true })));
        }
        sent["model"] = "a".into();
        prop_assert_eq!(sent, body);
    }

    #[test]
    fn no_bytes_make_any_of_it_panic(
        bytes in prop::collection::vec(prop_oneof![
            Just(b'{'), Just(b'}'), Just(b'"'), Just(b':'), Just(b','), Just(b'\n'), Just(b'\\'), any::<u8>(),
        ], 0..80),
    ) {
        for wire in [OpenAiChat, AnthropicMessages] {
            let _ = peek(wire, &bytes);
            for mut meter in [Meter::of_whole(wire), Meter::of_stream(wire)] {
                meter.watch(&bytes);
                meter.finish();
                let _ = meter.metered();
            }
        }
        let (mut filter, mut out) = (UsageFilter::default(), Vec::new());
        filter.push(&bytes, &mut out);
        filter.finish(&mut out);
        // Nothing of that is a chunk.
        prop_assert_eq!(out, bytes);
    }
}
