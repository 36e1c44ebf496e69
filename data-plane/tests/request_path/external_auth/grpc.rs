//! A service that speaks gRPC: a server of tonic's, with messages written down apart from the gateway's.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tollgate_testkit::upstream::Upstream;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::{Code, Response, Status};
use tonic_prost::ProstCodec;

use crate::support::{Http2, TestNode, full, published};

// As in envoy/service/auth/v3/external_auth.proto and what it imports.

#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<AttributeContext>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeContext {
    #[prost(message, optional, tag = "1")]
    source: Option<Peer>,
    #[prost(message, optional, tag = "4")]
    request: Option<AttributeRequest>,
    #[prost(map = "string, string", tag = "10")]
    context_extensions: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct Peer {
    #[prost(message, optional, tag = "1")]
    address: Option<Address>,
}

#[derive(Clone, PartialEq, Message)]
struct Address {
    #[prost(message, optional, tag = "1")]
    socket_address: Option<SocketAddressMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SocketAddressMessage {
    #[prost(string, tag = "2")]
    address: String,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeRequest {
    #[prost(message, optional, tag = "2")]
    http: Option<HttpRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpRequest {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    method: String,
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    #[prost(string, tag = "6")]
    scheme: String,
    #[prost(int64, tag = "9")]
    size: i64,
    #[prost(string, tag = "10")]
    protocol: String,
    #[prost(string, tag = "11")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RpcStatus>,
    #[prost(message, optional, tag = "2")]
    denied_response: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    ok_response: Option<Allowed>,
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderOption>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct HttpStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Allowed {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderOption>,
    #[prost(string, repeated, tag = "5")]
    headers_to_remove: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    response_headers_to_add: Vec<HeaderOption>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

fn header(key: &str, value: &str) -> HeaderOption {
    HeaderOption { header: Some(Header { key: key.to_owned(), value: value.to_owned() }) }
}

/// Decides by the path of the request.
async fn decide(request: HttpRequest) -> Result<CheckResponse, Status> {
    let allowed = |allowed| {
        let status = Some(RpcStatus::default());
        Ok(CheckResponse { status, ok_response: Some(allowed), ..CheckResponse::default() })
    };
    match request.path.as_str() {
        "/allowed" => allowed(Allowed {
            headers: vec![header("x-user", "ada"), header("x-not-taken", "1")],
            headers_to_remove: vec!["x-secret".to_owned()],
            response_headers_to_add: vec![header("x-seen", "1")],
        }),
        "/large" => {
            let header = header("x-user", &"a".repeat(100_000));
            allowed(Allowed { headers: vec![header], ..Allowed::default() })
        }
        "/denied" => Ok(CheckResponse {
            status: Some(RpcStatus { code: 7, message: "no".to_owned() }),
            denied_response: Some(Denied {
                status: Some(HttpStatus { code: 401 }),
                headers: vec![header("www-authenticate", "Bearer"), header("x-inside", "1")],
                body: "who are you".to_owned(),
            }),
            ..CheckResponse::default()
        }),
        "/plainly-denied" => Ok(CheckResponse {
            status: Some(RpcStatus { code: 7, ..RpcStatus::default() }),
            ..CheckResponse::default()
        }),
        "/nothing" => Ok(CheckResponse::default()),
        "/slow" => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(CheckResponse::default())
        }
        path => match path.strip_prefix("/status/").and_then(|code| code.parse().ok()) {
            Some(code) => Err(Status::new(Code::from_i32(code), "as the path says")),
            None => Err(Status::internal("an unexpected path")),
        },
    }
}

/// The service, and what it was last asked.
#[derive(Clone, Default)]
struct Authorization(Arc<Mutex<AttributeContext>>);

impl NamedService for Authorization {
    const NAME: &'static str = "envoy.service.auth.v3.Authorization";
}

impl tower::Service<Request<tonic::body::Body>> for Authorization {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/envoy.service.auth.v3.Authorization/Check");
        let asked = Arc::clone(&self.0);
        let check = tower::service_fn(move |request: tonic::Request<CheckRequest>| {
            let attributes = request.into_inner().attributes.unwrap();
            *asked.lock().unwrap() = attributes.clone();
            let http = attributes.request.unwrap().http.unwrap();
            async move { decide(http).await.map(Response::new) }
        });
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<CheckResponse, CheckRequest>::default());
            Ok(grpc.unary(check, request).await)
        })
    }
}

/// A service on a free port, until the set is dropped.
async fn serve(authorization: Authorization) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = futures_util::stream::unfold(listener, async |listener| {
        let stream = listener.accept().await.map(|(stream, _)| stream);
        Some((stream, listener))
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let server = Server::builder().add_service(authorization);
        server.serve_with_incoming(Box::pin(incoming)).await.unwrap();
    });
    (address, tasks)
}

