//! The change log: written with every change, read by all that follow.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::resources::json;
use super::session::{Session, Statement, get, get_number, get_time, placeholders, to_i64};
use super::{Store, StoreError};

/// Rows a statement: 9 values each, and SQLite takes 32,766 a statement.
const BATCH_ROWS: usize = 500;

/// Who makes a revision, why and when.
#[derive(Clone, Copy, Debug)]
pub struct NewRevision<'a> {
    /// The name of the administrator or of the part of Tollgate.
    pub actor: &'a str,
    /// What the actor says about it; may be empty.
    pub message: &'a str,
    /// When.
    pub at: Timestamp,
}

/// One resource that a revision changes, or has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its sort, such as `Upstream`.
    pub kind: String,
    /// Who owns it.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// Who looks after it from now on.
    pub managed_by: String,
    /// What it said and what it says.
    pub content: Content,
}

/// What a changed resource said before and says after.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// It was not there.
    Create {
        /// What it says.
        after: Value,
    },
    /// It was there and still is.
    Update {
        /// What it said.
        before: Value,
        /// What it says.
        after: Value,
    },
    /// It is gone.
    Delete {
        /// What it said.
        before: Value,
    },
}

/// What happened to a resource, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It was not there.
    Create,
    /// It was there and still is.
    Update,
    /// It is gone.
    Delete,
}

/// One committed change of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Its number; the first is 1, and none is missing.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it.
    pub actor: String,
    /// What they said about it.
    pub message: String,
    /// What it changed, in the order in which it was given.
    pub changes: Vec<Change>,
}

impl Content {
    /// What happened.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::Create { .. } => Operation::Create,
            Self::Update { .. } => Operation::Update,
            Self::Delete { .. } => Operation::Delete,
        }
    }

    /// What it said; `None` where it was not there.
    #[must_use]
    pub fn before(&self) -> Option<&Value> {
        match self {
            Self::Create { .. } => None,
            Self::Update { before, .. } | Self::Delete { before } => Some(before),
        }
    }

    /// What it says; `None` where it is gone.
    #[must_use]
    pub fn after(&self) -> Option<&Value> {
        match self {
            Self::Create { after } | Self::Update { after, .. } => Some(after),
            Self::Delete { .. } => None,
        }
    }
}

impl Operation {
    /// The word in the store and in answers: `create`, `update`, `delete`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "create" => Ok(Self::Create),
            "update" => Ok(Self::Update),
            "delete" => Ok(Self::Delete),
            _ => Err(StoreError::corrupt("column `op`", format!("`{text}` is no operation"))),
        }
    }
}

impl Store {
    /// The revisions after `revision`, oldest first and at most `limit` of them, each whole: all tenants,
    /// for those who follow the log. The first is `revision + 1`.
    ///
    /// # Errors
    ///
    /// Why the store does not answer; [`StoreError::Corrupt`] where a revision is missing.
    pub async fn changes_after(
        &self,
        revision: u64,
        limit: u32,
    ) -> Result<Vec<Revision>, StoreError> {
        let mut held = self.acquire().await?;
        after(&mut self.session(&mut held), revision, limit).await
    }
}

pub(super) async fn after(
    session: &mut Session<'_>,
    revision: u64,
    limit: u32,
) -> Result<Vec<Revision>, StoreError> {
    let doing = "read the change log";
    let statement = sqlx::query(
        "SELECT number, at, actor, message FROM revision WHERE number > $1 ORDER BY number LIMIT $2",
    )
    .bind(to_i64(revision))
    .bind(i64::from(limit));
    let rows = session.rows(doing, statement).await?;
    let mut revisions = rows.iter().map(parse_revision).collect::<Result<Vec<_>, _>>()?;
    let mut expected = revision;
    for found in &revisions {
        expected += 1;
        if found.number != expected {
            return Err(StoreError::corrupt(
                "the change log",
                format!("revision {expected} is missing"),
            ));
        }
    }
    let Some(last) = revisions.last().map(|last| last.number) else { return Ok(revisions) };
    // Nothing is ever written to a revision that is there, so this needs no transaction.
    let statement = sqlx::query(
        "SELECT revision, kind, tenant, name, managed_by, op, before, after FROM change \
         WHERE revision > $1 AND revision <= $2 ORDER BY revision, seq",
    )
    .bind(to_i64(revision))
    .bind(to_i64(last));
    let rows = session.rows(doing, statement).await?;
    let mut rows = rows.iter().peekable();
    for revision in &mut revisions {
        while let Some(row) = rows.peek() {
            if get_number(row, "revision")? != revision.number {
                break;
            }
            revision.changes.push(parse_change(row)?);
            rows.next();
        }
    }
    Ok(revisions)
}

/// Writes the resources, the revision and its changes.
pub(super) async fn append(
    session: &mut Session<'_>,
    number: u64,
    revision: NewRevision<'_>,
    changes: &[Change],
) -> Result<(), StoreError> {
    let at = revision.at.as_microsecond();
    write_log(session, number, revision, changes).await?;
    // What is deleted makes room first.
    let only = |operation| changes.iter().filter(move |c| c.content.operation() == operation);
    let deleted: Vec<&Change> = only(Operation::Delete).collect();
    for batch in deleted.chunks(BATCH_ROWS) {
        delete_batch(session, batch).await?;
    }
    let updated: Vec<&Change> = only(Operation::Update).collect();
    for batch in updated.chunks(BATCH_ROWS) {
        update_batch(session, batch, number, at).await?;
    }
    let created: Vec<&Change> = only(Operation::Create).collect();
    for batch in created.chunks(BATCH_ROWS) {
        create_batch(session, batch, number, at).await?;
    }
    if let Some(notify) = session.dialect.notify() {
        session.execute("tell of a new revision", sqlx::query(notify)).await?;
    }
    Ok(())
}

