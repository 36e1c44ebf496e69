//! What each of a gateway's listeners does with its connections, and why one cannot be run.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use tollgate_model::certificate::Certificate;
use tollgate_model::gateway::{self, ClientCertificates, Gateway};
use tollgate_model::host::HostPattern;
use tollgate_model::{Issue, Issues, Kind, Name, ResourceId, Spec};
use tollgate_policy::Resources;

use crate::tls::{Certificates, ListenerTls, Sessions, Shown};

/// What a listener does with a connection.
#[derive(Clone, Default)]
pub struct ListenerPlan {
    /// TLS; none: in the clear.
    pub tls: Option<Arc<ListenerTls>>,
    /// Whether a header of the PROXY protocol comes first.
    pub is_behind_proxy: bool,
}

/// The gateway's listeners by address. None: it cannot be run, and no connection is to be served
/// there, least of all in the clear.
pub type ListenerPlans = HashMap<SocketAddr, Option<ListenerPlan>>;

/// What listeners are made of, and what outlives their changes.
#[derive(Default)]
pub(super) struct Listening {
    certificates: BTreeMap<ResourceId, Arc<Shown>>,
    sessions: HashMap<SocketAddr, (Option<ClientCertificates>, Sessions)>,
}

impl Listening {
    pub(super) fn remember(&mut self, id: &ResourceId, certificate: &Certificate) {
        if let Some(shown) = Shown::new(certificate) {
            self.certificates.insert(id.clone(), Arc::new(shown));
        }
    }

    /// A certificate with its key; none where this node does not have it, or refuses it.
    pub(super) fn shown(&self, id: &ResourceId) -> Option<&Arc<Shown>> {
        self.certificates.get(id)
    }

    pub(super) fn forget(&mut self, id: &ResourceId) {
        self.certificates.remove(id);
    }

    /// The listeners, and why some of them cannot be run.
    pub(super) fn plans(
        &mut self,
        gateway: &Gateway,
        resources: &Resources,
    ) -> (ListenerPlans, Issues) {
        let (mut plans, mut issues) = (ListenerPlans::new(), Issues::default());
        self.sessions.retain(|address, _| {
            gateway.listeners.iter().any(|listener| listener.address.0 == *address)
        });
        for (i, listener) in gateway.listeners.iter().enumerate() {
            let address = listener.address.0;
            let mut plan = ListenerPlan { tls: None, is_behind_proxy: listener.proxy_protocol };
            if let Some(tls) = &listener.tls {
                match self.tls(address, tls, resources) {
                    Ok(tls) => plan.tls = Some(Arc::new(tls)),
                    Err(issue) => {
                        issues.0.push(issue.under(&format!("/spec/listeners/{i}/tls")));
                        plans.insert(address, None);
                        continue;
                    }
                }
            }
            plans.insert(address, Some(plan));
        }
        (plans, issues)
    }

    fn tls(
        &mut self,
        address: SocketAddr,
        tls: &gateway::ListenerTls,
        resources: &Resources,
    ) -> Result<ListenerTls, Issue> {
        let certificates = match &tls.certificates {
            Some(names) => self.named(names)?,
            None => self.all(resources),
        };
        let (clients, sessions) =
            self.sessions.entry(address).or_insert_with(|| (None, Sessions::new()));
        if *clients != tls.client_certificates {
            clients.clone_from(&tls.client_certificates);
            *sessions = match clients {
                None => Sessions::new(),
                Some(_) => Sessions::of_proven_clients(),
            };
        }
        ListenerTls::build(tls, certificates, sessions)
    }

    fn named(&self, names: &[Name]) -> Result<Certificates, Issue> {
        let find = |(i, name): (usize, &Name)| {
            let id = ResourceId::new(Kind::Certificate, Name::default_name(), name.clone());
            let shown = self.certificates.get(&id).ok_or_else(|| {
                Issue::new(
                    format!("/certificates/{i}"),
                    "certificate_unavailable",
                    format!("this node does not have {id}, or refuses it"),
                )
            })?;
            Ok((Arc::clone(shown), shown.facts.hosts().collect()))
        };
        names.iter().enumerate().map(find).collect()
    }

    /// Those of the tenant `default` first; those of others for the hosts that they own. What is for no host is a
    /// client's, for upstreams.
    fn all(&self, resources: &Resources) -> Certificates {
        let is_default = |id: &ResourceId| id.tenant == Name::default_name();
        let own = self.certificates.iter().filter(|(id, _)| is_default(id));
        let own = own.filter(|(_, shown)| shown.facts.is_for_a_host());
        let own = own.map(|(_, shown)| (Arc::clone(shown), shown.facts.hosts().collect()));
        let of_tenants = self.certificates.iter().filter(|(id, _)| !is_default(id));
        let of_tenants = of_tenants.map(|(id, shown)| {
            let tenant = resources.get(&ResourceId::of_tenant(&id.tenant));
            let owned: &[HostPattern] = match tenant.map(|checked| &checked.spec) {
                Some(Spec::Tenant(tenant)) => &tenant.hosts,
                _ => &[],
            };
            let is_owned = |host: &HostPattern| owned.iter().any(|owned| owned.covers(host));
            (Arc::clone(shown), shown.facts.hosts().filter(is_owned).collect::<Vec<_>>())
        });
        own.chain(of_tenants.filter(|(_, hosts)| !hosts.is_empty())).collect()
    }
}
