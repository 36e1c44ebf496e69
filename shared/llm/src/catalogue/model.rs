//! One model of a provider.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::facts::{
    Capabilities, Date, Denials, Endpoints, Mode, Multiplier, ReasoningEffort, ReasoningEfforts,
    Source, Unit,
};
use crate::money::{Factor, Nanodollars};
use crate::price::{Price, PriceOverrides, Rates, ScheduleOverrides};

/// What is known of a model. What is not there is not known; a price of zero is none.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// What the provider's API expects. Unique within the provider.
    pub id: Box<str>,
    /// The same model without the prefix of an inference profile, where this one has a price of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<Box<str>>,
    /// What it is asked for.
    pub mode: Mode,
    /// The longest prompt, in tokens. Some sources give the whole context window here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<u32>,
    /// The longest answer, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// How long its vectors are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_dimensions: Option<u32>,
    /// What its tokens cost. Empty where nothing is known.
    pub price: Price,
    /// What else is paid for.
    #[serde(default, skip_serializing_if = "Units::is_empty")]
    pub units: Units,
    /// What pictures cost by what they are like.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub image_prices: Box<[ImagePrice]>,
    /// Where it costs something else.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub regional_prices: Box<[RegionalPrice]>,
    /// When it costs something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_peak: Option<Box<OffPeak>>,
    /// Factors on all tokens, by what is asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub price_multipliers: BTreeMap<Multiplier, Factor>,
    /// What it can do.
    #[serde(default, skip_serializing_if = "Capabilities::is_empty")]
    pub capabilities: Capabilities,
    /// What it cannot do, or refuses.
    #[serde(default, skip_serializing_if = "Denials::is_empty")]
    pub not_supported: Denials,
    /// How much it can be told to reason.
    #[serde(default, skip_serializing_if = "ReasoningEfforts::is_empty")]
    pub reasoning_efforts: ReasoningEfforts,
    /// How much it reasons where it is told nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_reasoning_effort: Option<ReasoningEffort>,
    /// Whether it reasons whatever it is told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub thinking_always_on: bool,
    /// The shortest prompt that is kept in the cache, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_cache_min_tokens: Option<u32>,
    /// OpenAI and Azure: the paths that serve it.
    #[serde(default, skip_serializing_if = "Endpoints::is_empty")]
    pub endpoints: Endpoints,
    /// Bedrock: prefixes that it can be called with at the same price.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub inference_profiles: Box<[Box<str>]>,
    /// The only regions that it has a price in.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub regions_listed: Box<[Box<str>]>,
    /// The day on which it is shut down, as announced. It may lie in the past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecation_date: Option<Date>,
    /// Where this comes from.
    pub source: Source,
}

/// Dollars for a million of something that is no token, such as a million seconds; see [`Nanodollars::for_units`].
pub type Units = BTreeMap<Unit, Nanodollars>;

/// What pictures of some sort cost.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagePrice {
    /// For one.
    pub per_image: Nanodollars,
    /// As requests name it, such as `hd`; any where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Box<str>>,
    /// Such as `1024x1024`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Box<str>>,
    /// How often it is refined: a number, or `max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Box<str>>,
}

/// What a model costs in some regions.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionalPrice {
    /// Regions or data zones, as the provider names them.
    pub regions: Box<[Box<str>]>,
    /// What differs there. The sources know it for prompts of ordinary length only.
    pub price: PriceOverrides,
    /// What differs of what else is paid for.
    #[serde(default, skip_serializing_if = "Units::is_empty")]
    pub units: Units,
}

/// What a model costs at some hours.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffPeak {
    /// What differs then.
    pub rates: Rates,
    /// How much earlier than in UTC the provider's weekday begins, in minutes.
    pub weekdays_ahead_minutes: u16,
    /// The hours.
    pub windows: Box<[Window]>,
}

/// Hours of some weekdays.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// From 1 for Monday to 7.
    pub weekdays: Box<[u8]>,
    /// Minutes of the day in UTC at which it begins.
    pub from_minute: u16,
    /// Minutes of the day in UTC at which it has ended; 1440 for midnight.
    pub to_minute: u16,
}

impl Model {
    /// The price in a region; the general one where the region has none of its own.
    #[must_use]
    pub fn price_in(&self, region: &str) -> Price {
        let has = |regional: &&RegionalPrice| regional.regions.iter().any(|name| **name == *region);
        let regional = self.regional_prices.iter().find(has);
        regional.map_or_else(|| self.price.clone(), |regional| self.price.with(&regional.price))
    }

    /// The price at the hours of [`Model::off_peak`]. None where all hours are the same.
    #[must_use]
    pub fn price_off_peak(&self) -> Option<Price> {
        let rates = self.off_peak.as_ref()?.rates.clone();
        let standard = ScheduleOverrides { rates, long_context: None };
        Some(self.price.with(&PriceOverrides { standard, ..PriceOverrides::default() }))
    }
}

impl OffPeak {
    /// Whether a second, counted from the beginning of 1970 in UTC, is within one of the windows.
    #[must_use]
    pub fn covers(&self, unix_seconds: u64) -> bool {
        const MINUTES: u64 = 24 * 60;
        let minutes = unix_seconds / 60;
        let minute = minutes % MINUTES;
        let days = minutes.saturating_add(u64::from(self.weekdays_ahead_minutes)) / MINUTES;
        // The first day of 1970 was a Thursday, the fourth of its week.
        let weekday = (days % 7 + 3) % 7 + 1;
        self.windows.iter().any(|window| {
            (u64::from(window.from_minute)..u64::from(window.to_minute)).contains(&minute)
                && window.weekdays.iter().any(|day| u64::from(*day) == weekday)
        })
    }
}
