//! The world as one request sees it.

use std::sync::Arc;

use tollgate_model::Name;
use tollgate_model::secret::SecretText;
use tollgate_policy::jose::Remembered;
use tollgate_policy::policy::Caller;
use tollgate_policy::ports::{Counters, KeySets, Ports};

use crate::plan::Plan;

/// One plan, what the node has, and what the thread remembers.
pub struct RequestPorts<'a> {
    /// The configuration that the request is served by.
    pub plan: &'a Plan,
    /// Counters of limits.
    pub counters: &'a (dyn Counters + Send + Sync),
    /// Key sets behind URLs.
    pub key_sets: &'a (dyn KeySets + Send + Sync),
    /// Tokens that this thread has verified.
    pub remembered: &'a Remembered,
}

impl Ports for RequestPorts<'_> {
    fn counters(&self) -> &dyn Counters {
        self.counters
    }

    fn caller_of_key(&self, tenant: &Name, key: &[u8]) -> Option<Arc<Caller>> {
        self.plan.caller_of_key(tenant, key)
    }

    fn caller_of_application(&self, tenant: &Name, application: &Name) -> Option<Arc<Caller>> {
        self.plan.caller_of_application(tenant, application)
    }

    fn secret(&self, tenant: &Name, name: &Name) -> Option<&SecretText> {
        self.plan.secret(tenant, name)
    }

    fn key_sets(&self) -> &dyn KeySets {
        self.key_sets
    }

    fn remembered(&self) -> &Remembered {
        self.remembered
    }
}
