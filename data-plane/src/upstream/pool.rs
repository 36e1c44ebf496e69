//! Kept connections of one core to its endpoints, and what the core knows of them: requests under
//! way, turns, retries that may still be made. Keyed by numbers that outlive a plan.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use hyper::client::conn::http2;
use tokio::time::Instant;

use super::balance::Ewma;
use super::credentials::Field;
use super::limit::Place;
use super::{OutgoingBody, http1};
use crate::plan::{Endpoint, EndpointId, UpstreamPlan};

/// Kept connections that nobody used for this long are closed.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Kept connections of one endpoint on one core.
const MAX_IDLE: usize = 256;
/// Retries that may come at once, whatever the budget.
const RETRY_BURST: f64 = 10.0;

type Numbered<V> = RefCell<HashMap<u32, V, foldhash::fast::FixedState>>;

/// Connections of one core to all endpoints.
#[derive(Default)]
pub struct Pool {
    endpoints: Numbered<Rc<EndpointPool>>,
    upstreams: Numbered<UpstreamState>,
}

/// Kept connections of one core to one endpoint.
pub(super) struct EndpointPool {
    idle: RefCell<Vec<Idle>>,
    /// The one connection that all requests of HTTP/2 share.
    shared: RefCell<Option<http2::SendRequest<OutgoingBody>>>,
    active: Cell<u32>,
    /// The first sweep that found nothing under way.
    quiet_since: Cell<Option<Instant>>,
    /// How fast it answers; kept up where requests go by that.
    ewma: Ewma,
    /// The endpoint's name, in memory of this core alone.
    authority: HeaderValue,
}

struct Idle {
    connection: Box<http1::Connection>,
    /// The first sweep that found it here.
    since: Option<Instant>,
}

struct UpstreamState {
    cursor: usize,
    retries: f64,
    /// What it is told of who calls, in memory of this core alone.
    told: Option<Told>,
}

struct Told {
    field: Field,
    /// Since the last sweep.
    is_used: bool,
}

/// A connection that a request can be sent over.
pub(super) enum Connection {
    Http1(Box<http1::Connection>),
    Http2(http2::SendRequest<OutgoingBody>),
}

/// A request under way at an endpoint; ends when it is dropped.
pub struct Turn {
    pool: Rc<EndpointPool>,
    /// What it takes of the endpoint's bound.
    _of_endpoint: Option<Place>,
    /// What it takes of the upstream's bound.
    of_upstream: Option<Place>,
}

impl Turn {
    /// Lets go of the upstream's bound only when the request ends.
    pub(super) fn hold(&mut self, of_upstream: Option<Place>) {
        self.of_upstream = of_upstream;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pool.active.set(self.pool.active.get().saturating_sub(1));
    }
}

impl Pool {
    /// What the core has of an endpoint. Looked up once a request: each look-up is a hash.
    pub(super) fn endpoint(&self, endpoint: &Endpoint) -> Rc<EndpointPool> {
        let EndpointId(number) = endpoint.id;
        let mut endpoints = self.endpoints.borrow_mut();
        let pool = endpoints.entry(number).or_insert_with(|| {
            let authority = HeaderValue::from_bytes(endpoint.authority.as_bytes());
            Rc::new(EndpointPool {
                idle: RefCell::default(),
                shared: RefCell::default(),
                active: Cell::new(0),
                quiet_since: Cell::new(None),
                ewma: Ewma::default(),
                authority: authority.unwrap_or(HeaderValue::from_static("")),
            })
        });
        Rc::clone(pool)
    }

    /// Where an upstream's turn stands, which moves on by one.
    pub(super) fn next_turn(&self, upstream: &UpstreamPlan) -> usize {
        self.with_upstream(upstream, |state| {
            state.cursor = state.cursor.wrapping_add(1);
            state.cursor
        })
    }

    /// A request earns its share of a retry.
    pub(super) fn earn_retry(&self, upstream: &UpstreamPlan) {
        self.with_upstream(upstream, |state| {
            state.retries = (state.retries + upstream.retry_budget).min(RETRY_BURST);
        });
    }

    /// Takes one retry out of the budget, if there is one.
    pub(super) fn spend_retry(&self, upstream: &UpstreamPlan) -> bool {
        self.with_upstream(upstream, |state| {
            let is_there = state.retries >= 1.0;
            if is_there {
                state.retries -= 1.0;
            }
            is_there
        })
    }

