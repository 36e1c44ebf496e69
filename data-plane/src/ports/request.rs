//! The world as one request sees it.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tollgate_model::Name;
use tollgate_model::credential::KeyHash;
use tollgate_model::secret::SecretText;
use tollgate_policy::Body;
use tollgate_policy::jose::Remembered;
use tollgate_policy::policy::Caller;
use tollgate_policy::ports::{
    Cache, Concurrency, Counters, HttpCall, KeySets, Login, Ports, Proving,
};

use super::passwords::{Memory, Passwords};
use crate::core::Core;
use crate::plan::Plan;
use crate::ports::concurrency::NodeConcurrency;
use crate::ports::patience::Patience;

/// One plan, what the node has, and what the thread remembers.
pub struct RequestPorts<'a> {
    /// The thread that carries the request; none for one that is only asked about, for which nobody is called.
    pub core: Option<&'a Core>,
    /// The configuration that the request is served by.
    pub plan: &'a Plan,
    /// Counters of limits.
    pub counters: &'a (dyn Counters + Send + Sync),
    /// Key sets behind URLs.
    pub key_sets: &'a (dyn KeySets + Send + Sync),
    /// Tokens that this thread has verified.
    pub remembered: &'a Remembered,
    /// Where passwords are checked.
    pub passwords: &'a Passwords,
    /// What this thread knows of passwords.
    pub password_memory: &'a RefCell<Memory>,
    /// Responses that are kept.
    pub cache: Option<&'a Arc<dyn Cache>>,
    /// Requests under way.
    pub concurrency: &'a NodeConcurrency,
    /// How long is waited for a body that a policy reads to its end: first the client's, then the upstream's.
    pub patience: Cell<Patience>,
}

impl<'a> RequestPorts<'a> {
    /// The world of a core, for a request that a plan serves.
    #[must_use]
    pub fn of(core: &'a Core, plan: &'a Plan) -> Self {
        let shared = &core.shared;
        Self {
            core: Some(core),
            plan,
            counters: &*shared.counters,
            key_sets: &shared.key_sets,
            remembered: &core.remembered,
            passwords: &shared.passwords,
            password_memory: &core.password_memory,
            cache: shared.cache.as_ref(),
            concurrency: &shared.concurrency,
            patience: Cell::new(Patience {
                idle: plan.gateway.limits.idle_time.get(),
                deadline: None,
            }),
        }
    }
}

impl Ports for RequestPorts<'_> {
    fn counters(&self) -> &dyn Counters {
        self.counters
    }

    fn concurrency(&self) -> &dyn Concurrency {
        self.concurrency
    }

    fn caller_of_key(&self, tenant: &Name, key: &[u8]) -> Option<Arc<Caller>> {
        self.plan.caller_of_key(tenant, key)
    }

    fn caller_of_application(&self, tenant: &Name, application: &Name) -> Option<Arc<Caller>> {
        self.plan.caller_of_application(tenant, application)
    }

    fn caller_of_login<'a>(&'a self, tenant: &Name, login: Login<'_>) -> Proving<'a> {
        self.passwords.prove(self.plan.question(tenant, login), self.password_memory)
    }

    fn caller_of_proof(&self, tenant: &Name, key: &KeyHash) -> Option<Arc<Caller>> {
        self.plan.caller_of_proof(tenant, key)
    }

    fn secret(&self, tenant: &Name, name: &Name) -> Option<&SecretText> {
        self.plan.secret(tenant, name)
    }

    fn key_sets(&self) -> &dyn KeySets {
        self.key_sets
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(tokio::time::sleep(time))
    }

    fn remembered(&self) -> &Remembered {
        self.remembered
    }

    fn calls(&self) -> &dyn HttpCall {
        self
    }

    fn cache(&self) -> Option<&Arc<dyn Cache>> {
        self.cache
    }

    fn in_time(&self, body: Body) -> Body {
        self.patience.get().with(body)
    }
}
