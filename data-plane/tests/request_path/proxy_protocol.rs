//! The PROXY protocol at a listener: the client is who the balancer says, and nobody else may say it.

use std::net::SocketAddr;
use std::time::Duration;

use tollgate_testkit::upstream::Upstream;

use crate::support::tls::free_address;
use crate::support::{TestNode, Wire, plainly, request};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x1f\x90\x01\xbb";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\n";

fn start(trusted: &str, more: &str) -> (Upstream, TestNode, SocketAddr) {
    let backend = Upstream::start("a").unwrap();
    let address = free_address();
    let gateway = format!(
        "---\nkind: Gateway\nname: default\nspec:\n  trusted_proxies: [{trusted}]\n  \
         listeners: [{{name: behind, address: '{address}', proxy_protocol: true}}]\n  {more}\n"
    );
    let node = TestNode::with(&(plainly(backend.address()) + &gateway));
    (backend, node, address)
}

#[tokio::test]
async fn the_client_is_who_the_header_says() {
    let (_backend, _node, address) = start("127.0.0.0/8", "");
    for (header, client) in [
        (V1, "192.0.2.7"),
        (V2, "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "127.0.0.1"),
    ] {
        let mut wire = Wire::to(address).await;
        let call = request("GET /", &["x-forwarded-for: 6.6.6.6"], "");
        wire.send([header, call.as_bytes()].concat()).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, 200);
        // The balancer's own word is believed, a client's is not.
        let expected = if client == "127.0.0.1" { "6.6.6.6, 127.0.0.1" } else { client };
        assert_eq!(answer.seen("x-forwarded-for"), expected);
        assert_eq!(wire.call("GET /", &[], "").await.status, 200);
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let (_backend, _node, address) = start("127.0.0.1", "");
    for header in [V1, V2] {
        let mut wire = Wire::to(address).await;
        for piece in header.chunks(7) {
            wire.send(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(wire.call("GET /", &[], "").await.seen("x-forwarded-for"), "192.0.2.7");
    }
}

#[tokio::test]
async fn a_connection_without_a_good_header_is_closed_without_an_answer() {
    let (backend, node, address) = start("127.0.0.1", "");
    let call = request("GET /", &[], "");
    for bytes in [
        call.as_bytes(),
        b"PROXY TCP4 nobody 10.0.0.1 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02\0\0",
        b"\x16\x03\x01\x02\x00",
    ] {
        let mut wire = Wire::to(address).await;
        wire.send(bytes).await;
        while wire.more().await {}
        assert_eq!(wire.read_bytes(), 0, "{bytes:?}");
    }
    assert_eq!(node.metric("tollgate_proxy_protocol_refused_total"), 4);
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn who_is_no_trusted_proxy_is_closed() {
    let (backend, node, address) = start("192.0.2.1", "");
    let mut wire = Wire::to(address).await;
    wire.send(V1).await;
    while wire.more().await {}
    assert_eq!(node.metric("tollgate_proxy_protocol_refused_total"), 1);
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn a_slow_header_is_cut() {
    let (_backend, node, address) = start("127.0.0.1", "limits: {head_time: 200ms}");
    let mut wire = Wire::to(address).await;
    wire.send(&V1[..9]).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), async { while wire.more().await {} });
    ended.await.unwrap();
    assert_eq!(node.metric("tollgate_proxy_protocol_refused_total"), 1);
}
