//! How a node gets its certificate, keeps it, and gets a new one before it ends.
//!
//! In the data folder: `node-key.pem`, the key, which never leaves it, and `node-certificate.json`,
//! what the control plane gave for it. Both are their owner's alone.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tollgate_model::Name;
use tollgate_proto::v1;
use tollgate_proto::v1::enrolment_client::EnrolmentClient;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::seal;
use super::tls::{self, ClientIdentity};
use crate::clock;
use crate::settings::{ControlPlane, JoinToken, Settings};

const KEY_FILE: &str = "node-key.pem";
const CERTIFICATE_FILE: &str = "node-certificate.json";
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// A node that could not renew tries again after this much.
const RENEW_AGAIN_SECS: i64 = 60;

/// Why a node has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// It needs a token, and has none.
    #[error("{why}; start the node with --join TOKEN (`tollgate node token create` prints one)")]
    NoToken {
        /// Why it has to join.
        why: MustJoin,
    },
    /// The control plane is not reached, or is not the one that made the token.
    #[error("connect to {plane} to join")]
    Connect {
        /// Which one.
        plane: ControlPlane,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// The control plane says no.
    #[error("join with the token {token}: {}", status.message())]
    Refused {
        /// What the token is called.
        token: String,
        /// What it said.
        status: Box<tonic::Status>,
    },
    /// The control plane does not answer.
    #[error("the control plane did not answer within {ANSWER_TIME:?}")]
    TooSlow,
    /// What the control plane gave is no certificate for this node.
    #[error("the control plane gave no certificate that this node can use")]
    Unusable(#[source] rustls::Error),
    /// No key pair.
    #[error("make a key pair")]
    Key(#[source] rcgen::Error),
    /// TLS does not take what is there.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Why a node has to join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MustJoin {
    /// There is none.
    #[error("the node has no certificate")]
    NoCertificate,
    /// It has ended.
    #[error("the node's certificate has expired")]
    Expired,
    /// It is another node's.
    #[error("the node's certificate is that of `{gateway}/{node}`")]
    Renamed {
        /// The gateway in it.
        gateway: String,
        /// The node in it.
        node: String,
    },
    /// The token comes from another control plane.
    #[error("the join token is of another control plane than the node's certificate")]
    OtherAuthority,
}

/// What the node proves itself with.
pub(super) struct Enrolment {
    folder: PathBuf,
    gateway: Name,
    node: Name,
    token: Option<JoinToken>,
    key: KeyPair,
    certificate: Option<Certificate>,
    renew_after_unix_secs: i64,
}

/// As it stands in the file.
#[derive(Clone, Serialize, Deserialize)]
struct Certificate {
    gateway: String,
    node: String,
    /// When it came, by the node's clock.
    issued_unix_seconds: i64,
    not_after_unix_seconds: i64,
    /// SHA-256 of the public key that it is for.
    public_key_sha256: String,
    /// DER in base64: the node's own, then the authority's.
    chain: [String; 2],
}

impl Enrolment {
    /// Reads what the node has; makes a key where it has none. Blocks.
    ///
    /// # Errors
    ///
    /// No key pair can be made. A folder that cannot be written to is only warned of.
    pub(super) fn open(settings: &Settings) -> Result<Self, EnrolError> {
        let folder = settings.data.clone();
        let key = open_key(&folder.join(KEY_FILE))?;
        let certificate = read_certificate(&folder.join(CERTIFICATE_FILE))
            .filter(|certificate| certificate.public_key_sha256 == public_key_sha256(&key));
        let mut enrolment = Self {
            folder,
            gateway: settings.gateway.clone(),
            node: settings.node.clone(),
            token: settings.join.clone(),
            key,
            certificate,
            renew_after_unix_secs: 0,
        };
        enrolment.plan_renewal();
        Ok(enrolment)
    }

    /// Whether the node can connect, now or after it has joined.
    ///
    /// # Errors
    ///
    /// It can't: a token is needed.
    pub(super) fn check(&self) -> Result<(), EnrolError> {
        match (self.must_join(), &self.token) {
            (Some(why), None) => Err(EnrolError::NoToken { why }),
            _ => Ok(()),
        }
    }

    /// TLS with the node's certificate; joins first where it has none that is good.
    ///
    /// # Errors
    ///
    /// Why there is no certificate.
    pub(super) async fn tls(
        &mut self,
        plane: &ControlPlane,
    ) -> Result<rustls::ClientConfig, EnrolError> {
        if let Some(why) = self.must_join() {
            self.join(plane, why).await?;
        }
        let identity = self.certificate.as_ref().and_then(|certificate| self.identity(certificate));
        let identity = identity.ok_or(EnrolError::NoToken { why: MustJoin::NoCertificate })?;
        tls::mutual(identity).map_err(EnrolError::Tls)
    }

    /// How long until a new certificate is due; at most an hour, as clocks may be set meanwhile.
    pub(super) fn renewal_due_in(&self) -> Duration {
        let left = self.renew_after_unix_secs.saturating_sub(unix_secs());
        Duration::from_secs(u64::try_from(left).unwrap_or(0)).min(Duration::from_secs(3600))
    }

    /// Whether a new certificate is due.
    pub(super) fn is_renewal_due(&self) -> bool {
        self.renew_after_unix_secs <= unix_secs()
    }

    /// What is asked for a new certificate with.
    pub(super) fn renewal(&self) -> v1::RenewRequest {
        v1::RenewRequest { public_key: self.key.public_key_raw().to_vec().into() }
    }

    /// Takes the answer to it.
    pub(super) fn take_renewal(&mut self, answer: Result<v1::JoinResponse, tonic::Status>) {
        let taken = match answer {
            Ok(response) => self.take(response).map_err(|error| super::described(&error)),
            Err(status) => Err(status.message().to_owned()),
        };
        match taken {
            Ok(()) => tracing::info!("the node's certificate was renewed"),
            Err(error) => {
                tracing::warn!(error, "the node's certificate was not renewed; it is tried again");
                self.renew_after_unix_secs = unix_secs().saturating_add(RENEW_AGAIN_SECS);
            }
        }
    }

    fn must_join(&self) -> Option<MustJoin> {
        let Some(certificate) = &self.certificate else { return Some(MustJoin::NoCertificate) };
        if certificate.not_after_unix_seconds <= unix_secs() {
            return Some(MustJoin::Expired);
        }
        if certificate.gateway != self.gateway.as_str() || certificate.node != self.node.as_str() {
            let (gateway, node) = (certificate.gateway.clone(), certificate.node.clone());
            return Some(MustJoin::Renamed { gateway, node });
        }
        let authority = self.identity(certificate).map(|identity| identity.authority);
        let fingerprint = authority.map(|authority| tls::fingerprint(&authority));
        match &self.token {
            Some(token) if fingerprint != Some(*token.fingerprint()) => {
                Some(MustJoin::OtherAuthority)
            }
            _ => None,
        }
    }

    async fn join(&mut self, plane: &ControlPlane, why: MustJoin) -> Result<(), EnrolError> {
        let token = self.token.clone().ok_or_else(|| EnrolError::NoToken { why: why.clone() })?;
        tracing::info!(%plane, token = token.id(), reason = %why, "joining");
        let config = tls::by_fingerprint(*token.fingerprint()).map_err(EnrolError::Tls)?;
        let channel = tls::connect(plane, config)
            .await
            .map_err(|source| EnrolError::Connect { plane: plane.clone(), source })?;
        let request = v1::JoinRequest {
            token: token.expose().to_owned(),
            node: self.node.as_str().to_owned(),
            gateway: self.gateway.as_str().to_owned(),
            public_key: self.key.public_key_raw().to_vec().into(),
        };
        let mut client = EnrolmentClient::new(channel);
        let answer = timeout(ANSWER_TIME, client.join(request)).await;
        let answer = answer.map_err(|_late| EnrolError::TooSlow)?;
        let refused =
            |status| EnrolError::Refused { token: token.id().to_owned(), status: Box::new(status) };
        let response = answer.map_err(refused)?.into_inner();
        let authority = response.certificate_chain.get(1);
        if authority.map(|der| tls::fingerprint(der)) != Some(*token.fingerprint()) {
            return Err(unusable("the chain does not end with the authority of the token"));
        }
        self.take(response)?;
        tracing::info!(gateway = %self.gateway, node = %self.node, "the node has joined");
        Ok(())
    }

    /// Takes a certificate into use, and keeps it.
    fn take(&mut self, response: v1::JoinResponse) -> Result<(), EnrolError> {
        let [own, authority] = <[_; 2]>::try_from(response.certificate_chain)
            .map_err(|_chain| unusable("the chain is not of two certificates"))?;
        let (own_der, authority_der) =
            (CertificateDer::from(own.to_vec()), CertificateDer::from(authority.to_vec()));
        tls::check_client_certificate(&own_der, &authority_der).map_err(EnrolError::Unusable)?;
        let certificate = Certificate {
            gateway: self.gateway.as_str().to_owned(),
            node: self.node.as_str().to_owned(),
            issued_unix_seconds: unix_secs(),
            not_after_unix_seconds: response.not_after_unix_seconds,
            public_key_sha256: public_key_sha256(&self.key),
            chain: [STANDARD.encode(&own), STANDARD.encode(&authority)],
        };
        let identity = self.identity(&certificate);
        // Refuses a certificate for another key.
        let identity = identity.ok_or_else(|| unusable("the chain does not read"))?;
        tls::mutual(identity).map_err(EnrolError::Unusable)?;
        let path = self.folder.join(CERTIFICATE_FILE);
        let written = serde_json::to_vec_pretty(&certificate)
            .map_err(io::Error::other)
            .and_then(|text| seal::write_private(&path, &text));
        if let Err(error) = written {
            let path = path.display();
            tracing::warn!(%path, %error, "the node's certificate is not kept; it joins again after a restart");
        }
        self.certificate = Some(certificate);
        self.plan_renewal();
        Ok(())
    }

    fn plan_renewal(&mut self) {
        let Some(certificate) = &self.certificate else { return };
        let (from, to) = (certificate.issued_unix_seconds, certificate.not_after_unix_seconds);
        let after = to.saturating_sub(from).saturating_mul(2) / 3;
        self.renew_after_unix_secs = from.saturating_add(after);
    }

    fn identity(&self, certificate: &Certificate) -> Option<ClientIdentity> {
        let [own, authority] = &certificate.chain;
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        Some(ClientIdentity {
            certificate: CertificateDer::from(STANDARD.decode(own).ok()?),
            key: PrivateKeyDer::from(key),
            authority: CertificateDer::from(STANDARD.decode(authority).ok()?),
        })
    }
}

/// Asks for a new certificate over the channel of the session.
pub(super) async fn renew(
    channel: Channel,
    request: v1::RenewRequest,
) -> Result<v1::JoinResponse, tonic::Status> {
    let mut client = EnrolmentClient::new(channel);
    match timeout(ANSWER_TIME, client.renew(request)).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_late) => Err(tonic::Status::deadline_exceeded("no answer in time")),
    }
}

