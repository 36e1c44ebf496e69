//! Calls that go to another upstream than their route's, and copies of calls.

use std::net::SocketAddr;

use http::Request;
use tokio::net::{TcpListener, TcpStream};
use tollgate_testkit::upstream::Upstream;

use crate::support::{Http2, TestNode, Wire, eventually, full, published, soon};

/// A node whose API has these policies; its own upstream answers as `own`, another one is at `other`.
fn start(policies: &str, other: SocketAddr) -> (Upstream, TestNode) {
    let own = Upstream::start("own").unwrap();
    let other = format!(
        "---\nkind: Upstream\nname: other\nspec: {{endpoints: [{{url: 'http://{other}'}}]}}\n"
    );
    let api = format!("policies: [{policies}]");
    let node = TestNode::with(&(published(own.address(), "", &api) + &other));
    (own, node)
}

/// A mirror that is written by hand.
async fn by_hand() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads a copy: its head in lower case, and so many bytes of its body.
async fn read(stream: TcpStream, body: usize) -> (Wire, String, Vec<u8>) {
    let mut wire = Wire::of(stream);
    let head = wire.until(b"\r\n\r\n").await;
    let (body, _) = wire.exactly(body).await;
    (wire, String::from_utf8(head).unwrap().to_ascii_lowercase(), body)
}

#[tokio::test]
async fn a_call_goes_where_a_split_says_and_the_cache_keeps_both_apart() {
    let other = Upstream::start("other").unwrap();
    let split = "{split: {to: [{upstream: other, match: {headers: {x-canary: always}}}]}}";
    let (own, node) = start(&format!("{split}, {{cache: {{}}}}"), other.address());
    let target =
        "GET /?set=cache-control:max-age=60,stale-while-revalidate=600&set=age:70&etag=one";
    let canary = ["x-canary: always"];
    assert_eq!(node.call(target, &[], "").await.status, 200);
    assert_eq!(node.call(target, &canary, "").await.status, 200);
    assert_eq!((own.requests(), other.requests()), (1, 1));
    // Both are stale: each is answered from memory, and fetched again from where it came.
    assert_eq!(node.call(target, &canary, "").await.status, 200);
    eventually(|| (other.requests() == 2).then_some(())).await;
    assert_eq!(node.call(target, &[], "").await.status, 200);
    eventually(|| (own.requests() == 2).then_some(())).await;
    assert_eq!((own.requests(), other.requests()), (2, 2));
}

#[tokio::test]
async fn a_split_can_be_changed_and_its_upstream_cannot_go_unseen() {
    let other = Upstream::start("other").unwrap();
    let split = "{split: {to: [{upstream: other, percent: 100}], sticky: {cookie: side}}}";
    let (own, mut node) = start(split, other.address());
    let answer = node.get("/").await;
    assert!(answer.field("set-cookie").starts_with("side="), "{answer:?}");
    assert_eq!((own.requests(), other.requests()), (0, 1));
    let mut client = Http2::to(node.address).await;
    let answer = client.call(Request::get("http://api.test/"), full("")).await;
    assert_eq!((answer.status, other.requests()), (200, 2));
    // Without the upstream the API is closed, not sent to another one.
    node.remove(&[("Upstream", "other")]);
    assert_eq!(node.get("/").await.code(), "route_unavailable");
    let back = published(
        own.address(),
        "",
        "policies: [{split: {to: [{upstream: backend, percent: 1}]}}]",
    );
    node.apply(&back);
    assert_eq!((node.get("/").await.status, own.requests()), (200, 1));
}

