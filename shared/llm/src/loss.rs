//! What of one format another cannot carry. Hints are left out and listed; what would change the answer is refused.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::dialects::{anthropic_messages, openai_chat};
use crate::error::LlmError;
use crate::json::At;
use crate::rest::{Rest, Wire};

/// How many are told. A caller can send any number of fields that nobody knows.
pub const MAX_TOLD: usize = 32;

/// One thing that could not be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where it stood, as a JSON pointer into what was sent.
    pub at: String,
    /// What became of it, as part of a sentence.
    pub what: &'static str,
}

/// How much a field says that the hub has no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Nothing that is not in the hub as well.
    Nothing,
    /// A hint: the answer means the same without it.
    Hint,
    /// The answer could mean something else.
    Meaning,
}

/// Which object a field belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Chat,
    Message,
    Part,
    Tool,
    Reply,
}

/// What has been lost so far.
pub(crate) struct Losses {
    is_answer: bool,
    listed: Vec<Lost>,
    refused: Vec<Lost>,
}

impl Losses {
    /// Of a request: what changes its meaning is refused.
    pub(crate) fn of_request() -> Self {
        Self { is_answer: false, listed: Vec::new(), refused: Vec::new() }
    }

    /// Of an answer, which is paid for: nothing of it is refused, all is listed.
    pub(crate) fn of_answer() -> Self {
        Self { is_answer: true, ..Self::of_request() }
    }

    /// A hint was left out, or something was said in another way.
    pub(crate) fn list(&mut self, at: &At<'_>, what: &'static str) {
        add(&mut self.listed, at, what);
    }

    /// Something cannot be left out.
    pub(crate) fn refuse(&mut self, at: &At<'_>, what: &'static str) {
        let into = if self.is_answer { &mut self.listed } else { &mut self.refused };
        add(into, at, what);
    }

    /// Judges what the hub has no place for, on its way into a format.
    pub(crate) fn rest(&mut self, at: &At<'_>, place: Place, rest: &Rest, to: Wire) {
        let Some(from) = rest.wire().filter(|from| *from != to) else { return };
        for (name, value) in rest.fields() {
            // What is left of the only choice of an answer stands within the answer's rest.
            match value.as_object().filter(|_| place == Place::Reply && name == "choices") {
                Some(choice) => self.choice(at, choice, from),
                None => self.field(at, place, (name, value), from),
            }
        }
    }

    fn choice(&mut self, at: &At<'_>, choice: &Map<String, Value>, from: Wire) {
        let at = at.name("choices");
        for (name, value) in choice {
            let message = value.as_object().filter(|_| name == "message");
            for (name, value) in message.into_iter().flatten() {
                self.field(&at.name("message"), Place::Reply, (name, value), from);
            }
            if message.is_none() {
                self.field(&at, Place::Reply, (name, value), from);
            }
        }
    }

    fn field(&mut self, at: &At<'_>, place: Place, field: (&str, &Value), from: Wire) {
        let (name, value) = field;
        let weight = match from {
            Wire::OpenAiChat => openai_chat::weight(place, name, value),
            Wire::AnthropicMessages => anthropic_messages::weight(place, name, value),
        };
        let at = at.name(name);
        match weight {
            _ if says_nothing(value) => {}
            Weight::Nothing => {}
            Weight::Hint => {
                // Where one thing is left of an object, it is that.
                let inner = value.as_object().filter(|inner| inner.len() == 1);
                let inner = inner.and_then(|inner| inner.keys().next());
                match inner {
                    Some(inner) => self.list(&at.name(inner), "is left out"),
                    None => self.list(&at, "is left out"),
                }
            }
            Weight::Meaning => self.refuse(&at, "has no equal at this provider"),
        }
    }

    /// What was listed up to now.
    pub(crate) fn listed(&self) -> &[Lost] {
        &self.listed
    }

    /// What was listed.
    pub(crate) fn into_listed(self) -> Vec<Lost> {
        self.listed
    }

    /// What was listed, unless something was refused.
    pub(crate) fn finish(self) -> Result<Vec<Lost>, LlmError> {
        if self.refused.is_empty() {
            Ok(self.listed)
        } else {
            Err(LlmError::NotSupported { lost: self.refused })
        }
    }
}

/// Adds one, once.
fn add(lost: &mut Vec<Lost>, at: &At<'_>, what: &'static str) {
    let (at, what) = match lost.len().cmp(&MAX_TOLD) {
        Ordering::Less => (at.to_string(), what),
        Ordering::Equal => (String::new(), "and more than are told here"),
        Ordering::Greater => return,
    };
    let new = Lost { at, what };
    if !lost.contains(&new) {
        lost.push(new);
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
