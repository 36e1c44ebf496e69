//! Tokens of administrators: `tga_<id>_<secret><checksum>`, kept as keyed hashes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::Timestamp;

use super::roles::{Actor, Role};
use super::secret::{NoRandomness, Shown, base62, checksum, has_checksum};
use crate::seal::{ClusterKeys, write_private};
use crate::store::{AdminTokenRow, Scope, Store, StoreError};

const PREFIX: &str = "tga_";
const ID_CHARS: usize = 8;
const SECRET_CHARS: usize = 32;
/// `tga_`, the id, `_`, the secret and its checksum.
const MADE_CHARS: usize = 4 + ID_CHARS + 1 + SECRET_CHARS + 6;
/// The shortest first token that an operator may choose.
const LEAST_GIVEN_CHARS: usize = 8;
/// The longest text that is taken for a token at all.
const MOST_CHARS: usize = 512;

/// Why a token could not be made or looked up.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The setting of the first administrator's token is too short, too long or mistyped.
    #[error(
        "the first administrator's token must have 8 to 512 visible ASCII characters, \
         and the right checksum where it has the form of one that Tollgate made"
    )]
    BadGivenToken,
    /// The file for the first administrator's token cannot be written.
    #[error("write the first administrator's token to `{}`", path.display())]
    TokenFile {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct NewAdminToken {
    /// Whose it is, or what for; it stands in the history as the actor.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Where; `None`: everywhere.
    pub tenant: Option<String>,
    /// When it stops to work; `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// A token as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// What it is called, for example to revoke it.
    pub id: String,
    /// Whose it is, or what for.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Where; `None`: everywhere.
    pub tenant: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops to work; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// What came of the first administrator's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// One was made and stands in this file.
    Made(PathBuf),
    /// The one from the settings was taken, or was the one already.
    Given,
    /// There was one already; none was given.
    Present,
    /// One was given, but there was another already, or it is revoked: it does not work.
    Ignored,
}

/// Makes, lists, revokes and verifies administrators' tokens.
#[derive(Clone, Debug)]
pub struct AdminTokens {
    store: Store,
    keys: Arc<ClusterKeys>,
}

impl AdminTokens {
    /// The tokens of this store.
    #[must_use]
    pub fn new(store: Store, keys: Arc<ClusterKeys>) -> Self {
        Self { store, keys }
    }

    /// Makes a token. It is shown now and never again.
    ///
    /// # Errors
    ///
    /// Why it could not be made.
    pub async fn create(
        &self,
        new: NewAdminToken,
        now: Timestamp,
    ) -> Result<(AdminToken, Shown), IdentityError> {
        let (row, shown) = self.draw(new, now)?;
        self.store.add_admin_token(&row).await?;
        Ok((AdminToken::parse(row)?, shown))
    }

    /// Every token in the scope, those that no longer work too, oldest first.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn list(&self, scope: Scope<'_>) -> Result<Vec<AdminToken>, IdentityError> {
        let rows = self.store.admin_tokens(scope).await?;
        Ok(rows.into_iter().map(AdminToken::parse).collect::<Result<_, _>>()?)
    }

    /// Revokes a token from the next request on; `false` where there is none in the scope that works.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn revoke(
        &self,
        scope: Scope<'_>,
        id: &str,
        now: Timestamp,
    ) -> Result<bool, IdentityError> {
        Ok(self.store.revoke_admin_token(scope, id, now).await?)
    }

    /// Who the holder of this token is; `None` where it does not work. Asks the store every time, so that
    /// a revoked token stops to work on every control plane at once.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn verify(
        &self,
        presented: &str,
        now: Timestamp,
    ) -> Result<Option<Actor>, IdentityError> {
        // What was plainly mistyped is no reason to ask the store.
        if presented.len() > MOST_CHARS || is_mistyped(presented) {
            return Ok(None);
        }
        let hash = self.keys.hash_token(presented);
        let Some(row) = self.store.admin_token_by_hash(&hash).await? else { return Ok(None) };
        let is_same = verify_slices_are_equal(&row.hash, &hash).is_ok();
        let has_expired = row.expires_at.is_some_and(|at| at <= now);
        if !is_same || has_expired || row.revoked_at.is_some() {
            return Ok(None);
        }
        let token = AdminToken::parse(row)?;
        Ok(Some(Actor { name: token.name, role: token.role, tenant: token.tenant }))
    }

    /// Sees to it that there is a token with the role `admin` for the platform: the one given, as it is,
    /// or else one that is made and written to `file` (mode 0600). Does nothing where one works already.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn first(
        &self,
        given: Option<&str>,
        file: &Path,
        now: Timestamp,
    ) -> Result<First, IdentityError> {
        let new = NewAdminToken {
            name: "admin".to_owned(),
            role: Role::Admin,
            tenant: None,
            expires_at: None,
        };
        let (mut row, shown) = self.draw(new, now)?;
        let Some(given) = given else {
            // The file comes first: a token that works and that nobody has would be worse.
            if self.has_platform_admin(now).await? {
                return Ok(First::Present);
            }
            self.write(file, shown).await?;
            let is_added = self.store.add_first_admin_token(&row).await?;
            if !is_added {
                // Another control plane was faster; what is in the file does not work.
                drop(tokio::fs::remove_file(file).await);
                return Ok(First::Present);
            }
            return Ok(First::Made(file.to_owned()));
        };
        let is_visible = given.bytes().all(|byte| byte.is_ascii_graphic());
        let is_long_enough = (LEAST_GIVEN_CHARS..=MOST_CHARS).contains(&given.len());
        if !is_long_enough || !is_visible || is_mistyped(given) {
            return Err(IdentityError::BadGivenToken);
        }
        row.hash = self.keys.hash_token(given).to_vec();
        match self.store.add_first_admin_token(&row).await {
            Ok(true) => Ok(First::Given),
            // There is one: this one, perhaps.
            Ok(false) | Err(StoreError::Conflict { .. }) => {
                let works = self.verify(given, now).await?.is_some();
                Ok(if works { First::Given } else { First::Ignored })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn has_platform_admin(&self, now: Timestamp) -> Result<bool, IdentityError> {
        let tokens = self.list(Scope::Platform).await?;
        Ok(tokens.iter().any(|token| {
            token.tenant.is_none() && token.role == Role::Admin && token.works_at(now)
        }))
    }

    async fn write(&self, file: &Path, shown: Shown) -> Result<(), IdentityError> {
        let path = file.to_owned();
        let written = tokio::task::spawn_blocking(move || {
            write_private(&path, format!("{}\n", shown.reveal()).as_bytes())
        });
        written
            .await
            .map_err(io::Error::other)
            .and_then(|written| written)
            .map_err(|source| IdentityError::TokenFile { path: file.to_owned(), source })
    }

    fn draw(
        &self,
        new: NewAdminToken,
        now: Timestamp,
    ) -> Result<(AdminTokenRow, Shown), NoRandomness> {
        let (id, secret) = (base62(ID_CHARS)?, base62(SECRET_CHARS)?);
        let mut token = format!("{PREFIX}{}_{}", *id, *secret);
        token.push_str(&checksum(&token));
        let shown = Shown::new(token);
        let row = AdminTokenRow {
            id: id.to_string(),
            hash: self.keys.hash_token(shown.reveal()).to_vec(),
            tenant: new.tenant,
            role: new.role.as_str().to_owned(),
            name: new.name,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
        };
        Ok((row, shown))
    }
}

impl AdminToken {
    /// Whether it is neither expired nor revoked.
    #[must_use]
    pub fn works_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }

    fn parse(row: AdminTokenRow) -> Result<Self, StoreError> {
        let role = Role::from_word(&row.role).ok_or_else(|| {
            StoreError::corrupt(format!("administrator's token {}", row.id), "its role is unknown")
        })?;
        Ok(Self {
            id: row.id,
            name: row.name,
            role,
            tenant: row.tenant,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        })
    }
}

/// Whether it has the form of a token that was made here, but not its checksum. Given ones have any form.
fn is_mistyped(token: &str) -> bool {
    token.len() == MADE_CHARS && token.starts_with(PREFIX) && !has_checksum(token)
}
