//! Identity providers, asked by URL: bounded in time and size, without redirects, and only where they may be.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, redirect};
use tollgate_model::address::is_public;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// From the question to the last byte of the answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks providers.
#[derive(Default)]
pub(crate) struct Providers {
    public: OnceLock<Client>,
    private: OnceLock<Client>,
    plain: OnceLock<Client>,
}

/// Why a provider has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
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
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl Providers {
    /// A question, not sent yet. `allow_private`: the URL may lead into a private network, and be without TLS.
    pub(crate) fn question(
        &self,
        method: Method,
        url: &str,
        allow_private: bool,
    ) -> Result<RequestBuilder, AskError> {
        let url: Url = url.parse().map_err(|_not_one| AskError::Url)?;
        let literal =
            url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if !allow_private
            && let Ok(address) = literal.parse::<IpAddr>()
            && !is_public(address)
        {
            return Err(AskError::Private(address));
        }
        let client = self.client(allow_private, url.scheme() == "https")?;
        Ok(client.request(method, url))
    }

    fn client(&self, allow_private: bool, is_https: bool) -> Result<&Client, reqwest::Error> {
        let cell = match (allow_private, is_https) {
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
        if !allow_private {
            builder = builder.https_only(true).dns_resolver(PublicOnly);
        } else if !is_https {
            // The system's certificates are not needed then, and a small image may have none.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build()?;
        Ok(cell.get_or_init(|| client))
    }
}

/// Sends a question. The URL, which may hold a secret, is in no error.
pub(crate) async fn ask(question: RequestBuilder) -> Result<Response, AskError> {
    Ok(question.send().await.map_err(reqwest::Error::without_url)?)
}

/// The whole body of an answer, where it has no more bytes than that.
pub(crate) async fn read(mut answer: Response, most_bytes: usize) -> Result<Vec<u8>, AskError> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if piece.len() > most_bytes - body.len() {
            return Err(AskError::TooLong(most_bytes));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_inside_has_no_address() {
        let found = PublicOnly.resolve("localhost".parse().unwrap()).await;
        assert!(found.is_err());
    }

    #[tokio::test]
    async fn an_address_inside_is_refused_in_every_spelling() {
        let providers = Providers::default();
        let question = |url: &str| providers.question(Method::POST, url, false);
        // Spellings that only the parser of URLs knows as addresses.
        for host in ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "[::ffff:127.0.0.1]"] {
            let error = question(&format!("https://{host}/token")).err();
            assert!(matches!(error, Some(AskError::Private(_))), "{host}: {error:?}");
        }
        match ask(question("https://localhost:1/token").unwrap()).await {
            Err(AskError::Transport(error)) => assert!(error.is_connect(), "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
}
