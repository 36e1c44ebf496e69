//! Endpoints that are services: what their SRV records say, and what comes of it when those change, lie or nobody knows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use tollgate_testkit::pki::Authority;
use tollgate_testkit::upstream::Upstream;

use crate::names::{node, settles_to, shares};
use crate::support::dns::{Data, Dns, Mood, Record};
use crate::support::{TestNode, eventually, request};
use crate::upstream_tls::{believing, server};

const SERVICE: &str = "_http._tcp.shop.test";
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const FAILED: &str = "tollgate_upstream_lookups_total{outcome=\"failed\"}";

fn upstream(more: &str) -> String {
    of("{srv: _http._tcp.shop.test}", more)
}

fn of(endpoints: &str, more: &str) -> String {
    format!(
        "kind: Upstream\nname: backend\nspec:\n  endpoints: [{endpoints}]\n{more}---\n\
         kind: Api\nname: shop\nspec: {{base_path: /, upstream: backend}}\n"
    )
}

/// Servers, and a server of names that knows the targets `a.test` and `b.test`.
fn servers() -> (Dns, Upstream, Upstream) {
    let (a, b) = (Upstream::start("a").unwrap(), Upstream::start("b").unwrap());
    let dns = Dns::start();
    dns.set("a.test", 60, &[HERE]);
    dns.set("b.test", 60, &[HERE]);
    (dns, a, b)
}

fn port(server: &Upstream) -> u16 {
    server.address().port()
}

/// How many endpoints the upstream has now.
fn endpoints(node: &TestNode) -> usize {
    let plan = node.configurator.plan().load_full();
    plan.upstream(0).unwrap().endpoints.current().all.len()
}

#[tokio::test]
async fn each_target_is_an_endpoint_at_its_port_by_its_weight_and_its_host_is_its_name() {
    let (dns, a, b) = servers();
    dns.serve(SERVICE, 60, &[(5, 30, port(&a), "a.test"), (5, 10, port(&b), "b.test")]);
    let mut node = node(&dns, &upstream(""));
    // The very first call waits for the answer.
    assert_eq!(node.get("/").await.status, 200);
    let mut hosts = BTreeSet::new();
    let mut wire = node.wire().await;
    for _ in 0..4 {
        hosts.insert(wire.call("GET /", &[], "").await.seen("host").to_owned());
    }
    let told = [format!("a.test:{}", port(&a)), format!("b.test:{}", port(&b))];
    assert!(hosts.iter().eq(&told), "{hosts:?}");
    let shares = shares(&mut node.wire().await, 40).await;
    assert_eq!(shares, BTreeMap::from([("a".to_owned(), 30), ("b".to_owned(), 10)]));
    // Nobody asked again: the records, and each target.
    assert_eq!((dns.questions(), node.metric(FAILED)), (3, 0));
    node.apply(&upstream("  preserve_host: true\n"));
    assert_eq!(node.get("/").await.seen("host"), "api.test");
}

#[tokio::test]
async fn a_later_priority_is_asked_only_where_the_first_is_out_and_before_a_later_endpoint() {
    let (dns, a, b) = servers();
    let last = Upstream::start("c").unwrap();
    dns.serve(SERVICE, 60, &[(20, 9, port(&b), "b.test"), (10, 1, port(&a), "a.test")]);
    let both =
        format!("{{url: 'http://{}', priority: 1}}, {{srv: _http._tcp.shop.test}}", last.address());
    let health = "  health: {active: {interval: 100ms, unhealthy_after: 1, healthy_after: 1}}\n";
    let node = node(&dns, &of(&both, health));
    // What stands in the configuration is there before the service is.
    settles_to(&node, &["a"]).await;
    let before = last.requests();
    assert_eq!((shares(&mut node.wire().await, 10).await["a"], b.requests()), (10, 0));
    drop(a);
    settles_to(&node, &["b"]).await;
    assert_eq!(last.requests(), before);
    drop(b);
    settles_to(&node, &["c"]).await;
}

#[tokio::test]
async fn records_are_followed_and_who_stays_keeps_its_connections_and_calls() {
    let (dns, a, b) = servers();
    dns.serve(SERVICE, 1, &[(0, 0, port(&a), "a.test")]);
    let node = node(&dns, &upstream(""));
    settles_to(&node, &["a"]).await;
    dns.serve(SERVICE, 1, &[(7, 1, port(&a), "a.test"), (7, 1, port(&b), "b.test")]);
    settles_to(&node, &["a", "b"]).await;
    assert!(a.connections() <= 2, "one for each request thread");
    let mut wire = node.wire().await;
    let mut pending = Vec::new();
    for _ in 0..2 {
        wire.send(request("GET /?delay_ms=4000", &[], "")).await;
        pending.push(wire);
        wire = node.wire().await;
    }
    eventually(|| (a.under_way() + b.under_way() == 2).then_some(())).await;
    dns.serve(SERVICE, 1, &[(0, 0, port(&b), "b.test")]);
    settles_to(&node, &["b"]).await;
    for mut wire in pending {
        assert_eq!(wire.answer().await.status, 200);
    }
    // What is left of a service at another address is another server.
    dns.set("b.test", 1, &[Ipv4Addr::new(127, 0, 0, 9)]);
    dns.serve(SERVICE, 1, &[(0, 0, port(&a), "a.test")]);
    settles_to(&node, &["a"]).await;
}

