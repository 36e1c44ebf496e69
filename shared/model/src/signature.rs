//! A key that callers sign their requests with (RFC 9421), and how a signature is checked with it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use schemars::JsonSchema;
use zeroize::Zeroizing;

use crate::credential::KeyHash;
use crate::id::Name;
use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::secret::SecretText;

/// The most bytes of a key's id.
const KEY_ID_BYTES: usize = 256;
/// The most bytes of a public key in PEM.
const PEM_BYTES: usize = 16 << 10;
/// RFC 2104 §3: a key that is shorter than the hash's output makes the code weaker.
const SECRET_MIN_BYTES: usize = 32;
/// The modulus is the most of a public RSA key: one that is no longer as a whole has fewer than 2,048 bits.
const SHORT_RSA_BYTES: usize = 256;

/// A key that callers sign their requests with.
#[derive(Clone, Debug)]
pub struct SignatureProof {
    /// What signatures name the key by.
    pub key_id: KeyId,
    /// What signatures are checked with.
    pub key: Arc<VerificationKey>,
}

/// What signatures name a key by; unique within the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(Box<str>);

/// How a request is signed (RFC 9421 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues)]
pub enum SigningAlgorithm {
    /// HMAC with SHA-256 and a secret.
    #[deserr(rename = "hmac-sha256")]
    #[schemars(rename = "hmac-sha256")]
    HmacSha256,
    /// RSA, PSS, SHA-512.
    #[deserr(rename = "rsa-pss-sha512")]
    #[schemars(rename = "rsa-pss-sha512")]
    RsaPssSha512,
    /// RSA, PKCS #1 v1.5, SHA-256.
    #[deserr(rename = "rsa-v1_5-sha256")]
    #[schemars(rename = "rsa-v1_5-sha256")]
    RsaV15Sha256,
    /// ECDSA on P-256 with SHA-256.
    #[deserr(rename = "ecdsa-p256-sha256")]
    #[schemars(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384.
    #[deserr(rename = "ecdsa-p384-sha384")]
    #[schemars(rename = "ecdsa-p384-sha384")]
    EcdsaP384Sha384,
    /// Ed25519.
    #[deserr(rename = "ed25519")]
    #[schemars(rename = "ed25519")]
    Ed25519,
}

/// How a Secret stands for the bytes of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum SecretEncoding {
    /// It is the key, as a text in UTF-8.
    #[default]
    Text,
    /// It is the key in base64 (RFC 4648 §4).
    Base64,
}

/// What signatures are checked with. Each key is for one algorithm alone, so that no signature chooses.
#[derive(Debug)]
pub enum VerificationKey {
    /// A secret that both sides have, for `hmac-sha256`.
    Shared(SharedKey),
    /// A public key.
    Public(PublicKey),
}

/// A secret that both sides have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedKey {
    /// The Secret that holds it, of the same tenant.
    pub secret: Name,
    /// How it holds it.
    pub encoding: SecretEncoding,
}

/// A public key, and the one algorithm that it is for.
pub struct PublicKey {
    algorithm: SigningAlgorithm,
    parsed: ParsedPublicKey,
}

/// Why a signature was not found to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// It is not one of this message by this key.
    #[error("check a signature: it is not this key's")]
    Wrong,
    /// The Secret is not there, or cannot be a key.
    #[error("check a signature: there is no secret that can be a key")]
    NoSecret,
}

impl SigningAlgorithm {
    /// Those that check with a public key, the one before the other where a key is for both.
    const OF_PUBLIC_KEYS: [Self; 5] = [
        Self::RsaPssSha512,
        Self::RsaV15Sha256,
        Self::EcdsaP256Sha256,
        Self::EcdsaP384Sha384,
        Self::Ed25519,
    ];

    /// Its name in IANA's registry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::RsaPssSha512 => "rsa-pss-sha512",
            Self::RsaV15Sha256 => "rsa-v1_5-sha256",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::Ed25519 => "ed25519",
        }
    }

    /// How a public key checks it; none for that of a secret.
    fn verification(self) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match self {
            Self::HmacSha256 => return None,
            Self::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::RsaV15Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            // RFC 9421 §3.3.4: the two numbers one after the other, and not in ASN.1.
            Self::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::Ed25519 => &signature::ED25519,
        })
    }
}

