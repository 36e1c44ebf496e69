//! What a listener, or a node to an upstream, proves itself with: a chain of certificates and the first one's private key.

use std::net::IpAddr;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::host::HostPattern;
use crate::issue::Issues;
use crate::parse::Rejected;
use crate::secret::SecretText;

/// The most bytes of a chain in PEM.
const CHAIN_BYTES: usize = 65_536;
/// The most certificates of a chain.
const CHAIN_LENGTH: usize = 10;
/// NIST SP 800-131A: fewer are not allowed any more, and no current client takes them.
const LEAST_RSA_BITS: usize = 2_048;

/// A chain of certificates and its private key, both in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// For people.
    pub description: Option<String>,
    /// The server's own certificate, then each one's issuer, in DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// What the server's own certificate says.
    pub facts: Facts,
    /// The private key in PEM.
    pub key: SecretText,
}

/// What a certificate says of whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The subject's distinguished name, such as `C=DE, O=Shop, CN=web`; in a part, `,`, `+` and the
    /// backslash have a backslash before them.
    pub subject: String,
    /// The subject alternative names with their sort: `dns:`, `ip:`, `email:` and `uri:`.
    pub alternative_names: Vec<String>,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    /// From when on it holds, in seconds since 1970-01-01.
    pub not_before: i64,
    /// Until when it holds, in seconds since 1970-01-01.
    pub not_after: i64,
}

impl Facts {
    /// Reads a certificate in DER; none where it is not one.
    #[must_use]
    pub fn of(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.into_iter().flat_map(|names| &names.value.general_names);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        Some(Self {
            subject: distinguished_name(certificate.subject()),
            alternative_names: names.filter_map(alternative_name).collect(),
            fingerprint: digest.as_ref().try_into().ok()?,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }

    /// The fingerprint as 64 hexadecimal digits.
    #[must_use]
    pub fn fingerprint_text(&self) -> String {
        blake3::Hash::from_bytes(self.fingerprint).to_hex().to_string()
    }

    /// The host names that it is for. A wildcard stands for one label here (RFC 9525 §6.3).
    pub fn hosts(&self) -> impl Iterator<Item = HostPattern> {
        use crate::parse::FromText as _;
        let names = self.alternative_names.iter();
        names.filter_map(|name| HostPattern::from_text(name.strip_prefix("dns:")?).ok())
    }

    /// Whether it is for any host or address, as a server's is.
    #[must_use]
    pub fn is_for_a_host(&self) -> bool {
        let is_host = |name: &String| name.starts_with("dns:") || name.starts_with("ip:");
        self.alternative_names.iter().any(is_host)
    }

    /// Whether it is for this host: a name in lower case without a dot at its end, or an address.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            let name = format!("ip:{address}");
            return self.alternative_names.contains(&name);
        }
        let parent = host.split_once('.').map(|(_, parent)| parent);
        let mut names = self.alternative_names.iter().filter_map(|name| name.strip_prefix("dns:"));
        names.any(|name| match name.strip_prefix("*.") {
            Some(below) => parent == Some(below),
            None => host == name,
        })
    }
}

/// A name as one text, in the order of the certificate. What separates its parts is escaped within
/// them, as in RFC 4514 §2.4: two names are never the same text.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let attribute = |attribute: &AttributeTypeAndValue<'_>| {
        let sort = oid2abbrev(attribute.attr_type(), oid_registry())
            .map_or_else(|_unknown| attribute.attr_type().to_id_string(), str::to_owned);
        let value = match attribute.as_str() {
            Ok(text) => text.replace('\\', r"\\").replace(',', r"\,").replace('+', r"\+"),
            Err(_) => attribute.as_slice().iter().fold("#".to_owned(), |mut text, byte| {
                text.push_str(&format!("{byte:02x}"));
                text
            }),
        };
        format!("{sort}={value}")
    };
    let parts =
        name.iter_rdn().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join(" + "));
    parts.collect::<Vec<_>>().join(", ")
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("dns:{}", name.to_ascii_lowercase())),
        GeneralName::RFC822Name(name) => Some(format!("email:{name}")),
        GeneralName::URI(name) => Some(format!("uri:{name}")),
        GeneralName::IPAddress(bytes) => {
            let v4 = || <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4().or_else(|_not_v4| v6()).ok().map(|address| format!("ip:{address}"))
        }
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    }
}

