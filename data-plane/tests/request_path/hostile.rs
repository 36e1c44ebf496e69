//! Clients that break the protocol, and clients that only mean harm. Nothing ambiguous reaches an
//! upstream, every refusal arrives, and the node serves on.

use std::time::{Duration, Instant};

use http::Request;
use tokio::io::AsyncWriteExt;
use tollgate_testkit::upstream::Upstream;

use crate::support::frames::{PREFACE, frame};
use crate::support::{Http2, TestNode, eventually, full, plainly, published, request, soon};

fn start() -> (Upstream, TestNode) {
    start_with("")
}

/// With limits of the gateway.
fn start_with(limits: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let gateway = format!("---\nkind: Gateway\nname: default\nspec: {{limits: {{{limits}}}}}\n");
    let node = TestNode::with(&(plainly(backend.address()) + &gateway));
    (backend, node)
}

/// Bytes, and the status and code that they are refused with.
type Case = (String, u16, &'static str);

/// Bodies whose length can be read in two ways.
fn bad_lengths() -> Vec<Case> {
    let refused = |code: &'static str, version: &str, fields: &str, body: &str| {
        let status = if code == "unsupported_transfer_coding" { 501 } else { 400 };
        (format!("POST / HTTP/{version}\r\nhost: api.test\r\n{fields}\r\n\r\n{body}"), status, code)
    };
    let (length, chunked, end) = ("content-length: 3", "transfer-encoding: chunked", "0\r\n\r\n");
    vec![
        refused("ambiguous_framing", "1.1", &format!("{length}\r\n{chunked}"), end),
        refused("ambiguous_framing", "1.1", &format!("{chunked}\r\n{length}"), end),
        refused("ambiguous_framing", "1.1", &format!("{length}\r\n{length}"), "abc"),
        refused("ambiguous_framing", "1.1", "content-length: 3, 3", "abc"),
        refused("malformed_request", "1.1", "content-length: +3", "abc"),
        refused("ambiguous_framing", "1.1", "content_length: 3", "abc"),
        refused("ambiguous_framing", "1.0", chunked, end),
        refused("unsupported_transfer_coding", "1.1", "transfer-encoding: gzip, chunked", end),
        refused("malformed_request", "1.1", chunked, "zz\r\n"),
        refused("malformed_request", "1.1", chunked, "1\nx\n0\n\n"),
    ]
}

/// Lines that are malformed or too much.
fn bad_lines() -> Vec<Case> {
    let host = "host: api.test\r\n";
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{host}{fields}\r\n");
    vec![
        (format!("GET / HTTP/1.1\n{host}\n"), 400, "malformed_request"),
        (get("a: b\r\n c\r\n"), 400, "malformed_request"),
        (get("a: b\0c\r\n"), 400, "malformed_request"),
        (get("a : b\r\n"), 400, "malformed_request"),
        (get("a: b\rc\r\n"), 400, "malformed_request"),
        (get("host: other.test\r\n"), 400, "malformed_request"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "malformed_request"),
        (format!("GET /a b HTTP/1.1\r\n{host}\r\n"), 400, "malformed_request"),
        (format!("CONNECT api.test:80 HTTP/1.1\r\n{host}\r\n"), 501, "method_not_supported"),
        (format!("GET / HTTP/3.0\r\n{host}\r\n"), 505, "unsupported_version"),
        (get(&format!("a: {}\r\n", "x".repeat(70_000))), 431, "head_too_large"),
        (get(&"a: b\r\n".repeat(101)), 431, "head_too_large"),
    ]
}

/// Targets that two servers could take for two things.
fn bad_targets() -> Vec<Case> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: api.test\r\n\r\n");
    let ambiguous =
        ["//a", "/a/../b", "/a/%2e%2e/b", "/a%2fb", "/a%5cb", "/a%00", "/a%zz", "/a\\b", "/a/."];
    let mut cases: Vec<Case> =
        ambiguous.iter().map(|target| (get(target), 400, "ambiguous_path")).collect();
    cases.push((get("*").replace("GET", "OPTIONS"), 400, "ambiguous_path"));
    cases.push((get("http://other.test/"), 400, "host_mismatch"));
    cases.push((get("/#a"), 400, "malformed_request"));
    cases.push((get(&format!("/{}", "x".repeat(17_000))), 414, "target_too_long"));
    cases
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_and_goes_nowhere() {
    let (backend, node) = start();
    let cases = [bad_lengths(), bad_lines(), bad_targets()].concat();
    for (bytes, status, code) in &cases {
        let shown = &bytes[..bytes.len().min(120)];
        let mut wire = node.wire().await;
        wire.send(bytes).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{shown:?}");
        if *code != "ambiguous_path" {
            assert_eq!(
                (answer.field("connection"), answer.field("cache-control")),
                ("close", "no-store")
            );
            assert_eq!(wire.rest().await, b"", "{shown:?}");
        }
        // In two reads it is no other.
        let mut wire = node.wire().await;
        wire.send(&bytes[..bytes.len() / 2]).await;
        tokio::task::yield_now().await;
        let _ = wire.stream.write_all(&bytes.as_bytes()[bytes.len() / 2..]).await;
        assert_eq!(wire.answer().await.status, *status, "{shown:?}");
    }
    assert_eq!(backend.requests(), 0);
    assert_eq!(node.get("/").await.status, 200);
    assert!(node.metric("tollgate_framing_violations_total") >= 40);
}

