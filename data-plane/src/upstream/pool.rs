//! Kept connections of one core to its endpoints, and what the core knows of them: requests under
//! way, turns, retries that may still be made. Keyed by numbers that outlive a plan.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use tokio::time::Instant;

use super::OutgoingBody;
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
    /// The endpoint's name, in memory of this core alone.
    authority: HeaderValue,
}

struct Idle {
    sender: http1::SendRequest<OutgoingBody>,
    since: Instant,
}

struct UpstreamState {
    cursor: usize,
    retries: f64,
}

/// The sending half of a connection.
pub(super) enum Sender {
    Http1(http1::SendRequest<OutgoingBody>),
    Http2(http2::SendRequest<OutgoingBody>),
}

/// A connection while a request has it.
pub struct Lease {
    sender: Sender,
    pool: Rc<EndpointPool>,
    turn: Option<Turn>,
}

/// A request under way at an endpoint; ends when it is dropped.
pub struct Turn(Rc<EndpointPool>);

/// Why a request was not answered, with the request where no byte of it was sent.
pub(super) struct SendError {
    pub(super) request: Option<Request<OutgoingBody>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
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
                authority: authority.unwrap_or(HeaderValue::from_static("")),
            })
        });
        Rc::clone(pool)
    }

    /// Where an upstream's turn stands, which moves on by one.
    pub(super) fn next_turn(&self, upstream: &UpstreamPlan, turns: usize) -> usize {
        self.with_upstream(upstream, |state| {
            let turn = state.cursor % turns.max(1);
            state.cursor = turn + 1;
            turn
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

    fn with_upstream<T>(
        &self,
        upstream: &UpstreamPlan,
        f: impl FnOnce(&mut UpstreamState) -> T,
    ) -> T {
        let mut upstreams = self.upstreams.borrow_mut();
        let state = upstreams.entry(upstream.number).or_insert_with(|| UpstreamState {
            cursor: 0,
            retries: if upstream.retry_budget > 0.0 { RETRY_BURST } else { 0.0 },
        });
        f(state)
    }

    /// Closes what was kept for too long, and forgets endpoints that have nothing any more.
    pub fn sweep(&self, now: Instant) {
        let mut endpoints = self.endpoints.borrow_mut();
        endpoints.retain(|_, pool| {
            pool.idle
                .borrow_mut()
                .retain(|idle| !idle.sender.is_closed() && now - idle.since < IDLE_LIMIT);
            let mut shared = pool.shared.borrow_mut();
            if shared.as_ref().is_some_and(http2::SendRequest::is_closed) {
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

    /// Counts a request as under way.
    pub(super) fn begin(self: &Rc<Self>) -> Turn {
        self.active.set(self.active.get() + 1);
        Turn(Rc::clone(self))
    }

    /// A kept connection that is ready.
    pub(super) fn take(self: &Rc<Self>) -> Option<Lease> {
        let shared = self.shared.borrow().as_ref().filter(|sender| sender.is_ready()).cloned();
        if let Some(sender) = shared {
            return Some(self.lease(Sender::Http2(sender)));
        }
        loop {
            // The newest first: the others may grow old and be closed.
            let idle = self.idle.borrow_mut().pop()?;
            if idle.sender.is_ready() {
                return Some(self.lease(Sender::Http1(idle.sender)));
            }
            // Closed, or the end of its last answer is not yet read: neither is worth waiting for.
        }
    }

    /// A new connection.
    pub(super) fn open(self: &Rc<Self>, sender: Sender) -> Lease {
        if let Sender::Http2(sender) = &sender {
            *self.shared.borrow_mut() = Some(sender.clone());
        }
        self.lease(sender)
    }

    fn lease(self: &Rc<Self>, sender: Sender) -> Lease {
        Lease { sender, pool: Rc::clone(self), turn: None }
    }
}

impl Lease {
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<OutgoingBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let sent = match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut error| {
            tracing::debug!(error = %error.error(), "send a request to an endpoint");
            SendError { request: error.take_message() }
        })
    }

    /// Keeps the request counted as under way until the lease ends.
    pub(super) fn hold(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }

    /// Gives the connection back: the answer was read to its end.
    pub fn give_back(self, now: Instant) {
        let Self { sender, pool, turn } = self;
        drop(turn);
        if let Sender::Http1(sender) = sender {
            let mut idle = pool.idle.borrow_mut();
            if !sender.is_closed() && idle.len() < MAX_IDLE {
                idle.push(Idle { sender, since: now });
            }
        }
    }
}
