//! Bodies of requests that come slowly, and how slowly they may.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncWriteExt;
use tollgate_testkit::upstream::Upstream;

use crate::support::{Http2, SendBody, TestNode, Wire, published, request};

const PAUSE: Duration = Duration::from_millis(50);

fn start(limits: &str, upstream: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let gateway = format!("---\nkind: Gateway\nname: default\nspec: {{limits: {{{limits}}}}}\n");
    let node = TestNode::with(&(published(backend.address(), upstream, "") + &gateway));
    (backend, node)
}

/// Sends pieces of so many bytes, with pauses; stops where nobody takes them.
async fn trickle(wire: &mut Wire, bytes: usize, count: usize) {
    for _ in 0..count {
        if wire.stream.write_all(&vec![b'x'; bytes]).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same as a body.
fn trickling(bytes: usize, count: usize) -> SendBody {
    let pieces = stream::unfold(0, move |sent| async move {
        if sent == count {
            return None;
        }
        tokio::time::sleep(PAUSE).await;
        Some((Ok(Frame::data(Bytes::from(vec![b'x'; bytes]))), sent + 1))
    });
    StreamBody::new(pieces).boxed_unsync()
}

#[tokio::test]
async fn a_body_that_trickles_is_the_clients_fault() {
    for protocol in ["http1", "http2"] {
        let (backend, node) =
            start("body_time: 1s, body_rate: 1KiB", &format!("protocol: {protocol}"));
        let started = Instant::now();
        let mut wire = node.wire().await;
        wire.send(request("POST /", &["content-length: 100000"], "")).await;
        // 200 bytes a second.
        trickle(&mut wire, 10, 100).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
        assert_eq!(wire.rest().await, b"");
        let mut client = Http2::to(node.address).await;
        let answer = client.call(Request::post("http://api.test/"), trickling(10, 200)).await;
        assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        for record in node.records(2).await {
            assert_eq!(
                (record["fault"].as_str(), record["status"].as_u64()),
                (Some("client"), Some(408))
            );
            let bytes = record["request_bytes"].as_u64().unwrap();
            assert!((100..2_000).contains(&bytes), "{bytes}");
        }
        assert_eq!(node.metric("tollgate_upstream_ejections_total"), 0);
        drop(backend);
    }
}

#[tokio::test]
async fn a_body_that_comes_as_fast_as_it_must_may_take_its_time() {
    let (_backend, node) = start("body_time: 1s, body_rate: 1KiB", "");
    let mut wire = node.wire().await;
    wire.send(request("POST /", &["content-length: 10000"], "")).await;
    let started = Instant::now();
    // 4,000 bytes a second.
    trickle(&mut wire, 200, 50).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.json()["body_bytes"].as_u64()), (200, Some(10_000)));
    assert!(started.elapsed() > Duration::from_secs(2));
}

#[tokio::test]
async fn without_a_rate_a_body_may_trickle() {
    let (_backend, node) = start("body_time: 1s, body_rate: 0B", "");
    let mut wire = node.wire().await;
    wire.send(request("POST /", &["content-length: 50"], "")).await;
    trickle(&mut wire, 1, 50).await;
    assert_eq!(wire.answer().await.status, 200);
}

#[tokio::test]
async fn what_an_upstream_does_not_take_is_not_the_clients_fault() {
    for protocol in ["http1", "http2"] {
        let more = format!("protocol: {protocol}\n  timeouts: {{first_byte: 3s}}");
        let (_backend, node) = start("body_time: 1s, body_rate: 100MiB", &more);
        let mut client = Http2::to(node.address).await;
        let piece = Bytes::from(vec![b'x'; 64 << 10]);
        let endless = stream::repeat_with(move || Ok(Frame::data(piece.clone())));
        let request = Request::post("http://api.test/?hang");
        let answer = client.call(request, StreamBody::new(endless).boxed_unsync()).await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    }
}

#[tokio::test]
async fn once_an_answer_has_begun_both_sides_may_take_turns() {
    for protocol in ["http1", "http2"] {
        let (_backend, node) =
            start("body_time: 1s, body_rate: 1MiB", &format!("protocol: {protocol}"));
        let mut wire = node.wire().await;
        wire.send(request("POST /?echo", &["transfer-encoding: chunked"], "")).await;
        wire.send("3\r\none\r\n").await;
        let (status, ..) = wire.head().await;
        assert_eq!(status, 200);
        while wire.read_bytes() < 8 {
            assert!(wire.more().await);
        }
        assert!(wire.is_silent_for(Duration::from_secs(2)).await, "{protocol}");
        wire.send("3\r\ntwo\r\n0\r\n\r\n").await;
        while wire.read_bytes() < 21 {
            assert!(wire.more().await, "{protocol}");
        }
    }
}

#[tokio::test]
async fn a_grpc_call_may_be_silent() {
    let (_backend, node) = start("body_time: 1s, body_rate: 1MiB", "protocol: http2");
    let mut client = Http2::to(node.address).await;
    let pieces = stream::unfold(0, |sent| async move {
        tokio::time::sleep(Duration::from_secs(sent)).await;
        (sent < 3).then(|| (Ok(Frame::data(Bytes::from_static(b"x"))), sent + 1))
    });
    let request = Request::post("http://api.test/").header("content-type", "application/grpc");
    let answer = client.call(request, StreamBody::new(pieces).boxed_unsync()).await;
    assert_eq!((answer.status, answer.json()["body_bytes"].as_u64()), (200, Some(3)));
}
