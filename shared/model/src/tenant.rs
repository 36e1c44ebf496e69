//! Who owns things.

use deserr::Deserr;
use schemars::JsonSchema;

use crate::attachment::Attachment;
use crate::host::HostPattern;
use crate::issue::Issues;

/// A tenant: it owns resources and hosts and is isolated from all others.
///
/// The tenant `default` is there without being written and owns every host that no other tenant claims.
#[derive(Clone, Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Tenant {
    /// For people.
    #[deserr(default)]
    pub description: Option<String>,
    /// The hosts whose APIs only this tenant may publish. No two tenants' hosts overlap.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<HostPattern>>")]
    pub hosts: Vec<HostPattern>,
    /// Run for every API of the tenant, before the API's own of the same phase.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<Attachment>>")]
    pub policies: Vec<Attachment>,
}
