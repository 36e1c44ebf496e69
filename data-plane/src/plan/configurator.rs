//! Receives resources, keeps out what cannot be run, and swaps plans. All of it is off the request
//! path; the cost of a change follows what it touches.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tollgate_model::host::HostPattern;
use tollgate_model::path::BasePath;
use tollgate_model::upstream::Protocol;
use tollgate_model::wire::{self, Digest};
use tollgate_model::{Issues, Kind, Name, ResourceId, Spec};
use tollgate_policy::{Checked, Resources};
use tollgate_proto::v1;

use super::build::{self, Builder, BuiltApi};
use super::endpoints::{EndpointId, EndpointIds};
use super::listening::Listening;
use super::read::read_all;
use super::{Plan, RouteEntry, Slot, index};
use crate::ports::key_sets::NodeKeySets;
use crate::route::ApiRoutes;
use crate::upstream::Tokens;
use crate::upstream::names::Names;

/// A change of what the node holds.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Whether `upserts` are all that there is.
    pub is_whole: bool,
    /// The revision after it.
    pub revision: u64,
    /// Written resources.
    pub upserts: Vec<v1::Resource>,
    /// Deleted resources.
    pub removals: Vec<v1::ResourceId>,
    /// When the newest of its revisions was committed; 0 where that is not known.
    pub committed_unix_micros: u64,
}

/// Tries to listen where a gateway says, but for the addresses that cannot be served, and reports
/// what cannot be had.
pub type Listen = Box<dyn FnMut(&tollgate_model::gateway::Gateway, &[SocketAddr]) -> Issues + Send>;

/// Builds plans and swaps them in. Owned by the one task that receives the configuration.
pub struct Configurator {
    pub(super) gateway: Name,
    cell: Arc<ArcSwap<Plan>>,
    pub(super) plan: Plan,
    held: HashMap<v1::ResourceId, v1::Resource>,
    digest: Digest,
    refused: HashMap<v1::ResourceId, Refused>,
    pub(super) resources: Resources,
    placed: HashMap<ResourceId, Placed>,
    free_entries: Vec<Slot>,
    vacant: Arc<RouteEntry>,
    pub(super) free_upstreams: Vec<Slot>,
    pub(super) endpoint_ids: HashMap<(Box<str>, Protocol), EndpointId>,
    pub(super) fresh_endpoint_ids: EndpointIds,
    next_number: u32,
    pub(super) listening: Listening,
    listen: Listen,
    /// Why listeners cannot be served, whatever their addresses.
    listener_issues: Issues,
    is_listening_refused: bool,
    key_sets: Option<NodeKeySets>,
    pub(super) names: Option<Names>,
    pub(super) tokens: Option<Tokens>,
}

struct Refused {
    version: u64,
    issues: Issues,
}

/// Where an API stands in the plan.
struct Placed {
    hosts: Option<Vec<HostPattern>>,
    base_path: BasePath,
    slots: Vec<Slot>,
    api_number: u32,
}

/// What an update makes it necessary to build anew.
#[derive(Default)]
struct Dirty {
    apis: BTreeSet<ResourceId>,
    upstreams: BTreeSet<ResourceId>,
    credentials: BTreeSet<ResourceId>,
    applications: BTreeSet<ResourceId>,
    is_gateway: bool,
    /// What listeners show.
    are_listeners: bool,
    /// Every chain begins with the gateway's policies.
    is_gateway_chain: bool,
}

impl Configurator {
    /// Begins with nothing, for the nodes of one gateway.
    #[must_use]
    pub fn new(gateway: Name, listen: Listen) -> Self {
        let plan = Plan::empty();
        Self {
            gateway,
            cell: Arc::new(ArcSwap::from_pointee(plan.clone())),
            plan,
            held: HashMap::new(),
            digest: Digest::default(),
            refused: HashMap::new(),
            resources: Resources::default(),
            placed: HashMap::new(),
            free_entries: Vec::new(),
            vacant: Arc::new(RouteEntry::vacant()),
            free_upstreams: Vec::new(),
            endpoint_ids: HashMap::new(),
            fresh_endpoint_ids: EndpointIds::default(),
            next_number: 0,
            listening: Listening::default(),
            listen,
            listener_issues: Issues::default(),
            is_listening_refused: false,
            key_sets: None,
            names: None,
            tokens: None,
        }
    }

