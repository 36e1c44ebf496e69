//! One upstream as it is called: its endpoints in the order of their turns, and its bounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tollgate_model::health::{Active, Passive};
use tollgate_model::upstream::{Balance, HashBy, Protocol, Upstream};
use tollgate_model::{ResourceId, Spec};
use xxhash_rust::xxh3::xxh3_64;

use super::configurator::Configurator;
use super::index;
use crate::upstream::health::EndpointHealth;
use crate::upstream::tls::{self, EndpointTls};

/// A number for host, port and protocol together, never used for another: what connections are
/// pooled by, across plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

/// One server.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What its connections are pooled by.
    pub id: EndpointId,
    /// A name or an address.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// `HOST:PORT` as it stands in `host`.
    pub authority: HeaderValue,
    /// What is spoken to it.
    pub protocol: Protocol,
    /// How it is met over TLS; none in the clear.
    pub tls: Option<EndpointTls>,
    /// Its share of the calls against the others'.
    pub weight: u16,
    /// What makes its scores differ from the others', on every node alike.
    pub hash_seed: u64,
    /// How it is doing, as far as this upstream is concerned.
    pub health: Arc<EndpointHealth>,
}

/// An upstream.
#[derive(Debug)]
pub struct UpstreamPlan {
    /// Its own number, never used for another: what its turn is kept by on each core.
    pub number: u32,
    /// At least one.
    pub endpoints: Box<[Endpoint]>,
    /// Indices of endpoints by their priority, the first to be asked first; within one, each as often as its
    /// weight says, spread evenly.
    pub tiers: Box<[Box<[u16]>]>,
    /// How an endpoint is picked.
    pub balance: Balance,
    /// What of a request decides its endpoint, where `balance` asks.
    pub hash_by: HashBy,
    /// What failed calls lead to.
    pub passive: Option<Passive>,
    /// What the node asks by itself.
    pub active: Option<Active>,
    /// Whether an endpoint may be out.
    pub has_health: bool,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// From the request's last byte to the response's head.
    pub first_byte_timeout: Duration,
    /// Between two pieces of a body.
    pub idle_timeout: Duration,
    /// Between two pieces on a connection that switched protocols.
    pub tunnel_timeout: Duration,
    /// The whole exchange.
    pub total_timeout: Option<Duration>,
    /// Attempts after the first.
    pub retry_attempts: u8,
    /// Statuses that are tried again.
    pub retry_statuses: Box<[u16]>,
    /// Retries as a share of requests.
    pub retry_budget: f64,
    /// Whether the endpoint gets the client's host.
    pub preserves_host: bool,
}

/// The longest list of turns; weights beyond it are rounded.
const MAX_TURNS: u32 = 1024;

impl UpstreamPlan {
    /// Builds an upstream in the place of `previous`, of which it keeps how the endpoints are doing.
    pub(crate) fn build(
        spec: &Upstream,
        number: u32,
        previous: Option<&Self>,
        mut endpoint_id: impl FnMut(&str, Protocol) -> EndpointId,
    ) -> Self {
        let mut client = None;
        let build = |endpoint: &tollgate_model::upstream::Endpoint| {
            let authority = endpoint.url.authority();
            let tls = tls::server_name(&spec.tls, &endpoint.url).map(|server_name| {
                let config =
                    Arc::clone(client.get_or_insert_with(|| tls::client(&spec.tls, spec.protocol)));
                EndpointTls { config, server_name }
            });
            let id = match &tls {
                None => endpoint_id(&authority, spec.protocol),
                Some(EndpointTls { server_name, .. }) => {
                    let how = tls::fingerprint(&spec.tls, server_name);
                    endpoint_id(&format!("https://{authority}#{how}"), spec.protocol)
                }
            };
            Endpoint {
                id,
                host: Box::from(endpoint.url.host()),
                port: endpoint.url.port(),
                // A parsed authority is visible ASCII.
                authority: HeaderValue::from_str(&authority)
                    .unwrap_or(HeaderValue::from_static("")),
                protocol: spec.protocol,
                tls,
                weight: endpoint.weight.0,
                hash_seed: xxh3_64(authority.as_bytes()),
                health: health_of(previous, id),
            }
        };
        Self {
            number,
            endpoints: spec.endpoints.iter().map(build).collect(),
            tiers: tiers(&spec.endpoints),
            balance: spec.balance,
            hash_by: spec.hash_by.clone(),
            passive: spec.health.passive,
            active: spec.health.active.clone(),
            has_health: spec.health.passive.is_some() || spec.health.active.is_some(),
            connect_timeout: spec.timeouts.connect.get(),
            first_byte_timeout: spec.timeouts.first_byte.get(),
            idle_timeout: spec.timeouts.idle.get(),
            tunnel_timeout: spec.timeouts.tunnel.get(),
            total_timeout: spec.timeouts.total.map(tollgate_model::units::Span::get),
            retry_attempts: spec.retry.attempts,
            retry_statuses: spec.retry.statuses.as_slice().into(),
            retry_budget: spec.retry.budget,
            preserves_host: spec.preserve_host,
        }
    }
}

impl Configurator {
    pub(super) fn place_upstream(&mut self, id: &ResourceId) {
        let Some(checked) = self.resources.get(id).cloned() else {
            if let Some(slot) = self.upstream_slots.remove(id) {
                self.free_upstreams.push(slot);
                self.plan.check_no_longer(slot);
            }
            return;
        };
        let Spec::Upstream(spec) = &checked.spec else { return };
        let known = self.upstream_slots.get(id).copied();
        let number = known
            .and_then(|slot| self.plan.upstream(slot).map(|upstream| upstream.number))
            .unwrap_or_else(|| self.take_number());
        let ids = &mut self.endpoint_ids;
        let previous = known.and_then(|slot| self.plan.upstream(slot).cloned());
        let plan = Arc::new(UpstreamPlan::build(
            spec,
            number,
            previous.as_deref(),
            |authority, protocol| {
                let next = EndpointId(u32::try_from(ids.len()).unwrap_or(u32::MAX));
                *ids.entry((Box::from(authority), protocol)).or_insert(next)
            },
        ));
        self.plan.check_upstream(number, &plan);
        let slot = known.or_else(|| self.free_upstreams.pop());
        match slot {
            Some(slot) => {
                self.plan.upstreams.set_mut(index(slot), plan);
                self.upstream_slots.insert(id.clone(), slot);
            }
            None => {
                let slot = u32::try_from(self.plan.upstreams.len()).unwrap_or(u32::MAX);
                self.plan.upstreams.push_back_mut(plan);
                self.upstream_slots.insert(id.clone(), slot);
            }
        }
    }
}

fn health_of(previous: Option<&UpstreamPlan>, id: EndpointId) -> Arc<EndpointHealth> {
    previous
        .and_then(|previous| previous.endpoints.iter().find(|endpoint| endpoint.id == id))
        .map_or_else(Arc::default, |endpoint| Arc::clone(&endpoint.health))
}

fn tiers(endpoints: &[tollgate_model::upstream::Endpoint]) -> Box<[Box<[u16]>]> {
    let mut tiers: BTreeMap<u8, (Vec<u16>, Vec<u32>)> = BTreeMap::new();
    for (index, endpoint) in (0..).zip(endpoints) {
        let (indices, weights) = tiers.entry(endpoint.priority).or_default();
        indices.push(index);
        weights.push(u32::from(endpoint.weight.0));
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
