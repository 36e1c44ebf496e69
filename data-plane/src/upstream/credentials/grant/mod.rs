//! The client credentials grant: how a token is asked for (RFC 6749 §4.4.2), and what is made of the answer (§5).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use http::{HeaderValue, StatusCode, header};
use reqwest::Method;
use serde::Deserialize;
use tokio::runtime::Handle;
use tollgate_model::secret::SecretText;
use tollgate_model::upstream::{ClientAuth, OAuth2Credential, ScopeToken};
use zeroize::Zeroizing;

use super::Field;
use super::keeper::{Fetch, Keeper};
use crate::provider::{self, AskError, Providers};

const MOST_ANSWER_BYTES: usize = 64 << 10;
const MOST_TOKEN_BYTES: usize = 8 << 10;
/// How long a token is good whose server does not say so.
const GOOD_FOR: Duration = Duration::from_secs(300);
/// However long a token is good, it is renewed within a day.
const GOOD_FOR_AT_MOST: Duration = Duration::from_secs(86_400);
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Fetches tokens for the upstreams of one node. A clone is the same.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    providers: Providers,
    control: Handle,
    fetches: AtomicU64,
    failures: AtomicU64,
}

/// How often tokens were fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Fetches that have ended.
    pub fetches: u64,
    /// Of those, without a token that can be used.
    pub failures: u64,
}

/// What a token is asked for with.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Grant {
    url: Box<str>,
    allow_private: bool,
    client_id: Box<str>,
    client_secret: SecretText,
    /// Between spaces; empty: none is named.
    scope: Box<str>,
    audience: Option<Box<str>>,
    auth: ClientAuth,
}

/// A token that was fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) field: Field,
    pub(super) good_for: Duration,
}

/// Why there is no token. No message holds a byte of what the server said, but for codes that the RFC knows.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// There is no answer of use.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// RFC 6749 §5.2.
    #[error("the token endpoint answered {0} with the error `{1}`")]
    Refused(StatusCode, &'static str),
    #[error("the token endpoint's answer is not one of RFC 6749 §5.1")]
    Malformed,
    #[error("the token is not of the type Bearer")]
    NotBearer,
    #[error("the token is not 1 to {MOST_TOKEN_BYTES} visible ASCII characters")]
    NotVisible,
    #[error("the token has expired already")]
    Expired,
}

impl Tokens {
    /// Fetches on `control`.
    #[must_use]
    pub fn new(control: Handle) -> Self {
        let (fetches, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { providers: Providers::default(), control, fetches, failures }))
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> TokenCounts {
        TokenCounts {
            fetches: self.0.fetches.load(Ordering::Relaxed),
            failures: self.0.failures.load(Ordering::Relaxed),
        }
    }

    /// A token for an upstream.
    pub(super) fn keep(&self, grant: Grant, upstream: &str) -> Keeper {
        let (inner, grant) = (Arc::clone(&self.0), Arc::new(grant));
        let fetch: Fetch = Box::new(move || {
            let (inner, grant) = (Arc::clone(&inner), Arc::clone(&grant));
            Box::pin(async move { inner.fetch(&grant).await })
        });
        Keeper::begin(fetch, upstream, &self.0.control)
    }
}

impl Inner {
    async fn fetch(&self, grant: &Grant) -> Result<Fetched, TokenError> {
        let fetched = self.ask(grant).await;
        self.fetches.fetch_add(1, Ordering::Relaxed);
        if fetched.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        fetched
    }

    async fn ask(&self, grant: &Grant) -> Result<Fetched, TokenError> {
        let question = self.providers.question(Method::POST, &grant.url, grant.allow_private)?;
        let mut question = question
            .header(header::ACCEPT, JSON)
            .header(header::CONTENT_TYPE, FORM)
            .body(grant.form());
        if grant.auth == ClientAuth::Basic {
            question = question.header(header::AUTHORIZATION, grant.authorization()?);
        }
        let answer = provider::ask(question).await?;
        let status = answer.status();
        let body = provider::read(answer, MOST_ANSWER_BYTES).await;
        if status != StatusCode::OK {
            return Err(match body.ok().and_then(|body| refusal_of(&body)) {
                Some(code) => TokenError::Refused(status, code),
                None => AskError::Status(status).into(),
            });
        }
        read(&Zeroizing::new(body?))
    }
}

impl Grant {
    pub(super) fn of(written: &OAuth2Credential, client_secret: SecretText) -> Self {
        let scopes: Vec<&str> = written.scopes.iter().map(ScopeToken::as_str).collect();
        Self {
            url: written.token_url.as_str().into(),
            allow_private: written.allow_private,
            client_id: written.client_id.as_str().into(),
            client_secret,
            scope: scopes.join(" ").into(),
            audience: written.audience.as_deref().map(Box::from),
            auth: written.auth,
        }
    }

    fn form(&self) -> String {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.scope.is_empty() {
            form.append_pair("scope", &self.scope);
        }
        if let Some(audience) = &self.audience {
            form.append_pair("audience", audience);
        }
        if self.auth == ClientAuth::Body {
            form.append_pair("client_id", &self.client_id);
            form.append_pair("client_secret", self.client_secret.expose());
        }
        form.finish()
    }

    /// RFC 6749 §2.3.1: both are encoded as in a form before they are put together.
    fn authorization(&self) -> Result<HeaderValue, TokenError> {
        let mut pair = Zeroizing::new(String::new());
        pair.extend(byte_serialize(self.client_id.as_bytes()));
        pair.push(':');
        pair.extend(byte_serialize(self.client_secret.expose().as_bytes()));
        let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        // Base64 can stand in a field.
        let mut value = HeaderValue::from_str(&text).map_err(|_never| TokenError::Malformed)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// RFC 6749 §5.1.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    #[serde(default)]
    expires_in: Option<Seconds>,
}

/// A number, which some servers write as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl Seconds {
    fn get(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => f64::from(text.parse::<u32>().ok()?),
        };
        // More is no longer a duration, and too long anyway.
        Duration::try_from_secs_f64(seconds.min(GOOD_FOR_AT_MOST.as_secs_f64())).ok()
    }
}

fn read(body: &[u8]) -> Result<Fetched, TokenError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_not_one| TokenError::Malformed)?;
    // RFC 6750: what another type is to be used like is not known here. §5.1: in any case of letters.
    if !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::NotBearer);
    }
    let good_for = match &answer.expires_in {
        None => GOOD_FOR,
        Some(seconds) => seconds.get().ok_or(TokenError::Malformed)?,
    };
    if good_for < Duration::from_secs(1) {
        return Err(TokenError::Expired);
    }
    let token = answer.access_token.as_bytes();
    let is_visible = token.iter().all(u8::is_ascii_graphic);
    if !is_visible || !(1..=MOST_TOKEN_BYTES).contains(&token.len()) {
        return Err(TokenError::NotVisible);
    }
    let value = Zeroizing::new(format!("Bearer {}", answer.access_token));
    let field = Field::new(header::AUTHORIZATION, value.as_bytes());
    Ok(Fetched { field: field.ok_or(TokenError::NotVisible)?, good_for })
}

/// The code of a refusal, where it is one that the RFC knows (§5.2).
fn refusal_of(body: &[u8]) -> Option<&'static str> {
    const CODES: [&str; 6] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    ];
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    CODES.into_iter().find(|code| *code == refusal.error)
}

#[cfg(test)]
mod tests;
