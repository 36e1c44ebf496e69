//! Policies under a name.

use deserr::Deserr;
use schemars::JsonSchema;

use crate::attachment::Attachment;
use crate::issue::Issues;

/// A policy set: what several APIs have in common, attached by `policy_set: NAME`.
#[derive(Clone, Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct PolicySet {
    /// For people.
    #[deserr(default)]
    pub description: Option<String>,
    /// The policies, in the order of their running within a phase. Sets do not hold sets.
    pub policies: Vec<Attachment>,
}
