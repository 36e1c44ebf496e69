//! What an application proves itself with.

use std::fmt;

use deserr::Deserr;
use schemars::JsonSchema;

use crate::id::Name;
use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::password::Basic;
use crate::secret::SecretText;

/// A credential of an application: `api_key` or `basic`. One call names one credential.
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
    /// From when on it is refused; none: never.
    #[deserr(default)]
    pub expires_at: Option<Instant>,
    /// Whether it is refused without being taken away.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub disabled: bool,
}

impl Credential {
    /// The keyed hash of its API key; none where it has no key, or one that is not hashed yet.
    #[must_use]
    pub fn key_hash(&self) -> Option<KeyHash> {
        self.api_key.as_ref().and_then(|key| key.hash)
    }
}

fn one_proof(
    credential: Credential,
    location: deserr::ValuePointerRef<'_>,
) -> Result<Credential, Issues> {
    let at = crate::issue::pointer(location);
    let mut issues = Issues::default();
    match (&credential.api_key, &credential.basic) {
        (Some(_), None) | (None, Some(_)) => {}
        (None, None) => {
            issues.add(at, "missing_field", "`api_key` is missing; add it, or `basic`");
        }
        (Some(_), Some(_)) => issues.add(
            format!("{at}/basic"),
            "two_proofs",
            "a credential is `api_key` or `basic`; write two credentials",
        ),
    }
    issues.into_result(credential)
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

deserr_text!(KeyHash, Instant);
text_schema!(KeyHash, "KeyHash", "64 hexadecimal digits.");
text_schema!(Instant, "Moment", "RFC 3339, such as 2027-01-31T00:00:00Z.");
