//! What all limits have in common in what an operator writes.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use schemars::JsonSchema;
use tollgate_model::issue::pointer;
use tollgate_model::{Issue, Issues};

use super::{Enforcement, OnFailure};

/// A number of requests, 1 to 1,000,000,000.
#[derive(Clone, Copy, Debug, JsonSchema)]
#[schemars(transparent)]
pub struct Permits(#[schemars(range(min = 1, max = 1_000_000_000))] u64);

impl Permits {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Deserr<Issues> for Permits {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        match u64::deserialize_from_value(value, location)? {
            permits @ 1..=1_000_000_000 => Ok(Self(permits)),
            _ => Err(Issues::one(Issue::new(
                pointer(location),
                "out_of_range",
                "give a limit from 1 to 1,000,000,000",
            ))),
        }
    }
}

/// How exactly nodes agree.
#[derive(Clone, Copy, Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum Mode {
    /// Every request asks the shared counters.
    Exact,
    /// Blocks of permits are debited first and spent on the node.
    #[default]
    Leased,
    /// Each node by itself.
    Local,
}

impl From<Mode> for Enforcement {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Exact => Self::Exact,
            Mode::Leased => Self::Leased,
            Mode::Local => Self::Local,
        }
    }
}

/// What happens while the shared counters are away.
#[derive(Clone, Copy, Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues)]
pub enum Failure {
    /// Admit.
    #[deserr(rename = "open")]
    #[schemars(rename = "open")]
    Open,
    /// Refuse.
    #[deserr(rename = "closed")]
    #[schemars(rename = "closed")]
    Closed,
    /// Count on the node.
    #[default]
    #[deserr(rename = "local_share")]
    #[schemars(rename = "local_share")]
    LocalShare,
}

impl From<Failure> for OnFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Open => Self::Open,
            Failure::Closed => Self::Closed,
            Failure::LocalShare => Self::LocalShare,
        }
    }
}
