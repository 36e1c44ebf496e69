//! A request, written.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::WIRE;
use super::messages::MessageWriter;
use crate::chat::{
    Chat, Effort, Function, OutputFormat, Piece, ReasoningMode, ServiceTier, Tool, ToolChoice,
};
use crate::dialects::openai_chat::{write_choice, write_output};
use crate::error::LlmError;
use crate::json::{self, At};
use crate::loss::{Losses, Place};
use crate::target::{LimitField, Names, Outgoing, Reading, ReasoningForm, Target};

/// How long a name may be.
const NAME_CHARS: usize = 64;
/// The names of the most tokens of an answer.
const LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];
/// How many texts may end an answer.
const MAX_STOPS: usize = 4;

pub(crate) fn render(chat: &Chat, target: &Target) -> Result<Outgoing, LlmError> {
    let mut losses = Losses::of_request();
    let is_same = chat.origin == Some(WIRE);
    let all = tool_names(chat);
    let names = Names::new(NAME_CHARS, all.into_iter().filter(|_| !is_same));
    let root = At::ROOT;
    losses.rest(&root, Place::Chat, &chat.rest, WIRE);
    let mut messages = MessageWriter { chat, target, names: &names, losses: &mut losses, is_same };
    let messages = messages.all();
    let mut body =
        json::object([("model", target.model.as_str().into()), ("messages", messages.into())]);
    limits(chat, target, &mut body);
    sampling(chat, target, &mut losses, &mut body);
    tools(chat, &names, &mut losses, &mut body);
    choice(chat, target, &names, &mut losses, &mut body);
    if let Some(output) = &chat.output {
        body.insert("response_format".to_owned(), response_format(output, is_same));
    }
    reasoning(chat, target, &mut losses, &mut body);
    account(chat, &mut losses, &mut body);
    stream(chat, target, &mut body);
    chat.rest.complete(WIRE, &mut body);
    // A hint of its own that is written in another way now.
    for (name, value) in written_otherwise(chat, target) {
        if body.get(name) == Some(value) {
            body.shift_remove(name);
        }
    }
    let reading = Reading { names: names.back(), json_tool: None };
    Ok(Outgoing {
        method: "POST",
        path: Cow::Borrowed("/chat/completions"),
        headers: &[("content-type", "application/json")],
        body: json::bytes(&body),
        reading,
        lost: losses.finish()?,
    })
}

/// What the rest has and the hub now says otherwise, or the model does not take.
fn written_otherwise<'a>(
    chat: &'a Chat,
    target: &Target,
) -> impl Iterator<Item = (&'static str, &'a Value)> {
    let written = |name: &'static str| chat.rest.get(WIRE, name).map(|value| (name, value));
    let is_changed = !has_limit_written(chat);
    let changed = move |(_, value): &(&str, &Value)| !value.is_null() && is_changed;
    let limits = LIMITS.into_iter().filter_map(written);
    let options = written("stream_options").filter(|_| !target.takes_stream_options);
    let stop = written("stop").filter(|_| chat.sampling.stop.is_empty());
    let stop = stop.filter(|(_, value)| value.is_string());
    limits.filter(changed).chain(options).chain(stop)
}

/// Every name that a tool has, or had when it was called.
fn tool_names(chat: &Chat) -> Vec<&str> {
    let tools = chat.tools.iter().filter_map(|tool| match tool {
        Tool::Function(function) => Some(function.name.as_str()),
        Tool::Other(_) => None,
    });
    let parts = chat.messages.iter().flat_map(|message| &message.content.parts);
    let called = parts.filter_map(|part| match &part.piece {
        Piece::ToolCall { name, .. } => Some(name.as_str()),
        Piece::Text(_)
        | Piece::Image(_)
        | Piece::Document { .. }
        | Piece::Audio { .. }
        | Piece::Reasoning { .. }
        | Piece::RedactedReasoning(_)
        | Piece::ToolResult { .. }
        | Piece::Refusal(_)
        | Piece::Other => None,
    });
    tools.chain(called).collect()
}

