//! What only all resources of a configuration together show: references, ownership of hosts, ties
//! of routes, keys and usernames that are given twice.
//!
//! A set is persistent: a copy costs nothing, and a change costs what it touches, also where
//! 50,000 APIs share one host. Checking likewise looks at what a change touches alone. A node runs
//! what was checked, and holds [`Resources`] alone.

use std::collections::BTreeSet;
use std::collections::HashSet;
use std::sync::Arc;

use tollgate_model::api::Api;
use tollgate_model::credential::{Credential, KeyHash};
use tollgate_model::gateway::Gateway;
use tollgate_model::host::HostPattern;
use tollgate_model::password::Username;
use tollgate_model::path::BasePath;
use tollgate_model::{FromText, Issues, Kind, Name, ResourceId, Spec};

use crate::check::Checked;
use crate::resources::{Hosts, Index, Resources, add, discard};

// What they name of each other.
mod named;

/// Resources that were each checked by themselves, to be checked together.
#[derive(Clone)]
pub struct Set {
    resources: Resources,
    /// The APIs at one place.
    places: Index<Place>,
    /// The APIs that name a host.
    hosts: Index<HostPattern>,
    /// The tenants that own a host; more than one is a fault.
    claims: Index<HostPattern>,
    /// The credentials with one key; more than one is a fault.
    keys: Index<KeyHash>,
    /// The credentials with one username within a tenant; more than one is a fault.
    logins: Index<(Name, Username)>,
}

/// Where an API answers: gateway, host (none: any), base path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    gateway: Name,
    host: Option<HostPattern>,
    base_path: BasePath,
}

impl Default for Set {
    fn default() -> Self {
        Self {
            resources: Resources::default(),
            places: Index::new_sync(),
            hosts: Index::new_sync(),
            claims: Index::new_sync(),
            keys: Index::new_sync(),
            logins: Index::new_sync(),
        }
    }
}

/// The faults of one resource of a set.
pub type Faults = Vec<(ResourceId, Issues)>;

impl Set {
    /// The resources themselves.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Finds a resource.
    #[must_use]
    pub fn get(&self, id: &ResourceId) -> Option<&Arc<Checked>> {
        self.resources.get(id)
    }

    /// Puts a resource in, in the place of one with the same id.
    pub fn insert(&mut self, checked: Arc<Checked>) {
        let dependants = self.hostless_apis(&checked.id);
        for api in &dependants {
            self.unindex_places(api);
        }
        self.take_out(&checked.id);
        match &checked.spec {
            Spec::Tenant(tenant) => {
                for host in &tenant.hosts {
                    add(&mut self.claims, host.clone(), &checked.id);
                }
            }
            Spec::Credential(credential) => {
                if let Some(hash) = credential.lookup_key(&checked.id.tenant) {
                    add(&mut self.keys, hash, &checked.id);
                }
                if let Some(basic) = &credential.basic {
                    let login = (checked.id.tenant.clone(), basic.username.clone());
                    add(&mut self.logins, login, &checked.id);
                }
            }
            Spec::Api(api) => {
                for host in &api.hosts {
                    add(&mut self.hosts, host.clone(), &checked.id);
                }
            }
            Spec::Certificate(_)
            | Spec::Gateway(_)
            | Spec::Secret(_)
            | Spec::Upstream(_)
            | Spec::PolicySet(_)
            | Spec::Application(_) => {}
        }
        self.resources.insert(Arc::clone(&checked));
        if checked.id.kind == Kind::Api {
            self.index_places(&checked);
        }
        for api in &dependants {
            self.index_places(api);
        }
    }

    /// Takes a resource out.
    pub fn remove(&mut self, id: &ResourceId) {
        let dependants = self.hostless_apis(id);
        for api in &dependants {
            self.unindex_places(api);
        }
        self.take_out(id);
        for api in &dependants {
            self.index_places(api);
        }
    }

    fn take_out(&mut self, id: &ResourceId) {
        let Some(old) = self.get(id).cloned() else { return };
        if id.kind == Kind::Api {
            self.unindex_places(&old);
        }
        match &old.spec {
            Spec::Tenant(tenant) => {
                for host in &tenant.hosts {
                    discard(&mut self.claims, host, id);
                }
            }
            Spec::Credential(credential) => {
                if let Some(hash) = credential.lookup_key(&id.tenant) {
                    discard(&mut self.keys, &hash, id);
                }
                if let Some(basic) = &credential.basic {
                    let login = (id.tenant.clone(), basic.username.clone());
                    discard(&mut self.logins, &login, id);
                }
            }
            Spec::Api(api) => {
                for host in &api.hosts {
                    discard(&mut self.hosts, host, id);
                }
            }
            Spec::Certificate(_)
            | Spec::Gateway(_)
            | Spec::Secret(_)
            | Spec::Upstream(_)
            | Spec::PolicySet(_)
            | Spec::Application(_) => {}
        }
        self.resources.remove(id);
    }

