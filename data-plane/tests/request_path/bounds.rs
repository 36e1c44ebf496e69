//! Bounds on what an upstream is asked at a time, how long an attempt may take, and what comes after its failures.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tollgate_testkit::upstream::Upstream;

use crate::support::{Answer, TestNode, Wire, eventually, request};

fn upstream(endpoints: &[(SocketAddr, &str)], more: &str) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(address, more)| format!("{{url: 'http://{address}'{more}}}"))
        .collect();
    format!(
        "kind: Upstream\nname: backend\nspec:\n  endpoints: [{}]\n  {more}\n---\n\
         kind: Api\nname: shop\nspec: {{base_path: /, upstream: backend}}\n",
        endpoints.join(", ")
    )
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

fn overloaded() -> (u16, String) {
    (503, "upstream_overloaded".to_owned())
}

/// Waits until a call is answered with 200.
async fn answered(node: &TestNode) {
    for _ in 0..400 {
        if node.get("/").await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no call is answered");
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_may_be_over_all_threads() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&upstream(&[(backend.address(), "")], "limits: {requests: 3}"));
    // Each connection is another thread's.
    let mut hanging = Vec::new();
    for under_way in 1..=3 {
        let mut wire = node.wire().await;
        wire.send(request("GET /?hang", &[], "")).await;
        hanging.push(wire);
        eventually(|| (backend.under_way() == under_way).then_some(())).await;
    }
    for _ in 0..4 {
        let answer = node.get("/").await;
        assert_eq!(refused(&answer), overloaded());
        assert_eq!(answer.field("retry-after"), "1");
    }
    assert_eq!((backend.requests(), backend.most_under_way()), (3, 3));
    assert_eq!(node.metric("tollgate_upstream_overloads_total"), 4);
    let record = &node.records(4).await[3];
    assert_eq!(
        (record["fault"].as_str(), record["code"].as_str()),
        (Some("upstream"), Some("upstream_overloaded"))
    );
    hanging.pop();
    answered(&node).await;
    assert_eq!(backend.most_under_way(), 3);
}

#[tokio::test]
async fn a_request_counts_until_the_last_byte_of_its_answer() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&upstream(&[(backend.address(), "")], "limits: {requests: 1}"));
    let mut wire = node.wire().await;
    wire.send(request("GET /?size=100&stall", &[], "")).await;
    assert_eq!(wire.head().await.0, 200);
    assert_eq!(refused(&node.get("/").await), overloaded());
    drop(wire);
    answered(&node).await;
    // One after the other is never too many.
    let mut wire = node.wire().await;
    for _ in 0..20 {
        assert_eq!(wire.call("GET /", &[], "").await.status, 200);
    }
}

#[tokio::test]
async fn an_endpoint_that_has_as_many_as_it_may_is_passed_over() {
    let servers: Vec<Upstream> =
        ["a", "b", "reserve"].iter().map(|name| Upstream::start(name).unwrap()).collect();
    let endpoints = [
        (servers[0].address(), ""),
        (servers[1].address(), ""),
        (servers[2].address(), ", priority: 1"),
    ];
    let node = TestNode::with(&upstream(&endpoints, "limits: {endpoint_requests: 2}"));
    let mut hanging = Vec::new();
    for under_way in 1..=6 {
        let mut wire = node.wire().await;
        wire.send(request("GET /?hang", &[], "")).await;
        hanging.push(wire);
        let now = || servers.iter().map(Upstream::under_way).sum::<usize>();
        eventually(|| (now() == under_way).then_some(())).await;
        assert!(under_way > 4 || servers[2].under_way() == 0, "the reserve is asked last");
    }
    assert!(servers.iter().all(|server| server.under_way() == 2));
    assert_eq!(refused(&node.get("/").await), overloaded());
}

