//! One API as it is run: its chains put together, its targets looked up.

use std::sync::Arc;

use tollgate_model::api::Api;
use tollgate_model::host::HostPattern;
use tollgate_model::path::BasePath;
use tollgate_model::{FromText, Kind, Name, ResourceId, Spec};
use tollgate_policy::chain::Chain;
use tollgate_policy::check::{Attached, Item};
use tollgate_policy::policies::AnyPolicy;
use tollgate_policy::policy::{Caller, RouteFacts};
use tollgate_policy::resources::Hosts;
use tollgate_policy::{Checked, Resources};

use super::{RouteEntry, Slot, Target};
use crate::route::ApiRoutes;

/// Where an API is found, and its routes in their order; an API without routes has one.
pub(super) struct BuiltApi {
    /// None: any host. Some and empty: nowhere.
    pub(super) hosts: Option<Vec<HostPattern>>,
    pub(super) base_path: BasePath,
    pub(super) entries: Vec<RouteEntry>,
}

/// What building an API looks up.
pub(super) struct Builder<'a> {
    pub(super) resources: &'a Resources,
    pub(super) gateway: &'a Name,
    pub(super) upstream_slot: &'a dyn Fn(&ResourceId) -> Option<Slot>,
}

impl<'a> Builder<'a> {
    /// One that builds callers, for which no upstream is looked up.
    pub(super) fn of_callers(resources: &'a Resources, gateway: &'a Name) -> Self {
        Self { resources, gateway, upstream_slot: &|_| None }
    }

    /// None where the API is another gateway's.
    pub(super) fn api(&self, checked: &Checked, api: &Api, api_number: u32) -> Option<BuiltApi> {
        if api.gateway != *self.gateway {
            return None;
        }
        let tenant = &checked.id.tenant;
        let hosts = match self.resources.hosts_of(tenant, api) {
            Hosts::Any => None,
            Hosts::These(hosts) => Some(hosts.to_vec()),
        };
        let is_whole = self.has_what_policies_need(checked);
        let entry = |route: Option<&tollgate_model::route::Route>, own: &Attached| RouteEntry {
            facts: RouteFacts {
                tenant: tenant.clone(),
                api: checked.id.name.clone(),
                route: route.map(|route| route.name.clone()),
                base_path: api.base_path.clone(),
            },
            chain: self.chain(checked, own),
            target: if is_whole { self.target(tenant, api, route) } else { Target::Unavailable },
            strips_base_path: api.strip_base_path,
            api_number,
        };
        let none = Attached::new();
        let entries = if api.routes.is_empty() {
            vec![entry(None, &none)]
        } else {
            let own = checked.route_policies.iter().chain(std::iter::repeat(&none));
            api.routes.iter().zip(own).map(|(route, own)| entry(Some(route), own)).collect()
        };
        Some(BuiltApi { hosts, base_path: api.base_path.clone(), entries })
    }

    /// Policies never run without what they name: an API whose policy set, secret or upstream this
    /// node had to refuse is closed, not open.
    fn has_what_policies_need(&self, checked: &Checked) -> bool {
        let tenant = self.resources.get(&ResourceId::of_tenant(&checked.id.tenant));
        let gateway = self.resources.get(&ResourceId::of_gateway(self.gateway));
        [Some(checked), tenant.map(|tenant| &**tenant), gateway.map(|gateway| &**gateway)]
            .into_iter()
            .flatten()
            .all(|holder| self.has_needs_of(holder))
    }

    /// Whether all is there that the policies of one resource name, its sets' policies among them.
    fn has_needs_of(&self, holder: &Checked) -> bool {
        // Of an application its name alone is needed.
        let is_needed = |kind| matches!(kind, Kind::PolicySet | Kind::Secret | Kind::Upstream);
        holder
            .references
            .iter()
            .filter(|reference| reference.is_of_policies && is_needed(reference.to.kind))
            .all(|reference| match self.resources.get(&reference.to) {
                None => false,
                // Sets do not hold sets, so this ends.
                Some(set) if set.id.kind == Kind::PolicySet => self.has_needs_of(set),
                Some(_) => true,
            })
    }

    fn target(
        &self,
        tenant: &Name,
        api: &Api,
        route: Option<&tollgate_model::route::Route>,
    ) -> Target {
        let name = route.and_then(|route| route.upstream.as_ref()).or(api.upstream.as_ref());
        let slot = name.and_then(|name| {
            (self.upstream_slot)(&ResourceId::new(Kind::Upstream, tenant.clone(), name.clone()))
        });
        slot.map_or(Target::Unavailable, Target::Upstream)
    }