    /// The APIs whose hosts are those of this tenant, where `id` is a tenant's.
    fn hostless_apis(&self, id: &ResourceId) -> Vec<Arc<Checked>> {
        if id.kind != Kind::Tenant {
            return Vec::new();
        }
        let referrers = self.resources.referrers(id);
        referrers
            .filter(|referrer| referrer.kind == Kind::Api)
            .filter_map(|referrer| self.get(referrer))
            .filter(|checked| matches!(&checked.spec, Spec::Api(api) if api.hosts.is_empty()))
            .cloned()
            .collect()
    }

    fn index_places(&mut self, checked: &Checked) {
        for place in self.places_of(checked) {
            add(&mut self.places, place, &checked.id);
        }
    }

    fn unindex_places(&mut self, checked: &Checked) {
        for place in self.places_of(checked) {
            discard(&mut self.places, &place, &checked.id);
        }
    }

    fn places_of(&self, checked: &Checked) -> Vec<Place> {
        let Spec::Api(api) = &checked.spec else { return Vec::new() };
        let place = |host: Option<HostPattern>| Place {
            gateway: api.gateway.clone(),
            host,
            base_path: api.base_path.clone(),
        };
        match self.resources.hosts_of(&checked.id.tenant, api) {
            Hosts::Any => vec![place(None)],
            Hosts::These(hosts) => hosts.iter().map(|host| place(Some(host.clone()))).collect(),
        }
    }

    /// What is wrong in this set on account of the resources that a change touched (wrote or took
    /// out), in the order of their ids. An empty list is a configuration that a node can run.
    #[must_use]
    pub fn check(&self, touched: &[ResourceId]) -> Faults {
        let mut to_check: BTreeSet<&ResourceId> = touched.iter().collect();
        for id in touched {
            let depends = |referrer: &&ResourceId| match id.kind {
                // A tenant's hosts decide about its APIs, a set's policies about where it may stand, a
                // certificate's names about who can show it.
                Kind::Tenant => referrer.kind == Kind::Api,
                Kind::PolicySet => referrer.kind == Kind::Application,
                Kind::Upstream => self.asks_for_protocol(referrer, id),
                // Where it is gone, that is told of it.
                Kind::Certificate => referrer.kind == Kind::Gateway && self.get(id).is_some(),
                // What signatures are checked with is to be a key, and so is what a policy takes for one; what upstreams are
                // told is to stand in a field. Who needs one that goes is named by its fault.
                Kind::Secret => {
                    let is_asked = matches!(referrer.kind, Kind::Credential | Kind::Upstream)
                        || self.asks_for_bytes(referrer, id);
                    is_asked && self.get(id).is_some()
                }
                Kind::Gateway | Kind::Api | Kind::Application | Kind::Credential => false,
            };
            to_check.extend(self.resources.referrers(id).filter(depends));
        }
        let mut faults = Faults::new();
        for id in to_check {
            let mut issues = Issues::default();
            match self.get(id) {
                Some(checked) => self.check_present(checked, &mut issues),
                None => self.check_absent(id, &mut issues),
            }
            if !issues.0.is_empty() {
                faults.push((id.clone(), issues));
            }
        }
        faults
    }

    fn check_present(&self, checked: &Checked, issues: &mut Issues) {
        for reference in &checked.references {
            self.check_reference(reference, issues);
        }
        match &checked.spec {
            Spec::Api(api) => {
                self.check_hosts(&checked.id, api, issues);
                self.check_ties(checked, api, issues);
            }
            Spec::Tenant(tenant) => self.check_claims(&checked.id, &tenant.hosts, issues),
            Spec::Credential(credential) => {
                self.check_proof(&checked.id, credential, issues);
                self.check_shared_key(&checked.id, credential, issues);
            }
            Spec::Gateway(gateway) => {
                check_addresses(gateway, issues);
                self.check_shown(checked, issues);
            }
            Spec::Application(_) => self.check_sets(checked, issues),
            Spec::Upstream(upstream) => self.check_told(checked, upstream, issues),
            Spec::Certificate(_) | Spec::Secret(_) | Spec::PolicySet(_) => {}
        }
    }

    /// Whether a key, or a username within its tenant, is one credential's alone.
    fn check_proof(&self, id: &ResourceId, credential: &Credential, issues: &mut Issues) {
        let hash = credential.lookup_key(&id.tenant);
        let holders = hash.and_then(|hash| self.keys.get(&hash));
        if holders.is_some_and(|holders| holders.size() > 1) {
            // Whose a key is stays unsaid: it may be another tenant's.
            let (at, code, problem) = if credential.certificate.is_some() {
                (
                    "/spec/certificate",
                    "certificate_in_use",
                    "another credential of this tenant names the same certificate",
                )
            } else if credential.signature.is_some() {
                (
                    "/spec/signature/key_id",
                    "key_id_in_use",
                    "another credential of this tenant has this key id; choose another",
                )
            } else {
                (
                    "/spec/api_key",
                    "key_in_use",
                    "the key is another credential's already; make a new one",
                )
            };
            issues.add(at, code, problem);
        }
        let Some(basic) = &credential.basic else { return };
        let holders = self.logins.get(&(id.tenant.clone(), basic.username.clone()));
        if let Some(other) =
            holders.and_then(|holders| holders.iter().filter(|other| *other != id).min())
        {
            issues.add(
                "/spec/basic/username",
                "username_in_use",
                format!("the username is {other}'s already; choose another"),
            );
        }
    }

