//! Fetches a set of keys, and says how long it is fresh.

use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tollgate_policy::jose::{KeySet, KeySetError, KeySource, Named};

use crate::provider::{self, AskError, Providers};

const MAX_BYTES: usize = 256 << 10;
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(86_400);

/// Fetches sets of keys.
pub(super) struct Fetcher {
    /// How long an answer is fresh at least.
    shortest: Duration,
    providers: Providers,
}

/// A set, and how long it is fresh.
pub(super) struct Fetched {
    pub(super) set: KeySet,
    pub(super) fresh_for: Duration,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// There is no answer of use.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The answer is no configuration of an issuer.
    #[error("read the issuer's configuration")]
    Configuration,
    /// It is another issuer's.
    #[error("the configuration is of the issuer {0:?}")]
    OtherIssuer(String),
    /// The answer is no set of keys.
    #[error("read the answer")]
    Keys(#[from] KeySetError),
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::with_shortest(SHORTEST)
    }
}

impl Fetcher {
    /// One that asks more often than others, where it is told to.
    pub(super) fn with_shortest(shortest: Duration) -> Self {
        Self { shortest, providers: Providers::default() }
    }

    pub(super) async fn fetch(&self, source: &KeySource) -> Result<Fetched, FetchError> {
        let (document, fresh_for) = match source.named {
            Named::KeySet => self.get(source, &source.url).await?,
            Named::Issuer => {
                let url = self.find_keys_of(source).await?;
                self.get(source, &url).await?
            }
        };
        Ok(Fetched { set: KeySet::from_jwks(&document)?, fresh_for })
    }

    /// Where the keys of an issuer are.
    async fn find_keys_of(&self, source: &KeySource) -> Result<String, FetchError> {
        #[derive(Deserialize)]
        struct Configuration {
            issuer: String,
            jwks_uri: String,
        }
        let url = format!("{}/.well-known/openid-configuration", source.url.trim_end_matches('/'));
        let (document, _) = self.get(source, &url).await?;
        let configuration: Configuration =
            serde_json::from_slice(&document).map_err(|_not_one| FetchError::Configuration)?;
        // OpenID Connect Discovery 1.0 §4.3: else one issuer could speak for another.
        if configuration.issuer != *source.url {
            return Err(FetchError::OtherIssuer(configuration.issuer));
        }
        Ok(configuration.jwks_uri)
    }

    async fn get(&self, source: &KeySource, url: &str) -> Result<(Vec<u8>, Duration), FetchError> {
        let question = self.providers.question(Method::GET, url, source.allow_private)?;
        let question = question.header(ACCEPT, "application/jwk-set+json, application/json");
        let response = provider::ask(question).await?;
        if response.status() != StatusCode::OK {
            return Err(AskError::Status(response.status()).into());
        }
        let said = fresh_for(response.headers()).unwrap_or(source.cache);
        let fresh_for = said.clamp(self.shortest, LONGEST);
        Ok((provider::read(response, MAX_BYTES).await?, fresh_for))
    }
}

/// How long an answer says that it is fresh (RFC 9111 §5.2.2).
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase());
    let mut said = None;
    for directive in directives {
        if matches!(directive.as_str(), "no-store" | "no-cache") {
            return Some(Duration::ZERO);
        }
        let seconds = directive.strip_prefix("max-age=").map(|text| text.trim_matches('"').parse());
        if let Some(Ok(seconds)) = seconds {
            said = Some(Duration::from_secs(seconds));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (CACHE_CONTROL, value.parse().unwrap())).collect()
    }

    #[test]
    fn an_answer_is_fresh_as_long_as_it_says() {
        for (values, seconds) in [
            (&[][..], None),
            (&["max-age=60"], Some(60)),
            (&["public, Max-Age=3600, must-revalidate"], Some(3600)),
            (&["public", "max-age=\"60\""], Some(60)),
            (&["max-age=99999999999"], Some(99_999_999_999)),
            (&["max-age=x"], None),
            (&["max-age=-1"], None),
            (&["no-store, max-age=60"], Some(0)),
            (&["max-age=60", "no-cache"], Some(0)),
        ] {
            let said = fresh_for(&headers(values));
            assert_eq!(said.map(|said| said.as_secs()), seconds, "{values:?}");
        }
    }

    #[tokio::test]
    async fn an_address_inside_is_not_asked() {
        let (cache, wait) = (Duration::from_secs(60), Duration::from_secs(1));
        let source = |url: &str| KeySource::new(Named::KeySet, url, cache, wait, false).unwrap();
        let fetched = Fetcher::default().fetch(&source("https://0x7f.1/keys")).await;
        assert!(matches!(fetched.err(), Some(FetchError::Ask(AskError::Private(_)))));
    }
}
