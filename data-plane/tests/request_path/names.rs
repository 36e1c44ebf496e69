//! Endpoints that are named: what a name stands for, and what comes of it when that changes or nobody knows.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tollgate_data_plane::upstream::names::Resolver;
use tollgate_testkit::upstream::Upstream;

use crate::support::dns::{Dns, Mood};
use crate::support::{TestNode, Wire, eventually, request};

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NOBODY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Two servers at the same port of two addresses.
fn servers() -> (Upstream, Upstream) {
    loop {
        let a = Upstream::start("a").unwrap();
        let b = SocketAddr::from((SECOND, a.address().port()));
        // The port may be somebody else's there.
        if let Ok(b) = Upstream::start_at("b", b) {
            return (a, b);
        }
    }
}

fn upstream(port: u16, more: &str) -> String {
    format!(
        "kind: Upstream\nname: backend\nspec:\n  endpoints: [{{url: 'http://orders.test:{port}'}}]\n  {more}\n---\n\
         kind: Api\nname: shop\nspec: {{base_path: /, upstream: backend}}\n"
    )
}

pub(crate) fn node(dns: &Dns, yaml: &str) -> TestNode {
    TestNode::looking_up(Resolver::Server(dns.address)).begin(yaml)
}

pub(crate) async fn shares(wire: &mut Wire, calls: u32) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    for _ in 0..calls {
        let answer = wire.call("GET /", &[], "").await;
        let who = match answer.field("x-server") {
            "" => answer.status.to_string(),
            name => name.to_owned(),
        };
        *shares.entry(who).or_default() += 1;
    }
    shares
}

/// Waits until these alone answer.
pub(crate) async fn settles_to(node: &TestNode, names: &[&str]) {
    let mut wire = node.wire().await;
    for _ in 0..200 {
        let shares = shares(&mut wire, 6).await;
        if shares.keys().map(String::as_str).eq(names.iter().copied()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never {names:?}: {:?}", shares(&mut wire, 6).await);
}

#[tokio::test]
async fn each_address_of_a_name_is_an_endpoint_and_its_host_is_the_name() {
    let (dns, (a, b)) = (Dns::start(), servers());
    let port = a.address().port();
    dns.set("orders.test", 60, &[SECOND, FIRST]);
    let node = node(&dns, &upstream(port, ""));
    // The very first call waits for the answer.
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.seen("host")), (200, format!("orders.test:{port}")));
    let shares = shares(&mut node.wire().await, 20).await;
    assert_eq!(shares, BTreeMap::from([("a".to_owned(), 10), ("b".to_owned(), 10)]));
    // Connections are kept for each.
    assert!(a.connections() <= 2 && b.connections() <= 2);
    // Nobody asked again.
    assert_eq!(dns.questions(), 1);
    assert_eq!(node.metric("tollgate_upstream_lookups_total{outcome=\"answered\"}"), 1);
    assert_eq!(node.metric("tollgate_upstream_lookups_total{outcome=\"failed\"}"), 0);
}

#[tokio::test]
async fn an_address_that_is_gone_gets_no_new_calls_and_ends_those_it_has() {
    let (dns, (a, b)) = (Dns::start(), servers());
    dns.set("orders.test", 1, &[FIRST]);
    let node = node(&dns, &upstream(a.address().port(), ""));
    settles_to(&node, &["a"]).await;
    let mut wire = node.wire().await;
    wire.send(request("GET /?delay_ms=4000", &[], "")).await;
    eventually(|| (a.under_way() == 1).then_some(())).await;
    dns.set("orders.test", 1, &[SECOND]);
    settles_to(&node, &["b"]).await;
    assert_eq!((a.under_way(), b.under_way()), (1, 0));
    assert_eq!(wire.answer().await.field("x-server"), "a");
    dns.set("orders.test", 1, &[FIRST, SECOND]);
    settles_to(&node, &["a", "b"]).await;
}

#[tokio::test]
async fn the_last_good_answer_stays_where_there_is_no_new_one() {
    let (dns, (a, _b)) = (Dns::start(), servers());
    dns.set("orders.test", 0, &[FIRST]);
    let port = a.address().port();
    let mut node = node(&dns, &upstream(port, ""));
    settles_to(&node, &["a"]).await;
    for mood in [Mood::Failing, Mood::Raving, Mood::Silent] {
        dns.be(mood);
        let asked = dns.questions();
        eventually(|| (dns.questions() > asked).then_some(())).await;
        assert_eq!(shares(&mut node.wire().await, 4).await.len(), 1);
        // Nor does a changed configuration forget it.
        node.apply(&upstream(port, "timeouts: {connect: 2s}"));
        assert_eq!(shares(&mut node.wire().await, 4).await, BTreeMap::from([("a".to_owned(), 4)]));
    }
    dns.set("orders.test", 0, &[SECOND]);
    dns.be(Mood::Good);
    settles_to(&node, &["b"]).await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_a_502_until_somebody_does() {
    let (dns, (a, _b)) = (Dns::start(), servers());
    let node = node(&dns, &upstream(a.address().port(), ""));
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    assert!(node.metric("tollgate_upstream_lookups_total{outcome=\"failed\"}") > 0);
    dns.set("orders.test", 60, &[FIRST]);
    settles_to(&node, &["a"]).await;
}

#[tokio::test]
async fn no_call_waits_for_a_silent_server_of_names_longer_than_for_a_connection() {
    let (dns, (a, _b)) = (Dns::start(), servers());
    dns.be(Mood::Silent);
    let node = node(&dns, &upstream(a.address().port(), "timeouts: {connect: 300ms}"));
    let started = std::time::Instant::now();
    assert_eq!(node.get("/").await.code(), "upstream_unreachable");
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(dns.questions() > 0);
}

#[tokio::test]
async fn who_is_behind_a_name_is_asked_how_it_is() {
    let (dns, (a, b)) = (Dns::start(), servers());
    dns.set("orders.test", 1, &[FIRST, NOBODY]);
    let health = "health: {active: {interval: 100ms, unhealthy_after: 1, healthy_after: 1}}\n  retry: {attempts: 0}";
    let node = node(&dns, &upstream(a.address().port(), health));
    settles_to(&node, &["a"]).await;
    dns.set("orders.test", 1, &[SECOND, NOBODY]);
    settles_to(&node, &["b"]).await;
    // One connection of the calls, the others of the questions.
    eventually(|| (b.connections() > 2).then_some(())).await;
}

#[tokio::test]
async fn the_same_request_goes_to_the_same_address_on_every_node() {
    let (dns, (a, _b)) = (Dns::start(), servers());
    let yaml = upstream(a.address().port(), "balance: consistent_hash\n  hash_by: header.x-cart");
    let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for addresses in [[FIRST, SECOND], [SECOND, FIRST]] {
        dns.set("orders.test", 60, &addresses);
        let node = node(&dns, &yaml);
        let mut wire = node.wire().await;
        for cart in 0..16 {
            let answer = wire.call("GET /", &[&format!("x-cart: {cart}")], "").await;
            found.entry(cart).or_default().push(answer.field("x-server").to_owned());
        }
    }
    assert!(found.values().all(|servers| servers[0] == servers[1]), "{found:?}");
    assert!(found.values().any(|servers| servers[0] != found[&0][0]), "{found:?}");
}
