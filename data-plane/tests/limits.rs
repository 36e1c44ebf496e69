//! Limits that several nodes share through a real Redis: how exact they are, what they cost, and what
//! they do while Redis is away.
//!
//! Each node has its own connection and its own request thread, a current-thread runtime, as in production.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where something is off"
)]

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tollgate_data_plane::clock::unix_micros;
use tollgate_data_plane::ports::counters::NodeCounters;
use tollgate_model::Name;
use tollgate_policy::limit::calendar::{Unit, Zone};
use tollgate_policy::limit::{Calendar, Definition, Enforcement, OnFailure, Window};
use tollgate_policy::ports::{Counters as _, Decision, Settlement, Take, Taken};
use tollgate_testkit::redis::Redis;

/// On machines that are busy with other tests: a call must not fail for want of a processor.
const PATIENT: Duration = Duration::from_secs(2);
/// No request hangs. The bar is 5 ms at the 99th percentile, which `scripts/bench` measures; here the
/// requests that wait are counted.
const HANGS: Duration = Duration::from_secs(1);
/// Requests that may wait before nobody does: as many as open the breaker, and one to spare.
const WAITING: u32 = 4;

struct Cluster {
    nodes: Vec<NodeCounters>,
    redis: Redis,
    /// The runtime of what connects, watches and refills.
    _control: Runtime,
}

impl Cluster {
    /// Nodes that have reached Redis, and wait for it as long as `deadline`.
    fn start(count: u32, deadline: Duration) -> Self {
        let redis = Redis::start().unwrap();
        let address = redis.address();
        Self::at(count, deadline, redis, &address)
    }

    fn at(count: u32, deadline: Duration, redis: Redis, address: &str) -> Self {
        let control = control();
        let live_nodes = Arc::new(AtomicU32::new(count));
        let nodes: Vec<NodeCounters> = (0..count)
            .map(|_| {
                NodeCounters::with_redis(
                    deadline,
                    address,
                    Arc::clone(&live_nodes),
                    control.handle(),
                )
                .unwrap()
            })
            .collect();
        let cluster = Self { nodes, redis, _control: control };
        until(|| cluster.nodes.iter().all(|node| node.health().is_shared));
        cluster
    }

    fn node(&self) -> &NodeCounters {
        &self.nodes[0]
    }
}

fn control() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Waits until something is so, 10 s at most.
#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited 10 s in vain");
        std::thread::yield_now();
    }
}

fn limit(
    limit: u64,
    window: Duration,
    enforcement: Enforcement,
    on_failure: OnFailure,
) -> Definition {
    Definition {
        id: Arc::from("Api/default/orders/default"),
        limit,
        window: window.into(),
        enforcement,
        on_failure,
        is_settled: false,
    }
}

fn exact(permits: u64) -> Definition {
    limit(permits, Duration::from_secs(60), Enforcement::Exact, OnFailure::Closed)
}

fn leased(permits: u64) -> Definition {
    limit(permits, Duration::from_secs(60), Enforcement::Leased, OnFailure::Closed)
}

/// Whether an answer came without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    AtOnce,
    Later,
}

async fn take(node: &NodeCounters, definition: &Definition) -> (Decision, Came) {
    let tenant = Name::default_name();
    let now_unix_micros = unix_micros();
    let take = Take { definition, tenant: &tenant, subject: "web-shop", cost: 1, now_unix_micros };
    match node.take(take) {
        Taken::Now(decision) => (decision, Came::AtOnce),
        Taken::Wait(decision) => (decision.await, Came::Later),
    }
}

/// Runs something on a request thread's runtime.
fn on_request_thread<T>(run: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run)
}

fn take_one(node: &NodeCounters, definition: &Definition) -> (Decision, Came) {
    on_request_thread(take(node, definition))
}

fn admitted_of(node: &NodeCounters, definition: &Definition, attempts: u64) -> u64 {
    on_request_thread(async {
        let mut admitted = 0;
        for _ in 0..attempts {
            admitted += u64::from(take(node, definition).await.0.is_admitted);
        }
        admitted
    })
}