#[tokio::test]
async fn the_shortest_time_of_records_and_addresses_counts() {
    let (dns, a, b) = servers();
    dns.serve(SERVICE, 3600, &[(0, 0, port(&a), "a.test")]);
    dns.set("a.test", 1, &[HERE]);
    let node = node(&dns, &upstream(""));
    settles_to(&node, &["a"]).await;
    dns.serve(SERVICE, 3600, &[(0, 0, port(&b), "b.test")]);
    settles_to(&node, &["b"]).await;
    // Now all of it is good for a minute and more.
    let asked = dns.questions();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(dns.questions(), asked);
}

#[tokio::test]
async fn the_last_good_answer_stays_where_there_is_no_new_one_and_failures_are_counted() {
    let (dns, a, b) = servers();
    dns.serve(SERVICE, 0, &[(0, 0, port(&a), "a.test")]);
    let mut node = node(&dns, &upstream(""));
    settles_to(&node, &["a"]).await;
    assert_eq!(node.metric(FAILED), 0);
    for mood in [Mood::Failing, Mood::Raving, Mood::Good] {
        dns.be(mood);
        dns.forget(SERVICE);
        let failed = node.metric(FAILED);
        eventually(|| (node.metric(FAILED) > failed).then_some(())).await;
        // Nor does a changed configuration forget it.
        node.apply(&upstream(&format!("  description: '{mood:?}'\n")));
        let shares = shares(&mut node.wire().await, 4).await;
        assert_eq!(shares, BTreeMap::from([("a".to_owned(), 4)]));
    }
    dns.serve(SERVICE, 0, &[(0, 0, port(&b), "b.test")]);
    settles_to(&node, &["b"]).await;
}

