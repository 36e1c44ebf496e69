//! Fetches a set of keys: bounded in time and size, without redirects, and only from where it may.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::{Client, StatusCode, Url, redirect};
use serde::Deserialize;
use tollgate_policy::address::is_public;
use tollgate_policy::jose::{KeySet, KeySetError, KeySource, Named};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(10);
const MAX_BYTES: usize = 256 << 10;
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(86_400);

/// Fetches sets of keys.
pub(super) struct Fetcher {
    /// How long an answer is fresh at least.
    shortest: Duration,
    public: OnceLock<Client>,
    private: OnceLock<Client>,
    plain: OnceLock<Client>,
}

/// A set, and how long it is fresh.
pub(super) struct Fetched {
    pub(super) set: KeySet,
    pub(super) fresh_for: Duration,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The URL is not one.
    #[error("read the URL")]
    Url,
    /// The URL names an address that is not public.
    #[error("the address {0} is not public; `allow_private` would allow it")]
    Private(IpAddr),
    /// No answer, or it broke off.
    #[error("ask the provider")]
    Transport(#[from] reqwest::Error),
    /// Another answer than 200.
    #[error("the provider answered {0}")]
    Status(StatusCode),
    /// The answer is too long.
    #[error("the answer is longer than {MAX_BYTES} bytes")]
    TooLong,
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
        let (public, private, plain) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { shortest, public, private, plain }
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
        let url: Url = url.parse().map_err(|_not_one| FetchError::Url)?;
        let literal =
            url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if !source.allow_private
            && let Ok(address) = literal.parse::<IpAddr>()
            && !is_public(address)
        {
            return Err(FetchError::Private(address));
        }
        let client = self.client(source, url.scheme() == "https")?;
        let request = client.get(url).header(ACCEPT, "application/jwk-set+json, application/json");
        let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let said = fresh_for(response.headers()).unwrap_or(source.cache);
        let fresh_for = said.clamp(self.shortest, LONGEST);
        let mut document = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            if document.len() + piece.len() > MAX_BYTES {
                return Err(FetchError::TooLong);
            }
            document.extend_from_slice(&piece);
        }
        Ok((document, fresh_for))
    }

    fn client(&self, source: &KeySource, is_https: bool) -> Result<&Client, reqwest::Error> {
        let cell = match (source.allow_private, is_https) {
            (false, _) => &self.public,
            (true, true) => &self.private,
            (true, false) => &self.plain,
        };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(LIMIT)
            // A redirect, and a proxy, would lead to where nobody has looked.
            .redirect(redirect::Policy::none())
            .no_proxy()
            // Each time anew: the provider may have moved.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")));
        if !source.allow_private {
            builder = builder.https_only(true).dns_resolver(PublicOnly);
        } else if !is_https {
            // The system's certificates are not needed then, and a small image may have none.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build()?;
        Ok(cell.get_or_init(|| client))
    }
}

/// Finds addresses that are public. They are what is then connected to, so that a name which changes between
/// the look and the connection (DNS rebinding) gains nothing.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(
                    "the name has no public address; `allow_private` would allow others".into()
                );
            }
            let public: Addrs = Box::new(public.into_iter());
            Ok(public)
        })
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
    async fn a_name_that_leads_inside_has_no_address() {
        let found = PublicOnly.resolve("localhost".parse().unwrap()).await;
        assert!(found.is_err());
    }

    #[tokio::test]
    async fn an_address_inside_is_refused_in_every_spelling() {
        let (cache, wait) = (Duration::from_secs(60), Duration::from_secs(1));
        let source = |url: &str| KeySource::new(Named::KeySet, url, cache, wait, false).unwrap();
        // Spellings that only the parser of URLs knows as addresses.
        for host in ["0x7f.1", "2130706433", "127.1", "0177.0.0.1"] {
            let error =
                Fetcher::default().fetch(&source(&format!("https://{host}/keys"))).await.err();
            assert!(matches!(error, Some(FetchError::Private(_))), "{host}: {error:?}");
        }
        match Fetcher::default().fetch(&source("https://localhost:1/keys")).await.err() {
            Some(FetchError::Transport(error)) => assert!(error.is_connect(), "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
}
