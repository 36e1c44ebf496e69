//! Changes while calls run, and the end of a node.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, Request};
use proptest::prelude::*;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tollgate_data_plane::plan::{Configurator, Plan, Target, Update};
use tollgate_data_plane::route::{Found, MatchInput};
use tollgate_model::{Issues, Name};
use tollgate_proto::v1;
use tollgate_testkit::upstream::Upstream;

use crate::support::{Http1, Http2, TestNode, collected, eventually, full, plainly, request, soon};

/// A sequence of numbers that is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One random valid edit of what no client uses.
fn edit(node: &mut TestNode, numbers: &mut Numbers, backend: SocketAddr) {
    let i = numbers.below(12);
    let limit = numbers.below(1_000) + 1;
    let rejections = match numbers.below(8) {
        0 | 1 => node.apply(&format!(
            "kind: Upstream\nname: u{i}\nspec: {{endpoints: [{{url: 'http://{backend}', weight: {limit}}}]}}\n---\n\
             kind: Api\nname: a{i}\nspec: {{base_path: /edited/{i}, upstream: u{i}, policies: [{{rate_limit: {{limit: {limit}, window: 1m}}}}]}}"
        )),
        2 => node.remove(&[("Api", &format!("a{i}"))]),
        3 => node.change(
            &format!(
                "kind: Api\nname: a{i}\nspec: {{base_path: /edited/{i}, upstream: backend, routes: [\
                 {{name: r1, match: {{path: /x/{limit}}}}}, {{name: r2, match: {{path: {{prefix: /p}}, methods: [GET]}}}}]}}"
            ),
            &[("Upstream", &format!("u{}", (i + 1) % 12))],
        ),
        4 => node.apply(&format!(
            "kind: Application\nname: p{i}\nspec: {{description: n{limit}}}\n---\n\
             kind: Credential\nname: c{i}\nspec: {{application: p{i}, api_key: {{value: sk-edit-{i}-{limit}}}}}"
        )),
        5 => node.remove(&[("Credential", &format!("c{i}"))]),
        6 => node.apply(&format!("kind: Gateway\nname: default\nspec: {{limits: {{headers: {}}}}}", 50 + limit)),
        _ => node.apply(&format!("kind: Secret\nname: s{i}\nspec: {{value: v{limit}}}")),
    };
    assert_eq!(rejections, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_edits_disturb_no_call_and_no_stream_of_what_they_leave_alone() {
    let backend = Upstream::start("a").unwrap();
    let mut node = TestNode::with(&plainly(backend.address()));
    let address = node.address;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients: JoinSet<u64> = JoinSet::new();
    for i in 0..4_u64 {
        let is_over = Arc::clone(&is_over);
        clients.spawn(async move {
            let mut calls = 0;
            let mut http1 = Http1::to(address).await;
            let mut http2 = Http2::to(address).await;
            while !is_over.load(Ordering::Relaxed) || calls < 20 {
                let body = "x".repeat(usize::try_from(i * 1000).unwrap());
                let request = || {
                    Request::post(format!("http://api.test/kept?n={calls}"))
                        .header("host", "api.test")
                };
                let answer =
                    collected(http2.send(request().body(full(&body)).unwrap()).await.unwrap())
                        .await;
                assert_eq!((answer.status, answer.is_whole), (200, true));
                let mut request = request().body(full(&body)).unwrap();
                *request.uri_mut() = format!("/kept?n={calls}").parse().unwrap();
                let answer = collected(http1.send(request).await.unwrap()).await;
                assert_eq!((answer.status, answer.is_whole), (200, true));
                calls += 2;
            }
            calls
        });
    }
    let mut streams: JoinSet<usize> = JoinSet::new();
    for _ in 0..4 {
        let is_over = Arc::clone(&is_over);
        streams.spawn(async move {
            let mut http2 = Http2::to(address).await;
            let mut wire = crate::support::Wire::to(address).await;
            let target = "/kept?size=150&piece=1&pause_ms=10&chunked";
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) || count < 2 {
                let long = Request::get(format!("http://api.test{target}"));
                let line = format!("GET {target}");
                let (two, one) =
                    tokio::join!(http2.call(long, full("")), wire.call(&line, &[], ""));
                for answer in [one, two] {
                    assert_eq!(
                        (answer.status, answer.is_whole, answer.body.len()),
                        (200, true, 150)
                    );
                    count += 1;
                }
            }
            count
        });
    }
    let mut numbers = Numbers(1);
    for _ in 0..1_000 {
        edit(&mut node, &mut numbers, backend.address());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let calls: u64 = soon(clients.join_all()).await.iter().sum();
    let streamed: usize = soon(streams.join_all()).await.iter().sum();
    assert!(calls >= 160 && streamed >= 8, "{calls} calls, {streamed} streams");
    assert_eq!(node.revision, 1_001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_sees_the_route_and_the_upstream_of_one_revision() {
    let (a, b) = (Upstream::start("even").unwrap(), Upstream::start("odd").unwrap());
    let revision = |number: u64| {
        let (backend, name) = if number.is_multiple_of(2) { (&a, "even") } else { (&b, "odd") };
        crate::support::published(
            backend.address(),
            "",
            &format!("policies: [{{headers: {{request: {{set: {{x-route: {name}}}}}}}}}]"),
        )
    };
    let mut node = TestNode::with(&revision(1));
    let address = node.address;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut clients: JoinSet<Vec<String>> = JoinSet::new();
    for _ in 0..4 {
        let is_over = Arc::clone(&is_over);
        clients.spawn(async move {
            let mut seen = Vec::new();
            let mut http2 = Http2::to(address).await;
            while !is_over.load(Ordering::Relaxed) {
                let answer = http2.call(Request::get("http://api.test/"), full("")).await;
                assert_eq!(answer.status, 200);
                assert_eq!(answer.seen("x-route"), answer.field("x-server"));
                seen.push(answer.field("x-server").to_owned());
            }
            seen
        });
    }
    for number in 2..400 {
        assert_eq!(node.apply(&revision(number)), []);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let seen = soon(clients.join_all()).await.concat();
    assert!(seen.contains(&"even".to_owned()) && seen.contains(&"odd".to_owned()));
}

#[derive(Clone, Debug)]
enum Step {
    /// Publishes an API with its own upstream, or writes both anew.
    Write(usize),
    Remove(usize),
    /// A request takes the plan as it is now.
    Pin,
}

const APIS: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..APIS).prop_map(Step::Write),
        1 => (0..APIS).prop_map(Step::Remove),
        2 => Just(Step::Pin),
    ]
}

fn resource(kind: &str, name: String, version: u64, spec: String) -> v1::Resource {
    v1::Resource {
        kind: kind.to_owned(),
        tenant: "default".to_owned(),
        name,
        version,
        spec: spec.into(),
    }
}

/// The port that a request to an API would go to.
fn port_of(plan: &Plan, api: usize) -> Option<u16> {
    let input = MatchInput {
        host: "api.test",
        path: &format!("/a{api}/x"),
        query: None,
        method: &Method::GET,
        headers: &HeaderMap::new(),
    };
    let Found::Route(found) = plan.routes.find(&input) else { return None };
    let entry = plan.entry(*found.payload()).unwrap();
    assert_eq!(entry.facts.api.as_str(), format!("a{api}"));
    let Target::Upstream(slot) = entry.target else { panic!("it is available") };
    Some(plan.upstream(slot).unwrap().endpoints.current().all[0].address.port())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_interleaving_of_changes_and_requests_sees_one_revision(steps in prop::collection::vec(step(), 1..60)) {
        let mut configurator = Configurator::new(Name::default_name(), Box::new(|_, _| Issues::default()));
        let plan = configurator.plan();
        let mut ports: [Option<u16>; APIS] = [None; APIS];
        let mut revision = 0_u16;
        let mut pinned = Vec::new();
        for step in steps {
            revision += 1;
            let mut update = Update { is_whole: revision == 1, revision: revision.into(), ..Update::default() };
            match step {
                Step::Write(i) => {
                    ports[i] = Some(1000 + revision);
                    let endpoint = format!("{{\"endpoints\":[{{\"url\":\"http://127.0.0.1:{}\"}}]}}", 1000 + revision);
                    let api = format!("{{\"base_path\":\"/a{i}\",\"upstream\":\"u{i}\"}}");
                    // In either order.
                    update.upserts.push(resource("Api", format!("a{i}"), revision.into(), api));
                    update.upserts.push(resource("Upstream", format!("u{i}"), revision.into(), endpoint));
                    if revision.is_multiple_of(2) {
                        update.upserts.reverse();
                    }
                }
                Step::Remove(i) => {
                    ports[i] = None;
                    for (kind, letter) in [("Upstream", 'u'), ("Api", 'a')] {
                        update.removals.push(v1::ResourceId { kind: kind.to_owned(), tenant: "default".to_owned(), name: format!("{letter}{i}") });
                    }
                }
                Step::Pin => {
                    pinned.push((plan.load_full(), ports));
                    continue;
                }
            }
            configurator.apply(update);
            prop_assert!(configurator.rejections().is_empty());
        }
        pinned.push((plan.load_full(), ports));
        for (plan, ports) in pinned {
            for (i, port) in ports.into_iter().enumerate() {
                prop_assert_eq!(port_of(&plan, i), port);
            }
        }
    }
}

#[test]
fn what_an_upstream_held_goes_with_it() {
    let mut configurator =
        Configurator::new(Name::default_name(), Box::new(|_, _| Issues::default()));
    let spec = r#"{"endpoints": [{"url": "http://127.0.0.1:1"}]}"#;
    let id = v1::ResourceId {
        kind: "Upstream".to_owned(),
        tenant: "default".to_owned(),
        name: "default".to_owned(),
    };
    let upstream = v1::Resource {
        kind: id.kind.clone(),
        tenant: id.tenant.clone(),
        name: id.name.clone(),
        version: 1,
        spec: spec.as_bytes().to_vec().into(),
    };
    configurator.apply(Update { is_whole: true, upserts: vec![upstream], ..Update::default() });
    let plan = configurator.plan();
    let name = Name::default_name();
    let held = Arc::downgrade(plan.load().upstream_named(&name, &name).unwrap());
    assert!(held.strong_count() > 0);
    configurator.apply(Update { removals: vec![id], ..Update::default() });
    assert!(plan.load().upstream_named(&name, &name).is_none());
    assert_eq!(held.strong_count(), 0);
}

#[tokio::test]
async fn policies_of_the_tenant_default_and_of_its_sets_are_followed() {
    let backend = Upstream::start("a").unwrap();
    let mut node = TestNode::with(&plainly(backend.address()));
    let sets = |value: u8| format!("[{{headers: {{response: {{set: {{x-v: '{value}'}}}}}}}}]");
    for value in 1..3 {
        let tenant = format!("kind: Tenant\nname: default\nspec: {{policies: {}}}", sets(value));
        assert_eq!(node.apply(&tenant), []);
        assert_eq!(node.get("/").await.field("x-v"), value.to_string());
    }
    let named = "kind: Tenant\nname: default\nspec: {policies: [{policy_set: base}]}\n---\n";
    for value in 3..5 {
        let set = format!("kind: PolicySet\nname: base\nspec: {{policies: {}}}", sets(value));
        assert_eq!(node.apply(&if value == 3 { format!("{named}{set}") } else { set }), []);
        assert_eq!(node.get("/").await.field("x-v"), value.to_string());
    }
    node.remove(&[("Tenant", "default")]);
    assert_eq!(node.get("/").await.field("x-v"), "");
}

#[tokio::test]
async fn listeners_come_and_go_with_the_gateway_resource() {
    let backend = Upstream::start("a").unwrap();
    let mut node = TestNode::with(&plainly(backend.address()));
    let second = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listening = format!(
        "kind: Gateway\nname: default\nspec: {{listeners: [{{name: second, address: '{second}'}}]}}"
    );
    for _ in 0..3 {
        assert_eq!(node.apply(&listening), []);
        let mut wire = crate::support::Wire::to(second).await;
        assert_eq!(wire.call("GET /", &[], "").await.status, 200);
        assert_eq!(node.apply("kind: Gateway\nname: default\nspec: {}"), []);
        // The connection that is there lives on.
        assert_eq!(wire.call("GET /", &[], "").await.status, 200);
    }
    soon(async {
        while TcpStream::connect(second).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(node.get("/").await.status, 200);
}

#[tokio::test]
async fn a_port_in_use_is_reported_with_its_place_until_it_is_free() {
    let backend = Upstream::start("a").unwrap();
    let mut node = TestNode::with(&plainly(backend.address()));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let gateway = format!(
        "kind: Gateway\nname: default\nspec: {{listeners: [{{name: second, address: '{address}'}}]}}"
    );
    let rejections = node.apply(&gateway);
    let issue = &rejections[0].issues[0];
    assert_eq!(
        (issue.pointer.as_str(), issue.code.as_str()),
        ("/spec/listeners/0/address", "port_in_use")
    );
    assert!(issue.message.contains(&address.port().to_string()));
    assert_eq!(node.get("/").await.status, 200);
    // Other changes leave it as it is; one after the port is free mends it.
    assert_eq!(node.apply("kind: Application\nname: one\nspec: {}").len(), 1);
    drop(taken);
    assert_eq!(node.apply("kind: Application\nname: two\nspec: {}"), []);
    let mut wire = crate::support::Wire::to(address).await;
    assert_eq!(wire.call("GET /", &[], "").await.status, 200);
}

#[tokio::test]
async fn a_faulty_gateway_keeps_its_last_good_version_and_stays_reported() {
    let backend = Upstream::start("a").unwrap();
    let gateway = |limits: &str, value: u8| {
        format!(
            "---\nkind: Gateway\nname: default\nspec: {{limits: {{{limits}}}, policies: [{{headers: {{response: {{set: {{x-v: '{value}'}}}}}}}}]}}"
        )
    };
    let mut node = TestNode::with(&(plainly(backend.address()) + &gateway("", 1)));
    assert_eq!(node.apply(&gateway("headers: many", 2)).len(), 1);
    assert_eq!(node.get("/").await.field("x-v"), "1");
    assert_eq!(node.apply("kind: Application\nname: one\nspec: {}").len(), 1);
    assert_eq!(node.apply(&gateway("headers: 90", 3)), []);
    assert_eq!(node.get("/").await.field("x-v"), "3");
}

#[tokio::test]
async fn a_draining_node_finishes_what_it_has_and_takes_nothing_new() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    let mut idle = node.wire().await;
    assert_eq!(idle.call("GET /", &[], "").await.field("connection"), "");
    let mut under_way = node.wire().await;
    under_way.send(request("GET /?delay_ms=1000", &[], "")).await;
    let mut streaming = node.wire().await;
    streaming.send(request("GET /?size=100&piece=1&pause_ms=20&chunked", &[], "")).await;
    let mut http2 = Http2::to(node.address).await;
    let long = http2
        .sender
        .send_request(Request::get("http://api.test/?delay_ms=1000").body(full("")).unwrap());
    eventually(|| (backend.requests() == 4).then_some(())).await;
    streaming.head().await;

    node.drain();
    assert_eq!(idle.rest().await, b"");
    soon(async {
        while TcpStream::connect(node.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answer = under_way.answer().await;
    assert_eq!((answer.status, answer.field("connection")), (200, "close"));
    assert_eq!(under_way.rest().await, b"");
    assert_eq!(soon(long).await.unwrap().status(), 200);
    http2.ended().await;
    let streamed = streaming.rest().await;
    assert!(streamed.ends_with(b"1\r\nx\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&streamed));
    eventually(|| node.has_ended().then_some(())).await;
    assert_eq!(node.records(4).await.len(), 4);
}

#[tokio::test]
async fn what_is_cut_off_at_the_end_of_the_drain_has_its_record() {
    let backend = Upstream::start("a").unwrap();
    let mut node = TestNode::with(&plainly(backend.address()));
    let mut wire = node.wire().await;
    wire.send(request("GET /?hang", &[], "")).await;
    eventually(|| (backend.under_way() == 1).then_some(())).await;
    node.cut_off();
    let records = node.records(1).await;
    assert_eq!(
        (records[0]["status"].as_u64(), records[0]["complete"].as_bool()),
        (Some(499), Some(false))
    );
}
