//! What can go wrong, for the caller, at the provider and between; each with a kind and a stable code.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::loss::Lost;
use crate::sse::SseError;

/// What a caller is told at most of another's words.
const MAX_MESSAGE_CHARS: usize = 2000;
/// The longest wait that is believed.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    /// What the caller sent is not JSON, or has a name twice.
    #[error("the body cannot be read as JSON")]
    Json {
        /// Where, and why.
        #[source]
        source: serde_json::Error,
    },
    /// What the caller sent is not a request of its dialect.
    #[error("`{at}`: {problem}")]
    Malformed {
        /// A JSON pointer.
        at: String,
        /// A sentence without its full stop.
        problem: &'static str,
    },
    /// The provider has no equal for something that the answer depends on.
    #[error("{}", all(.lost))]
    NotSupported {
        /// All of it.
        lost: Vec<Lost>,
    },
    /// What the provider answered is not an answer of its format.
    #[error("the provider's answer cannot be read: `{at}`: {problem}")]
    BadAnswer {
        /// A JSON pointer.
        at: String,
        /// A sentence without its full stop.
        problem: &'static str,
    },
    /// The provider's stream is not one, or beyond the limits.
    #[error("the provider's stream cannot be read")]
    Stream {
        /// Why.
        #[source]
        source: SseError,
    },
    /// The provider's stream ended before its answer did.
    #[error("the provider's stream ended before its answer did")]
    EndedEarly,
    /// Too much of an answer would have to be kept.
    #[error("{what} is more than {limit}")]
    TooMuch {
        /// What.
        what: &'static str,
        /// The most that is kept.
        limit: usize,
    },
}

fn all(lost: &[Lost]) -> String {
    let mut text = String::new();
    for Lost { at, what } in lost {
        let separator = if text.is_empty() { "" } else { "; " };
        // Writing into a text cannot fail.
        let _ = write!(text, "{separator}`{at}` {what}");
    }
    text
}

impl LlmError {
    /// The same fault in what a provider sent, which is not the caller's.
    pub(crate) fn of_answer(self) -> Self {
        match self {
            Self::Json { source: _ } => {
                Self::BadAnswer { at: String::new(), problem: "it is not JSON" }
            }
            Self::Malformed { at, problem } => Self::BadAnswer { at, problem },
            Self::NotSupported { .. }
            | Self::BadAnswer { .. }
            | Self::Stream { .. }
            | Self::EndedEarly
            | Self::TooMuch { .. } => self,
        }
    }

    /// As it is told to a caller.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Json { source } => {
                let (line, column) = (source.line(), source.column());
                let message = format!("{self}: line {line}, column {column}");
                Failure::new(ErrorKind::BadRequest, message)
            }
            Self::Malformed { at, .. } => {
                let param = (!at.is_empty()).then(|| at.clone());
                Failure { param, ..Failure::new(ErrorKind::BadRequest, self.to_string()) }
            }
            Self::NotSupported { lost } => {
                let param = lost.first().map(|lost| lost.at.clone());
                Failure { param, ..Failure::new(ErrorKind::NotSupported, self.to_string()) }
            }
            Self::BadAnswer { .. }
            | Self::Stream { .. }
            | Self::EndedEarly
            | Self::TooMuch { .. } => Failure::of_kind(ErrorKind::Broken),
        }
    }
}

impl From<SseError> for LlmError {
    fn from(source: SseError) -> Self {
        Self::Stream { source }
    }
}

