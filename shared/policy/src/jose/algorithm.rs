//! The algorithms that tokens are signed with. `none` is not among them, and nothing makes it so.

use aws_lc_rs::signature::{self, VerificationAlgorithm};
use aws_lc_rs::{constant_time, hmac};
use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tollgate_model::issue::nearest;
use tollgate_model::parse::{self, Rejected};
use tollgate_model::{FromText, Issues};

/// How a token is signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// HMAC with SHA-256 and a secret.
    Hs256,
    /// HMAC with SHA-384 and a secret.
    Hs384,
    /// HMAC with SHA-512 and a secret.
    Hs512,
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// RSA, PKCS #1 v1.5, SHA-384.
    Rs384,
    /// RSA, PKCS #1 v1.5, SHA-512.
    Rs512,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// RSA, PSS, SHA-384.
    Ps384,
    /// RSA, PSS, SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
}

const NAMES: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "ES512", "EdDSA",
];

impl Algorithm {
    /// Those that check with a secret.
    pub const SYMMETRIC: [Self; 3] = [Self::Hs256, Self::Hs384, Self::Hs512];
    /// Those that check with a public RSA key.
    pub const RSA: [Self; 6] =
        [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Ps384, Self::Ps512];
    /// Those that check with a public key.
    pub const ASYMMETRIC: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// By its name in a header or a key. RFC 9864 gives `EdDSA` with Ed25519 a name of its own.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    /// Whether it checks with the secret that it signs with.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        self.mac().is_some()
    }

    /// How a public key checks it; none for those of a secret.
    pub(super) fn verification(self) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => return None,
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
            Self::EdDsa => &signature::ED25519,
        })
    }

    fn mac(self) -> Option<hmac::Algorithm> {
        match self {
            Self::Hs256 => Some(hmac::HMAC_SHA256),
            Self::Hs384 => Some(hmac::HMAC_SHA384),
            Self::Hs512 => Some(hmac::HMAC_SHA512),
            Self::Rs256
            | Self::Rs384
            | Self::Rs512
            | Self::Ps256
            | Self::Ps384
            | Self::Ps512
            | Self::Es256
            | Self::Es384
            | Self::Es512
            | Self::EdDsa => None,
        }
    }

    /// How many bytes a secret must have (RFC 7518 §3.2): as many as the hash's output; none for algorithms of
    /// public keys.
    #[must_use]
    pub fn least_secret_bytes(self) -> Option<usize> {
        self.mac().map(|mac| mac.digest_algorithm().output_len())
    }

    /// Whether a secret is as long as it must be.
    #[must_use]
    pub fn takes_secret(self, secret: &[u8]) -> bool {
        self.least_secret_bytes().is_some_and(|least| secret.len() >= least)
    }

    /// Whether `code` is the authentication code of `message` under a secret; never for an
    /// algorithm of public keys, whatever the secret is. In constant time.
    #[must_use]
    pub fn verify_mac(self, secret: &[u8], message: &[u8], code: &[u8]) -> bool {
        let Some(mac) = self.mac() else { return false };
        let made = hmac::sign(&hmac::Key::new(mac, secret), message);
        constant_time::verify_slices_are_equal(made.as_ref(), code).is_ok()
    }
}

impl FromText for Algorithm {
    const EXPECTED: &'static str = "the name of an algorithm such as RS256";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        if text.eq_ignore_ascii_case("none") {
            return Err(Rejected::new(
                "unsafe_algorithm",
                "`none` signs nothing and is never accepted; name how tokens are signed",
            ));
        }
        Self::of_name(text).ok_or_else(|| {
            Rejected::new(
                "unknown_value",
                format!(
                    "`{}` is not an algorithm here; {}",
                    text.escape_debug(),
                    nearest(text, &NAMES)
                ),
            )
        })
    }
}

impl Deserr<Issues> for Algorithm {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        parse::text(value, location)
    }
}

impl JsonSchema for Algorithm {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SignatureAlgorithm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": NAMES })
    }
}