    /// Where keys are fetched that policies need, before the first request comes.
    pub fn set_key_sets(&mut self, key_sets: NodeKeySets) {
        self.key_sets = Some(key_sets);
    }

    /// Where requests find the newest plan.
    #[must_use]
    pub fn plan(&self) -> Arc<ArcSwap<Plan>> {
        Arc::clone(&self.cell)
    }

    /// The key under which API keys are hashed.
    pub fn set_credential_key(&mut self, key: [u8; 32]) {
        if self.plan.credential_key != key {
            self.plan.credential_key = key;
            self.cell.store(Arc::new(self.plan.clone()));
        }
    }

    /// The revision that is live.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.plan.revision
    }

    /// The digest of everything held, refused resources included.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Everything held, for the disk.
    pub fn resources(&self) -> impl Iterator<Item = &v1::Resource> {
        self.held.values()
    }

    /// The resources that this node refuses, each with its reasons.
    #[must_use]
    pub fn rejections(&self) -> Vec<v1::Rejection> {
        self.refused
            .iter()
            .map(|(id, refused)| v1::Rejection {
                id: Some(id.clone()),
                version: refused.version,
                issues: wire::issues_to_wire(&refused.issues),
            })
            .collect()
    }

    /// Applies an update whole. What cannot be run is kept out and named; its last good version
    /// stays, or its place answers 503. Returns when the new plan is live.
    pub fn apply(&mut self, mut update: Update) {
        if update.is_whole && !self.held.is_empty() {
            let kept: HashSet<v1::ResourceId> = update.upserts.iter().map(wire::id_of).collect();
            update.removals = self.held.keys().filter(|id| !kept.contains(*id)).cloned().collect();
        }
        let mut dirty = Dirty::default();
        for id in &update.removals {
            self.remove(id, &mut dirty);
        }
        let mut changed = update.upserts;
        changed.retain(|resource| !self.holds(resource));
        let read = read_all(&changed);
        for (resource, read) in changed.into_iter().zip(read) {
            self.upsert(resource, read, &mut dirty);
        }
        self.plan.revision = update.revision;
        self.plan.is_complete |= update.is_whole;
        let listens = self.rebuild(dirty);
        self.cell.store(Arc::new(self.plan.clone()));
        // After the plan is live: a connection is served by what that says of its listener.
        if listens {
            self.listen();
        }
    }

    fn remove(&mut self, wire_id: &v1::ResourceId, dirty: &mut Dirty) {
        if let Some(old) = self.held.remove(wire_id) {
            self.digest.toggle(&old);
        }
        self.refused.remove(wire_id);
        let Ok(id) = wire::id_from_wire(wire_id) else { return };
        self.mark(&id, true, dirty);
        self.forget_values(&id);
        self.resources.remove(&id);
    }

    fn holds(&self, resource: &v1::Resource) -> bool {
        let is_same =
            |held: &v1::Resource| held.version == resource.version && held.spec == resource.spec;
        // At a start nothing is held, and no id need be made of ten thousand.
        !self.held.is_empty() && self.held.get(&wire::id_of(resource)).is_some_and(is_same)
    }

    fn upsert(&mut self, resource: v1::Resource, read: Result<Checked, Issues>, dirty: &mut Dirty) {
        let wire_id = wire::id_of(&resource);
        if let Some(old) = self.held.get(&wire_id) {
            self.digest.toggle(old);
        }
        self.digest.toggle(&resource);
        let version = resource.version;
        match read {
            Ok(checked) => {
                self.refused.remove(&wire_id);
                let id = checked.id.clone();
                let is_new = self.resources.get(&id).is_none();
                self.forget_values(&id);
                self.resources.insert(Arc::new(checked));
                self.remember_values(&id);
                self.mark(&id, is_new, dirty);
            }
            Err(issues) => {
                if let Ok(id) = wire::id_from_wire(&wire_id)
                    && id.kind == Kind::Api
                {
                    dirty.apis.insert(id);
                }
                self.refused.insert(wire_id.clone(), Refused { version, issues });
            }
        }
        self.held.insert(wire_id, resource);
    }

    /// Marks what depends on a resource. `is_presence_changed`: it came or went.
    fn mark(&self, id: &ResourceId, is_presence_changed: bool, dirty: &mut Dirty) {
        match id.kind {
            Kind::Api => {
                dirty.apis.insert(id.clone());
            }
            Kind::Upstream => {
                dirty.upstreams.insert(id.clone());
                if is_presence_changed {
                    self.mark_referrers(id, dirty);
                }
            }
            Kind::Credential => {
                dirty.credentials.insert(id.clone());
            }
            Kind::Secret => {
                let referrers = self.resources.referrers(id);
                let upstreams = referrers.filter(|referrer| referrer.kind == Kind::Upstream);
                // Others look its value up; theirs are made with it.
                dirty.upstreams.extend(upstreams.cloned());
                if is_presence_changed {
                    self.mark_referrers(id, dirty);
                }
            }
            Kind::Application => {
                dirty.applications.insert(id.clone());
                self.mark_referrers(id, dirty);
            }
            Kind::Certificate => {
                dirty.are_listeners = true;
                self.mark_referrers(id, dirty);
            }
            Kind::Tenant => {
                // It owns the hosts of its certificates.
                dirty.are_listeners = true;
                self.mark_of_tenant(id, dirty);
            }
            Kind::PolicySet => self.mark_referrers(id, dirty),
            Kind::Gateway => {
                if id.name == self.gateway {
                    dirty.is_gateway = true;
                }
            }
        }
    }

    fn mark_referrers(&self, id: &ResourceId, dirty: &mut Dirty) {
        for referrer in self.resources.referrers(id) {
            // What names an application to decide by it, the application itself for one, needs its name alone.
            if id.kind == Kind::Application && referrer.kind != Kind::Credential {
                continue;
            }
            match referrer.kind {
                Kind::Api => {
                    dirty.apis.insert(referrer.clone());
                }
                Kind::Credential => {
                    dirty.credentials.insert(referrer.clone());
                }
                Kind::Gateway => dirty.is_gateway_chain |= referrer.name == self.gateway,
                // A set that a tenant or an application uses reaches what those reach. Nothing refers
                // to a resource that refers back, so this ends.
                Kind::Application => {
                    dirty.applications.insert(referrer.clone());
                    self.mark_referrers(referrer, dirty);
                }
                Kind::Tenant => self.mark_of_tenant(referrer, dirty),
                Kind::PolicySet => self.mark_referrers(referrer, dirty),
                // It shows the certificate; of its tenant it needs the name alone.
                Kind::Upstream if id.kind == Kind::Certificate => {
                    dirty.upstreams.insert(referrer.clone());
                }
                Kind::Certificate | Kind::Secret | Kind::Upstream => {}
            }
        }
    }

    fn mark_of_tenant(&self, id: &ResourceId, dirty: &mut Dirty) {
        self.mark_referrers(id, dirty);
        // It is there without being written, so what it owns does not refer to it.
        if id.name == Name::default_name() {
            dirty.apis.extend(self.placed.keys().filter(|api| api.tenant == id.name).cloned());
        }
    }

    fn forget_values(&mut self, id: &ResourceId) {
        match self.resources.get(id).map(|checked| &checked.spec) {
            Some(Spec::Credential(credential)) => self.plan.callers.remove(&id.tenant, credential),
            Some(Spec::Secret(_)) => {
                self.plan.secrets.remove_mut(id);
            }
            Some(Spec::Certificate(_)) => self.listening.forget(id),
            _ => {}
        }
    }

    fn remember_values(&mut self, id: &ResourceId) {
        match self.resources.get(id).map(|checked| &checked.spec) {
            Some(Spec::Secret(secret)) => {
                self.plan.secrets.insert_mut(id.clone(), secret.value.clone());
            }
            Some(Spec::Certificate(certificate)) => self.listening.remember(id, certificate),
            _ => {}
        }
    }

    /// Whether what is listened on may be another now.
    fn rebuild(&mut self, mut dirty: Dirty) -> bool {
        if dirty.is_gateway {
            let gateway = build::gateway_of(&self.resources, &self.gateway);
            dirty.is_gateway_chain |= gateway.policies != self.plan.gateway.policies;
            self.plan.gateway = Arc::new(gateway);
        }
        let listens = dirty.is_gateway || dirty.are_listeners;
        if listens {
            let (plans, issues) = self.listening.plans(&self.plan.gateway, &self.resources);
            self.plan.listeners = Arc::new(plans);
            self.listener_issues = issues;
        }
        if dirty.is_gateway_chain {
            dirty.apis.extend(self.placed.keys().cloned());
        }
        for id in &dirty.upstreams {
            self.place_upstream(id);
        }
        for id in &dirty.apis {
            self.place_api(id);
        }
        for id in &dirty.credentials {
            self.place_credential(id);
        }
        for id in &dirty.applications {
            self.place_application(id);
        }
        // What was refused may be free by now.
        listens || self.is_listening_refused
    }

    fn listen(&mut self) {
        let gateway = Arc::clone(&self.plan.gateway);
        let plans = self.plan.listeners.iter();
        let unserved: Vec<SocketAddr> =
            plans.filter(|(_, plan)| plan.is_none()).map(|(address, _)| *address).collect();
        let mut issues = self.listener_issues.clone();
        issues.0.extend((self.listen)(&gateway, &unserved).0);
        let id = wire::id_to_wire(&ResourceId::of_gateway(&self.gateway));
        let was_refused = std::mem::replace(&mut self.is_listening_refused, !issues.0.is_empty());
        let Some(held) = self.held.get(&id) else { return };
        let checked = self.resources.get(&ResourceId::of_gateway(&self.gateway));
        // A newer version that cannot be read is refused for that, however the last good one listens.
        if checked.is_none_or(|checked| checked.version != held.version) {
            return;
        }
        if self.is_listening_refused {
            self.refused.insert(id, Refused { version: held.version, issues });
        } else if was_refused {
            self.refused.remove(&id);
        }
    }

    fn place_api(&mut self, id: &ResourceId) {
        let old = self.placed.remove(id);
        let api_number = match &old {
            Some(placed) => placed.api_number,
            None => self.take_number(),
        };
        let built = self.build_api(id, api_number);
        if let Some(old) = old {
            self.take_out(id, &old);
        }
        let Some((built, routes_of)) = built else { return };
        let BuiltApi { hosts, base_path, entries } = built;
        if hosts.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        let mut slots = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some(key_sets) = &self.key_sets {
                key_sets.prepare_for(&entry.chain);
            }
            slots.push(self.put_entry(Arc::new(entry)));
        }
        let routes = match routes_of.as_deref().map(|checked| &checked.spec) {
            Some(Spec::Api(api)) => {
                ApiRoutes::build(api, |_, i| slots.get(i).copied().unwrap_or(Slot::MAX))
            }
            _ => build::everything_below(&base_path, slots.first().copied().unwrap_or(Slot::MAX)),
        };
        self.plan.routes.insert(
            id,
            hosts.as_deref().unwrap_or_default(),
            &base_path,
            &Arc::new(routes),
        );
        self.placed.insert(id.clone(), Placed { hosts, base_path, slots, api_number });
    }

    /// The API as it is run, with what its routes are read from: the last good version, or nothing
    /// for one that is refused and never was good.
    fn build_api(
        &self,
        id: &ResourceId,
        api_number: u32,
    ) -> Option<(BuiltApi, Option<Arc<Checked>>)> {
        if let Some(checked) = self.resources.get(id) {
            let Spec::Api(api) = &checked.spec else { return None };
            let upstream_slot = |id: &ResourceId| self.plan.upstream_slots.get(id).copied();
            let builder = Builder {
                resources: &self.resources,
                gateway: &self.gateway,
                upstream_slot: &upstream_slot,
            };
            return Some((builder.api(checked, api, api_number)?, Some(Arc::clone(checked))));
        }
        let held = self.held.get(&wire::id_to_wire(id))?;
        let spec = wire::spec_from_wire(held).ok()?;
        Some((build::refused_api(id, &spec, &self.gateway, api_number)?, None))
    }

    fn take_out(&mut self, id: &ResourceId, old: &Placed) {
        self.plan.routes.remove(id, old.hosts.as_deref().unwrap_or_default(), &old.base_path);
        for slot in &old.slots {
            // What the route held goes at once, not when the slot is next used.
            self.plan.entries.set_mut(index(*slot), Arc::clone(&self.vacant));
        }
        self.free_entries.extend(&old.slots);
    }

    fn put_entry(&mut self, entry: Arc<RouteEntry>) -> Slot {
        match self.free_entries.pop() {
            Some(slot) => {
                self.plan.entries.set_mut(index(slot), entry);
                slot
            }
            None => {
                let slot = u32::try_from(self.plan.entries.len()).unwrap_or(u32::MAX);
                self.plan.entries.push_back_mut(entry);
                slot
            }
        }
    }

    pub(super) fn take_number(&mut self) -> u32 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }
}
