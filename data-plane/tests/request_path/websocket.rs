//! Connections that switch to WebSocket: both ways, untouched, as long as both sides want.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate_testkit::upstream::Upstream;

use crate::support::{TestNode, Wire, eventually, plainly, published, request, soon};

const ASKED: [&str; 4] = [
    "connection: keep-alive, Upgrade",
    "upgrade: websocket",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version: 13",
];
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An upstream that switches, says `greeting` with the same write, and then is the test's to use.
struct Switching {
    listener: TcpListener,
    greeting: &'static str,
}

impl Switching {
    async fn start(greeting: &'static str) -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), greeting }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection, and the head of the request that came over it.
    async fn accept(&self) -> (TcpStream, String) {
        let (mut stream, _) = soon(self.listener.accept()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(soon(stream.read_buf(&mut head)).await.unwrap() > 0, "closed within the head");
        }
        let answer = format!("{SWITCHED}{}", self.greeting);
        stream.write_all(answer.as_bytes()).await.unwrap();
        (stream, String::from_utf8(head).unwrap())
    }
}

/// A client's connection after its handshake.
async fn switched(node: &TestNode, upstream: &Switching) -> (Wire, TcpStream, String) {
    let mut wire = node.wire().await;
    wire.send(request("GET /socket?x=1", &ASKED, "")).await;
    let (far, head) = upstream.accept().await;
    let (status, _, headers) = wire.head().await;
    assert_eq!((status, headers["connection"].to_str().unwrap()), (101, "upgrade"));
    assert_eq!(headers["upgrade"], "websocket");
    assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    (wire, far, head)
}

async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    soon(stream.read_exact(&mut read)).await.unwrap();
    assert!(read == bytes, "{read:?}");
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    matches!(soon(stream.read_to_end(&mut rest)).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn bytes_go_both_ways_untouched_and_stand_in_the_record() {
    let upstream = Switching::start("hello").await;
    let node = TestNode::with(&plainly(upstream.address()));
    let (mut wire, mut far, head) = switched(&node, &upstream).await;
    assert!(head.starts_with("GET /socket?x=1 HTTP/1.1\r\n"), "{head}");
    for line in
        ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-version: 13\r\n"]
    {
        assert!(head.contains(line), "{head}");
    }
    assert_eq!(wire.exactly(5).await.0, b"hello");
    // What would be refused as a request.
    let odd = b"\x81\x85\0\0\0\0GET / HTTP/1.1\n\r\n\r\n\0";
    wire.send(odd).await;
    expect(&mut far, odd).await;
    let long: Vec<u8> = (0..1_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let (sent, forth) = tokio::join!(far.write_all(&long), wire.exactly(long.len()));
    sent.unwrap();
    assert!(forth.0 == long);
    wire.stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    soon(far.read_to_end(&mut rest)).await.unwrap();
    drop(far);
    assert!(is_closed(&mut wire.stream).await);
    let record = &node.records(1).await[0];
    assert_eq!(record["status"], 101);
    assert_eq!(record["request_bytes"].as_u64(), Some(u64::try_from(odd.len()).unwrap()));
    assert_eq!(record["response_bytes"].as_u64(), Some(1_000_005));
    assert!(record.get("complete").is_none());
    eventually(|| (node.open_connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn each_side_hears_of_the_others_end() {
    let upstream = Switching::start("").await;
    let node = TestNode::with(&plainly(upstream.address()));
    let (mut wire, far, _) = switched(&node, &upstream).await;
    drop(far);
    assert!(is_closed(&mut wire.stream).await);
    let (wire, mut far, _) = switched(&node, &upstream).await;
    drop(wire);
    assert!(is_closed(&mut far).await);
    let (mut wire, mut far, _) = switched(&node, &upstream).await;
    far.shutdown().await.unwrap();
    wire.send("still").await;
    expect(&mut far, b"still").await;
}

#[tokio::test]
async fn a_change_of_configuration_cuts_nothing() {
    let upstream = Switching::start("").await;
    let mut node = TestNode::with(&plainly(upstream.address()));
    let (mut wire, mut far, _) = switched(&node, &upstream).await;
    let other = Upstream::start("a").unwrap();
    node.apply(&plainly(other.address()));
    assert_eq!(node.get("/").await.status, 200);
    node.remove(&[("Api", "shop")]);
    wire.send("ping").await;
    expect(&mut far, b"ping").await;
    far.write_all(b"pong").await.unwrap();
    assert_eq!(wire.exactly(4).await.0, b"pong");
}

#[tokio::test]
async fn silence_of_both_sides_has_a_bound_of_its_own() {
    let upstream = Switching::start("").await;
    let timeouts = "timeouts: {tunnel: 600ms, idle: 100ms, first_byte: 5s, total: 200ms}";
    let node = TestNode::with(&published(upstream.address(), timeouts, ""));
    let (mut wire, mut far, _) = switched(&node, &upstream).await;
    let since = Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        wire.send("x").await;
        expect(&mut far, b"x").await;
    }
    assert!(is_closed(&mut wire.stream).await && is_closed(&mut far).await);
    assert!(since.elapsed() > Duration::from_millis(1300), "{:?}", since.elapsed());
    assert_eq!(node.records(1).await[0]["complete"], false);
}

#[tokio::test]
async fn what_is_no_websocket_is_not_switched_to() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    for fields in [
        &["connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk"][..],
        &["connection: upgrade", "upgrade: websocket, h2c", ASKED[2]],
        &["connection: upgrade", "upgrade: websocket", "upgrade: h2c", ASKED[2]],
        &["upgrade: websocket", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="],
        &["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"],
    ] {
        let answer = node.call("GET /", fields, "").await;
        assert_eq!((answer.status, answer.seen("upgrade").as_str()), (200, ""), "{fields:?}");
        assert_eq!(answer.seen("connection"), "", "{fields:?}");
    }
    let answer = node.call("POST /", &ASKED, "body").await;
    assert_eq!((answer.status, answer.seen("upgrade").as_str()), (200, ""));
}

#[tokio::test]
async fn a_refused_handshake_is_an_answer_like_any_other() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    let mut wire = node.wire().await;
    let answer = wire.call("GET /?status=403", &ASKED, "").await;
    assert_eq!((answer.status, answer.field("upgrade")), (403, ""));
    let node = TestNode::with(&published(backend.address(), "", "policies: [{api_key: {}}]"));
    let answer = node.call("GET /", &ASKED, "").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
}

#[tokio::test]
async fn no_websocket_waits_for_another_one_where_answers_are_cached() {
    let upstream = Switching::start("").await;
    // Longer than the test has patience.
    let policies = "policies: [{cache: {wait: 1m}}, {compress: {}}]";
    let node = TestNode::with(&published(upstream.address(), "", policies));
    let mut wires = [node.wire().await, node.wire().await];
    for wire in &mut wires {
        wire.send(request("GET /socket", &ASKED, "")).await;
    }
    // Both ask before either is answered.
    let first = soon(upstream.listener.accept()).await.unwrap();
    let second = soon(upstream.listener.accept()).await.unwrap();
    drop((wires, first, second));
}

#[tokio::test]
async fn a_node_that_drains_waits_for_its_websockets() {
    let upstream = Switching::start("").await;
    let node = TestNode::with(&plainly(upstream.address()));
    let (mut wire, mut far, _) = switched(&node, &upstream).await;
    node.drain();
    tokio::time::sleep(Duration::from_millis(700)).await;
    wire.send("ping").await;
    expect(&mut far, b"ping").await;
    assert!(!node.has_ended());
    drop((wire, far));
    eventually(|| node.has_ended().then_some(())).await;
}