impl KeyId {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a caller of `tenant` is found by whose signature names this key.
    #[must_use]
    pub fn lookup_key(tenant: &Name, key_id: &str) -> KeyHash {
        // Of another context than other proofs, so that none is ever the other.
        let mut hasher =
            blake3::Hasher::new_derive_key("tollgate 2026 request signature credential");
        for part in [tenant.as_str().as_bytes(), b"\0", key_id.as_bytes()] {
            hasher.update(part);
        }
        KeyHash(*hasher.finalize().as_bytes())
    }
}

impl FromText for KeyId {
    const EXPECTED: &'static str = "1 to 256 visible ASCII characters without spaces";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let is_one = (1..=KEY_ID_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_one {
            return Ok(Self(text.into()));
        }
        let problem = format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED);
        Err(Rejected::new("invalid_key_id", problem))
    }
}

impl VerificationKey {
    /// The one algorithm that it is for.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        match self {
            Self::Shared(_) => SigningAlgorithm::HmacSha256,
            Self::Public(key) => key.algorithm,
        }
    }

    /// The Secret that it needs.
    #[must_use]
    pub fn secret(&self) -> Option<&Name> {
        match self {
            Self::Shared(key) => Some(&key.secret),
            Self::Public(_) => None,
        }
    }

    /// Checks a signature of a message. `secret` is the value of [`Self::secret`]. In constant time as
    /// far as a secret goes.
    ///
    /// # Errors
    ///
    /// Why it is not found to be good.
    pub fn verify(
        &self,
        secret: Option<&SecretText>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Unverified> {
        let verified = match self {
            Self::Public(key) => key.parsed.verify_sig(message, signature),
            Self::Shared(key) => {
                let bytes = secret.and_then(|secret| key.bytes(secret).ok());
                let bytes = bytes.ok_or(Unverified::NoSecret)?;
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), message, signature)
            }
        };
        verified.map_err(|_unspecified| Unverified::Wrong)
    }
}

impl SharedKey {
    /// The bytes of the key.
    ///
    /// # Errors
    ///
    /// Why the value of the Secret is not one, in words for the operator.
    pub fn bytes(&self, secret: &SecretText) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        let text = secret.expose().as_bytes();
        let bytes = match self.encoding {
            SecretEncoding::Text => text.to_vec(),
            SecretEncoding::Base64 => STANDARD
                .decode(text.trim_ascii())
                .map_err(|_not_base64| "holds a value that is not base64 (RFC 4648 §4)")?,
        };
        let bytes = Zeroizing::new(bytes);
        if bytes.len() < SECRET_MIN_BYTES {
            return Err("holds a key of fewer than 32 bytes; make a longer one");
        }
        Ok(bytes)
    }
}

