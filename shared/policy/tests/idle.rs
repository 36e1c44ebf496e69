//! A policy that has nothing to do, or nothing to keep, allocates nothing: counted, in a program of its own.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

#[expect(dead_code, reason = "the tests of the single policies use the rest of it")]
mod support;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderMap, Response};
use tollgate_policy::chain::Carries;
use tollgate_policy::policy::Caller;
use tollgate_policy::ports::Decision;
use tollgate_policy::{Body, Claims, Flow};
use tollgate_testkit::allocations::{self, Counting};

use crate::support::{World, caller, chain, name, request};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Whether a request went through a policy, both halves, and what that allocated.
fn through(policy: &str, world: &World) -> (bool, u64) {
    let chain = chain(&[policy]);
    let (mut request, mut response) = (request(&[("x-a", "1")]), Response::new(Body::Empty));
    // An answer has fields anyhow: what is counted is not the room for those of a policy.
    *response.headers_mut() = HeaderMap::with_capacity(16);
    let (mut carries, mut cx) = (Carries::default(), world.cx());
    let exchange = async {
        let flow = chain.on_request(&mut cx, &mut request, &mut carries).await;
        chain.on_response(&mut carries, &mut cx, &mut response).await;
        matches!(flow, Flow::Next(()))
    };
    let mut exchange = pin!(exchange);
    allocations::during(|| match exchange.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(went_through) => went_through,
        Poll::Pending => panic!("nothing here waits"),
    })
}

#[test]
fn a_client_among_thousands_of_networks_is_let_through_without_an_allocation() {
    let denied: Vec<String> =
        (0..5_000_u32).map(|i| format!("10.{}.{}.0/25", i / 256, i % 256)).collect();
    let policy = format!("ip_access: {{allow: [192.0.2.0/24], deny: [{}]}}", denied.join(", "));
    assert_eq!(through(&policy, &World::default()), (true, 0));
}

#[test]
fn a_caller_is_found_in_long_lists_without_an_allocation() {
    let many =
        |what: &str| (0..2_000).map(|i| format!("{what}-{i}")).collect::<Vec<_>>().join(", ");
    let policy = format!(
        "acl: {{allow: {{groups: [{0}], scopes: ['a b c']}}, deny: {{applications: [{1}], groups: [{1}]}}}}",
        many("group"),
        many("other"),
    );
    let member = Caller { groups: [name("group-77")].into(), ..caller("web-shop", "first") };
    let world = World { identity: Some(Arc::new(member)), ..World::default() };
    assert_eq!(through(&policy, &world), (true, 0));
    let scopes = ["c", "b", "a"].map(Box::from).into();
    let claims = Claims { scopes, ..Claims::default() };
    let world = World { claims: Some(Arc::new(claims)), ..World::default() };
    assert_eq!(through(&policy, &world), (true, 0));
}

#[test]
fn what_is_not_asked_for_anything_allocates_nothing() {
    for policy in [
        "basic_auth: {optional: true}",
        "api_key: {optional: true}",
        "hmac: {optional: true}",
        "cors: {allow_origins: ['https://shop.test', {regex: 'https://.*[.]test'}], credentials: true}",
        "cors: {allow_origins: ['*']}",
        "validate: {json_schema: {request: {type: object}, response: {type: object}}}",
        "validate: {unknown_operations: allow, openapi: {openapi: 3.1.0, paths: {/x: {get: {}}}}}",
        "validate: {validate: {response: true}, openapi: {openapi: 3.1.0, paths: {/items/7: {get: {\
         responses: {'200': {}}}, post: {requestBody: {content: {application/json: {schema: {}}}}, responses: {}}}}}}",
        "fault: {abort: {status: 503}, header: x-break}",
        "split: {to: [{upstream: a, percent: 0, match: {headers: {x-canary: '1'}}}], by: '{cookie.a}'}",
        "mirror: {upstream: a, percent: 0}",
        "mask: {rules: [{kind: card}, {json_path: $..name}]}",
        "decompress: {response: true}",
        "transform: {request: {jq: '$request.path.id'}}",
        "transform: {response: {jq: .a}}",
    ] {
        assert_eq!(through(policy, &World::default()), (true, 0), "{policy}");
    }
}

#[test]
fn a_cost_that_is_worked_out_allocates_no_more_than_one_that_is_given() {
    let fixed =
        Some(Decision { is_admitted: true, remaining: 1, reset: Duration::ZERO, booked: None });
    let mut world = World::default();
    world.counters.fixed = fixed;
    let limit =
        |cost: &str| format!("rate_limit: {{limit: 9, window: 1m, by: route, cost: {cost}}}");
    let given = through(&limit("2"), &world);
    let worked = through(&limit("'int(request.headers[\"x-a\"]) + 1'"), &world);
    assert_eq!(given, worked);
    assert_eq!(through(&limit("'int(request.headers[\"x-a\"]) - 1'"), &world), (true, 0));
}

#[test]
fn an_expression_allocates_nothing_for_what_is_held_already() {
    let member = Caller { groups: [name("staff"), name("admin")].into(), ..caller("shop", "one") };
    let claims = Claims {
        all: serde_json::json!({"level": 3, "roles": ["a", "b"]}).as_object().unwrap().clone(),
        ..Claims::default()
    };
    let world = World {
        identity: Some(Arc::new(member)),
        claims: Some(Arc::new(claims)),
        ..World::default()
    };
    for expression in [
        "request.method == 'PUT' || 'admin' in identity.groups",
        "request.path.startsWith('/items/') && request.host != 'other.test' && request.headers['x-a'] == '1'",
        "claims.level >= 3 && claims.roles.exists(role, role in ['a', 'c']) && !has(claims.other)",
        "cidr('192.0.2.0/24').containsIP(client.ip) && time.getHours('Europe/Berlin') < 24",
    ] {
        let policy = format!("authorize: {{allow_when: [\"{expression}\"], deny_when: ['false']}}");
        assert_eq!(through(&policy, &world), (true, 0), "{expression}");
    }
}
