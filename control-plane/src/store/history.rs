//! What was: who changed what, and how it was at an earlier revision.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::changes::{Operation, Revision, parse_change, parse_revision};
use super::resources::json;
use super::session::{Session, Statement, get, to_i64};
use super::{Scope, Store, StoreError};

/// So many changed resources are listed with a revision; the rest is counted.
const LISTED_CHANGES: usize = 100;

/// Which revisions to list. Empty: all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those that changed a resource of this kind.
    pub kind: Option<String>,
    /// … of this name.
    pub name: Option<String>,
    /// Older ones than this.
    pub before: Option<u64>,
}

/// A revision without the content of its changes.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionSummary {
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it.
    pub actor: String,
    /// What they said about it.
    pub message: String,
    /// The first 100 resources that it changed, within the scope asked for.
    pub changes: Vec<ChangedResource>,
    /// Whether it changed more than those.
    pub has_more_changes: bool,
}

/// Which resource was changed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedResource {
    /// Its sort, such as `Upstream`.
    pub kind: String,
    /// Who owns it.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// What happened to it.
    pub operation: Operation,
}

/// A resource that says something else now than it did at a revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Its sort, such as `Upstream`.
    pub kind: String,
    /// Who owns it.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// Who looked after it from its first change after that revision on.
    pub managed_by: String,
    /// What it said then; `None`: it was not there.
    pub then: Option<Value>,
    /// What it says now; `None`: it is gone.
    pub now: Option<Value>,
}

impl Store {
    /// Revisions, newest first, at most `limit`. A tenant sees those that touched what it owns, and of
    /// those only that.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn revisions(
        &self,
        scope: Scope<'_>,
        filter: &Filter,
        limit: u32,
    ) -> Result<Vec<RevisionSummary>, StoreError> {
        let doing = "list revisions";
        let mut held = self.acquire().await?;
        let mut session = self.session(&mut held);
        let mut conditions = Conditions::within(scope);
        conditions.add("kind", filter.kind.clone());
        conditions.add("name", filter.name.clone());
        let before = filter.before.map_or(i64::MAX, to_i64);
        let sql = if conditions.values.is_empty() {
            "SELECT number, at, actor, message FROM revision WHERE number < $1 \
             ORDER BY number DESC LIMIT $2"
                .to_owned()
        } else {
            format!(
                "SELECT number, at, actor, message FROM revision WHERE number IN \
                 (SELECT DISTINCT revision FROM change WHERE revision < $1 {} \
                 ORDER BY revision DESC LIMIT $2) ORDER BY number DESC",
                conditions.sql(3)
            )
        };
        let statement = sqlx::query(AssertSqlSafe(sql)).bind(before).bind(i64::from(limit));
        let rows = session.rows(doing, conditions.bind(statement)).await?;
        let mut summaries = Vec::with_capacity(rows.len());
        for row in &rows {
            let revision = parse_revision(row)?;
            summaries.push(summarise(&mut session, revision, &conditions).await?);
        }
        Ok(summaries)
    }

    /// One revision with the content of its changes; `None` where there is none in this scope.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn revision(
        &self,
        scope: Scope<'_>,
        number: u64,
    ) -> Result<Option<Revision>, StoreError> {
        let doing = "read a revision";
        let mut held = self.acquire().await?;
        let mut session = self.session(&mut held);
        let statement =
            sqlx::query("SELECT number, at, actor, message FROM revision WHERE number = $1")
                .bind(to_i64(number));
        let Some(row) = session.row(doing, statement).await? else { return Ok(None) };
        let mut revision = parse_revision(&row)?;
        let conditions = Conditions::within(scope);
        let sql = format!(
            "SELECT kind, tenant, name, managed_by, op, before, after FROM change \
             WHERE revision = $1 {} ORDER BY seq",
            conditions.sql(2)
        );
        let statement = sqlx::query(AssertSqlSafe(sql)).bind(to_i64(number));
        let rows = session.rows(doing, conditions.bind(statement)).await?;
        revision.changes = rows.iter().map(parse_change).collect::<Result<_, _>>()?;
        let is_hidden = matches!(scope, Scope::Tenant(_)) && revision.changes.is_empty();
        Ok((!is_hidden).then_some(revision))
    }

    /// What says something else now than it did when `revision` was the newest: what a roll-back to it
    /// changes. Ordered by kind, tenant and name.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn changed_since(
        &self,
        revision: u64,
        scope: Scope<'_>,
    ) -> Result<Vec<Difference>, StoreError> {
        let mut held = self.acquire().await?;
        changed_since(&mut self.session(&mut held), revision, scope).await
    }
}