impl PublicKey {
    /// A key in PEM, for the algorithm that is named, or else the first that it can be for.
    ///
    /// # Errors
    ///
    /// The field that is wrong, a code, and what to give instead.
    fn parse(
        pem: &str,
        algorithm: Option<SigningAlgorithm>,
    ) -> Result<Self, (&'static str, &'static str, String)> {
        let at = "public_key";
        if pem.contains("PRIVATE KEY-----") {
            let problem = "holds a private key, which is the caller's alone; `openssl pkey -pubout` takes the public key out of it";
            return Err((at, "private_key", problem.to_owned()));
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok();
        let der = der.filter(|_| pem.len() <= PEM_BYTES);
        let keys = SigningAlgorithm::OF_PUBLIC_KEYS.into_iter().filter_map(|algorithm| {
            let parsed = ParsedPublicKey::new(algorithm.verification()?, der.as_deref()?).ok()?;
            Some(Self { algorithm, parsed })
        });
        let mut keys: Vec<Self> = keys.filter(|key| !key.is_short()).collect();
        if keys.is_empty() {
            let problem = "is not a public key in PEM (`-----BEGIN PUBLIC KEY-----`) of RSA with 2,048 bits or more, EC on P-256 or P-384, or Ed25519";
            return Err((at, "invalid_key", problem.to_owned()));
        }
        let place = match algorithm {
            None => Some(0),
            Some(named) => keys.iter().position(|key| key.algorithm == named),
        };
        let Some(place) = place else {
            let known: Vec<String> =
                keys.iter().map(|key| format!("`{}`", key.algorithm.name())).collect();
            let problem = format!("is not what this key is for; give {}", known.join(" or "));
            return Err(("algorithm", "wrong_algorithm", problem));
        };
        Ok(keys.swap_remove(place))
    }

    fn is_short(&self) -> bool {
        let is_rsa = matches!(
            self.algorithm,
            SigningAlgorithm::RsaPssSha512 | SigningAlgorithm::RsaV15Sha256
        );
        is_rsa && self.parsed.as_ref().len() <= SHORT_RSA_BYTES
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({})", self.algorithm.name())
    }
}

/// A key that callers sign their requests with (RFC 9421): `secret` or `public_key`.
#[derive(Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields, rename = "SignatureProof")]
pub(crate) struct Written {
    /// What signatures name the key by (`keyid`): 1 to 256 visible ASCII characters, unique within the tenant.
    key_id: KeyId,
    /// The Secret that both sides have, at least 32 bytes, for `hmac-sha256`.
    #[deserr(default)]
    secret: Option<Name>,
    /// How the Secret stands for the bytes of the key. Default text.
    #[deserr(default)]
    secret_encoding: Option<SecretEncoding>,
    /// A public key in PEM (`-----BEGIN PUBLIC KEY-----`), whose private key the caller alone has.
    #[deserr(default)]
    public_key: Option<String>,
    /// How callers sign with it. Default by the key: `hmac-sha256`, `rsa-pss-sha512`, `ecdsa-p256-sha256`,
    /// `ecdsa-p384-sha384` or `ed25519`; `rsa-v1_5-sha256` where it is named.
    #[deserr(default)]
    algorithm: Option<SigningAlgorithm>,
}

impl Written {
    fn key(&self, at: &str, issues: &mut Issues) -> Option<VerificationKey> {
        match (&self.secret, &self.public_key) {
            (None, None) => {
                let problem = "`secret` is missing; name a Secret, or give a `public_key`";
                issues.add(at, "missing_field", problem);
                None
            }
            (Some(_), Some(_)) => {
                let problem = "give `secret` or `public_key`: whoever knows a public key must not be able to use it as a secret";
                issues.add(format!("{at}/public_key"), "conflicting_fields", problem);
                None
            }
            (Some(secret), None) => {
                if self.algorithm.is_some_and(|named| named != SigningAlgorithm::HmacSha256) {
                    let problem = "is for public keys, and the key is a `secret`; take it out";
                    issues.add(format!("{at}/algorithm"), "wrong_algorithm", problem);
                }
                let encoding = self.secret_encoding.unwrap_or_default();
                Some(VerificationKey::Shared(SharedKey { secret: secret.clone(), encoding }))
            }
            (None, Some(pem)) => {
                if self.secret_encoding.is_some() {
                    let problem = "is about a `secret`; take it out";
                    issues.add(format!("{at}/secret_encoding"), "conflicting_fields", problem);
                }
                match PublicKey::parse(pem, self.algorithm) {
                    Ok(key) => Some(VerificationKey::Public(key)),
                    Err((field, code, problem)) => {
                        issues.add(format!("{at}/{field}"), code, problem);
                        None
                    }
                }
            }
        }
    }
}

impl Deserr<Issues> for SignatureProof {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let written = Written::deserialize_from_value(value, location)?;
        let mut issues = Issues::default();
        let key = written.key(&crate::issue::pointer(location), &mut issues);
        // Without a key there is an issue that says so.
        let Some(key) = key else { return Err(issues) };
        issues.into_result(Self { key_id: written.key_id, key: Arc::new(key) })
    }
}

deserr_text!(KeyId);
text_schema!(KeyId, "KeyId", "1 to 256 visible ASCII characters without spaces.");
