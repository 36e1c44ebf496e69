//! The tokens of administrators and of nodes that join. Only hashes are here.

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::session::{get, get_number, get_time, get_time_or_none, to_i64};
use super::transaction::Held;
use super::{Scope, Store, StoreError};

/// An administrator's token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTokenRow {
    /// What it is called in lists and when it is revoked.
    pub id: String,
    /// Keyed hash of the whole token.
    pub hash: Vec<u8>,
    /// The tenant that it is for; `None`: the platform.
    pub tenant: Option<String>,
    /// `viewer`, `editor` or `admin`.
    pub role: String,
    /// Whose it is, or what for.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops to work; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// A join token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTokenRow {
    /// What it is called in lists and when it is revoked.
    pub id: String,
    /// Keyed hash of the whole token.
    pub hash: Vec<u8>,
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

/// What came of a join token that a node showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// One use is written down.
    Accepted(JoinTokenRow),
    /// There is no such token.
    Unknown,
    /// It is there, but expired, revoked, used up, or of another gateway.
    Refused(JoinTokenRow),
}

const ADMIN_COLUMNS: &str = "id, hash, tenant, role, name, created_at, expires_at, revoked_at";
const JOIN_COLUMNS: &str =
    "id, hash, gateway, created_by, created_at, expires_at, revoked_at, uses, use_limit";

impl Store {
    /// Adds an administrator's token.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where its id or hash is there.
    pub async fn add_admin_token(&self, token: &AdminTokenRow) -> Result<(), StoreError> {
        let mut held = self.begin_unnumbered("add an administrator's token").await?;
        insert_admin_token(&mut held, token).await?;
        held.commit().await
    }

    /// Adds the platform's first token, and only that: `false`, and nothing done, where a token with the
    /// role `admin` for the platform works already at the time `token.created_at`. Several control
    /// planes may do it at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where its hash is there, but revoked.
    pub async fn add_first_admin_token(&self, token: &AdminTokenRow) -> Result<bool, StoreError> {
        let doing = "add the first administrator's token";
        // The number is locked, so that they come one after the other on PostgreSQL too.
        let mut transaction = self.begin().await?;
        let held = transaction.held();
        let statement = sqlx::query(
            "SELECT COUNT(*) AS tokens FROM admin_token WHERE tenant IS NULL AND role = 'admin' \
             AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)",
        )
        .bind(token.created_at.as_microsecond());
        let row = held.session().row(doing, statement).await?;
        let tokens = row.as_ref().map(|row| get_number(row, "tokens")).transpose()?;
        if tokens != Some(0) {
            return Ok(false);
        }
        insert_admin_token(held, token).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The token with this hash, whether it works or not.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn admin_token_by_hash(
        &self,
        hash: &[u8],
    ) -> Result<Option<AdminTokenRow>, StoreError> {
        let mut held = self.acquire().await?;
        let statement = sqlx::query(
            "SELECT id, hash, tenant, role, name, created_at, expires_at, revoked_at \
             FROM admin_token WHERE hash = $1",
        )
        .bind(hash.to_vec());
        let row =
            self.session(&mut held).row("look up an administrator's token", statement).await?;
        row.as_ref().map(parse_admin_token).transpose()
    }

    /// All administrators' tokens in the scope, revoked ones too, oldest first.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn admin_tokens(&self, scope: Scope<'_>) -> Result<Vec<AdminTokenRow>, StoreError> {
        let mut held = self.acquire().await?;
        let statement = match scope {
            Scope::Platform => sqlx::query(sqlx::AssertSqlSafe(format!(
                "SELECT {ADMIN_COLUMNS} FROM admin_token ORDER BY created_at, id"
            ))),
            Scope::Tenant(tenant) => sqlx::query(sqlx::AssertSqlSafe(format!(
                "SELECT {ADMIN_COLUMNS} FROM admin_token WHERE tenant = $1 ORDER BY created_at, id"
            )))
            .bind(tenant.to_owned()),
        };
        let rows = self.session(&mut held).rows("list administrators' tokens", statement).await?;
        rows.iter().map(parse_admin_token).collect()
    }

