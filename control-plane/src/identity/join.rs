//! Tokens that nodes join with: `tgj_<id>_<secret>_<fingerprint>`.
//!
//! The fingerprint is that of the control plane's certificate authority, so that a node needs nothing else
//! to trust it.

use std::sync::Arc;

use jiff::Timestamp;

use super::secret::{NoRandomness, Shown, base62};
use crate::seal::ClusterKeys;
use crate::store::{JoinTokenRow, Redeemed, Store, StoreError};

const PREFIX: &str = "tgj_";
const ID_CHARS: usize = 8;
const SECRET_CHARS: usize = 32;
/// Hexadecimal digits of a SHA-256.
const FINGERPRINT_CHARS: usize = 64;

/// Why a join token was not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It was never made here.
    #[error("the join token is not known here")]
    Unknown,
    /// It is past its time.
    #[error("the join token {id} has expired")]
    Expired {
        /// Which one.
        id: String,
    },
    /// It was revoked.
    #[error("the join token {id} is revoked")]
    Revoked {
        /// Which one.
        id: String,
    },
    /// It was used as often as it may be.
    #[error("the join token {id} is used up")]
    UsedUp {
        /// Which one.
        id: String,
    },
    /// It admits nodes of another gateway.
    #[error("the join token {id} is for gateway `{gateway}`")]
    OtherGateway {
        /// Which one.
        id: String,
        /// Whose nodes it admits.
        gateway: String,
    },
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A join token that is to be made.
#[derive(Clone, Debug)]
pub struct NewJoinToken {
    /// The gateway whose nodes it admits.
    pub gateway: String,
    /// Who makes it.
    pub created_by: String,
    /// When it stops to work.
    pub expires_at: Timestamp,
    /// How often it may be used; `None`: without limit.
    pub use_limit: Option<u64>,
}

/// A join token as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// What it is called, for example to revoke it.
    pub id: String,
    /// The gateway whose nodes it admits.
    pub gateway: String,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops to work.
    pub expires_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
    /// How often it was used.
    pub uses: u64,
    /// How often it may be used; `None`: without limit.
    pub use_limit: Option<u64>,
}

/// Makes, lists, revokes and redeems join tokens.
#[derive(Clone, Debug)]
pub struct JoinTokens {
    store: Store,
    keys: Arc<ClusterKeys>,
    fingerprint: String,
}

impl JoinTokens {
    /// The join tokens of this store; `fingerprint` is that of its certificate authority.
    #[must_use]
    pub fn new(store: Store, keys: Arc<ClusterKeys>, fingerprint: &str) -> Self {
        Self { store, keys, fingerprint: fingerprint.to_owned() }
    }

    /// Makes a join token. It is shown now and never again.
    ///
    /// # Errors
    ///
    /// Why it could not be made.
    pub async fn create(
        &self,
        new: NewJoinToken,
        now: Timestamp,
    ) -> Result<(JoinToken, Shown), JoinError> {
        let (id, secret) = (base62(ID_CHARS)?, base62(SECRET_CHARS)?);
        let shown = Shown::new(format!("{PREFIX}{}_{}_{}", *id, *secret, self.fingerprint));
        let row = JoinTokenRow {
            id: id.to_string(),
            hash: self.keys.hash_token(shown.reveal()).to_vec(),
            gateway: new.gateway,
            created_by: new.created_by,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            uses: 0,
            use_limit: new.use_limit,
        };
        self.store.add_join_token(&row).await?;
        Ok((row.into(), shown))
    }

    /// Every join token, those that no longer work too, oldest first.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn list(&self) -> Result<Vec<JoinToken>, JoinError> {
        Ok(self.store.join_tokens().await?.into_iter().map(JoinToken::from).collect())
    }

    /// Revokes a join token; `false` where there is none that was not. Nodes that have joined stay.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn revoke(&self, id: &str, now: Timestamp) -> Result<bool, JoinError> {
        Ok(self.store.revoke_join_token(id, now).await?)
    }

    /// Uses a join token once, for a node of `gateway`.
    ///
    /// # Errors
    ///
    /// Why the node is not admitted.
    pub async fn redeem(
        &self,
        presented: &str,
        gateway: &str,
        now: Timestamp,
    ) -> Result<JoinToken, JoinError> {
        if trusted_fingerprint(presented).is_none() {
            return Err(JoinError::Unknown);
        }
        let hash = self.keys.hash_token(presented);
        match self.store.redeem_join_token(&hash, gateway, now).await? {
            Redeemed::Accepted(row) => Ok(row.into()),
            Redeemed::Unknown => Err(JoinError::Unknown),
            Redeemed::Refused(row) => Err(refusal(row, gateway, now)),
        }
    }
}

/// The fingerprint (SHA-256, hexadecimal) of the certificate authority in a join token; `None` where the
/// text is not one.
#[must_use]
pub fn trusted_fingerprint(token: &str) -> Option<&str> {
    let mut parts = token.strip_prefix(PREFIX)?.splitn(3, '_');
    let (id, secret, fingerprint) = (parts.next()?, parts.next()?, parts.next()?);
    let is_hex = fingerprint.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_sound = id.len() == ID_CHARS
        && secret.len() == SECRET_CHARS
        && fingerprint.len() == FINGERPRINT_CHARS
        && is_hex;
    is_sound.then_some(fingerprint)
}

fn refusal(row: JoinTokenRow, gateway: &str, now: Timestamp) -> JoinError {
    let id = row.id;
    if row.revoked_at.is_some() {
        JoinError::Revoked { id }
    } else if row.expires_at <= now {
        JoinError::Expired { id }
    } else if row.gateway != gateway {
        JoinError::OtherGateway { id, gateway: row.gateway }
    } else {
        JoinError::UsedUp { id }
    }
}

impl From<JoinTokenRow> for JoinToken {
    fn from(row: JoinTokenRow) -> Self {
        Self {
            id: row.id,
            gateway: row.gateway,
            created_by: row.created_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            uses: row.uses,
            use_limit: row.use_limit,
        }
    }
}
