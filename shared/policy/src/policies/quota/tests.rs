use std::sync::Arc;

use crate::limit::Window;
use crate::policies::AnyPolicy;
use crate::support::{NOW, World, caller, chain, policy, request};

const DAY: u64 = 86_400 * 1_000_000;

#[tokio::test]
async fn a_quota_is_there_again_when_the_next_window_begins() {
    let (mut world, chain) = (World::default(), chain(&["quota: {limit: 2, window: day}"]));
    // 2023-11-14T22:13:20Z.
    for left in ["1", "0"] {
        let met = world.exchange(&chain, request(&[])).await;
        assert_eq!(met.answered("ratelimit-policy"), [r#""default";q=2;w=86400"#]);
        assert_eq!(met.answered("ratelimit"), [format!(r#""default";r={left};t=6400"#)]);
    }
    let met = world.exchange(&chain, request(&[])).await;
    assert_eq!(met.refused(), Some((429, "quota_exhausted")));
    assert_eq!(met.answered("retry-after"), ["6400"]);
    assert_eq!(met.answered("ratelimit"), [r#""default";r=0;t=6400"#]);
    assert_eq!(met.answered("ratelimit-policy"), [r#""default";q=2;w=86400"#]);
    world.now_unix_micros = NOW + 6_400 * 1_000_000 - 1;
    assert!(world.exchange(&chain, request(&[])).await.refused().is_some());
    world.now_unix_micros = NOW + 6_400 * 1_000_000;
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
}

#[tokio::test]
async fn a_refusal_names_the_window_and_the_length_is_that_of_the_current_one() {
    for (window, seconds, detail) in [
        ("minute", 60, "the quota of this minute is used up"),
        ("hour", 3_600, "the quota of this hour is used up"),
        ("week", 7 * 86_400, "the quota of this week is used up"),
        ("month", 30 * 86_400, "the quota of this month is used up"),
        ("year", 365 * 86_400, "the quota of this year is used up"),
    ] {
        let world = World::default();
        let chain = chain(&[&format!("quota: {{limit: 1, window: {window}}}")]);
        world.exchange(&chain, request(&[])).await;
        let met = world.exchange(&chain, request(&[])).await;
        assert_eq!(met.refusal.as_ref().unwrap().detail, detail);
        assert_eq!(met.answered("ratelimit-policy"), [format!(r#""default";q=1;w={seconds}"#)]);
    }
}

#[tokio::test]
async fn midnight_is_that_of_the_time_zone() {
    let mut world = World::default();
    let chain = chain(&["quota: {limit: 1, window: day, time_zone: Asia/Kathmandu}"]);
    world.exchange(&chain, request(&[])).await;
    let met = world.exchange(&chain, request(&[])).await;
    // There it is 03:58:20 of the next day.
    let left = 86_400 - (3 * 3_600 + 58 * 60 + 20);
    assert_eq!(met.answered("retry-after"), [left.to_string()]);
    world.now_unix_micros += left * 1_000_000;
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
}

#[tokio::test]
async fn several_quotas_and_a_rate_all_count() {
    let mut world =
        World { identity: Some(Arc::new(caller("web-shop", "first"))), ..World::default() };
    let chain = chain(&[
        "quota: {limit: 3, window: month, name: month}",
        "quota: {limit: 2, window: day, name: day, by: credential}",
        "rate_limit: {limit: 9, window: 1h}",
    ]);
    let refused = async |world: &World| {
        let met = world.exchange(&chain, request(&[])).await;
        met.refused().map(|(_, code)| code.to_owned())
    };
    assert_eq!((refused(&world).await, refused(&world).await), (None, None));
    assert_eq!(refused(&world).await.as_deref(), Some("quota_exhausted"));
    let subjects = world.counters.subjects();
    assert_eq!(subjects.len(), 3);
    world.now_unix_micros += DAY;
    // The month counted the request that the day refused: it stands before it.
    assert_eq!(refused(&world).await.as_deref(), Some("quota_exhausted"));
}

#[test]
fn an_edit_keeps_the_counter_and_another_zone_is_another_window() {
    let definition = |text: &str| {
        let policy = policy(text);
        let AnyPolicy::Quota(quota) = &*policy else { panic!("{text} is no quota") };
        quota.definition().clone()
    };
    let before = definition("quota: {limit: 1, window: day}");
    let after = definition("quota: {limit: 9, window: day, time_zone: Asia/Tokyo, mode: exact}");
    assert_eq!(before.id, after.id);
    assert_ne!(before.window.shape(), after.window.shape());
    assert!(matches!(before.window, Window::Calendar(_)));
}

#[tokio::test]
async fn an_expression_says_what_a_request_costs() {
    let (world, chain) = (
        World::default(),
        chain(&["quota: {limit: 9, window: day, cost: 'int(request.headers[\"x-units\"])'}"]),
    );
    let met = world.exchange(&chain, request(&[("x-units", "4")])).await;
    assert_eq!(met.answered("ratelimit"), [r#""default";r=5;t=6400"#]);
    let met = world.exchange(&chain, request(&[("x-units", "6")])).await;
    assert_eq!(met.refused(), Some((429, "quota_exhausted")));
    assert_eq!(met.answered("ratelimit"), [r#""default";r=5;t=6400"#]);
    for (units, code) in [("10", "cost_above_limit"), ("-4", "cost_unknown")] {
        let met = world.exchange(&chain, request(&[("x-units", units)])).await;
        assert_eq!(met.refused(), Some((400, code)));
        assert_eq!(met.answered("ratelimit-policy"), [r#""default";q=9;w=86400"#]);
    }
    // What was refused took nothing.
    let met = world.exchange(&chain, request(&[("x-units", "5")])).await;
    assert_eq!(met.answered("ratelimit"), [r#""default";r=0;t=6400"#]);
}
