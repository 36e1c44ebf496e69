//! Everything durable, on SQLite or PostgreSQL: the only SQL of the program.
//!
//! Read in this order: [`Transaction`] (one change), `changes` (the log that all followers read),
//! `resources`; then what is not configuration: `nodes`, `purges`, `identity`, `keys`. What differs between the
//! two databases stands in `dialect`. Times come from the caller; the store has no clock.

mod dialect;
mod error;
mod session;
mod open;
mod transaction;
mod resources;
mod changes;
mod history;
mod listen;
mod nodes;
mod reports;
mod purges;
mod identity;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool};
use tokio::sync::Semaphore;

use self::dialect::Dialect;
use self::session::{Session, bounded, get_number};

pub use self::changes::{Change, Content, NewRevision, Operation, Revision};
pub use self::error::{BoxedError, StoreError};
pub use self::history::{ChangedResource, Difference, Filter, RevisionSummary};
pub use self::identity::{AdminTokenRow, JoinTokenRow, Redeemed};
pub use self::keys::AuthorityRow;
pub use self::listen::Listener;
pub use self::nodes::NodeRow;
pub use self::purges::{NewPurge, PurgeRow};
pub use self::reports::ReportRow;
pub use self::resources::Row;
pub use self::transaction::Transaction;

/// How long a call may take, and how much of the database it may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest wait for a connection.
    pub acquire: Duration,
    /// The longest wait for another writer.
    pub lock: Duration,
    /// The longest wait for one statement.
    pub statement: Duration,
    /// The most connections that are open at once.
    pub connections: u32,
    /// The most pages (of 4 KiB) of a SQLite file; none: as the disk has room.
    pub sqlite_pages: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            acquire: Duration::from_secs(5),
            lock: Duration::from_secs(5),
            statement: Duration::from_secs(10),
            connections: 8,
            sqlite_pages: None,
        }
    }
}

/// Whose part of the store a question is about. Nothing is asked without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// All of it: for the platform's administrators and for the control plane itself.
    Platform,
    /// What one tenant owns.
    Tenant(&'a str),
}

/// The store. A clone is the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    pool: AnyPool,
    dialect: Dialect,
    limits: Limits,
    /// Writers of this process queue here, in order, and not inside the database, where they would hold
    /// all connections while they wait.
    writer: Arc<Semaphore>,
    epoch: u64,
    /// With the password.
    url: String,
}

impl Store {
    /// Tells this store from any other: drawn when it was made. Revisions of two epochs do not compare.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Makes sure that the store answers; gives the newest revision.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub async fn health(&self) -> Result<u64, StoreError> {
        self.newest_revision().await
    }

    /// The newest revision; 0 where there is none yet.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn newest_revision(&self) -> Result<u64, StoreError> {
        let mut held = self.acquire().await?;
        newest(&mut self.session(&mut held)).await
    }

    /// Closes all connections. Calls under way end first; later ones fail.
    pub async fn close(&self) {
        self.0.pool.close().await;
    }

    async fn acquire(&self) -> Result<PoolConnection<Any>, StoreError> {
        let limit = self.0.limits.acquire;
        bounded(self.0.dialect, limit, "connect to the store", self.0.pool.acquire()).await
    }

    fn session<'c>(&self, connection: &'c mut PoolConnection<Any>) -> Session<'c> {
        Session { connection, dialect: self.0.dialect, limit: self.0.limits.statement }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Store")
            .field("dialect", &self.0.dialect)
            .field("epoch", &self.0.epoch)
            .finish_non_exhaustive()
    }
}

async fn newest(session: &mut Session<'_>) -> Result<u64, StoreError> {
    let statement = sqlx::query("SELECT number FROM counter WHERE id = 1");
    let row = session.row("read the newest revision", statement).await?;
    let row = row.ok_or_else(|| StoreError::corrupt("table `counter`", "it has no row"))?;
    get_number(&row, "number")
}
