//! What holds for everything: what is written is read again, however it is cut; and nothing that anyone sends panics.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends where something is not as it must be, and looks at some values only"
)]

mod support;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Number, Value, json};
use support::{
    as_events, asked, collected, events, same_dialect, same_provider, target, value, written,
};
use tollgate_llm::chat::{
    CacheMark, CacheTtl, Chat, Content, Effort, Form, Function, JsonSchema, Message, OutputFormat,
    Part, Piece, Reasoning, ReasoningMode, Role, Sampling, ServiceTier, Source, Tool, ToolChoice,
};
use tollgate_llm::reply::{Finish, FinishReason};
use tollgate_llm::rest::{Rest, Wire};
use tollgate_llm::{Dialect, Provider, Reading, Reply, Usage};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "\\PC{1,8}", Just("a \"quoted\\ \n line\u{2028}👋".to_owned())]
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,64}"
}

fn cache(wire: Wire) -> BoxedStrategy<Option<CacheMark>> {
    let marks = [None, Some(CacheTtl::FiveMinutes), Some(CacheTtl::Hour)];
    match wire {
        // There it stays in the rest, as it was written.
        Wire::OpenAiChat => Just(None).boxed(),
        Wire::AnthropicMessages => {
            prop::option::of(select(marks.to_vec()).prop_map(|ttl| CacheMark { ttl })).boxed()
        }
    }
}

fn media(kind: &'static str) -> impl Strategy<Value = Source> {
    prop_oneof![
        "https://[a-z]{1,8}\\.example/".prop_map(Source::Url),
        "[A-Za-z0-9+/]{4}"
            .prop_map(move |data| Source::Base64 { media_type: kind.to_owned(), data }),
    ]
}

fn said(wire: Wire) -> impl Strategy<Value = Part> {
    let pdf = "[A-Za-z0-9+/]{4}"
        .prop_map(|data| Source::Base64 { media_type: "application/pdf".to_owned(), data });
    let piece = prop_oneof![
        text().prop_map(Piece::Text),
        media("image/png").prop_map(Piece::Image),
        (pdf, prop::option::of(text()))
            .prop_map(|(source, title)| Piece::Document { source, title }),
    ];
    (piece, cache(wire)).prop_map(|(piece, cache)| Part { cache, ..Part::new(piece) })
}

fn list(wire: Wire) -> impl Strategy<Value = Content> {
    let parts = prop::collection::vec(said(wire), 1..4);
    parts.prop_map(|parts| Content { parts, form: Form::List })
}

fn texts(wire: Wire) -> impl Strategy<Value = Content> {
    let part = (text(), cache(wire)).prop_map(|(text, cache)| Part { cache, ..Part::text(text) });
    prop_oneof![
        text().prop_map(Content::text),
        prop::collection::vec(part, 1..3).prop_map(|parts| Content { parts, form: Form::List })
    ]
}

fn message(role: Role, content: Content) -> Message {
    Message { role, content, rest: Rest::default() }
}

fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{}".to_owned()),
        (name(), text()).prop_map(|(name, text)| json!({ name: text }).to_string())
    ]
}

/// A question, an answer with calls and their results: in the form that a format writes them in.
fn round(wire: Wire) -> BoxedStrategy<Vec<Message>> {
    let calls =
        prop::collection::vec((name(), arguments(), texts(wire), any::<Option<bool>>()), 0..3);
    let user = prop_oneof![text().prop_map(Content::text), list(wire)];
    let reasoning = prop::option::of((text(), text()));
    (user, text(), calls, reasoning)
        .prop_map(move |(user, said, calls, reasoning)| {
            let is_openai = wire == Wire::OpenAiChat;
            let (mut answer, mut results) = (Vec::new(), Vec::new());
            if let Some((text, signature)) = reasoning.filter(|_| !is_openai) {
                let signature = Some(signature);
                answer.push(Part::new(Piece::Reasoning { text, signature }));
                answer.push(Part::new(Piece::RedactedReasoning("Zm9v".to_owned())));
            }
            answer.push(Part::text(said));
            for (i, (name, arguments, content, is_error)) in calls.into_iter().enumerate() {
                let id = format!("call_{i}");
                answer.push(Part::new(Piece::ToolCall { id: id.clone(), name, arguments }));
                let is_error = is_error.filter(|_| !is_openai);
                results.push(Part::new(Piece::ToolResult { id, content, is_error }));
            }
            let form = if is_openai { Form::Text } else { Form::List };
            let mut messages = vec![
                message(Role::User, user),
                message(Role::Assistant, Content { parts: answer, form }),
            ];
            if is_openai {
                let one = |part| Content { parts: vec![part], form: Form::Any };
                messages.extend(results.into_iter().map(|part| message(Role::Tool, one(part))));
            } else if !results.is_empty() {
                let content = Content { parts: results, form: Form::List };
                messages.push(message(Role::User, content));
            }
            messages
        })
        .boxed()
}

