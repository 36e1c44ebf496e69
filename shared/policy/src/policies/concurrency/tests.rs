use std::sync::Arc;

use crate::chain::{Carries, Chain};
use crate::policy::{End, Flow};
use crate::support::{World, caller, chain, name, request};

const END: End = End { status: http::StatusCode::OK, is_complete: false };

/// Sends a request as far as the upstream; none where it is refused.
async fn under_way(world: &World, chain: &Chain) -> Option<Carries> {
    let (mut cx, mut request, mut carries) = (world.cx(), request(&[]), Carries::default());
    match chain.on_request(&mut cx, &mut request, &mut carries).await {
        Flow::Next(()) => Some(carries),
        Flow::Refuse(refusal) => {
            assert_eq!((refusal.status.as_u16(), refusal.code), (429, "concurrency_exceeded"));
            assert_eq!(refusal.headers.len(), 1);
            None
        }
        Flow::Answer(_) => panic!("nobody answers"),
    }
}

#[tokio::test]
async fn no_more_than_the_limit_are_under_way_and_who_ends_makes_room() {
    let (world, chain) = (World::default(), chain(&["concurrency: {limit: 2}"]));
    let first = under_way(&world, &chain).await.unwrap();
    let _second = under_way(&world, &chain).await.unwrap();
    assert!(under_way(&world, &chain).await.is_none());
    chain.on_end(first, &END);
    let third = under_way(&world, &chain).await.unwrap();
    assert!(under_way(&world, &chain).await.is_none());
    // A client that goes away while policies still run: nothing hears of an end.
    drop(third);
    assert!(under_way(&world, &chain).await.is_some());
}

#[tokio::test]
async fn what_a_later_policy_refuses_is_not_under_way_for_ever() {
    let (world, chain) = (
        World::default(),
        chain(&["concurrency: {limit: 1}", "rate_limit: {limit: 1, window: 1h, by: ip}"]),
    );
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
    for _ in 0..2 {
        let refused = world.exchange(&chain, request(&[])).await;
        assert_eq!(refused.refused(), Some((429, "rate_limited")));
    }
}

#[tokio::test]
async fn subjects_tenants_and_names_are_counted_apart() {
    let mut world = World::default();
    let both = chain(&["concurrency: {limit: 1, by: ip}", "concurrency: {limit: 2, name: wider}"]);
    let mut held = Vec::new();
    held.extend(under_way(&world, &both).await);
    assert!(under_way(&world, &both).await.is_none());
    world.identity = Some(Arc::new(caller("web-shop", "first")));
    assert!(under_way(&world, &both).await.is_none());
    let own = chain(&["concurrency: {limit: 1}"]);
    held.extend(under_way(&world, &own).await);
    assert!(under_way(&world, &own).await.is_none());
    world.route.tenant = name("other");
    held.extend(under_way(&world, &own).await);
    assert_eq!(held.len(), 3);
}

#[tokio::test]
async fn who_waits_is_let_in_or_refused_in_the_end() {
    let (world, chain) =
        (World::default(), chain(&["concurrency: {limit: 1, queue: {length: 1, timeout: 1s}}"]));
    let first = under_way(&world, &chain).await.unwrap();
    // The double lets one wait that asks while something is under way, and gives it the next place.
    world.gates.lets_wait.set(true);
    let second = async {
        let waited = under_way(&world, &chain).await;
        waited.is_some()
    };
    let ending = async {
        tokio::task::yield_now().await;
        chain.on_end(first, &END);
    };
    let (was_let_in, ()) = tokio::join!(second, ending);
    assert!(was_let_in);
    world.gates.lets_wait.set(false);
    let _third = under_way(&world, &chain).await.unwrap();
    assert!(under_way(&world, &chain).await.is_none());
}
