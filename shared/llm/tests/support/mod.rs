//! What the tests of this crate share.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends where something is not as it must be, and looks at some pieces only"
)]

use serde_json::{Value, json};
use tollgate_llm::chat::{Part, Piece};
use tollgate_llm::loss::Lost;
use tollgate_llm::reply::{Delta, Finish};
use tollgate_llm::rest::Rest;
use tollgate_llm::{Asked, Dialect, Event, LlmError, Provider, Reading, Reply, Target};

pub(crate) fn target() -> Target {
    Target { max_output_tokens: Some(64_000), ..Target::new("target-model") }
}

pub(crate) fn asked() -> Asked {
    Asked { model: None, now_secs: 1_790_000_001, wants_usage: true, wants_reasoning: true }
}

pub(crate) fn same_dialect(provider: Provider) -> Dialect {
    *Dialect::ALL.iter().find(|dialect| dialect.wire() == provider.wire()).unwrap()
}

pub(crate) fn same_provider(dialect: Dialect) -> Provider {
    *Provider::ALL.iter().find(|provider| provider.wire() == dialect.wire()).unwrap()
}

pub(crate) fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

pub(crate) fn told(lost: &[Lost]) -> Value {
    lost.iter().map(|lost| format!("{} {}", lost.at, lost.what)).collect()
}

pub(crate) fn error(error: &LlmError) -> Value {
    let failure = error.failure();
    json!({ "error": error.to_string(), "code": failure.code, "param": failure.param })
}

/// All events of a stream that comes in these pieces, and the error that ended it.
pub(crate) fn events(
    provider: Provider,
    reading: Reading,
    pieces: &[&[u8]],
) -> (Vec<Event>, Option<LlmError>) {
    let mut reader = provider.stream(reading);
    let mut events = Vec::new();
    for piece in pieces {
        if let Err(error) = reader.push(piece, &mut events) {
            return (events, Some(error));
        }
    }
    let error = reader.finish(&mut events).err();
    (events, error)
}

/// What a dialect makes of these events.
pub(crate) fn written(dialect: Dialect, asked: Asked, events: &[Event]) -> (String, Vec<Lost>) {
    let (mut writer, mut out) = (dialect.stream(asked), Vec::new());
    for event in events {
        writer.push(event, &mut out).unwrap();
    }
    let lost = writer.lost().to_vec();
    (String::from_utf8(out).unwrap(), lost)
}

/// A whole answer, as the events that a provider's stream of it would give.
pub(crate) fn as_events(reply: &Reply) -> Vec<Event> {
    let start = tollgate_llm::reply::Start {
        id: reply.id.clone(),
        model: reply.model.clone(),
        created_secs: reply.created_secs,
        usage: None,
    };
    let mut events = vec![Event::Start(start)];
    for (index, part) in reply.parts.iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        let (mut begun, mut deltas) = (part.clone(), Vec::new());
        match &mut begun.piece {
            Piece::Text(text) => deltas.push(Delta::Text(std::mem::take(text))),
            Piece::Refusal(text) => deltas.push(Delta::Refusal(std::mem::take(text))),
            Piece::Reasoning { text, signature } => {
                deltas.push(Delta::Reasoning(std::mem::take(text)));
                deltas.extend(signature.take().map(Delta::Signature));
            }
            Piece::ToolCall { arguments, .. } => {
                deltas.push(Delta::Arguments(std::mem::take(arguments)));
            }
            _ => {}
        }
        events.push(Event::PartStart { index, part: begun });
        events.extend(deltas.into_iter().map(|delta| Event::Delta { index, delta }));
        events.push(Event::PartEnd { index });
    }
    events.push(Event::Finish(reply.finish.clone()));
    events.extend(reply.usage.map(Event::Usage));
    events.push(Event::End);
    events
}

/// The whole answer that events come to. Every part must have begun, and ended.
pub(crate) fn collected(events: &[Event]) -> Reply {
    let mut reply = Reply::default();
    let mut parts: Vec<(u32, Part, bool)> = Vec::new();
    for event in events {
        match event {
            Event::Start(start) => {
                reply.id.clone_from(&start.id);
                reply.model.clone_from(&start.model);
                reply.created_secs = start.created_secs;
            }
            Event::PartStart { index, part } => {
                assert!(parts.iter().all(|(other, ..)| other != index), "{index} twice");
                parts.push((*index, part.clone(), false));
            }
            Event::Delta { index, delta } => {
                let part = parts.iter_mut().find(|(other, ..)| other == index).unwrap();
                assert!(!part.2, "more of {index}, which has ended");
                add(&mut part.1, delta);
            }
            Event::PartEnd { index } => {
                let part = parts.iter_mut().find(|(other, ..)| other == index).unwrap();
                assert!(!std::mem::replace(&mut part.2, true), "{index} ends twice");
            }
            Event::Finish(finish) => reply.finish = Finish::clone(finish),
            Event::Usage(usage) => reply.usage = Some(*usage),
            Event::Ping => {}
            Event::End => assert!(parts.iter().all(|(.., has_ended)| *has_ended), "{parts:?}"),
            Event::Failed(failure) => panic!("{failure:?}"),
        }
    }
    reply.parts = parts.into_iter().map(|(_, part, _)| part).collect();
    for part in &mut reply.parts {
        // Empty where one was to come, and none did.
        if let Piece::Reasoning { signature, .. } = &mut part.piece {
            *signature = signature.take().filter(|signature| !signature.is_empty());
        }
    }
    reply
}

fn add(part: &mut Part, delta: &Delta) {
    match (&mut part.piece, delta) {
        (Piece::Text(text), Delta::Text(more))
        | (Piece::Refusal(text), Delta::Refusal(more))
        | (Piece::Reasoning { text, .. }, Delta::Reasoning(more))
        | (Piece::ToolCall { arguments: text, .. }, Delta::Arguments(more)) => text.push_str(more),
        (Piece::Reasoning { signature, .. }, Delta::Signature(more)) => {
            signature.get_or_insert_default().push_str(more);
        }
        (_, Delta::Other(rest)) => assert!(!Rest::is_empty(rest)),
        (piece, delta) => panic!("{delta:?} of {piece:?}"),
    }
}
