//! A request, written.

use std::collections::BTreeSet;

use std::borrow::Cow;

use serde_json::{Map, Number, Value, json};

use super::WIRE;
use super::messages::{NAME_CHARS, Written, tool_names, write};
use crate::chat::{
    Chat, Effort, Function, JsonSchema, OutputFormat, ReasoningMode, ServiceTier, Tool, ToolChoice,
};
use crate::dialects::anthropic_messages::{write_choice, write_tool};
use crate::error::LlmError;
use crate::json::{self, At};
use crate::loss::{Losses, Place};
use crate::target::{Names, Outgoing, Reading, ReasoningForm, Target};

/// For a caller who does not say and a model whose limit is not known.
const DEFAULT_MAX_TOKENS: u64 = 4096;
/// The smallest budget that is taken.
const MIN_BUDGET: u64 = 1024;
/// The tool that stands for a schema where its name does not.
const JSON_TOOL: &str = "json_output";
/// How many marks for the cache are taken.
const MAX_MARKS: usize = 4;
const ONE_OBJECT: &str = "Answer with one JSON object and nothing else.";

struct Writer<'a> {
    chat: &'a Chat,
    target: &'a Target,
    losses: Losses,
    is_same: bool,
    /// The tool whose arguments are to be the answer.
    json_tool: Option<(String, &'a JsonSchema)>,
}

pub(crate) fn render(chat: &Chat, target: &Target) -> Result<Outgoing, LlmError> {
    let is_same = chat.origin == Some(WIRE);
    let mut losses = Losses::of_request();
    losses.rest(&At::ROOT, Place::Chat, &chat.rest, WIRE);
    let names = tool_names(chat);
    let names = Names::new(NAME_CHARS, names.into_iter().filter(|_| !is_same));
    let mut writer = Writer { chat, target, losses, is_same, json_tool: None };
    let Written { mut system, messages } = write(chat, target, &names, &mut writer.losses)?;
    let mut body = json::object([("model", target.model.as_str().into())]);
    writer.output(&mut system, &mut body);
    writer.reasoning_and_limit(&mut body);
    if let Some(system) = system {
        body.insert("system".to_owned(), system);
    }
    body.insert("messages".to_owned(), messages.into());
    writer.sampling(&mut body);
    writer.tools(&names, &mut body);
    writer.choice(&names, &mut body);
    writer.account(&mut body);
    if chat.is_stream {
        body.insert("stream".to_owned(), true.into());
    }
    if !is_same {
        writer.cut_marks(&mut body);
    }
    chat.rest.complete(WIRE, &mut body);
    let json_tool = writer.json_tool.map(|(name, _)| name);
    let reading = Reading { names: names.back(), json_tool };
    Ok(Outgoing {
        method: "POST",
        path: Cow::Borrowed("/v1/messages"),
        headers: &[("content-type", "application/json"), ("anthropic-version", "2023-06-01")],
        body: json::bytes(&body),
        reading,
        lost: writer.losses.finish()?,
    })
}

impl<'a> Writer<'a> {
    fn output(&mut self, system: &mut Option<Value>, body: &mut Map<String, Value>) {
        let root = At::ROOT;
        let at = root.name("response_format");
        match &self.chat.output {
            None | Some(OutputFormat::Text) => {}
            Some(OutputFormat::JsonObject) => {
                self.losses.list(&at, "is asked for in words");
                add_system(system, ONE_OBJECT);
            }
            Some(OutputFormat::JsonSchema(schema)) if self.target.takes_json_schema => {
                if !self.is_same && (schema.name.is_some() || schema.description.is_some()) {
                    self.losses.list(&at.name("json_schema"), "has no name nor description there");
                }
                let format = json!({
                    "type": "json_schema",
                    "schema": schema.schema.clone().unwrap_or_else(|| json!({ "type": "object" })),
                });
                body.insert("output_config".to_owned(), json!({ "format": format }));
            }
            Some(OutputFormat::JsonSchema(schema)) => self.output_by_tool(schema, &at),
        }
    }

