//! Public keys, parsed once for each algorithm that they can check.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::ParsedPublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::compact::Compact;

/// The most keys that one set may have.
pub const MAX_KEYS: usize = 100;
/// How many keys a token is tried with: all that fit may be many, and each costs time.
const MAX_TRIED: usize = 8;
/// RSA from 2,048 to 8,192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Which state of a set of keys: the same where the keys are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation([u8; 16]);

impl Generation {
    /// Of what the keys are made from.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut short = [0; 16];
        blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut short);
        Self(short)
    }
}

/// Keys that tokens are checked with.
pub struct KeySet {
    keys: Box<[PublicKey]>,
    generation: Generation,
}

struct PublicKey {
    id: Option<Box<str>>,
    /// One for each algorithm that the key may be used with.
    verifiers: Box<[(Algorithm, ParsedPublicKey)]>,
}

/// Why there are no keys in something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not a JSON object with a list `keys`.
    #[error("this is not a JSON Web Key Set")]
    NotASet,
    /// More than [`MAX_KEYS`].
    #[error("the set has more than {MAX_KEYS} keys")]
    TooMany,
    /// Not one that can check a signature.
    #[error("no key of the set can check a signature")]
    NoneUsable,
}

/// Why no key has verified a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// The key that it names is here, and did not sign it.
    BadSignature,
    /// No key here has signed it; there may be a newer one.
    UnknownKey,
}

/// A key as JSON (RFC 7517 §4).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// The keys of a JSON Web Key Set that can check signatures. Others are passed over, as RFC 7517 §5
    /// says; a secret in it is never used, so that nobody signs with what is published.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn from_jwks(document: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(document).map_err(|_not_one| KeySetError::NotASet)?;
        Self::from_keys(&set.keys, Generation::of(document))
    }

    /// The same for keys that are parsed already.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn from_keys(keys: &[Value], generation: Generation) -> Result<Self, KeySetError> {
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let keys: Box<[PublicKey]> = keys.iter().filter_map(PublicKey::from_jwk).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoneUsable);
        }
        Ok(Self { keys, generation })
    }

    /// Keys in PEM, one a text; they have no ids.
    ///
    /// # Errors
    ///
    /// The place of each that is not a public key.
    pub fn from_pem(texts: &[String]) -> Result<Self, Vec<usize>> {
        let (mut keys, mut faults) = (Vec::with_capacity(texts.len()), Vec::new());
        for (at, text) in texts.iter().enumerate() {
            match PublicKey::from_pem(text) {
                Some(key) => keys.push(key),
                None => faults.push(at),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let generation = Generation::of(texts.concat().as_bytes());
        Ok(Self { keys: keys.into_boxed_slice(), generation })
    }

    /// Which state it is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Checks a token's signature by an algorithm that the caller has admitted.
    ///
    /// # Errors
    ///
    /// Why no key has verified it.
    pub fn verify(&self, algorithm: Algorithm, token: &Compact<'_>) -> Result<(), Unverified> {
        let id = token.header.kid.as_deref();
        let is_known = id.is_some() && self.keys.iter().any(|key| key.id.as_deref() == id);
        // A token that names a key which is not here may be signed by one that has no name; one that
        // names none, by any.
        let is_candidate = |key: &&PublicKey| match (&key.id, id) {
            (Some(of), Some(id)) => **of == *id,
            (None, Some(_)) => !is_known,
            (_, None) => true,
        };
        let verifiers =
            self.keys.iter().filter(is_candidate).filter_map(|key| key.verifier(algorithm));
        let verifies =
            |key: &ParsedPublicKey| key.verify_sig(token.signed, &token.signature).is_ok();
        match verifiers.take(MAX_TRIED).any(verifies) {
            true => Ok(()),
            false if is_known => Err(Unverified::BadSignature),
            false => Err(Unverified::UnknownKey),
        }
    }
}

impl PublicKey {
    fn verifier(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.verifiers.iter().find(|(of, _)| *of == algorithm).map(|(_, verifier)| verifier)
    }

    fn from_jwk(key: &Value) -> Option<Self> {
        let key = Jwk::deserialize(key).ok()?;
        let is_for_signatures = key.r#use.as_deref().is_none_or(|usage| usage == "sig")
            && key.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        if !is_for_signatures {
            return None;
        }
        let (bytes, mut algorithms) = match (key.kty.as_str(), key.crv.as_deref()) {
            ("RSA", _) => (key.rsa()?, Algorithm::RSA.to_vec()),
            ("EC", Some("P-256")) => (key.point(32)?, vec![Algorithm::Es256]),
            ("EC", Some("P-384")) => (key.point(48)?, vec![Algorithm::Es384]),
            ("EC", Some("P-521")) => (key.point(66)?, vec![Algorithm::Es512]),
            ("OKP", Some("Ed25519")) => (number(key.x.as_deref(), 32)?, vec![Algorithm::EdDsa]),
            _ => return None,
        };
        if let Some(alg) = &key.alg {
            // RFC 8725 §3.1: a key that says what it is for is for nothing else.
            let pinned = Algorithm::of_name(alg)?;
            algorithms.retain(|algorithm| *algorithm == pinned);
        }
        Self::parse(key.kid.map(String::into_boxed_str), &bytes, &algorithms)
    }

    fn from_pem(text: &str) -> Option<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).ok()?;
        let key = Self::parse(None, &der, &Algorithm::ASYMMETRIC)?;
        // The modulus is the most of it; a shorter one would be refused at every token.
        let is_short = key.verifier(Algorithm::Rs256).is_some() && der.len() <= *RSA_BYTES.start();
        (!is_short).then_some(key)
    }

    /// With those of the algorithms that the key is one for; none where there is none.
    fn parse(id: Option<Box<str>>, bytes: &[u8], algorithms: &[Algorithm]) -> Option<Self> {
        let verifier = |algorithm: &Algorithm| {
            let verifier = ParsedPublicKey::new(algorithm.verification()?, bytes).ok()?;
            Some((*algorithm, verifier))
        };
        let verifiers: Box<[_]> = algorithms.iter().filter_map(verifier).collect();
        (!verifiers.is_empty()).then_some(Self { id, verifiers })
    }
}

impl Jwk {
    fn rsa(&self) -> Option<Vec<u8>> {
        let positive = |text: Option<&str>| {
            let bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            Some(bytes.get(zeros..)?.to_vec())
        };
        let (n, e) = (positive(self.n.as_deref())?, positive(self.e.as_deref())?);
        if !RSA_BYTES.contains(&n.len()) {
            return None;
        }
        Some(PublicKeyComponents { n, e }.as_der().ok()?.as_ref().to_vec())
    }

    /// An uncompressed point (SEC 1 §2.3.3); whether it is on the curve shows when it is parsed.
    fn point(&self, length: usize) -> Option<Vec<u8>> {
        let (x, y) = (number(self.x.as_deref(), length)?, number(self.y.as_deref(), length)?);
        Some([&[4], x.as_slice(), y.as_slice()].concat())
    }
}

/// Bytes of exactly this length (RFC 7518 §6.2.1.2, RFC 8037 §2).
fn number(text: Option<&str>, length: usize) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok().filter(|bytes| bytes.len() == length)
}
