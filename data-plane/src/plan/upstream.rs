//! One upstream as it is called: its endpoints in the order of their turns, and its bounds.

use std::sync::Arc;
use std::time::Duration;

use tollgate_model::health::{Active, Passive};
use tollgate_model::upstream::{Balance, HashBy, Location, Protocol, RetryOn, Upstream};
use tollgate_model::{Kind, Name, ResourceId, Spec};

use super::configurator::Configurator;
use super::endpoints::{EndpointId, EndpointIds, Host, Origin, Source};
use super::index;
use crate::tls::Shown;
use crate::upstream::names::Names;
use crate::upstream::tls::{self, EndpointTls};
use crate::upstream::{Breaker, Credentials, Limit, Maker, Tokens};

/// An upstream.
#[derive(Debug)]
pub struct UpstreamPlan {
    /// Its own number, never used for another: what its turn is kept by on each core.
    pub number: u32,
    /// What people know it by.
    pub name: Box<str>,
    /// Its endpoints.
    pub endpoints: Source,
    /// Whether it has none because this node does not have, or refuses, what it is to be shown: its certificate, or the
    /// secrets of its credentials.
    pub is_closed: bool,
    /// What it is told of who calls.
    pub credentials: Option<Arc<Credentials>>,
    /// How an endpoint is picked.
    pub balance: Balance,
    /// What of a request decides its endpoint, where `balance` asks.
    pub hash_by: HashBy,
    /// Over how long the share of an endpoint rises that is new or well again.
    pub slow_start: Option<Duration>,
    /// What failed calls lead to.
    pub passive: Option<Passive>,
    /// What the node asks by itself.
    pub active: Option<Active>,
    /// Whether an endpoint may be out.
    pub has_health: bool,
    /// The most requests that may be under way.
    pub limit: Option<Limit>,
    /// What leaves it alone while its calls fail.
    pub breaker: Option<Arc<Breaker>>,
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
    /// One attempt.
    pub attempt_timeout: Option<Duration>,
    /// Attempts after the first.
    pub retry_attempts: u8,
    /// Failures that are followed by another attempt.
    pub retry_on: Box<[RetryOn]>,
    /// Statuses that are tried again.
    pub retry_statuses: Box<[u16]>,
    /// Retries as a share of requests.
    pub retry_budget: f64,
    /// Whether the endpoint gets the client's host.
    pub preserves_host: bool,
}

/// Which upstream it is.
pub(crate) struct Own {
    pub(crate) number: u32,
    pub(crate) name: Box<str>,
    /// Where endpoints behind names get their numbers.
    pub(crate) ids: EndpointIds,
    /// What it shows its endpoints.
    pub(crate) shown: Option<Arc<Shown>>,
    /// What it tells them of who calls.
    pub(crate) credentials: Option<Arc<Credentials>>,
}

impl UpstreamPlan {
    /// Builds an upstream in the place of `previous`, of which it keeps how the endpoints are doing and what is under
    /// way.
    pub(crate) fn build(
        spec: &Upstream,
        own: Own,
        previous: Option<&Self>,
        mut endpoint_id: impl FnMut(&str, Protocol) -> EndpointId,
    ) -> Self {
        let Own { number, name, ids, shown, credentials } = own;
        let shown = shown.as_deref();
        let mut client = None;
        let origin = |endpoint: &tollgate_model::upstream::Endpoint| {
            let location = &endpoint.location;
            let tls = tls::server_name(&spec.tls, location).map(|server_name| {
                let config = Arc::clone(
                    client.get_or_insert_with(|| tls::client(&spec.tls, spec.protocol, shown)),
                );
                EndpointTls { config, server_name }
            });
            let place = match location {
                Location::Url(url) => url.authority(),
                // No authority has this form: its port is a number.
                Location::Service(service) => format!("srv:{}", service.name),
            };
            let id = match &tls {
                None => endpoint_id(&place, spec.protocol),
                Some(EndpointTls { server_name, .. }) => {
                    let how = tls::fingerprint(&spec.tls, server_name, shown);
                    endpoint_id(&format!("https://{place}#{how}"), spec.protocol)
                }
            };
            Origin {
                id,
                host: Host::of(location),
                protocol: spec.protocol,
                tls,
                weight: endpoint.weight.0,
                priority: endpoint.priority,
                most_requests: spec.limits.endpoint_requests,
            }
        };
        let is_closed = (spec.tls.certificate.is_some() && shown.is_none())
            || (spec.credentials.is_some() && credentials.is_none());
        let origins = if is_closed {
            // Without them the endpoints would take the node for somebody else: closed, not open.
            Box::default()
        } else {
            spec.endpoints.iter().map(origin).collect()
        };
        let earlier = previous.map(|previous| &previous.endpoints);
        Self {
            number,
            name,
            endpoints: Source::build(origins, &ids, earlier),
            is_closed,
            credentials,
            balance: spec.balance,
            hash_by: spec.hash_by.clone(),
            slow_start: spec.slow_start.map(tollgate_model::units::Span::get),
            passive: spec.health.passive,
            active: spec.health.active.clone(),
            has_health: spec.health.passive.is_some() || spec.health.active.is_some(),
            limit: Limit::following(
                spec.limits.requests,
                previous.and_then(|previous| previous.limit.as_ref()),
            ),
            breaker: spec.breaker.map(|breaker| breaker_of(previous, breaker)),
            connect_timeout: spec.timeouts.connect.get(),
            first_byte_timeout: spec.timeouts.first_byte.get(),
            idle_timeout: spec.timeouts.idle.get(),
            tunnel_timeout: spec.timeouts.tunnel.get(),
            total_timeout: spec.timeouts.total.map(tollgate_model::units::Span::get),
            attempt_timeout: spec.timeouts.attempt.map(tollgate_model::units::Span::get),
            retry_attempts: spec.retry.attempts,
            retry_on: spec.retry.on.as_slice().into(),
            retry_statuses: spec.retry.statuses.as_slice().into(),
            retry_budget: spec.retry.budget,
            preserves_host: spec.preserve_host,
        }
    }
}

