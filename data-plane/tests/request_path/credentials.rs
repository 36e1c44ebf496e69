//! What the gateway proves itself with to upstreams, also by tokens that it fetches from a token endpoint.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tollgate_testkit::upstream::Upstream;

use crate::support::{TestNode, eventually, published};

/// A server in this test's own tasks.
struct Server {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl Server {
    async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                serving.spawn(async move {
                    let builder =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, _accepting: accepting }
    }
}

/// A token endpoint. Its tokens are `token-1`, `token-2`, …
struct TokenServer {
    server: Server,
    manner: Arc<Mutex<Manner>>,
}

#[derive(Default)]
struct Manner {
    /// In place of a token: a status and a body.
    instead: Option<(u16, String)>,
    expires_in: Option<u64>,
    delay: Duration,
    /// What it was asked.
    asked: Vec<Asked>,
}

#[derive(Clone, Debug, PartialEq)]
struct Asked {
    method: Method,
    target: String,
    client: Option<String>,
    content_type: String,
    accept: String,
    form: String,
}

impl TokenServer {
    async fn start() -> Self {
        let manner = Arc::new(Mutex::new(Manner { expires_in: Some(3600), ..Manner::default() }));
        let shared = Arc::clone(&manner);
        let server = Server::start(move |request| answer(Arc::clone(&shared), request)).await;
        Self { server, manner }
    }

    fn change(&self, f: impl FnOnce(&mut Manner)) {
        f(&mut self.manner.lock().unwrap());
    }

    fn asked(&self) -> Vec<Asked> {
        self.manner.lock().unwrap().asked.clone()
    }

    fn times(&self) -> usize {
        self.manner.lock().unwrap().asked.len()
    }

