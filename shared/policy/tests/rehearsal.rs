//! What policies would do to a request, while nothing comes of it.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

#[expect(dead_code, reason = "the tests of the single policies use the rest of it")]
mod support;

use std::sync::Arc;

use http::Request;
use tollgate_policy::Body;
use tollgate_policy::chain::{Chain, Owner};
use tollgate_policy::rehearsal::{Changes, Did, Rehearsal, Step};

use crate::support::{World, caller, chain, name, request};

async fn rehearse(world: &World, chain: &Chain, request: &mut Request<Body>) -> Vec<Step> {
    let rehearsal = Rehearsal::of(world);
    let mut cx = world.cx();
    cx.ports = &rehearsal;
    chain.rehearse(&mut cx, request).await
}

fn changes(step: &Step) -> &Changes {
    let passed = match &step.did {
        Did::Passed(changes) => Some(&**changes),
        Did::Refused(_) | Did::Answered(_) | Did::NotAsked | Did::NotReached => None,
    };
    passed.unwrap()
}

#[tokio::test]
async fn each_step_tells_what_it_changes_and_no_values_of_fields() {
    let world = World::default().with_caller("sk-shop-0001", caller("web-shop", "first"));
    let chain = chain(&[
        "api_key: {}",
        "rewrite: {prefix: {from: /, to: /v2}, host: inner.test}",
        "query: {set: {debug: \"1\"}}",
        "headers: {request: {set: {x-a: b}, remove: [x-b]}}",
        "mirror: {upstream: lab}",
        "mirror: {upstream: next}",
        "split: {to: [{upstream: next, percent: 100}]}",
    ]);
    let mut request = request(&[("x-api-key", "sk-shop-0001"), ("x-b", "1"), ("x-c", "1")]);
    let steps = rehearse(&world, &chain, &mut request).await;
    let names: Vec<&str> = steps.iter().map(|step| step.policy).collect();
    assert_eq!(names, ["api_key", "split", "rewrite", "query", "headers", "mirror", "mirror"]);
    let found = Changes {
        caller: Some((name("web-shop"), name("first"))),
        removed: vec!["x-api-key".parse().unwrap()],
        ..Changes::default()
    };
    assert_eq!(*changes(&steps[0]), found);
    let chosen = Changes { upstream: Some(name("next")), ..Changes::default() };
    assert_eq!(*changes(&steps[1]), chosen);
    for (step, mirror) in [(5, "lab"), (6, "next")] {
        let copied = Changes { mirrors: vec![name(mirror)], ..Changes::default() };
        assert_eq!(*changes(&steps[step]), copied);
    }
    let path = changes(&steps[2]).path.as_deref().unwrap();
    assert!(path.starts_with("/v2/"), "{path}");
    assert_eq!(changes(&steps[2]).host.as_ref().unwrap(), "inner.test");
    assert!(changes(&steps[3]).has_other_query && changes(&steps[3]).path.is_none());
    let fields = Changes {
        set: vec!["x-a".parse().unwrap()],
        removed: vec!["x-b".parse().unwrap()],
        ..Changes::default()
    };
    assert_eq!(*changes(&steps[4]), fields);
}

#[tokio::test]
async fn what_comes_after_a_refusal_or_an_answer_is_not_reached() {
    let world = World::default();
    let refusing = chain(&["api_key: {}", "headers: {}"]);
    let steps = rehearse(&world, &refusing, &mut request(&[])).await;
    assert!(matches!(&steps[0].did, Did::Refused(refusal) if refusal.code == "unauthenticated"));
    assert!(matches!(steps[1].did, Did::NotReached));
    let answering = chain(&["respond: {status: 204}", "headers: {}"]);
    let steps = rehearse(&world, &answering, &mut request(&[])).await;
    let answered = steps.iter().find(|step| step.policy == "respond").unwrap();
    assert!(matches!(answered.did, Did::Answered(status) if status == 204));
}

#[tokio::test]
async fn the_callers_own_policies_stand_among_the_others() {
    let mut own = caller("web-shop", "first");
    own.chain = Some(Arc::new(chain(&["rate_limit: {limit: 1, window: 1h}"])));
    let world = World::default().with_caller("sk-shop-0001", own);
    let chain = chain(&["api_key: {}", "headers: {}"]);
    let mut request = request(&[("x-api-key", "sk-shop-0001")]);
    let steps = rehearse(&world, &chain, &mut request).await;
    let order: Vec<(&str, Owner)> = steps.iter().map(|step| (step.policy, step.owner)).collect();
    let expected =
        [("api_key", Owner::Route), ("rate_limit", Owner::Caller), ("headers", Owner::Route)];
    assert_eq!(order, expected);
}

#[tokio::test]
async fn nothing_is_counted_and_what_is_used_up_is_told() {
    let world = World::default();
    let chain = chain(&[
        "rate_limit: {limit: 1, window: 1h, by: ip}",
        "quota: {limit: 5, window: day, by: ip}",
        "concurrency: {limit: 1, by: ip}",
    ]);
    for _ in 0..3 {
        let steps = rehearse(&world, &chain, &mut request(&[])).await;
        assert!(steps.iter().all(|step| matches!(step.did, Did::Passed(_))), "{steps:?}");
    }
    assert_eq!(world.counters.subjects(), [""; 0]);
    assert!(world.gates.gates.borrow().is_empty());
    world.exchange(&chain, request(&[])).await;
    let steps = rehearse(&world, &chain, &mut request(&[])).await;
    assert!(matches!(&steps[0].did, Did::Refused(refusal) if refusal.code == "rate_limited"));
}

/// What a limit says to a rehearsal and then to the call itself.
#[tokio::test]
async fn a_cost_that_is_worked_out_is_the_same_for_a_rehearsal() {
    let world = World::default();
    let cost = "'int(request.headers[\"x-units\"])'";
    let chain = chain(&[&format!("rate_limit: {{limit: 5, window: 1h, by: ip, cost: {cost}}}")]);
    for (units, refused) in [
        ("4", None),
        ("4", Some("rate_limited")),
        ("0", None),
        ("6", Some("cost_above_limit")),
        ("none", Some("cost_unknown")),
        ("1", None),
        ("1", Some("rate_limited")),
    ] {
        let steps = rehearse(&world, &chain, &mut request(&[("x-units", units)])).await;
        let rehearsed = match &steps[0].did {
            Did::Refused(refusal) => Some(refusal.code),
            Did::Passed(_) | Did::Answered(_) | Did::NotAsked | Did::NotReached => None,
        };
        let met = world.exchange(&chain, request(&[("x-units", units)])).await;
        assert_eq!((rehearsed, met.refused().map(|(_, code)| code)), (refused, refused), "{units}");
    }
}