    /// Gateway, tenant, API, route: the outermost level first.
    fn chain(&self, api: &Checked, route: &Attached) -> Chain {
        let of = |id: ResourceId| {
            self.resources
                .get(&id)
                .map(|checked| self.expand(&checked.policies))
                .unwrap_or_default()
        };
        let levels = [
            of(ResourceId::of_gateway(self.gateway)),
            of(ResourceId::of_tenant(&api.id.tenant)),
            self.expand(&api.policies),
            self.expand(route),
        ];
        Chain::assemble(levels.iter().map(Vec::as_slice))
    }

    /// An application as a caller without a Credential.
    pub(super) fn caller(&self, id: &ResourceId) -> Option<Caller> {
        let application = self.resources.get(id)?;
        let Spec::Application(spec) = &application.spec else { return None };
        let policies = self.expand(&application.policies);
        Some(Caller {
            tenant: id.tenant.clone(),
            application: id.name.clone(),
            credential: id.name.clone(),
            groups: spec.groups.as_slice().into(),
            expires_at_unix_micros: None,
            is_disabled: spec.disabled || !self.has_needs_of(application),
            verification_key: None,
            chain: (!policies.is_empty()).then(|| Arc::new(Chain::assemble([policies.as_slice()]))),
        })
    }

    /// A list with its sets written out.
    pub(super) fn expand(&self, attached: &Attached) -> Vec<Arc<AnyPolicy>> {
        let mut policies = Vec::with_capacity(attached.len());
        for item in attached {
            match item {
                Item::Policy(policy) => policies.push(Arc::clone(policy)),
                Item::Set(id) => {
                    let set = self.resources.get(id).map(|checked| checked.policies.as_slice());
                    for item in set.unwrap_or_default() {
                        // Sets do not hold sets: the check refused it.
                        if let Item::Policy(policy) = item {
                            policies.push(Arc::clone(policy));
                        }
                    }
                }
            }
        }
        policies
    }
}

/// An API that this node refuses and has no earlier version of: as far as its place can be read, it
/// answers 503 there, so that its calls do not fall to another API.
pub(super) fn refused_api(
    id: &ResourceId,
    spec: &serde_json::Value,
    gateway: &Name,
    api_number: u32,
) -> Option<BuiltApi> {
    let text = |field: &str| spec.get(field).and_then(serde_json::Value::as_str);
    if text("gateway").unwrap_or("default") != gateway.as_str() {
        return None;
    }
    let base_path = BasePath::from_text(text("base_path")?).ok()?;
    let hosts = match spec.get("hosts").and_then(serde_json::Value::as_array) {
        None => None,
        Some(hosts) if hosts.is_empty() => None,
        Some(hosts) => Some(
            hosts
                .iter()
                .filter_map(|host| HostPattern::from_text(host.as_str()?).ok())
                .collect::<Vec<_>>(),
        ),
    };
    // Only the default tenant answers for any host.
    if hosts.is_none() && id.tenant != Name::default_name() {
        return None;
    }
    let entry = RouteEntry {
        facts: RouteFacts {
            tenant: id.tenant.clone(),
            api: id.name.clone(),
            route: None,
            base_path: base_path.clone(),
        },
        chain: Chain::default(),
        target: Target::Unavailable,
        strips_base_path: false,
        api_number,
    };
    Some(BuiltApi { hosts, base_path, entries: vec![entry] })
}

/// The specification of a gateway; every default where it is not written.
pub(super) fn gateway_of(resources: &Resources, name: &Name) -> tollgate_model::gateway::Gateway {
    match resources.get(&ResourceId::of_gateway(name)).map(|checked| &checked.spec) {
        Some(Spec::Gateway(gateway)) => gateway.clone(),
        _ => tollgate_model::gateway::Gateway::default(),
    }
}

/// Routes of an API whose own cannot be read.
pub(super) fn everything_below(base_path: &BasePath, slot: Slot) -> ApiRoutes<Slot> {
    let api = Api {
        description: None,
        version: None,
        gateway: Name::default_name(),
        hosts: Vec::new(),
        base_path: base_path.clone(),
        strip_base_path: false,
        upstream: None,
        policies: Vec::new(),
        routes: Vec::new(),
    };
    ApiRoutes::build(&api, |_, _| slot)
}