    /// The arguments of a tool that must be called keep to a schema too.
    fn output_by_tool(&mut self, schema: &'a JsonSchema, at: &At<'_>) {
        if !self.chat.tools.is_empty() {
            self.losses.refuse(at, "cannot be had together with tools from this model");
        }
        if !self.target.takes_forced_tools {
            self.losses.refuse(at, "cannot be had from this model");
        }
        let name = schema.name.as_deref().unwrap_or(JSON_TOOL);
        let names = Names::new(NAME_CHARS, std::iter::once(name));
        self.json_tool = Some((names.sent(name).to_owned(), schema));
    }

    /// The two depend on each other: what is reasoned is within the limit.
    fn reasoning_and_limit(&mut self, body: &mut Map<String, Value>) {
        let model = self.target.max_output_tokens;
        let mut most = self.chat.max_output_tokens.or(model).unwrap_or(DEFAULT_MAX_TOKENS);
        let (mode, effort) = (self.chat.reasoning.mode, self.chat.reasoning.effort);
        if self.is_same {
            self.same_reasoning(body);
        } else {
            match (mode, effort, self.target.reasoning) {
                (None, None, _) | (Some(ReasoningMode::Off), _, ReasoningForm::None) => {}
                (Some(ReasoningMode::Off), ..) => {
                    body.insert("thinking".to_owned(), json!({ "type": "disabled" }));
                }
                (_, _, ReasoningForm::None) => {
                    let root = At::ROOT;
                    let at = root.name("reasoning_effort");
                    self.losses.list(&at, "is not taken by the model and left out");
                }
                (mode, effort, ReasoningForm::Effort) => {
                    body.insert("thinking".to_owned(), json!({ "type": "adaptive" }));
                    let effort = effort.or_else(|| mode.and_then(budget).map(Effort::of_budget));
                    if let Some(effort) = effort {
                        // The least that there is a word for.
                        let word = effort.max(Effort::Low).word();
                        set_output_config(body, "effort", word.into());
                    }
                }
                (_, _, ReasoningForm::Budget) if self.is_forced() => {
                    let root = At::ROOT;
                    let at = root.name("reasoning_effort");
                    self.losses
                        .list(&at, "is left out: who must call a tool cannot be told to reason");
                }
                (mode, effort, ReasoningForm::Budget) => {
                    let wanted = mode.and_then(budget).or_else(|| effort.map(Effort::budget));
                    let wanted = wanted.unwrap_or_else(|| Effort::Medium.budget());
                    most = with_budget(most, wanted, model, body);
                }
            }
        }
        body.insert("max_tokens".to_owned(), most.into());
    }

    fn same_reasoning(&self, body: &mut Map<String, Value>) {
        let thinking = match self.chat.reasoning.mode {
            None => None,
            Some(ReasoningMode::Off) => Some(json!({ "type": "disabled" })),
            Some(ReasoningMode::Adaptive) => Some(json!({ "type": "adaptive" })),
            Some(ReasoningMode::Budget(tokens)) => {
                Some(json!({ "type": "enabled", "budget_tokens": tokens }))
            }
        };
        if let Some(thinking) = thinking {
            body.insert("thinking".to_owned(), thinking);
        }
        if let Some(effort) = self.chat.reasoning.effort {
            set_output_config(body, "effort", effort.word().into());
        }
    }

    fn sampling(&mut self, body: &mut Map<String, Value>) {
        let root = At::ROOT;
        let sampling = &self.chat.sampling;
        let is_reasoning = body.get("thinking").is_some_and(|thinking| {
            thinking.get("type").is_some_and(|of_type| of_type != "disabled")
        });
        let is_taken = self.is_same || (self.target.takes_sampling && !is_reasoning);
        for (name, value) in [
            ("temperature", &sampling.temperature),
            ("top_p", &sampling.top_p),
            ("top_k", &sampling.top_k),
        ] {
            let Some(value) = value else { continue };
            let at = root.name(name);
            if !is_taken {
                self.losses.list(&at, "is not taken by the model and left out");
                continue;
            }
            let is_hot = name == "temperature" && value.as_f64().is_some_and(|value| value > 1.0);
            if is_hot && !self.is_same {
                self.losses.list(&at, "is 1, the most that there is");
            }
            let value = if is_hot && !self.is_same { Number::from(1) } else { value.clone() };
            body.insert(name.to_owned(), value.into());
        }
        for (name, value) in [
            ("seed", &sampling.seed),
            ("frequency_penalty", &sampling.frequency_penalty),
            ("presence_penalty", &sampling.presence_penalty),
        ] {
            if value.as_ref().is_some_and(|value| value.as_f64() != Some(0.0)) {
                self.losses.list(&root.name(name), "is left out");
            }
        }
        let is_right = |text: &&String| self.is_same || !text.trim().is_empty();
        let stop: Vec<&String> = sampling.stop.iter().filter(is_right).collect();
        if stop.len() < sampling.stop.len() {
            self.losses.list(&root.name("stop"), "has white space alone, which is left out");
        }
        if !stop.is_empty() {
            body.insert("stop_sequences".to_owned(), json!(stop));
        }
    }

