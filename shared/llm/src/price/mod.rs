//! What tokens of a model cost: by kind, by length of the prompt, by how the call is served.

// Amounts by kind of token, and what stands in where there is none.
mod rates;
// Other amounts in the place of some.
mod overrides;
// What one call cost.
mod cost;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::money::Nanodollars;
use crate::named::named;

pub use cost::{Cost, Part, Terms};
pub use overrides::{PriceOverrides, ScheduleOverrides};
pub use rates::{Rates, Token};

named! {
    /// How a call is served, where a provider has several ways with prices of their own.
    pub enum Service {
        /// As every call is that asks for nothing else.
        Standard = "standard",
        /// Within hours, as one of many.
        Batch = "batch",
        /// When there is room.
        Flex = "flex",
        /// Before others.
        Priority = "priority",
        /// On faster machines.
        Ultrafast = "ultrafast",
    }
}

/// What tokens of a model cost.
///
/// # Which amount a token has
///
/// A schedule is that of the service, or the standard one where the service has none. Within it, the longest prompt's rates apply
/// whose bound the whole prompt exceeds, to every token of the call; else those of any prompt. Where these rates have no
/// amount for a kind of token, the kind's amount in other rates stands in: the standard schedule's for this prompt, then the
/// service's for any prompt, then the standard schedule's for any prompt. It is taken in proportion to the two rates'
/// amounts for input, rounded half up to a billionth of a dollar a million: a service at half the price for input
/// is at half the price for what is cached. (Of the amounts that the catalogue has for services and long prompts, 94 of 100
/// are in this proportion to the standard ones.) Only where no rates at all have the kind, another kind's amount
/// stands in: see [`Token::stand_in`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Of the standard service.
    pub standard: Schedule,
    /// Of the others that have prices of their own. An entry for the standard service is never read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<Service, Schedule>,
}

/// The rates of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// For any prompt that no bound of `long_context` is below.
    pub rates: Rates,
    /// For long prompts, in any order. They apply to the whole call, not only to what lies above the bound.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub long_context: Box<[ContextTier]>,
}

/// Rates for prompts that are longer than a bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextTier {
    /// All tokens of the prompt, the cached ones too; a prompt of just so many is not above.
    pub above_input_tokens: u64,
    /// What is to be paid then.
    pub rates: Rates,
}

impl Price {
    /// The amount for a million tokens of a kind, in a call with a prompt of `total_input_tokens`. None where no kind that may stand in
    /// has an amount either.
    #[must_use]
    pub fn per_million(
        &self,
        token: Token,
        service: Service,
        total_input_tokens: u64,
    ) -> Option<Nanodollars> {
        Lookup::new(self, service, total_input_tokens).per_million(token)
    }

    /// The price with other amounts in the place of some. What `overrides` does not name stays, also where it is
    /// in proportion to what is replaced.
    #[must_use]
    pub fn with(&self, overrides: &PriceOverrides) -> Self {
        let mut price = self.clone();
        overrides.apply_to(&mut price);
        price
    }

    /// Every rates that it has.
    pub fn all_rates(&self) -> impl Iterator<Item = &Rates> {
        std::iter::once(&self.standard).chain(self.services.values()).flat_map(|schedule| {
            let tiers = schedule.long_context.iter().map(|tier| &tier.rates);
            std::iter::once(&schedule.rates).chain(tiers)
        })
    }

    fn schedule(&self, service: Service) -> &Schedule {
        match service {
            Service::Standard => &self.standard,
            Service::Batch | Service::Flex | Service::Priority | Service::Ultrafast => {
                self.services.get(&service).unwrap_or(&self.standard)
            }
        }
    }
}

impl Schedule {
    /// The rates of a prompt of this length.
    fn rates_for(&self, total_input_tokens: u64) -> &Rates {
        let above =
            self.long_context.iter().filter(|tier| total_input_tokens > tier.above_input_tokens);
        above.max_by_key(|tier| tier.above_input_tokens).map_or(&self.rates, |tier| &tier.rates)
    }
}

/// The rates that count for one call, the first before the others.
struct Lookup<'a>([&'a Rates; 4]);

impl<'a> Lookup<'a> {
    fn new(price: &'a Price, service: Service, total_input_tokens: u64) -> Self {
        let own = price.schedule(service);
        Self([
            own.rates_for(total_input_tokens),
            price.standard.rates_for(total_input_tokens),
            &own.rates,
            &price.standard.rates,
        ])
    }

    fn per_million(&self, token: Token) -> Option<Nanodollars> {
        std::iter::successors(Some(token), |token| token.stand_in())
            .find_map(|token| self.own_amount(token))
    }

    /// The amount of just this kind.
    fn own_amount(&self, token: Token) -> Option<Nanodollars> {
        let [first, ..] = self.0;
        let (rates, amount) =
            self.0.iter().find_map(|rates| rates.get(token).map(|amount| (rates, amount)))?;
        match (first.get(Token::Input), rates.get(Token::Input)) {
            (Some(to), Some(from)) if to != from && from > Nanodollars::ZERO => {
                let product =
                    u128::from(amount.billionths()).saturating_mul(u128::from(to.billionths()));
                Some(Nanodollars::rounded(product, u128::from(from.billionths())))
            }
            _ => Some(amount),
        }
    }
}

#[cfg(test)]
mod tests;