    /// Tells an upstream who calls.
    pub(super) fn tell(&self, upstream: &UpstreamPlan, field: &Field, headers: &mut HeaderMap) {
        self.with_upstream(upstream, |state| {
            if state.told.as_ref().is_none_or(|told| told.field.number() != field.number()) {
                state.told = Some(Told { field: field.copy(), is_used: true });
            }
            if let Some(told) = &mut state.told {
                told.is_used = true;
                told.field.write(headers);
            }
        });
    }

    fn with_upstream<T>(
        &self,
        upstream: &UpstreamPlan,
        f: impl FnOnce(&mut UpstreamState) -> T,
    ) -> T {
        let mut upstreams = self.upstreams.borrow_mut();
        let state = upstreams.entry(upstream.number).or_insert_with(|| UpstreamState {
            cursor: 0,
            retries: if upstream.retry_budget > 0.0 { RETRY_BURST } else { 0.0 },
            told: None,
        });
        f(state)
    }

    /// Closes what was kept for too long, and forgets endpoints that have nothing any more, and what nobody was told
    /// since the last sweep.
    pub fn sweep(&self, now: Instant) {
        for state in self.upstreams.borrow_mut().values_mut() {
            state.told.take_if(|told| !std::mem::take(&mut told.is_used));
        }
        let mut endpoints = self.endpoints.borrow_mut();
        endpoints.retain(|_, pool| {
            pool.idle.borrow_mut().retain_mut(|idle| {
                let since = *idle.since.get_or_insert(now);
                now - since < IDLE_LIMIT && idle.connection.is_open()
            });
            let mut shared = pool.shared.borrow_mut();
            let is_closed = shared.as_ref().is_some_and(http2::SendRequest::is_closed);
            if is_closed || pool.is_quiet_for_long(now) {
                *shared = None;
            }
            Rc::strong_count(pool) > 1 || shared.is_some() || !pool.idle.borrow().is_empty()
        });
    }
}

impl EndpointPool {
    /// The endpoint's name for `host`.
    pub(super) fn authority(&self) -> HeaderValue {
        self.authority.clone()
    }

    /// Requests of this core under way.
    pub(super) fn active(&self) -> u32 {
        self.active.get()
    }

    /// How long a request would take, by what was and is: in no unit, to be compared.
    pub(super) fn load(&self) -> f64 {
        self.ewma.load(self.active(), Instant::now())
    }

    /// Takes in how long a request took to the head of its answer.
    pub(super) fn took(&self, elapsed: Duration) {
        self.ewma.observe(elapsed, Instant::now());
    }

    /// Counts a request as under way.
    pub(super) fn begin(self: &Rc<Self>, of_endpoint: Option<Place>) -> Turn {
        self.active.set(self.active.get() + 1);
        self.quiet_since.set(None);
        Turn { pool: Rc::clone(self), _of_endpoint: of_endpoint, of_upstream: None }
    }

    /// Whether nobody has used it for as long as a connection is kept.
    fn is_quiet_for_long(&self, now: Instant) -> bool {
        if self.active.get() > 0 {
            return false;
        }
        let since = self.quiet_since.get().unwrap_or(now);
        self.quiet_since.set(Some(since));
        now - since >= IDLE_LIMIT
    }

    /// A kept connection that is ready.
    pub(super) fn take(&self) -> Option<Connection> {
        let shared = self.shared.borrow().as_ref().filter(|sender| sender.is_ready()).cloned();
        if let Some(sender) = shared {
            return Some(Connection::Http2(sender));
        }
        loop {
            // The newest first: the others may grow old and be closed.
            let mut idle = self.idle.borrow_mut().pop()?;
            if idle.connection.is_open() {
                return Some(Connection::Http1(idle.connection));
            }
        }
    }

    /// Lets all requests share a connection.
    pub(super) fn share(&self, sender: http2::SendRequest<OutgoingBody>) {
        *self.shared.borrow_mut() = Some(sender);
    }

    /// Keeps a connection for the next request: the answer was read to its end.
    pub(super) fn keep(&self, connection: Box<http1::Connection>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { connection, since: None });
        }
    }
}
