//! Which endpoint of an upstream a call goes to, and which of them are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tollgate_testkit::upstream::Upstream;

use crate::support::{TestNode, Wire, eventually, request};

fn upstream(endpoints: &[(SocketAddr, &str)], more: &str) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(address, more)| format!("{{url: 'http://{address}'{more}}}"))
        .collect();
    format!(
        "kind: Upstream\nname: backend\nspec:\n  endpoints: [{}]\n  retry: {{attempts: 0}}\n  {more}\n---\n\
         kind: Api\nname: shop\nspec: {{base_path: /, upstream: backend}}\n",
        endpoints.join(", ")
    )
}

fn servers(names: &[&'static str]) -> Vec<Upstream> {
    names.iter().map(|name| Upstream::start(name).unwrap()).collect()
}

fn addresses(servers: &[Upstream]) -> Vec<(SocketAddr, &'static str)> {
    servers.iter().map(|server| (server.address(), "")).collect()
}

/// Who answers, by status where it is nobody.
async fn who(wire: &mut Wire, target: &str, fields: &[&str]) -> String {
    let answer = wire.call(&format!("GET {target}"), fields, "").await;
    match answer.field("x-server") {
        "" => answer.status.to_string(),
        name => name.to_owned(),
    }
}

#[tokio::test]
async fn the_same_cookie_goes_to_the_same_server_on_every_thread() {
    let servers = servers(&["a", "b", "c"]);
    let balance = "balance: consistent_hash\n  hash_by: cookie.session";
    let node = TestNode::with(&upstream(&addresses(&servers), balance));
    let mut found: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for _ in 0..3 {
        // Each connection is another thread's.
        let mut wire = node.wire().await;
        for session in 0..24 {
            let cookie = format!("cookie: theme=dark; session={session}");
            found.entry(session).or_default().insert(who(&mut wire, "/", &[&cookie]).await);
        }
    }
    assert!(found.values().all(|servers| servers.len() == 1), "{found:?}");
    let used: BTreeSet<&String> = found.values().flatten().collect();
    assert_eq!(used.len(), 3, "{found:?}");
    // Without one, the address decides: always the same.
    let mut wire = node.wire().await;
    let first = who(&mut wire, "/", &[]).await;
    for _ in 0..5 {
        assert_eq!(who(&mut wire, "/", &[]).await, first);
    }
}

#[tokio::test]
async fn the_fastest_gets_the_most_where_latency_decides() {
    let servers = servers(&["a", "b"]);
    let node = TestNode::with(&upstream(&addresses(&servers), "balance: ewma"));
    let mut wire = node.wire().await;
    // One of the two is slow once; the other is preferred for as long as that is remembered.
    let slow = who(&mut wire, "/?delay_ms=300", &[]).await;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..20 {
        *counts.entry(who(&mut wire, "/", &[]).await).or_default() += 1;
    }
    assert_eq!(counts.get(&slow), None, "{counts:?}");
}

#[tokio::test]
async fn a_lower_priority_is_asked_where_the_higher_is_out() {
    let (first, second) = (Upstream::start("first").unwrap(), Upstream::start("second").unwrap());
    let endpoints = [(first.address(), ""), (second.address(), ", priority: 1")];
    let health = "health: {passive: {failures: 2, eject_for: 700ms, max_ejected: 1.0}}";
    let node = TestNode::with(&upstream(&endpoints, health));
    let mut wire = node.wire().await;
    for target in ["/", "/?status=500", "/", "/?status=500", "/?status=503"] {
        wire.call(&format!("GET {target}"), &[], "").await;
    }
    assert_eq!((first.requests(), second.requests()), (5, 0));
    assert_eq!(who(&mut wire, "/", &[]).await, "second");
    assert_eq!(node.metric("tollgate_upstream_ejections_total"), 1);
    // After its time it is asked again.
    let mut again = String::new();
    for _ in 0..100 {
        again = who(&mut wire, "/", &[]).await;
        if again == "first" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(again, "first");
}

#[tokio::test]
async fn the_last_endpoint_is_never_left_out() {
    let servers = servers(&["a", "b"]);
    for health in [
        "health: {passive: {failures: 1, eject_for: 1h}}",
        "health: {passive: {failures: 1, eject_for: 1h, max_ejected: 1.0}}",
    ] {
        let node = TestNode::with(&upstream(&addresses(&servers), health));
        let mut wire = node.wire().await;
        for _ in 0..6 {
            assert_eq!(wire.call("GET /?status=500", &[], "").await.status, 500);
        }
        assert_eq!(wire.call("GET /", &[], "").await.status, 200);
    }
    let one = upstream(&addresses(&servers[..1]), "health: {passive: {failures: 1}}");
    let node = TestNode::with(&one);
    let mut wire = node.wire().await;
    assert_eq!(wire.call("GET /?status=500", &[], "").await.status, 500);
    assert_eq!(wire.call("GET /", &[], "").await.status, 200);
}

#[tokio::test]
async fn a_client_that_breaks_off_harms_no_endpoint() {
    let servers = servers(&["a", "b"]);
    let health = "health: {passive: {failures: 1, eject_for: 1h}}";
    let node = TestNode::with(&upstream(&addresses(&servers), health));
    for _ in 0..4 {
        let mut wire = node.wire().await;
        wire.send(request("GET /?hang", &[], "")).await;
        eventually(|| (servers[0].under_way() + servers[1].under_way() > 0).then_some(())).await;
        drop(wire);
        eventually(|| (servers[0].under_way() + servers[1].under_way() == 0).then_some(())).await;
    }
    assert_eq!(node.metric("tollgate_upstream_ejections_total"), 0);
}

#[tokio::test]
async fn who_fails_the_nodes_own_questions_is_left_out_until_it_passes() {
    let good = Upstream::start("good").unwrap();
    let bad =
        Upstream::raw("HTTP/1.1 500 Oh\r\nx-server: bad\r\ncontent-length: 0\r\n\r\n").unwrap();
    let endpoints = [(good.address(), ""), (bad.address(), "")];
    let health = |statuses: &str| {
        format!(
            "health: {{active: {{path: '/healthz', statuses: [{statuses}], interval: 100ms, unhealthy_after: 1, healthy_after: 1}}}}"
        )
    };
    let mut node = TestNode::with(&upstream(&endpoints, &health("200")));
    assert_eq!(settled(&node).await, BTreeSet::from(["good".to_owned()]));
    node.apply(&upstream(&endpoints, &health("200, 500")));
    assert_eq!(settled(&node).await, BTreeSet::from(["bad".to_owned(), "good".to_owned()]));
    // All out is as good as none out.
    node.apply(&upstream(&endpoints, &health("418")));
    assert_eq!(settled(&node).await, BTreeSet::from(["bad".to_owned(), "good".to_owned()]));
    assert!(good.requests() > 0);
}

/// Who answers, once that has been the same for a second.
async fn settled(node: &TestNode) -> BTreeSet<String> {
    let mut wire = node.wire().await;
    let (mut last, mut same) = (BTreeSet::new(), 0);
    while same < 5 {
        let mut seen = BTreeSet::new();
        for _ in 0..6 {
            seen.insert(who(&mut wire, "/", &[]).await);
        }
        same = if seen == last { same + 1 } else { 0 };
        last = seen;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    last
}

#[tokio::test]
async fn a_connection_is_enough_where_no_path_is_asked_for() {
    let good = Upstream::start("good").unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoints = [(good.address(), ""), (nobody, "")];
    let health = "health: {active: {interval: 100ms, unhealthy_after: 2}}";
    let node = TestNode::with(&upstream(&endpoints, health));
    assert_eq!(settled(&node).await, BTreeSet::from(["good".to_owned()]));
    // No question was a request.
    let asked = good.requests();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(good.requests(), asked);
}

#[tokio::test]
async fn an_answer_of_a_named_status_is_given_up_for_another_attempt() {
    let raw = "HTTP/1.1 503 Busy\r\nx-server: busy\r\ncontent-length: 0\r\n\r\n";
    let (good, busy) = (Upstream::start("good").unwrap(), Upstream::raw(raw).unwrap());
    let yaml = |endpoints: &[(SocketAddr, &str)], more: &str| {
        upstream(endpoints, more)
            .replace("retry: {attempts: 0}", "retry: {attempts: 1, budget: 1.0, statuses: [503]}")
    };
    let node = TestNode::with(&yaml(&[(busy.address(), ""), (good.address(), "")], ""));
    let mut wire = node.wire().await;
    for _ in 0..6 {
        assert_eq!(who(&mut wire, "/", &[]).await, "good");
    }
    let mut statuses = BTreeSet::new();
    for _ in 0..6 {
        // It may have been done.
        statuses.insert(wire.call("POST /", &[], "order").await.status);
    }
    // No other status is meant.
    assert_eq!(wire.call("GET /?status=500", &[], "").await.status, 500);
    assert_eq!(statuses, BTreeSet::from([200, 503]));
    // The last attempt's answer is the client's.
    let node = TestNode::with(&yaml(&[(busy.address(), "")], ""));
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.field("x-server")), (503, "busy"));
    assert_eq!(node.records(1).await[0]["attempts"], 2);
    // Over HTTP/2 likewise.
    let two = servers(&["a", "b"]);
    let node = TestNode::with(&yaml(&addresses(&two), "protocol: http2"));
    assert_eq!(node.get("/?status=503").await.status, 503);
    assert_eq!(two[0].requests() + two[1].requests(), 2);
}

/// A server that says of the service `orders` what it is told: 1 is that it serves. It answers every other call too.
struct Grpc {
    address: SocketAddr,
    status: Arc<AtomicU8>,
    _accepting: JoinSet<()>,
}

impl Grpc {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU8::new(1));
        let said = Arc::clone(&status);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let said = Arc::clone(&said);
                let service = service_fn(move |request| answer(name, Arc::clone(&said), request));
                serving.spawn(async move {
                    let builder =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, status, _accepting: accepting }
    }

    fn say(&self, status: u8) {
        self.status.store(status, Ordering::SeqCst);
    }
}