fn tool(wire: Wire) -> impl Strategy<Value = Tool> {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let parameters = match wire {
        Wire::OpenAiChat => prop::option::of(Just(schema)).boxed(),
        Wire::AnthropicMessages => Just(Some(schema)).boxed(),
    };
    (name(), prop::option::of(text()), parameters, any::<Option<bool>>(), cache(wire)).prop_map(
        |(name, description, parameters, strict, cache)| {
            let rest = Rest::default();
            Tool::Function(Function { name, description, parameters, strict, cache, rest })
        },
    )
}

fn number() -> impl Strategy<Value = Option<Number>> {
    prop::option::of(prop_oneof![
        (0_u64..3).prop_map(Number::from),
        (0_i32..100)
            .prop_map(|hundredths| Number::from_f64(f64::from(hundredths) / 100.0).unwrap()),
    ])
}

fn sampling(wire: Wire) -> impl Strategy<Value = Sampling> {
    let stop = prop::collection::vec(text(), 0..4);
    let of_openai = (number(), number(), number());
    (number(), number(), number(), of_openai, stop).prop_map(
        move |(temperature, top_p, top_k, (seed, frequency_penalty, presence_penalty), stop)| {
            let plain = Sampling { temperature, top_p, top_k, stop, ..Sampling::default() };
            match wire {
                Wire::OpenAiChat => Sampling { seed, frequency_penalty, presence_penalty, ..plain },
                Wire::AnthropicMessages => plain,
            }
        },
    )
}

fn choice(wire: Wire) -> impl Strategy<Value = ToolChoice> {
    let plain = prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        name().prop_map(ToolChoice::Named),
    ];
    let allowed = (prop::collection::vec(name(), 1..3), any::<bool>())
        .prop_map(|(names, is_required)| ToolChoice::Allowed { names, is_required });
    match wire {
        Wire::OpenAiChat => prop_oneof![4 => plain, 1 => allowed].boxed(),
        Wire::AnthropicMessages => plain.boxed(),
    }
}

fn reasoning(wire: Wire) -> impl Strategy<Value = Reasoning> {
    let efforts = [Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::Max];
    let modes = [ReasoningMode::Off, ReasoningMode::Adaptive, ReasoningMode::Budget(2000)];
    let both =
        (prop::option::of(select(modes.to_vec())), prop::option::of(select(efforts.to_vec())));
    both.prop_map(move |(mode, effort)| match wire {
        Wire::AnthropicMessages => Reasoning { mode, effort },
        Wire::OpenAiChat if effort.is_some() => Reasoning { mode: None, effort },
        Wire::OpenAiChat => Reasoning { mode: mode.map(|_| ReasoningMode::Off), effort: None },
    })
}

fn output(wire: Wire) -> impl Strategy<Value = OutputFormat> {
    let schema = (name(), any::<Option<bool>>()).prop_map(move |(name, strict)| {
        let schema = Some(json!({ "type": "object" }));
        let plain = JsonSchema { schema, ..JsonSchema::default() };
        OutputFormat::JsonSchema(match wire {
            Wire::OpenAiChat => JsonSchema { name: Some(name), strict, ..plain },
            Wire::AnthropicMessages => plain,
        })
    });
    match wire {
        Wire::OpenAiChat => {
            prop_oneof![Just(OutputFormat::Text), Just(OutputFormat::JsonObject), schema].boxed()
        }
        Wire::AnthropicMessages => schema.boxed(),
    }
}

