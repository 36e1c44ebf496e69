//! In which order policies run, and which of several.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

#[expect(dead_code, reason = "the tests of the single policies use the rest of it")]
mod support;

use std::sync::Arc;

use tollgate_policy::chain::Chain;
use tollgate_policy::policies::Shared;

use crate::support::{World, caller, policy, request};

fn level(texts: &[&str]) -> Vec<Shared> {
    texts.iter().map(|text| policy(text)).collect()
}

/// A `headers` policy that adds a mark to request and response.
fn mark(text: &str) -> Shared {
    policy(&format!(
        "headers: {{request: {{add: {{x-mark: {text}}}}}, response: {{add: {{x-mark: {text}}}}}}}"
    ))
}

fn marks(request: &http::Request<tollgate_policy::Body>) -> Vec<&str> {
    request.headers().get_all("x-mark").iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn levels_run_from_the_outermost_in_and_answers_from_the_innermost_out() {
    let levels = [vec![mark("gateway")], vec![mark("api"), mark("api-2")], vec![mark("route")]];
    let chain = Chain::assemble(levels.iter().map(Vec::as_slice));
    let met = World::default().exchange(&chain, request(&[])).await;
    assert_eq!(marks(&met.request), ["gateway", "api", "api-2", "route"]);
    assert_eq!(met.answered("x-mark"), ["route", "api-2", "api", "gateway"]);
}

#[test]
fn phases_come_before_levels_and_writing() {
    let levels =
        [level(&["headers: {}", "rate_limit: {limit: 1, window: 1s}"]), level(&["api_key: {}"])];
    let chain = Chain::assemble(levels.iter().map(Vec::as_slice));
    let names: Vec<&str> = chain.policies().iter().map(|policy| policy.name()).collect();
    assert_eq!(names, ["api_key", "rate_limit", "headers"]);
}

#[tokio::test]
async fn of_what_repeats_the_innermost_runs() {
    let levels = [
        level(&["api_key: {}"]),
        level(&["api_key: {headers: [x-outer]}"]),
        level(&["api_key: {headers: [x-inner]}"]),
    ];
    let chain = Chain::assemble(levels.iter().map(Vec::as_slice));
    assert_eq!(chain.policies().len(), 1);
    let world = World::default().with_caller("sk-shop-0001", caller("web-shop", "first"));
    assert!(
        world.exchange(&chain, request(&[("x-inner", "sk-shop-0001")])).await.refusal.is_none()
    );
    assert!(
        world.exchange(&chain, request(&[("x-outer", "sk-shop-0001")])).await.refusal.is_some()
    );
}

#[tokio::test]
async fn an_applications_own_policies_run_after_the_routes_of_their_phase() {
    let levels = [
        level(&["api_key: {}", "rate_limit: {limit: 5, window: 1s, name: route}"]),
        vec![mark("route")],
    ];
    let chain = Chain::assemble(levels.iter().map(Vec::as_slice));
    let own =
        [level(&["rate_limit: {limit: 1, window: 1s, name: own}"]), vec![mark("application")]];
    let mut caller = caller("web-shop", "first");
    caller.chain = Some(Arc::new(Chain::assemble(own.iter().map(Vec::as_slice))));
    let world = World::default().with_caller("sk-shop-0001", caller);
    let met = world.exchange(&chain, request(&[("x-api-key", "sk-shop-0001")])).await;
    assert_eq!(marks(&met.request), ["route", "application"]);
    assert_eq!(met.answered("x-mark"), ["application", "route"]);
    assert_eq!(met.answered("ratelimit-policy"), [r#""own";q=1;w=1"#, r#""route";q=5;w=1"#]);
    let met = world.exchange(&chain, request(&[("x-api-key", "sk-shop-0001")])).await;
    assert_eq!(met.refused(), Some((429, "rate_limited")));
}

#[tokio::test]
async fn what_refuses_keeps_the_rest_from_running() {
    let levels = [level(&["api_key: {}", "rate_limit: {limit: 5, window: 1s}"])];
    let chain = Chain::assemble(levels.iter().map(Vec::as_slice));
    let world = World::default();
    assert!(world.exchange(&chain, request(&[])).await.refusal.is_some());
    assert!(world.counters.subjects().is_empty());
}