    fn tools(&mut self, names: &Names, body: &mut Map<String, Value>) {
        let root = At::ROOT;
        let at = root.name("tools");
        let (allowed, mut written) = (self.allowed(), Vec::new());
        for (i, tool) in self.chat.tools.iter().enumerate() {
            let at = at.item(i);
            match tool {
                Tool::Function(function) => {
                    self.losses.rest(&at, Place::Tool, &function.rest, WIRE);
                    let is_allowed = allowed.is_none_or(|names| names.contains(&function.name));
                    if is_allowed {
                        let tool = write_tool(function, names.sent(&function.name));
                        written.push(Value::Object(tool));
                    }
                }
                Tool::Other(rest) => match rest.object(WIRE) {
                    Some(whole) => written.push(Value::Object(whole.clone())),
                    None => self.losses.refuse(&at, "has no equal at this provider"),
                },
            }
        }
        if written.is_empty() && allowed.is_some() {
            self.losses.refuse(&root.name("tool_choice"), "allows no tool that there is");
        }
        if let Some((name, schema)) = &self.json_tool {
            let description = schema.description.as_deref().unwrap_or("The answer.");
            let schema = schema.schema.clone().unwrap_or_else(|| json!({}));
            let function = Function {
                description: Some(description.to_owned()),
                parameters: Some(schema),
                ..Function::default()
            };
            written.push(Value::Object(write_tool(&function, name)));
        }
        // A conversation with calls in it is not taken without the tools.
        if written.is_empty() && !self.is_same {
            let called = tool_names(self.chat);
            for name in BTreeSet::from_iter(called) {
                let function = Function::default();
                written.push(Value::Object(write_tool(&function, names.sent(name))));
            }
        }
        if !written.is_empty() {
            body.insert("tools".to_owned(), written.into());
        }
    }

    /// The only tools that may be called; there is no other way to say that here.
    fn allowed(&self) -> Option<&'a Vec<String>> {
        match &self.chat.tool_choice {
            Some(ToolChoice::Allowed { names, .. }) => Some(names),
            Some(
                ToolChoice::Auto
                | ToolChoice::None
                | ToolChoice::Required
                | ToolChoice::Named(_)
                | ToolChoice::Other(_),
            )
            | None => None,
        }
    }

    /// Whether a tool must be called.
    fn is_forced(&self) -> bool {
        match &self.chat.tool_choice {
            _ if self.json_tool.is_some() => true,
            Some(ToolChoice::Required | ToolChoice::Named(_)) => true,
            Some(ToolChoice::Allowed { is_required, .. }) => *is_required,
            Some(ToolChoice::Auto | ToolChoice::None | ToolChoice::Other(_)) | None => false,
        }
    }

    /// Taken with tools only.
    fn choice(&mut self, names: &Names, body: &mut Map<String, Value>) {
        let root = At::ROOT;
        let at = root.name("tool_choice");
        if let Some((name, _)) = &self.json_tool {
            let choice = json!({ "type": "tool", "name": name });
            body.insert("tool_choice".to_owned(), choice);
            return;
        }
        if !body.contains_key("tools") && !self.is_same {
            return;
        }
        let only_one = self.chat.parallel_tool_calls == Some(false);
        let choice = match &self.chat.tool_choice {
            Some(choice) => choice.clone(),
            None if only_one => ToolChoice::Auto,
            // Tools that are there for the conversation alone must not be called now.
            None if self.chat.tools.is_empty() && !self.is_same => ToolChoice::None,
            None => return,
        };
        if self.is_forced() && !self.is_same && !self.target.takes_forced_tools {
            self.losses.refuse(&at, "asks for a call, to which the model cannot be forced");
        }
        let parallel = self.chat.parallel_tool_calls.filter(|_| self.is_same || only_one);
        match write_choice(&choice, parallel, |name| names.sent(name).to_owned()) {
            Some(choice) => {
                body.insert("tool_choice".to_owned(), choice.into());
            }
            None => self.losses.refuse(&at, "has no equal at this provider"),
        }
    }

    fn account(&mut self, body: &mut Map<String, Value>) {
        let root = At::ROOT;
        match &self.chat.service_tier {
            None => {}
            Some(ServiceTier::Auto) => {
                body.insert("service_tier".to_owned(), "auto".into());
            }
            Some(ServiceTier::Standard) => {
                body.insert("service_tier".to_owned(), "standard_only".into());
            }
            Some(ServiceTier::Other(word)) if self.is_same => {
                body.insert("service_tier".to_owned(), word.as_str().into());
            }
            Some(ServiceTier::Other(_)) => {
                self.losses.list(&root.name("service_tier"), "is left out");
            }
        }
        if let Some(user) = &self.chat.user {
            body.insert("metadata".to_owned(), json!({ "user_id": user }));
        }
    }

    /// The last marks are worth the most.
    fn cut_marks(&mut self, body: &mut Map<String, Value>) {
        // In the order of the prompt.
        let places = ["tools", "system", "messages"];
        let count: usize = places.iter().filter_map(|name| body.get(*name)).map(marks).sum();
        let surplus = count.saturating_sub(MAX_MARKS);
        let mut left = surplus;
        for name in places {
            if let Some(value) = body.get_mut(name) {
                remove_marks(value, &mut left);
            }
        }
        if surplus > 0 {
            let root = At::ROOT;
            let at = root.name("messages");
            self.losses.list(&at, "has more than 4 marks for the cache; the first are left out");
        }
    }
}

