//! The words of the catalogue. One that it has and that stands not here is refused when it is read.

use std::fmt;
use std::str::FromStr;

use crate::named::{by_text, named, set_of};

named! {
    /// What a model is asked for.
    pub enum Mode {
        /// Conversations.
        Chat = "chat",
        /// Text that goes on.
        Completion = "completion",
        /// Conversations, by the endpoint `responses` alone.
        Responses = "responses",
        /// Vectors.
        Embedding = "embedding",
        /// Pictures.
        Image = "image",
        /// Text of sound.
        AudioTranscription = "audio_transcription",
        /// Sound of text.
        AudioSpeech = "audio_speech",
        /// The order of documents.
        Rerank = "rerank",
        /// Whether a text may be.
        Moderation = "moderation",
    }
}

named! {
    /// What a model can do. That it is not said of a model does not mean that it cannot.
    pub enum Capability {
        /// Calls tools.
        Tools = "tools",
        /// Several in one answer.
        ParallelTools = "parallel_tools",
        /// Does as it is told about which tool to call.
        ToolChoice = "tool_choice",
        /// Answers by a JSON schema.
        StructuredOutput = "structured_output",
        /// Sees images.
        Vision = "vision",
        /// Reads PDF.
        PdfInput = "pdf_input",
        /// Hears.
        AudioInput = "audio_input",
        /// Speaks.
        AudioOutput = "audio_output",
        /// Sees video.
        VideoInput = "video_input",
        /// Makes vectors of images.
        ImageEmbedding = "image_embedding",
        /// Reasons before it answers.
        Reasoning = "reasoning",
        /// As much as it finds right.
        AdaptiveThinking = "adaptive_thinking",
        /// Answers bit by bit.
        Streaming = "streaming",
        /// Keeps prompts in a cache.
        PromptCaching = "prompt_caching",
        /// Searches the web.
        WebSearch = "web_search",
        /// Fetches what an address names.
        UrlContext = "url_context",
        /// Works a computer.
        ComputerUse = "computer_use",
        /// Goes on from a beginning of its answer.
        AssistantPrefill = "assistant_prefill",
        /// Takes system messages in the middle.
        MidConversationSystem = "mid_conversation_system",
    }
}

set_of! {
    /// What a model can do.
    pub struct Capabilities: Capability
}

named! {
    /// What a provider says that a model cannot do, or refuses.
    pub enum Denied {
        /// `temperature`, `top_p` and `top_k`.
        SamplingParams = "sampling_params",
        /// A beginning of the answer.
        AssistantPrefill = "assistant_prefill",
        /// Being made to call a tool.
        ForcedToolChoice = "forced_tool_choice",
        /// Reasoning.
        Reasoning = "reasoning",
        /// Answers bit by bit.
        Streaming = "streaming",
        /// Answers by a JSON schema.
        StructuredOutput = "structured_output",
        /// System messages.
        SystemMessages = "system_messages",
        /// A choice of tools.
        ToolChoice = "tool_choice",
        /// Tools.
        Tools = "tools",
        /// Images.
        Vision = "vision",
    }
}

set_of! {
    /// What a model cannot do.
    pub struct Denials: Denied
}

named! {
    /// How much a model is told to reason, from the least to the most.
    pub enum ReasoningEffort {
        /// Not at all.
        None = "none",
        /// As little as it can.
        Minimal = "minimal",
        /// A little.
        Low = "low",
        /// Somewhat.
        Medium = "medium",
        /// Much.
        High = "high",
        /// More.
        ExtraHigh = "xhigh",
        /// As much as it can.
        Max = "max",
    }
}

set_of! {
    /// The efforts that a model takes.
    pub struct ReasoningEfforts: ReasoningEffort
}

named! {
    /// The paths below `/v1` of OpenAI and Azure that serve a model.
    pub enum Endpoint {
        /// Conversations.
        ChatCompletions = "chat/completions",
        /// Conversations, the newer ones.
        Responses = "responses",
        /// Text that goes on.
        Completions = "completions",
        /// Many calls in a file.
        Batch = "batch",
        /// Sound of text.
        AudioSpeech = "audio/speech",
        /// Text of sound.
        AudioTranscriptions = "audio/transcriptions",
        /// Pictures made.
        ImagesGenerations = "images/generations",
        /// Pictures changed.
        ImagesEdits = "images/edits",
        /// Speech both ways at once.
        Realtime = "realtime",
        /// Text of sound while it is spoken.
        RealtimeTranscriptionSessions = "realtime/transcription_sessions",
        /// Decisions.
        Decisions = "decisions",
    }
}

set_of! {
    /// The paths that serve a model.
    pub struct Endpoints: Endpoint
}

named! {
    /// What is paid for that is no token. Prices are for a million of them.
    pub enum Unit {
        /// A picture in.
        InputImage = "input_image",
        /// A picture out, where size and quality do not matter.
        OutputImage = "output_image",
        /// A pixel in.
        InputPixel = "input_pixel",
        /// A pixel out.
        OutputPixel = "output_pixel",
        /// A second of the sound that is transcribed or made.
        AudioSecond = "audio_second",
        /// A second of sound in.
        AudioInputSecond = "audio_input_second",
        /// A second of video in.
        VideoInputSecond = "video_input_second",
        /// A character of the text to be spoken.
        InputCharacter = "input_character",
        /// A character out.
        OutputCharacter = "output_character",
        /// A query, as in reranking.
        Query = "query",
        /// A request, whatever is in it.
        Request = "request",
        /// A search of the web, where the size of what it brings does not matter.
        WebSearch = "web_search",
        /// One that brings little.
        WebSearchLow = "web_search_low",
        /// One that brings more.
        WebSearchMedium = "web_search_medium",
        /// One that brings much.
        WebSearchHigh = "web_search_high",
    }
}

named! {
    /// What makes all tokens of a call dearer by a factor.
    pub enum Multiplier {
        /// Faster answers.
        FastMode = "fast_mode",
        /// Computed in the United States alone.
        UsOnlyInference = "us_only_inference",
        /// Kept in the European Union.
        EuDataResidency = "eu_data_residency",
        /// Kept in the United States.
        UsDataResidency = "us_data_residency",
        /// Asked at an address of one region.
        RegionalEndpoint = "regional_endpoint",
    }
}

named! {
    /// Where a model's facts come from.
    pub enum Source {
        /// The package `litellm`.
        Litellm = "litellm",
        /// The package `genai-prices`.
        GenaiPrices = "genai-prices",
        /// The data of models.dev.
        ModelsDev = "models.dev",
        /// Prices of the one, limits of the other.
        Both = "genai-prices+models.dev",
        /// What providers write themselves.
        VendorDocs = "vendor-docs",
    }
}

/// A day, in the calendar alone. Its text is `2026-11-23`, in no other form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub jiff::civil::Date);

/// A text that is no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a day is written as \"2026-11-23\"")]
pub struct NotADate;

impl FromStr for Date {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        let date = Self(text.parse().or(Err(NotADate))?);
        // ISO 8601 has other forms too.
        if date.to_string() == text { Ok(date) } else { Err(NotADate) }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

by_text!(Date, "a day as a string, such as \"2026-11-23\"");
