//! Limits on real calls: sizes of bodies, and what is under way at once.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tollgate_testkit::upstream::Upstream;

use crate::support::{
    Http2, SendBody, TestNode, collected, eventually, full, published, request, soon,
};

fn start(upstream: &str, policies: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let api = format!("policies: [{policies}]");
    let node = TestNode::with(&published(backend.address(), upstream, &api));
    (backend, node)
}

/// A body in pieces of a kilobyte, without a length.
fn kilobytes(count: usize) -> SendBody {
    let frames = (0..count).map(|_| Ok(Frame::data(Bytes::from(vec![b'x'; 1024]))));
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_before_it_comes() {
    let (backend, node) = start("", "{body_size: {request: 4B}}");
    assert_eq!(node.call("POST /", &[], "four").await.status, 200);
    for fields in [&["content-length: 5"][..], &["content-length: 5", "expect: 100-continue"]] {
        let mut wire = node.wire().await;
        let answer = wire.call("POST /", fields, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
        assert!(!answer.was_continued, "{fields:?}");
    }
    let mut client = Http2::to(node.address).await;
    let answer = client.call(Request::post("http://api.test/"), full("fives")).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert_eq!(backend.requests(), 1);
    let record = &node.records(4).await[1];
    assert_eq!(
        (record["status"].as_u64(), record["code"].as_str(), record["fault"].as_str()),
        (Some(413), Some("body_too_large"), Some("policy"))
    );
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_answered_413_although_it_was_on_its_way() {
    for protocol in ["http1", "http2"] {
        let (_backend, node) =
            start(&format!("protocol: {protocol}"), "{body_size: {request: 4KiB}}");
        let mut client = Http2::to(node.address).await;
        for (count, status) in [(4, 200), (5, 413), (1_000, 413)] {
            let answer = client.call(Request::post("http://api.test/"), kilobytes(count)).await;
            assert_eq!(answer.status, status, "{protocol} {count}");
            assert!(status == 200 || answer.code() == "body_too_large");
        }
        let mut wire = node.wire().await;
        wire.send(request("POST /", &["transfer-encoding: chunked"], "")).await;
        wire.send(format!("800\r\n{}\r\n", "x".repeat(2048))).await;
        wire.send(format!("801\r\n{}\r\n", "x".repeat(2049))).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
        assert_eq!(node.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn an_answer_that_says_it_is_too_large_becomes_502_with_the_fields_of_policies() {
    for protocol in ["http1", "http2"] {
        let (backend, node) = start(
            &format!("protocol: {protocol}"),
            "{body_size: {response: 1KiB}}, {rate_limit: {limit: 9, window: 1h}}",
        );
        for _ in 0..3 {
            let answer = node.get("/?size=1025&set=x-inside:1").await;
            assert_eq!((answer.status, answer.code().as_str()), (502, "response_too_large"));
            assert_eq!((answer.field("x-inside"), answer.is_whole), ("", true));
        }
        assert_eq!(node.get("/?size=1024").await.body.len(), 1024);
        // Without a body, the length is only a statement.
        assert_eq!(node.call("HEAD /?size=1025", &[], "").await.status, 200);
        assert_eq!(backend.requests(), 5);
        assert_eq!(node.records(5).await[0]["code"], "response_too_large");
    }
}

#[tokio::test]
async fn an_answer_that_grows_too_large_is_broken_off_and_the_record_says_why() {
    let (_backend, node) = start("", "{body_size: {response: 4KiB}}");
    let mut client = Http2::to(node.address).await;
    let mut wire = node.wire().await;
    let call = Request::get("http://api.test/?size=9000&piece=1000&pause_ms=1&chunked");
    let sent = client.send(call.body(full("")).unwrap()).await.unwrap();
    let second = collected(sent).await;
    let first = wire.call("GET /?size=9000&piece=1000&pause_ms=1&chunked", &[], "").await;
    for answer in [first, second] {
        assert_eq!((answer.status, answer.is_whole), (200, false));
        assert!(answer.body.len() <= 4096);
    }
    for record in node.records(2).await {
        assert_eq!(
            (record["code"].as_str(), record["complete"].as_bool()),
            (Some("response_too_large"), Some(false))
        );
    }
}

/// Sends a request that its upstream never answers.
async fn hang(node: &TestNode) -> crate::support::Wire {
    let mut wire = node.wire().await;
    wire.send(request("GET /?hang", &[], "")).await;
    wire
}

#[tokio::test]
async fn who_would_be_one_too_many_is_refused_until_another_ends() {
    let (backend, node) = start("", "{concurrency: {limit: 2, by: ip}}");
    let first = hang(&node).await;
    let mut client = Http2::to(node.address).await;
    let second =
        client.sender.send_request(Request::get("http://api.test/?hang").body(full("")).unwrap());
    eventually(|| (backend.requests() == 2).then_some(())).await;
    // On all connections and threads.
    for _ in 0..8 {
        let answer = node.get("/").await;
        assert_eq!((answer.status, answer.code().as_str()), (429, "concurrency_exceeded"));
        assert_eq!(answer.field("retry-after"), "1");
    }
    assert_eq!(backend.requests(), 2);
    // Clients that go away, one with its connection and one with its stream alone.
    drop(first);
    soon(async { while node.get("/").await.status != 200 {} }).await;
    drop(second);
    // Only then both places are free.
    eventually(|| (backend.under_way() == 0).then_some(())).await;
    // A place is free a moment after the upstream has seen the end of its call: who hangs too soon is refused.
    let mut held = Vec::new();
    soon(async {
        while backend.under_way() < 2 || node.get("/").await.status != 429 {
            held.push(hang(&node).await);
        }
    })
    .await;
    drop(held);
    soon(async { while node.get("/").await.status != 200 {} }).await;
}

#[tokio::test]
async fn an_answer_is_under_way_to_its_last_byte() {
    let (_backend, node) = start("", "{concurrency: {limit: 1, by: ip}}");
    let mut wire = node.wire().await;
    wire.send(request("GET /?size=100&piece=10&pause_ms=60000", &[], "")).await;
    assert_eq!(wire.head().await.0, 200);
    assert_eq!(node.get("/").await.status, 429);
    drop(wire);
    soon(async { while node.get("/").await.status != 200 {} }).await;
    for _ in 0..20 {
        assert_eq!(node.get("/?size=100000").await.status, 200);
    }
}

#[tokio::test]
async fn who_waits_in_a_queue_has_its_turn_and_who_waits_in_vain_is_refused() {
    let (backend, node) =
        start("", "{concurrency: {limit: 1, by: ip, queue: {length: 1, timeout: 50ms}}}");
    let held = hang(&node).await;
    eventually(|| (backend.requests() == 1).then_some(())).await;
    let began = std::time::Instant::now();
    assert_eq!(node.get("/").await.status, 429);
    assert!(began.elapsed() >= Duration::from_millis(50));
    drop(held);
    let (backend, node) =
        start("", "{concurrency: {limit: 1, by: ip, queue: {length: 9, timeout: 20s}}}");
    let calls = (0..10).map(|_| node.get("/?delay_ms=1"));
    let answers = soon(futures_util::future::join_all(calls)).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(backend.most_under_way(), 1);
}

#[tokio::test]
async fn a_quota_admits_its_number_in_a_window_of_the_calendar() {
    let (backend, node) = start(
        "",
        "{quota: {limit: 2, window: year, by: ip}}, {rate_limit: {limit: 9, window: 1h, by: ip, name: rate}}",
    );
    for left in [1, 0] {
        let answer = node.get("/").await;
        assert_eq!(answer.status, 200);
        let fields = answer.headers.get_all("ratelimit").iter();
        let ours = fields.filter(|value| {
            value.to_str().unwrap().starts_with(&format!("\"default\";r={left};t="))
        });
        assert_eq!(
            (ours.count(), answer.headers.get_all("ratelimit-policy").iter().count()),
            (1, 2)
        );
    }
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "quota_exhausted"));
    let wait: u64 = answer.field("retry-after").parse().unwrap();
    assert!(wait <= 366 * 86_400);
    assert!(answer.field("ratelimit-policy").starts_with("\"default\";q=2;w=31"));
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn a_limit_that_only_watches_is_told_in_the_access_log_alone() {
    let backend = Upstream::start("a").unwrap();
    let policies = "policies: [{rate_limit: {limit: 1, window: 1h, by: ip, shadow: true}}]";
    let node = TestNode::with(&published(backend.address(), "", policies));
    for _ in 0..2 {
        let answer = node.get("/").await;
        assert_eq!((answer.status, answer.field("ratelimit")), (200, ""));
    }
    let records = node.records(2).await;
    assert_eq!(
        (records[0].get("shadowed"), &records[1]["shadowed"]),
        (None, &"rate_limited".into())
    );
}

#[tokio::test]
async fn a_call_costs_what_an_expression_says_of_it() {
    let cost = "'int(request.headers[\"x-units\"])'";
    let (backend, node) =
        start("", &format!("{{rate_limit: {{limit: 9, window: 1h, by: ip, cost: {cost}}}}}"));
    let answer = node.call("GET /", &["x-units: 4"], "").await;
    assert!(answer.field("ratelimit").starts_with("\"default\";r=5;"));
    for (units, status, code) in [
        ("6", 429, "rate_limited"),
        ("10", 400, "cost_above_limit"),
        ("many", 400, "cost_unknown"),
        ("-9", 400, "cost_unknown"),
    ] {
        let answer = node.call("GET /", &[&format!("x-units: {units}")], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{units}");
        assert!(answer.field("ratelimit-policy").starts_with("\"default\";q=9;w=3600"));
    }
    let answer = node.call("GET /", &["x-units: 0"], "").await;
    assert_eq!((answer.status, answer.field("ratelimit")), (200, ""));
    let answer = node.call("GET /", &["x-units: 5"], "").await;
    assert!(answer.field("ratelimit").starts_with("\"default\";r=0;"));
    assert_eq!(backend.requests(), 3);
}

#[tokio::test]
async fn what_an_answer_says_that_it_did_cost_is_what_counts() {
    let (_backend, node) = start(
        "",
        "{rate_limit: {limit: 10, window: 1h, by: ip, cost: 5, settle: {header: x-units}}}",
    );
    let mut client = Http2::to(node.address).await;
    let left = |field: &str| field.split(['=', ';']).nth(2).unwrap().to_owned();
    for (units, expected) in [(1, "9"), (0, "9"), (3, "6"), (9, "0")] {
        let target = format!("/?set=x-units:{units}");
        let answer = if units == 3 {
            client.call(Request::get(format!("http://api.test{target}")), full("")).await
        } else {
            node.get(&target).await
        };
        assert_eq!((answer.status, left(answer.field("ratelimit")).as_str()), (200, expected));
        assert_eq!(answer.field("x-units"), "");
    }
    assert_eq!(node.get("/").await.status, 429);
}
