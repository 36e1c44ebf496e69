//! What a call took, by kind of token.

/// Tokens of one call. Providers count in two ways, some with the parts of a number in it and some beside it; here
/// each number stands alone, so that none is paid for twice: a token is in one field only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Text of the prompt that was neither read from a cache nor written to one.
    pub input_tokens: u64,
    /// Read from the provider's cache of prompts.
    pub cached_input_tokens: u64,
    /// Written to that cache, for minutes.
    pub cache_write_tokens: u64,
    /// Written to that cache, for an hour.
    pub cache_write_1h_tokens: u64,
    /// Sound in the prompt.
    pub audio_input_tokens: u64,
    /// Text of the answer, without what was reasoned.
    pub output_tokens: u64,
    /// What was reasoned before the answer.
    pub reasoning_tokens: u64,
    /// Sound in the answer.
    pub audio_output_tokens: u64,
}

impl Usage {
    /// All of the prompt.
    #[must_use]
    pub fn total_input_tokens(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.cached_input_tokens)
            .saturating_add(self.cache_write_tokens)
            .saturating_add(self.cache_write_1h_tokens)
            .saturating_add(self.audio_input_tokens)
    }

    /// All of the answer, what was reasoned included.
    #[must_use]
    pub fn total_output_tokens(&self) -> u64 {
        self.output_tokens
            .saturating_add(self.reasoning_tokens)
            .saturating_add(self.audio_output_tokens)
    }
}
