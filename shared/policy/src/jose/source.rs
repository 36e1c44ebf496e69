//! Where keys are that are elsewhere.

use std::time::Duration;

use tollgate_model::provider::{ProviderUrl, UrlFault};

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

impl KeySource {
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
        if named == Named::Issuer && url.contains('?') {
            return Err(UrlFault::NotOne);
        }
        ProviderUrl::new(url)?.check(allow_private)?;
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
