//! Every case of every dialect and provider, as it is read and as all others write it.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::fs;
use std::path::Path;

use insta::{assert_json_snapshot, assert_snapshot, glob};
use serde_json::{Map, Value, json};
use support::{asked, error, events, same_dialect, same_provider, target, told, value, written};
use tollgate_llm::{Dialect, LlmError, Provider, Reading, Target};

fn request(dialect: Dialect, path: &Path) {
    let body = fs::read(path).unwrap();
    let mut all = Map::new();
    let chat = match dialect.parse(&body) {
        Ok(chat) => chat,
        Err(fault) => {
            assert_json_snapshot!(format!("{}_request", dialect.name()), error(&fault));
            return;
        }
    };
    for provider in Provider::ALL {
        let outgoing = provider.render(&chat, &target());
        let is_same = *provider == same_provider(dialect);
        let shown = match &outgoing {
            Ok(outgoing) if is_same => {
                // What comes and goes in one format is the same, but for the model and the usage that is asked for.
                let mut given = value(&body);
                given["model"] = "target-model".into();
                if chat.is_stream && dialect == Dialect::OpenAiChat {
                    given["stream_options"]["include_usage"] = true.into();
                }
                assert_eq!(value(&outgoing.body), given, "{path:?}");
                assert_eq!(outgoing.lost, [], "{path:?}");
                continue;
            }
            Ok(outgoing) => {
                json!({ "body": value(&outgoing.body), "lost": told(&outgoing.lost) })
            }
            Err(fault) => {
                assert!(!is_same, "{path:?}: {fault}");
                error(fault)
            }
        };
        all.insert(provider.name().to_owned(), shown);
    }
    assert_json_snapshot!(format!("{}_request", dialect.name()), Value::Object(all));
}

#[test]
fn requests_of_openai_chat_are_written_for_all() {
    glob!("../src", "dialects/openai_chat/testdata/request/*.json", |path| {
        request(Dialect::OpenAiChat, path);
    });
}

#[test]
fn requests_of_anthropic_messages_are_written_for_all() {
    glob!("../src", "dialects/anthropic_messages/testdata/request/*.json", |path| {
        request(Dialect::AnthropicMessages, path);
    });
}

fn reply(provider: Provider, path: &Path) {
    let body = fs::read(path).unwrap();
    let reply = provider.parse(&body, &Reading::default()).unwrap();
    let mut all = Map::new();
    all.insert("usage".to_owned(), format!("{:?}", reply.usage).into());
    all.insert("finish".to_owned(), format!("{:?}", reply.finish).into());
    for dialect in Dialect::ALL {
        let rendered = dialect.render(&reply, &asked());
        if *dialect == same_dialect(provider) {
            let given = value(&body);
            let mut got = value(&rendered.body);
            // Where it was null, and there is none.
            if given["usage"].is_null() {
                got["usage"] = Value::Null;
            }
            assert_eq!(got, given, "{path:?}");
            assert_eq!(rendered.lost, [], "{path:?}");
            continue;
        }
        let shown = json!({ "body": value(&rendered.body), "lost": told(&rendered.lost) });
        all.insert(dialect.name().to_owned(), shown);
    }
    assert_json_snapshot!(format!("{}_reply", provider.name()), Value::Object(all));
}

#[test]
fn replies_of_openai_are_written_for_all() {
    glob!("../src", "providers/openai/testdata/reply/*.json", |path| reply(Provider::OpenAi, path));
}

#[test]
fn replies_of_anthropic_are_written_for_all() {
    glob!("../src", "providers/anthropic/testdata/reply/*.json", |path| {
        reply(Provider::Anthropic, path);
    });
}

fn stream(provider: Provider, path: &Path) {
    let bytes = fs::read(path).unwrap();
    let (all, fault) = events(provider, Reading::default(), &[&bytes]);
    // However it is cut, it says the same.
    for at in 0..bytes.len() {
        let (left, right) = bytes.split_at(at);
        let (cut, cut_fault) = events(provider, Reading::default(), &[left, right]);
        assert_eq!(cut, all, "{path:?} cut at {at}");
        assert_eq!(cut_fault.is_some(), fault.is_some());
    }
    let mut shown = String::new();
    for event in &all {
        shown.push_str(&format!("{event:?}\n"));
    }
    if let Some(fault) = &fault {
        assert!(matches!(fault, LlmError::EndedEarly), "{path:?}: {fault}");
        shown.push_str(&format!("{fault:?}\n"));
    }
    for dialect in Dialect::ALL {
        let (text, lost) = written(*dialect, asked(), &all);
        shown.push_str(&format!("\n# {}, without {}\n\n{text}", dialect.name(), told(&lost)));
    }
    assert_snapshot!(format!("{}_stream", provider.name()), shown);
}

#[test]
fn streams_of_openai_are_written_for_all() {
    glob!("../src", "providers/openai/testdata/stream/*.txt", |path| stream(
        Provider::OpenAi,
        path
    ));
}

#[test]
fn streams_of_anthropic_are_written_for_all() {
    glob!("../src", "providers/anthropic/testdata/stream/*.txt", |path| {
        stream(Provider::Anthropic, path);
    });
}

#[test]
fn every_case_is_in_a_folder_that_is_read() {
    for (folder, least) in [
        ("dialects/openai_chat/testdata/request", 20),
        ("dialects/anthropic_messages/testdata/request", 15),
        ("providers/openai/testdata/reply", 8),
        ("providers/anthropic/testdata/reply", 7),
        ("providers/openai/testdata/stream", 10),
        ("providers/anthropic/testdata/stream", 7),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
        let count = fs::read_dir(&path).unwrap().count();
        assert!(count >= least, "{folder}: {count}");
    }
}

#[test]
fn a_model_without_schemas_is_forced_to_call_a_tool_and_its_arguments_are_the_answer() {
    let body = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": "Hi" }],
        "response_format": { "type": "json_schema", "json_schema": {
            "name": "report", "schema": { "type": "object" }
        } },
    });
    let chat = Dialect::OpenAiChat.parse(body.to_string().as_bytes()).unwrap();
    let target = Target { takes_json_schema: false, ..target() };
    let outgoing = Provider::Anthropic.render(&chat, &target).unwrap();
    let sent = value(&outgoing.body);
    assert_eq!(sent["tool_choice"], json!({ "type": "tool", "name": "report" }));
    assert_eq!(sent["tools"][0]["input_schema"], json!({ "type": "object" }));
    let answer = json!({
        "id": "m1", "type": "message", "role": "assistant", "model": "x",
        "content": [{ "type": "tool_use", "id": "t", "name": "report", "input": { "a": 1 } }],
        "stop_reason": "tool_use", "usage": { "input_tokens": 1, "output_tokens": 2 },
    });
    let answer = answer.to_string();
    let reply = Provider::Anthropic.parse(answer.as_bytes(), &outgoing.reading).unwrap();
    let shown = value(&Dialect::OpenAiChat.render(&reply, &asked()).body);
    assert_eq!(shown["choices"][0]["message"]["content"], "{\"a\":1}");
    assert_eq!(shown["choices"][0]["finish_reason"], "stop");
}