/// Under the names that were written, as long as they say the same.
fn limits(chat: &Chat, target: &Target, body: &mut Map<String, Value>) {
    let Some(most) = chat.max_output_tokens else { return };
    if !has_limit_written(chat) {
        let name = match target.limit_field {
            LimitField::MaxCompletionTokens => "max_completion_tokens",
            LimitField::MaxTokens => "max_tokens",
        };
        body.insert(name.to_owned(), most.into());
    }
}

/// Whether one of the names says what the hub says.
fn has_limit_written(chat: &Chat) -> bool {
    let most = chat.max_output_tokens;
    let says = |name: &str| chat.rest.get(WIRE, name).and_then(Value::as_u64);
    most.is_some() && LIMITS.into_iter().any(|name| says(name) == most)
}

fn sampling(chat: &Chat, target: &Target, losses: &mut Losses, body: &mut Map<String, Value>) {
    let root = At::ROOT;
    let sampling = &chat.sampling;
    for (name, value) in [
        ("temperature", &sampling.temperature),
        ("top_p", &sampling.top_p),
        ("frequency_penalty", &sampling.frequency_penalty),
        ("presence_penalty", &sampling.presence_penalty),
    ] {
        let Some(value) = value else { continue };
        if target.takes_sampling {
            body.insert(name.to_owned(), value.clone().into());
        } else {
            losses.list(&root.name(name), "is not taken by the model and left out");
        }
    }
    if let Some(seed) = &sampling.seed {
        body.insert("seed".to_owned(), seed.clone().into());
    }
    if let Some(top_k) = &sampling.top_k {
        // Not OpenAI's own, but a client of this format that says it means someone who takes it.
        if chat.origin == Some(WIRE) {
            body.insert("top_k".to_owned(), top_k.clone().into());
        } else {
            losses.list(&root.name("top_k"), "is left out");
        }
    }
    let written = chat.rest.get(WIRE, "stop").and_then(Value::as_str);
    match sampling.stop.as_slice() {
        [] => {}
        [only] if written == Some(only) => {}
        stop => {
            if stop.len() > MAX_STOPS && chat.origin != Some(WIRE) {
                losses.refuse(&root.name("stop_sequences"), "has more than the 4 that are taken");
            }
            body.insert("stop".to_owned(), json!(stop));
        }
    }
}

fn tools(chat: &Chat, names: &Names, losses: &mut Losses, body: &mut Map<String, Value>) {
    let root = At::ROOT;
    let at = root.name("tools");
    let mut written = Vec::new();
    for (i, tool) in chat.tools.iter().enumerate() {
        let at = at.item(i);
        match tool {
            Tool::Function(function) => {
                losses.rest(&at, Place::Tool, &function.rest, WIRE);
                if function.cache.is_some() && function.rest.object(WIRE).is_none() {
                    losses.list(&at.name("cache_control"), "is left out");
                }
                written.push(Value::Object(tool_value(function, names.sent(&function.name))));
            }
            Tool::Other(rest) => match rest.object(WIRE) {
                Some(whole) => written.push(Value::Object(whole.clone())),
                None => losses.refuse(&at, "is run by another provider"),
            },
        }
    }
    // An empty list is not taken.
    if !written.is_empty() {
        body.insert("tools".to_owned(), written.into());
    }
}

fn tool_value(function: &Function, name: &str) -> Map<String, Value> {
    let mut inner = json::object([("name", name.into())]);
    if let Some(description) = &function.description {
        inner.insert("description".to_owned(), description.as_str().into());
    }
    if let Some(parameters) = &function.parameters {
        inner.insert("parameters".to_owned(), parameters.clone());
    }
    if let Some(strict) = function.strict {
        inner.insert("strict".to_owned(), strict.into());
    }
    let mut tool = json::object([("type", "function".into()), ("function", inner.into())]);
    function.rest.complete(WIRE, &mut tool);
    tool
}

