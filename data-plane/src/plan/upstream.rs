//! One upstream as it is called: its endpoints in the order of their turns, and its bounds.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tollgate_model::upstream::{Balance, Protocol, Upstream};

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
}

/// An upstream.
#[derive(Debug)]
pub struct UpstreamPlan {
    /// Its own number, never used for another: what its turn is kept by on each core.
    pub number: u32,
    /// At least one.
    pub endpoints: Box<[Endpoint]>,
    /// Indices of endpoints, each as often as its weight says, spread evenly.
    pub turns: Box<[u16]>,
    /// How an endpoint is picked.
    pub balance: Balance,
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
    /// Retries as a share of requests.
    pub retry_budget: f64,
    /// Whether the endpoint gets the client's host.
    pub preserves_host: bool,
}

/// The longest list of turns; weights beyond it are rounded.
const MAX_TURNS: u32 = 1024;

impl UpstreamPlan {
    pub(super) fn build(
        spec: &Upstream,
        number: u32,
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
            }
        };
        let weights: Vec<u32> = spec.endpoints.iter().map(|e| u32::from(e.weight.0)).collect();
        Self {
            number,
            endpoints: spec.endpoints.iter().map(build).collect(),
            turns: turns(&weights),
            balance: spec.balance,
            connect_timeout: spec.timeouts.connect.get(),
            first_byte_timeout: spec.timeouts.first_byte.get(),
            idle_timeout: spec.timeouts.idle.get(),
            tunnel_timeout: spec.timeouts.tunnel.get(),
            total_timeout: spec.timeouts.total.map(tollgate_model::units::Span::get),
            retry_attempts: spec.retry.attempts,
            retry_budget: spec.retry.budget,
            preserves_host: spec.preserve_host,
        }
    }
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
