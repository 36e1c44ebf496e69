//! A node that listens with TLS, and clients that shake hands with it.

#![expect(clippy::large_futures, reason = "a test's future is on the heap and alone")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use http::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate_testkit::pki::{Authority, Issued};
use tollgate_testkit::upstream::Upstream;

use super::{Answer, SendBody, TestNode, collected, eventually, full, plainly, soon};

pub(crate) type Stream = TlsStream<TcpStream>;

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The gateway with one listener; `tls` is what stands in it.
pub(crate) fn gateway(address: SocketAddr, tls: &str, more: &str) -> String {
    format!(
        "kind: Gateway\nname: default\nspec:\n  listeners:\n    - {{name: tls, address: '{address}', tls: {tls}}}\n  {more}\n"
    )
}

pub(crate) fn clients(mode: &str, authority: &Authority) -> String {
    let pem = serde_json::Value::from(authority.pem.as_str());
    format!("{{client_certificates: {{mode: {mode}, authorities: {pem}}}}}")
}

/// A node that listens with TLS beside its own address.
pub(crate) struct Tls {
    pub(crate) node: TestNode,
    pub(crate) backend: Upstream,
    pub(crate) root: Authority,
    pub(crate) address: SocketAddr,
}

impl Tls {
    /// With certificates by name and hosts.
    pub(crate) fn start(certificates: &[(&str, &[&str])], tls: &str) -> Self {
        let root = Authority::new("root").unwrap();
        let issued: Vec<String> = certificates
            .iter()
            .map(|(name, hosts)| root.server(hosts).unwrap().document(name))
            .collect();
        let backend = Upstream::start("a").unwrap();
        let address = free_address();
        let yaml = [plainly(backend.address()), gateway(address, tls, "")];
        let node = TestNode::with(&[&yaml[..], &issued[..]].concat().join("---\n"));
        Self { node, backend, root, address }
    }

    pub(crate) fn simple() -> Self {
        Self::start(&[("api", &["api.test"])], "{}")
    }

    pub(crate) fn client(&self) -> Client {
        Client::trusting(&self.root)
    }

    /// Waits until so many handshakes have failed: each is counted after its end.
    pub(crate) async fn failed(&self, handshakes: u64) {
        let failed = || self.node.metric("tollgate_tls_handshake_failures_total");
        eventually(|| (failed() == handshakes).then_some(())).await;
    }

    pub(crate) async fn shown(&self, name: &str) -> Vec<String> {
        let stream = self.client().connect(self.address, name).await.unwrap();
        names_of(&stream)
    }
}

pub(crate) fn names_of(stream: &Stream) -> Vec<String> {
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    tollgate_model::certificate::Facts::of(&chain[0]).unwrap().alternative_names
}

/// How a client shakes hands.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) config: ClientConfig,
}

impl Client {
    pub(crate) fn trusting(root: &Authority) -> Self {
        Self::made(root, None, &[&TLS13, &TLS12])
    }

    pub(crate) fn made(
        root: &Authority,
        own: Option<&Issued>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = CertificateDer::pem_slice_iter(own.chain.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .unwrap();
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self { config }
    }

    pub(crate) fn with_alpn(mut self, names: &[&str]) -> Self {
        self.config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) async fn connect(&self, address: SocketAddr, name: &str) -> std::io::Result<Stream> {
        let stream = soon(TcpStream::connect(address)).await?;
        let connector = TlsConnector::from(Arc::new(self.config.clone()));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        soon(connector.connect(name, stream)).await
    }
}

/// One request of HTTP/1.1 on a stream of its own.
pub(crate) async fn call_on(stream: Stream, fields: &[(&str, &str)]) -> hyper::Result<Answer> {
    let (mut sender, connection) = soon(http1::handshake(TokioIo::new(stream))).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let _ = connection.await;
    });
    let mut builder = Request::get("/").header("host", "api.test");
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    let response = soon(sender.send_request(builder.body(full("")).unwrap())).await?;
    Ok(collected(response).await)
}

pub(crate) struct H2 {
    pub(crate) sender: http2::SendRequest<SendBody>,
    _tasks: JoinSet<()>,
}

impl H2 {
    pub(crate) async fn on(stream: Stream) -> Self {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = soon(handshake).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self { sender, _tasks: tasks }
    }

    pub(crate) async fn get(&mut self, uri: &str) -> Answer {
        let request = Request::get(uri).body(full("")).unwrap();
        collected(soon(self.sender.send_request(request)).await.unwrap()).await
    }
}
