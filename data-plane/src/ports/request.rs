//! The world as one request sees it.

use std::sync::Arc;

use tollgate_model::Name;
use tollgate_model::secret::SecretText;
use tollgate_policy::policy::Caller;
use tollgate_policy::ports::{Counters, Ports};

use crate::plan::Plan;

/// One plan, and the node's counters.
pub struct RequestPorts<'a> {
    /// The configuration that the request is served by.
    pub plan: &'a Plan,
    /// Counters of limits.
    pub counters: &'a (dyn Counters + Send + Sync),
}

impl Ports for RequestPorts<'_> {
    fn counters(&self) -> &dyn Counters {
        self.counters
    }

    fn caller_of_key(&self, tenant: &Name, key: &[u8]) -> Option<Arc<Caller>> {
        self.plan.caller_of_key(tenant, key)
    }

    fn secret(&self, tenant: &Name, name: &Name) -> Option<&SecretText> {
        self.plan.secret(tenant, name)
    }
}
