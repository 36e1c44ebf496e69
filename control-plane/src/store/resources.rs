//! The resources as they are now.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::Any;
use sqlx::any::AnyRow;

use super::session::{Session, bounded, get, get_number, get_time};
use super::{Store, StoreError, newest};

/// Few enough to hold twice, many enough that the trips do not count.
const PAGE_ROWS: i64 = 2_000;

/// One resource. To the store its specification is any JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its sort, such as `Upstream`.
    pub kind: String,
    /// Who owns it.
    pub tenant: String,
    /// Its name, unique within kind and tenant.
    pub name: String,
    /// The revision that last changed it.
    pub version: u64,
    /// Who looks after it: `console`, `cli`, `import` …
    pub managed_by: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// What it says.
    pub spec: Value,
}

impl Store {
    /// All resources and the revision they are at, in one moment, ordered by kind, tenant and name.
    ///
    /// # Errors
    ///
    /// Why the store does not answer; [`StoreError::Corrupt`] names the first resource that does not read.
    pub async fn load_all(&self) -> Result<(u64, Vec<Row>), StoreError> {
        let mut rows = Vec::new();
        let revision = self.load_pages(|page| rows.extend(page)).await?;
        Ok((revision, rows))
    }

    /// As [`Store::load_all`], page by page.
    ///
    /// # Errors
    ///
    /// As [`Store::load_all`].
    pub async fn load_pages(&self, mut on_page: impl FnMut(Vec<Row>)) -> Result<u64, StoreError> {
        let (dialect, limits) = (self.0.dialect, &self.0.limits);
        let doing = "read all resources";
        let begin = self.0.pool.begin_with(dialect.begin_read());
        let mut transaction: sqlx::Transaction<'_, Any> =
            bounded(dialect, limits.acquire + limits.statement, doing, begin).await?;
        let mut session =
            Session { connection: &mut transaction, dialect, limit: limits.statement };
        let revision = newest(&mut session).await?;
        let mut last = (String::new(), String::new(), String::new());
        loop {
            let statement = sqlx::query(
                "SELECT kind, tenant, name, version, managed_by, created_at, updated_at, spec \
                 FROM resource WHERE (kind, tenant, name) > ($1, $2, $3) \
                 ORDER BY kind, tenant, name LIMIT $4",
            )
            .bind(last.0)
            .bind(last.1)
            .bind(last.2)
            .bind(PAGE_ROWS);
            let page = session.rows(doing, statement).await?;
            let page = page.iter().map(parse).collect::<Result<Vec<Row>, StoreError>>()?;
            let Some(end) = page.last() else { break };
            last = (end.kind.clone(), end.tenant.clone(), end.name.clone());
            on_page(page);
        }
        bounded(dialect, limits.statement, doing, transaction.rollback()).await?;
        Ok(revision)
    }

    /// One resource; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn resource(
        &self,
        kind: &str,
        tenant: &str,
        name: &str,
    ) -> Result<Option<Row>, StoreError> {
        let mut held = self.acquire().await?;
        let statement = sqlx::query(
            "SELECT kind, tenant, name, version, managed_by, created_at, updated_at, spec \
             FROM resource WHERE kind = $1 AND tenant = $2 AND name = $3",
        )
        .bind(kind.to_owned())
        .bind(tenant.to_owned())
        .bind(name.to_owned());
        let row = self.session(&mut held).row("read a resource", statement).await?;
        row.as_ref().map(parse).transpose()
    }
}

fn parse(row: &AnyRow) -> Result<Row, StoreError> {
    let (kind, tenant, name): (String, String, String) =
        (get(row, "kind")?, get(row, "tenant")?, get(row, "name")?);
    let spec = json(&get::<String>(row, "spec")?, || format!("{kind} {tenant}/{name}"))?;
    Ok(Row {
        kind,
        tenant,
        name,
        version: get_number(row, "version")?,
        managed_by: get(row, "managed_by")?,
        created_at: get_time(row, "created_at")?,
        updated_at: get_time(row, "updated_at")?,
        spec,
    })
}

/// Reads stored JSON; `what` names it where it does not read.
pub(super) fn json(text: &str, what: impl FnOnce() -> String) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(what(), error))
}