/// What kind of failure it is: who can do something about it, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller's request is wrong.
    BadRequest,
    /// It is right, but the provider has no equal for something in it.
    NotSupported,
    /// The conversation is longer than the model can hold.
    ContextTooLong,
    /// The request was not answered for what it says.
    ContentBlocked,
    /// The caller has not shown who it is.
    Unauthenticated,
    /// The provider does not take the gateway's key.
    BadKey,
    /// The caller, or the gateway's key, may not do this.
    Forbidden,
    /// What was paid for is used up; waiting does not help.
    QuotaExhausted,
    /// There is no such model or path.
    NotFound,
    /// The request has too many bytes.
    TooLarge,
    /// Too many requests or tokens for now.
    RateLimited,
    /// The provider has too much to do.
    Overloaded,
    /// It took too long.
    Timeout,
    /// The provider failed, or said what nobody understands.
    Broken,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::NotSupported,
        Self::ContextTooLong,
        Self::ContentBlocked,
        Self::Unauthenticated,
        Self::BadKey,
        Self::Forbidden,
        Self::QuotaExhausted,
        Self::NotFound,
        Self::TooLarge,
        Self::RateLimited,
        Self::Overloaded,
        Self::Timeout,
        Self::Broken,
    ];

    /// Its stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "invalid_request",
            Self::NotSupported => "unsupported_parameter",
            Self::ContextTooLong => "context_length_exceeded",
            Self::ContentBlocked => "content_policy_violation",
            Self::Unauthenticated => "unauthenticated",
            Self::BadKey => "upstream_auth_error",
            Self::Forbidden => "forbidden",
            Self::QuotaExhausted => "insufficient_quota",
            Self::NotFound => "model_not_found",
            Self::TooLarge => "body_too_large",
            Self::RateLimited => "rate_limit_exceeded",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Broken => "upstream_error",
        }
    }

    /// Whether the same request can succeed a little later, or at another provider's endpoint.
    #[must_use]
    pub fn is_passing(self) -> bool {
        match self {
            Self::RateLimited | Self::Overloaded | Self::Timeout | Self::Broken => true,
            Self::BadRequest
            | Self::NotSupported
            | Self::ContextTooLong
            | Self::ContentBlocked
            | Self::Unauthenticated
            | Self::BadKey
            | Self::Forbidden
            | Self::QuotaExhausted
            | Self::NotFound
            | Self::TooLarge => false,
        }
    }

    /// Whether a provider's own words about it are for the caller: about anything else they can name the
    /// account, the key or the limits of whoever runs the gateway.
    fn is_told_in_its_words(self) -> bool {
        match self {
            Self::BadRequest
            | Self::NotSupported
            | Self::ContextTooLong
            | Self::ContentBlocked
            | Self::TooLarge => true,
            Self::Unauthenticated
            | Self::BadKey
            | Self::Forbidden
            | Self::QuotaExhausted
            | Self::NotFound
            | Self::RateLimited
            | Self::Overloaded
            | Self::Timeout
            | Self::Broken => false,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::BadRequest => "The request is not valid.",
            Self::NotSupported => "The provider has no equal for what is asked.",
            Self::ContextTooLong => "The conversation is longer than the model can hold.",
            Self::ContentBlocked => "The request was refused for its content.",
            Self::Unauthenticated => "Credentials are missing or wrong.",
            Self::BadKey => "The provider does not take the gateway's credentials.",
            Self::Forbidden => "This is not allowed.",
            Self::QuotaExhausted => "What was paid for at the provider is used up.",
            Self::NotFound => "There is no such model.",
            Self::TooLarge => "The request is too large.",
            Self::RateLimited => "There are too many requests or tokens for now.",
            Self::Overloaded => "The provider is overloaded.",
            Self::Timeout => "The provider took too long.",
            Self::Broken => "The provider failed.",
        }
    }
}

/// A failure as a caller is told it, in whatever dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind it is.
    pub kind: ErrorKind,
    /// A stable code; the kind's own where nobody knows better.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: String,
    /// Which field of the request.
    pub param: Option<String>,
    /// How long to wait before the next try.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure with a message.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let code = Cow::Borrowed(kind.code());
        Self { kind, code, message: message.into(), param: None, retry_after: None }
    }

    /// A failure with the message of its kind.
    #[must_use]
    pub fn of_kind(kind: ErrorKind) -> Self {
        Self::new(kind, kind.sentence())
    }
}

/// An answer that says what went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// Its status.
    pub status: u16,
    /// `retry-after`, in seconds.
    pub retry_after_secs: Option<u64>,
    /// Its body, JSON.
    pub body: Vec<u8>,
}

impl ErrorAnswer {
    pub(crate) fn new(status: u16, failure: &Failure, body: Vec<u8>) -> Self {
        let seconds = |wait: Duration| wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self { status, retry_after_secs: failure.retry_after.map(seconds), body }
    }
}

/// What a provider answered with a status that is not a success.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// Its status.
    pub status: u16,
    /// Its header `retry-after`.
    pub retry_after: Option<&'a str>,
    /// Its header `retry-after-ms`.
    pub retry_after_ms: Option<&'a str>,
    /// The time now: `retry-after` can be a date.
    pub now: SystemTime,
    /// Its body.
    pub body: &'a [u8],
}

