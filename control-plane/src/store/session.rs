//! One connection in use: runs a statement within its time limit, and reads rows.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Decode, Row as _, Type};

use super::dialect::Dialect;
use super::error::StoreError;

/// A statement with what is bound to it.
pub(super) type Statement<'q> = Query<'q, Any, AnyArguments>;

/// A connection, and what is needed to use it well.
pub(super) struct Session<'c> {
    pub(super) connection: &'c mut AnyConnection,
    pub(super) dialect: Dialect,
    pub(super) limit: Duration,
}

impl Session<'_> {
    /// Runs a statement; says how many rows it touched.
    pub(super) async fn execute(
        &mut self,
        doing: &'static str,
        statement: Statement<'_>,
    ) -> Result<u64, StoreError> {
        let work = statement.execute(&mut *self.connection);
        Ok(bounded(self.dialect, self.limit, doing, work).await?.rows_affected())
    }

    pub(super) async fn rows(
        &mut self,
        doing: &'static str,
        statement: Statement<'_>,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let work = statement.fetch_all(&mut *self.connection);
        bounded(self.dialect, self.limit, doing, work).await
    }

    pub(super) async fn row(
        &mut self,
        doing: &'static str,
        statement: Statement<'_>,
    ) -> Result<Option<AnyRow>, StoreError> {
        let work = statement.fetch_optional(&mut *self.connection);
        bounded(self.dialect, self.limit, doing, work).await
    }
}

/// Waits for the database, but never longer than `limit`: its own limits do not help where the network
/// or its machine is gone.
pub(super) async fn bounded<T>(
    dialect: Dialect,
    limit: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(StoreError::from_sqlx(dialect, doing, error)),
        Err(_elapsed) => Err(StoreError::too_slow(doing)),
    }
}

/// A column's value.
pub(super) fn get<'r, T>(row: &'r AnyRow, column: &'static str) -> Result<T, StoreError>
where
    T: Decode<'r, Any> + Type<Any>,
{
    row.try_get(column).map_err(|error| StoreError::corrupt(format!("column `{column}`"), error))
}

/// A column that holds a number that cannot be negative.
pub(super) fn get_number(row: &AnyRow, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(get::<i64>(row, column)?)
        .map_err(|error| StoreError::corrupt(format!("column `{column}`"), error))
}

/// A column that holds a time.
pub(super) fn get_time(row: &AnyRow, column: &'static str) -> Result<Timestamp, StoreError> {
    time(get(row, column)?, column)
}

/// A column that holds a time or NULL.
pub(super) fn get_time_or_none(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<Timestamp>, StoreError> {
    get::<Option<i64>>(row, column)?.map(|micros| time(micros, column)).transpose()
}

/// A number as the databases keep it. No revision comes near the limit: it would take 292,000 years of
/// a million changes a second.
pub(super) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// `($1, $2), ($3, $4)`: numbered from `first`, for `rows` rows of `columns` values. A statement with them
/// has no others than those of [`Dialect::placeholder`], bound in the order of the text.
pub(super) fn placeholders(dialect: Dialect, first: usize, rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let numbers = (0..columns).map(|column| first + row * columns + column);
        let marks: Vec<String> = numbers.map(|number| dialect.placeholder(number)).collect();
        format!("({})", marks.join(", "))
    };
    (0..rows).map(row).collect::<Vec<String>>().join(", ")
}

fn time(micros: i64, column: &'static str) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros)
        .map_err(|error| StoreError::corrupt(format!("column `{column}`"), error))
}
