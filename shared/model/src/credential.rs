//! What an application proves itself with.

use std::fmt;

use deserr::Deserr;
use schemars::JsonSchema;

use crate::certificate::Facts;
use crate::id::Name;
use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::password::Basic;
use crate::secret::SecretText;
use crate::signature::{KeyId, SignatureProof};

/// A credential of an application: `api_key`, `basic`, `certificate` or `signature`. One call names one credential.
#[derive(Clone, Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = one_proof -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct Credential {
    /// Whose it is; an application of the same tenant.
    pub application: Name,
    /// A key that callers send as it is.
    #[deserr(default)]
    pub api_key: Option<ApiKey>,
    /// A username and a password, for HTTP Basic authentication (RFC 7617).
    #[deserr(default)]
    pub basic: Option<Basic>,
    /// A certificate that callers shake hands with.
    #[deserr(default)]
    pub certificate: Option<CertificateProof>,
    /// A key that callers sign their requests with (RFC 9421).
    #[deserr(default)]
    #[schemars(with = "Option<crate::signature::Written>")]
    pub signature: Option<SignatureProof>,
    /// From when on it is refused; none: never.
    #[deserr(default)]
    pub expires_at: Option<Instant>,
    /// Whether it is refused without being taken away.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub disabled: bool,
}

fn one_proof(
    credential: Credential,
    location: deserr::ValuePointerRef<'_>,
) -> Result<Credential, Issues> {
    let at = crate::issue::pointer(location);
    let mut issues = Issues::default();
    let given = [
        ("api_key", credential.api_key.is_some()),
        ("basic", credential.basic.is_some()),
        ("certificate", credential.certificate.is_some()),
        ("signature", credential.signature.is_some()),
    ];
    let mut given = given.into_iter().filter(|(_, is_given)| *is_given);
    match (given.next(), given.next()) {
        (None, _) => {
            let problem = "`api_key` is missing; add it, or `basic`, `certificate` or `signature`";
            issues.add(at, "missing_field", problem);
        }
        (Some(_), None) => {}
        (Some(_), Some((second, _))) => issues.add(
            format!("{at}/{second}"),
            "two_proofs",
            "a credential is one of `api_key`, `basic`, `certificate` and `signature`; write one for each",
        ),
    }
    issues.into_result(credential)
}

impl Credential {
    /// What a caller with this key, certificate or signature is found by; none before a key is hashed, and for a
    /// password.
    #[must_use]
    pub fn lookup_key(&self, tenant: &Name) -> Option<KeyHash> {
        let of_key = self.api_key.as_ref().and_then(|key| key.hash);
        let of_certificate = || Some(self.certificate.as_ref()?.key(tenant));
        let of_signature =
            || Some(KeyId::lookup_key(tenant, self.signature.as_ref()?.key_id.as_str()));
        of_key.or_else(of_certificate).or_else(of_signature)
    }
}

/// Which certificate it is: by one of these.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = one_way -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct CertificateProof {
    /// SHA-256 of the certificate, 64 hexadecimal digits; colons may stand between.
    #[deserr(default)]
    pub fingerprint: Option<Fingerprint>,
    /// The subject's distinguished name, such as `C=DE, O=Shop, CN=web`.
    #[deserr(default)]
    pub subject: Option<String>,
    /// One of the subject alternative names with its sort: `dns:`, `uri:`, `email:` or `ip:`.
    #[deserr(default)]
    pub san: Option<AlternativeName>,
}

fn one_way(
    proof: CertificateProof,
    location: deserr::ValuePointerRef<'_>,
) -> Result<CertificateProof, Issues> {
    let at = crate::issue::pointer(location);
    let mut issues = Issues::default();
    let given = [proof.fingerprint.is_some(), proof.subject.is_some(), proof.san.is_some()];
    if given.iter().filter(|is_given| **is_given).count() != 1 {
        let problem = "give one of `fingerprint`, `subject` and `san`";
        issues.add(at.as_str(), "invalid_count", problem);
    }
    if proof.subject.as_deref().is_some_and(|text| text.is_empty() || text.len() > 1_024) {
        issues.add(format!("{at}/subject"), "invalid_subject", "give 1 to 1,024 bytes");
    }
    issues.into_result(proof)
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// A subject alternative name with its sort before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternativeName(pub String);

impl CertificateProof {
    /// What a caller of `tenant` with this certificate is found by.
    #[must_use]
    pub fn key(&self, tenant: &Name) -> KeyHash {
        if let Some(Fingerprint(fingerprint)) = &self.fingerprint {
            return proof_key(tenant, b"fingerprint", fingerprint);
        }
        match (&self.subject, &self.san) {
            (Some(subject), _) => proof_key(tenant, b"subject", subject.as_bytes()),
            (None, Some(AlternativeName(name))) => proof_key(tenant, b"san", name.as_bytes()),
            // The check wants one of the three.
            (None, None) => proof_key(tenant, b"", b""),
        }
    }

    /// What a caller of `tenant` is found by who showed this certificate, the narrowest first.
    pub fn keys<'a>(facts: &'a Facts, tenant: &'a Name) -> impl Iterator<Item = KeyHash> + 'a {
        let names = facts.alternative_names.iter();
        [
            proof_key(tenant, b"fingerprint", &facts.fingerprint),
            proof_key(tenant, b"subject", facts.subject.as_bytes()),
        ]
        .into_iter()
        .chain(names.map(|name| proof_key(tenant, b"san", name.as_bytes())))
    }
}

/// Of another context than the hashes of API keys, so that none is ever the other.
fn proof_key(tenant: &Name, sort: &[u8], value: &[u8]) -> KeyHash {
    let mut hasher = blake3::Hasher::new_derive_key("tollgate 2026 client certificate credential");
    for part in [tenant.as_str().as_bytes(), b"\0", sort, b"\0", value] {
        hasher.update(part);
    }
    KeyHash(*hasher.finalize().as_bytes())
}

impl FromText for Fingerprint {
    const EXPECTED: &'static str = "64 hexadecimal digits, with or without colons";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let bare = text.replace(':', "").to_ascii_lowercase();
        blake3::Hash::from_hex(&bare).map(|hash| Self(*hash.as_bytes())).map_err(|_not_hex| {
            Rejected::new("invalid_fingerprint", format!("is not {}", Self::EXPECTED))
        })
    }
}

