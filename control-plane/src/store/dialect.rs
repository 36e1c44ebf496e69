//! What differs between the two databases. All other SQL is one text for both.

use std::time::Duration;

use sqlx::migrate::Migrator;

use super::Limits;

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");

/// The channel on which PostgreSQL tells of a new revision.
pub(super) const CHANNEL: &str = "tollgate_revision";

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// What a database's error code means to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Unavailable,
    Full,
    Conflict,
    Corrupt,
    Other,
}

impl Dialect {
    pub(super) fn migrations(self) -> &'static Migrator {
        match self {
            Self::Sqlite => &SQLITE,
            Self::Postgres => &POSTGRES,
        }
    }

    /// Begins a transaction that writes. SQLite takes its one write lock here and not at the first write:
    /// two that read first and write later would refuse one another at once, however long they may wait.
    pub(super) fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Begins a transaction whose reads all see one moment.
    pub(super) fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN DEFERRED",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        }
    }

    /// Reads the number of the newest revision, and holds it until the transaction ends.
    pub(super) fn lock_number(self) -> &'static str {
        match self {
            // The transaction holds the only write lock already.
            Self::Sqlite => "SELECT number FROM counter WHERE id = 1",
            Self::Postgres => "SELECT number FROM counter WHERE id = 1 FOR UPDATE",
        }
    }

    /// Wakes the followers when the transaction commits. Nobody else follows a SQLite store.
    pub(super) fn notify(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("NOTIFY tollgate_revision"),
        }
    }

    /// Marks a value of a statement with many. SQLite searches its list of numbered ones for each of them,
    /// which makes thousands take seconds; it counts those without a number by itself.
    pub(super) fn placeholder(self, number: usize) -> String {
        match self {
            Self::Sqlite => "?".to_owned(),
            Self::Postgres => format!("${number}"),
        }
    }

    /// What every connection is set to before its first use.
    pub(super) fn settings(self, limits: &Limits) -> String {
        match self {
            Self::Sqlite => {
                let lock_ms = millis(limits.lock);
                let pages = limits
                    .sqlite_pages
                    .map_or_else(String::new, |pages| format!("PRAGMA max_page_count = {pages};"));
                format!(
                    "PRAGMA busy_timeout = {lock_ms}; PRAGMA synchronous = FULL; \
                     PRAGMA foreign_keys = ON; {pages}"
                )
            }
            // The last one frees the lock of a control plane that vanished in the middle.
            Self::Postgres => format!(
                "SET statement_timeout = {}; SET lock_timeout = {}; \
                 SET idle_in_transaction_session_timeout = 30000; \
                 SET application_name = 'tollgate-control-plane'",
                millis(limits.statement),
                millis(limits.lock),
            ),
        }
    }

    pub(super) fn trouble(self, code: &str) -> Trouble {
        match self {
            Self::Sqlite => sqlite_trouble(code),
            Self::Postgres => postgres_trouble(code),
        }
    }
}

/// Source: <https://www.sqlite.org/rescode.html>; the low byte of an extended code is the primary one.
fn sqlite_trouble(code: &str) -> Trouble {
    match code.parse::<u32>().map(|code| code & 0xff) {
        // BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, PROTOCOL
        Ok(5 | 6 | 7 | 9 | 10 | 15) => Trouble::Unavailable,
        // FULL
        Ok(13) => Trouble::Full,
        // CONSTRAINT
        Ok(19) => Trouble::Conflict,
        // CORRUPT, NOTADB
        Ok(11 | 26) => Trouble::Corrupt,
        _ => Trouble::Other,
    }
}

/// Source: PostgreSQL's manual, appendix A.
fn postgres_trouble(code: &str) -> Trouble {
    match code {
        // disk_full; too many bytes for its own limits
        "53100" => Trouble::Full,
        // query_canceled (a time limit), lock_not_available, serialization_failure, deadlock_detected,
        // read_only_sql_transaction (a standby), idle_in_transaction_session_timeout
        "57014" | "55P03" | "40001" | "40P01" | "25006" | "25P03" => Trouble::Unavailable,
        "23505" | "23503" | "23514" => Trouble::Conflict,
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => Trouble::Corrupt,
        _ => match code.get(..2) {
            // connection exception, insufficient resources, operator intervention, system error
            Some("08" | "53" | "57" | "58") => Trouble::Unavailable,
            _ => Trouble::Other,
        },
    }
}

fn millis(duration: Duration) -> u128 {
    // Zero would mean "no limit" to both.
    duration.as_millis().max(1)
}