/// Marks stand on tools, blocks, and blocks of results; schemas and arguments are not looked into.
fn marks(value: &Value) -> usize {
    let objects = value.as_array().into_iter().flatten().filter_map(Value::as_object);
    let marks = |object: &Map<String, Value>| {
        let inner = object.get("content").map_or(0, marks);
        inner + usize::from(object.contains_key("cache_control"))
    };
    objects.map(marks).sum()
}

/// Takes the first ones away, as many as are to go.
fn remove_marks(value: &mut Value, surplus: &mut usize) {
    let items = value.as_array_mut().into_iter().flatten();
    for object in items.filter_map(Value::as_object_mut) {
        if let Some(content) = object.get_mut("content") {
            remove_marks(content, surplus);
        }
        if *surplus > 0 && object.shift_remove("cache_control").is_some() {
            *surplus -= 1;
        }
    }
}

fn budget(mode: ReasoningMode) -> Option<u64> {
    match mode {
        ReasoningMode::Budget(tokens) => Some(tokens),
        ReasoningMode::Off | ReasoningMode::Adaptive => None,
    }
}

/// A budget must be less than the limit. The limit is raised, as far as the model goes, so that as much can be answered as
/// the caller asked for.
fn with_budget(most: u64, wanted: u64, model: Option<u64>, body: &mut Map<String, Value>) -> u64 {
    let budget = wanted.max(MIN_BUDGET);
    let raised = most.max(budget.saturating_add(most));
    let most = model.map_or(raised, |model| raised.min(model.max(most)));
    let budget = budget.min(most.saturating_sub(1));
    if budget >= MIN_BUDGET {
        let thinking = json!({ "type": "enabled", "budget_tokens": budget });
        body.insert("thinking".to_owned(), thinking);
    }
    most
}

fn set_output_config(body: &mut Map<String, Value>, name: &str, value: Value) {
    let config = body.entry("output_config").or_insert_with(|| json!({}));
    if let Some(config) = config.as_object_mut() {
        config.insert(name.to_owned(), value);
    }
}

fn add_system(system: &mut Option<Value>, text: &str) {
    let block = json!({ "type": "text", "text": text });
    *system = Some(match system.take() {
        None => text.into(),
        Some(Value::Array(mut blocks)) => {
            blocks.push(block);
            blocks.into()
        }
        Some(Value::String(first)) => json!([{ "type": "text", "text": first }, block]),
        Some(other) => other,
    });
}
