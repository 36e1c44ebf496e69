//! Amounts by kind of token.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::money::Nanodollars;
use crate::named::named;

named! {
    /// A kind of token that may have an amount of its own. The kinds that [`Usage`](crate::Usage) does not count are kept for
    /// calls to models of images, sound and video.
    pub enum Token {
        /// Text of the prompt.
        Input = "input",
        /// Read from the provider's cache.
        CachedInput = "cached_input",
        /// Written to it, for minutes.
        CacheWrite = "cache_write",
        /// Written to it, for an hour.
        CacheWrite1h = "cache_write_1h",
        /// Written to it, for twelve hours.
        CacheWrite12h = "cache_write_12h",
        /// Sound in the prompt.
        AudioInput = "audio_input",
        /// Sound in the prompt, read from the cache.
        CachedAudioInput = "cached_audio_input",
        /// Images in the prompt.
        ImageInput = "image_input",
        /// Images in the prompt, read from the cache.
        CachedImageInput = "cached_image_input",
        /// Video in the prompt.
        VideoInput = "video_input",
        /// Text of the answer.
        Output = "output",
        /// What was reasoned before it.
        Reasoning = "reasoning",
        /// Sound in the answer.
        AudioOutput = "audio_output",
        /// Images in the answer.
        ImageOutput = "image_output",
    }
}

impl Token {
    /// The kind whose amount counts where this one has none.
    ///
    /// - What is cached, in any medium, counts as what is not: a provider that has no price for it gives no rebate.
    /// - Writing for an hour counts as writing for minutes, and that as input: it was a part of the prompt all the same. For twelve
    ///   hours it counts as for one.
    /// - What is reasoned counts as output: all providers but a few charge the same.
    /// - Sound, images and video count as text on their side: tokens are tokens where nothing else is said.
    #[must_use]
    pub const fn stand_in(self) -> Option<Self> {
        match self {
            Self::Input | Self::Output => None,
            Self::CachedInput
            | Self::CacheWrite
            | Self::AudioInput
            | Self::ImageInput
            | Self::VideoInput => Some(Self::Input),
            Self::CacheWrite1h => Some(Self::CacheWrite),
            Self::CacheWrite12h => Some(Self::CacheWrite1h),
            Self::CachedAudioInput => Some(Self::AudioInput),
            Self::CachedImageInput => Some(Self::ImageInput),
            Self::Reasoning | Self::AudioOutput | Self::ImageOutput => Some(Self::Output),
        }
    }
}

/// Dollars for a million tokens, by kind. A kind that is not there has no amount of its own; one that is free has zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rates(BTreeMap<Token, Nanodollars>);

impl Rates {
    /// The kind's own amount.
    #[must_use]
    pub fn get(&self, token: Token) -> Option<Nanodollars> {
        self.0.get(&token).copied()
    }

    /// Sets the kind's amount.
    pub fn set(&mut self, token: Token, per_million: Nanodollars) {
        self.0.insert(token, per_million);
    }

    /// Whether no kind has an amount.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All amounts, in the order of [`Token`].
    pub fn iter(&self) -> impl Iterator<Item = (Token, Nanodollars)> {
        self.0.iter().map(|(token, amount)| (*token, *amount))
    }
}

impl FromIterator<(Token, Nanodollars)> for Rates {
    fn from_iter<I: IntoIterator<Item = (Token, Nanodollars)>>(amounts: I) -> Self {
        Self(amounts.into_iter().collect())
    }
}
