//! Deadlines of gRPC calls.

use std::time::{Duration, Instant};

use http::Request;
use tollgate_testkit::upstream::Upstream;

use crate::support::{Answer, Http2, TestNode, full, published};

fn start(upstream: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&published(backend.address(), upstream, ""));
    (backend, node)
}

/// A call with a deadline; empty: with none.
async fn call(node: &TestNode, target: &str, timeout: &str) -> Answer {
    let mut client = Http2::to(node.address).await;
    let mut request = Request::post(format!("http://api.test{target}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers");
    if !timeout.is_empty() {
        request = request.header("grpc-timeout", timeout);
    }
    client.call(request, full("hello")).await
}

/// What the upstream was told, in seconds.
fn told(answer: &Answer) -> f64 {
    let text = answer.seen("grpc-timeout");
    let (number, unit) = text.split_at(text.len() - 1);
    let number: f64 = number.parse().unwrap();
    number
        / [("n", 1e9), ("u", 1e6), ("m", 1e3), ("S", 1.0)]
            .iter()
            .find(|(u, _)| *u == unit)
            .unwrap()
            .1
}

#[tokio::test]
async fn a_call_ends_at_its_own_deadline_and_its_upstream_is_not_blamed() {
    for protocol in ["http1", "http2"] {
        let (backend, node) = start(&format!(
            "protocol: {protocol}\n  health: {{passive: {{failures: 1, max_ejected: 1.0}}}}"
        ));
        for target in ["/?hang", "/?delay_ms=5000"] {
            let started = Instant::now();
            let answer = call(&node, target, "300m").await;
            assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
            assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
            assert_eq!((answer.status, answer.field("grpc-status")), (200, "4"), "{answer:?}");
            assert!(answer.field("grpc-message").starts_with("deadline_exceeded: "), "{answer:?}");
        }
        for record in node.records(2).await {
            assert_eq!(record["code"], "deadline_exceeded");
            assert_eq!(record["fault"], "client");
        }
        assert_eq!(node.metric("tollgate_upstream_ejections_total"), 0);
        assert_eq!(call(&node, "/", "").await.status, 200);
        assert_eq!(backend.requests(), 3);
    }
}

#[tokio::test]
async fn the_upstream_is_told_what_is_left() {
    let (_backend, node) = start("protocol: http2");
    let answer = call(&node, "/", "20S").await;
    assert!((15.0..20.0).contains(&told(&answer)), "{answer:?}");
    let answer = call(&node, "/", "1H").await;
    assert!((3595.0..3600.0).contains(&told(&answer)), "{answer:?}");
    assert_eq!(call(&node, "/", "").await.seen("grpc-timeout"), "");
    let (_backend, node) = start("protocol: http2\n  timeouts: {total: 5s}");
    let answer = call(&node, "/", "20S").await;
    assert!((1.0..=5.0).contains(&told(&answer)), "{answer:?}");
    // The node's own bound is none of a call that set none.
    assert_eq!(call(&node, "/", "").await.seen("grpc-timeout"), "");
}

#[tokio::test]
async fn the_bound_that_is_over_first_ends_the_call() {
    let (_backend, node) = start("protocol: http2\n  timeouts: {total: 300ms}");
    let started = Instant::now();
    let answer = call(&node, "/?hang", "60S").await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(answer.field("grpc-status"), "4");
    let record = &node.records(1).await[0];
    assert_eq!(
        (record["code"].as_str(), record["fault"].as_str()),
        (Some("upstream_timeout"), Some("upstream"))
    );
}

#[tokio::test]
async fn a_deadline_in_the_middle_of_an_answer_ends_it_with_its_status() {
    for protocol in ["http1", "http2"] {
        let (backend, node) = start(&format!("protocol: {protocol}"));
        for target in ["/?size=100000&piece=1000&pause_ms=50&chunked", "/?size=10&chunked&stall"] {
            let started = Instant::now();
            let answer = call(&node, target, "500m").await;
            assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
            assert_eq!((answer.status, answer.is_whole), (200, true), "{answer:?}");
            assert!(!answer.body.is_empty() && answer.body.len() < 50_000);
            assert_eq!(answer.trailers["grpc-status"], "4");
        }
        let record = &node.records(2).await[0];
        assert_eq!(
            (record["code"].as_str(), record["complete"].as_bool()),
            (Some("deadline_exceeded"), Some(false))
        );
        drop(backend);
    }
}

#[tokio::test]
async fn an_answer_in_time_is_the_upstreams_own() {
    let (_backend, node) = start("protocol: http2");
    let answer = call(&node, "/?trailers", "30S").await;
    assert_eq!((answer.status, answer.is_whole), (200, true));
    assert_eq!(answer.trailers["x-checksum"], "abc");
    assert!(!answer.trailers.contains_key("grpc-status"));
}

#[tokio::test]
async fn a_deadline_that_is_over_or_cannot_be_read_goes_nowhere() {
    let (backend, node) = start("protocol: http2");
    let answer = call(&node, "/", "0n").await;
    assert_eq!((answer.status, answer.field("grpc-status")), (200, "4"));
    for malformed in ["1", "S", "1s", "-1S", "123456789S", "1.5S", "1S,2S"] {
        let answer = call(&node, "/", malformed).await;
        assert_eq!((answer.status, answer.field("grpc-status")), (200, "13"), "{malformed}");
        assert!(answer.field("grpc-message").starts_with("malformed_grpc_timeout: "));
    }
    let mut client = Http2::to(node.address).await;
    let twice = Request::post("http://api.test/")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "1S")
        .header("grpc-timeout", "2S");
    assert_eq!(client.call(twice, full("")).await.field("grpc-status"), "13");
    assert_eq!(backend.requests(), 0);
    // To what is not gRPC, the field means nothing.
    let answer = node.call("GET /", &["grpc-timeout: soon"], "").await;
    assert_eq!((answer.status, answer.seen("grpc-timeout").as_str()), (200, "soon"));
}
