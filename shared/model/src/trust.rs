//! Whom TLS believes: names of servers, certificates of authorities.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::parse::{FromText, Rejected, deserr_text, text_schema};

/// The most authorities that one place may name.
const MAX_AUTHORITIES: usize = 64;

/// The longest text of them, in bytes.
const MAX_BYTES: usize = 262_144;

/// A name that a certificate can bear: a host name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName(rustls_pki_types::ServerName<'static>);

/// Certificates of authorities, each usable as a trust anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities(Arc<[CertificateDer<'static>]>);

impl ServerName {
    /// The name as TLS takes it.
    #[must_use]
    pub fn as_tls(&self) -> &rustls_pki_types::ServerName<'static> {
        &self.0
    }
}

impl Authorities {
    /// The certificates, at least one.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }
}

impl FromText for ServerName {
    const EXPECTED: &'static str = "a host name or an IP address";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        rustls_pki_types::ServerName::try_from(text.to_ascii_lowercase()).map(Self).map_err(
            |_odd| {
                Rejected::new(
                    "invalid_name",
                    format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED),
                )
            },
        )
    }
}

impl FromText for Authorities {
    const EXPECTED: &'static str = "certificates of authorities in PEM";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        if text.len() > MAX_BYTES {
            return Err(Rejected::new("too_large", "is longer than 262,144 bytes"));
        }
        if text.contains("PRIVATE KEY-----") {
            let problem = "holds a private key, which would be shown; give the certificates alone";
            return Err(Rejected::new("key_in_chain", problem));
        }
        let refuse = |problem: String| Rejected::new("invalid_certificate", problem);
        let mut certificates = Vec::new();
        for (i, certificate) in CertificateDer::pem_slice_iter(text.as_bytes()).enumerate() {
            let number = i + 1;
            let certificate = certificate
                .map_err(|error| refuse(format!("certificate {number} is not PEM: {error}")))?;
            webpki::anchor_from_trusted_cert(&certificate).map_err(|error| {
                refuse(format!("certificate {number} cannot be an authority: {error}"))
            })?;
            certificates.push(certificate);
        }
        if certificates.is_empty() || certificates.len() > MAX_AUTHORITIES {
            return Err(refuse(format!("give 1 to {MAX_AUTHORITIES} {}", Self::EXPECTED)));
        }
        Ok(Self(certificates.into()))
    }
}

deserr_text!(ServerName, Authorities);
text_schema!(ServerName, "ServerName", "A host name or an IP address.");
text_schema!(Authorities, "Authorities", "Certificates of authorities in PEM.");
