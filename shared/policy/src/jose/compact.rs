//! A token in the compact form (RFC 7515 §7.1), taken apart. What is read here is not yet believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The longest token that is read.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;

/// Why something is not a signed token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is too long")]
    TooLong,
    /// Not three parts, or one of them is not what it must be. An encrypted token has five.
    #[error("this is not a signed token")]
    NotOne,
    /// It demands that something be understood that is not (RFC 7515 §4.1.11).
    #[error("the token needs an extension that is not supported")]
    Critical,
}

/// What of a token's header is read; the rest is not even looked at: `jku`, `jwk`, `x5u` and `x5c` name
/// keys that the token's maker chose.
#[derive(Debug, Deserialize)]
pub struct Header {
    /// How it says that it is signed.
    pub alg: String,
    /// Which key it says that it is signed with.
    #[serde(default)]
    pub kid: Option<String>,
    /// What it says that it is.
    #[serde(default)]
    pub typ: Option<String>,
    #[serde(default, rename = "crit", deserialize_with = "is_there")]
    has_crit: bool,
}

/// Also where it is null.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_ignored| true)
}

/// A token in its parts.
#[derive(Debug)]
pub struct Compact<'a> {
    /// Its header.
    pub header: Header,
    /// What is signed: the first two parts as they came.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
    payload: &'a [u8],
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    ///
    /// Why it is not a token that can be checked.
    pub fn parse(token: &'a [u8]) -> Result<Self, Malformed> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Malformed::TooLong);
        }
        let mut dots = (0..).zip(token).filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(Malformed::NotOne);
        };
        let part = |from: usize, to: usize| token.get(from..to).ok_or(Malformed::NotOne);
        let header = decode(part(0, first)?)?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|_not_a_header| Malformed::NotOne)?;
        if header.has_crit {
            return Err(Malformed::Critical);
        }
        let signature = decode(part(second + 1, token.len())?)?;
        if signature.is_empty() {
            return Err(Malformed::NotOne);
        }
        Ok(Self { header, signed: part(0, second)?, signature, payload: part(first + 1, second)? })
    }

    /// The claims; to be asked for once the signature is verified.
    ///
    /// # Errors
    ///
    /// Where the payload is not a JSON object.
    pub fn claims(&self) -> Result<Map<String, Value>, Malformed> {
        serde_json::from_slice(&decode(self.payload)?).map_err(|_not_an_object| Malformed::NotOne)
    }
}

/// Without padding, and without bits that mean nothing: a token has one spelling.
fn decode(part: &[u8]) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_not_base64url| Malformed::NotOne)
}
