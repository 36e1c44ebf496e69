//! Everything that a request reads, as one immutable value: swapped whole, persistent inside, so
//! that a change costs what it touches. Building one cannot fail.

use std::sync::Arc;

use rpds::{HashTrieMapSync, VectorSync};
use tollgate_model::credential::KeyHash;
use tollgate_model::gateway::Gateway;
use tollgate_model::password::PasswordHash;
use tollgate_model::path::BasePath;
use tollgate_model::secret::SecretText;
use tollgate_model::{Name, ResourceId};
use tollgate_policy::chain::Chain;
use tollgate_policy::policy::{Caller, RouteFacts};
use tollgate_policy::ports::Login;

use self::callers::Callers;
use crate::ports::passwords::Question;
use crate::route::RouteTable;

// One API as it is run.
mod build;
// Who calls, by what they prove themselves with.
mod callers;
// Receives resources, keeps out what cannot be run, swaps plans.
mod configurator;
// What listeners do with their connections.
mod listening;
// Resources as they come, made into what can be run.
mod read;
// One upstream as it is called.
mod upstream;
// Its endpoints.
mod endpoints;

pub use configurator::{Configurator, Listen, Update};
pub use endpoints::{Current, Endpoint, EndpointId, Endpoints, Source};
pub(crate) use endpoints::{EndpointIds, Host, Origin, Site, WHOLE, header_value};
pub use listening::{ListenerPlan, ListenerPlans};
#[cfg(test)]
pub(crate) use upstream::Own;
pub use upstream::UpstreamPlan;

/// A configuration as requests see it. A request reads one, loaded once.
#[derive(Clone)]
pub struct Plan {
    /// The revision that it is.
    pub revision: u64,
    /// Whether a whole configuration has come; before that there is nothing to route by.
    pub is_complete: bool,
    /// Finds the slot of a request's route.
    pub routes: RouteTable<Slot>,
    entries: VectorSync<Arc<RouteEntry>>,
    /// None where one is gone.
    upstreams: VectorSync<Option<Arc<UpstreamPlan>>>,
    /// Where upstreams stand, for those who know them by name.
    upstream_slots: HashTrieMapSync<ResourceId, Slot>,
    /// By their numbers, those whose endpoints the node asks by itself.
    pub checked_upstreams: HashTrieMapSync<u32, Arc<UpstreamPlan>>,
    /// Grows with each change of them.
    pub checks_version: u64,
    callers: Callers,
    /// Applications that something other than a key names.
    applications: HashTrieMapSync<ResourceId, Arc<Caller>>,
    secrets: HashTrieMapSync<ResourceId, SecretText>,
    /// What all nodes of the gateway have in common.
    pub gateway: Arc<Gateway>,
    /// What the gateway's listeners do with their connections.
    pub listeners: Arc<ListenerPlans>,
    /// Under which API keys are hashed.
    credential_key: [u8; 32],
}

/// The place of a route or an upstream in its plan.
pub type Slot = u32;

/// A route as it is run.
pub struct RouteEntry {
    /// Whose it is.
    pub facts: RouteFacts,
    /// The policies, in order.
    pub chain: Chain,
    /// Where its calls go.
    pub target: Target,
    /// Whether the API's base path is taken off.
    pub strips_base_path: bool,
    /// The API's number in metrics; the same for all routes of an API, never used again. 0 in a slot
    /// that no route has.
    pub api_number: u32,
}

/// Where the calls of a route go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To an upstream of the same plan.
    Upstream(Slot),
    /// Nowhere: what the route needs is refused by this node.
    Unavailable,
}

impl RouteEntry {
    /// What stands in a slot that no route has.
    fn vacant() -> Self {
        Self {
            facts: RouteFacts {
                tenant: Name::default_name(),
                api: Name::default_name(),
                route: None,
                base_path: BasePath::root(),
            },
            chain: Chain::default(),
            target: Target::Unavailable,
            strips_base_path: false,
            api_number: 0,
        }
    }
}

