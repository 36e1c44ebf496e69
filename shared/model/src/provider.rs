//! Where providers are asked, such as those of keys and of tokens: by a URL that may lead inside only where that is
//! allowed.

use std::net::IpAddr;

use http::Uri;

use crate::address::is_public;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};

/// An absolute URL of `https` or `http`, without a user and a fragment, of at most 2048 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderUrl(Box<str>);

/// Why a URL is not one that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Not an absolute URL of `https` or `http`, or with a user or a fragment in it.
    #[error("is not a URL such as https://id.shop.test/.well-known/jwks.json")]
    NotOne,
    /// `http` where private addresses are not allowed.
    #[error(
        "is without TLS, so that anybody on the way could answer in its place; use https, or set `allow_private` for a network that you trust"
    )]
    Insecure,
    /// An address that is not public where private ones are not allowed.
    #[error("is an address of a private network; set `allow_private` to ask there")]
    Private,
}

impl ProviderUrl {
    const MAX_BYTES: usize = 2048;

    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// Where it is not one.
    pub fn new(text: &str) -> Result<Self, UrlFault> {
        let uri: Uri = text.parse().map_err(|_not_one| UrlFault::NotOne)?;
        let host = uri.host().unwrap_or_default();
        let is_known = matches!(uri.scheme_str(), Some("https" | "http"));
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if host.is_empty()
            || !is_known
            || has_user
            || text.contains('#')
            || text.len() > Self::MAX_BYTES
        {
            return Err(UrlFault::NotOne);
        }
        Ok(Self(text.into()))
    }

    /// Whether it may be asked at all. What only DNS shows is refused when it is asked.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub fn check(&self, allow_private: bool) -> Result<(), UrlFault> {
        let Ok(uri) = self.0.parse::<Uri>() else { return Err(UrlFault::NotOne) };
        if allow_private {
            return Ok(());
        }
        if uri.scheme_str() != Some("https") {
            return Err(UrlFault::Insecure);
        }
        let host = uri.host().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if literal.is_ok_and(|address| !is_public(address)) {
            return Err(UrlFault::Private);
        }
        Ok(())
    }

    /// The whole URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromText for ProviderUrl {
    const EXPECTED: &'static str = "a URL such as https://id.shop.test/token";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        // Not shown, for it may hold a password.
        Self::new(text).map_err(|_not_one| {
            let problem = format!("is not {}, without a user and a fragment", Self::EXPECTED);
            Rejected::new("invalid_url", problem)
        })
    }
}

deserr_text!(ProviderUrl);
text_schema!(ProviderUrl, "ProviderUrl", "A URL such as https://id.shop.test/token.");
