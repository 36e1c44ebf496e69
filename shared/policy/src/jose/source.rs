//! Where keys are that are elsewhere.

use std::net::IpAddr;
use std::time::Duration;

use http::Uri;

use crate::address::is_public;

/// A JSON Web Key Set behind a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// What the URL names.
    pub named: Named,
    /// Where.
    pub url: Box<str>,
    /// How long an answer is fresh that does not say so itself.
    pub cache: Duration,
    /// How long a call may wait for keys.
    pub wait: Duration,
    /// Whether it may be in a private network, and be spoken to without TLS.
    pub allow_private: bool,
    id: u128,
}

/// What the URL of a source names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The set itself.
    KeySet,
    /// The issuer, whose configuration says where the set is (its `openid-configuration`).
    Issuer,
}

/// Why a URL is not one that keys are fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Not an absolute URL of `https` or `http`, or with a user or a fragment in it; an issuer also with a query.
    #[error("is not a URL such as https://id.shop.test/.well-known/jwks.json")]
    NotOne,
    /// `http` where private addresses are not allowed.
    #[error(
        "is without TLS, so that anybody on the way could put in keys of their own; use https, or set `allow_private` for a network that you trust"
    )]
    Insecure,
    /// An address that is not public where private ones are not allowed.
    #[error("is an address of a private network; set `allow_private` to fetch keys from there")]
    Private,
}

impl KeySource {
    /// The most bytes that a URL may have.
    const MAX_URL_BYTES: usize = 2048;

    /// A source with its bounds.
    ///
    /// # Errors
    ///
    /// Why keys are not fetched from there.
    pub fn new(
        named: Named,
        url: &str,
        cache: Duration,
        wait: Duration,
        allow_private: bool,
    ) -> Result<Self, UrlFault> {
        let uri: Uri = url.parse().map_err(|_not_one| UrlFault::NotOne)?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(UrlFault::NotOne);
        };
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let is_known = matches!(scheme, "https" | "http");
        let has_more = url.contains('#') || (named == Named::Issuer && url.contains('?'));
        if !is_known || has_user || has_more || host.is_empty() || url.len() > Self::MAX_URL_BYTES {
            return Err(UrlFault::NotOne);
        }
        if !allow_private {
            if scheme != "https" {
                return Err(UrlFault::Insecure);
            }
            // What only DNS shows is refused when it is fetched.
            let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            if literal.is_ok_and(|address| !is_public(address)) {
                return Err(UrlFault::Private);
            }
        }
        let mut id = [0; 16];
        blake3::Hasher::new()
            .update(&[u8::from(allow_private), u8::from(named == Named::Issuer)])
            .update(&cache.as_millis().to_le_bytes())
            .update(url.as_bytes())
            .finalize_xof()
            .fill(&mut id);
        let id = u128::from_le_bytes(id);
        Ok(Self { named, url: url.into(), cache, wait, allow_private, id })
    }

    /// The URL as it may be logged: without its query, which may hold a secret.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }

    /// The same for sources that are fetched in the same way, and for no other.
    #[must_use]
    pub fn id(&self) -> u128 {
        self.id
    }
}