pub(super) async fn changed_since(
    session: &mut Session<'_>,
    revision: u64,
    scope: Scope<'_>,
) -> Result<Vec<Difference>, StoreError> {
    let conditions = Conditions::within(scope);
    // What a resource said at a revision is what its first change after that one found.
    let sql = format!(
        "SELECT c.kind, c.tenant, c.name, c.managed_by, c.before AS said, r.spec AS says FROM \
         (SELECT kind, tenant, name, MIN(revision) AS revision FROM change \
          WHERE revision > $1 {} GROUP BY kind, tenant, name) AS f \
         JOIN change AS c ON c.kind = f.kind AND c.tenant = f.tenant AND c.name = f.name \
          AND c.revision = f.revision \
         LEFT JOIN resource AS r ON r.kind = c.kind AND r.tenant = c.tenant AND r.name = c.name \
         ORDER BY c.kind, c.tenant, c.name",
        conditions.sql(2)
    );
    let statement = sqlx::query(AssertSqlSafe(sql)).bind(to_i64(revision));
    let rows = session.rows("compare with an earlier revision", conditions.bind(statement)).await?;
    let mut differences = Vec::new();
    for row in &rows {
        let (kind, tenant, name): (String, String, String) =
            (get(row, "kind")?, get(row, "tenant")?, get(row, "name")?);
        let read = |column| -> Result<Option<Value>, StoreError> {
            let text: Option<String> = get(row, column)?;
            text.map(|text| json(&text, || format!("{kind} {tenant}/{name}"))).transpose()
        };
        let (then, now) = (read("said")?, read("says")?);
        if then != now {
            let managed_by = get(row, "managed_by")?;
            differences.push(Difference { kind, tenant, name, managed_by, then, now });
        }
    }
    Ok(differences)
}

async fn summarise(
    session: &mut Session<'_>,
    revision: Revision,
    conditions: &Conditions,
) -> Result<RevisionSummary, StoreError> {
    let sql = format!(
        "SELECT kind, tenant, name, op FROM change WHERE revision = $1 {} ORDER BY seq LIMIT $2",
        conditions.sql(3)
    );
    let statement = sqlx::query(AssertSqlSafe(sql))
        .bind(to_i64(revision.number))
        .bind(i64::try_from(LISTED_CHANGES + 1).unwrap_or(i64::MAX));
    let rows = session.rows("list what a revision changed", conditions.bind(statement)).await?;
    let changes = rows.iter().take(LISTED_CHANGES).map(|row| {
        Ok(ChangedResource {
            kind: get(row, "kind")?,
            tenant: get(row, "tenant")?,
            name: get(row, "name")?,
            operation: Operation::parse(&get::<String>(row, "op")?)?,
        })
    });
    Ok(RevisionSummary {
        changes: changes.collect::<Result<_, StoreError>>()?,
        has_more_changes: rows.len() > LISTED_CHANGES,
        number: revision.number,
        at: revision.at,
        actor: revision.actor,
        message: revision.message,
    })
}

/// Columns of `change` that must have a value.
struct Conditions {
    values: Vec<(&'static str, String)>,
}

impl Conditions {
    fn within(scope: Scope<'_>) -> Self {
        match scope {
            Scope::Platform => Self { values: Vec::new() },
            Scope::Tenant(tenant) => Self { values: vec![("tenant", tenant.to_owned())] },
        }
    }

    fn add(&mut self, column: &'static str, value: Option<String>) {
        self.values.extend(value.map(|value| (column, value)));
    }

    /// `AND tenant = $3 …`, numbered from `first`.
    fn sql(&self, first: usize) -> String {
        let text =
            |(i, (column, _)): (usize, &(&str, String))| format!("AND {column} = ${} ", first + i);
        self.values.iter().enumerate().map(text).collect()
    }

    fn bind<'q>(&self, statement: Statement<'q>) -> Statement<'q> {
        self.values.iter().fold(statement, |statement, (_, value)| statement.bind(value.clone()))
    }
}
