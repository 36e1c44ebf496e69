//! What one call cost, and for what.

use super::{Lookup, Price, Service, Token};
use crate::money::{Factor, Nanodollars};
use crate::usage::Usage;

/// Tokens in a price.
const PER_MILLION: u128 = 1_000_000;
/// Parts in a factor.
const PER_FACTOR: u128 = 1_000_000;
/// Kinds of token that [`Usage`] counts.
const KINDS: usize = 8;

/// What a price depends on beside the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// As the answer says, not as the request asked: a provider may serve in another way.
    pub service: Service,
    /// On all amounts: the product of the catalogue's multipliers that apply.
    pub factor: Factor,
}

impl Default for Terms {
    /// The standard service, and no factor.
    fn default() -> Self {
        Self { service: Service::Standard, factor: Factor::ONE }
    }
}

/// What one call cost. The parts are as exact as a billionth of a dollar allows and add up to the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// In all.
    pub total: Nanodollars,
    /// Tokens that nothing is known to be paid for, neither by their kind nor by one that may stand in.
    /// Where there are some, the total is less than the truth.
    pub unpriced_tokens: u64,
    parts: [Part; KINDS],
}

/// What the tokens of one kind cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The kind.
    pub token: Token,
    /// How many.
    pub tokens: u64,
    /// The amount for a million of them, before the factor. None where it is not known.
    pub per_million: Option<Nanodollars>,
    /// What they cost. It is rounded together with the others, so it may be a billionth of a dollar off.
    pub amount: Nanodollars,
}

impl Price {
    /// What a call cost: the sum of tokens times amount times factor, with no rounding before the end; there half up to a
    /// billionth of a dollar. It stays at [`Nanodollars::MAX`] where it is more. Allocates nothing.
    #[must_use]
    pub fn cost(&self, usage: &Usage, terms: &Terms) -> Cost {
        let lookup = Lookup::new(self, terms.service, usage.total_input_tokens());
        // Billionths of a dollar, times a million for the tokens, times a million for the factor.
        let mut sum: u128 = 0;
        let mut total = Nanodollars::ZERO;
        let mut unpriced_tokens: u64 = 0;
        let parts = counts(usage).map(|(token, tokens)| {
            // A kind that the call has none of costs no look-up.
            let per_million = if tokens == 0 { None } else { lookup.per_million(token) };
            match per_million {
                // What saturates here is more than the most even after the division.
                Some(amount) => sum = sum.saturating_add(product(tokens, amount, terms.factor)),
                None => unpriced_tokens = unpriced_tokens.saturating_add(tokens),
            }
            // The rounded sum so far less that before: so the parts add up.
            let so_far = Nanodollars::rounded(sum, PER_MILLION.saturating_mul(PER_FACTOR));
            let amount = so_far.saturating_sub(total);
            total = so_far;
            Part { token, tokens, per_million, amount }
        });
        Cost { total, unpriced_tokens, parts }
    }
}

impl Cost {
    /// By kind of token, without kinds that the call had none of.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.tokens > 0)
    }
}

/// The tokens of a call by kind. Every field of [`Usage`] stands here once.
fn counts(usage: &Usage) -> [(Token, u64); KINDS] {
    let Usage {
        input_tokens,
        cached_input_tokens,
        cache_write_tokens,
        cache_write_1h_tokens,
        audio_input_tokens,
        output_tokens,
        reasoning_tokens,
        audio_output_tokens,
    } = *usage;
    [
        (Token::Input, input_tokens),
        (Token::CachedInput, cached_input_tokens),
        (Token::CacheWrite, cache_write_tokens),
        (Token::CacheWrite1h, cache_write_1h_tokens),
        (Token::AudioInput, audio_input_tokens),
        (Token::Output, output_tokens),
        (Token::Reasoning, reasoning_tokens),
        (Token::AudioOutput, audio_output_tokens),
    ]
}

fn product(tokens: u64, per_million: Nanodollars, factor: Factor) -> u128 {
    u128::from(tokens)
        .saturating_mul(u128::from(per_million.billionths()))
        .saturating_mul(u128::from(factor.millionths()))
}
