//! Requests under way, by limit and subject: counted exactly on this node, over all of its request
//! threads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::timeout;
use tollgate_policy::ports::{Concurrency, Enter, Entered, Gate, Permit};

use super::counters::key::{Keys, Shards, Table};

/// Below this many a shard is not swept.
const FEW: usize = 32;

/// The requests under way on a node.
///
/// Memory is bounded by what is under way: each subject that is kept has a request under way or had
/// one since the last sweep of its shard, and sweeps come as soon as a shard has doubled.
#[derive(Default)]
pub struct NodeConcurrency {
    keys: Keys,
    shards: Shards<Mutex<Shard>>,
}

#[derive(Default)]
struct Shard {
    subjects: Table<Arc<Subject>>,
    /// How many there were after the last sweep.
    kept: usize,
}

/// One subject of one limit.
#[derive(Default)]
struct Subject(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    count: u32,
    /// As the last request was told: an edit counts from then on.
    limit: u32,
    waiting: VecDeque<oneshot::Sender<Permit>>,
}

impl NodeConcurrency {
    /// How many subjects are kept.
    #[must_use]
    pub fn subjects(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).subjects.len()).sum()
    }

    fn subject(&self, enter: &Enter<'_>) -> Arc<Subject> {
        let key = self.keys.of(enter.id, enter.tenant, enter.subject);
        let mut shard = lock(self.shards.of(key));
        if let Some(subject) = shard.subjects.get(&key) {
            return Arc::clone(subject);
        }
        shard.make_room();
        Arc::clone(shard.subjects.entry(key).or_default())
    }
}

impl Concurrency for NodeConcurrency {
    fn enter<'a>(&'a self, enter: Enter<'_>) -> Entered<'a> {
        let subject = self.subject(&enter);
        let receiver = {
            let mut under_way = lock(&subject.0);
            under_way.limit = enter.limit;
            while under_way.has_room() && under_way.admit_first(&subject) {}
            if under_way.has_room() {
                under_way.count += 1;
                drop(under_way);
                return Entered::Now(Some(Permit::new(subject)));
            }
            let Some(queue) = enter.queue else { return Entered::Now(None) };
            let length = usize::try_from(queue.length).unwrap_or(usize::MAX);
            if under_way.waiting.len() >= length {
                under_way.waiting.retain(|waiting| !waiting.is_closed());
            }
            if under_way.waiting.len() >= length {
                return Entered::Now(None);
            }
            let (sender, receiver) = oneshot::channel();
            under_way.waiting.push_back(sender);
            receiver
        };
        let patience = enter.queue.map(|queue| queue.timeout).unwrap_or_default();
        // Whoever gives up, by time or with its client, drops the receiver, and with it a permit that came meanwhile.
        Entered::Later(Box::pin(async move {
            timeout(patience, receiver).await.ok().and_then(Result::ok)
        }))
    }
}

impl UnderWay {
    fn has_room(&self) -> bool {
        self.count < self.limit
    }

    /// Lets the first in who still waits; false where nobody does.
    fn admit_first(&mut self, subject: &Arc<Subject>) -> bool {
        while let Some(first) = self.waiting.pop_front() {
            match first.send(Permit::new(Arc::<Subject>::clone(subject))) {
                Ok(()) => {
                    self.count += 1;
                    return true;
                }
                Err(unused) => unused.forget(),
            }
        }
        false
    }
}

impl Gate for Subject {
    fn leave(self: Arc<Self>) {
        let mut under_way = lock(&self.0);
        under_way.count = under_way.count.saturating_sub(1);
        if under_way.has_room() {
            under_way.admit_first(&self);
        }
    }
}