#[tokio::test]
async fn a_mirror_gets_what_goes_upstream_and_nobody_waits_for_it() {
    let (mirror, address) = by_hand().await;
    let policies = "{mirror: {upstream: other}}, {headers: {request: {set: {x-late: '1'}}}}, {rewrite: {prefix: {from: /, to: /v2/}}}";
    let (own, node) = start(policies, address);
    let body = "b".repeat(100_000);
    let mut client = Wire::to(node.address).await;
    let fields = ["x-tollgate-mirror: 1", "content-type: text/x"];
    let answer = client.call("POST /a?b=1", &fields, &body).await;
    assert_eq!((answer.status, answer.seen("x-late").as_str()), (200, "1"));
    assert_eq!(answer.seen("x-tollgate-mirror"), "");

    let (stream, _) = soon(mirror.accept()).await.unwrap();
    let (mut wire, head, copied) = read(stream, body.len()).await;
    assert!(head.starts_with("post /v2/a?b=1 http/1.1\r\n"), "{head}");
    for field in
        ["x-tollgate-mirror: 1", "x-late: 1", "content-type: text/x", "content-length: 100000"]
    {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{field}: {head}");
    }
    assert!(head.contains(&format!("\r\nhost: {address}\r\n")), "{head}");
    assert!(copied == body.as_bytes());
    assert_eq!(node.metric("tollgate_mirrored_requests_total"), 1);
    wire.send("HTTP/1.1 500 Not Heard\r\ncontent-length: 3\r\n\r\nnot").await;

    // Its connection serves a later copy of the same thread, once the answer was read.
    let mut calls = 1;
    let mut others = Vec::new();
    let head = loop {
        let answer = client.call("GET /a", &[], "").await;
        assert_eq!(answer.status, 200);
        calls += 1;
        tokio::select! {
            head = wire.until(b"\r\n\r\n") => break String::from_utf8(head).unwrap(),
            accepted = mirror.accept() => others.push(accepted.unwrap()),
        }
    };
    assert!(head.starts_with("GET /v2/a HTTP/1.1\r\n"), "{head}");
    let failures = u64::try_from(others.len()).unwrap() + 1;
    // It never answers, and is given up with its connections.
    drop((wire, mirror, others));
    eventually(|| (node.metric("tollgate_mirror_failures_total") == failures).then_some(())).await;
    assert_eq!((own.requests(), node.metric("tollgate_mirrored_requests_total")), (calls, calls));
}

#[tokio::test]
async fn a_body_over_http2_is_copied_piece_by_piece() {
    let (mirror, address) = by_hand().await;
    let (_own, node) = start("{mirror: {upstream: other}}", address);
    let mut client = Http2::to(node.address).await;
    let body = "0123456789".repeat(300_000);
    let request = Request::post("http://api.test/");
    let copy = async {
        let (mut wire, head, copied) =
            read(soon(mirror.accept()).await.unwrap().0, body.len()).await;
        wire.send("HTTP/1.1 204 Done\r\n\r\n").await;
        (wire, head, copied)
    };
    let (answer, (_wire, head, copied)) = tokio::join!(client.call(request, full(&body)), copy);
    assert_eq!((answer.status, &answer.json()["body_bytes"]), (200, &3_000_000.into()));
    assert!(
        copied == body.as_bytes() && head.contains("\r\ncontent-length: 3000000\r\n"),
        "{head}"
    );
    assert_eq!(node.metric("tollgate_mirror_failures_total"), 0);
}

#[tokio::test]
async fn a_mirror_that_is_away_or_too_slow_costs_the_call_nothing() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_own, node) = start("{mirror: {upstream: other}}", nobody);
    assert_eq!(node.call("POST /", &[], "body").await.status, 200);
    eventually(|| (node.metric("tollgate_mirror_failures_total") == 1).then_some(())).await;

    // It takes the head alone: what is over the buffer and the sockets' own room breaks the copy off.
    let (mirror, address) = by_hand().await;
    let (_own, node) = start("{mirror: {upstream: other, buffer: 64KiB}}", address);
    let body = "d".repeat(16_000_000);
    let (answer, stream) = tokio::join!(node.call("POST /", &[], &body), soon(mirror.accept()));
    assert_eq!((answer.status, &answer.json()["body_bytes"]), (200, &16_000_000.into()));
    eventually(|| (node.metric("tollgate_mirror_failures_total") == 1).then_some(())).await;
    // What came is less than was announced.
    let mut wire = Wire::of(stream.unwrap().0);
    while wire.more().await {}
    assert!(wire.read_bytes() < body.len(), "{}", wire.read_bytes());
}

#[tokio::test]
async fn so_many_copies_are_under_way_and_no_more() {
    let (mirror, address) = by_hand().await;
    let (own, node) = start("{mirror: {upstream: other}}", address);
    let mut wire = Wire::to(node.address).await;
    for _ in 0..300 {
        assert_eq!(wire.call("GET /", &[], "").await.status, 200);
    }
    assert_eq!(own.requests(), 300);
    // One connection, one thread.
    assert_eq!(node.metric("tollgate_mirrored_requests_total"), 256);
    assert_eq!(node.metric("tollgate_mirror_failures_total"), 44);
    drop(mirror);
}

#[tokio::test]
async fn a_request_for_websocket_has_no_copy() {
    let other = Upstream::start("other").unwrap();
    let (own, node) = start("{mirror: {upstream: other}}", other.address());
    let asks = [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    assert_eq!(node.call("GET /", &asks, "").await.status, 200);
    assert_eq!((own.requests(), node.metric("tollgate_mirrored_requests_total")), (1, 0));
    // Any other has one.
    assert_eq!(node.get("/").await.status, 200);
    eventually(|| (other.requests() == 1).then_some(())).await;
}