fn chat(wire: Wire) -> impl Strategy<Value = Chat> {
    let system = prop::option::of(texts(wire));
    let rounds = prop::collection::vec(round(wire), 1..3);
    let tools = prop::collection::vec(tool(wire), 0..3);
    let choice = (prop::option::of(choice(wire)), any::<Option<bool>>());
    let wishes = (sampling(wire), reasoning(wire), prop::option::of(output(wire)));
    let tier = prop::option::of(select(&[ServiceTier::Auto, ServiceTier::Standard][..]));
    let account = (tier, prop::option::of(text()), 1_u64..9000);
    (system, rounds, tools, choice, wishes, account).prop_map(
        move |(system, rounds, tools, (tool_choice, parallel), wishes, account)| {
            let system = system.map(|content| message(Role::System, content));
            let (sampling, reasoning, output) = wishes;
            let (service_tier, user, most) = account;
            let is_openai = wire == Wire::OpenAiChat;
            // The other says it within the choice, and has no way to say it with none.
            let has_place = tool_choice.as_ref().is_some_and(|choice| *choice != ToolChoice::None);
            Chat {
                origin: Some(wire),
                model: "target-model".to_owned(),
                messages: system.into_iter().chain(rounds.into_iter().flatten()).collect(),
                tools,
                tool_choice,
                parallel_tool_calls: parallel.filter(|_| is_openai || has_place),
                max_output_tokens: Some(most),
                sampling,
                output,
                reasoning,
                service_tier,
                user,
                is_stream: false,
                wants_usage: !is_openai,
                rest: Rest::default(),
            }
        },
    )
}

/// Written, read again, and written once more.
fn chat_round_trip(provider: Provider, chat: &Chat) -> Result<(), TestCaseError> {
    let sent = provider.render(chat, &target()).unwrap();
    prop_assert_eq!(&sent.lost, &[]);
    let dialect = same_dialect(provider);
    let mut read = dialect.parse(&sent.body).unwrap();
    let again = provider.render(&read, &target()).unwrap();
    prop_assert_eq!(value(&again.body), value(&sent.body));
    // What the hub knows as well.
    read.rest = Rest::default();
    prop_assert_eq!(&read, chat);
    Ok(())
}

fn usage(wire: Wire) -> impl Strategy<Value = Usage> {
    let some = 0_u64..1000;
    ((some.clone(), some.clone(), some.clone()), (some.clone(), some.clone(), some)).prop_map(
        move |((input, cached, write), (hour, output, reasoned))| {
            let plain = Usage {
                input_tokens: input,
                cached_input_tokens: cached,
                cache_write_tokens: write,
                output_tokens: output,
                reasoning_tokens: reasoned,
                ..Usage::default()
            };
            match wire {
                Wire::OpenAiChat => Usage { audio_input_tokens: hour, ..plain },
                Wire::AnthropicMessages => Usage { cache_write_1h_tokens: hour, ..plain },
            }
        },
    )
}

/// Answers without signatures, which streams of OpenAI's format have no field of its own for.
fn reply(wire: Wire) -> impl Strategy<Value = Reply> {
    let calls = prop::collection::vec((name(), arguments()), 0..4);
    let reasoning = prop::option::of((text(), text()));
    let ends = [FinishReason::End, FinishReason::Length, FinishReason::Refused];
    let plain = (name(), name(), 0_u64..2_000_000_000);
    (reasoning, prop::option::of(text()), calls, select(ends.to_vec()), usage(wire), plain)
        .prop_map(move |(reasoning, said, calls, end, usage, (id, model, created))| {
            let is_openai = wire == Wire::OpenAiChat;
            let reasoning = reasoning.map(|(text, signature)| {
                let signature = Some(signature).filter(|_| !is_openai);
                Part::new(Piece::Reasoning { text, signature })
            });
            let has_calls = !calls.is_empty();
            let calls = calls.into_iter().enumerate().map(|(i, (name, arguments))| {
                Part::new(Piece::ToolCall { id: format!("call_{i}"), name, arguments })
            });
            let reason = if has_calls { FinishReason::ToolCalls } else { end };
            Reply {
                id,
                model,
                created_secs: Some(created).filter(|_| is_openai),
                parts: reasoning.into_iter().chain(said.map(Part::text)).chain(calls).collect(),
                finish: Finish { reason, ..Finish::default() },
                usage: Some(usage),
                ..Reply::default()
            }
        })
}

fn reply_round_trip(provider: Provider, reply: &Reply) -> Result<(), TestCaseError> {
    let dialect = same_dialect(provider);
    let rendered = dialect.render(reply, &asked());
    prop_assert_eq!(&rendered.lost, &[]);
    let mut read = provider.parse(&rendered.body, &Reading::default()).unwrap();
    let again = dialect.render(&read, &asked());
    prop_assert_eq!(value(&again.body), value(&rendered.body));
    read.rest = Rest::default();
    prop_assert_eq!(&read, reply);
    Ok(())
}

