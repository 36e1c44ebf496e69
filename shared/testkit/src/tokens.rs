//! Signs tokens, as an identity provider would.

use anyhow::{Context as _, anyhow};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key that signs tokens.
pub struct Signer {
    /// Its name in headers and key sets.
    pub id: String,
    key: Key,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Signer {
    /// A new RSA key of 2,048 bits; signs with RS256.
    ///
    /// # Errors
    ///
    /// Where none can be made.
    pub fn rsa(id: &str) -> anyhow::Result<Self> {
        let key = RsaKeyPair::generate(rsa::KeySize::Rsa2048).context("make an RSA key")?;
        Ok(Self { id: id.to_owned(), key: Key::Rsa(Box::new(key)) })
    }

    /// A new key on P-256; signs with ES256.
    ///
    /// # Errors
    ///
    /// Where none can be made.
    pub fn p256(id: &str) -> anyhow::Result<Self> {
        let key = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)
            .context("make a key on P-256")?;
        Ok(Self { id: id.to_owned(), key: Key::P256(Box::new(key)) })
    }

    /// A new Ed25519 key; signs with `EdDSA`.
    ///
    /// # Errors
    ///
    /// Where none can be made.
    pub fn ed25519(id: &str) -> anyhow::Result<Self> {
        let key = Ed25519KeyPair::generate().context("make an Ed25519 key")?;
        Ok(Self { id: id.to_owned(), key: Key::Ed25519(Box::new(key)) })
    }

    /// A token with these claims, of the key's own algorithm and under its name.
    ///
    /// # Errors
    ///
    /// Where it cannot be signed.
    pub fn token(&self, claims: &Value) -> anyhow::Result<String> {
        self.token_with(&json!({ "alg": self.algorithm(), "kid": self.id, "typ": "JWT" }), claims)
    }

    /// A token with this header, signed as its `alg` says where the key can do that, else with the key's own.
    ///
    /// # Errors
    ///
    /// Where it cannot be signed.
    pub fn token_with(&self, header: &Value, claims: &Value) -> anyhow::Result<String> {
        let signed = format!("{}.{}", part(header), part(claims));
        let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let signature = self.sign(algorithm, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The signature of a message, by the algorithm of JOSE's registry where the key can do that, else by the
    /// key's own.
    ///
    /// # Errors
    ///
    /// Where it cannot be signed.
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let random = SystemRandom::new();
        Ok(match &self.key {
            Key::Rsa(key) => {
                let encoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut made = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut made).context("sign with RSA")?;
                made
            }
            Key::P256(key) => {
                key.sign(&random, message).context("sign with P-256")?.as_ref().to_vec()
            }
            Key::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        })
    }

    fn algorithm(&self) -> &'static str {
        match self.key {
            Key::Rsa(_) => "RS256",
            Key::P256(_) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        }
    }

    /// Its public half, as it stands in a key set.
    ///
    /// # Errors
    ///
    /// Where the key is not laid out as it must be.
    pub fn jwk(&self) -> anyhow::Result<Value> {
        let text = |bytes: Option<&[u8]>| {
            bytes.map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).ok_or_else(|| anyhow!("a short key"))
        };
        Ok(match &self.key {
            Key::Rsa(key) => {
                // RFC 8017 §A.1.1: a sequence of two integers; the exponent is 65,537.
                let der = key.public_key().as_ref();
                let n = text(der.get(9..9 + 256))?;
                json!({ "kty": "RSA", "kid": self.id, "use": "sig", "n": n, "e": "AQAB" })
            }
            Key::P256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (text(point.get(1..33))?, text(point.get(33..65))?);
                json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "x": x, "y": y })
            }
            Key::Ed25519(key) => {
                let x = text(Some(key.public_key().as_ref()))?;
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": x })
            }
        })
    }

    /// Its public half, in PEM.
    ///
    /// # Errors
    ///
    /// Where the key cannot be written.
    pub fn pem(&self) -> anyhow::Result<String> {
        let der = match &self.key {
            Key::Rsa(key) => key.public_key().as_der(),
            Key::P256(key) => key.public_key().as_der(),
            Key::Ed25519(key) => key.public_key().as_der(),
        };
        let text = STANDARD.encode(der.context("write a public key")?.as_ref());
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"))
    }
}

/// The set of some keys.
///
/// # Errors
///
/// Where a key is not laid out as it must be.
pub fn key_set(signers: &[&Signer]) -> anyhow::Result<Value> {
    let keys: anyhow::Result<Vec<Value>> = signers.iter().map(|signer| signer.jwk()).collect();
    Ok(json!({ "keys": keys? }))
}

/// A token that is signed with a secret, by HS256.
#[must_use]
pub fn signed_with_secret(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(code_of(secret, signed.as_bytes())))
}

/// The authentication code of a message: HMAC with SHA-256.
#[must_use]
pub fn code_of(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

/// A part of a token: JSON in base64url.
#[must_use]
pub fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