impl UpstreamPlan {
    /// How long an answer's head may take from the request's last byte on.
    pub(crate) fn head_timeout(&self) -> Duration {
        self.within_attempt(self.first_byte_timeout)
    }

    /// A bound that is not longer than an attempt's.
    pub(crate) fn within_attempt(&self, timeout: Duration) -> Duration {
        self.attempt_timeout.map_or(timeout, |attempt| attempt.min(timeout))
    }
}

impl Configurator {
    /// Where the addresses of names are found. Without it, an endpoint that is named is nowhere.
    pub fn set_names(&mut self, names: Names) {
        self.names = Some(names);
    }

    /// Where tokens for upstreams are fetched. Without it, an upstream that needs one is closed.
    pub fn set_tokens(&mut self, tokens: Tokens) {
        self.tokens = Some(tokens);
    }

    /// What an upstream is told of who calls; none also where it cannot be made.
    fn credentials_of(
        &self,
        id: &ResourceId,
        spec: &Upstream,
        previous: Option<&UpstreamPlan>,
    ) -> Option<Arc<Credentials>> {
        let upstream = format!("{}/{}", id.tenant, id.name);
        let maker = Maker {
            tokens: self.tokens.as_ref(),
            previous: previous.and_then(|previous| previous.credentials.as_ref()),
            upstream: &upstream,
        };
        let secret = |name: &Name| self.plan.secret(&id.tenant, name);
        let made = Credentials::make(spec.credentials.as_ref()?, secret, &maker);
        if made.is_none() {
            tracing::warn!(
                upstream,
                "an upstream is closed: a secret of its credentials is not there, or cannot stand in a header field"
            );
        }
        made
    }

    pub(super) fn place_upstream(&mut self, id: &ResourceId) {
        let Some(checked) = self.resources.get(id).cloned() else {
            if let Some(slot) = self.plan.upstream_slots.get(id).copied() {
                self.plan.upstream_slots.remove_mut(id);
                self.free_upstreams.push(slot);
                self.plan.check_no_longer(slot);
                // What it held goes at once, not when the slot is next used.
                self.plan.upstreams.set_mut(index(slot), None);
            }
            return;
        };
        let Spec::Upstream(spec) = &checked.spec else { return };
        let known = self.plan.upstream_slots.get(id).copied();
        let number = known
            .and_then(|slot| self.plan.upstream(slot).map(|upstream| upstream.number))
            .unwrap_or_else(|| self.take_number());
        let previous = known.and_then(|slot| self.plan.upstream(slot).cloned());
        let shown = spec.tls.certificate.as_ref().and_then(|name| {
            let id = ResourceId::new(Kind::Certificate, id.tenant.clone(), name.clone());
            self.listening.shown(&id).cloned()
        });
        let credentials = self.credentials_of(id, spec, previous.as_deref());
        let (ids, fresh) = (&mut self.endpoint_ids, self.fresh_endpoint_ids.clone());
        let own = Own {
            number,
            name: format!("{}/{}", id.tenant, id.name).into(),
            ids: fresh.clone(),
            shown,
            credentials,
        };
        let plan =
            Arc::new(UpstreamPlan::build(spec, own, previous.as_deref(), |authority, protocol| {
                *ids.entry((Box::from(authority), protocol)).or_insert_with(|| fresh.next())
            }));
        if let (Some(names), Source::Named(named)) = (&self.names, &plan.endpoints) {
            names.follow(named);
        }
        self.plan.check_upstream(number, &plan);
        let slot = known.or_else(|| self.free_upstreams.pop());
        match slot {
            Some(slot) => {
                self.plan.upstreams.set_mut(index(slot), Some(plan));
                self.plan.upstream_slots.insert_mut(id.clone(), slot);
            }
            None => {
                let slot = u32::try_from(self.plan.upstreams.len()).unwrap_or(u32::MAX);
                self.plan.upstreams.push_back_mut(Some(plan));
                self.plan.upstream_slots.insert_mut(id.clone(), slot);
            }
        }
    }
}

/// One that is changed begins anew.
fn breaker_of(
    previous: Option<&UpstreamPlan>,
    spec: tollgate_model::upstream::Breaker,
) -> Arc<Breaker> {
    let previous = previous.and_then(|previous| previous.breaker.as_ref());
    match previous {
        Some(breaker) if *breaker.spec() == spec => Arc::clone(breaker),
        _ => Arc::new(Breaker::new(spec)),
    }
}