fn stream_round_trip(
    provider: Provider,
    reply: &Reply,
    cuts: &[Index],
) -> Result<(), TestCaseError> {
    let (text, lost) = written(same_dialect(provider), asked(), &as_events(reply));
    prop_assert_eq!(lost, &[]);
    let bytes = text.as_bytes();
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let (mut pieces, mut from) = (Vec::new(), 0);
    for place in places {
        pieces.push(&bytes[from..place]);
        from = place;
    }
    pieces.push(&bytes[from..]);
    let (read, error) = events(provider, Reading::default(), &pieces);
    prop_assert!(error.is_none(), "{:?}", error);
    let mut read = collected(&read);
    read.created_secs = read.created_secs.filter(|_| reply.created_secs.is_some());
    prop_assert_eq!(&read, reply);
    Ok(())
}

/// Names that the formats have.
const NAMES: &str = "\
    model messages role content type text tool_calls id function name arguments system \
    max_tokens tools input_schema input source data media_type tool_use_id tool_call_id \
    thinking signature choices message delta index finish_reason stop_reason usage \
    prompt_tokens content_block partial_json error image_url url stream stop cache_control \
    thinking_blocks response_format tool_choice output_config";

/// Values that the formats have.
const WORDS: &str = "\
    user assistant system tool text image document tool_use tool_result thinking function auto \
    image_url file url base64 message_start content_block_start content_block_delta \
    content_block_stop message_delta message_stop text_delta input_json_delta ephemeral x \
    data:image/png;base64,AA== json_schema allowed_tools redacted_thinking";

/// Known names with whatever values, deep enough to reach everything.
fn nonsense() -> impl Strategy<Value = Value> {
    let words: Vec<&str> = WORDS.split(' ').chain([""]).collect();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_u64..3).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(words).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let names = select(NAMES.split(' ').collect::<Vec<_>>());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((names, inner), 0..6).prop_map(|fields| {
                let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(Map::from_iter(fields))
            }),
        ]
    })
}

/// A request or an answer in which some value, somewhere, is nonsense.
fn spoiled() -> impl Strategy<Value = Value> {
    let request = json!({
        "model": "m", "max_tokens": 9, "system": "s", "stream": true, "tools": [
            { "type": "function", "function": { "name": "f", "parameters": {} } },
            { "name": "f", "input_schema": {} },
        ],
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "a" }] },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "f", "input": {} }],
              "tool_calls": [{ "id": "t", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": "x" }] },
        ],
    });
    let openai = json!({ "choices": [{ "index": 0, "finish_reason": "stop",
        "message": { "content": "x", "tool_calls": [] },
        "delta": { "content": "x", "tool_calls": [{ "index": 0, "id": "t", "function": { "name": "f", "arguments": "{" } }] } }] });
    let anthropic = json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" },
        "content": [{ "type": "text", "text": "x" }], "stop_reason": "end_turn" });
    let whole = select(vec![request, openai, anthropic]);
    (whole, any::<Index>(), nonsense()).prop_map(|(mut whole, place, value)| {
        let mut left = place.index(count(&whole));
        put(&mut whole, &mut left, &value);
        whole
    })
}

fn count(value: &Value) -> usize {
    let inner: usize = match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    };
    inner + 1
}

fn put(value: &mut Value, left: &mut usize, new: &Value) {
    if *left == 0 {
        *value = new.clone();
    }
    *left = left.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| put(item, left, new)),
        Value::Object(fields) => fields.values_mut().for_each(|item| put(item, left, new)),
        _ => {}
    }
}

