//! The control plane's own certificate authority: for the control planes and nodes of one store alone.
//!
//! It is made once and its key is sealed in the store, so that all control planes have the same.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use aws_lc_rs::{digest, rand};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm,
};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::seal::{SealError, Sealer, to_hex};
use crate::store::{AuthorityRow, Store, StoreError};

/// The name that every control plane's certificate has; nodes connect to it whatever the address is.
pub const SERVER_NAME: &str = "tollgate-control-plane";
/// How long a node's certificate is good for, unless it is told otherwise.
pub const NODE_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

const SEALED_AS: &str = "authority/private-key";
const COMMON_NAME: &str = "Tollgate authority";
const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
const SERVER_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A clock that is so much behind still takes a certificate that was just made.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(1);
/// SEC 1 §2.3.3: 0x04 and two coordinates.
const POINT_BYTES: usize = 65;
const NAME_CHARS: usize = 63;

/// Why a certificate was not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The name cannot stand in a certificate.
    #[error(
        "`{name}` cannot be the name of a node or gateway; use 1 to 63 letters, digits, `-`, `.`, `_`"
    )]
    Name {
        /// The name as it was given, escaped.
        name: String,
    },
    /// Not the name or address of a server.
    #[error("`{name}` is neither a host name nor an IP address")]
    ServerName {
        /// The name as it was given.
        name: String,
    },
    /// What a node sent is no public key of the right sort.
    #[error("the public key is no uncompressed point of P-256 (65 bytes)")]
    PublicKey,
    /// A peer's certificate says no node.
    #[error("the certificate is not that of a node")]
    NotANode,
    /// What is stored of the authority does not read.
    #[error("read the certificate authority from the store")]
    Stored(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A certificate could not be made or signed.
    #[error("make a certificate")]
    Make(#[from] rcgen::Error),
    /// TLS does not take what was made.
    #[error("set up TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No random bytes.
    #[error("draw a serial number")]
    Random,
    /// The authority's key does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which node a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeIdentity {
    gateway: String,
    node: String,
}

/// A certificate for a node.
#[derive(Clone, Debug)]
pub struct NodeCertificate {
    /// DER; the node's own first, then the authority's.
    pub chain: Vec<Vec<u8>>,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// When it ends.
    pub not_after: Timestamp,
}

/// The certificate authority.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    fingerprint: String,
}

impl NodeIdentity {
    /// A node of a gateway.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Name`] where a name is none.
    pub fn new(gateway: &str, node: &str) -> Result<Self, AuthorityError> {
        for name in [gateway, node] {
            let is_known = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            if name.is_empty() || name.len() > NAME_CHARS || !name.bytes().all(is_known) {
                let name = name.chars().take(NAME_CHARS).flat_map(char::escape_debug).collect();
                return Err(AuthorityError::Name { name });
            }
        }
        Ok(Self { gateway: gateway.to_owned(), node: node.to_owned() })
    }

    /// Reads it from a peer's certificate, which TLS has verified against the authority already.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::NotANode`] for any other certificate, such as a control plane's.
    pub fn from_certificate(der: &[u8]) -> Result<Self, AuthorityError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_error| AuthorityError::NotANode)?;
        if !rest.is_empty() {
            return Err(AuthorityError::NotANode);
        }
        let names = certificate
            .subject_alternative_name()
            .ok()
            .flatten()
            .ok_or(AuthorityError::NotANode)?;
        let mut uris =
            names.value.general_names.iter().filter_map(|name| {
                if let GeneralName::URI(uri) = name { Some(*uri) } else { None }
            });
        let (uri, other) = (uris.next(), uris.next());
        let path = uri.and_then(|uri| uri.strip_prefix("tollgate://node/"));
        match (path.and_then(|path| path.split_once('/')), other) {
            (Some((gateway, node)), None) => {
                Self::new(gateway, node).map_err(|_error| AuthorityError::NotANode)
            }
            _ => Err(AuthorityError::NotANode),
        }
    }

    /// The gateway that it belongs to.
    #[must_use]
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// The name of the node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    fn uri(&self) -> String {
        format!("tollgate://node/{}/{}", self.gateway, self.node)
    }
}

