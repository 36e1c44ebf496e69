//! Who calls.

use deserr::Deserr;
use schemars::JsonSchema;

use crate::attachment::Attachment;
use crate::id::Name;
use crate::issue::Issues;

/// An application: one that calls APIs, with any number of credentials.
#[derive(Clone, Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Application {
    /// For people.
    #[deserr(default)]
    pub description: Option<String>,
    /// Whether its credentials are refused without being taken away.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub disabled: bool,
    /// What it belongs to, for policies that decide by it. None: nothing.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<Name>>")]
    pub groups: Vec<Name>,
    /// Run for every call of the application, after the route's of the same phase. Those of the
    /// phases up to authentication cannot stand here: who calls is not known before.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<Attachment>>")]
    pub policies: Vec<Attachment>,
}
