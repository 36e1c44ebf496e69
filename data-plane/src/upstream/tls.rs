//! TLS to endpoints: what is believed, and what is spoken.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tollgate_model::trust::Authorities;
use tollgate_model::upstream::{Location, Protocol, Tls};

use crate::tls::Shown;

/// How one endpoint is met over TLS.
#[derive(Clone, Debug)]
pub struct EndpointTls {
    /// Shared by all endpoints that are met alike, and so is its memory of sessions.
    pub config: Arc<ClientConfig>,
    /// The name that the certificate must bear.
    pub server_name: ServerName<'static>,
}

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// Mozilla's list, as of the version of the crate that carries it.
static PUBLIC_ROOTS: LazyLock<Arc<RootCertStore>> =
    LazyLock::new(|| Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }));

static PUBLIC_HTTP1: LazyLock<Arc<ClientConfig>> =
    LazyLock::new(|| config(Arc::clone(&PUBLIC_ROOTS), Protocol::Http1, None));
static PUBLIC_HTTP2: LazyLock<Arc<ClientConfig>> =
    LazyLock::new(|| config(Arc::clone(&PUBLIC_ROOTS), Protocol::Http2, None));

/// What the endpoints of one upstream are met with, and shown where they ask for it.
pub(crate) fn client(tls: &Tls, protocol: Protocol, shown: Option<&Shown>) -> Arc<ClientConfig> {
    let roots = match (&tls.authorities, shown, protocol) {
        (None, None, Protocol::Http1) => return Arc::clone(&PUBLIC_HTTP1),
        (None, None, Protocol::Http2) => return Arc::clone(&PUBLIC_HTTP2),
        (None, Some(_), _) => Arc::clone(&PUBLIC_ROOTS),
        (Some(authorities), _, _) => Arc::new(roots(authorities)),
    };
    config(roots, protocol, shown)
}

/// The name that an endpoint's certificate must bear; none for an endpoint in the clear.
pub(crate) fn server_name(tls: &Tls, location: &Location) -> Option<ServerName<'static>> {
    if !location.is_tls() {
        return None;
    }
    match &tls.server_name {
        Some(name) => Some(name.as_tls().clone()),
        None => ServerName::try_from(location.certified_name().to_owned()).ok(),
    }
}

/// What distinguishes connections that must not be taken for one another, beside their address.
pub(crate) fn fingerprint(
    tls: &Tls,
    server_name: &ServerName<'_>,
    shown: Option<&Shown>,
) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for certificate in tls.authorities.iter().flat_map(|authorities| authorities.certificates()) {
        context.update(certificate);
    }
    let shown = shown.map(|shown| shown.facts.fingerprint_text()).unwrap_or_default();
    format!("{}#{:?}#{shown}", server_name.to_str(), context.finish())
}

fn config(
    roots: Arc<RootCertStore>,
    protocol: Protocol,
    shown: Option<&Shown>,
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(Arc::clone(&roots)).with_no_client_auth())
        // The provider has suites for both versions.
        .unwrap_or_else(|_never| {
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
        });
    let protocol: &[u8] = match protocol {
        Protocol::Http1 => b"http/1.1",
        Protocol::Http2 => b"h2",
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    if let Some(shown) = shown {
        config.client_auth_cert_resolver = shown.for_clients();
    }
    Arc::new(config)
}

fn roots(authorities: &Authorities) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in authorities.certificates() {
        if let Err(error) = roots.add(certificate.clone()) {
            // The check took it with the same code.
            tracing::error!(%error, "take an authority's certificate");
        }
    }
    roots
}