async fn answer(
    name: &'static str,
    said: Arc<AtomicU8>,
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let is_check = request.uri().path() == "/grpc.health.v1.Health/Check"
        && request.method() == http::Method::POST
        && request.headers()["content-type"] == "application/grpc"
        && request.headers()["te"] == "trailers";
    let body = request.into_body().collect().await.unwrap().to_bytes();
    if !is_check {
        let response = Response::builder().header("x-server", name);
        return Ok(response.body(Full::default().boxed_unsync()).unwrap());
    }
    assert_eq!(*body, *b"\0\0\0\0\x08\x0a\x06orders");
    let message = [0, 0, 0, 0, 2, 8, said.load(Ordering::SeqCst)];
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::copy_from_slice(&message));
    let body = body.with_trailers(async move { Some(Ok(trailers)) });
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(body.boxed_unsync()).unwrap())
}

#[tokio::test]
async fn who_does_not_serve_by_its_own_word_over_grpc_is_left_out() {
    let (a, b) = (Grpc::start("a").await, Grpc::start("b").await);
    // It speaks HTTP/2 and knows nothing of the protocol.
    let other = Upstream::start("other").unwrap();
    let endpoints = [(a.address, ""), (b.address, ""), (other.address(), "")];
    let health = "protocol: http2\n  health: {active: {grpc: {service: orders}, interval: 100ms, unhealthy_after: 1, healthy_after: 1}}";
    let node = TestNode::with(&upstream(&endpoints, health));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(settled(&node).await, names(&["a", "b"]));
    b.say(2);
    assert_eq!(settled(&node).await, names(&["a"]));
    b.say(1);
    assert_eq!(settled(&node).await, names(&["a", "b"]));
}
