//! The other end of the stream: a node that does nothing but hold what it is sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{aws_lc_rs, verify_tls13_signature};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tollgate_control_plane::authority::SERVER_NAME;
use tollgate_control_plane::identity::trusted_fingerprint;
use tollgate_model::wire::Digest;
use tollgate_proto::v1;
use tollgate_proto::v1::control_message::Message as Down;
use tollgate_proto::v1::enrolment_client::EnrolmentClient;
use tollgate_proto::v1::node_message::Message as Up;
use tollgate_proto::v1::sync_client::SyncClient;
use tonic::transport::{Channel, Endpoint};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

/// What a node has after it has joined.
#[derive(Clone)]
pub(crate) struct Certified {
    pub(crate) name: String,
    chain: Vec<Vec<u8>>,
    key: Vec<u8>,
}

/// Trusts the authority whose certificate has this fingerprint, as a node that joins does.
#[derive(Debug)]
struct ByFingerprint(String);

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = |der: &CertificateDer<'_>| -> String {
            let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, der);
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let authority = intermediates.iter().find(|der| fingerprint(der) == self.0);
        let authority =
            authority.ok_or_else(|| rustls::Error::General("another authority".into()))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap()
            .verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = aws_lc_rs::default_provider();
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
}

async fn channel(address: SocketAddr, mut config: ClientConfig) -> anyhow::Result<Channel> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let connect = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(SERVER_NAME).unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    });
    // A small window, so that a node that does not read is soon noticed.
    let endpoint = Endpoint::from_static("http://tollgate").initial_stream_window_size(64 * 1024);
    Ok(endpoint.connect_with_connector(connect).await?)
}

/// Joins with a token.
pub(crate) async fn join(
    address: SocketAddr,
    token: &str,
    name: &str,
) -> anyhow::Result<Certified> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let fingerprint = trusted_fingerprint(token).unwrap_or("0").to_owned();
    join_trusting(address, token, name, &key, fingerprint).await
}

/// Joins, whoever the control plane is by the token.
pub(crate) async fn join_trusting(
    address: SocketAddr,
    token: &str,
    name: &str,
    key: &KeyPair,
    fingerprint: String,
) -> anyhow::Result<Certified> {
    let config = builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ByFingerprint(fingerprint)))
        .with_no_client_auth();
    let mut client = EnrolmentClient::new(channel(address, config).await?);
    let request = v1::JoinRequest {
        token: token.to_owned(),
        node: name.to_owned(),
        gateway: "default".to_owned(),
        public_key: key.der_bytes().to_vec().into(),
    };
    let response = client.join(request).await?.into_inner();
    let chain = response.certificate_chain.iter().map(|der| der.to_vec()).collect();
    Ok(Certified { name: name.to_owned(), chain, key: key.serialize_der() })
}

impl Certified {
    async fn channel(&self, address: SocketAddr) -> anyhow::Result<Channel> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.chain.last().context("a chain")?.clone()))?;
        let chain = self.chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivatePkcs8KeyDer::from(self.key.clone());
        let config =
            builder().with_root_certificates(roots).with_client_auth_cert(chain, key.into())?;
        channel(address, config).await
    }

    /// Gets a new certificate with the old one.
    pub(crate) async fn renew(&self, address: SocketAddr) -> anyhow::Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut client = EnrolmentClient::new(self.channel(address).await?);
        let request = v1::RenewRequest { public_key: key.der_bytes().to_vec().into() };
        let response = client.renew(request).await?.into_inner();
        let chain = response.certificate_chain.iter().map(|der| der.to_vec()).collect();
        Ok(Self { name: self.name.clone(), chain, key: key.serialize_der() })
    }
}

/// What a node holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Held {
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    /// The newest purge that it has carried out, of any.
    pub(crate) purge: Option<u64>,
    pub(crate) resources: BTreeMap<(String, String, String), v1::Resource>,
}

impl Held {
    pub(crate) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        self.resources.values().for_each(|resource| digest.toggle(resource));
        digest
    }

    fn put(&mut self, resource: v1::Resource) {
        let id = (resource.kind.clone(), resource.tenant.clone(), resource.name.clone());
        self.resources.insert(id, resource);
    }

    /// Applies a delta whole, and sees to it that it leads where it says.
    pub(crate) fn apply(&mut self, delta: v1::Delta) -> anyhow::Result<()> {
        ensure!(
            delta.from == self.revision,
            "from {} to {}, but at {}",
            delta.from,
            delta.to,
            self.revision
        );
        delta.upserts.into_iter().for_each(|resource| self.put(resource));
        for id in delta.removals {
            self.resources.remove(&(id.kind, id.tenant, id.name));
        }
        self.revision = delta.to;
        ensure!(delta.digest[..] == self.digest().as_bytes()[..], "another digest");
        Ok(())
    }
}

/// A node with its stream open.
pub(crate) struct Node {
    pub(crate) held: Held,
    pub(crate) live_nodes: u32,
    pub(crate) credential_key: Vec<u8>,
    pub(crate) snapshots: usize,
    pub(crate) deltas: usize,
    /// What it was told to purge; none: everything.
    pub(crate) purges: Vec<Option<v1::purge::What>>,
    certified: Certified,
    say: mpsc::Sender<v1::NodeMessage>,
    messages: tonic::Streaming<v1::ControlMessage>,
    chunks: Vec<u8>,
}

