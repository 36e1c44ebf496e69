//! TLS of listeners: which certificate a client is shown, which clients must show one, and sessions
//! that all request threads resume.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
    ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tollgate_model::Issue;
use tollgate_model::certificate::{Certificate, Facts};
use tollgate_model::gateway::{self, ClientCertificateMode, ClientCertificates, TlsVersion};
use tollgate_model::host::HostPattern;

use crate::route::HostName;

/// Sessions that a listener keeps itself, for clients that take no tickets.
const KEPT_SESSIONS: usize = 10_240;
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A listener's side of every handshake.
pub struct ListenerTls {
    /// For rustls.
    pub config: Arc<ServerConfig>,
    offer: Arc<Offer>,
}

/// A certificate that can be shown.
pub struct Shown {
    /// What it says.
    pub facts: Facts,
    key: Arc<CertifiedKey>,
}

/// The certificates of a listener, by the names that clients ask for.
struct Offer {
    exact: HashMap<Box<str>, Arc<Shown>>,
    /// By what comes after `*.`.
    below: HashMap<Box<str>, Arc<Shown>>,
    /// For who names no known host.
    first: Arc<Shown>,
}

/// What resumes sessions. It outlives a change of certificates, but not one of who may connect: a
/// session that is resumed is not asked for a certificate again.
#[derive(Clone)]
pub struct Sessions {
    tickets: Option<Arc<dyn ProducesTickets>>,
    kept: Arc<dyn StoresServerSessions>,
}

impl Sessions {
    /// Sessions under keys of their own, changed every six hours.
    #[must_use]
    pub fn new() -> Self {
        Self {
            // Without random numbers there are no tickets; sessions are kept then.
            tickets: aws_lc_rs::Ticketer::new().ok(),
            kept: ServerSessionMemoryCache::new(KEPT_SESSIONS),
        }
    }

    /// The same for clients that prove themselves: by tickets alone, which end with their keys. What is
    /// kept has no end, and a certificate has.
    #[must_use]
    pub fn of_proven_clients() -> Self {
        Self { kept: Arc::new(NoServerSessionStorage {}), ..Self::new() }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new()
    }
}

impl Shown {
    /// A certificate with its key in use; none where the key is of no sort that is known, which the
    /// check has refused.
    #[must_use]
    pub fn new(certificate: &Certificate) -> Option<Self> {
        let key = aws_lc_rs::sign::any_supported_type(&certificate.key_der()?).ok()?;
        let key = Arc::new(CertifiedKey::new(certificate.chain.clone(), key));
        Some(Self { facts: certificate.facts.clone(), key })
    }

    /// The same for handshakes in which the node is the client.
    #[must_use]
    pub fn for_clients(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.key)))
    }
}

/// What a listener shows: certificates in the order of their preference, each with the hosts that it
/// may be shown for.
pub type Certificates = Vec<(Arc<Shown>, Vec<HostPattern>)>;

impl ListenerTls {
    /// A listener's TLS.
    ///
    /// # Errors
    ///
    /// Where it has no certificate, or an authority is not one. The pointer is into `tls`.
    pub fn build(
        tls: &gateway::ListenerTls,
        certificates: Certificates,
        sessions: &Sessions,
    ) -> Result<Self, Issue> {
        let offer = Offer::of(certificates).ok_or_else(|| {
            Issue::new("", "no_certificate", "there is no Certificate to show; write one")
        })?;
        let offer = Arc::new(offer);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[&'static SupportedProtocolVersion] = match tls.min_version {
            TlsVersion::V1_2 => &[&TLS13, &TLS12],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| Issue::new("/min_version", "not_supported", error.to_string()))?;
        let builder = match &tls.client_certificates {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(verifier(clients, provider)?),
        };
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Offer>::clone(&offer);
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        config.session_storage = Arc::clone(&sessions.kept);
        if let Some(tickets) = &sessions.tickets {
            config.ticketer = Arc::clone(tickets);
        }
        Ok(Self { config: Arc::new(config), offer })
    }

    /// The certificate that a client is shown who asks for this name.
    #[must_use]
    pub fn shown_for(&self, server_name: Option<&str>) -> &Arc<Shown> {
        self.offer.find(server_name)
    }
}

fn verifier(
    clients: &ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Issue> {
    const AT: &str = "/client_certificates/authorities";
    let refuse = |problem: String| Issue::new(AT, "invalid_authority", problem);
    let mut roots = RootCertStore::empty();
    for (i, authority) in clients.authorities.certificates().iter().enumerate() {
        roots
            .add(authority.clone())
            .map_err(|error| refuse(format!("certificate {} is no authority: {error}", i + 1)))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match clients.mode {
        ClientCertificateMode::Required => builder,
        ClientCertificateMode::Optional => builder.allow_unauthenticated(),
    };
    let verifier = builder.build().map_err(|error| refuse(error.to_string()))?;
    Ok(verifier)
}

impl Offer {
    fn of(certificates: Certificates) -> Option<Self> {
        let first = Arc::clone(&certificates.first()?.0);
        let mut offer = Self { exact: HashMap::new(), below: HashMap::new(), first };
        for (shown, hosts) in certificates {
            for host in hosts {
                let names = if host.is_wildcard() { &mut offer.below } else { &mut offer.exact };
                names.entry(Box::from(host.name())).or_insert_with(|| Arc::clone(&shown));
            }
        }
        Some(offer)
    }

    fn find(&self, server_name: Option<&str>) -> &Arc<Shown> {
        let Some(name) = server_name else { return &self.first };
        let name = HostName::parse(name);
        let name = name.as_str();
        self.exact
            .get(name)
            .or_else(|| self.below.get(name.split_once('.')?.1))
            .unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Offer {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.find(hello.server_name()).key))
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.exact.keys()).entries(self.below.keys()).finish()
    }
}
