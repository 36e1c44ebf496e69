//! Other amounts in the place of a price's own: an operator's contract, a region, a time of the day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ContextTier, Price, Rates, Schedule, Service};

/// What replaces parts of a [`Price`]; the fields are the same. What it does not name stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PriceOverrides {
    /// Of the standard service.
    #[serde(skip_serializing_if = "ScheduleOverrides::is_empty")]
    pub standard: ScheduleOverrides,
    /// Of others. A service that the price does not have gets it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<Service, ScheduleOverrides>,
}

/// What replaces parts of a [`Schedule`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleOverrides {
    /// In the place of the same kinds' amounts, for prompts of ordinary length.
    #[serde(skip_serializing_if = "Rates::is_empty")]
    pub rates: Rates,
    /// In the place of all rates for long prompts; an empty list takes them away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_context: Option<Box<[ContextTier]>>,
}

impl PriceOverrides {
    pub(super) fn apply_to(&self, price: &mut Price) {
        self.standard.apply_to(&mut price.standard);
        for (service, overrides) in &self.services {
            overrides.apply_to(price.services.entry(*service).or_default());
        }
    }
}

impl ScheduleOverrides {
    /// Whether it replaces nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rates.is_empty() && self.long_context.is_none()
    }

    fn apply_to(&self, schedule: &mut Schedule) {
        for (token, amount) in self.rates.iter() {
            schedule.rates.set(token, amount);
        }
        if let Some(tiers) = &self.long_context {
            schedule.long_context.clone_from(tiers);
        }
    }
}