/// Reads certificates in PEM, at least one.
///
/// # Errors
///
/// Where there is none, or one of them is not a certificate.
pub fn certificates_of_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, Rejected> {
    let refuse = |problem: String| Rejected::new("invalid_pem", problem);
    let mut found = Vec::new();
    for (i, item) in CertificateDer::pem_slice_iter(text.as_bytes()).enumerate() {
        let der = item.map_err(|error| refuse(format!("is not PEM: {error}")))?;
        let is_read = X509Certificate::from_der(&der).is_ok_and(|(rest, _)| rest.is_empty());
        if !is_read {
            return Err(refuse(format!("certificate {} of the text is damaged", i + 1)));
        }
        found.push(der);
    }
    if found.is_empty() {
        return Err(refuse(
            "has no certificate; give PEM that begins with -----BEGIN CERTIFICATE-----".to_owned(),
        ));
    }
    Ok(found)
}

impl Certificate {
    /// The private key; none where it is not one, which the check has refused.
    #[must_use]
    pub fn key_der(&self) -> Option<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(self.key.expose().as_bytes()).ok()
    }
}

/// A certificate as it may be written: `chain` and `key` in PEM, or where the CLI finds them.
#[derive(Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "Certificate")]
struct Written {
    /// For people.
    #[deserr(default)]
    description: Option<String>,
    /// The server's own certificate in PEM, then each one's issuer. Its subject alternative names
    /// are the hosts that it is chosen for.
    #[deserr(default)]
    chain: Option<String>,
    /// The file, beside the CLI, that holds the chain.
    #[deserr(default)]
    chain_from_file: Option<String>,
    /// The CLI's environment variable that holds the chain.
    #[deserr(default)]
    chain_from_env: Option<String>,
    /// The private key of the first certificate, in PEM (PKCS#8, PKCS#1 or SEC 1), not encrypted.
    /// Never shown again.
    #[deserr(default)]
    key: Option<SecretText>,
    /// The file, beside the CLI, that holds the key.
    #[deserr(default)]
    key_from_file: Option<String>,
    /// The CLI's environment variable that holds the key.
    #[deserr(default)]
    key_from_env: Option<String>,
}

impl JsonSchema for Certificate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Written::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Written::json_schema(generator)
    }
}

impl Deserr<Issues> for Certificate {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let written = Written::deserialize_from_value(value, location)?;
        let place = crate::issue::pointer(location);
        let mut issues = Issues::default();
        for (field, of, given) in [
            ("chain_from_file", "chain", &written.chain_from_file),
            ("chain_from_env", "chain", &written.chain_from_env),
            ("key_from_file", "key", &written.key_from_file),
            ("key_from_env", "key", &written.key_from_env),
        ] {
            if given.is_some() {
                issues.add(
                    format!("{place}/{field}"),
                    "unresolved_secret",
                    format!("`{field}` is read by the CLI where it runs; send `{of}` itself"),
                );
            }
        }
        let is_elsewhere = !issues.0.is_empty();
        let mut missing = |field: &str| {
            if !is_elsewhere {
                let problem = format!(
                    "`{field}` is missing; add it, or `{field}_from_file` or `{field}_from_env`"
                );
                issues.add(place.as_str(), "missing_field", problem);
            }
        };
        if written.chain.is_none() {
            missing("chain");
        }
        if written.key.is_none() {
            missing("key");
        }
        let chain = written.chain.and_then(|text| chain_of(&text, &place, &mut issues));
        let key = written.key.and_then(|key| {
            let public_key = public_key_of(&key, chain.as_deref(), &place, &mut issues)?;
            Some((key, public_key))
        });
        let (Some(chain), Some((key, public_key))) = (chain, key) else { return Err(issues) };
        let facts = check_pair(&chain, &public_key, &place, &mut issues);
        let Some(facts) = facts else { return Err(issues) };
        issues.into_result(Self { description: written.description, chain, facts, key })
    }
}

fn chain_of(text: &str, place: &str, issues: &mut Issues) -> Option<Vec<CertificateDer<'static>>> {
    let at = format!("{place}/chain");
    if text.len() > CHAIN_BYTES {
        issues.add(at, "too_large", format!("is longer than {CHAIN_BYTES} bytes"));
        return None;
    }
    // It would be kept in clear and shown.
    if text.contains("PRIVATE KEY-----") {
        let problem = "holds a private key, which would be shown; give it as `key` alone";
        issues.add(at, "key_in_chain", problem);
        return None;
    }
    let chain = match certificates_of_pem(text) {
        Ok(chain) => chain,
        Err(rejected) => {
            issues.add(at, rejected.code, rejected.problem);
            return None;
        }
    };
    if chain.len() > CHAIN_LENGTH {
        issues.add(at, "too_large", format!("has more than {CHAIN_LENGTH} certificates"));
        return None;
    }
    let before = issues.0.len();
    check_chain(&chain, &at, issues);
    (issues.0.len() == before).then_some(chain)
}

