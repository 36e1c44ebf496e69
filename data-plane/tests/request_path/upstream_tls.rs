//! Upstreams over TLS: what is believed, what is spoken, what becomes of it when it changes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::support::TestNode;

/// An authority, and servers that it vouches for.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// What an upstream is told to believe.
    fn pem(&self) -> String {
        self.0.pem().lines().map(|line| format!("      {line}\n")).collect()
    }

    /// A server of that name, which speaks these protocols.
    async fn server(&self, name: &str, protocols: &[&str]) -> Server {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Server::start(config).await
    }
}

struct Server {
    address: SocketAddr,
    handshakes: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Server {
    async fn start(config: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let handshakes: Arc<AtomicUsize> = Arc::default();
        let (acceptor, counted) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&handshakes));
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
                serving.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    counted.fetch_add(1, Ordering::SeqCst);
                    let service = service_fn(answer);
                    let builder =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, handshakes, _accepting: accepting }
    }

    fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }
}

/// Says how it was asked, and gives the body back.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = format!("{:?}", request.version());
    let host = request.headers().get("host").and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = host.or(authority).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let response = Response::builder().header("x-version", version).header("x-host", host);
    Ok(response.body(Full::new(body)).unwrap())
}

fn upstream(url: &str, more: &str) -> String {
    format!(
        "kind: Upstream\nname: backend\nspec:\n  endpoints: [{{url: '{url}'}}]\n  retry: {{attempts: 0}}\n{more}---\n\
         kind: Api\nname: shop\nspec: {{base_path: /, upstream: backend}}\n"
    )
}

fn believing(authority: &Authority) -> String {
    format!("  tls:\n    authorities: |\n{}", authority.pem())
}

#[tokio::test]
async fn an_upstream_is_met_over_tls_and_its_connection_kept() {
    let authority = Authority::new();
    for (protocol, version) in [("http1", "HTTP/1.1"), ("http2", "HTTP/2.0")] {
        let server = authority.server("localhost", &["h2", "http/1.1"]).await;
        let url = format!("https://localhost:{}", server.address.port());
        let more = format!("  protocol: {protocol}\n{}", believing(&authority));
        let node = TestNode::with(&upstream(&url, &more));
        for _ in 0..3 {
            let answer = node.call("POST /", &[], "hello").await;
            assert_eq!((answer.status, answer.field("x-version")), (200, version));
            assert_eq!(answer.body, b"hello");
            assert_eq!(answer.field("x-host"), format!("localhost:{}", server.address.port()));
        }
        assert!(server.handshakes() <= 2, "one for each request thread");
    }
}

#[tokio::test]
async fn large_bodies_go_whole_over_tls() {
    let authority = Authority::new();
    let server = authority.server("localhost", &["http/1.1"]).await;
    let url = format!("https://localhost:{}", server.address.port());
    let node = TestNode::with(&upstream(&url, &believing(&authority)));
    let body = "0123456789abcdef".repeat(256 << 10);
    let answer = node.call("POST /", &[], &body).await;
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    assert!(answer.body == body.as_bytes());
}

#[tokio::test]
async fn a_server_of_another_authority_or_name_gets_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let named_otherwise = authority.server("elsewhere.test", &["http/1.1"]).await;
    let unknown = other.server("localhost", &["http/1.1"]).await;
    for server in [&named_otherwise, &unknown] {
        let url = format!("https://localhost:{}", server.address.port());
        let node = TestNode::with(&upstream(&url, &believing(&authority)));
        let answer = node.get("/").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
        // The public authorities know neither.
        let node = TestNode::with(&upstream(&url, ""));
        assert_eq!(node.get("/").await.status, 502);
        assert_eq!(server.handshakes(), 0);
    }
}

#[tokio::test]
async fn a_server_name_of_its_own_is_asked_for_and_a_changed_one_is_not_met_on_old_connections() {
    let authority = Authority::new();
    let server = authority.server("elsewhere.test", &["http/1.1"]).await;
    let url = format!("https://127.0.0.1:{}", server.address.port());
    let named = |name: &str| format!("{}    server_name: {name}\n", believing(&authority));
    let mut node = TestNode::with(&upstream(&url, &named("elsewhere.test")));
    assert_eq!(node.get("/").await.status, 200);
    node.apply(&upstream(&url, &named("nowhere.test")));
    assert_eq!(node.get("/").await.status, 502);
    node.apply(&upstream(&url, &named("elsewhere.test")));
    assert_eq!(node.get("/").await.status, 200);
}

#[tokio::test]
async fn what_is_asked_for_and_not_spoken_is_a_502() {
    let authority = Authority::new();
    let without_http2 = authority.server("localhost", &[]).await;
    let in_the_clear = tollgate_testkit::upstream::Upstream::start("a").unwrap();
    let ports = [without_http2.address.port(), in_the_clear.address().port()];
    for port in ports {
        let more = format!("  protocol: http2\n{}", believing(&authority));
        let node = TestNode::with(&upstream(&format!("https://localhost:{port}"), &more));
        let answer = node.get("/").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    }
}