    /// Revokes a token at once and for good; `false` where there is none in the scope that was not.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn revoke_admin_token(
        &self,
        scope: Scope<'_>,
        id: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let doing = "revoke an administrator's token";
        let statement = match scope {
            Scope::Platform => sqlx::query(
                "UPDATE admin_token SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL",
            )
            .bind(at.as_microsecond())
            .bind(id.to_owned()),
            Scope::Tenant(tenant) => sqlx::query(
                "UPDATE admin_token SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL \
                 AND tenant = $3",
            )
            .bind(at.as_microsecond())
            .bind(id.to_owned())
            .bind(tenant.to_owned()),
        };
        let mut held = self.begin_unnumbered(doing).await?;
        let rows = held.session().execute(doing, statement).await?;
        held.commit().await?;
        Ok(rows > 0)
    }

    /// Adds a join token.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where its id or hash is there.
    pub async fn add_join_token(&self, token: &JoinTokenRow) -> Result<(), StoreError> {
        let doing = "add a join token";
        let mut held = self.begin_unnumbered(doing).await?;
        let statement = sqlx::query(
            "INSERT INTO join_token (id, hash, gateway, created_by, created_at, expires_at, uses, use_limit) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(token.id.clone())
        .bind(token.hash.clone())
        .bind(token.gateway.clone())
        .bind(token.created_by.clone())
        .bind(token.created_at.as_microsecond())
        .bind(token.expires_at.as_microsecond())
        .bind(to_i64(token.uses))
        .bind(token.use_limit.map(to_i64));
        held.session().execute(doing, statement).await?;
        held.commit().await
    }

    /// All join tokens, oldest first.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn join_tokens(&self) -> Result<Vec<JoinTokenRow>, StoreError> {
        let mut held = self.acquire().await?;
        let sql = format!("SELECT {JOIN_COLUMNS} FROM join_token ORDER BY created_at, id");
        let statement = sqlx::query(sqlx::AssertSqlSafe(sql));
        let rows = self.session(&mut held).rows("list join tokens", statement).await?;
        rows.iter().map(parse_join_token).collect()
    }

    /// Revokes a join token; `false` where there is none that was not. Nodes that have joined stay.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn revoke_join_token(&self, id: &str, at: Timestamp) -> Result<bool, StoreError> {
        let doing = "revoke a join token";
        let statement = sqlx::query(
            "UPDATE join_token SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL",
        )
        .bind(at.as_microsecond())
        .bind(id.to_owned());
        let mut held = self.begin_unnumbered(doing).await?;
        let rows = held.session().execute(doing, statement).await?;
        held.commit().await?;
        Ok(rows > 0)
    }

    /// Uses a join token once for a node of `gateway`, if it works at the time `at`. However many try at
    /// once, it is never used more often than it may be.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn redeem_join_token(
        &self,
        hash: &[u8],
        gateway: &str,
        at: Timestamp,
    ) -> Result<Redeemed, StoreError> {
        let doing = "redeem a join token";
        let mut held = self.begin_unnumbered(doing).await?;
        let statement = sqlx::query(
            "UPDATE join_token SET uses = uses + 1 WHERE hash = $1 AND gateway = $2 \
             AND expires_at > $3 AND revoked_at IS NULL AND (use_limit IS NULL OR uses < use_limit)",
        )
        .bind(hash.to_vec())
        .bind(gateway.to_owned())
        .bind(at.as_microsecond());
        let is_used = held.session().execute(doing, statement).await? > 0;
        let sql = format!("SELECT {JOIN_COLUMNS} FROM join_token WHERE hash = $1");
        let statement = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(hash.to_vec());
        let Some(row) = held.session().row(doing, statement).await? else {
            return Ok(Redeemed::Unknown);
        };
        let token = parse_join_token(&row)?;
        held.commit().await?;
        Ok(if is_used { Redeemed::Accepted(token) } else { Redeemed::Refused(token) })
    }
}

async fn insert_admin_token(held: &mut Held, token: &AdminTokenRow) -> Result<(), StoreError> {
    let statement = sqlx::query(
        "INSERT INTO admin_token (id, hash, tenant, role, name, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(token.id.clone())
    .bind(token.hash.clone())
    .bind(token.tenant.clone())
    .bind(token.role.clone())
    .bind(token.name.clone())
    .bind(token.created_at.as_microsecond())
    .bind(token.expires_at.map(Timestamp::as_microsecond));
    held.session().execute("add an administrator's token", statement).await?;
    Ok(())
}

fn parse_admin_token(row: &AnyRow) -> Result<AdminTokenRow, StoreError> {
    Ok(AdminTokenRow {
        id: get(row, "id")?,
        hash: get(row, "hash")?,
        tenant: get(row, "tenant")?,
        role: get(row, "role")?,
        name: get(row, "name")?,
        created_at: get_time(row, "created_at")?,
        expires_at: get_time_or_none(row, "expires_at")?,
        revoked_at: get_time_or_none(row, "revoked_at")?,
    })
}

fn parse_join_token(row: &AnyRow) -> Result<JoinTokenRow, StoreError> {
    let use_limit: Option<i64> = get(row, "use_limit")?;
    Ok(JoinTokenRow {
        id: get(row, "id")?,
        hash: get(row, "hash")?,
        gateway: get(row, "gateway")?,
        created_by: get(row, "created_by")?,
        created_at: get_time(row, "created_at")?,
        expires_at: get_time(row, "expires_at")?,
        revoked_at: get_time_or_none(row, "revoked_at")?,
        uses: get_number(row, "uses")?,
        use_limit: use_limit
            .map(|limit| {
                u64::try_from(limit)
                    .map_err(|error| StoreError::corrupt("column `use_limit`", error))
            })
            .transpose()?,
    })
}
