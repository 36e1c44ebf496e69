//! Nanoseconds a decision of a limit takes: `cargo bench --profile micro -p tollgate-data-plane --bench counters`.
//!
//! The fastest of many batches, which a busy machine disturbs least. The leased row needs `redis-server`.

#![expect(clippy::print_stdout, reason = "a program whose output is a table")]
#![expect(clippy::as_conversions, reason = "nanoseconds as a fraction")]
#![expect(clippy::unwrap_used, reason = "a bench stops where something is off")]

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use tollgate_data_plane::clock::unix_micros;
use tollgate_data_plane::ports::counters::NodeCounters;
use tollgate_model::Name;
use tollgate_policy::limit::{Definition, Enforcement, OnFailure};
use tollgate_policy::ports::{Counters as _, Take, Taken};

const TIMEOUT: Duration = Duration::from_millis(4);
const BATCHES: u32 = 200;
const DECISIONS: u32 = 5_000;

fn main() {
    let definition = |limit, enforcement| Definition {
        id: Arc::from("Api/default/orders/rate_limit/default"),
        limit,
        window: Duration::from_secs(60),
        enforcement,
        on_failure: OnFailure::Closed,
    };
    println!("{:<40} {:>12} {:>10}", "decision", "ns", "waited");
    let memory = NodeCounters::in_memory();
    measure("in memory, admitted", &memory, &definition(u64::MAX >> 1, Enforcement::Local));
    measure("in memory, refused", &memory, &definition(1, Enforcement::Exact));
    let server = tollgate_testkit::redis::Redis::start().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _control = runtime.enter();
    let live_nodes = Arc::new(AtomicU32::new(1));
    let shared =
        NodeCounters::with_redis(TIMEOUT, &server.address(), live_nodes, runtime.handle()).unwrap();
    while !shared.health().is_shared {
        std::thread::yield_now();
    }
    measure("leased, admitted", &shared, &definition(1_000_000_000, Enforcement::Leased));
    measure("exact, refused", &shared, &definition(1, Enforcement::Exact));
    let health = shared.health();
    println!("{} calls of redis, {} failed", health.calls, health.failures);
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