impl Shard {
    /// Lets idle subjects go when the shard has doubled since the last sweep. Who is under way or
    /// about to be holds the subject, so that what only the table holds is idle.
    fn make_room(&mut self) {
        if self.subjects.len() < FEW.max(self.kept.saturating_mul(2)) {
            return;
        }
        self.subjects.retain(|_, subject| Arc::strong_count(subject) > 1);
        self.kept = self.subjects.len();
        self.subjects.shrink_to(self.kept.saturating_mul(4));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way; what it holds is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tollgate_model::Name;
    use tollgate_policy::ports::Queue;

    use super::*;

    fn enter<'a>(
        node: &'a NodeConcurrency,
        subject: &'a str,
        limit: u32,
        queue: Option<Queue>,
    ) -> Entered<'a> {
        static TENANT: std::sync::LazyLock<Name> = std::sync::LazyLock::new(Name::default_name);
        node.enter(Enter { id: "limit", tenant: &TENANT, subject, limit, queue })
    }

    fn at_once(node: &NodeConcurrency, subject: &str, limit: u32) -> Option<Permit> {
        match enter(node, subject, limit, None) {
            Entered::Now(permit) => permit,
            Entered::Later(_) => panic!("it waits"),
        }
    }

    fn queue(length: u32, millis: u64) -> Option<Queue> {
        Some(Queue { length, timeout: Duration::from_millis(millis) })
    }

    fn waits<'a>(
        node: &'a NodeConcurrency,
        limit: u32,
        queue: Option<Queue>,
    ) -> impl Future<Output = Option<Permit>> + 'a {
        match enter(node, "a", limit, queue) {
            Entered::Now(_) => panic!("it does not wait"),
            Entered::Later(permit) => permit,
        }
    }

    #[test]
    fn so_many_are_let_in_and_a_permit_that_is_dropped_makes_room() {
        let node = NodeConcurrency::default();
        let held: Vec<Permit> = (0..9).filter_map(|_| at_once(&node, "a", 3)).collect();
        assert_eq!(held.len(), 3);
        assert!(at_once(&node, "b", 3).is_some());
        drop(held);
        assert!(at_once(&node, "a", 3).is_some());
    }

    #[tokio::test]
    async fn who_waits_is_let_in_in_the_order_of_coming() {
        let node = NodeConcurrency::default();
        let mut held = at_once(&node, "a", 1);
        let order = AtomicU32::new(0);
        let turns: Vec<_> = (0..5)
            .map(|i| {
                let waits = waits(&node, 1, queue(9, 60_000));
                let order = &order;
                async move {
                    let permit = waits.await;
                    assert_eq!(order.fetch_add(1, Ordering::Relaxed), i);
                    drop(permit.unwrap());
                }
            })
            .collect();
        held.take();
        // Asked in the wrong order on purpose.
        for turn in futures_util::future::join_all(turns.into_iter().rev()).await {
            let () = turn;
        }
        assert_eq!(order.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn a_queue_is_as_long_as_it_may_be_and_who_gave_up_makes_room() {
        let node = NodeConcurrency::default();
        let held = at_once(&node, "a", 1).unwrap();
        let first = waits(&node, 1, queue(2, 1));
        let second = waits(&node, 1, queue(2, 60_000));
        assert!(matches!(enter(&node, "a", 1, queue(2, 1)), Entered::Now(None)));
        assert!(first.await.is_none(), "in vain for a millisecond");
        let third = waits(&node, 1, queue(2, 60_000));
        assert!(matches!(enter(&node, "a", 1, queue(2, 1)), Entered::Now(None)));
        drop(second);
        drop(held);
        // The place went to the first that still waited.
        assert!(at_once(&node, "a", 1).is_none());
        let third = third.await.unwrap();
        assert!(at_once(&node, "a", 1).is_none());
        drop(third);
        assert!(at_once(&node, "a", 1).is_some());
    }

    #[tokio::test]
    async fn a_permit_that_came_to_one_who_is_gone_goes_to_the_next() {
        let node = NodeConcurrency::default();
        let held = at_once(&node, "a", 1);
        let (first, second) =
            (waits(&node, 1, queue(9, 60_000)), waits(&node, 1, queue(9, 60_000)));
        drop(held);
        drop(first);
        assert!(second.await.is_some());
        assert!(at_once(&node, "a", 1).is_some());
    }

    #[tokio::test]
    async fn an_edited_limit_counts_from_the_next_request_on() {
        let node = NodeConcurrency::default();
        let mut held: Vec<Permit> = (0..4).filter_map(|_| at_once(&node, "a", 4)).collect();
        assert!(at_once(&node, "a", 2).is_none());
        held.truncate(2);
        assert!(at_once(&node, "a", 2).is_none());
        let waiting = waits(&node, 2, queue(9, 60_000));
        // Raised: who waits goes before who comes.
        let newcomer = at_once(&node, "a", 4);
        assert!(newcomer.is_some() && waiting.await.is_some());
    }

    #[test]
    fn threads_never_see_more_than_the_limit_and_nothing_leaks() {
        let node = NodeConcurrency::default();
        let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_time().build();
                    runtime.unwrap().block_on(async {
                        for i in 0..500_u64 {
                            let patience = Duration::from_micros(i % 3 * 50 + 1);
                            let queue = Some(Queue { length: 2, timeout: patience });
                            let permit = match enter(&node, "a", 2, queue) {
                                Entered::Now(permit) => permit,
                                Entered::Later(later) if i % 5 == 0 => {
                                    drop(later);
                                    None
                                }
                                Entered::Later(later) => later.await,
                            };
                            if permit.is_some() {
                                let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                                most.fetch_max(count, Ordering::SeqCst);
                                tokio::task::yield_now().await;
                                now.fetch_sub(1, Ordering::SeqCst);
                            }
                        }
                    });
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 2);
        let held: Vec<Permit> = (0..9).filter_map(|_| at_once(&node, "a", 2)).collect();
        assert_eq!(held.len(), 2);
    }

    #[test]
    fn a_flood_of_subjects_leaves_no_more_than_was_under_way() {
        let node = NodeConcurrency::default();
        let held: Vec<Option<Permit>> =
            (0..1_000).map(|i| at_once(&node, &format!("held-{i}"), 1)).collect();
        for i in 0..300_000 {
            assert!(at_once(&node, &i.to_string(), 1).is_some());
        }
        assert!(node.subjects() <= 256 * FEW, "{}", node.subjects());
        assert!((0..1_000).all(|i| at_once(&node, &format!("held-{i}"), 1).is_none()));
        drop(held);
    }
}