#[tokio::test]
async fn a_service_that_nobody_knows_or_that_is_not_to_be_had_is_a_502_until_it_is() {
    let (dns, a, _b) = servers();
    let node = node(&dns, &upstream(""));
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    dns.serve(SERVICE, 0, &[(0, 0, port(&a), "a.test")]);
    settles_to(&node, &["a"]).await;
    // It is said that it is not there: what was known does not stay.
    dns.serve(SERVICE, 0, &[(0, 0, 0, ".")]);
    settles_to(&node, &["502"]).await;
    let failed = node.metric(FAILED);
    let started = std::time::Instant::now();
    assert_eq!(node.get("/").await.code(), "upstream_unreachable");
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(node.metric(FAILED), failed);
    dns.serve(SERVICE, 0, &[(0, 0, port(&a), "a.test")]);
    settles_to(&node, &["a"]).await;
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_had_over_tcp() {
    let (dns, a, _b) = servers();
    let names: Vec<String> = (0..60).map(|i| format!("t{i}.test")).collect();
    for name in &names {
        dns.set(name, 60, &[HERE]);
    }
    let records: Vec<_> = names.iter().map(|name| (0, 0, port(&a), name.as_str())).collect();
    dns.serve(SERVICE, 60, &records);
    let node = node(&dns, &upstream(""));
    assert_eq!(node.get("/").await.status, 200);
    let mut hosts = BTreeSet::new();
    let mut wire = node.wire().await;
    for _ in 0..60 {
        hosts.insert(wire.call("GET /", &[], "").await.seen("host").to_owned());
    }
    assert_eq!((hosts.len(), dns.questions_over_tcp()), (60, 1));
}

#[tokio::test]
async fn targets_without_addresses_are_passed_over_and_asked_for_again_soon() {
    let (dns, a, b) = servers();
    dns.forget("b.test");
    dns.serve(SERVICE, 3600, &[(0, 0, port(&a), "a.test"), (0, 0, port(&b), "b.test")]);
    let node = node(&dns, &upstream("  retry: {attempts: 0}\n"));
    settles_to(&node, &["a"]).await;
    assert_eq!((endpoints(&node), node.metric(FAILED) >= 1), (1, true));
    dns.set("b.test", 1, &[HERE]);
    settles_to(&node, &["a", "b"]).await;
    // Nobody answers for one of them: it is where it was. Of the other it is said that it is nowhere.
    dns.fail("a.test");
    dns.forget("b.test");
    settles_to(&node, &["a"]).await;
    // It is said that all of them are nowhere: they stay where they were.
    dns.forget("a.test");
    let failed = node.metric(FAILED);
    eventually(|| (node.metric(FAILED) >= failed + 2).then_some(())).await;
    settles_to(&node, &["a"]).await;
}

#[tokio::test]
async fn an_alias_of_a_service_is_the_service() {
    let (dns, a, _b) = servers();
    let service = |owner: &str| Record {
        owner: Some(owner.to_owned()),
        ttl: 60,
        data: Data::Service(0, 0, port(&a), "a.test".to_owned()),
    };
    let alias = |to: &str| Record { owner: None, ttl: 60, data: Data::Alias(to.to_owned()) };
    // As most servers tell it: with what it is an alias of; and as some do: alone.
    for records in [
        vec![alias("_http._tcp.real.test"), service("_http._tcp.real.test")],
        vec![alias("_http._tcp.real.test")],
    ] {
        dns.claim(SERVICE, records);
        dns.serve("_http._tcp.real.test", 60, &[(0, 0, port(&a), "a.test")]);
        let node = node(&dns, &upstream(""));
        settles_to(&node, &["a"]).await;
    }
    // One that leads nowhere, or round in a circle, has an end.
    for to in ["_http._tcp.nowhere.test", SERVICE] {
        dns.claim(SERVICE, vec![alias(to)]);
        let asked = dns.questions();
        let node = node(&dns, &upstream(""));
        assert_eq!(node.get("/").await.status, 502);
        assert!(dns.questions() - asked < 400, "{}", dns.questions() - asked);
    }
}

#[tokio::test]
async fn an_answer_without_measure_is_bounded() {
    let (dns, a, _b) = servers();
    let names: Vec<String> = (0..2000).map(|i| format!("t{i}.test")).collect();
    let many: Vec<Ipv4Addr> = (1..=30).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
    for name in &names {
        dns.set(name, 60, &many);
    }
    let records: Vec<_> = names.iter().map(|name| (0, 0, port(&a), name.as_str())).collect();
    dns.serve(SERVICE, 60, &records);
    let node = node(&dns, &upstream("  health: {passive: {failures: 1}}\n"));
    eventually(|| (endpoints(&node) > 0).then_some(())).await;
    assert_eq!(endpoints(&node), 256);
    assert!(dns.questions() <= 2 + 256, "{}", dns.questions());
}

#[tokio::test]
async fn what_is_no_answer_to_the_question_is_none() {
    let (dns, a, _b) = servers();
    let of = |owner: Option<&str>, port: u16, target: &str| Record {
        owner: owner.map(str::to_owned),
        ttl: 0,
        data: Data::Service(0, 1, port, target.to_owned()),
    };
    for lies in [
        // Of another name, also of one that its target would be.
        vec![of(Some("_http._tcp.other.test"), port(&a), "a.test")],
        vec![of(Some("a.test"), port(&a), "a.test")],
        vec![of(Some("x._http._tcp.shop.test"), port(&a), "a.test")],
        // With what goes into no `host`.
        vec![of(None, port(&a), "a b.test"), of(None, port(&a), "a\r\nx: y.test")],
        vec![of(None, 0, "a.test")],
        // At an address, which is no name.
        vec![of(None, port(&a), "127.0.0.1")],
        Vec::new(),
    ] {
        dns.claim(SERVICE, lies.clone());
        let node = node(&dns, &upstream("  timeouts: {connect: 5s}\n"));
        assert_eq!(node.get("/").await.code(), "upstream_unreachable", "{lies:?}");
        assert_eq!(endpoints(&node), 0, "{lies:?}");
    }
    assert_eq!(a.requests(), 0);
    // What is good among them is used.
    let good = vec![of(None, 0, "a.test"), of(None, port(&a), "."), of(None, port(&a), "a.test")];
    dns.claim(SERVICE, good);
    settles_to(&node(&dns, &upstream("")), &["a"]).await;
}

#[tokio::test]
async fn over_tls_a_server_bears_the_name_of_the_service_and_not_what_the_answer_calls_it() {
    let authority = Authority::new("services").unwrap();
    let dns = Dns::start();
    dns.set("target.test", 60, &[HERE]);
    let service = "{srv: _http._tcp.shop.test, scheme: https}";
    for (bears, more, status) in [
        ("shop.test", "", 200),
        ("target.test", "", 502),
        ("target.test", "    server_name: target.test\n", 200),
    ] {
        let server = server(&authority, bears, &["http/1.1"]).await;
        let port = server.address.port();
        dns.serve(SERVICE, 60, &[(0, 0, port, "target.test")]);
        let node = node(&dns, &of(service, &format!("{}{more}", believing(&authority))));
        let answer = node.get("/").await;
        assert_eq!(answer.status, status, "{bears} {more}");
        assert_eq!(server.handshakes() > 0, status == 200);
        if status == 200 {
            assert_eq!(answer.field("x-host"), format!("target.test:{port}"));
        }
    }
}
