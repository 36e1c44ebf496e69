//! A limit that admits without leaving the node allocates nothing: counted, in a program of its own.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use tollgate_data_plane::ports::concurrency::NodeConcurrency;
use tollgate_data_plane::ports::counters::NodeCounters;
use tollgate_model::Name;
use tollgate_policy::limit::{Definition, Enforcement, OnFailure};
use tollgate_policy::ports::{Concurrency as _, Counters as _, Enter, Entered, Take, Taken};
use tollgate_testkit::allocations::{self, Counting};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: u64 = 1_700_000_000_000_000;

fn definition(limit: u64, enforcement: Enforcement) -> Definition {
    Definition {
        id: Arc::from("Api/default/orders/rate_limit/default"),
        limit,
        window: Duration::from_secs(60).into(),
        enforcement,
        on_failure: OnFailure::Closed,
        is_settled: false,
    }
}

/// Whether a request was admitted, or refused, without waiting.
fn take(node: &NodeCounters, tenant: &Name, definition: &Definition) -> Option<bool> {
    let take = Take { definition, tenant, subject: "web-shop", cost: 1, now_unix_micros: NOW };
    match node.take(take) {
        Taken::Now(decision) => Some(decision.is_admitted),
        Taken::Wait(_) => None,
    }
}

#[test]
fn a_hit_in_memory_allocates_nothing_whether_it_admits_or_refuses() {
    let (node, tenant) = (NodeCounters::in_memory(), Name::default_name());
    let definition = definition(500, Enforcement::Local);
    assert_eq!(take(&node, &tenant, &definition), Some(true));
    let take = |_: &i32| take(&node, &tenant, &definition) == Some(true);
    let (admitted, allocations) = allocations::during(|| (0..1_000).filter(take).count());
    assert_eq!((allocations, admitted), (0, 499));
}

#[test]
fn a_request_under_way_allocates_nothing_once_its_subject_is_known() {
    let (node, tenant) = (NodeConcurrency::default(), Name::default_name());
    let is_let_in = |_: &i32| {
        let enter =
            Enter { id: "limit", tenant: &tenant, subject: "web-shop", limit: 2, queue: None };
        matches!(node.enter(enter), Entered::Now(Some(_)))
    };
    assert!(is_let_in(&0));
    let (let_in, allocations) = allocations::during(|| (0..1_000).filter(is_let_in).count());
    assert_eq!((allocations, let_in), (0, 1_000));
}

#[test]
fn a_permit_out_of_a_block_allocates_nothing() {
    let server = tollgate_testkit::redis::Redis::start().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let patient = Duration::from_secs(2);
    let node = NodeCounters::with_redis(
        patient,
        &server.address(),
        Arc::new(AtomicU32::new(1)),
        runtime.handle(),
    )
    .unwrap();
    let (tenant, definition) = (Name::default_name(), definition(1_000_000, Enforcement::Leased));
    // Until the blocks have grown so large that a hundred permits come out of one.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "no block of a hundred permits in 20 s");
        let hundred = || (0..100).all(|_| take(&node, &tenant, &definition) == Some(true));
        if allocations::during(hundred) == (true, 0) {
            return;
        }
        let take = Take {
            definition: &definition,
            tenant: &tenant,
            subject: "web-shop",
            cost: 1,
            now_unix_micros: NOW,
        };
        if let Taken::Wait(decision) = node.take(take) {
            runtime.block_on(decision);
        }
    }
}
