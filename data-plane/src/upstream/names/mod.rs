//! What names and services stand for: looked up on the control runtime, and again when an answer is no longer good.
//!
//! Where there is no new answer, the last one is kept. A request reads what is held; it waits only where there was no
//! answer yet.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::plan::{Endpoint, EndpointId, EndpointIds, Endpoints, Host, Origin, Site, Source};

// Again and again, for as long as an upstream is there.
mod follow;
// Questions and answers.
mod lookup;
// The servers of a service.
mod service;

use follow::Place;
use lookup::Lookup;
pub use lookup::{Lookups, Resolver};
use service::Server;

/// The most addresses of one name that are used: the smallest.
const MOST_ADDRESSES: usize = 64;

/// Looks names up for as long as an upstream needs them.
#[derive(Clone)]
pub struct Names {
    control: Handle,
    lookup: Arc<Lookup>,
}

/// The endpoints of an upstream that names some of them.
#[derive(Debug)]
pub struct Named {
    origins: Box<[Origin]>,
    ids: EndpointIds,
    current: ArcSwap<Endpoints>,
    /// Of each origin. Never locked by a request.
    answers: Mutex<Box<[Answer]>>,
    /// Whether each name has been asked for.
    is_known: watch::Sender<bool>,
}

#[derive(Clone, Debug, Default)]
struct Answer {
    /// In an order of their own, whatever that of the answer was.
    sites: Box<[Site]>,
    is_asked: bool,
}

/// What was found.
#[derive(Debug)]
enum Heard {
    /// Of a name.
    Addresses(Vec<IpAddr>),
    /// Of a service.
    Servers(Vec<Server>),
}

impl Names {
    /// By the configuration of the system: `/etc/hosts` and `/etc/resolv.conf`. Questions are asked on `control`.
    #[must_use]
    pub fn of_system(control: Handle) -> Self {
        Self::with(Resolver::System, control)
    }

    /// By another one.
    #[must_use]
    pub fn with(resolver: Resolver, control: Handle) -> Self {
        Self { control, lookup: Arc::new(Lookup::new(resolver)) }
    }

    /// How much was asked so far.
    #[must_use]
    pub fn lookups(&self) -> Lookups {
        self.lookup.lookups()
    }

    /// Keeps what an upstream's names stand for up to date until it is gone.
    pub(crate) fn follow(&self, named: &Arc<Named>) {
        for (index, origin) in named.origins.iter().enumerate() {
            if let Some(place) = Place::of(named, index, &origin.host) {
                self.control.spawn(place.follow(Arc::clone(&self.lookup)));
            }
        }
    }
}

impl Named {
    /// In the place of `previous`, of which is kept what is known.
    pub(crate) fn new(origins: Box<[Origin]>, ids: EndpointIds, previous: Option<&Source>) -> Self {
        let mut earlier = match previous {
            Some(Source::Named(previous)) => previous.answers(),
            Some(Source::Fixed(_)) | None => HashMap::new(),
        };
        let mut answer = |origin: &Origin| match &origin.host {
            Host::Address(site) => Answer { sites: Box::from([site.clone()]), is_asked: true },
            Host::Name { .. } | Host::Service(_) => earlier
                .remove(&origin.id)
                .filter(|answer| !answer.sites.is_empty())
                .unwrap_or_default(),
        };
        let answers: Box<[Answer]> = origins.iter().map(&mut answer).collect();
        let before = previous.map(Source::current);
        let before = before.as_ref().map(|endpoints| &*endpoints.all).unwrap_or_default();
        let current = build(&origins, &answers, &ids, before);
        let is_known = answers.iter().all(|answer| answer.is_asked);
        Self {
            origins,
            ids,
            current: ArcSwap::from_pointee(current),
            answers: Mutex::new(answers),
            is_known: watch::Sender::new(is_known),
        }
    }

    /// The endpoints as they are now.
    #[must_use]
    pub fn current(&self) -> Arc<Endpoints> {
        self.current.load_full()
    }

    /// Waits until each name has been asked for, however that ended.
    pub(super) async fn known(&self) {
        // It can fail only where the sender is gone, which is held here.
        let _ = self.is_known.subscribe().wait_for(|is_known| *is_known).await;
    }

    /// What is known, by origin.
    fn answers(&self) -> HashMap<EndpointId, Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        self.origins.iter().map(|origin| origin.id).zip(answers.iter().cloned()).collect()
    }

    /// Takes in how a question ended; none: what was known before is still good.
    fn answered(&self, index: usize, heard: Option<&Heard>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((origin, answer)) = self.origins.get(index).zip(answers.get_mut(index)) else {
            return;
        };
        answer.is_asked = true;
        let sites = heard.and_then(|heard| heard.sites(origin, &answer.sites));
        if let Some(sites) = sites
            && *answer.sites != *sites
        {
            answer.sites = sites.into();
            let before = self.current();
            let next = build(&self.origins, &answers, &self.ids, &before.all);
            self.current.store(Arc::new(next));
        }
        if answers.iter().all(|answer| answer.is_asked) {
            self.is_known.send_replace(true);
        }
    }
}

impl Heard {
    /// The sites of an origin, which had those before; none where these stay.
    fn sites(&self, origin: &Origin, before: &[Site]) -> Option<Vec<Site>> {
        match (self, &origin.host) {
            (Self::Addresses(addresses), Host::Name { port, authority, .. }) => {
                let site = |address: IpAddr| {
                    Site::alone(SocketAddr::new(address, *port), authority.clone())
                };
                Some(usable(addresses.clone()).into_iter().map(site).collect())
            }
            (Self::Servers(servers), Host::Service(service)) => {
                let sites = service::sites(servers, service.scheme, before);
                // Where it has targets and none of them is anywhere, the last known ones are better than none.
                (servers.is_empty() || !sites.is_empty()).then_some(sites)
            }
            (Self::Addresses(_) | Self::Servers(_), _) => None,
        }
    }
}

/// The addresses of one name, in an order that does not depend on the answer's, which is another one each time.
fn usable(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MOST_ADDRESSES);
    addresses
}

fn build(
    origins: &[Origin],
    answers: &[Answer],
    ids: &EndpointIds,
    before: &[Endpoint],
) -> Endpoints {
    let sites = origins
        .iter()
        .zip(answers)
        .flat_map(|(origin, answer)| answer.sites.iter().map(move |site| (origin, site)));
    Endpoints::build(sites, ids, before)
}

#[cfg(test)]
mod tests;