#[tokio::test]
async fn a_refusal_arrives_also_when_the_client_sent_more_than_was_read() {
    let (backend, node) = start();
    for _ in 0..10 {
        let mut wire = node.wire().await;
        let mut bytes = b"GET / HTTP/1.1\nhost: a\n\n".to_vec();
        bytes.resize(600_000, b'x');
        let _ = soon(wire.stream.write_all(&bytes)).await;
        assert_eq!(wire.answer().await.code(), "malformed_request");
        assert_eq!(wire.rest().await, b"");
    }
    assert_eq!(backend.requests(), 0);
    eventually(|| (node.open_connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_bad_request_does_not_harm_the_good_one_before_it() {
    let (backend, node) = start();
    for (before, target) in (0..).zip([
        "/?delay_ms=200",
        "/?size=3000&piece=1000&pause_ms=50",
        "/?size=3000&piece=1000&pause_ms=50&chunked",
    ]) {
        let mut wire = node.wire().await;
        wire.send(request(&format!("GET {target}"), &[], "")).await;
        eventually(|| (backend.requests() > before).then_some(())).await;
        wire.send("GET / HTTP/1.1\nhost: a\n\n").await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.is_whole), (200, true), "{target}");
        assert_eq!(wire.answer().await.code(), "malformed_request", "{target}");
        assert_eq!(wire.rest().await, b"");
    }
    assert_eq!(backend.requests(), 3);
}

#[tokio::test]
async fn a_body_that_turns_bad_is_the_clients_fault() {
    let (_backend, node) = start();
    let mut wire = node.wire().await;
    wire.send(request("POST /", &["transfer-encoding: chunked"], "")).await;
    wire.send("3\r\nabc\r\n").await;
    assert!(wire.is_silent_for(Duration::from_millis(100)).await);
    wire.send("zz\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_request"));
    assert_eq!(wire.rest().await, b"");
    let record = &node.records(1).await[0];
    assert_eq!(
        (record["fault"].as_str(), record["request_bytes"].as_u64()),
        (Some("client"), Some(3))
    );
    assert_eq!(node.metric("tollgate_framing_violations_total"), 1);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_the_clients_fault() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&published(backend.address(), "timeouts: {idle: 200ms}", ""));
    let mut wire = node.wire().await;
    wire.send(request("POST /", &["content-length: 10"], "")).await;
    wire.send("abc").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    assert_eq!(wire.rest().await, b"");
    let mut wire = node.wire().await;
    wire.send(request("POST /", &["content-length: 10"], "")).await;
    wire.send("abc").await;
    drop(wire);
    let record = &node.records(2).await[1];
    assert!(record["fault"] == "client" || record["status"] == 499, "{record}");
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_refused_in_time() {
    let (backend, node) = start_with("head_time: 1s");
    let mut stopped = node.wire().await;
    stopped.send("GET / HTTP/1.1\r\nhost: api").await;
    let mut trickling = node.wire().await;
    let mut second = node.wire().await;
    assert_eq!(second.call("GET /", &[], "").await.status, 200);
    second.send("GET / HTTP/1.1\r\nhost: api").await;
    let started = Instant::now();
    soon(async {
        for byte in
            b"GET / HTTP/1.1\r\nhost: api.test\r\nx-slow: 0123456789012345678901234567890123456789"
        {
            if trickling.stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            if started.elapsed() > Duration::from_secs(2) {
                break;
            }
        }
    })
    .await;
    for wire in [&mut stopped, &mut trickling, &mut second] {
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
        assert_eq!(wire.rest().await, b"");
    }
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    // A slow beginning that could be HTTP/2 is ended as well.
    let mut unclear = node.wire().await;
    unclear.send("PRI * HT").await;
    assert_eq!(unclear.answer().await.status, 408);
    assert_eq!(unclear.rest().await, b"");
    assert_eq!(node.wire().await.rest().await, b"");
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn connections_that_nobody_uses_are_closed() {
    let (_backend, node) = start_with("idle_time: 1s");
    let mut wire = node.wire().await;
    assert_eq!(wire.call("GET /", &[], "").await.status, 200);
    let mut client = Http2::to(node.address).await;
    client.call(Request::get("http://api.test/"), full("")).await;
    let mut long = node.wire().await;
    // What is under way is not idle.
    let (rest, answer, ()) = tokio::join!(
        wire.rest(),
        long.call("GET /?size=40&piece=1&pause_ms=50", &[], ""),
        client.ended()
    );
    assert_eq!(
        (rest.as_slice(), answer.is_whole, answer.field("connection")),
        (&b""[..], true, "")
    );
}

#[tokio::test]
async fn a_client_that_takes_nothing_does_not_hold_its_upstream_for_ever() {
    let (backend, node) = start_with("idle_time: 1s");
    let mut wire = node.wire().await;
    wire.send(request("GET /?size=1000000000", &[], "")).await;
    let mut client = Http2::to(node.address).await;
    let stuck =
        client.send(Request::get("http://api.test/?size=1000000000").body(full("")).unwrap()).await;
    // The first client waits for no answer, so its request may still be on its way.
    eventually(|| (backend.open_connections() == 2).then_some(())).await;
    eventually(|| (backend.open_connections() == 0).then_some(())).await;
    eventually(|| (node.open_connections() == 0).then_some(())).await;
    drop((stuck, wire));
    for record in node.records(2).await {
        assert_eq!(
            (record["status"].as_u64(), record["complete"].as_bool()),
            (Some(200), Some(false))
        );
    }
}

#[tokio::test]
async fn beyond_its_connections_a_node_says_so() {
    let (backend, node) = start_with("connections: 3");
    let mut wires = Vec::new();
    for _ in 0..3 {
        let mut wire = node.wire().await;
        assert_eq!(wire.call("GET /", &[], "").await.status, 200);
        wires.push(wire);
    }
    let mut beyond = node.wire().await;
    let answer = beyond.answer().await;
    assert_eq!(
        (answer.status, answer.code().as_str(), answer.field("retry-after")),
        (503, "overloaded", "1")
    );
    assert_eq!(beyond.rest().await, b"");
    assert_eq!(wires[0].call("GET /", &[], "").await.status, 200);
    wires.pop();
    eventually(|| (node.open_connections() == 2).then_some(())).await;
    assert_eq!(node.get("/").await.status, 200);
    assert_eq!(node.metric("tollgate_connections_refused_total"), 1);
    assert_eq!(backend.requests(), 5);
}

#[tokio::test]
async fn clients_that_close_half_or_all_of_their_connection_leave_nothing_behind() {
    let (backend, node) = start();
    for bytes in [
        "",
        "GET",
        "GET / HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab",
    ] {
        let mut half = node.wire().await;
        half.send(bytes).await;
        half.stream.shutdown().await.unwrap();
        let mut whole = node.wire().await;
        whole.send(bytes).await;
        drop(whole);
        let _ = soon(half.more()).await;
    }
    eventually(|| (node.open_connections() == 0).then_some(())).await;
    eventually(|| (backend.under_way() == 0).then_some(())).await;
    assert_eq!(node.get("/").await.status, 200);
}

#[tokio::test]
async fn large_heads_within_the_limits_pass() {
    let (_backend, node) = start();
    let field = format!("x-large: {}", "x".repeat(10_000));
    assert_eq!(node.call("GET /", &[&field], "").await.seen("x-large").len(), 10_000);
    let fields: Vec<String> = (0..90).map(|i| format!("x-{i}: {i}")).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    assert_eq!(node.call("GET /", &fields, "").await.seen("x-89"), "89");
    let (_backend, node) = start_with("headers: 300, head: 300KiB");
    let fields: Vec<String> = (0..250).map(|i| format!("x-{i}: {}", "y".repeat(1000))).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let answer = node.call("GET /", &fields, "").await;
    assert_eq!((answer.status, answer.seen("x-249").len()), (200, 1000));
}

#[tokio::test]
async fn garbage_in_http_2_ends_its_connection_alone() {
    let (backend, node) = start();
    let mut other = Http2::to(node.address).await;
    let settings = frame(4, 0, 0, &[]);
    for garbage in [
        b"not a frame at all, not at all, not at all".to_vec(),
        frame(1, 5, 0, b"on no stream"),
        [settings.clone(), frame(1, 5, 1, &[0xff; 100])].concat(),
        [settings.clone(), frame(0, 1, 1, b"data of no stream")].concat(),
        [settings.clone(), frame(9, 4, 1, b"continues nothing")].concat(),
        [settings.clone(), frame(8, 0, 0, &[0; 4])].concat(),
    ] {
        let mut wire = node.wire().await;
        wire.send([PREFACE, &garbage].concat()).await;
        while wire.more().await {}
    }
    assert_eq!(other.call(Request::get("http://api.test/"), full("")).await.status, 200);
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn what_http_2_has_no_framing_for_is_refused_too() {
    let (backend, node) = start();
    let mut client = Http2::to(node.address).await;
    let get = |target: &str| Request::get(format!("http://api.test{target}"));
    for target in ["//a", "/a/../b", "/a%2fb", "/a%00"] {
        let answer = client.call(get(target), full("")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "ambiguous_path"), "{target}");
    }
    let answer = client.call(get(&format!("/{}", "x".repeat(17_000))), full("")).await;
    assert_eq!((answer.status, answer.code().as_str()), (414, "target_too_long"));
    let large = get("/").header("x-large", "x".repeat(70_000)).body(full("")).unwrap();
    assert!(client.send(large).await.is_ok_and(|answer| answer.status() == 431));
    assert_eq!(client.call(get("/"), full("")).await.status, 200);
    assert_eq!(backend.requests(), 1);
}