#[tokio::test]
async fn what_is_under_way_counts_for_a_changed_bound_too() {
    let backend = Upstream::start("a").unwrap();
    let yaml = |most: u8| {
        let more = format!("limits: {{requests: {most}, endpoint_requests: 9}}");
        upstream(&[(backend.address(), "")], &more)
    };
    let mut node = TestNode::with(&yaml(2));
    let mut wire = node.wire().await;
    wire.send(request("GET /?hang", &[], "")).await;
    eventually(|| (backend.under_way() == 1).then_some(())).await;
    assert_eq!(node.get("/").await.status, 200);
    node.apply(&yaml(1));
    assert_eq!(refused(&node.get("/").await), overloaded());
}

#[tokio::test]
async fn an_upstream_whose_calls_fail_is_left_alone_for_a_while() {
    let backend = Upstream::start("a").unwrap();
    let yaml = |open_for: &str| {
        let more = format!(
            "breaker: {{failures: 0.5, calls: 4, window: 1h, open_for: {open_for}}}\n  retry: {{attempts: 0}}"
        );
        upstream(&[(backend.address(), "")], &more)
    };
    let mut node = TestNode::with(&yaml("1h"));
    for target in ["/", "/?status=404", "/?status=500", "/?status=503"] {
        node.get(target).await;
    }
    // On whichever thread.
    for _ in 0..4 {
        let answer = node.get("/").await;
        assert_eq!(refused(&answer), (503, "circuit_open".to_owned()));
        assert!((3590..=3600).contains(&answer.field("retry-after").parse().unwrap()));
    }
    assert_eq!(backend.requests(), 4);
    assert_eq!(node.metric("tollgate_upstream_breaker_openings_total"), 1);
    assert_eq!(node.metric("tollgate_upstream_breaker_refusals_total"), 4);
    // A changed one begins closed; the same one goes on.
    node.apply(&format!("{}---\nkind: Secret\nname: s\nspec: {{value: x}}\n", yaml("1h")));
    assert_eq!(node.get("/").await.status, 503);
    node.apply(&yaml("300ms"));
    for _ in 0..4 {
        assert_eq!(node.get("/?status=500").await.status, 500);
    }
    assert_eq!(node.get("/").await.code(), "circuit_open");
    answered(&node).await;
    for _ in 0..4 {
        assert_eq!(node.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn what_clients_break_off_or_is_refused_opens_nothing() {
    let backend = Upstream::start("a").unwrap();
    let more =
        "breaker: {failures: 0.1, calls: 1, window: 1h, open_for: 1h}\n  limits: {requests: 1}";
    let node = TestNode::with(&upstream(&[(backend.address(), "")], more));
    for _ in 0..3 {
        let mut wire = node.wire().await;
        wire.send(request("GET /?hang", &[], "")).await;
        eventually(|| (backend.under_way() == 1).then_some(())).await;
        assert_eq!(refused(&node.get("/").await), overloaded());
        drop(wire);
        eventually(|| (backend.under_way() == 0).then_some(())).await;
    }
    answered(&node).await;
    assert_eq!(node.metric("tollgate_upstream_breaker_openings_total"), 0);
}

/// An address where connections are taken and nothing is ever said.
fn silent() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_followed_by_one_elsewhere() {
    let good = Upstream::start("good").unwrap();
    let (_listener, silent) = silent();
    for protocol in ["http1", "http2"] {
        let yaml = |more: &str| {
            let more = format!("timeouts: {{attempt: 200ms}}\n  protocol: {protocol}\n  {more}");
            upstream(&[(silent, ""), (good.address(), "")], &more)
        };
        let mut node = TestNode::with(&yaml("retry: {attempts: 1, budget: 1.0}"));
        for _ in 0..4 {
            let answer = node.get("/").await;
            assert_eq!((answer.status, answer.field("x-server")), (200, "good"), "{protocol}");
        }
        assert!(node.metric("tollgate_upstream_retries_total") >= 1);
        // Not where that is no reason.
        node.apply(&yaml("retry: {attempts: 1, budget: 1.0, on: [reset]}"));
        let before = node.metric("tollgate_upstream_retries_total");
        let mut wire = node.wire().await;
        let mut statuses = BTreeMap::<u16, u32>::new();
        for _ in 0..4 {
            *statuses.entry(wire.call("GET /", &[], "").await.status).or_default() += 1;
        }
        assert_eq!(statuses, BTreeMap::from([(200, 2), (504, 2)]), "{protocol}");
        assert_eq!(node.metric("tollgate_upstream_retries_total"), before);
    }
}

#[tokio::test]
async fn the_time_of_an_attempt_does_not_cut_a_slow_upload() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&upstream(&[(backend.address(), "")], "timeouts: {attempt: 200ms}"));
    let mut wire = node.wire().await;
    wire.send(request("POST /", &["content-length: 4"], "")).await;
    for _ in 0..4 {
        assert!(wire.is_silent_for(Duration::from_millis(100)).await);
        wire.send("x").await;
    }
    assert_eq!(wire.answer().await.json()["body"], "xxxx");
    let answer = wire.call("POST /?hang", &[], "x").await;
    assert_eq!(refused(&answer), (504, "upstream_timeout".to_owned()));
}

#[tokio::test]
async fn only_failures_that_are_named_are_followed_by_another_attempt() {
    let good = Upstream::start("good").unwrap();
    let resetting = Upstream::resetting("bad", 0).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (bad, on, is_repeated) in [
        (resetting.address(), "[reset]", true),
        (resetting.address(), "[connect, timeout]", false),
        (nobody, "[connect]", true),
        (nobody, "[]", false),
    ] {
        let more = format!("retry: {{attempts: 1, budget: 1.0, on: {on}}}");
        let node = TestNode::with(&upstream(&[(bad, ""), (good.address(), "")], &more));
        let mut wire = node.wire().await;
        let mut good = 0;
        for _ in 0..4 {
            good += u32::from(wire.call("GET /", &[], "").await.status == 200);
        }
        assert_eq!(good, if is_repeated { 4 } else { 2 }, "{on}");
    }
}

async fn shares(wire: &mut Wire, calls: u32) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    for _ in 0..calls {
        let answer = wire.call("GET /", &[], "").await;
        *shares.entry(answer.field("x-server").to_owned()).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn an_endpoint_that_is_new_comes_to_its_share_slowly() {
    let servers: Vec<Upstream> =
        ["a", "b", "new"].iter().map(|name| Upstream::start(name).unwrap()).collect();
    for (balance, least) in [("round_robin", 10), ("least_request", 10), ("ewma", 1)] {
        let yaml = |count: usize, slow_start: &str| {
            let endpoints: Vec<_> =
                servers[..count].iter().map(|server| (server.address(), "")).collect();
            upstream(&endpoints, &format!("balance: {balance}\n  slow_start: {slow_start}"))
        };
        let mut node = TestNode::with(&yaml(2, "1h"));
        let mut wire = node.wire().await;
        // Of those that were all there from the start, none is held back.
        assert_eq!(shares(&mut wire, 20).await.len(), 2, "{balance}");
        node.apply(&yaml(3, "1h"));
        let slow = shares(&mut wire, 40).await;
        assert_eq!(slow.get("new"), None, "{balance}: {slow:?}");
        node.apply(&yaml(3, "1ms"));
        let whole = shares(&mut wire, 40).await;
        assert!(whole.get("new").is_some_and(|calls| *calls >= least), "{balance}: {whole:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_well_again_comes_to_its_share_slowly() {
    let (a, b) = (Upstream::start("a").unwrap(), Upstream::start("b").unwrap());
    for (slow_start, is_slow) in [("slow_start: 1h", true), ("", false)] {
        let more = format!(
            "health: {{passive: {{failures: 1, eject_for: 100ms}}}}\n  retry: {{attempts: 0}}\n  {slow_start}"
        );
        let node = TestNode::with(&upstream(&[(a.address(), ""), (b.address(), "")], &more));
        let mut wire = node.wire().await;
        let answer = wire.call("GET /?status=500", &[], "").await;
        let ejected = answer.field("x-server").to_owned();
        assert_eq!(node.metric("tollgate_upstream_ejections_total"), 1);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let shares = shares(&mut wire, 20).await;
        let calls = shares.get(&ejected).copied().unwrap_or_default();
        assert!(if is_slow { calls <= 1 } else { calls == 10 }, "{slow_start}: {shares:?}");
    }
}
