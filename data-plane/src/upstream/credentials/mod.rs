//! What an upstream is told of who calls it: a field that stays the same, or a token that is fetched and renewed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;
use tollgate_model::Name;
use tollgate_model::secret::SecretText;
use tollgate_model::upstream as written;
use zeroize::Zeroizing;

use super::bound;
use crate::core::Core;
use crate::fault::Fault;
use crate::plan::UpstreamPlan;

// How a token is asked for, and what is made of the answer.
mod grant;
// One token: fetched when it is needed, renewed before it expires.
mod keeper;

use grant::Grant;
pub use grant::{TokenCounts, Tokens};
use keeper::Keeper;

/// How long a call waits for a token at most, whatever the upstream's bounds.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A field of each request to an upstream. Its value is marked as sensitive, which keeps it out of what is logged, and
/// out of the tables of HTTP/2.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its own, never used for another.
    number: u64,
    name: HeaderName,
    value: HeaderValue,
}

impl Field {
    /// None where the value cannot stand in a field.
    fn new(name: HeaderName, value: &[u8]) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut value = HeaderValue::from_bytes(value).ok()?;
        value.set_sensitive(true);
        Some(Self { number: NEXT.fetch_add(1, Ordering::Relaxed), name, value })
    }

    /// Writes it in the place of what is there.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(self.name.clone(), self.value.clone());
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The same in memory of its own: what cores share is counted in memory that all of them write.
    pub(super) fn copy(&self) -> Self {
        let name = HeaderName::from_bytes(self.name.as_str().as_bytes());
        let value = HeaderValue::from_bytes(self.value.as_bytes());
        let mut value = value.unwrap_or_else(|_never| self.value.clone());
        value.set_sensitive(true);
        Self { number: self.number, name: name.unwrap_or_else(|_never| self.name.clone()), value }
    }
}

/// What an upstream is told of who calls it.
pub struct Credentials(Sort);

enum Sort {
    /// The same with every request.
    Fixed(Arc<Field>),
    /// A token that is good for a while.
    Token(Grant, Keeper),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match &self.0 {
            Sort::Fixed(_) => "Fixed(…)",
            Sort::Token(..) => "Token(…)",
        })
    }
}

/// What credentials are made with.
pub(crate) struct Maker<'a> {
    /// Where tokens are fetched; none: they are not.
    pub(crate) tokens: Option<&'a Tokens>,
    /// Those in whose place they come. A token that would be asked for in the same way is kept.
    pub(crate) previous: Option<&'a Arc<Credentials>>,
    /// The upstream's name, for people.
    pub(crate) upstream: &'a str,
}

impl Credentials {
    /// None where a secret is not there, or cannot stand where it is to stand.
    pub(crate) fn make<'s>(
        spec: &written::Credentials,
        secret: impl Fn(&Name) -> Option<&'s SecretText>,
        maker: &Maker<'_>,
    ) -> Option<Arc<Self>> {
        let fixed = |field: Field| Some(Arc::new(Self(Sort::Fixed(Arc::new(field)))));
        match spec {
            written::Credentials::Header(header) => {
                let value = header.value.render(secret)?;
                let name = header.name.as_http().clone();
                fixed(Field::new(name, value.expose().as_bytes())?)
            }
            written::Credentials::Basic(basic) => {
                let password = basic.password.render(secret)?;
                // RFC 7617 §2.
                if password.expose().chars().any(char::is_control) {
                    return None;
                }
                fixed(basic_field(basic.username.as_str(), password.expose())?)
            }
            written::Credentials::OAuth2(oauth2) => {
                let grant = Grant::of(oauth2, oauth2.client_secret.render(secret)?);
                match maker.previous {
                    Some(previous) if previous.is_for(&grant) => Some(Arc::clone(previous)),
                    _ => {
                        let keeper = maker.tokens?.keep(grant.clone(), maker.upstream);
                        Some(Arc::new(Self(Sort::Token(grant, keeper))))
                    }
                }
            }
        }
    }

    fn is_for(&self, grant: &Grant) -> bool {
        matches!(&self.0, Sort::Token(known, _) if known == grant)
    }

    /// Whether a request that is sent now has what it needs.
    fn is_there(&self) -> bool {
        match &self.0 {
            Sort::Fixed(_) => true,
            Sort::Token(_, keeper) => keeper.with_current(|_| ()).is_some(),
        }
    }

    /// The field as it is now; a token that is not there is waited for until then.
    pub(super) async fn field(&self, limit: Instant) -> Option<Arc<Field>> {
        match &self.0 {
            Sort::Fixed(field) => Some(Arc::clone(field)),
            Sort::Token(_, keeper) => match keeper.with_current(Arc::clone) {
                Some(field) => Some(field),
                None => keeper.wait(limit).await,
            },
        }
    }

    /// Takes in that an endpoint answered a request with this field with 401.
    pub(super) fn refused(&self, number: u64) {
        if let Sort::Token(_, keeper) = &self.0 {
            keeper.refused(number);
        }
    }
}

/// Waits until a request to an upstream has what it needs, no longer than for a connection.
///
/// # Errors
///
/// Where it is not there by then.
pub(super) async fn ready(upstream: &UpstreamPlan, deadline: Option<Instant>) -> Result<(), Fault> {
    let Some(credentials) = &upstream.credentials else { return Ok(()) };
    if credentials.is_there() {
        return Ok(());
    }
    let timeout = upstream.within_attempt(upstream.connect_timeout).min(LONGEST_WAIT);
    // Rare and large: in its own memory, it takes no room in every request's.
    match Box::pin(credentials.field(bound(timeout, deadline))).await {
        Some(_) => Ok(()),
        None => Err(Fault::CredentialsUnavailable),
    }
}

/// Tells an upstream who calls; returns the number of the field that says it.
///
/// # Errors
///
/// Where a token has expired since [`ready`].
pub(super) fn tell(
    core: &Core,
    upstream: &UpstreamPlan,
    headers: &mut HeaderMap,
) -> Result<Option<u64>, Fault> {
    let Some(credentials) = &upstream.credentials else { return Ok(None) };
    let mut write = |field: &Arc<Field>| {
        core.pool.tell(upstream, field, headers);
        Some(field.number)
    };
    match &credentials.0 {
        Sort::Fixed(field) => Ok(write(field)),
        Sort::Token(_, keeper) => keeper.with_current(write).ok_or(Fault::CredentialsUnavailable),
    }
}

/// Takes in how an upstream answered who was told that.
pub(super) fn hear(upstream: &UpstreamPlan, told: Option<u64>, status: StatusCode) {
    if status == StatusCode::UNAUTHORIZED
        && let (Some(credentials), Some(number)) = (&upstream.credentials, told)
    {
        credentials.refused(number);
    }
}

/// RFC 7617 §2.
fn basic_field(username: &str, password: &str) -> Option<Field> {
    let pair = Zeroizing::new(format!("{username}:{password}"));
    let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    Field::new(header::AUTHORIZATION, value.as_bytes())
}

#[cfg(test)]
mod tests;
