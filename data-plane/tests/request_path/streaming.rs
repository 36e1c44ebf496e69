//! Bodies that are larger than what anybody should hold in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tollgate_testkit::upstream::Upstream;

use crate::support::{
    Http2, SendBody, TestNode, collected, full, plainly, published, request, soon,
};

const PIECE: usize = 64 << 10;
/// What all buffers on the way may hold together: sockets and HTTP/2 windows.
const BUFFERED: u64 = 24 << 20;

fn endless() -> SendBody {
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let frames = futures_util::stream::repeat_with(move || Ok(Frame::data(piece.clone())));
    StreamBody::new(frames).boxed_unsync()
}

fn pieces(count: usize) -> SendBody {
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let frames = (0..count).map(move |_| Ok(Frame::data(piece.clone())));
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_upstream_back() {
    let backend = Upstream::start("a").unwrap();
    for (protocol, policies) in [
        ("http1", ""),
        ("http2", ""),
        ("http1", "policies: [{headers: {response: {set: {x-a: b}}}}]"),
    ] {
        let node = TestNode::with(&published(
            backend.address(),
            &format!("protocol: {protocol}"),
            policies,
        ));
        let before = backend.sent_bytes();
        let mut wire = node.wire().await;
        wire.send(request("GET /?size=1000000000", &[], "")).await;
        wire.head().await;
        let mut client = Http2::to(node.address).await;
        let slow =
            client.send(Request::get("http://api.test/?size=1000000000").body(full("")).unwrap());
        let slow = slow.await.unwrap();
        // Sent until every buffer is full, and not a byte more.
        let mut sent = 0;
        soon(async {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let now = backend.sent_bytes() - before;
                if std::mem::replace(&mut sent, now) == now {
                    break;
                }
            }
        })
        .await;
        assert!(sent < 2 * BUFFERED, "{protocol}: {sent}");
        drop((slow, wire));
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_read_holds_its_client_back_and_is_given_up() {
    let backend = Upstream::start("a").unwrap();
    for protocol in ["http1", "http2"] {
        let more = format!("protocol: {protocol}\n  timeouts: {{first_byte: 1s}}");
        let node = TestNode::with(&published(backend.address(), &more, ""));
        let mut client = Http2::to(node.address).await;
        let taken = Arc::new(AtomicU64::new(0));
        let body = {
            let taken = Arc::clone(&taken);
            endless().map_frame(move |frame| {
                taken.fetch_add(1, Ordering::Relaxed);
                frame
            })
        };
        let request = Request::post("http://api.test/?hang").body(body.boxed_unsync()).unwrap();
        assert_eq!(client.send(request).await.unwrap().status(), 504, "{protocol}");
        let taken = taken.load(Ordering::Relaxed) * u64::try_from(PIECE).unwrap();
        assert!(taken < BUFFERED, "{protocol}: {taken}");
    }
}

#[tokio::test]
async fn large_bodies_go_through_whole_in_both_directions_at_once() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    let mut client = Http2::to(node.address).await;
    let request = Request::post("http://api.test/?echo").body(pieces(512)).unwrap();
    let answer = client.send(request).await.unwrap();
    let answer = collected(answer).await;
    assert_eq!((answer.status, answer.is_whole, answer.body.len()), (200, true, 512 * PIECE));
    let record = &node.records(1).await[0];
    assert_eq!(
        (record["request_bytes"].as_u64(), record["response_bytes"].as_u64()),
        (Some(33_554_432), Some(33_554_432))
    );
    assert!(record.get("complete").is_none());
}

#[tokio::test]
async fn a_piece_is_passed_on_when_it_comes() {
    let backend = Upstream::start("a").unwrap();
    for protocol in ["http1", "http2"] {
        let node =
            TestNode::with(&published(backend.address(), &format!("protocol: {protocol}"), ""));
        let mut wire = node.wire().await;
        wire.send(request("POST /?echo", &["transfer-encoding: chunked"], "")).await;
        wire.send("3\r\none\r\n").await;
        let (status, _, headers) = wire.head().await;
        assert_eq!((status, headers["transfer-encoding"].to_str().unwrap()), (200, "chunked"));
        while wire.read_bytes() < "3\r\none\r\n".len() {
            assert!(wire.more().await);
        }
        wire.send("0\r\n\r\n").await;
        while wire.read_bytes() < "3\r\none\r\n0\r\n\r\n".len() {
            assert!(wire.more().await);
        }
    }
}

#[tokio::test]
async fn events_come_one_by_one() {
    let backend = Upstream::start("a").unwrap();
    let target = "/?size=30&piece=10&pause_ms=400&chunked&set=content-type:text/event-stream";
    for protocol in ["http1", "http2"] {
        let node =
            TestNode::with(&published(backend.address(), &format!("protocol: {protocol}"), ""));
        let before = backend.sent_bytes();
        let mut wire = node.wire().await;
        wire.send(request(&format!("GET {target}"), &["accept: text/event-stream"], "")).await;
        let (_, _, headers) = wire.head().await;
        assert_eq!(headers["content-type"], "text/event-stream");
        while wire.read_bytes() == 0 {
            assert!(wire.more().await);
        }
        assert!(backend.sent_bytes() - before < 30, "{protocol}: the first before the last");
        let mut client = Http2::to(node.address).await;
        let before = backend.sent_bytes();
        let request = Request::get(format!("http://api.test{target}")).body(full("")).unwrap();
        let mut answer = client.send(request).await.unwrap();
        let first = soon(answer.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap().len(), 10);
        assert!(backend.sent_bytes() - before < 30, "{protocol}: the first before the last");
    }
}

#[tokio::test]
async fn a_refused_upload_gets_its_refusal_whole_although_it_is_not_read() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&published(backend.address(), "", "policies: [{api_key: {}}]"));
    for _ in 0..10 {
        let mut wire = node.wire().await;
        wire.send(request("POST /", &["content-length: 4000000"], "")).await;
        let rest = vec![b'x'; 4_000_000];
        // The node may stop listening in the middle; the answer is there all the same.
        let _ = soon(tokio::io::AsyncWriteExt::write_all(&mut wire.stream, &rest)).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
    }
    assert_eq!(backend.requests(), 0);
}
