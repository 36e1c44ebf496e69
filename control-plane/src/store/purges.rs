//! What was purged from the nodes' caches, for those that were away.

use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::session::{get, get_number, get_time, to_i64};
use super::{Scope, Store, StoreError};

/// So many are remembered; who missed more lets everything go.
const REMEMBERED: u64 = 10_000;

/// What is purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPurge {
    /// Whose responses.
    pub tenant: String,
    /// What `value` is: `url`, `api` or `tag`.
    pub what: String,
    /// Which.
    pub value: String,
    /// Who wants it.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

/// One that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeRow {
    /// Grows by one with each, in the order of the commits.
    pub number: u64,
    /// What is purged.
    pub purge: NewPurge,
}

impl Store {
    /// Writes a purge down; gives its number.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn add_purge(&self, purge: &NewPurge) -> Result<u64, StoreError> {
        let doing = "write a purge down";
        let mut held = self.begin_unnumbered(doing).await?;
        let next = "UPDATE purge_counter SET number = number + 1 WHERE id = 1 RETURNING number";
        let row = held.session().row(doing, sqlx::query(next)).await?;
        let row =
            row.ok_or_else(|| StoreError::corrupt("table `purge_counter`", "it has no row"))?;
        let number = get_number(&row, "number")?;
        let statement = sqlx::query(
            "INSERT INTO purge (number, tenant, what, value, actor, at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(to_i64(number))
        .bind(purge.tenant.clone())
        .bind(purge.what.clone())
        .bind(purge.value.clone())
        .bind(purge.actor.clone())
        .bind(purge.at.as_microsecond());
        held.session().execute(doing, statement).await?;
        let forgotten = sqlx::query("DELETE FROM purge WHERE number <= $1")
            .bind(to_i64(number.saturating_sub(REMEMBERED)));
        held.session().execute(doing, forgotten).await?;
        if let Some(notify) = self.0.dialect.notify() {
            held.session().execute(doing, sqlx::query(notify)).await?;
        }
        held.commit().await?;
        Ok(number)
    }

    /// The number of the newest purge; 0 where there was none yet.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn newest_purge(&self) -> Result<u64, StoreError> {
        let mut held = self.acquire().await?;
        let statement = sqlx::query("SELECT number FROM purge_counter WHERE id = 1");
        let row = self.session(&mut held).row("read the newest purge", statement).await?;
        let row =
            row.ok_or_else(|| StoreError::corrupt("table `purge_counter`", "it has no row"))?;
        get_number(&row, "number")
    }

    /// Those after a number, in order; none where some of them are not remembered any more.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn purges_after(&self, number: u64) -> Result<Option<Vec<PurgeRow>>, StoreError> {
        let mut held = self.acquire().await?;
        let statement = sqlx::query(
            "SELECT number, tenant, what, value, actor, at FROM purge \
             WHERE number > $1 ORDER BY number",
        )
        .bind(to_i64(number));
        let rows = self.session(&mut held).rows("read purges", statement).await?;
        let rows: Vec<PurgeRow> = rows.iter().map(read).collect::<Result<_, _>>()?;
        // None is missing, so the first tells whether they are all there.
        Ok(rows.first().is_none_or(|first| first.number == number + 1).then_some(rows))
    }

    /// The newest that are remembered, the newest first, older than `before`.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn purges(
        &self,
        scope: Scope<'_>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<PurgeRow>, StoreError> {
        let mut held = self.acquire().await?;
        let tenant = match scope {
            Scope::Platform => None,
            Scope::Tenant(tenant) => Some(tenant.to_owned()),
        };
        let statement = sqlx::query(
            "SELECT number, tenant, what, value, actor, at FROM purge \
             WHERE number < $1 AND tenant = COALESCE($2, tenant) ORDER BY number DESC LIMIT $3",
        )
        .bind(before.map_or(i64::MAX, to_i64))
        .bind(tenant)
        .bind(i64::from(limit));
        let rows = self.session(&mut held).rows("list purges", statement).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &AnyRow) -> Result<PurgeRow, StoreError> {
    let purge = NewPurge {
        tenant: get(row, "tenant")?,
        what: get(row, "what")?,
        value: get(row, "value")?,
        actor: get(row, "actor")?,
        at: get_time(row, "at")?,
    };
    Ok(PurgeRow { number: get_number(row, "number")?, purge })
}
