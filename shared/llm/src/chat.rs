//! The hub: a request to a language model, as every dialect can be read into it and every provider written from it.

use serde_json::{Number, Value};

use crate::rest::{Rest, Wire};

/// A request for the next message of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chat {
    /// The format that it was read from; nothing where it was made here.
    pub origin: Option<Wire>,
    /// The model, as the caller names it.
    pub model: String,
    /// What was said so far, oldest first. Instructions are messages as well.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it may or must call; nothing is the format's own default: it may where there are tools.
    pub tool_choice: Option<ToolChoice>,
    /// Whether one answer may hold several calls; nothing is yes.
    pub parallel_tool_calls: Option<bool>,
    /// The most tokens of the answer, what is reasoned included.
    pub max_output_tokens: Option<u64>,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// What the answer must be; nothing is any text.
    pub output: Option<OutputFormat>,
    /// How much is reasoned before the answer.
    pub reasoning: Reasoning,
    /// What the caller would pay for.
    pub service_tier: Option<ServiceTier>,
    /// Who the caller's own user is, in words that only the caller understands.
    pub user: Option<String>,
    /// Whether the answer is wanted as a stream.
    pub is_stream: bool,
    /// Whether a stream is to end with its usage; formats that always tell it have yes here.
    pub wants_usage: bool,
    /// Everything else.
    pub rest: Rest,
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Whose it is.
    pub role: Role,
    /// What it says.
    pub content: Content,
    /// Everything else.
    pub rest: Rest,
}

/// Whose a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The operator of the conversation.
    System,
    /// As the system; newer models of OpenAI know the two apart.
    Developer,
    /// Who asks. May hold results of tools too.
    #[default]
    User,
    /// The model.
    Assistant,
    /// A tool: results of calls and nothing else.
    Tool,
}

/// Parts, and how they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// How they were written. It means nothing; the same format gets it back.
    pub form: Form,
}

/// How content is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As the writer likes.
    #[default]
    Any,
    /// As a text.
    Text,
    /// As a list, even of one text.
    List,
}

/// One part of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub piece: Piece,
    /// Whether the prompt up to here is to be cached.
    pub cache: Option<CacheMark>,
    /// Everything else.
    pub rest: Rest,
}

/// What a part of a message is.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// A text.
    Text(String),
    /// A picture.
    Image(Source),
    /// A document, such as a PDF.
    Document {
        /// Where it is.
        source: Source,
        /// Its title or file name.
        title: Option<String>,
    },
    /// Sound, in base64.
    Audio {
        /// The bytes, in base64.
        base64: String,
        /// Such as `wav`.
        format: String,
    },
    /// What the model reasoned.
    Reasoning {
        /// In words; providers may keep it to themselves and leave it empty.
        text: String,
        /// The provider's proof that it is its own. Only the provider that made it takes it back.
        signature: Option<String>,
    },
    /// What the model reasoned, legible to its provider only.
    RedactedReasoning(String),
    /// A call that the model wants done.
    ToolCall {
        /// What its result will name.
        id: String,
        /// Which tool.
        name: String,
        /// JSON of an object; a model can get that wrong, so it is a text.
        arguments: String,
    },
    /// What came of a call.
    ToolResult {
        /// The call's id.
        id: String,
        /// What the tool said.
        content: Content,
        /// Whether it failed; nothing is no.
        is_error: Option<bool>,
    },
    /// That the model does not answer, in its words.
    Refusal(String),
    /// What only its own format knows: all of it is in the part's `rest`.
    Other,
}

/// Where the bytes of a picture or a document are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// There. The provider fetches it.
    Url(String),
    /// Here.
    Base64 {
        /// Such as `image/png`.
        media_type: String,
        /// The bytes, in base64.
        data: String,
    },
    /// Here, as plain text.
    Text(String),
}

/// A mark up to which the prompt is to be cached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheMark {
    /// For how long; nothing is the provider's default.
    pub ttl: Option<CacheTtl>,
}

/// How long a prompt is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheTtl {
    /// Five minutes.
    FiveMinutes,
    /// An hour.
    Hour,
}