    fn check_hosts(&self, id: &ResourceId, api: &Api, issues: &mut Issues) {
        if api.hosts.is_empty() {
            if matches!(self.resources.hosts_of(&id.tenant, api), Hosts::These([])) {
                issues.add(
                    "/spec/hosts",
                    "no_host",
                    format!("tenant {} owns no host; give the tenant one first", id.tenant),
                );
            }
            return;
        }
        for (i, host) in api.hosts.iter().enumerate() {
            let owner = self.owner_of(host);
            let is_own = match owner {
                Some(owner) => *owner == id.tenant,
                None => id.tenant == Name::default_name(),
            };
            if !is_own {
                issues.add(
                    format!("/spec/hosts/{i}"),
                    "foreign_host",
                    format!("`{host}` does not belong to tenant {}; an administrator gives hosts to tenants", id.tenant),
                );
            }
        }
    }

    /// The tenant with the narrowest claim that covers a host; of several with the same claim, which
    /// is a fault of theirs, the first by name.
    fn owner_of(&self, host: &HostPattern) -> Option<&Name> {
        let owner =
            |host: &HostPattern| self.claims.get(host)?.iter().map(|tenant| &tenant.name).min();
        if let Some(owner) = owner(host) {
            return Some(owner);
        }
        let mut rest = host.name();
        while let Some((_, parent)) = rest.split_once('.') {
            let wildcard = HostPattern::from_text(&format!("*.{parent}")).ok()?;
            if let Some(owner) = owner(&wildcard) {
                return Some(owner);
            }
            rest = parent;
        }
        None
    }

    fn check_claims(&self, id: &ResourceId, hosts: &[HostPattern], issues: &mut Issues) {
        for (i, host) in hosts.iter().enumerate() {
            let at = format!("/spec/hosts/{i}");
            let is_taken = self.claims.iter().any(|(claimed, tenants)| {
                claimed.overlaps(host) && tenants.iter().any(|tenant| tenant != id)
            });
            if is_taken {
                issues.add(
                    at,
                    "host_taken",
                    format!(
                        "`{host}` overlaps with another tenant's host; a host belongs to one tenant"
                    ),
                );
                continue;
            }
            // What nobody claimed was the default tenant's until now.
            let published = self.hosts.iter().filter(|(named, _)| host.covers(named));
            let by_others = published.flat_map(|(named, apis)| {
                apis.iter().filter(|api| api.tenant != id.name).map(move |api| (api, named))
            });
            if let Some((api, named)) = by_others.min() {
                issues.add(
                    at,
                    "host_in_use",
                    format!("`{named}` is published by {api}; take it from that API first"),
                );
            }
        }
    }

    fn check_ties(&self, checked: &Checked, api: &Api, issues: &mut Issues) {
        let mut neighbours: BTreeSet<&ResourceId> = BTreeSet::new();
        for place in self.places_of(checked) {
            if let Some(ids) = self.places.get(&place) {
                neighbours.extend(ids.iter().filter(|id| **id != checked.id));
            }
        }
        if neighbours.is_empty() {
            return;
        }
        let own = tie_keys(api);
        for neighbour in neighbours {
            let Some(Spec::Api(other)) = self.get(neighbour).map(|checked| &checked.spec) else {
                continue;
            };
            let theirs: HashSet<String> = tie_keys(other).into_iter().map(|(key, _)| key).collect();
            if let Some((_, route)) = own.iter().find(|(key, _)| theirs.contains(key)) {
                let at = route.map_or_else(
                    || "/spec/base_path".to_owned(),
                    |i| format!("/spec/routes/{i}/match"),
                );
                issues.add(at, "tied_routes", format!("matches the same calls as {neighbour}; let host, base path, method, path, header or query differ"));
            }
        }
    }
}

/// What makes the routes of an API tie, each with the route's index.
fn tie_keys(api: &Api) -> Vec<(String, Option<usize>)> {
    if api.routes.is_empty() {
        let everything = tollgate_model::route::RouteMatch::default();
        return everything.tie_keys().into_iter().map(|key| (key, None)).collect();
    }
    let keys = |(i, route): (usize, &tollgate_model::route::Route)| {
        route.matches.tie_keys().into_iter().map(move |key| (key, Some(i)))
    };
    api.routes.iter().enumerate().flat_map(keys).collect()
}

fn check_addresses(gateway: &Gateway, issues: &mut Issues) {
    let mut seen = HashSet::new();
    for (i, listener) in gateway.listeners.iter().enumerate() {
        if !seen.insert(listener.address) {
            issues.add(
                format!("/spec/listeners/{i}/address"),
                "duplicate_address",
                "another listener has this address; give each its own",
            );
        }
    }
}