/// Everything that takes bytes takes these; what is read is written by all.
fn take(bytes: &[u8]) {
    for dialect in Dialect::ALL {
        let Ok(chat) = dialect.parse(bytes) else { continue };
        for provider in Provider::ALL {
            let sent = provider.render(&chat, &target());
            if *provider == same_provider(*dialect) {
                // Nothing that a caller sends is refused by its own format.
                assert!(sent.is_ok(), "{sent:?}");
            }
        }
    }
    for provider in Provider::ALL {
        let mut stream = b"data: ".to_vec();
        stream.extend_from_slice(bytes);
        stream.extend_from_slice(b"\n\ndata: [DONE]\n\n");
        let mut reader = provider.stream(Reading::default());
        let mut events = Vec::new();
        let _ = reader.push(bytes, &mut events);
        let mut reader = provider.stream(Reading::default());
        let _ = reader.push(&stream, &mut events);
        let _ = reader.finish(&mut events);
        let _ = (reader.metered(), reader.lost());
        let reply = provider.parse(bytes, &Reading::default());
        for dialect in Dialect::ALL {
            if let Ok(reply) = &reply {
                let _ = value(&dialect.render(reply, &asked()).body);
            }
            let (mut writer, mut out) = (dialect.stream(asked()), Vec::new());
            for event in &events {
                let _ = writer.push(event, &mut out);
            }
            let _ = writer.finish(&mut out);
        }
    }
}

proptest! {
    #[test]
    fn a_request_of_openai_that_is_written_is_read_again(chat in chat(Wire::OpenAiChat)) {
        chat_round_trip(Provider::OpenAi, &chat)?;
    }

    #[test]
    fn a_request_of_anthropic_that_is_written_is_read_again(chat in chat(Wire::AnthropicMessages)) {
        chat_round_trip(Provider::Anthropic, &chat)?;
    }

    #[test]
    fn a_conversation_of_one_format_is_written_for_the_other_and_says_the_same(
        chat in chat(Wire::OpenAiChat),
    ) {
        let sent = Provider::Anthropic.render(&chat, &target());
        // Names of tools are made up here, and the choice allows none of them.
        let is_none_allowed = matches!(chat.tool_choice, Some(ToolChoice::Allowed { .. }));
        prop_assert!(sent.is_ok() || is_none_allowed, "{:?}", sent);
        let Ok(sent) = sent else { return Ok(()) };
        let read = Dialect::AnthropicMessages.parse(&sent.body).unwrap();
        let texts = |chat: &Chat| {
            let parts = chat.messages.iter().flat_map(|message| &message.content.parts);
            let calls = parts.filter_map(|part| match &part.piece {
                Piece::ToolCall { id, arguments, .. } => Some((id.clone(), arguments.clone())),
                _ => None,
            });
            calls.collect::<Vec<_>>()
        };
        prop_assert_eq!(texts(&read), texts(&chat));
        prop_assert_eq!(read.sampling.stop.len(), chat.sampling.stop.iter().filter(|stop| !stop.trim().is_empty()).count());
    }

    #[test]
    fn an_answer_of_openai_that_is_written_is_read_again(
        reply in reply(Wire::OpenAiChat),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        reply_round_trip(Provider::OpenAi, &reply)?;
        stream_round_trip(Provider::OpenAi, &reply, &cuts)?;
    }

    #[test]
    fn an_answer_of_anthropic_that_is_written_is_read_again(
        reply in reply(Wire::AnthropicMessages),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        reply_round_trip(Provider::Anthropic, &reply)?;
        stream_round_trip(Provider::Anthropic, &reply, &cuts)?;
    }

    #[test]
    fn an_answer_streamed_through_both_formats_says_the_same(
        reply in reply(Wire::OpenAiChat),
    ) {
        // From OpenAI to a client of Anthropic's, and from what that saw on to one of OpenAI's.
        let (text, _) = written(Dialect::OpenAiChat, asked(), &as_events(&reply));
        let (read, _) = events(Provider::OpenAi, Reading::default(), &[text.as_bytes()]);
        let (text, lost) = written(Dialect::AnthropicMessages, asked(), &read);
        prop_assert_eq!(lost, &[]);
        let (read, error) = events(Provider::Anthropic, Reading::default(), &[text.as_bytes()]);
        prop_assert!(error.is_none(), "{:?}", error);
        let read = collected(&read);
        prop_assert_eq!(&read.parts, &reply.parts);
        prop_assert_eq!(&read.finish, &reply.finish);
        let total = |usage: Option<Usage>| {
            usage.map(|usage| (usage.total_input_tokens(), usage.total_output_tokens()))
        };
        prop_assert_eq!(total(read.usage), total(reply.usage));
    }

    #[test]
    fn no_bytes_make_anything_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        take(&bytes);
    }

    #[test]
    fn no_json_makes_anything_panic(value in prop_oneof![nonsense(), spoiled(), spoiled()]) {
        take(value.to_string().as_bytes());
    }
}