/// The node's key; a new one where there is none that reads.
fn open_key(path: &Path) -> Result<KeyPair, EnrolError> {
    let kept = read_key(path).unwrap_or_else(|error| {
        let path = path.display();
        tracing::warn!(%path, %error, "the node's key does not read; a new one is made");
        None
    });
    match kept {
        Some(key) => Ok(key),
        None => make_key(path),
    }
}

/// None where there is no file.
fn read_key(path: &Path) -> Result<Option<KeyPair>, Box<dyn Error>> {
    match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(pem) => Ok(Some(KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &PKCS_ECDSA_P256_SHA256)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn make_key(path: &Path) -> Result<KeyPair, EnrolError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(EnrolError::Key)?;
    let pem = Zeroizing::new(key.serialize_pem());
    if let Err(error) = seal::write_private(path, pem.as_bytes()) {
        let path = path.display();
        tracing::warn!(%path, %error, "the node's key is not kept; it joins again after a restart");
    }
    Ok(key)
}

fn read_certificate(path: &Path) -> Option<Certificate> {
    let warn = |error: &dyn Error| {
        let path = path.display();
        tracing::warn!(%path, %error, "the node's certificate does not read; it has to join");
    };
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| warn(&error)).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            warn(&error);
            None
        }
    }
}

fn public_key_sha256(key: &KeyPair) -> String {
    STANDARD.encode(tls::fingerprint(key.public_key_raw()))
}

fn unusable(why: &str) -> EnrolError {
    EnrolError::Unusable(rustls::Error::General(why.to_owned()))
}

fn unix_secs() -> i64 {
    i64::try_from(clock::unix_micros() / 1_000_000).unwrap_or(i64::MAX)
}
