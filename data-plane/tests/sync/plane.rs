//! A control plane that does what a test tells it, over real TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tollgate_proto::v1;
use tollgate_proto::v1::control_message::Message;
use tollgate_proto::v1::enrolment_server::{Enrolment, EnrolmentServer};
use tollgate_proto::v1::sync_server::{Sync, SyncServer};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

pub(crate) const SERVER_NAME: &str = "tollgate-control-plane";
pub(crate) const SECRET: &str = "s3cr3t";
const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate authority, and what it says of itself.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a control plane does when it is asked, and what it was asked.
pub(crate) struct Script {
    pub(crate) authority: Arc<Authority>,
    /// How long certificates of nodes are good for.
    pub(crate) lifetime_secs: Mutex<i64>,
    pub(crate) joins: Mutex<Vec<v1::JoinRequest>>,
    pub(crate) renewals: Mutex<u32>,
    sessions: mpsc::UnboundedSender<Session>,
}

/// A control plane while it runs.
pub(crate) struct Plane {
    pub(crate) address: SocketAddr,
    pub(crate) script: Arc<Script>,
    sessions: mpsc::UnboundedReceiver<Session>,
    runtime: Option<Runtime>,
}

/// The stream of a node, after its Hello.
pub(crate) struct Session {
    pub(crate) hello: v1::Hello,
    from_node: Streaming<v1::NodeMessage>,
    to_node: mpsc::Sender<Result<v1::ControlMessage, Status>>,
}

impl Authority {
    pub(crate) fn new() -> Arc<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Arc::new(Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() })
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A token that trusts this authority.
    pub(crate) fn token(&self, secret: &str) -> String {
        use std::fmt::Write as _;
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.certificate());
        let mut token = format!("tgj_t1_{secret}_");
        hash.as_ref().iter().for_each(|byte| write!(token, "{byte:02x}").unwrap());
        token
    }

    fn issue(
        &self,
        key: &impl PublicKeyData,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> Vec<u8> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        params.signed_by(key, &self.issuer).unwrap().der().to_vec()
    }
}