impl Plan {
    fn empty() -> Self {
        Self {
            revision: 0,
            is_complete: false,
            routes: RouteTable::default(),
            entries: VectorSync::new_sync(),
            upstreams: VectorSync::new_sync(),
            upstream_slots: HashTrieMapSync::new_sync(),
            checked_upstreams: HashTrieMapSync::new_sync(),
            checks_version: 0,
            callers: Callers::default(),
            applications: HashTrieMapSync::new_sync(),
            secrets: HashTrieMapSync::new_sync(),
            gateway: Arc::new(Gateway::default()),
            listeners: Arc::default(),
            credential_key: [0; 32],
        }
    }

    /// The route in a slot.
    #[must_use]
    pub fn entry(&self, slot: Slot) -> Option<&Arc<RouteEntry>> {
        self.entries.get(index(slot))
    }

    /// The numbers of all APIs, some more than once.
    pub fn api_numbers(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().map(|entry| entry.api_number).filter(|number| *number > 0)
    }

    /// The upstream in a slot.
    #[must_use]
    pub fn upstream(&self, slot: Slot) -> Option<&Arc<UpstreamPlan>> {
        self.upstreams.get(index(slot))?.as_ref()
    }

    /// A tenant's upstream by its name.
    #[must_use]
    pub fn upstream_named(&self, tenant: &Name, name: &Name) -> Option<&Arc<UpstreamPlan>> {
        let id = ResourceId::new(tollgate_model::Kind::Upstream, tenant.clone(), name.clone());
        self.upstream(*self.upstream_slots.get(&id)?)
    }

    fn check_upstream(&mut self, number: u32, upstream: &Arc<UpstreamPlan>) {
        if upstream.active.is_some() {
            self.checked_upstreams.insert_mut(number, Arc::clone(upstream));
        } else if !self.checked_upstreams.remove_mut(&number) {
            return;
        }
        self.checks_version += 1;
    }

    fn check_no_longer(&mut self, slot: Slot) {
        let number = self.upstream(slot).map(|upstream| upstream.number);
        if number.is_some_and(|number| self.checked_upstreams.remove_mut(&number)) {
            self.checks_version += 1;
        }
    }

    /// Who has an API key, within a tenant.
    #[must_use]
    pub fn caller_of_key(&self, tenant: &Name, key: &[u8]) -> Option<Arc<Caller>> {
        let caller = self.callers.of_key(&KeyHash::of(key, &self.credential_key))?;
        (caller.tenant == *tenant).then(|| Arc::clone(caller))
    }

    /// An application of a tenant, as a caller without a Credential.
    #[must_use]
    pub fn caller_of_application(&self, tenant: &Name, application: &Name) -> Option<Arc<Caller>> {
        let id =
            ResourceId::new(tollgate_model::Kind::Application, tenant.clone(), application.clone());
        self.applications.get(&id).map(Arc::clone)
    }

    /// What has to be worked out to know whether a username and a password belong together, within
    /// a tenant. As much where nobody has the username.
    #[must_use]
    pub fn question<'a>(&'a self, tenant: &Name, login: Login<'a>) -> Question<'a> {
        let (caller, hash) = match self.callers.of_username(tenant, login.username) {
            Some((caller, hash)) => (Some(Arc::clone(caller)), *hash),
            None => (None, PasswordHash::of_nobody(login.username, &self.credential_key)),
        };
        let credential_key = &self.credential_key;
        Question { caller, hash, password: login.password, credential_key }
    }

    /// Who is found by something proven, within a tenant.
    #[must_use]
    pub fn caller_of_proof(&self, tenant: &Name, key: &KeyHash) -> Option<Arc<Caller>> {
        let caller = self.callers.of_key(key)?;
        (caller.tenant == *tenant).then(|| Arc::clone(caller))
    }

    /// The value of a tenant's secret.
    #[must_use]
    pub fn secret(&self, tenant: &Name, name: &Name) -> Option<&SecretText> {
        self.secrets.get(&ResourceId::new(
            tollgate_model::Kind::Secret,
            tenant.clone(),
            name.clone(),
        ))
    }
}

fn index(slot: Slot) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}