    /// The `credentials` of an upstream that goes there.
    fn credentials(&self, more: &str) -> String {
        format!(
            "credentials: {{oauth2: {{token_url: 'http://{}/token', allow_private: true, client_id: 'gate way', \
             client_secret: '{{secret.shop}}'{more}}}}}",
            self.server.address
        )
    }
}

async fn answer(manner: Arc<Mutex<Manner>>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let form = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let text = |name: header::HeaderName| {
        head.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let client = text(header::AUTHORIZATION).map(|value| {
        let pair = STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap();
        String::from_utf8(pair).unwrap()
    });
    let (body, status, delay) = {
        let mut manner = manner.lock().unwrap();
        manner.asked.push(Asked {
            method: head.method.clone(),
            target: head.uri.to_string(),
            client,
            content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
            accept: text(header::ACCEPT).unwrap_or_default(),
            form,
        });
        let (status, body) = manner.instead.clone().unwrap_or_else(|| {
            let expires = manner.expires_in.map(|seconds| format!(r#", "expires_in": {seconds}"#));
            let number = manner.asked.len();
            let expires = expires.unwrap_or_default();
            let body =
                format!(r#"{{"access_token": "token-{number}", "token_type": "bearer"{expires}}}"#);
            (200, body)
        });
        (body, status, manner.delay)
    };
    tokio::time::sleep(delay).await;
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert(header::LOCATION, "/elsewhere".parse().unwrap());
    response
}

fn secret(name: &str, value: &str) -> String {
    format!("---\nkind: Secret\nname: {name}\nspec: {{value: '{value}'}}\n")
}

/// One upstream and one API, the upstream with more to it, and the secret `shop`.
fn proven(backend: SocketAddr, upstream: &str) -> String {
    published(backend, upstream, "") + &secret("shop", "s3cret")
}

const HEADER: &str = "credentials: {header: {name: X-Api-Key, value: 'Key {secret.shop}'}}";
const BASIC: &str = "credentials: {basic: {username: gateway, password: '{secret.shop}'}}";

#[tokio::test]
async fn a_field_takes_the_place_of_what_a_client_sends() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&proven(backend.address(), HEADER));
    let fields = ["x-api-key: mine", "X-API-KEY: and mine", "authorization: Bearer mine"];
    for line in ["GET /", "POST /"] {
        let answer = node.call(line, &fields, "").await;
        assert_eq!(answer.seen("x-api-key"), "Key s3cret");
        assert_eq!(answer.seen("authorization"), "Bearer mine");
    }
    // Not even where `connection` says that it is for this hop alone.
    let answer = node.call("GET /", &["connection: x-api-key"], "").await;
    assert_eq!(answer.seen("x-api-key"), "Key s3cret");
    for record in node.records(3).await {
        assert!(!record.to_string().contains("s3cret"), "{record}");
    }
}

#[tokio::test]
async fn a_request_for_websocket_goes_with_it() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&proven(backend.address(), HEADER));
    let fields = [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "x-api-key: mine",
    ];
    let answer = node.call("GET /", &fields, "").await;
    assert_eq!(answer.seen("upgrade"), "websocket");
    assert_eq!(answer.seen("x-api-key"), "Key s3cret");
}

#[tokio::test]
async fn a_username_and_a_password_go_with_every_request_over_http1_and_http2() {
    let backend = Upstream::start("a").unwrap();
    for protocol in ["http1", "http2"] {
        let upstream = format!("protocol: {protocol}\n  {BASIC}");
        let node = TestNode::with(&proven(backend.address(), &upstream));
        for _ in 0..2 {
            let answer = node.call("GET /", &["authorization: Basic bWluZQ=="], "").await;
            assert_eq!(
                answer.json()["version"],
                if protocol == "http1" { "HTTP/1.1" } else { "HTTP/2.0" }
            );
            let expected = format!("Basic {}", STANDARD.encode("gateway:s3cret"));
            assert_eq!(answer.seen("authorization"), expected);
        }
    }
}

#[tokio::test]
async fn another_attempt_goes_with_it_too() {
    for protocol in ["http1", "http2"] {
        let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let backend = Server::start(move |request| {
            let mut kept = kept.lock().unwrap();
            kept.push(request.headers().clone());
            let mut response = Response::new(Full::default());
            if kept.len() == 1 {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            std::future::ready(response)
        })
        .await;
        let upstream =
            format!("protocol: {protocol}\n  retry: {{attempts: 1, statuses: [503]}}\n  {HEADER}");
        let node = TestNode::with(&proven(backend.address, &upstream));
        assert_eq!(node.call("GET /", &["x-api-key: mine"], "").await.status, 200);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 2);
        for headers in seen.iter() {
            let told: Vec<_> = headers.get_all("x-api-key").iter().collect();
            assert_eq!(told, ["Key s3cret"]);
        }
    }
}

#[tokio::test]
async fn a_rotated_secret_is_told_from_then_on_and_one_that_is_not_there_closes_the_upstream() {
    let backend = Upstream::start("a").unwrap();
    let mut node = TestNode::with(&published(backend.address(), HEADER, ""));
    let closed = async |node: &TestNode| {
        let answer = node.get("/").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "route_unavailable"));
    };
    closed(&node).await;
    assert_eq!(node.apply(&secret("shop", "one")), []);
    let mut wire = node.wire().await;
    assert_eq!(wire.call("GET /", &[], "").await.seen("x-api-key"), "Key one");
    assert_eq!(node.apply(&secret("shop", "two")), []);
    assert_eq!(wire.call("GET /", &[], "").await.seen("x-api-key"), "Key two");
    // It cannot stand in a field; what is written out in full has a line of its own.
    assert_eq!(node.apply("kind: Secret\nname: shop\nspec: {value: \"one\\ntwo\"}"), []);
    closed(&node).await;
    assert_eq!(node.apply(&secret("shop", "three")), []);
    assert_eq!(wire.call("GET /", &[], "").await.seen("x-api-key"), "Key three");
    node.remove(&[("Secret", "shop")]);
    closed(&node).await;
    // That of another tenant is none of this one's.
    let other = "kind: Tenant\nname: other\nspec: {}\n---\nkind: Secret\ntenant: other\nname: shop\nspec: {value: foreign}";
    assert_eq!(node.apply(other), []);
    closed(&node).await;
    assert_eq!(backend.requests(), 3);
}

