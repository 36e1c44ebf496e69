//! Nanoseconds a decision of a limit takes: `cargo bench --profile micro -p tollgate-data-plane --bench counters`.
//!
//! The fastest of many batches, which a busy machine disturbs least. Then how long a decision takes
//! while Redis is killed, paused or slow, and how soon limits are shared again after that. Needs `redis-server`.

#![expect(clippy::print_stdout, reason = "a program whose output is a table")]
#![expect(clippy::as_conversions, reason = "nanoseconds as a fraction")]
#![expect(clippy::unwrap_used, reason = "a bench stops where something is off")]

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tollgate_data_plane::clock::unix_micros;
use tollgate_data_plane::ports::counters::NodeCounters;
use tollgate_model::Name;
use tollgate_policy::limit::{Definition, Enforcement, OnFailure};
use tollgate_policy::ports::{Counters as _, Take, Taken};
use tollgate_testkit::redis::Redis;

const TIMEOUT: Duration = Duration::from_millis(4);
const BATCHES: u32 = 200;
const DECISIONS: u32 = 5_000;

fn main() {
    let definition = |limit, enforcement| Definition {
        id: Arc::from("Api/default/orders/rate_limit/default"),
        limit,
        window: Duration::from_secs(60).into(),
        enforcement,
        on_failure: OnFailure::Closed,
        is_settled: false,
    };
    println!("{:<40} {:>12} {:>10}", "decision", "ns", "waited");
    let memory = NodeCounters::in_memory();
    measure("in memory, admitted", &memory, &definition(u64::MAX >> 1, Enforcement::Local));
    measure("in memory, refused", &memory, &definition(1, Enforcement::Exact));
    let server = Redis::start().unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _control = runtime.enter();
    let shared = node(&server.address(), &runtime);
    measure("leased, admitted", &shared, &definition(1_000_000_000, Enforcement::Leased));
    measure("exact, refused", &shared, &definition(1, Enforcement::Exact));
    let health = shared.health();
    println!("{} calls of redis, {} failed", health.calls, health.failures);
    drop(shared);
    faults(server, &runtime, &definition(1_000_000_000, Enforcement::Exact));
}

/// Decisions of an exact limit over the first second of each fault, and the return from it.
fn faults(mut server: Redis, runtime: &Runtime, definition: &Definition) {
    println!("{:<40} {:>12} {:>10} {:>10}", "redis is", "p50 us", "p99 us", "back ms");
    let address = server.address();
    let node = node(&address, runtime);
    row("there", over_a_second(&node, definition), None);
    server.kill().unwrap();
    let killed = over_a_second(&node, definition);
    server.start_again().unwrap();
    row("killed", killed, Some(until_shared(&node)));
    server.pause().unwrap();
    let paused = over_a_second(&node, definition);
    server.resume().unwrap();
    row("paused", paused, Some(until_shared(&node)));
    let slow = runtime.block_on(server.slow_address(Duration::from_millis(30))).unwrap();
    let live_nodes = Arc::new(AtomicU32::new(1));
    let slow = NodeCounters::with_redis(TIMEOUT, &slow, live_nodes, runtime.handle()).unwrap();
    row("slow by 30 ms", over_a_second(&slow, definition), None);
}

fn node(address: &str, runtime: &Runtime) -> NodeCounters {
    let live_nodes = Arc::new(AtomicU32::new(1));
    let node = NodeCounters::with_redis(TIMEOUT, address, live_nodes, runtime.handle()).unwrap();
    until_shared(&node);
    node
}

fn until_shared(node: &NodeCounters) -> Duration {
    let began = Instant::now();
    while !node.health().is_shared {
        std::thread::yield_now();
    }
    began.elapsed()
}

/// How long each decision took, in order of length. One every 200 us: the waits are what is asked for.
fn over_a_second(node: &NodeCounters, definition: &Definition) -> Vec<Duration> {
    let (tenant, began, mut took) = (Name::default_name(), Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_secs(1) {
        let asked = Instant::now();
        let now_unix_micros = unix_micros();
        let take = Take { definition, tenant: &tenant, subject: "web", cost: 1, now_unix_micros };
        if let Taken::Wait(decision) = node.take(take) {
            tokio::runtime::Handle::current().block_on(decision);
        }
        took.push(asked.elapsed());
        std::thread::sleep(Duration::from_micros(200));
    }
    took.sort_unstable();
    took
}

fn row(state: &str, took: Vec<Duration>, back: Option<Duration>) {
    let micros = |share: usize| took.get(took.len() * share / 100).map_or(0, Duration::as_micros);
    let back = back.map_or_else(|| "-".to_owned(), |back| back.as_millis().to_string());
    println!("{state:<40} {:>12} {:>10} {back:>10}", micros(50), micros(99));
}

fn measure(name: &str, node: &NodeCounters, definition: &Definition) {
    let (tenant, mut fastest, mut waited) = (Name::default_name(), f64::INFINITY, 0);
    for _ in 0..BATCHES {
        let now_unix_micros = unix_micros();
        let began = Instant::now();
        for _ in 0..DECISIONS {
            let take =
                Take { definition, tenant: &tenant, subject: "web-shop", cost: 1, now_unix_micros };
            if let Taken::Wait(decision) = node.take(take) {
                waited += 1;
                tokio::runtime::Handle::current().block_on(decision);
            }
        }
        fastest = fastest.min(began.elapsed().as_nanos() as f64 / f64::from(DECISIONS));
    }
    println!("{name:<40} {fastest:>12.0} {waited:>10}");
}
