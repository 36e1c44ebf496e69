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
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tollgate_model::certificate::Facts;
use tollgate_testkit::pki::Authority;

use crate::support::TestNode;

fn authority() -> Authority {
    Authority::new("upstreams").unwrap()
}

/// A server of that name, which speaks these protocols.
pub(crate) async fn server(authority: &Authority, name: &str, protocols: &[&str]) -> Server {
    let issued = authority.server(&[name]).unwrap();
    let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            chain.map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Server::start(config).await
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
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
                    let client = stream.get_ref().1.peer_certificates();
                    let client = client.and_then(|chain| Facts::of(&chain[0]));
                    let client = client.map(|facts| facts.subject).unwrap_or_default();
                    let service = service_fn(move |request| answer(client.clone(), request));
                    let builder =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, handshakes, _accepting: accepting }
    }

    pub(crate) fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }
}

/// Says how it was asked, and gives the body back.
async fn answer(
    client: String,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = format!("{:?}", request.version());
    let host = request.headers().get("host").and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = host.or(authority).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let response = Response::builder().header("x-version", version).header("x-host", host);
    let response = response.header("x-client", client);
    Ok(response.body(Full::new(body)).unwrap())
}

fn upstream(url: &str, more: &str) -> String {
    format!(
        "kind: Upstream\nname: backend\nspec:\n  endpoints: [{{url: '{url}'}}]\n  retry: {{attempts: 0}}\n{more}---\n\
         kind: Api\nname: shop\nspec: {{base_path: /, upstream: backend}}\n"
    )
}

pub(crate) fn believing(authority: &Authority) -> String {
    let pem: String = authority.pem.lines().map(|line| format!("      {line}\n")).collect();
    format!("  tls:\n    authorities: |\n{pem}")
}

#[tokio::test]
async fn an_upstream_is_met_over_tls_and_its_connection_kept() {
    let authority = authority();
    for (protocol, version) in [("http1", "HTTP/1.1"), ("http2", "HTTP/2.0")] {
        let server = server(&authority, "localhost", &["h2", "http/1.1"]).await;
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
    let authority = authority();
    let server = server(&authority, "localhost", &["http/1.1"]).await;
    let url = format!("https://localhost:{}", server.address.port());
    let node = TestNode::with(&upstream(&url, &believing(&authority)));
    let body = "0123456789abcdef".repeat(256 << 10);
    let answer = node.call("POST /", &[], &body).await;
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    assert!(answer.body == body.as_bytes());
}

#[tokio::test]
async fn a_server_of_another_authority_or_name_gets_nothing() {
    let (authority, other) = (authority(), authority());
    let named_otherwise = server(&authority, "elsewhere.test", &["http/1.1"]).await;
    let unknown = server(&other, "localhost", &["http/1.1"]).await;
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
    let authority = authority();
    let server = server(&authority, "elsewhere.test", &["http/1.1"]).await;
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
    let authority = authority();
    let without_http2 = server(&authority, "localhost", &[]).await;
    let in_the_clear = tollgate_testkit::upstream::Upstream::start("a").unwrap();
    let ports = [without_http2.address.port(), in_the_clear.address().port()];
    for port in ports {
        let more = format!("  protocol: http2\n{}", believing(&authority));
        let node = TestNode::with(&upstream(&format!("https://localhost:{port}"), &more));
        let answer = node.get("/").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    }
}

/// A server that takes none but clients of that authority, and tells whom it took.
async fn server_for_clients_of(authority: &Authority, clients: &Authority) -> Server {
    let issued = authority.server(&["localhost"]).unwrap();
    let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            chain.map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
        )
        .unwrap();
    Server::start(config).await
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_the_upstreams_and_a_changed_one_at_once() {
    let (authority, clients) = (authority(), Authority::new("clients").unwrap());
    let server = server_for_clients_of(&authority, &clients).await;
    let url = format!("https://localhost:{}", server.address.port());
    let showing =
        |name: &str| upstream(&url, &format!("{}    certificate: {name}\n", believing(&authority)));
    let first = clients.client("first", "spiffe://shop/first").unwrap().document("own");
    let second = clients.client("second", "spiffe://shop/second").unwrap().document("own");
    let foreign = authority.client("foreign", "spiffe://shop/foreign").unwrap().document("foreign");
    let whole = [first.as_str(), &foreign, &showing("own")].join("---\n");
    let mut node = TestNode::with(&whole);
    for _ in 0..2 {
        let answer = node.get("/").await;
        assert_eq!((answer.status, answer.field("x-client")), (200, "CN=first"));
    }
    // The upstream is as it was; what it shows is not, also where a connection was kept.
    node.apply(&second);
    for _ in 0..4 {
        let answer = node.get("/").await;
        assert_eq!((answer.status, answer.field("x-client")), (200, "CN=second"));
    }
    for other in [showing("foreign"), upstream(&url, &believing(&authority))] {
        node.apply(&other);
        assert_ne!(node.get("/").await.status, 200);
    }
    node.apply(&showing("own"));
    assert_eq!(node.get("/").await.field("x-client"), "CN=second");
}

#[tokio::test]
async fn an_upstream_whose_certificate_this_node_does_not_have_is_closed_and_not_called_without_it()
{
    let authority = authority();
    // It would take a client without a certificate too.
    let server = server(&authority, "localhost", &["http/1.1"]).await;
    let url = format!("https://localhost:{}", server.address.port());
    let yaml = upstream(&url, &format!("{}    certificate: own\n", believing(&authority)));
    let mut node = TestNode::with(&yaml);
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "route_unavailable"));
    assert_eq!(server.handshakes(), 0);
    node.apply(&authority.client("own", "spiffe://shop/own").unwrap().document("own"));
    assert_eq!(node.get("/").await.status, 200);
}
