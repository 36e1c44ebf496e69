//! TLS to the control plane: 1.3, HTTP/2, the server known by its authority alone. What name the
//! address has does not matter: every control plane's certificate says `tollgate-control-plane`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::settings::ControlPlane;

/// The name in every control plane's certificate.
const SERVER_NAME: &str = "tollgate-control-plane";
const ORIGIN: &str = "https://tollgate-control-plane";
const ALPN: &[u8] = b"h2";
const CONNECT_TIME: Duration = Duration::from_secs(5);
const KEEPALIVE_TIME: Duration = Duration::from_secs(10);
/// A snapshot comes as fast as it can; the node's memory is bounded by the snapshot's own limit.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// What a node's certificate and its key are made into.
pub(super) struct ClientIdentity {
    /// The node's own certificate.
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    /// Under which the server is verified.
    pub(super) authority: CertificateDer<'static>,
}

/// TLS for a node that has its certificate.
///
/// # Errors
///
/// The certificate does not read, or is not that of the key.
pub(super) fn mutual(identity: ClientIdentity) -> Result<ClientConfig, Error> {
    let roots = roots(&identity.authority)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![identity.certificate], identity.key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// TLS for a node that joins: the server shows the certificate of its authority, and that has this
/// SHA-256.
///
/// # Errors
///
/// Never with the provider that is linked.
pub(super) fn by_fingerprint(fingerprint: [u8; 32]) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = ByFingerprint { fingerprint, provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// Makes sure that a certificate is what this authority gave a node.
///
/// # Errors
///
/// Why it is not.
pub(super) fn check_client_certificate(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'_>,
) -> Result<(), Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority)?, provider())
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    verifier.verify_client_cert(certificate, &[], UnixTime::now()).map(|_verified| ())
}

/// SHA-256, as in the fingerprint of a join token.
pub(super) fn fingerprint(bytes: &[u8]) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    for (byte, hashed) in fingerprint.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *byte = *hashed;
    }
    fingerprint
}

/// Connects to a control plane.
///
/// # Errors
///
/// It is not reached in time, or TLS does not come about.
pub(super) async fn connect(
    plane: &ControlPlane,
    config: ClientConfig,
) -> Result<Channel, tonic::transport::Error> {
    let (host, port) = (plane.host.clone(), plane.port);
    let connector = TlsConnector::from(Arc::new(config));
    // The scheme is plain, as tonic is not to do TLS of its own; the origin says what is spoken.
    let endpoint = Endpoint::from_static("http://tollgate-control-plane")
        .origin(http::Uri::from_static(ORIGIN))
        .user_agent(concat!("tollgate-data-plane/", env!("CARGO_PKG_VERSION")))?
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEPALIVE_TIME)
        .keep_alive_timeout(KEEPALIVE_TIME)
        .keep_alive_while_idle(true);
    let service = tower::service_fn(move |_uri: http::Uri| {
        let (host, connector) = (host.clone(), connector.clone());
        async move {
            let opened = timeout(CONNECT_TIME, open(&host, port, &connector)).await;
            opened.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()))
        }
    });
    endpoint.connect_with_connector(service).await
}

async fn open(
    host: &str,
    port: u16,
    connector: &TlsConnector,
) -> io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    let stream = connector
        .connect(ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?, tcp)
        .await?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(io::Error::other("the server does not speak HTTP/2"));
    }
    Ok(TokioIo::new(stream))
}

/// Trusts a server whose chain has the certificate with this SHA-256 as its authority.
#[derive(Debug)]
struct ByFingerprint {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ByFingerprint {
    fn algorithms(&self) -> &rustls::crypto::WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| fingerprint(certificate) == self.fingerprint)
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        WebPkiServerVerifier::builder_with_provider(roots(authority)?, Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

fn roots(authority: &CertificateDer<'_>) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    Ok(Arc::new(roots))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
