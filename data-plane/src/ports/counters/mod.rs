//! The counters of limits: [`NodeCounters`], which all request threads of a node share.
//!
//! | limit | without Redis | with Redis |
//! | --- | --- | --- |
//! | `local` | `memory` | `memory` |
//! | `exact` | `memory` | one call of the script a request (`script`, `redis`), none while a refusal is remembered |
//! | `leased` | `memory` | the subject's block (`lease`), which the `reconciler` keeps filled |
//!
//! While Redis is away (`breaker`) nobody waits, and each limit does as its `on_failure` says.

mod breaker;
pub(super) mod key;
mod lease;
mod memory;
mod reconciler;
mod redis;
mod script;
mod subjects;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tollgate_policy::limit::{Definition, Enforcement, OnFailure};
use tollgate_policy::ports::{Booked, Counters, Decision, Settlement, Take, Taken};

use crate::clock::unix_micros;

use self::key::Keys;
use self::lease::{Enrolled, NextBlock, Refill, Spend, Subject};
use self::memory::Memory;
use self::reconciler::{Millis, Queue, Reconciler};
use self::redis::Redis;
use self::script::Call;
use self::subjects::Subjects;

pub use self::redis::AddressError;

/// What a refused request is told while it is not known when asking again helps.
const RESET_WHILE_AWAY: Duration = Duration::from_secs(1);

/// The counters of one node. A clone shares them.
#[derive(Clone)]
pub struct NodeCounters {
    memory: Arc<Memory>,
    keys: Arc<Keys>,
    shared: Option<Arc<Shared>>,
}

/// What the counters are doing, for metrics and the node's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether limits are shared through Redis at this moment.
    pub is_shared: bool,
    /// Calls of Redis so far.
    pub calls: u64,
    /// Those that failed or took too long.
    pub failures: u64,
    /// Decisions that were left to a limit's `on_failure`.
    pub fallbacks: u64,
    /// Subjects that are counted in memory.
    pub local_subjects: usize,
    /// Subjects of shared limits that are known.
    pub shared_subjects: usize,
}

/// What there is beside memory where a Redis was named.
struct Shared {
    redis: Arc<Redis>,
    subjects: Subjects,
    queue: Arc<Queue>,
    clock: Millis,
    live_nodes: Arc<AtomicU32>,
    fallbacks: AtomicU64,
    tasks: [AbortHandle; 2],
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl NodeCounters {
    /// Counters in this process alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { memory: Arc::default(), keys: Arc::default(), shared: None }
    }

    /// Counters that the nodes of a cluster share.
    ///
    /// Returns at once; until Redis is reached, limits do as their `on_failure` says. No decision
    /// waits for Redis longer than `deadline` and the millisecond that timers are coarse by. `address` is
    /// `redis://`, `rediss://` or `redis-cluster://HOST:PORT,…`. `live_nodes` is how many nodes serve
    /// (at least 1), kept up to date by who knows. Two tasks run on `control` until the last clone is gone.
    ///
    /// # Errors
    ///
    /// Where the address cannot be read.
    pub fn with_redis(
        deadline: Duration,
        address: &str,
        live_nodes: Arc<AtomicU32>,
        control: &Handle,
    ) -> Result<Self, AddressError> {
        // Refused where a provider is installed already, which is as good.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let redis = Arc::new(Redis::open(address, deadline)?);
        let queue = Arc::new(Queue::default());
        let clock = Millis::new();
        let reconciler = {
            // The reconciler's timers belong to the control runtime.
            let _runtime = control.enter();
            Reconciler::new(Arc::clone(&redis), Arc::clone(&queue), Arc::clone(&live_nodes), clock)
        };
        let tasks = [
            control.spawn(Arc::clone(&redis).keep()).abort_handle(),
            control.spawn(reconciler.run()).abort_handle(),
        ];
        let shared = Shared {
            redis,
            subjects: Subjects::default(),
            queue,
            clock,
            live_nodes,
            fallbacks: AtomicU64::new(0),
            tasks,
        };
        Ok(Self { shared: Some(Arc::new(shared)), ..Self::in_memory() })
    }

    /// What the counters are doing.
    #[must_use]
    pub fn health(&self) -> Health {
        let local = Health { local_subjects: self.memory.len(), ..Health::default() };
        let Some(shared) = &self.shared else { return local };
        let (calls, failures) = shared.redis.calls_and_failures();
        Health {
            is_shared: !shared.redis.is_away(),
            calls,
            failures,
            fallbacks: shared.fallbacks.load(Ordering::Relaxed),
            shared_subjects: shared.subjects.len(),
            ..local
        }
    }

    /// Gives back the permits that this node holds and will not spend; for the end of a drain.
    /// Waits a second at most: what is not given back by then lapses with its window.
    pub async fn give_back(&self) {
        if let Some(shared) = &self.shared {
            // A reconciler that is gone holds nothing that could be given back.
            drop(timeout(Duration::from_secs(1), shared.queue.release()).await);
        }
    }