impl FromText for AlternativeName {
    const EXPECTED: &'static str = "a name with its sort, such as uri:spiffe://shop/web";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let refuse = || {
            let text = text.escape_debug();
            Rejected::new("invalid_san", format!("`{text}` is not {}", Self::EXPECTED))
        };
        let (sort, name) = text.split_once(':').ok_or_else(refuse)?;
        if name.is_empty() || text.len() > 2_048 {
            return Err(refuse());
        }
        match sort {
            // As a certificate's are read.
            "dns" => Ok(Self(text.to_ascii_lowercase())),
            "ip" => {
                let address =
                    name.parse::<std::net::IpAddr>().map_err(|_not_an_address| refuse())?;
                Ok(Self(format!("ip:{address}")))
            }
            "uri" | "email" => Ok(Self(text.to_owned())),
            _ => Err(refuse()),
        }
    }
}

/// An API key: `value` as it is written, `hash` and `hint` as they are kept. One of both.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = one_form -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct ApiKey {
    /// The key itself, 8 to 512 visible ASCII characters. The control plane keeps only its hash.
    #[deserr(default)]
    pub value: Option<SecretText>,
    /// BLAKE3 of the key under the cluster's credential key, 64 hexadecimal digits.
    #[deserr(default)]
    pub hash: Option<KeyHash>,
    /// The key's first characters, so that people recognise it.
    #[deserr(default)]
    pub hint: Option<String>,
}

fn one_form(key: ApiKey, location: deserr::ValuePointerRef<'_>) -> Result<ApiKey, Issues> {
    let at = crate::issue::pointer(location);
    let mut issues = Issues::default();
    match (&key.value, &key.hash) {
        (None, None) => issues.add(at, "missing_field", "`value` is missing; add the key"),
        (Some(_), Some(_)) => issues.add(
            format!("{at}/hash"),
            "unknown_field",
            "give `value` alone; the hash is made from it",
        ),
        (Some(value), None) => {
            let text = value.expose();
            if !(8..=512).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
                issues.add(
                    format!("{at}/value"),
                    "invalid_key",
                    "a key is 8 to 512 visible ASCII characters without spaces",
                );
            }
        }
        (None, Some(_)) => {}
    }
    issues.into_result(key)
}

/// The keyed hash of an API key. Safe to compare as plain bytes: who has no key cannot aim at one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Hashes a key under the cluster's credential key.
    #[must_use]
    pub fn of(key: &[u8], credential_key: &[u8; 32]) -> Self {
        Self(*blake3::keyed_hash(credential_key, key).as_bytes())
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyHash(…)")
    }
}

impl FromText for KeyHash {
    const EXPECTED: &'static str = "64 hexadecimal digits";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        blake3::Hash::from_hex(text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_not_hex| Rejected::new("invalid_hash", format!("is not {}", Self::EXPECTED)))
    }
}

/// A moment, in whole microseconds since 1970-01-01; written as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub unix_micros: i64,
}

impl FromText for Instant {
    const EXPECTED: &'static str = "a moment such as 2027-01-31T00:00:00Z";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        text.parse::<jiff::Timestamp>()
            .map(|timestamp| Self { unix_micros: timestamp.as_microsecond() })
            .map_err(|_not_a_moment| {
                Rejected::new(
                    "invalid_moment",
                    format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED),
                )
            })
    }
}

deserr_text!(KeyHash, Instant, Fingerprint, AlternativeName);
text_schema!(Fingerprint, "Fingerprint", "64 hexadecimal digits, with or without colons.");
text_schema!(AlternativeName, "AlternativeName", "A subject alternative name with its sort.");
text_schema!(KeyHash, "KeyHash", "64 hexadecimal digits.");
text_schema!(Instant, "Moment", "RFC 3339, such as 2027-01-31T00:00:00Z.");
