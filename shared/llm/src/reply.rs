//! The hub, the other way: an answer of a language model, whole or as a stream of events.

use crate::chat::Part;
use crate::error::Failure;
use crate::rest::Rest;
use crate::usage::Usage;

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// What the provider calls it; empty where it has no name.
    pub id: String,
    /// The model that answered, as the provider names it. The price is this one's.
    pub model: String,
    /// When, in seconds since 1970; not every provider says.
    pub created_secs: Option<u64>,
    /// What it says.
    pub parts: Vec<Part>,
    /// Why it ended.
    pub finish: Finish,
    /// What it took; nothing where the provider does not say.
    pub usage: Option<Usage>,
    /// The tier that it was really served at, in the provider's word.
    pub service_tier: Option<String>,
    /// Everything else.
    pub rest: Rest,
}

/// Why an answer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// Why.
    pub reason: FinishReason,
    /// The text that it was to end at, where the provider says which.
    pub stop_sequence: Option<String>,
    /// Why the model or the provider would not answer, in words.
    pub explanation: Option<String>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinishReason {
    /// All was said.
    #[default]
    End,
    /// One of the texts came that were to end it.
    StopSequence,
    /// The most tokens that were asked for.
    Length,
    /// The most tokens that the model can hold.
    ContextWindow,
    /// Calls are to be done first.
    ToolCalls,
    /// The model or a filter would not answer.
    Refused,
    /// Tools that the provider runs take long; sent back as it is, it goes on.
    Pause,
}

/// What comes of a stream. Decoders keep the order: a start, then parts, each with its start, deltas and end, then
/// why it ended, what it took, and the end. Parts of several calls can be open at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer begins.
    Start(Start),
    /// A part begins; what it has already is in it.
    PartStart {
        /// Its number; none comes twice in an answer.
        index: u32,
        /// As much of it as is known.
        part: Part,
    },
    /// More of a part.
    Delta {
        /// The part's number.
        index: u32,
        /// What is added to it.
        delta: Delta,
    },
    /// A part is whole.
    PartEnd {
        /// The part's number.
        index: u32,
    },
    /// Why it ends.
    Finish(Finish),
    /// What it took, all in all.
    Usage(Usage),
    /// Nothing yet, but it goes on.
    Ping,
    /// It broke; nothing follows.
    Failed(Failure),
    /// It is whole.
    End,
}

/// How an answer begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Start {
    /// What the provider calls it.
    pub id: String,
    /// The model that answers.
    pub model: String,
    /// When, in seconds since 1970.
    pub created_secs: Option<u64>,
    /// What the prompt took, where the provider says so at once.
    pub usage: Option<Usage>,
}

/// What is added to a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// Of a text.
    Text(String),
    /// Of what is reasoned.
    Reasoning(String),
    /// The proof of what was reasoned.
    Signature(String),
    /// Of a call's arguments: JSON that is not whole.
    Arguments(String),
    /// Of the words that decline.
    Refusal(String),
    /// What only its own format knows.
    Other(Rest),
}

/// What is known of an answer that passed, or was decoded, up to now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metered {
    /// What it took; nothing where the provider did not say (yet).
    pub usage: Option<Usage>,
    /// The model that answered.
    pub model: Option<String>,
    /// The tier that it was really served at, in the provider's word.
    pub service_tier: Option<String>,
}