/// Sixteen clients a node make so many attempts each; how many were admitted in all.
fn storm(cluster: &Cluster, definition: &Definition, attempts_of_client: u64) -> u64 {
    const CLIENTS: usize = 16;
    std::thread::scope(|scope| {
        let threads: Vec<_> = cluster
            .nodes
            .iter()
            .map(|node| {
                scope.spawn(move || {
                    let local = LocalSet::new();
                    let shared = Rc::new((node.clone(), definition.clone()));
                    let clients: Vec<_> = (0..CLIENTS)
                        .map(|_| {
                            let shared = Rc::clone(&shared);
                            local.spawn_local(async move {
                                let mut admitted = 0;
                                for _ in 0..attempts_of_client {
                                    let (decision, _) = take(&shared.0, &shared.1).await;
                                    admitted += u64::from(decision.is_admitted);
                                    tokio::task::yield_now().await;
                                }
                                admitted
                            })
                        })
                        .collect();
                    on_request_thread(local.run_until(async {
                        let mut admitted = 0;
                        for client in clients {
                            admitted += client.await.unwrap();
                        }
                        admitted
                    }))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
fn an_exact_limit_admits_exactly_the_limit_from_four_nodes_and_64_clients() {
    let cluster = Cluster::start(4, PATIENT);
    assert_eq!(storm(&cluster, &exact(640), 100), 640);
}

#[test]
fn a_leased_limit_admits_never_more_and_hardly_less_from_four_nodes_and_64_clients() {
    let cluster = Cluster::start(4, PATIENT);
    cluster.redis.forget_calls().unwrap();
    let admitted = storm(&cluster, &leased(6_400), 1_000);
    assert!(admitted <= 6_400, "{admitted}");
    assert!(admitted >= 6_208, "{admitted}");
    let calls = cluster.redis.script_calls().unwrap();
    assert!(calls <= 64_000 / 20, "{calls} calls for 64,000 requests");
}

#[test]
fn a_leased_limit_of_a_short_window_is_kept_while_windows_pass() {
    let cluster = Cluster::start(4, PATIENT);
    let definition = limit(100, Duration::from_secs(1), Enforcement::Leased, OnFailure::Closed);
    let began = Instant::now();
    let mut admitted = 0;
    while began.elapsed() < Duration::from_secs(3) {
        admitted += storm(&cluster, &definition, 20);
    }
    // A part of a window that has passed admits as much as a whole one.
    let windows = began.elapsed().as_secs() + 1;
    assert!(admitted <= 100 * windows, "{admitted} in {windows} windows");
    assert!(admitted >= 200, "{admitted} in {windows} windows");
}

#[test]
fn a_leased_limit_asks_redis_for_one_request_in_twenty_at_most() {
    const RATE_OF_NODE: u64 = 2_500;
    let cluster = Cluster::start(4, PATIENT);
    let definition = leased(1_000_000);
    cluster.redis.forget_calls().unwrap();
    let paced = |node: &NodeCounters| {
        on_request_thread(async {
            let mut ticks = tokio::time::interval(Duration::from_millis(2));
            let mut requests = 0;
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(1_500) {
                ticks.tick().await;
                for _ in 0..RATE_OF_NODE / 500 {
                    assert!(take(node, &definition).await.0.is_admitted);
                    requests += 1;
                }
            }
            requests
        })
    };
    let paced = &paced;
    let requests: u64 = std::thread::scope(|scope| {
        let start = |node| scope.spawn(move || paced(node));
        let threads: Vec<_> = cluster.nodes.iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let calls = cluster.redis.script_calls().unwrap();
    assert!(requests >= 4_000, "{requests}");
    assert!(calls * 20 <= requests, "{calls} calls for {requests} requests");
}

#[test]
fn who_is_over_an_exact_limit_costs_redis_nothing() {
    let cluster = Cluster::start(1, PATIENT);
    let definition = exact(3);
    assert_eq!(admitted_of(cluster.node(), &definition, 4), 3);
    cluster.redis.forget_calls().unwrap();
    for _ in 0..200 {
        let (decision, came) = take_one(cluster.node(), &definition);
        assert_eq!((decision.is_admitted, came), (false, Came::AtOnce));
        assert!(decision.reset > Duration::from_secs(30), "{decision:?}");
    }
    assert_eq!(cluster.redis.script_calls().unwrap(), 0);
}

#[test]
fn a_limit_that_was_raised_admits_again_at_once() {
    let cluster = Cluster::start(1, PATIENT);
    for definition in [exact, leased] {
        let id = Arc::from(format!("{:?}", definition(1).enforcement));
        let of = |permits| Definition { id: Arc::clone(&id), ..definition(permits) };
        assert_eq!(admitted_of(cluster.node(), &of(3), 9), 3);
        assert_eq!(admitted_of(cluster.node(), &of(5), 9), 2);
        let longer = Definition { window: Duration::from_secs(3_600).into(), ..of(6) };
        assert_eq!(admitted_of(cluster.node(), &longer, 9), 1);
    }
}

#[test]
fn a_script_that_redis_forgot_is_brought_again() {
    let cluster = Cluster::start(1, PATIENT);
    for definition in [exact(4), Definition { id: Arc::from("leased"), ..leased(4) }] {
        assert_eq!(admitted_of(cluster.node(), &definition, 2), 2);
        cluster.redis.command("SCRIPT FLUSH").unwrap();
        assert_eq!(admitted_of(cluster.node(), &definition, 9), 2);
    }
    assert_eq!(cluster.node().health().failures, 0);
}

#[test]
fn a_redis_that_comes_back_empty_is_used_again() {
    let mut cluster = Cluster::start(1, PATIENT);
    let definition = exact(3);
    assert_eq!(admitted_of(cluster.node(), &definition, 2), 2);
    cluster.redis.kill().unwrap();
    until(|| !cluster.node().health().is_shared);
    cluster.redis.start_again().unwrap();
    until(|| cluster.node().health().is_shared);
    assert_eq!(admitted_of(cluster.node(), &definition, 9), 3);
}

#[test]
fn a_node_that_is_drained_gives_back_what_it_holds() {
    let cluster = Cluster::start(2, PATIENT);
    let definition = leased(100_000);
    let [first, second] = &cluster.nodes[..] else { panic!("two nodes") };
    // Enough that blocks are taken ahead.
    let spent = admitted_of(first, &definition, 2_000);
    assert_eq!(spent, 2_000);
    on_request_thread(first.give_back());
    let (decision, _) = take_one(second, &definition);
    assert_eq!(decision.remaining, 100_000 - 2_001);
}

#[test]
fn a_redis_cluster_keeps_limits_as_one_redis_does() {
    let redis = Redis::start_cluster().unwrap();
    let address = redis.address().replace("redis://", "redis-cluster://");
    let cluster = Cluster::at(2, PATIENT, redis, &address);
    assert_eq!(storm(&cluster, &exact(320), 100), 320);
    let admitted = storm(&cluster, &Definition { id: Arc::from("leased"), ..leased(3_200) }, 1_000);
    assert!((3_104..=3_200).contains(&admitted), "{admitted}");
    cluster.redis.command("SCRIPT FLUSH").unwrap();
    assert_eq!(
        admitted_of(cluster.node(), &Definition { id: Arc::from("after"), ..exact(3) }, 9),
        3
    );
}

/// A quota of this year, so that no test runs over its end but one of New Year's night.
fn quota(permits: u64, enforcement: Enforcement) -> Definition {
    let year = Calendar::new(Unit::Year, Zone::default());
    Definition {
        id: Arc::from(format!("quota {enforcement:?}")),
        window: Window::Calendar(Arc::new(year)),
        ..limit(permits, Duration::from_secs(60), enforcement, OnFailure::Closed)
    }
}

#[test]
fn a_quota_is_kept_by_all_nodes_exactly_or_nearly() {
    let cluster = Cluster::start(4, PATIENT);
    assert_eq!(storm(&cluster, &quota(640, Enforcement::Exact), 100), 640);
    cluster.redis.forget_calls().unwrap();
    let admitted = storm(&cluster, &quota(6_400, Enforcement::Leased), 1_000);
    assert!((6_208..=6_400).contains(&admitted), "{admitted}");
    let calls = cluster.redis.script_calls().unwrap();
    assert!(calls <= 64_000 / 20, "{calls} calls for 64,000 requests");
}

#[test]
fn a_quota_of_a_short_window_is_kept_while_windows_pass() {
    let minute = Calendar::new(Unit::Minute, Zone::default());
    let left = || minute.window_at(unix_micros()).until - unix_micros();
    let cluster = Cluster::start(2, PATIENT);
    let definition = |enforcement| Definition {
        window: Window::Calendar(Arc::new(Calendar::new(Unit::Minute, Zone::default()))),
        ..quota(50, enforcement)
    };
    for enforcement in [Enforcement::Exact, Enforcement::Leased] {
        let before = left();
        let admitted = storm(&cluster, &definition(enforcement), 100);
        // A new minute has begun meanwhile, or none has.
        let most = if left() > before { 100 } else { 50 };
        assert!(admitted <= most && admitted >= 48, "{enforcement:?}: {admitted} of {most}");
    }
}

#[test]
fn a_limit_that_becomes_a_quota_keeps_what_is_counted_and_the_other_way_round() {
    let cluster = Cluster::start(1, PATIENT);
    for enforcement in [Enforcement::Exact, Enforcement::Leased] {
        let rolling = |permits| Definition {
            window: Duration::from_secs(3_600).into(),
            ..quota(permits, enforcement)
        };
        assert_eq!(admitted_of(cluster.node(), &rolling(3), 9), 3);
        assert_eq!(admitted_of(cluster.node(), &quota(5, enforcement), 9), 2);
        assert_eq!(admitted_of(cluster.node(), &rolling(6), 9), 1);
    }
}

#[test]
fn who_is_over_a_quota_is_told_its_end_and_costs_redis_nothing() {
    let cluster = Cluster::start(1, PATIENT);
    let definition = quota(3, Enforcement::Exact);
    assert_eq!(admitted_of(cluster.node(), &definition, 4), 3);
    cluster.redis.forget_calls().unwrap();
    let left = definition.window.left_at(unix_micros());
    for _ in 0..50 {
        let (decision, came) = take_one(cluster.node(), &definition);
        assert_eq!((decision.is_admitted, came), (false, Came::AtOnce));
        assert!(decision.reset.abs_diff(left) < Duration::from_secs(60), "{decision:?}");
    }
    assert_eq!(cluster.redis.script_calls().unwrap(), 0);
}

#[test]
fn without_redis_every_mode_counts_in_memory() {
    let node = NodeCounters::in_memory();
    for enforcement in [Enforcement::Exact, Enforcement::Leased, Enforcement::Local] {
        let definition = Definition {
            id: Arc::from(format!("{enforcement:?}")),
            ..limit(5, Duration::from_secs(60), enforcement, OnFailure::Closed)
        };
        assert_eq!(admitted_of(&node, &definition, 50), 5);
        assert_eq!(take_one(&node, &definition).1, Came::AtOnce);
    }
}

#[test]
fn a_local_limit_is_each_nodes_own() {
    let cluster = Cluster::start(2, PATIENT);
    let definition = limit(5, Duration::from_secs(60), Enforcement::Local, OnFailure::Closed);
    assert_eq!(cluster.nodes.iter().map(|node| admitted_of(node, &definition, 9)).sum::<u64>(), 10);
    assert_eq!(cluster.node().health().calls, 0);
}

/// What each `on_failure` does while Redis is away, and that nobody waits for it.
fn assert_away(cluster: &Cluster, state: &str) {
    let mut waited = 0;
    for enforcement in [Enforcement::Exact, Enforcement::Leased] {
        let of = |on_failure| Definition {
            id: Arc::from(format!("{state} {enforcement:?} {on_failure:?}")),
            ..limit(20, Duration::from_secs(60), enforcement, on_failure)
        };
        for (on_failure, expected) in [
            (OnFailure::Open, 50),
            (OnFailure::Closed, 0),
            // Two nodes share the limit.
            (OnFailure::LocalShare, 10),
        ] {
            let definition = of(on_failure);
            let mut admitted = 0;
            for _ in 0..50 {
                let began = Instant::now();
                let (decision, came) = take_one(cluster.node(), &definition);
                assert!(began.elapsed() < HANGS, "{state}: held up for {:?}", began.elapsed());
                admitted += u64::from(decision.is_admitted);
                waited += u32::from(came == Came::Later);
            }
            assert_eq!(admitted, expected, "{state} {enforcement:?} {on_failure:?}");
        }
    }
    let refused = take_one(cluster.node(), &exact(1)).0;
    assert_eq!((refused.is_admitted, refused.reset), (false, Duration::from_secs(1)));
    assert!(waited <= WAITING, "{state}: {waited} of 300 requests waited");
}

/// The bar for this is a second, which `scripts/bench` measures.
#[track_caller]
fn assert_back(cluster: &Cluster, id: &str) {
    let began = Instant::now();
    until(|| cluster.node().health().is_shared);
    assert!(began.elapsed() < Duration::from_secs(3), "{id}: {:?}", began.elapsed());
    let definition = Definition { id: Arc::from(id), ..exact(2) };
    let admitted: u64 = cluster
        .nodes
        .iter()
        .map(|node| {
            until(|| node.health().is_shared);
            admitted_of(node, &definition, 5)
        })
        .sum();
    assert!(admitted <= 2, "{id}: {admitted}");
}

const DEADLINE: Duration = Duration::from_millis(4);

#[test]
fn while_redis_is_killed_each_limit_does_as_it_says() {
    let mut cluster = Cluster::start(2, DEADLINE);
    cluster.redis.kill().unwrap();
    assert_away(&cluster, "killed");
    cluster.redis.start_again().unwrap();
    assert_back(&cluster, "after it was killed");
}

#[test]
fn while_redis_hangs_each_limit_does_as_it_says() {
    let cluster = Cluster::start(2, DEADLINE);
    cluster.redis.pause().unwrap();
    assert_away(&cluster, "paused");
    cluster.redis.resume().unwrap();
    assert_back(&cluster, "after it hung");
}

#[test]
fn a_redis_that_is_too_slow_is_not_waited_for() {
    let control = control();
    let redis = Redis::start().unwrap();
    let slow = control.block_on(redis.slow_address(Duration::from_millis(30))).unwrap();
    let live_nodes = Arc::new(AtomicU32::new(1));
    let node = NodeCounters::with_redis(DEADLINE, &slow, live_nodes, control.handle()).unwrap();
    let definition = limit(1, Duration::from_secs(60), Enforcement::Exact, OnFailure::Open);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) {
        let (decision, came) = take_one(&node, &definition);
        assert_eq!((decision.is_admitted, came), (true, Came::AtOnce));
    }
    assert_eq!(node.health().calls, 0, "the prober alone finds it too slow");
}

#[test]
fn an_idle_node_finds_out_by_itself_that_redis_is_gone() {
    let mut cluster = Cluster::start(1, DEADLINE);
    cluster.redis.kill().unwrap();
    until(|| !cluster.node().health().is_shared);
    assert_eq!(cluster.node().health().calls, 0);
}

#[test]
fn what_was_debited_is_spent_on_while_redis_is_away() {
    let mut cluster = Cluster::start(1, PATIENT);
    let definition = leased(1_000_000);
    // Enough that a block is taken ahead.
    assert_eq!(admitted_of(cluster.node(), &definition, 500), 500);
    cluster.redis.kill().unwrap();
    assert!(take_one(cluster.node(), &definition).0.is_admitted);
}

#[test]
fn a_node_starts_without_redis() {
    let control = control();
    let mut redis = Redis::start().unwrap();
    redis.kill().unwrap();
    let live_nodes = Arc::new(AtomicU32::new(1));
    let node =
        NodeCounters::with_redis(DEADLINE, &redis.address(), live_nodes, control.handle()).unwrap();
    let definition = limit(3, Duration::from_secs(60), Enforcement::Exact, OnFailure::LocalShare);
    assert_eq!(admitted_of(&node, &definition, 9), 3);
    redis.start_again().unwrap();
    until(|| node.health().is_shared);
}

/// Puts right what was taken for a call that did cost something else.
fn settle(node: &NodeCounters, definition: &Definition, taken: (u64, Decision), did_cost: u64) {
    let (cost, decision) = taken;
    let tenant = Name::default_name();
    let now_unix_micros = unix_micros();
    let take = Take { definition, tenant: &tenant, subject: "web-shop", cost, now_unix_micros };
    let booked = decision.booked.unwrap();
    assert_eq!(booked.is_shared, definition.enforcement != Enforcement::Local);
    node.settle(&Settlement { take, booked, cost: did_cost });
}

#[test]
fn what_is_settled_on_one_node_counts_on_all() {
    let cluster = Cluster::start(2, PATIENT);
    let (first, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    for enforcement in [Enforcement::Exact, Enforcement::Leased] {
        let id = Arc::from(format!("{enforcement:?}"));
        let definition = Definition { id, enforcement, is_settled: true, ..exact(10) };
        let (taken, _) = take_one(first, &definition);
        // Far more than there is: both nodes refuse, as soon as they can know.
        settle(first, &definition, (1, taken), 12);
        for node in [first, other] {
            until(|| !take_one(node, &definition).0.is_admitted);
        }
        // It did cost nothing after all: both admit, though they remember that they were refused.
        settle(first, &definition, (12, taken), 0);
        for node in [first, other] {
            let mut next = taken;
            until(|| {
                (next, _) = take_one(node, &definition);
                next.is_admitted
            });
            // Others may have taken all but one before they were refused.
            settle(node, &definition, (1, next), 0);
        }
    }
}

#[test]
fn calls_that_are_settled_have_taken_what_they_did_cost() {
    let cluster = Cluster::start(1, PATIENT);
    let node = cluster.node();
    let client = redis::Client::open(cluster.redis.address()).unwrap();
    let mut connection = client.get_connection().unwrap();
    for enforcement in [Enforcement::Exact, Enforcement::Leased, Enforcement::Local] {
        let id: Arc<str> = Arc::from(format!("{enforcement:?}"));
        let definition = Definition { enforcement, is_settled: true, ..exact(1_000) };
        let definition = Definition { id: Arc::clone(&id), ..definition };
        // Each takes one and costs three, but for each fourth, which costs nothing.
        let taken: Vec<Decision> = (0..200).map(|_| take_one(node, &definition).0).collect();
        for (i, decision) in taken.into_iter().enumerate() {
            settle(node, &definition, (1, decision), if i % 4 == 0 { 0 } else { 3 });
        }
        // What a node holds and does not spend goes back as well.
        until(|| {
            let command =
                redis::cmd("HGETALL").arg(format!("tollgate:{{{id}|default|web-shop}}")).to_owned();
            let fields: std::collections::HashMap<String, u64> =
                command.query(&mut connection).unwrap();
            let used: u64 =
                fields.iter().filter(|(slot, _)| *slot != "length").map(|(_, n)| n).sum();
            enforcement == Enforcement::Local || used == 450
        });
        let admitted = admitted_of(node, &definition, 600);
        let fewest = if enforcement == Enforcement::Leased { 535 } else { 550 };
        assert!((fewest..=550).contains(&admitted), "{enforcement:?}: {admitted}");
    }
}
