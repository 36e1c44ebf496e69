use std::sync::Arc;
use std::time::Duration;

use crate::policies::AnyPolicy;
use crate::ports::Decision;
use crate::support::{World, caller, chain, name, policy, request};

fn definition_of(text: &str) -> crate::limit::Definition {
    let policy = policy(text);
    let AnyPolicy::RateLimit(limit) = &*policy else { panic!("{text} is not a rate limit") };
    limit.definition().clone()
}

#[tokio::test]
async fn a_subject_over_its_limit_is_refused_with_429_and_told_when_to_come_back() {
    let (world, chain) = (World::default(), chain(&["rate_limit: {limit: 2, window: 32s}"]));
    for left in ["1", "0"] {
        let met = world.exchange(&chain, request(&[])).await;
        assert_eq!(met.refused(), None);
        assert_eq!(met.answered("ratelimit-policy"), [r#""default";q=2;w=32"#]);
        assert!(met.answered("ratelimit")[0].starts_with(&format!(r#""default";r={left};t="#)));
    }
    let met = world.exchange(&chain, request(&[])).await;
    assert_eq!(met.refused(), Some((429, "rate_limited")));
    assert_eq!(met.answered("ratelimit-policy"), [r#""default";q=2;w=32"#]);
    assert!(met.answered("ratelimit")[0].starts_with(r#""default";r=0;t=3"#));
    let retry_after: u64 = met.answered("retry-after")[0].parse().unwrap();
    assert!((32..=33).contains(&retry_after), "{retry_after}");
}

#[tokio::test]
async fn who_waits_as_long_as_told_is_admitted() {
    let (mut world, chain) = (World::default(), chain(&["rate_limit: {limit: 1, window: 5s}"]));
    world.exchange(&chain, request(&[])).await;
    let met = world.exchange(&chain, request(&[])).await;
    let retry_after: u64 = met.answered("retry-after")[0].parse().unwrap();
    world.now_unix_micros += retry_after * 1_000_000;
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
}

#[tokio::test]
async fn seconds_are_rounded_up() {
    let mut world = World::default();
    for (millis, seconds) in [(0, "0"), (1, "1"), (1_000, "1"), (1_001, "2")] {
        world.counters.fixed = Some(Decision {
            is_admitted: false,
            remaining: 0,
            reset: Duration::from_millis(millis),
        });
        let met =
            world.exchange(&chain(&["rate_limit: {limit: 1, window: 1s}"]), request(&[])).await;
        assert_eq!(met.answered("retry-after"), [seconds]);
        assert_eq!(met.answered("ratelimit"), [format!(r#""default";r=0;t={seconds}"#)]);
    }
}

#[tokio::test]
async fn each_kind_of_subject_is_counted_for_itself() {
    for (by, expected) in [
        ("application", "web-shop"),
        ("credential", "first"),
        ("ip", "192.0.2.7"),
        ("route", "orders/item"),
        ("'{header.x-user}'", "u1"),
        ("'{application}:{query.color}'", "web-shop:red"),
    ] {
        let world =
            World { identity: Some(Arc::new(caller("web-shop", "first"))), ..World::default() };
        let chain = chain(&[&format!("rate_limit: {{limit: 1, window: 1s, by: {by}}}")]);
        world.exchange(&chain, request(&[("x-user", "u1")])).await;
        let subject = format!("Api/default/orders/default default {expected}");
        assert_eq!(world.counters.subjects(), [subject], "{by}");
    }
}

#[tokio::test]
async fn a_call_without_an_identity_counts_for_its_address() {
    for by in ["application", "credential"] {
        let world = World::default();
        world
            .exchange(
                &chain(&[&format!("rate_limit: {{limit: 1, window: 1s, by: {by}}}")]),
                request(&[]),
            )
            .await;
        assert_eq!(world.counters.subjects(), ["Api/default/orders/default default 192.0.2.7"]);
    }
}

#[tokio::test]
async fn applications_of_the_same_name_in_two_tenants_are_counted_apart() {
    let chain = chain(&["rate_limit: {limit: 1, window: 1s}"]);
    let mut world =
        World { identity: Some(Arc::new(caller("web-shop", "first"))), ..World::default() };
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
    world.route.tenant = name("other");
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), Some((429, "rate_limited")));
}

#[tokio::test]
async fn routes_of_the_same_name_in_two_apis_are_counted_apart() {
    let chain = chain(&["rate_limit: {limit: 1, window: 1s, by: route}"]);
    let mut world = World::default();
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
    world.route.api = name("invoices");
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
}

#[tokio::test]
async fn counters_that_are_elsewhere_are_waited_for() {
    let mut world = World::default();
    world.counters.are_elsewhere = true;
    let chain = chain(&["rate_limit: {limit: 1, window: 1s, mode: exact}"]);
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), Some((429, "rate_limited")));
}

#[tokio::test]
async fn two_limits_both_count_and_both_report() {
    let chain = chain(&[
        "rate_limit: {limit: 1, window: 1s, name: second}",
        "rate_limit: {limit: 9, window: 1h, name: hour}",
    ]);
    let world = World::default();
    let met = world.exchange(&chain, request(&[])).await;
    assert_eq!(met.answered("ratelimit-policy"), [r#""hour";q=9;w=3600"#, r#""second";q=1;w=1"#]);
    assert_eq!(world.counters.subjects().len(), 2);
}

#[test]
fn an_edit_of_the_numbers_keeps_the_counter() {
    let before = definition_of("rate_limit: {limit: 1, window: 1s, mode: exact}");
    let after =
        definition_of("rate_limit: {limit: 9, window: 1h, mode: leased, by: ip, on_failure: open}");
    assert_eq!(before.id, after.id);
    assert_ne!(before.id, definition_of("rate_limit: {limit: 1, window: 1s, name: other}").id);
}

#[test]
fn what_is_left_out_is_leased_and_falls_back_to_a_local_share() {
    let definition = definition_of("rate_limit: {limit: 1, window: 1s}");
    assert_eq!(definition.enforcement, crate::limit::Enforcement::Leased);
    assert_eq!(definition.on_failure, crate::limit::OnFailure::LocalShare);
}

#[tokio::test]
async fn a_request_takes_what_it_costs() {
    let (world, chain) =
        (World::default(), chain(&["rate_limit: {limit: 10, window: 1h, cost: 4, by: ip}"]));
    let mut left = Vec::new();
    for _ in 0..3 {
        let met = world.exchange(&chain, request(&[])).await;
        let is_refused = met.refused() == Some((429, "rate_limited"));
        left.push((is_refused, met.answered("ratelimit").join(",")));
    }
    assert_eq!((left[0].0, left[1].0, left[2].0), (false, false, true));
    assert!(left[0].1.contains("r=6") && left[1].1.contains("r=2"), "{left:?}");
}

#[tokio::test]
async fn one_that_only_watches_counts_and_refuses_nobody() {
    let world = World::default();
    let chain = chain(&[
        "rate_limit: {limit: 1, window: 1h, by: ip, shadow: true}",
        "quota: {limit: 1, window: day, by: ip, shadow: true, name: daily}",
    ]);
    for count in 0..3 {
        let (mut cx, mut request, mut carries) =
            (world.cx(), request(&[]), crate::chain::Carries::default());
        let flow = chain.on_request(&mut cx, &mut request, &mut carries).await;
        assert!(matches!(flow, crate::policy::Flow::Next(())));
        assert_eq!(cx.shadowed, (count > 0).then_some("rate_limited"));
        let mut response = http::Response::new(crate::Body::Empty);
        chain.on_response(&mut carries, &mut cx, &mut response).await;
        assert!(response.headers().is_empty(), "{:?}", response.headers());
    }
    assert_eq!(world.counters.subjects().len(), 2);
}