impl Refused<'_> {
    /// How long the provider would have us wait; a day at most.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        let in_ms = self.retry_after_ms.and_then(|text| text.trim().parse().ok());
        let wait = in_ms.map(Duration::from_millis).or_else(|| {
            let text = self.retry_after?.trim();
            if let Ok(seconds) = text.parse() {
                return Some(Duration::from_secs(seconds));
            }
            if let Some(seconds) = text.parse().ok().filter(|seconds: &f64| *seconds >= 0.0) {
                return Duration::try_from_secs_f64(seconds).ok();
            }
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(self.now).unwrap_or_default())
        })?;
        Some(wait.min(MAX_WAIT))
    }
}

/// What a provider's error says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Its type and code, in small letters.
    pub(crate) words: Vec<String>,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
}

impl Said {
    /// The failure that it is for the caller.
    pub(crate) fn failure(self, status: Option<u16>, wait: Option<Duration>) -> Failure {
        let kind = kind(status, &self.words, &self.message);
        let message = if kind.is_told_in_its_words() && !self.message.is_empty() {
            self.message.chars().take(MAX_MESSAGE_CHARS).collect()
        } else {
            kind.sentence().to_owned()
        };
        let param = self.param.filter(|_| kind.is_told_in_its_words());
        let retry_after = wait.filter(|_| kind.is_passing());
        Failure { param, retry_after, ..Failure::new(kind, message) }
    }
}

/// What an error says in words goes before its status: the words are the finer ones.
fn kind(status: Option<u16>, words: &[String], message: &str) -> ErrorKind {
    if let Some(kind) = words.iter().find_map(|word| kind_of_word(word)) {
        return kind;
    }
    let kind = words.iter().find_map(|word| kind_of_type(word));
    let kind = kind.or_else(|| status.map(kind_of_status)).unwrap_or(ErrorKind::Broken);
    if kind == ErrorKind::BadRequest { kind_of_message(message) } else { kind }
}

/// Codes that say it all.
fn kind_of_word(word: &str) -> Option<ErrorKind> {
    Some(match word {
        "context_length_exceeded" => ErrorKind::ContextTooLong,
        "content_policy_violation" | "content_filter" => ErrorKind::ContentBlocked,
        "invalid_api_key" | "authentication_error" => ErrorKind::BadKey,
        "insufficient_quota" | "credit_balance_exhausted" | "billing_error" => {
            ErrorKind::QuotaExhausted
        }
        "model_not_found" | "deploymentnotfound" | "not_found_error" => ErrorKind::NotFound,
        "rate_limit_exceeded" | "slow_down" | "rate_limit_error" => ErrorKind::RateLimited,
        "overloaded_error" | "overloaded" => ErrorKind::Overloaded,
        "request_too_large" => ErrorKind::TooLarge,
        "permission_error" => ErrorKind::Forbidden,
        "timeout_error" | "timeout" => ErrorKind::Timeout,
        _ => return None,
    })
}

/// Types under which finer codes stand.
fn kind_of_type(word: &str) -> Option<ErrorKind> {
    match word {
        "api_error" | "server_error" => Some(ErrorKind::Broken),
        _ => None,
    }
}

fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        401 | 498 => ErrorKind::BadKey,
        402 => ErrorKind::QuotaExhausted,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        408 | 504 => ErrorKind::Timeout,
        413 => ErrorKind::TooLarge,
        429 => ErrorKind::RateLimited,
        503 | 529 => ErrorKind::Overloaded,
        // A lock or a conflict within the provider, which passes.
        409 => ErrorKind::Broken,
        400..=499 => ErrorKind::BadRequest,
        _ => ErrorKind::Broken,
    }
}

/// Providers that have no code for it say it in a sentence.
fn kind_of_message(message: &str) -> ErrorKind {
    const TOO_LONG: [&str; 6] = [
        "context_length_exceeded",
        "maximum context length",
        "prompt is too long",
        "input is too long",
        "exceed context limit",
        "too many tokens",
    ];
    let start: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
    let start = start.to_ascii_lowercase();
    let is_too_long = TOO_LONG.iter().any(|words| start.contains(words));
    let is_unpaid = start.contains("credit balance is too low");
    match (is_too_long, is_unpaid) {
        (true, _) => ErrorKind::ContextTooLong,
        (false, true) => ErrorKind::QuotaExhausted,
        (false, false) => ErrorKind::BadRequest,
    }
}
