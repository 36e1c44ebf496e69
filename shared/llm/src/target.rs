//! What a request is written for, and what comes of the writing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::loss::Lost;

/// The model that a request goes to, and what it takes. The catalogue knows, and whoever configures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The model, as the provider names it.
    pub model: String,
    /// The most tokens of an answer; for formats that must be told one.
    pub max_output_tokens: Option<u64>,
    /// Whether it takes temperature, `top_p` and `top_k`.
    pub takes_sampling: bool,
    /// How it is told to reason.
    pub reasoning: ReasoningForm,
    /// Whether it keeps to a JSON schema by itself.
    pub takes_json_schema: bool,
    /// Whether it can be forced to call a tool.
    pub takes_forced_tools: bool,
    /// Whether it takes instructions in the middle of a conversation.
    pub takes_late_system: bool,
    /// Whether it goes on with an answer that the caller has begun.
    pub takes_prefill: bool,
    /// Whether it takes the role `developer`.
    pub takes_developer: bool,
    /// Whether it takes `stream_options`.
    pub takes_stream_options: bool,
    /// Whether it is to be given back what it reasoned, in `reasoning_content`.
    pub wants_reasoning_back: bool,
    /// What the most tokens of an answer are called in chat completions.
    pub limit_field: LimitField,
}

/// What the most tokens of an answer are called in chat completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitField {
    /// `max_completion_tokens`: OpenAI.
    MaxCompletionTokens,
    /// `max_tokens`: most others.
    MaxTokens,
}

/// How a model is told to reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningForm {
    /// In a word.
    Effort,
    /// By a number of tokens.
    Budget,
    /// Not at all: it does not reason, or not as it is told.
    None,
}

impl Target {
    /// A model that takes what newer ones take.
    #[must_use]
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            max_output_tokens: None,
            takes_sampling: true,
            reasoning: ReasoningForm::Effort,
            takes_json_schema: true,
            takes_forced_tools: true,
            takes_late_system: false,
            takes_prefill: true,
            takes_developer: true,
            takes_stream_options: true,
            wants_reasoning_back: false,
            limit_field: LimitField::MaxCompletionTokens,
        }
    }
}

/// A request as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its method.
    pub method: &'static str,
    /// Its path, to be added to the provider's base URL. A model's name in it is one segment, percent-encoded.
    pub path: Cow<'static, str>,
    /// Headers that its format needs, without credentials.
    pub headers: &'static [(&'static str, &'static str)],
    /// Its body.
    pub body: Vec<u8>,
    /// What has to be known to read the answer.
    pub reading: Reading,
    /// What was left out of it, or said in another way.
    pub lost: Vec<Lost>,
}

/// What has to be known of a request to read its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Names of tools as they were sent, with the caller's own.
    pub(crate) names: BTreeMap<String, String>,
    /// The tool that stands for a JSON schema: its arguments are the answer.
    pub(crate) json_tool: Option<String>,
}

impl Reading {
    /// The caller's name for a tool.
    pub(crate) fn name(&self, sent: String) -> String {
        self.names.get(&sent).cloned().unwrap_or(sent)
    }

    pub(crate) fn is_json_tool(&self, name: &str) -> bool {
        self.json_tool.as_deref() == Some(name)
    }
}

/// An answer as the caller gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Its body.
    pub body: Vec<u8>,
    /// What was left out of it.
    pub lost: Vec<Lost>,
}

/// What of the caller's request its answer depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The name that the model is shown by; nothing is the provider's.
    pub model: Option<String>,
    /// The time now, in seconds since 1970, for answers that do not say when they were made.
    pub now_secs: u64,
    /// Whether a stream ends with its usage, where the dialect leaves that to the caller.
    pub wants_usage: bool,
    /// Whether the caller asked to see what is reasoned.
    pub wants_reasoning: bool,
}

impl Asked {
    /// What a request asks.
    #[must_use]
    pub fn of(chat: &crate::chat::Chat, now_secs: u64) -> Self {
        use crate::chat::ReasoningMode;
        let wants_reasoning = match chat.reasoning.mode {
            None | Some(ReasoningMode::Off) => false,
            Some(ReasoningMode::Adaptive | ReasoningMode::Budget(_)) => true,
        };
        Self { model: None, now_secs, wants_usage: chat.wants_usage, wants_reasoning }
    }
}

/// Names that keep to a format's letters and length, each for one of the caller's.
pub(crate) struct Names {
    max_chars: usize,
    sent: BTreeMap<String, String>,
    taken: BTreeSet<String>,
    /// Only ever grows, so that however a caller chooses its names, making them takes no more tries than there are names.
    number: usize,
}

impl Names {
    /// Names that are right already are kept, so they have to be known before any other is made.
    pub(crate) fn new<'a>(max_chars: usize, all: impl Iterator<Item = &'a str>) -> Self {
        let mut names =
            Self { max_chars, sent: BTreeMap::new(), taken: BTreeSet::new(), number: 0 };
        let (right, wrong): (Vec<&str>, Vec<&str>) = all.partition(|name| names.is_right(name));
        names.taken.extend(right.into_iter().map(str::to_owned));
        for name in wrong {
            names.make(name);
        }
        names
    }

    /// The name to send for one of the caller's.
    pub(crate) fn sent<'a>(&'a self, name: &'a str) -> &'a str {
        self.sent.get(name).map_or(name, String::as_str)
    }

    /// The caller's names by those that were sent for them.
    pub(crate) fn back(self) -> BTreeMap<String, String> {
        self.sent.into_iter().map(|(name, sent)| (sent, name)).collect()
    }

    fn is_right(&self, name: &str) -> bool {
        !name.is_empty() && name.len() <= self.max_chars && name.bytes().all(is_letter)
    }

    fn make(&mut self, name: &str) {
        if self.sent.contains_key(name) {
            return;
        }
        let letters = name.chars().take(self.max_chars);
        let letter = |letter: char| {
            if u8::try_from(letter).is_ok_and(is_letter) { letter } else { '_' }
        };
        let base: String = letters.map(letter).collect();
        let mut made = base.clone();
        while made.is_empty() || self.taken.contains(&made) {
            self.number += 1;
            let ending = format!("_{}", self.number);
            let kept = self.max_chars.saturating_sub(ending.len());
            made = base.chars().take(kept).chain(ending.chars()).collect();
        }
        self.taken.insert(made.clone());
        self.sent.insert(name.to_owned(), made);
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}