impl Authority {
    /// Reads the authority from the store; makes it where there is none. However many control planes do so
    /// at once, all get the same.
    ///
    /// # Errors
    ///
    /// Why it could not be read or made.
    pub async fn open(
        store: &Store,
        sealer: &Sealer,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let row = match store.authority().await? {
            Some(row) => row,
            None => store.authority_or_insert(&make(sealer, now)?, now).await?,
        };
        let key = sealer.open(SEALED_AS, &row.sealed_private_key)?;
        let key = PrivatePkcs8KeyDer::from(key.as_slice());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
        let fingerprint = to_hex(digest::digest(&digest::SHA256, &row.certificate).as_ref());
        let mut params = CertificateParams::default();
        params.distinguished_name = stored_name(&row.certificate, &key)?;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = Issuer::new(params, key);
        Ok(Self { certificate: CertificateDer::from(row.certificate), issuer, fingerprint })
    }

    /// SHA-256 of the authority's certificate, in hexadecimal: what a node trusts it by.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The authority's own certificate, in DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Certifies a node's public key, an uncompressed point of P-256 (65 bytes, SEC 1 §2.3.3).
    ///
    /// # Errors
    ///
    /// [`AuthorityError::PublicKey`] where that is none.
    pub fn issue_node(
        &self,
        identity: &NodeIdentity,
        public_key: &[u8],
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<NodeCertificate, AuthorityError> {
        let key = NodeKey::parse(public_key)?;
        let (mut params, serial) = leaf(identity.node(), now, lifetime)?;
        params.subject_alt_names = vec![SanType::URI(identity.uri().try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(NodeCertificate {
            chain: vec![certificate.der().to_vec(), self.certificate.to_vec()],
            serial,
            not_after: later(now, lifetime),
        })
    }

    /// Certifies a key of its own for this control plane, under [`SERVER_NAME`] and the given host names
    /// and addresses.
    fn issue_server(
        &self,
        names: &[SanType],
        provider: &CryptoProvider,
        now: Timestamp,
    ) -> Result<CertifiedKey, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let (mut params, _serial) = leaf(SERVER_NAME, now, SERVER_LIFETIME)?;
        params.subject_alt_names = names.to_vec();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        CertifiedKey::from_der(chain, key.into(), provider)
            .map_err(|error| AuthorityError::Tls(Box::new(error)))
    }

    /// TLS for the port of the nodes: 1.3 alone, HTTP/2, a client certificate of this authority or none
    /// (a node that joins has none yet). The server's certificate is made anew, by `clock`, before it ends.
    ///
    /// # Errors
    ///
    /// Which name is none, or what TLS does not take.
    pub fn server_config(
        self: &Arc<Self>,
        names: &[String],
        clock: fn() -> Timestamp,
    ) -> Result<ServerConfig, AuthorityError> {
        let tls = |error: Box<dyn std::error::Error + Send + Sync>| AuthorityError::Tls(error);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(|error| tls(Box::new(error)))?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()
                .map_err(|error| tls(Box::new(error)))?;
        let resolver =
            ServerCertificates::new(self.clone(), server_names(names)?, provider.clone(), clock)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| tls(Box::new(error)))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would bring back an identity whose certificate may have ended since.
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// The certificate of this control plane; a new one when two thirds of its time are over.
struct ServerCertificates {
    authority: Arc<Authority>,
    names: Vec<SanType>,
    provider: Arc<CryptoProvider>,
    clock: fn() -> Timestamp,
    current: ArcSwap<Served>,
}

struct Served {
    key: Arc<CertifiedKey>,
    renew_at: Timestamp,
}

impl ServerCertificates {
    fn new(
        authority: Arc<Authority>,
        names: Vec<SanType>,
        provider: Arc<CryptoProvider>,
        clock: fn() -> Timestamp,
    ) -> Result<Self, AuthorityError> {
        let served = serve(&authority, &names, &provider, clock())?;
        Ok(Self { authority, names, provider, clock, current: ArcSwap::from_pointee(served) })
    }
}

impl ResolvesServerCert for ServerCertificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = (self.clock)();
        let served = self.current.load();
        if now < served.renew_at {
            return Some(served.key.clone());
        }
        match serve(&self.authority, &self.names, &self.provider, now) {
            Ok(renewed) => {
                let key = renewed.key.clone();
                self.current.store(Arc::new(renewed));
                Some(key)
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "cannot renew the certificate of this control plane");
                Some(served.key.clone())
            }
        }
    }
}