    fn take_exact<'a>(&'a self, shared: &'a Shared, key: u128, take: Take<'a>) -> Taken<'a> {
        let now_ms = shared.clock.now();
        if shared.redis.is_away() {
            return Taken::Now(self.without_redis(shared, key, take));
        }
        let denied = |subject: &Arc<Subject>| subject.denial(take.definition, take.cost, now_ms);
        if let Some(Some(decision)) = shared.subjects.with(key, denied) {
            return Taken::Now(decision);
        }
        Taken::Wait(Box::pin(async move {
            let redis_key = key::redis_key(&take);
            let call = Call::all_or_none(&redis_key, &take);
            self.ask(shared, key, take, &call).await
        }))
    }

    fn take_leased<'a>(&'a self, shared: &'a Shared, key: u128, take: Take<'a>) -> Taken<'a> {
        let now_ms = shared.clock.now();
        let spend = |subject: &Arc<Subject>| {
            let spend = subject.spend(take.definition, take.cost, now_ms);
            if let Spend::Done(_, NextBlock::IsDue) = spend {
                shared.queue.ask_ahead(Arc::clone(subject));
            }
            spend
        };
        let spend = shared.subjects.with(key, spend);
        if let Some(Spend::Done(decision, _)) = spend {
            return Taken::Now(decision);
        }
        if shared.redis.is_away() {
            return Taken::Now(self.without_redis(shared, key, take));
        }
        if let Some(Spend::Denied(decision)) = spend {
            return Taken::Now(decision);
        }
        if take.cost > lease::LARGEST_COST {
            return Taken::Wait(Box::pin(async move {
                let redis_key = key::redis_key(&take);
                let call = lease::large(&redis_key, &take);
                self.ask(shared, key, take, &call).await
            }));
        }
        Taken::Wait(Box::pin(self.wait_for_permits(shared, key, take)))
    }

    /// Asks Redis for this request alone, and remembers a refusal.
    async fn ask(&self, shared: &Shared, key: u128, take: Take<'_>, call: &Call<'_>) -> Decision {
        let Ok(reply) = shared.redis.call(call).await else {
            return self.without_redis(shared, key, take);
        };
        if reply.granted > 0 {
            let booked = Some(Booked { slot: reply.slot, is_shared: true });
            let (remaining, reset) = (reply.left, reply.reset);
            return Decision { is_admitted: true, remaining, reset, booked };
        }
        let now_ms = shared.clock.now();
        let subject = shared.subjects.find_or_make(key, now_ms, || call.key.to_owned());
        subject.deny(take.definition, take.cost, &reply, now_ms)
    }

    async fn wait_for_permits(&self, shared: &Shared, key: u128, take: Take<'_>) -> Decision {
        let now_ms = shared.clock.now();
        let redis_key = || key::redis_key(&take);
        let subject = shared.subjects.find_or_make(key, now_ms, redis_key);
        let answer = match subject.enroll(take.definition, take.cost, now_ms) {
            Enrolled::Spent(decision) => return decision,
            Enrolled::Waits(answer, refill) => {
                if refill == Refill::IsNeeded {
                    shared.queue.ask_now(subject);
                }
                answer
            }
        };
        // The call has its own limit; this one is for a control runtime that has no time for it.
        match timeout(shared.redis.deadline(), answer).await {
            Ok(Ok(Some(decision))) => decision,
            Ok(Ok(None) | Err(_)) | Err(_) => self.without_redis(shared, key, take),
        }
    }

    /// What a limit does by itself.
    fn without_redis(&self, shared: &Shared, key: u128, take: Take<'_>) -> Decision {
        shared.fallbacks.fetch_add(1, Ordering::Relaxed);
        let Definition { limit, ref window, on_failure, .. } = *take.definition;
        match on_failure {
            OnFailure::Open => {
                let reset = window.left_at(take.now_unix_micros);
                Decision { is_admitted: true, remaining: limit, reset, booked: None }
            }
            OnFailure::Closed => {
                let reset = RESET_WHILE_AWAY;
                Decision { is_admitted: false, remaining: 0, reset, booked: None }
            }
            OnFailure::LocalShare => {
                // A refusal that is still remembered is more than this node knows by itself.
                let now_ms = shared.clock.now();
                let denied =
                    |subject: &Arc<Subject>| subject.denial(take.definition, take.cost, now_ms);
                if let Some(Some(decision)) = shared.subjects.with(key, denied) {
                    return decision;
                }
                let live_nodes = u64::from(shared.live_nodes.load(Ordering::Relaxed)).max(1);
                self.memory.take(key, &take, (limit / live_nodes).max(1))
            }
        }
    }
}

impl Counters for NodeCounters {
    fn take<'a>(&'a self, take: Take<'a>) -> Taken<'a> {
        let key = self.keys.key(&take);
        let shared = match (take.definition.enforcement, &self.shared) {
            (Enforcement::Local, _) | (_, None) => {
                return Taken::Now(self.memory.take(key, &take, take.definition.limit));
            }
            (Enforcement::Exact | Enforcement::Leased, Some(shared)) => shared,
        };
        if take.definition.enforcement == Enforcement::Exact {
            self.take_exact(shared, key, take)
        } else {
            self.take_leased(shared, key, take)
        }
    }

    fn settle(&self, settlement: &Settlement<'_>) {
        let key = self.keys.key(&settlement.take);
        match &self.shared {
            Some(shared) if settlement.booked.is_shared => {
                let now_ms = shared.clock.now();
                let redis_key = || key::redis_key(&settlement.take);
                let subject = shared.subjects.find_or_make(key, now_ms, redis_key);
                if subject.owe(settlement) {
                    shared.queue.ask_ahead(subject);
                }
            }
            Some(_) | None => self.memory.settle(key, settlement, unix_micros()),
        }
    }

    fn look(&self, take: &Take<'_>) -> Option<Decision> {
        let key = self.keys.key(take);
        match (take.definition.enforcement, &self.shared) {
            (Enforcement::Local, _) | (_, None) => {
                Some(self.memory.look(key, take, take.definition.limit))
            }
            (Enforcement::Exact | Enforcement::Leased, Some(shared)) => {
                let now_ms = shared.clock.now();
                let denied =
                    |subject: &Arc<Subject>| subject.denial(take.definition, take.cost, now_ms);
                shared.subjects.with(key, denied).flatten()
            }
        }
    }
}

#[cfg(test)]
mod tests;