/// The TLS of a server whose own certificate is by `signer` and that shows the one of `shown`.
fn server_config(signer: &Authority, shown: &Authority) -> ServerConfig {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let own = signer.issue(&key, SERVER_NAME, ExtendedKeyUsagePurpose::ServerAuth);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(shown.certificate()).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from(own), shown.certificate()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

impl Plane {
    pub(crate) async fn start(authority: &Arc<Authority>) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), authority, authority).await
    }

    /// Shows the certificate of `shown`, but its own is by `signer`.
    pub(crate) async fn start_at(
        address: SocketAddr,
        signer: &Arc<Authority>,
        shown: &Arc<Authority>,
    ) -> Self {
        let (sender, sessions) = mpsc::unbounded_channel();
        let script = Arc::new(Script {
            authority: Arc::clone(shown),
            lifetime_secs: Mutex::new(3600),
            joins: Mutex::default(),
            renewals: Mutex::default(),
            sessions: sender,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = eventually(|| std::net::TcpListener::bind(address).ok()).await;
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let tls = TlsAcceptor::from(Arc::new(server_config(signer, shown)));
        let serving = serve(listener, tls, Arc::clone(&script));
        drop(runtime.spawn(serving));
        Self { address, script, sessions, runtime: Some(runtime) }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The next stream that a node opens.
    pub(crate) async fn session(&mut self) -> Session {
        timeout(PATIENCE, self.sessions.recv()).await.expect("a node connects").unwrap()
    }

    /// Ends at once, connections and all.
    pub(crate) fn kill(mut self) -> SocketAddr {
        self.runtime.take().unwrap().shutdown_background();
        self.address
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Session {
    pub(crate) async fn say(&self, message: Message) {
        let message = v1::ControlMessage { message: Some(message) };
        self.to_node.send(Ok(message)).await.expect("the node listens");
    }

    pub(crate) async fn say_nothing_known(&self) {
        self.to_node.send(Ok(v1::ControlMessage { message: None })).await.unwrap();
    }

    pub(crate) async fn welcome(&self) {
        self.say(welcome()).await;
    }

    /// The next acknowledgement; heartbeats are passed over.
    pub(crate) async fn applied(&mut self) -> v1::Applied {
        loop {
            if let v1::node_message::Message::Applied(applied) = self.message().await {
                return applied;
            }
        }
    }

    /// The next heartbeat.
    pub(crate) async fn heartbeat(&mut self) -> v1::Heartbeat {
        loop {
            if let v1::node_message::Message::Heartbeat(heartbeat) = self.message().await {
                return heartbeat;
            }
        }
    }

    async fn message(&mut self) -> v1::node_message::Message {
        let message = timeout(PATIENCE, self.from_node.message()).await.expect("the node speaks");
        message.unwrap().unwrap().message.unwrap()
    }

    /// Waits until the node is gone.
    pub(crate) async fn ended(mut self) {
        let ended = async { while let Ok(Some(_)) = self.from_node.message().await {} };
        timeout(PATIENCE, ended).await.expect("the node ends the session");
    }
}

pub(crate) fn welcome() -> Message {
    Message::Welcome(v1::Welcome {
        epoch: 7,
        credential_key: vec![5; 32].into(),
        heartbeat_seconds: 1,
        cluster: Some(v1::Cluster { live_nodes: 3 }),
    })
}

/// Asks again and again until there is an answer, for 20 seconds.
pub(crate) async fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            match ask() {
                Some(answer) => return answer,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENCE, asking).await.expect("it comes about within 20 s")
}

async fn serve(listener: std::net::TcpListener, tls: TlsAcceptor, script: Arc<Script>) {
    let listener = TcpListener::from_std(listener).unwrap();
    let (sender, incoming) = mpsc::channel::<io::Result<Connection>>(8);
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Whoever does not trust the server goes away in the middle of it.
            if let Ok(stream) = tls.accept(stream).await
                && sender.send(Ok(Connection(stream))).await.is_err()
            {
                return;
            }
        }
    };
    let serving = Server::builder()
        .add_service(SyncServer::new(Handler(Arc::clone(&script))))
        .add_service(EnrolmentServer::new(Handler(script)))
        .serve_with_incoming(ReceiverStream::new(incoming));
    tokio::select! {
        () = accepting => {}
        served = serving => served.unwrap(),
    }
}

struct Handler(Arc<Script>);

type Outgoing = Pin<Box<dyn Stream<Item = Result<v1::ControlMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Sync for Handler {
    type StreamStream = Outgoing;

    async fn stream(
        &self,
        request: Request<Streaming<v1::NodeMessage>>,
    ) -> Result<Response<Outgoing>, Status> {
        certified(&request)?;
        let mut from_node = request.into_inner();
        let (to_node, outgoing) = mpsc::channel(64);
        let sessions = self.0.sessions.clone();
        let Some(v1::NodeMessage { message: Some(v1::node_message::Message::Hello(hello)) }) =
            from_node.message().await?
        else {
            return Err(Status::invalid_argument("no hello"));
        };
        sessions.send(Session { hello, from_node, to_node }).ok();
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

#[tonic::async_trait]
impl Enrolment for Handler {
    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let request = request.into_inner();
        self.0.joins.lock().unwrap().push(request.clone());
        if request.token != self.0.authority.token(SECRET) {
            return Err(Status::permission_denied("the join token is not known here"));
        }
        Ok(Response::new(self.0.certify(&request.public_key, &request.node)))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        certified(&request)?;
        *self.0.renewals.lock().unwrap() += 1;
        Ok(Response::new(self.0.certify(&request.into_inner().public_key, "renewed")))
    }
}

impl Script {
    fn certify(&self, public_key: &[u8], name: &str) -> v1::JoinResponse {
        let key = NodeKey(public_key.to_vec());
        let own = self.authority.issue(&key, name, ExtendedKeyUsagePurpose::ClientAuth);
        let lifetime_secs = *self.lifetime_secs.lock().unwrap();
        v1::JoinResponse {
            certificate_chain: vec![own.into(), self.authority.certificate().to_vec().into()],
            not_after_unix_seconds: jiff::Timestamp::now().as_second() + lifetime_secs,
        }
    }
}

fn certified<T>(request: &Request<T>) -> Result<(), Status> {
    match request.extensions().get::<IsCertified>() {
        Some(IsCertified(true)) => Ok(()),
        _ => Err(Status::unauthenticated("no certificate")),
    }
}

/// Whether the node has shown a certificate.
#[derive(Clone)]
struct IsCertified(bool);

struct Connection(TlsStream<TcpStream>);

impl Connected for Connection {
    type ConnectInfo = IsCertified;

    fn connect_info(&self) -> IsCertified {
        IsCertified(self.0.get_ref().1.peer_certificates().is_some())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct NodeKey(Vec<u8>);

impl PublicKeyData for NodeKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}
