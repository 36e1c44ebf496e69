//! Bounds in time, kept by one look at all connections of a core every so often: no timer is set
//! for a request.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;
use tollgate_model::gateway::Limits;

use crate::core::Core;
use crate::framing::{Position, Watch};

/// How often connections are looked at: the resolution of their bounds in time.
pub const SWEEP: Duration = Duration::from_millis(250);

/// The open connections of one core.
#[derive(Default)]
pub struct Connections(RefCell<Slab<Entry>>);

struct Entry {
    state: Arc<State>,
    seen: Seen,
}

/// What the last change was, as far as sweeps have seen.
#[derive(Clone, Copy)]
struct Seen {
    since: Instant,
    position: Option<Position>,
    requests: u64,
    exchanges: u64,
}

/// What the sweep knows of a connection, and says to it. Only its own core writes it: the atomics
/// are there because hyper wants a stream that is `Send`, and cost no more than plain memory.
#[derive(Debug)]
pub(super) struct State {
    watch: Option<Watch>,
    under_way: AtomicU32,
    exchanges: AtomicU64,
    order: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on.
    Stay,
    /// Finish what is under way, take nothing new.
    Finish,
    /// Its head took too long.
    TooSlow,
}

/// A connection's place among the others; left when it is dropped.
pub(super) struct Entered {
    core: Rc<Core>,
    key: usize,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.core.connections.0.borrow_mut().try_remove(self.key);
    }
}

impl Connections {
    /// Puts a connection among those that are looked at.
    pub(super) fn enter(&self, core: &Rc<Core>, state: Arc<State>) -> Entered {
        let since = core.coarse_now.get();
        let seen = Seen { since, position: None, requests: 0, exchanges: 0 };
        let key = self.0.borrow_mut().insert(Entry { state, seen });
        Entered { core: Rc::clone(core), key }
    }

    /// Looks at every connection: ends the idle and the slow, and all of them when the node drains.
    pub fn sweep(&self, now: Instant, limits: &Limits, is_draining: bool) {
        for (_, entry) in &mut *self.0.borrow_mut() {
            entry.sweep(now, limits, is_draining);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }
}

impl Entry {
    fn sweep(&mut self, now: Instant, limits: &Limits, is_draining: bool) {
        let state = &self.state;
        let position = state.watch.as_ref().map(Watch::position);
        let requests = state.watch.as_ref().map_or(0, Watch::requests);
        let exchanges = state.exchanges.load(Ordering::Relaxed);
        let is_same = self.seen.position == position
            && self.seen.requests == requests
            && self.seen.exchanges == exchanges;
        let is_busy = state.is_busy();
        let since = if is_same && !is_busy { self.seen.since } else { now };
        self.seen = Seen { since, position, requests, exchanges };
        let age = now - since;
        if is_draining {
            state.tell(Order::Finish);
        } else if is_busy {
            // Bounded by the exchange's own limits.
        } else if position == Some(Position::InHead) {
            if age > limits.head_time.get() {
                state.tell(Order::TooSlow);
            }
        } else if age > limits.idle_time.get() {
            state.tell(Order::Finish);
        }
    }
}

impl State {
    pub(super) fn new(watch: Option<Watch>) -> Arc<Self> {
        Arc::new(Self {
            watch,
            under_way: AtomicU32::new(0),
            exchanges: AtomicU64::new(0),
            order: AtomicU8::new(0),
            waker: Mutex::new(None),
        })
    }

    /// Whether an exchange is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// What was told last.
    pub(super) fn current_order(&self) -> Order {
        match self.order.load(Ordering::Relaxed) {
            0 => Order::Stay,
            1 => Order::Finish,
            _ => Order::TooSlow,
        }
    }

    /// What was told last; the task is woken when that changes.
    pub(super) fn order(&self, cx: &Context<'_>) -> Order {
        let order = self.current_order();
        if order == Order::Stay {
            let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        order
    }

    fn tell(&self, order: Order) {
        if self.current_order() != Order::Stay {
            return;
        }
        self.order.store(if order == Order::Finish { 1 } else { 2 }, Ordering::Relaxed);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// An exchange under way; over when it is dropped.
pub(super) struct UnderWay(Arc<State>);

impl UnderWay {
    pub(super) fn new(state: Arc<State>) -> Self {
        let under_way = state.under_way.load(Ordering::Relaxed);
        state.under_way.store(under_way + 1, Ordering::Relaxed);
        Self(state)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let (under_way, exchanges) = (&self.0.under_way, &self.0.exchanges);
        under_way.store(under_way.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        exchanges.store(exchanges.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}