/// What a model may call.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    /// A function of the caller's.
    Function(Function),
    /// One that only its own format knows, such as those that a provider runs itself: all of it.
    Other(Rest),
}

/// A function of the caller's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// A JSON schema of its arguments.
    pub parameters: Option<Value>,
    /// Whether the arguments are to keep to the schema without fail.
    pub strict: Option<bool>,
    /// Whether the prompt up to here is to be cached.
    pub cache: Option<CacheMark>,
    /// Everything else.
    pub rest: Rest,
}

/// Whether a model may or must call tools.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// It must not.
    None,
    /// It must call one.
    Required,
    /// It must call this one.
    Named(String),
    /// Only these.
    Allowed {
        /// Those.
        names: Vec<String>,
        /// Whether it must call one of them.
        is_required: bool,
    },
    /// What only its own format knows.
    Other(Rest),
}

/// How the next token is chosen. Numbers are kept as they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// From 0; higher is more random.
    pub temperature: Option<Number>,
    /// Only the likeliest tokens that sum up to this probability.
    pub top_p: Option<Number>,
    /// Only this many of the likeliest tokens.
    pub top_k: Option<Number>,
    /// Makes answers repeatable, as far as that goes.
    pub seed: Option<Number>,
    /// Against tokens by how often they stand there already.
    pub frequency_penalty: Option<Number>,
    /// Against tokens that stand there already.
    pub presence_penalty: Option<Number>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
}

/// What an answer must be.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputFormat {
    /// Any text, said expressly.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema(JsonSchema),
}

/// A schema that an answer must keep to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonSchema {
    /// Its name, where the format has one.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The schema.
    pub schema: Option<Value>,
    /// Whether the answer is to keep to it without fail.
    pub strict: Option<bool>,
}

/// How much is reasoned before the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// Whether, and who decides how much.
    pub mode: Option<ReasoningMode>,
    /// How much, in a word.
    pub effort: Option<Effort>,
}

/// Whether something is reasoned, and who decides how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningMode {
    /// Nothing.
    Off,
    /// The model decides.
    Adaptive,
    /// At most this many tokens.
    Budget(u64),
}

/// How much is reasoned, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Next to nothing.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// Very much.
    ExtraHigh,
    /// As much as it takes.
    Max,
}

/// What a caller would pay for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceTier {
    /// Whatever the account has.
    Auto,
    /// Nothing above the plain price.
    Standard,
    /// One that only its own format knows.
    Other(String),
}

impl Chat {
    /// Whether the first message was written beside the others, so that their places are one off.
    pub(crate) fn has_system_beside_messages(&self) -> bool {
        let is_system = |message: &Message| message.role == Role::System;
        self.origin == Some(Wire::AnthropicMessages) && self.messages.first().is_some_and(is_system)
    }
}

impl Content {
    /// One text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::text(text)], form: Form::Text }
    }
}

impl Part {
    /// A part with nothing else to it.
    #[must_use]
    pub fn new(piece: Piece) -> Self {
        Self { piece, cache: None, rest: Rest::default() }
    }

    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Piece::Text(text.into()))
    }
}

impl Effort {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Minimal, "minimal"),
        (Self::Low, "low"),
        (Self::Medium, "medium"),
        (Self::High, "high"),
        (Self::ExtraHigh, "xhigh"),
        (Self::Max, "max"),
    ];

    /// The word that both formats have for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(effort, _)| *effort == self).map_or("", |(_, word)| word)
    }

    /// What a word says.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(effort, _)| *effort)
    }

    /// What a budget in tokens comes to. The bounds are conventions.
    #[must_use]
    pub fn of_budget(tokens: u64) -> Self {
        match tokens {
            0..=1024 => Self::Minimal,
            1025..=4095 => Self::Low,
            4096..=16_383 => Self::Medium,
            16_384..=32_767 => Self::High,
            _ => Self::ExtraHigh,
        }
    }

    /// What it comes to as a budget in tokens. The numbers are conventions.
    #[must_use]
    pub fn budget(self) -> u64 {
        match self {
            Self::Minimal => 1024,
            Self::Low => 2048,
            Self::Medium => 8192,
            Self::High => 16_384,
            Self::ExtraHigh | Self::Max => 32_768,
        }
    }
}