async fn write_log(
    session: &mut Session<'_>,
    number: u64,
    revision: NewRevision<'_>,
    changes: &[Change],
) -> Result<(), StoreError> {
    let doing = "write the change log";
    let statement = sqlx::query("UPDATE counter SET number = $1 WHERE id = 1 AND number = $2")
        .bind(to_i64(number))
        .bind(to_i64(number.saturating_sub(1)));
    touched(session.execute(doing, statement).await?, 1)?;
    let statement =
        sqlx::query("INSERT INTO revision (number, at, actor, message) VALUES ($1, $2, $3, $4)")
            .bind(to_i64(number))
            .bind(revision.at.as_microsecond())
            .bind(revision.actor.to_owned())
            .bind(revision.message.to_owned());
    session.execute(doing, statement).await?;
    let mut seq = 0_i64;
    for batch in changes.chunks(BATCH_ROWS) {
        let sql = format!(
            "INSERT INTO change (revision, seq, kind, tenant, name, managed_by, op, before, after) VALUES {}",
            placeholders(session.dialect, 1, batch.len(), 9)
        );
        let mut statement = batched(sql, batch.len());
        for change in batch {
            statement = identify(statement.bind(to_i64(number)).bind(seq), change)
                .bind(change.managed_by.clone())
                .bind(change.content.operation().as_str())
                .bind(change.content.before().map(Value::to_string))
                .bind(change.content.after().map(Value::to_string));
            seq += 1;
        }
        session.execute(doing, statement).await?;
    }
    Ok(())
}

async fn delete_batch(session: &mut Session<'_>, batch: &[&Change]) -> Result<(), StoreError> {
    let sql = format!(
        "DELETE FROM resource WHERE (kind, tenant, name) IN (VALUES {})",
        placeholders(session.dialect, 1, batch.len(), 3)
    );
    let statement = batch
        .iter()
        .fold(batched(sql, batch.len()), |statement, change| identify(statement, change));
    touched(session.execute("delete resources", statement).await?, batch.len())
}

async fn update_batch(
    session: &mut Session<'_>,
    batch: &[&Change],
    number: u64,
    at: i64,
) -> Result<(), StoreError> {
    let (version, updated_at) = (session.dialect.placeholder(1), session.dialect.placeholder(2));
    // Both databases call the columns of VALUES so.
    let sql = format!(
        "UPDATE resource SET version = {version}, updated_at = {updated_at}, \
         managed_by = v.column4, spec = v.column5 FROM (VALUES {}) AS v WHERE resource.kind = v.column1 AND resource.tenant = v.column2 \
         AND resource.name = v.column3",
        placeholders(session.dialect, 3, batch.len(), 5)
    );
    let mut statement = batched(sql, batch.len()).bind(to_i64(number)).bind(at);
    for change in batch {
        statement = identify(statement, change)
            .bind(change.managed_by.clone())
            .bind(change.content.after().map(Value::to_string));
    }
    touched(session.execute("update resources", statement).await?, batch.len())
}

async fn create_batch(
    session: &mut Session<'_>,
    batch: &[&Change],
    number: u64,
    at: i64,
) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO resource \
         (kind, tenant, name, version, managed_by, created_at, updated_at, spec) VALUES {}",
        placeholders(session.dialect, 1, batch.len(), 8)
    );
    let mut statement = batched(sql, batch.len());
    for change in batch {
        statement = identify(statement, change)
            .bind(to_i64(number))
            .bind(change.managed_by.clone())
            .bind(at)
            .bind(at)
            .bind(change.content.after().map(Value::to_string));
    }
    session.execute("create resources", statement).await?;
    Ok(())
}

/// A statement made of constants and placeholders. Kept prepared only for one row, which is the usual
/// change; others would crowd the cache with a text for every number of rows.
fn batched(sql: String, rows: usize) -> Statement<'static> {
    sqlx::query(AssertSqlSafe(sql)).persistent(rows == 1)
}

fn identify<'q>(statement: Statement<'q>, change: &Change) -> Statement<'q> {
    statement.bind(change.kind.clone()).bind(change.tenant.clone()).bind(change.name.clone())
}

fn touched(rows: u64, expected: usize) -> Result<(), StoreError> {
    if u64::try_from(expected).is_ok_and(|expected| rows == expected) {
        return Ok(());
    }
    Err(StoreError::Conflict {
        doing: "change resources that are as the change says",
        source: None,
    })
}

pub(super) fn parse_revision(row: &AnyRow) -> Result<Revision, StoreError> {
    Ok(Revision {
        number: get_number(row, "number")?,
        at: get_time(row, "at")?,
        actor: get(row, "actor")?,
        message: get(row, "message")?,
        changes: Vec::new(),
    })
}

pub(super) fn parse_change(row: &AnyRow) -> Result<Change, StoreError> {
    let (kind, tenant, name): (String, String, String) =
        (get(row, "kind")?, get(row, "tenant")?, get(row, "name")?);
    let read = |column| -> Result<Value, StoreError> {
        let what = || format!("column `{column}` of a change of {kind} {tenant}/{name}");
        let text: Option<String> = get(row, column)?;
        json(&text.ok_or_else(|| StoreError::corrupt(what(), "it is empty"))?, what)
    };
    let content = match Operation::parse(&get::<String>(row, "op")?)? {
        Operation::Create => Content::Create { after: read("after")? },
        Operation::Update => Content::Update { before: read("before")?, after: read("after")? },
        Operation::Delete => Content::Delete { before: read("before")? },
    };
    Ok(Change { managed_by: get(row, "managed_by")?, kind, tenant, name, content })
}