/// Both are taken with tools only.
fn choice(
    chat: &Chat,
    target: &Target,
    names: &Names,
    losses: &mut Losses,
    body: &mut Map<String, Value>,
) {
    let root = At::ROOT;
    let at = root.name("tool_choice");
    if chat.tools.is_empty() && chat.origin != Some(WIRE) {
        return;
    }
    if let Some(parallel) = chat.parallel_tool_calls {
        body.insert("parallel_tool_calls".to_owned(), parallel.into());
    }
    let Some(choice) = &chat.tool_choice else { return };
    let is_forced = match choice {
        ToolChoice::Required | ToolChoice::Named(_) => true,
        ToolChoice::Allowed { is_required, .. } => *is_required,
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Other(_) => false,
    };
    if is_forced && !target.takes_forced_tools {
        losses.refuse(&at, "asks for a call, to which the model cannot be forced");
    }
    match write_choice(choice, |name| names.sent(name).to_owned()) {
        Some(choice) => {
            body.insert("tool_choice".to_owned(), choice);
        }
        None => losses.refuse(&at, "has no equal at this provider"),
    }
}

/// A schema has a name here, and must keep to more rules where it is strict: nobody asked for those.
fn response_format(output: &OutputFormat, is_same: bool) -> Value {
    match output {
        OutputFormat::JsonSchema(schema) if !is_same => {
            let mut schema = schema.clone();
            schema.name.get_or_insert_with(|| "output".to_owned());
            write_output(&OutputFormat::JsonSchema(schema))
        }
        OutputFormat::Text | OutputFormat::JsonObject | OutputFormat::JsonSchema(_) => {
            write_output(output)
        }
    }
}

fn reasoning(chat: &Chat, target: &Target, losses: &mut Losses, body: &mut Map<String, Value>) {
    let root = At::ROOT;
    let at = root.name("reasoning_effort");
    let word = match (chat.reasoning.mode, chat.reasoning.effort) {
        (Some(ReasoningMode::Off), _) => Some("none"),
        (_, Some(effort)) => Some(effort.word()),
        (Some(ReasoningMode::Budget(tokens)), None) => {
            let at = root.name("thinking");
            losses.list(&at.name("budget_tokens"), "is said as an effort");
            Some(Effort::of_budget(tokens).word())
        }
        (Some(ReasoningMode::Adaptive) | None, None) => None,
    };
    let Some(word) = word else { return };
    match target.reasoning {
        ReasoningForm::Effort => {
            body.insert("reasoning_effort".to_owned(), word.into());
        }
        // What does not reason is not told not to.
        ReasoningForm::Budget | ReasoningForm::None if word == "none" => {}
        ReasoningForm::Budget | ReasoningForm::None => {
            losses.list(&at, "is not taken by the model and left out");
        }
    }
}

fn account(chat: &Chat, losses: &mut Losses, body: &mut Map<String, Value>) {
    let root = At::ROOT;
    let tier = match &chat.service_tier {
        None => None,
        Some(ServiceTier::Auto) => Some("auto"),
        Some(ServiceTier::Standard) => Some("default"),
        Some(ServiceTier::Other(word)) if chat.origin == Some(WIRE) => Some(word.as_str()),
        Some(ServiceTier::Other(_)) => {
            losses.list(&root.name("service_tier"), "is left out");
            None
        }
    };
    if let Some(tier) = tier {
        body.insert("service_tier".to_owned(), tier.into());
    }
    let written = ["safety_identifier", "user"]
        .iter()
        .any(|name| chat.rest.get(WIRE, name).and_then(Value::as_str) == chat.user.as_deref());
    if let Some(user) = chat.user.as_deref().filter(|_| !written) {
        body.insert("user".to_owned(), user.into());
    }
}

/// Usage is asked for always: the gateway has to know it.
fn stream(chat: &Chat, target: &Target, body: &mut Map<String, Value>) {
    if chat.is_stream {
        body.insert("stream".to_owned(), true.into());
        if target.takes_stream_options {
            body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
        }
    }
}
