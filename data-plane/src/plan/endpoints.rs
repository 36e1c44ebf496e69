//! The endpoints of an upstream in the order of their turns, whether they stand in the configuration or behind names.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::HeaderValue;
use tollgate_model::upstream::{Location, Protocol, Service};
use xxhash_rust::xxh3::xxh3_64;

use crate::upstream::Limit;
use crate::upstream::health::EndpointHealth;
use crate::upstream::names::Named;
use crate::upstream::tls::EndpointTls;

/// A number for address, port and protocol together, never used for another: what connections are
/// pooled by, across plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

/// Gives numbers out, each once. A clone goes on where the other is.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointIds(Arc<AtomicU32>);

impl EndpointIds {
    pub(crate) fn next(&self) -> EndpointId {
        EndpointId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// One server.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What its connections are pooled by.
    pub id: EndpointId,
    /// That of what it stands for in the configuration.
    pub origin: EndpointId,
    /// Where it is.
    pub address: SocketAddr,
    /// `HOST:PORT` as it stands in `host`.
    pub authority: HeaderValue,
    /// What is spoken to it.
    pub protocol: Protocol,
    /// How it is met over TLS; none in the clear.
    pub tls: Option<EndpointTls>,
    /// Its share of the calls against the others', in parts of 720,720.
    pub weight: u32,
    /// Those of a greater number are asked only where all of smaller ones are out: what the configuration says, and
    /// below that the order within a service.
    pub priority: u16,
    /// What makes its scores differ from the others', on every node alike.
    pub hash_seed: u64,
    /// How it is doing, as far as this upstream is concerned.
    pub health: Arc<EndpointHealth>,
    /// The most requests to it that may be under way.
    pub limit: Option<Limit>,
}

/// What stands for one or more endpoints in the configuration.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) id: EndpointId,
    pub(crate) host: Host,
    pub(crate) protocol: Protocol,
    pub(crate) tls: Option<EndpointTls>,
    pub(crate) weight: u16,
    pub(crate) priority: u8,
    pub(crate) most_requests: Option<u32>,
}

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// An address.
    Address(Site),
    /// Each address of a name, at one port.
    Name { name: Box<str>, port: u16, authority: HeaderValue },
    /// The servers of a service.
    Service(Service),
}

/// One server that an origin stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) authority: HeaderValue,
    /// How much of the origin's weight it has, 1 to [`WHOLE`].
    pub(crate) share: u32,
    /// Those of a greater number come after all of smaller ones of the same origin's priority.
    pub(crate) rank: u8,
}

/// All of an origin's weight. What is shared by up to 16 alike comes out even, so that a round stays short.
pub(crate) const WHOLE: u32 = 720_720;

impl Host {
    pub(crate) fn of(location: &Location) -> Self {
        match location {
            Location::Url(url) => {
                let (port, authority) = (url.port(), header_value(&url.authority()));
                match url.host().parse::<IpAddr>() {
                    Ok(address) => Self::Address(Site::alone((address, port).into(), authority)),
                    Err(_name) => Self::Name { name: Box::from(url.host()), port, authority },
                }
            }
            Location::Service(service) => Self::Service(service.clone()),
        }
    }
}

impl Site {
    /// One with all of its origin's weight.
    pub(crate) fn alone(address: SocketAddr, authority: HeaderValue) -> Self {
        Self { address, authority, share: WHOLE, rank: 0 }
    }
}

/// What stands in a `host` field, of an authority that was checked: it is visible ASCII.
pub(crate) fn header_value(authority: &str) -> HeaderValue {
    HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static(""))
}

/// The endpoints of an upstream as they are at one time.
#[derive(Debug, Default)]
pub struct Endpoints {
    /// All of them.
    pub all: Box<[Endpoint]>,
    /// Indices of endpoints by their priority, the first to be asked first; within one, each as often as its
    /// weight says, spread evenly.
    pub tiers: Box<[Box<[u16]>]>,
}

/// Where the endpoints of an upstream come from.
#[derive(Debug)]
pub enum Source {
    /// Addresses in the configuration.
    Fixed(Endpoints),
    /// Names, or names and addresses.
    Named(Arc<Named>),
}

/// The endpoints that a request goes by. They stay what they are until it ends.
pub enum Current<'a> {
    /// Those of the configuration.
    Fixed(&'a Endpoints),
    /// Those that names have now.
    Named(Arc<Endpoints>),
}

impl Deref for Current<'_> {
    type Target = Endpoints;

    fn deref(&self) -> &Endpoints {
        match self {
            Self::Fixed(endpoints) => endpoints,
            Self::Named(endpoints) => endpoints,
        }
    }
}

impl Source {
    /// What is written, in the place of `previous`, of whose endpoints is kept what is known.
    pub(crate) fn build(
        origins: Box<[Origin]>,
        ids: &EndpointIds,
        previous: Option<&Self>,
    ) -> Self {
        let mut fixed = Vec::with_capacity(origins.len());
        for origin in &origins {
            match &origin.host {
                Host::Address(site) => fixed.push((origin, site)),
                Host::Name { .. } | Host::Service(_) => {
                    return Self::Named(Arc::new(Named::new(origins, ids.clone(), previous)));
                }
            }
        }
        let previous = previous.map(Self::current);
        let before = previous.as_ref().map(|endpoints| &*endpoints.all).unwrap_or_default();
        Self::Fixed(Endpoints::build(fixed, ids, before))
    }