/// What holds for a chain by itself: each one's issuer follows, and no key is weak.
fn check_chain(chain: &[CertificateDer<'static>], at: &str, issues: &mut Issues) {
    let parsed: Vec<X509Certificate<'_>> = chain
        .iter()
        .filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed))
        .collect();
    for (i, pair) in parsed.windows(2).enumerate() {
        let [lower, upper] = pair else { continue };
        if lower.issuer().as_raw() != upper.subject().as_raw() {
            let problem = format!(
                "certificate {} (`{}`) was issued by `{}`, but `{}` follows it; put each one's issuer behind it",
                i + 1,
                lower.subject(),
                lower.issuer(),
                upper.subject()
            );
            issues.add(at, "chain_order", problem);
        }
    }
    for (i, certificate) in parsed.iter().enumerate() {
        match certificate.public_key().parsed() {
            Ok(PublicKey::RSA(key)) if bits(key.modulus) < LEAST_RSA_BITS => {
                let problem = format!(
                    "certificate {} has an RSA key of {} bits; use at least {LEAST_RSA_BITS}, or ECDSA",
                    i + 1,
                    bits(key.modulus)
                );
                issues.add(at, "weak_key", problem);
            }
            Ok(PublicKey::DSA(_)) => {
                let problem = format!("certificate {} has a DSA key; use ECDSA or RSA", i + 1);
                issues.add(at, "weak_key", problem);
            }
            _ => {}
        }
    }
}

fn bits(modulus: &[u8]) -> usize {
    let digits = modulus.iter().skip_while(|byte| **byte == 0);
    let zeros = digits.clone().next().map_or(0, |first| first.leading_zeros());
    (digits.count() * 8).saturating_sub(usize::try_from(zeros).unwrap_or(0))
}

fn public_key_of(
    key: &SecretText,
    chain: Option<&[CertificateDer<'static>]>,
    place: &str,
    issues: &mut Issues,
) -> Option<Vec<u8>> {
    let at = format!("{place}/key");
    let text = key.expose();
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        let problem =
            "is encrypted with a passphrase; give it without, it is sealed where it is kept";
        issues.add(at, "encrypted_key", problem);
        return None;
    }
    let Ok(der) = PrivateKeyDer::from_pem_slice(text.as_bytes()) else {
        let problem = "has no private key in PEM (-----BEGIN PRIVATE KEY-----)";
        issues.add(at, "invalid_pem", problem);
        return None;
    };
    let public_key = public_half(&der);
    // Of a weak key the chain has told already.
    if public_key.is_none() && chain.is_some() {
        let problem = "is damaged or of a sort that is not known; use ECDSA (P-256, P-384, P-521), Ed25519, or RSA of 2,048 to 8,192 bits";
        issues.add(at, "unsupported_key", problem);
    }
    public_key
}

/// The public half of a private key, as it stands in a certificate.
fn public_half(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    let der = key.secret_der();
    let is_pkcs1 = matches!(key, PrivateKeyDer::Pkcs1(_));
    let rsa = if is_pkcs1 { RsaKeyPair::from_der(der) } else { RsaKeyPair::from_pkcs8(der) };
    if let Ok(pair) = rsa {
        return Some(pair.public_key().as_ref().to_vec());
    }
    for curve in [
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P384_SHA384_ASN1_SIGNING,
        &ECDSA_P521_SHA512_ASN1_SIGNING,
    ] {
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve, der) {
            return Some(pair.public_key().as_ref().to_vec());
        }
    }
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    Some(pair.public_key().as_ref().to_vec())
}

/// What holds for chain and key together.
fn check_pair(
    chain: &[CertificateDer<'static>],
    public_key: &[u8],
    place: &str,
    issues: &mut Issues,
) -> Option<Facts> {
    let first = chain.first()?;
    let at = format!("{place}/chain");
    let Some(facts) = Facts::of(first) else {
        issues.add(at, "invalid_pem", "the first certificate's alternative names are damaged");
        return None;
    };
    let (_, parsed) = X509Certificate::from_der(first).ok()?;
    if *parsed.public_key().subject_public_key.data != *public_key {
        issues.add(
            format!("{place}/key"),
            "key_mismatch",
            format!("is not the key of the first certificate (`{}`)", facts.subject),
        );
    }
    // RFC 5280 §4.2.1.12. What is for clients is shown to upstreams, which do not look for a host in it.
    let usage = parsed.extended_key_usage().ok().flatten();
    let is_for_clients = usage.is_some_and(|usage| usage.value.client_auth);
    if !facts.is_for_a_host() && !is_for_clients {
        let problem = "the first certificate names no host in its subject alternative names, and no client looks elsewhere; issue it for the hosts, or for the authentication of clients";
        issues.add(at, "no_names", problem);
    }
    Some(facts)
}