impl Node {
    /// Connects with what it holds.
    pub(crate) async fn connect(
        address: SocketAddr,
        certified: &Certified,
        held: Held,
    ) -> anyhow::Result<Self> {
        let digest = held.digest().as_bytes().to_vec();
        Self::connect_claiming(address, certified, held, digest, &certified.name).await
    }

    /// Connects, and says to hold something with this digest, and to have this name.
    pub(crate) async fn connect_claiming(
        address: SocketAddr,
        certified: &Certified,
        held: Held,
        digest: Vec<u8>,
        name: &str,
    ) -> anyhow::Result<Self> {
        let mut client = SyncClient::new(certified.channel(address).await?);
        let (say, said) = mpsc::channel(64);
        let hello = v1::Hello {
            node: name.to_owned(),
            gateway: "default".to_owned(),
            build: "test".to_owned(),
            epoch: held.epoch,
            revision: held.revision,
            digest: digest.into(),
            purge_epoch: held.purge.map_or(0, |_| held.epoch),
            purge_number: held.purge.unwrap_or(0),
            ..v1::Hello::default()
        };
        say.send(v1::NodeMessage { message: Some(Up::Hello(hello)) }).await?;
        let messages = client.stream(ReceiverStream::new(said)).await?.into_inner();
        let mut node = Self {
            held,
            live_nodes: 0,
            credential_key: Vec::new(),
            snapshots: 0,
            deltas: 0,
            purges: Vec::new(),
            certified: certified.clone(),
            say,
            messages,
            chunks: Vec::new(),
        };
        node.take().await?;
        ensure!(!node.credential_key.is_empty(), "no Welcome");
        Ok(node)
    }

    /// Takes one message.
    pub(crate) async fn take(&mut self) -> anyhow::Result<()> {
        let message = tokio::time::timeout(LIMIT, self.messages.message()).await??;
        match message.context("the stream has ended")?.message.context("an empty message")? {
            Down::Welcome(welcome) => {
                self.held.epoch = welcome.epoch;
                self.credential_key = welcome.credential_key.to_vec();
                self.live_nodes = welcome.cluster.unwrap_or_default().live_nodes;
            }
            Down::Purges(purges) => {
                self.held.purge = Some(purges.number);
                if purges.everything {
                    self.purges.push(None);
                }
                self.purges.extend(purges.purges.into_iter().map(|purge| purge.what));
                let purged = v1::Purged { number: purges.number };
                self.say.send(v1::NodeMessage { message: Some(Up::Purged(purged)) }).await?;
            }
            Down::Explain(asked) => {
                let told = serde_json::json!({
                    "revision": self.held.revision,
                    "routes": [
                        { "won": false, "tenant": "default", "api": asked.url },
                        { "won": true, "tenant": "other", "api": asked.method },
                    ],
                    "ends": { "as": "forwarded" },
                });
                // One that was not asked has no say.
                for (id, json) in [(asked.id + 1, "{}".to_owned()), (asked.id, told.to_string())] {
                    let answer = v1::Explained { id, json: json.into() };
                    self.say.send(v1::NodeMessage { message: Some(Up::Explained(answer)) }).await?;
                }
            }
            Down::Cluster(cluster) => self.live_nodes = cluster.live_nodes,
            Down::Delta(delta) => {
                self.held.apply(delta)?;
                self.deltas += 1;
            }
            Down::Snapshot(chunk) => {
                self.chunks.extend_from_slice(&chunk.data);
                if chunk.last {
                    let whole = zstd::decode_all(self.chunks.as_slice())?;
                    self.chunks.clear();
                    self.held.resources.clear();
                    for resource in v1::ResourceList::decode(whole.as_slice())?.resources {
                        self.held.put(resource);
                    }
                    self.held.revision = chunk.revision;
                    ensure!(
                        chunk.digest[..] == self.held.digest().as_bytes()[..],
                        "another digest"
                    );
                    self.snapshots += 1;
                }
            }
        }
        Ok(())
    }

    /// Takes messages until it holds a revision, and says that it runs it.
    pub(crate) async fn reach(&mut self, revision: u64) -> anyhow::Result<()> {
        while self.held.revision < revision {
            self.take().await?;
        }
        ensure!(self.held.revision == revision, "beyond {revision}");
        self.acknowledge(Vec::new()).await
    }

    /// Says what it runs and refuses.
    pub(crate) async fn acknowledge(&self, rejected: Vec<v1::Rejection>) -> anyhow::Result<()> {
        let digest = self.held.digest().as_bytes().to_vec().into();
        let applied = v1::Applied { revision: self.held.revision, digest, rejected };
        self.say.send(v1::NodeMessage { message: Some(Up::Applied(applied)) }).await?;
        Ok(())
    }

    /// The specification that it holds of a resource.
    pub(crate) fn spec(&self, kind: &str, tenant: &str, name: &str) -> Option<serde_json::Value> {
        let id = (kind.to_owned(), tenant.to_owned(), name.to_owned());
        self.held.resources.get(&id).map(|resource| serde_json::from_slice(&resource.spec).unwrap())
    }

    /// Hangs up; gives what it held.
    pub(crate) fn leave(self) -> (Certified, Held) {
        (self.certified, self.held)
    }

    /// Takes messages until the stream ends; gives the reason.
    pub(crate) async fn end(mut self) -> anyhow::Result<tonic::Status> {
        loop {
            match tokio::time::timeout(LIMIT, self.messages.message()).await? {
                Ok(Some(_)) => {}
                Ok(None) => bail!("it ended without a reason"),
                Err(status) => return Ok(status),
            }
        }
    }
}