impl fmt::Debug for ServerCertificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ServerCertificates").finish_non_exhaustive()
    }
}

fn serve(
    authority: &Authority,
    names: &[SanType],
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<Served, AuthorityError> {
    let key = Arc::new(authority.issue_server(names, provider, now)?);
    Ok(Served { key, renew_at: later(now, SERVER_LIFETIME * 2 / 3) })
}

/// A node's public key, known to be a point of the curve.
struct NodeKey<'a>(&'a [u8]);

impl<'a> NodeKey<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, AuthorityError> {
        if bytes.len() != POINT_BYTES || bytes.first() != Some(&4) {
            return Err(AuthorityError::PublicKey);
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, bytes)
            .map_err(|_rejected| AuthorityError::PublicKey)?;
        Ok(Self(bytes))
    }
}

impl PublicKeyData for NodeKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Makes a new authority; whether it becomes that of the store, the store decides.
fn make(sealer: &Sealer, now: Timestamp) -> Result<AuthorityRow, AuthorityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let (mut params, serial) = leaf("", now, AUTHORITY_LIFETIME)?;
    // Two authorities of one name would be mistaken for one another in a list of trusted ones.
    let name = serial.get(..8).unwrap_or_default();
    params.distinguished_name = common_name(&format!("{COMMON_NAME} {name}"));
    params.use_authority_key_identifier_extension = false;
    // It certifies nodes and control planes, and no further authority.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = params.self_signed(&key)?;
    let private_key = Zeroizing::new(key.serialize_der());
    Ok(AuthorityRow {
        certificate: certificate.der().to_vec(),
        sealed_private_key: sealer.seal(SEALED_AS, &private_key)?,
    })
}

/// The subject of the stored authority, once it is clear that `key` is its key.
fn stored_name(der: &[u8], key: &KeyPair) -> Result<DistinguishedName, AuthorityError> {
    let stored = |why: &str| AuthorityError::Stored(why.into());
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| AuthorityError::Stored(Box::new(error)))?;
    let public = certificate.public_key().subject_public_key.data.as_ref();
    if public != key.public_key_raw() {
        return Err(stored("its certificate is not that of its key"));
    }
    let name = certificate.subject().iter_common_name().next();
    let name = name.and_then(|name| name.as_str().ok());
    Ok(common_name(name.ok_or_else(|| stored("its certificate has no name"))?))
}

/// What all certificates have in common, and the serial number of this one.
fn leaf(
    name: &str,
    now: Timestamp,
    lifetime: SignedDuration,
) -> Result<(CertificateParams, String), AuthorityError> {
    let mut serial = [0_u8; 16];
    rand::fill(&mut serial).map_err(|_unspecified| AuthorityError::Random)?;
    // RFC 5280 §4.1.2.2: a positive number; and not one whose first byte DER would leave out.
    serial[0] = serial[0] & 0x3f | 0x40;
    let mut params = CertificateParams::default();
    // rcgen's type of time is of a crate that is not ours to name, so it is reached from 1970 on.
    let year_1970 = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = year_1970 + since_1970(earlier(now, CLOCK_SKEW));
    params.not_after = year_1970 + since_1970(later(now, lifetime));
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = common_name(name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok((params, to_hex(&serial)))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn server_names(names: &[String]) -> Result<Vec<SanType>, AuthorityError> {
    let mut all = vec![SanType::DnsName(SERVER_NAME.try_into()?)];
    for name in names {
        let parsed = match IpAddr::from_str(name) {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => {
                let is_host = rustls_pki_types::DnsName::try_from(name.as_str()).is_ok();
                match name.as_str().try_into() {
                    Ok(host) if is_host => SanType::DnsName(host),
                    _ => return Err(AuthorityError::ServerName { name: name.clone() }),
                }
            }
        };
        if !all.contains(&parsed) {
            all.push(parsed);
        }
    }
    Ok(all)
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// To the second, as certificates have it; nothing for what was before.
fn since_1970(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default())
}