fn node(backend: &Upstream, address: SocketAddr, protocol: &str, more: &str) -> TestNode {
    let api = format!(
        "policies: [{{external_auth: {{upstream: auth, grpc: {{context: {{api: '{{api}}'}}}}, take_headers: [x-user], take_response_headers: [x-seen], {more}}}}}]"
    );
    let auth = format!(
        "---\nkind: Upstream\nname: auth\nspec: {{protocol: {protocol}, endpoints: [{{url: 'http://{address}'}}]}}\n"
    );
    TestNode::with(&(published(backend.address(), "", &api) + &auth))
}

#[tokio::test]
async fn a_grpc_service_lets_calls_through_and_denies_them() {
    let (backend, authorization) = (Upstream::start("backend").unwrap(), Authorization::default());
    let (address, _serving) = serve(authorization.clone()).await;
    let node = node(&backend, address, "http2", "timeout: 5s, send_body: {max: 1KiB}");
    let fields = ["x-user: made-up", "x-secret: 1", "cookie: a=1"];
    let mut wire = node.wire().await;
    for _ in 0..2 {
        let answer = wire.call("POST /allowed", &fields, "some text").await;
        assert_eq!((answer.status, answer.field("x-seen")), (200, "1"), "{answer:?}");
        assert_eq!((answer.seen("x-user").as_str(), answer.seen("x-secret").as_str()), ("ada", ""));
        assert_eq!(
            (answer.seen("x-not-taken").as_str(), answer.json()["body"].as_str()),
            ("", Some("some text"))
        );
        let attributes = authorization.0.lock().unwrap().clone();
        assert_eq!(attributes.context_extensions["api"], "shop");
        let client = attributes.source.unwrap().address.unwrap().socket_address.unwrap();
        assert_eq!(client.address, "127.0.0.1");
        let about = attributes.request.unwrap().http.unwrap();
        assert_eq!(
            (about.method.as_str(), about.host.as_str(), about.scheme.as_str()),
            ("POST", "api.test", "http")
        );
        assert_eq!(
            (about.body.as_str(), about.size, about.protocol.as_str()),
            ("some text", 9, "HTTP/1.1")
        );
        assert_eq!(
            (about.headers.get("cookie").map(String::as_str), about.headers.get("x-secret")),
            (Some("a=1"), None)
        );
        assert_eq!(about.id, answer.field("x-request-id"));
    }
    let answer = node.get("/denied").await;
    assert_eq!((answer.status, answer.body.as_slice()), (401, &b"who are you"[..]));
    assert_eq!((answer.field("www-authenticate"), answer.field("x-inside")), ("Bearer", ""));
    let mut client = Http2::to(node.address).await;
    let answer = client.call(Request::get("http://api.test/denied"), full("")).await;
    assert_eq!((answer.status, answer.body.as_slice()), (401, &b"who are you"[..]));
    let answer = node.get("/plainly-denied").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    // A client of gRPC's own reads `grpc-status` alone.
    let answer = node.call("POST /denied", &["content-type: application/grpc"], "").await;
    assert_eq!((answer.status, answer.field("grpc-status")), (200, "16"));
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn what_a_grpc_service_does_not_decide_is_left_to_the_operator() {
    let backend = Upstream::start("backend").unwrap();
    let (address, _serving) = serve(Authorization::default()).await;
    for (on_failure, undecided) in [("refuse", 503), ("allow", 200)] {
        let node =
            node(&backend, address, "http2", &format!("timeout: 2s, on_failure: {on_failure}"));
        for (path, expected) in [
            ("/status/7", 403),
            ("/status/16", 401),
            ("/status/14", undecided),
            ("/status/2", undecided),
            ("/nothing", undecided),
            ("/large", undecided),
            ("/slow", undecided),
            ("/allowed", 200),
        ] {
            assert_eq!(node.get(path).await.status, expected, "{path} {on_failure}");
        }
        assert_eq!(node.metric("tollgate_policy_call_failures_total"), 5);
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_grpc_decides_nothing() {
    let (backend, auth) = (Upstream::start("backend").unwrap(), Upstream::start("auth").unwrap());
    let (address, _serving) = serve(Authorization::default()).await;
    for (address, protocol) in
        [(auth.address(), "http2"), (auth.address(), "http1"), (address, "http1")]
    {
        let node = node(&backend, address, protocol, "timeout: 2s");
        let answer = node.get("/allowed").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "authorization_unavailable"));
    }
    assert_eq!(backend.requests(), 0);
}