#[tokio::test]
async fn health_checks_and_the_calls_of_policies_go_with_it() {
    let seen: Arc<Mutex<Vec<(String, HeaderMap)>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let backend = Server::start(move |request| {
        let path = request.uri().path().to_owned();
        kept.lock().unwrap().push((path, request.headers().clone()));
        std::future::ready(Response::new(Full::default()))
    })
    .await;
    let upstream = format!("health: {{active: {{path: /healthz, interval: 100ms}}}}\n  {HEADER}");
    let api =
        "policies: [{external_auth: {upstream: backend, http: {path: /verify}, timeout: 5s}}]";
    let yaml = published(backend.address, &upstream, api) + &secret("shop", "s3cret");
    let node = TestNode::with(&yaml);
    assert_eq!(node.get("/called").await.status, 200);
    let all = ["/healthz", "/verify", "/called"];
    let seen = eventually(|| {
        let seen = seen.lock().unwrap().clone();
        all.iter().all(|path| seen.iter().any(|(known, _)| known == path)).then_some(seen)
    })
    .await;
    for (path, headers) in seen {
        assert_eq!(headers["x-api-key"], "Key s3cret", "{path}");
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_goes_with_every_call() {
    let (backend, tokens) = (Upstream::start("a").unwrap(), TokenServer::start().await);
    let upstream = tokens.credentials(", scopes: [read, write], audience: orders");
    let node = TestNode::with(&proven(backend.address(), &upstream));
    assert_eq!(tokens.times(), 0, "nothing is fetched before it is needed");
    tokens.change(|manner| manner.delay = Duration::from_millis(50));
    let calls = (0..20).map(|_| node.call("POST /", &["authorization: Bearer mine"], "x"));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(
            (answer.status, answer.seen("authorization")),
            (200, "Bearer token-1".to_owned())
        );
    }
    let expected = Asked {
        method: Method::POST,
        target: "/token".to_owned(),
        client: Some("gate+way:s3cret".to_owned()),
        content_type: "application/x-www-form-urlencoded".to_owned(),
        accept: "application/json".to_owned(),
        form: "grant_type=client_credentials&scope=read+write&audience=orders".to_owned(),
    };
    assert_eq!(tokens.asked(), [expected]);
    assert_eq!(node.metric("tollgate_upstream_token_fetches_total"), 1);
    assert_eq!(node.metric("tollgate_upstream_token_failures_total"), 0);
    for record in node.records(20).await {
        assert!(!record.to_string().contains("token-1"), "{record}");
    }
}

#[tokio::test]
async fn a_client_proves_itself_in_the_body_where_that_is_asked_for() {
    let (backend, tokens) = (Upstream::start("a").unwrap(), TokenServer::start().await);
    let upstream = format!("protocol: http2\n  {}", tokens.credentials(", auth: body"));
    let node = TestNode::with(&proven(backend.address(), &upstream));
    let answer = node.get("/").await;
    assert_eq!(answer.json()["version"], "HTTP/2.0");
    assert_eq!(answer.seen("authorization"), "Bearer token-1");
    let asked = tokens.asked();
    assert_eq!(asked[0].client, None);
    let form = "grant_type=client_credentials&client_id=gate+way&client_secret=s3cret";
    assert_eq!(asked[0].form, form);
}

#[tokio::test]
async fn a_change_keeps_the_token_unless_it_is_about_it() {
    let (backend, tokens) = (Upstream::start("a").unwrap(), TokenServer::start().await);
    let with = |more: &str| format!("{more}\n  {}", tokens.credentials(""));
    let mut node = TestNode::with(&proven(backend.address(), &with("")));
    assert_eq!(node.get("/").await.seen("authorization"), "Bearer token-1");
    node.apply(&proven(backend.address(), &with("timeouts: {connect: 2s}")));
    assert_eq!(node.get("/").await.seen("authorization"), "Bearer token-1");
    node.apply(&secret("shop", "other"));
    assert_eq!(node.get("/").await.seen("authorization"), "Bearer token-2");
    let clients: Vec<Option<String>> =
        tokens.asked().into_iter().map(|asked| asked.client).collect();
    let expected = ["gate+way:s3cret", "gate+way:other"].map(|client| Some(client.to_owned()));
    assert_eq!(clients, expected);
}

#[tokio::test]
async fn without_a_token_nothing_goes_out_and_nobody_waits_for_long() {
    let (backend, tokens) = (Upstream::start("a").unwrap(), TokenServer::start().await);
    let garbage = "{\"access_token\": \"s3cret token\", \"token_type\": \"Bearer\"}";
    let large = format!(
        "{{\"access_token\": \"a\", \"token_type\": \"Bearer\", \"x\": \"{}\"}}",
        "x".repeat(64 << 10)
    );
    for (status, body) in [
        (200, garbage),
        (200, "<html>"),
        (200, large.as_str()),
        (201, r#"{"access_token": "a", "token_type": "Bearer"}"#),
        (307, ""),
        (401, r#"{"error": "invalid_client"}"#),
        (500, ""),
    ] {
        tokens.change(|manner| manner.instead = Some((status, body.to_owned())));
        let before = tokens.times();
        let node = TestNode::with(&proven(backend.address(), &tokens.credentials("")));
        for _ in 0..2 {
            let answer = node.get("/").await;
            let expected = (503, "upstream_credentials_unavailable");
            assert_eq!((answer.status, answer.code().as_str()), expected, "{status}");
            assert_eq!(answer.field("retry-after"), "1");
            assert!(!String::from_utf8_lossy(&answer.body).contains("s3cret"));
        }
        let record = &node.records(1).await[0];
        assert_eq!(
            (record["code"].as_str(), record["fault"].as_str()),
            (Some("upstream_credentials_unavailable"), Some("upstream"))
        );
        // The second call comes within the pause, and a redirect is not followed.
        let asked = &tokens.asked()[before..];
        assert!(
            asked.len() <= 2 && asked.iter().all(|asked| asked.target == "/token"),
            "{asked:?}"
        );
        assert_eq!(
            node.metric("tollgate_upstream_token_failures_total"),
            u64::try_from(asked.len()).unwrap()
        );
    }
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn who_waits_for_a_token_waits_no_longer_than_for_a_connection() {
    let (backend, tokens) = (Upstream::start("a").unwrap(), TokenServer::start().await);
    tokens.change(|manner| manner.delay = Duration::from_millis(600));
    let upstream = format!("timeouts: {{connect: 100ms}}\n  {}", tokens.credentials(""));
    let node = TestNode::with(&proven(backend.address(), &upstream));
    let answer = node.get("/").await;
    assert_eq!(answer.code(), "upstream_credentials_unavailable");
    // It comes all the same.
    eventually(|| (node.metric("tollgate_upstream_token_fetches_total") == 1).then_some(())).await;
    assert_eq!(node.get("/").await.seen("authorization"), "Bearer token-1");
    assert_eq!(tokens.times(), 1);
}

#[tokio::test]
async fn a_token_endpoint_inside_is_asked_only_where_that_is_allowed() {
    let (backend, tokens) = (Upstream::start("a").unwrap(), TokenServer::start().await);
    let upstream = format!(
        "credentials: {{oauth2: {{token_url: 'https://localhost:{}/token', client_id: a, client_secret: '{{secret.shop}}'}}}}",
        tokens.server.address.port()
    );
    let node = TestNode::with(&proven(backend.address(), &upstream));
    assert_eq!(node.get("/").await.code(), "upstream_credentials_unavailable");
    assert_eq!((tokens.times(), backend.requests()), (0, 0));
}

/// An upstream that answers with the token it was shown, and with 401 where that is the first one.
async fn refusing_the_first(calls: &Arc<AtomicUsize>) -> Server {
    let counted = Arc::clone(calls);
    Server::start(move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        let token = request.headers()[header::AUTHORIZATION].clone();
        let mut response = Response::new(Full::new(Bytes::from(token.as_bytes().to_vec())));
        if token == "Bearer token-1" {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        std::future::ready(response)
    })
    .await
}

#[tokio::test]
async fn a_token_that_an_upstream_refuses_is_fetched_anew() {
    for protocol in ["http1", "http2"] {
        let (tokens, calls) = (TokenServer::start().await, Arc::default());
        let backend = refusing_the_first(&calls).await;
        let upstream = format!("protocol: {protocol}\n  {}", tokens.credentials(""));
        let node = TestNode::with(&proven(backend.address, &upstream));
        // The answer goes to the client as it is: the call is not made again.
        let answer = node.get("/").await;
        assert_eq!((answer.status, answer.body.as_slice()), (401, &b"Bearer token-1"[..]));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        eventually(|| (node.metric("tollgate_upstream_token_fetches_total") == 2).then_some(()))
            .await;
        let answer = node.get("/").await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"Bearer token-2"[..]));
    }
}

#[tokio::test]
async fn an_upstream_that_refuses_every_token_does_not_have_one_fetched_for_every_call() {
    let (backend, tokens) = (Upstream::start("a").unwrap(), TokenServer::start().await);
    let node = TestNode::with(&proven(backend.address(), &tokens.credentials("")));
    // For longer than a token that was refused takes to be replaced.
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        assert_eq!(node.get("/?status=401").await.status, 401);
    }
    assert!(backend.requests() > 20);
    assert_eq!(tokens.times(), 2);
}

#[tokio::test]
async fn a_token_that_is_used_is_renewed_without_a_call_that_fails() {
    let (backend, tokens) = (Upstream::start("a").unwrap(), TokenServer::start().await);
    tokens.change(|manner| manner.expires_in = Some(2));
    let node = TestNode::with(&proven(backend.address(), &tokens.credentials("")));
    let mut wire = node.wire().await;
    while tokens.times() < 3 {
        let answer = wire.call("GET /", &[], "").await;
        assert_eq!(answer.status, 200);
        assert!(answer.seen("authorization").starts_with("Bearer token-"));
    }
}