    /// The endpoints as they are now.
    #[must_use]
    pub fn current(&self) -> Current<'_> {
        match self {
            Self::Fixed(endpoints) => Current::Fixed(endpoints),
            Self::Named(named) => Current::Named(named.current()),
        }
    }
}

/// The most endpoints of one upstream, over all of its names and services: the first as they are written.
const MOST_ENDPOINTS: usize = 4096;

impl Endpoints {
    /// Endpoints in the place of those before: one that was there goes on with what is known of it.
    pub(crate) fn build<'a>(
        sites: impl IntoIterator<Item = (&'a Origin, &'a Site)>,
        ids: &EndpointIds,
        before: &[Endpoint],
    ) -> Self {
        let known: HashMap<_, &Endpoint> = before
            .iter()
            .map(|known| ((known.origin, known.address, known.authority.as_bytes()), known))
            .collect();
        let build = |(origin, site): (&Origin, &Site)| {
            let key = (origin.id, site.address, site.authority.as_bytes());
            let known = known.get(&key).copied();
            let id = match (known, &origin.host) {
                (Some(known), _) => known.id,
                (None, Host::Address(_)) => origin.id,
                (None, Host::Name { .. } | Host::Service(_)) => ids.next(),
            };
            let health = match known {
                Some(known) => Arc::clone(&known.health),
                // Where all are new, none is newer than the others.
                None if before.is_empty() => Arc::default(),
                None => Arc::new(EndpointHealth::of_newcomer()),
            };
            let limit = Limit::following(
                origin.most_requests,
                known.and_then(|known| known.limit.as_ref()),
            );
            origin.endpoint(site, id, health, limit)
        };
        let all: Box<[Endpoint]> = sites.into_iter().take(MOST_ENDPOINTS).map(build).collect();
        let tiers = tiers(&all);
        Self { all, tiers }
    }
}

impl Origin {
    fn endpoint(
        &self,
        site: &Site,
        id: EndpointId,
        health: Arc<EndpointHealth>,
        limit: Option<Limit>,
    ) -> Endpoint {
        let Site { address, authority, share, rank } = site;
        let hash_seed = match self.host {
            Host::Address(_) => xxh3_64(authority.as_bytes()),
            Host::Name { .. } => xxh3_64(address.to_string().as_bytes()),
            // Two targets may have one address.
            Host::Service(_) => {
                xxh3_64(&[authority.as_bytes(), b" ", address.to_string().as_bytes()].concat())
            }
        };
        Endpoint {
            id,
            origin: self.id,
            address: *address,
            authority: authority.clone(),
            protocol: self.protocol,
            tls: self.tls.clone(),
            weight: u32::from(self.weight).saturating_mul(*share),
            priority: u16::from_be_bytes([self.priority, *rank]),
            hash_seed,
            health,
            limit,
        }
    }
}

/// The longest list of turns; weights beyond it are rounded.
const MAX_TURNS: u32 = 1024;

fn tiers(endpoints: &[Endpoint]) -> Box<[Box<[u16]>]> {
    let mut tiers: BTreeMap<u16, (Vec<u16>, Vec<u32>)> = BTreeMap::new();
    for (index, endpoint) in (0..).zip(endpoints) {
        let (indices, weights) = tiers.entry(endpoint.priority).or_default();
        indices.push(index);
        weights.push(endpoint.weight);
    }
    let in_turn = |(indices, weights): (Vec<u16>, Vec<u32>)| {
        turns(&weights)
            .iter()
            .filter_map(|place| indices.get(usize::from(*place)).copied())
            .collect()
    };
    tiers.into_values().map(in_turn).collect()
}

/// Spreads endpoints over one round by weight: at each step the one that is most behind its share
/// (the smooth weighted round robin of nginx).
fn turns(weights: &[u32]) -> Box<[u16]> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let mut weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let sum: i64 = weights.iter().sum();
    if sum > i64::from(MAX_TURNS) {
        for weight in &mut weights {
            *weight = (*weight * i64::from(MAX_TURNS) / sum).max(1);
        }
    }
    let round: i64 = weights.iter().sum();
    let mut credit = vec![0_i64; weights.len()];
    let mut order = Vec::new();
    for _ in 0..round {
        for (credit, weight) in credit.iter_mut().zip(&weights) {
            *credit += weight;
        }
        let best =
            credit.iter().enumerate().max_by_key(|(i, credit)| (**credit, std::cmp::Reverse(*i)));
        let Some((i, _)) = best else { break };
        if let Some(credit) = credit.get_mut(i) {
            *credit -= round;
        }
        order.push(u16::try_from(i).unwrap_or(0));
    }
    order.into()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::turns;

    #[test]
    fn equal_weights_take_turns() {
        assert_eq!(*turns(&[10, 10, 10]), [0, 1, 2]);
    }

    #[test]
    fn a_round_holds_each_endpoint_by_its_weight_and_spreads_it() {
        assert_eq!(*turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_round_is_bounded_and_leaves_nobody_out() {
        let round = turns(&[1000, 999, 1]);
        assert!(round.len() <= 1026 && round.contains(&2));
    }
}
