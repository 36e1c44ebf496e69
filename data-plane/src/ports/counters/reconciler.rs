//! Brings leased permits: the one task that calls Redis for all of them.
//!
//! What requests wait for goes out at once; what is taken ahead or given back is gathered first, so
//! that all hot subjects share one write to Redis.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::clock::unix_micros;

use super::lease::{Plan, Reason, Refill, Subject};
use super::redis::Redis;

/// How long what nobody waits for is gathered.
const GATHER: Duration = Duration::from_millis(5);
/// Between two looks for permits that were not spent in time.
const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// A clock that never steps, in milliseconds from when the counters were made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Millis {
    began: std::time::Instant,
}

impl Millis {
    pub(super) fn new() -> Self {
        Self { began: std::time::Instant::now() }
    }

    pub(super) fn now(self) -> u64 {
        let elapsed = self.began.elapsed();
        elapsed.as_secs() * 1_000 + u64::from(elapsed.subsec_millis())
    }
}

/// What requests ask of the reconciler. Bounded by the number of subjects: each stands at most once
/// in either list.
#[derive(Default)]
pub(super) struct Queue {
    asked: Mutex<Asked>,
    woken: Notify,
}

#[derive(Default)]
struct Asked {
    /// Requests wait.
    now: Vec<Arc<Subject>>,
    /// Permits run low.
    ahead: Vec<Arc<Subject>>,
    /// The node goes away.
    release: Option<oneshot::Sender<()>>,
}

impl Queue {
    /// Asks for permits that a request waits for.
    pub(super) fn ask_now(&self, subject: Arc<Subject>) {
        self.asked().now.push(subject);
        self.woken.notify_one();
    }

    /// Asks for permits before they run out.
    pub(super) fn ask_ahead(&self, subject: Arc<Subject>) {
        self.asked().ahead.push(subject);
        self.woken.notify_one();
    }

    /// Gives back all permits that are held; the receiver hears when it is done.
    pub(super) fn release(&self) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        self.asked().release = Some(done);
        self.woken.notify_one();
        receiver
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task's own state.
pub(super) struct Reconciler {
    redis: Arc<Redis>,
    queue: Arc<Queue>,
    live_nodes: Arc<AtomicU32>,
    clock: Millis,
    /// Subjects that may hold permits.
    holders: Vec<Arc<Subject>>,
    ahead: Vec<Arc<Subject>>,
    ahead_at: Instant,
    sweep_at: Instant,
    release: Option<oneshot::Sender<()>>,
}

impl Reconciler {
    pub(super) fn new(
        redis: Arc<Redis>,
        queue: Arc<Queue>,
        live_nodes: Arc<AtomicU32>,
        clock: Millis,
    ) -> Self {
        let now = Instant::now();
        Self {
            redis,
            queue,
            live_nodes,
            clock,
            holders: Vec::new(),
            ahead: Vec::new(),
            ahead_at: now,
            sweep_at: now,
            release: None,
        }
    }

    /// Never returns.
    pub(super) async fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let mut calls = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = queue.woken.notified() => {}
                Some((subject, refill)) = calls.next() => {
                    if refill == Refill::IsNeeded {
                        queue.ask_now(Arc::clone(&subject));
                    }
                    self.hold(subject);
                }
                () = sleep_until(self.ahead_at), if !self.ahead.is_empty() => {}
                () = sleep_until(self.sweep_at), if !self.holders.is_empty() => {}
            }
            for (subject, plan) in self.due() {
                calls.push(self.call(subject, plan));
            }
            if calls.is_empty()
                && let Some(done) = self.release.take()
            {
                // Who asked may have gone.
                let _ = done.send(());
            }
        }
    }

    /// The calls that are to be made now.
    fn due(&mut self) -> Vec<(Arc<Subject>, Plan)> {
        let (now, mut ahead, release) = {
            let mut asked = self.queue.asked();
            (std::mem::take(&mut asked.now), std::mem::take(&mut asked.ahead), asked.release.take())
        };
        let moment = Instant::now();
        if self.ahead.is_empty() && !ahead.is_empty() {
            self.ahead_at = moment + GATHER;
        }
        self.ahead.append(&mut ahead);
        let now_ms = self.clock.now();
        let mut due: Vec<(Arc<Subject>, Plan)> = Vec::new();
        let mut plan = |subject: Arc<Subject>, reason: Reason| {
            if let Some(plan) = subject.plan(reason, now_ms) {
                due.push((subject, plan));
            }
        };
        // A write is made in any case, or it is time: all that is gathered goes along.
        if !now.is_empty() || self.ahead_at <= moment {
            for subject in now.into_iter().chain(self.ahead.drain(..)) {
                plan(subject, Reason::Demand);
            }
        }
        let reason = if release.is_some() { Reason::Release } else { Reason::Sweep };
        if release.is_some() || self.sweep_at <= moment {
            self.sweep_at = moment + SWEEP_EVERY;
            for subject in &self.holders {
                plan(Arc::clone(subject), reason);
            }
            self.holders.retain(|subject| subject.stays_listed());
        }
        if release.is_some() {
            self.release = release;
        }
        due
    }

    fn hold(&mut self, subject: Arc<Subject>) {
        if self.holders.is_empty() {
            self.sweep_at = Instant::now() + SWEEP_EVERY;
        }
        if subject.lists_itself() {
            self.holders.push(subject);
        }
    }

    fn call(
        &self,
        subject: Arc<Subject>,
        plan: Plan,
    ) -> impl Future<Output = (Arc<Subject>, Refill)> + use<> {
        let redis = Arc::clone(&self.redis);
        let live_nodes = u64::from(self.live_nodes.load(Ordering::Relaxed));
        let clock = self.clock;
        async move {
            let answer = redis.call(&plan.call(subject.key(), live_nodes, unix_micros())).await;
            let refill = match answer {
                Ok(reply) => subject.settle(&plan, &reply, clock.now()),
                Err(_away) => {
                    subject.fail();
                    Refill::WillCome
                }
            };
            (subject, refill)
        }
    }
}
