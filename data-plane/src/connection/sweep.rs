//! Bounds in time, kept by one look at all connections of a core every so often: no timer is set
//! for a request.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;
use tollgate_model::gateway::Limits;

use super::answers::{Answers, Ticket};
use super::frames::{ALLOWANCE, ALLOWED_A_SWEEP};
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
    /// Of HTTP/2.
    answers: Option<Answers>,
}

/// What the last change was, as far as sweeps have seen.
#[derive(Clone, Copy)]
struct Seen {
    since: Instant,
    position: Option<Position>,
    requests: u64,
    steps: u64,
}

/// What the sweep knows of a connection, and says to it. Only its own core writes it: the atomics
/// are there because hyper wants a stream that is `Send`, and cost no more than plain memory.
#[derive(Debug)]
pub(super) struct State {
    watch: Option<Watch>,
    under_way: AtomicU32,
    /// Of those, answers of which the client has not taken what there is.
    waiting: AtomicU32,
    /// Exchanges that ended and pieces of answers.
    steps: AtomicU64,
    /// Frames of HTTP/2 that may come without a request or data.
    allowance: AtomicU32,
    is_flooded: AtomicBool,
    order: AtomicU8,
    /// Whether there is a waker: one task polls a connection all its life, so it is kept but once.
    has_waker: AtomicBool,
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
    /// It takes nothing, or does not finish: end it as it is.
    Cut,
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
    pub(super) fn enter(
        &self,
        core: &Rc<Core>,
        state: Arc<State>,
        answers: Option<Answers>,
    ) -> Entered {
        let since = core.coarse_now.get();
        let seen = Seen { since, position: None, requests: 0, steps: 0 };
        let key = self.0.borrow_mut().insert(Entry { state, seen, answers });
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
        if let Some(answers) = &self.answers {
            state.allow(ALLOWED_A_SWEEP);
            answers.give_up(now, limits.idle_time.get());
        }
        let position = state.watch.as_ref().map(Watch::position);
        let requests = state.watch.as_ref().map_or(0, Watch::requests);
        let steps = state.steps.load(Ordering::Relaxed);
        let is_same = self.seen.position == position
            && self.seen.requests == requests
            && self.seen.steps == steps;
        let is_client_slow = state.waits_for_client();
        // What waits for an upstream is bounded by that upstream's limits.
        let is_upstreams = state.is_busy() && !is_client_slow;
        let since = if is_same && !is_upstreams { self.seen.since } else { now };
        self.seen = Seen { since, position, requests, steps };
        let age = now - since;
        if is_draining {
            state.tell(Order::Finish);
        }
        if is_upstreams {
            return;
        }
        let is_finishing = state.current_order() == Order::Finish;
        let (order, limit) = if is_client_slow {
            (Order::Cut, limits.idle_time)
        } else if position == Some(Position::InHead) {
            (Order::TooSlow, limits.head_time)
        } else if is_finishing {
            (Order::Cut, limits.head_time)
        } else {
            (Order::Finish, limits.idle_time)
        };
        if age > limit.get() {
            self.seen.since = now;
            state.tell(order);
        }
    }
}

impl State {
    pub(super) fn new(watch: Option<Watch>) -> Arc<Self> {
        Arc::new(Self {
            watch,
            under_way: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            steps: AtomicU64::new(0),
            allowance: AtomicU32::new(ALLOWANCE),
            is_flooded: AtomicBool::new(false),
            order: AtomicU8::new(0),
            has_waker: AtomicBool::new(false),
            waker: Mutex::new(None),
        })
    }

    /// More frames of HTTP/2 may come, up to what a connection begins with.
    pub(super) fn allow(&self, frames: u32) {
        let allowance = self.allowance.load(Ordering::Relaxed).saturating_add(frames);
        self.allowance.store(allowance.min(ALLOWANCE), Ordering::Relaxed);
    }

    /// Takes frames off the allowance; false where they are more than that.
    pub(super) fn spend(&self, frames: u32) -> bool {
        let left = self.allowance.load(Ordering::Relaxed).checked_sub(frames);
        self.allowance.store(left.unwrap_or(0), Ordering::Relaxed);
        if left.is_none() {
            self.is_flooded.store(true, Ordering::Relaxed);
        }
        left.is_some()
    }

    /// Whether there were ever more frames than that.
    pub(super) fn is_flooded(&self) -> bool {
        self.is_flooded.load(Ordering::Relaxed)
    }

    /// Whether an exchange is under way, or its answer.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// Whether all that is under way is for the client to take.
    fn waits_for_client(&self) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        waiting > 0 && waiting == self.under_way.load(Ordering::Relaxed)
    }

    /// What was told last.
    pub(super) fn current_order(&self) -> Order {
        match self.order.load(Ordering::Relaxed) {
            0 => Order::Stay,
            1 => Order::Finish,
            2 => Order::TooSlow,
            _ => Order::Cut,
        }
    }

    /// What was told last; the task is woken when that changes.
    pub(super) fn order(&self, cx: &Context<'_>) -> Order {
        let order = self.current_order();
        if !self.has_waker.load(Ordering::Relaxed) {
            let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            *waker = Some(cx.waker().clone());
            self.has_waker.store(true, Ordering::Relaxed);
        }
        order
    }

    fn tell(&self, order: Order) {
        let number = match order {
            Order::Stay => 0,
            Order::Finish => 1,
            Order::TooSlow => 2,
            Order::Cut => 3,
        };
        // What was told is never taken back.
        if self.order.load(Ordering::Relaxed) >= number {
            return;
        }
        self.order.store(number, Ordering::Relaxed);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waker {
            waker.wake_by_ref();
        }
    }
}

/// An exchange under way, and then its answer; over when it is dropped.
pub(super) struct UnderWay {
    state: Arc<State>,
    /// Of HTTP/2.
    ticket: Option<Ticket>,
    waits_for_client: bool,
}

impl UnderWay {
    /// With a ticket where it is one of several on its connection.
    pub(super) fn new(state: Arc<State>, ticket: Option<Ticket>) -> Self {
        add(&state.under_way);
        Self { state, ticket, waits_for_client: false }
    }

    /// What the client sends next is no request.
    pub(super) fn release(&self) {
        if let Some(watch) = &self.state.watch {
            watch.release();
        }
    }

    /// The connection asked for a piece of the answer: with one in its hands, the client is next.
    pub(super) fn asked(&mut self, has_piece: bool) {
        if has_piece {
            self.state.step();
        }
        if let Some(ticket) = &self.ticket {
            ticket.asked(has_piece);
        }
        if has_piece != self.waits_for_client {
            self.waits_for_client = has_piece;
            if has_piece { add(&self.state.waiting) } else { subtract(&self.state.waiting) }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.waits_for_client {
            subtract(&self.state.waiting);
        }
        subtract(&self.state.under_way);
        self.state.step();
    }
}

impl State {
    fn step(&self) {
        self.steps.store(self.steps.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

fn add(number: &AtomicU32) {
    number.store(number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn subtract(number: &AtomicU32) {
    number.store(number.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
}
