//! One change of the store: all of it, or nothing.

use sqlx::Any;
use tokio::sync::OwnedSemaphorePermit;

use super::changes::{self, Change, NewRevision, Revision};
use super::dialect::Dialect;
use super::history::{self, Difference};
use super::session::{Session, bounded, get_number};
use super::{Limits, Scope, Store, StoreError};

/// A transaction that holds the write lock. Dropped without [`Transaction::commit`], it leaves nothing.
pub struct Transaction {
    held: Held,
    revision: u64,
}

/// A transaction that writes what is not configuration, and so makes no revision.
pub(super) struct Held {
    // In this order: the connection ends its transaction before the next writer of this process begins.
    transaction: sqlx::Transaction<'static, Any>,
    _turn: OwnedSemaphorePermit,
    dialect: Dialect,
    limits: Limits,
}

impl Store {
    /// Begins a change: waits for the write lock, and holds the newest revision until the end.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where another writer does not end in time.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let mut held = self.begin_unnumbered("begin a change").await?;
        let statement = sqlx::query(self.0.dialect.lock_number());
        let row = held.session().row("lock the revision number", statement).await?;
        let row = row.ok_or_else(|| StoreError::corrupt("table `counter`", "it has no row"))?;
        let revision = get_number(&row, "number")?;
        Ok(Transaction { held, revision })
    }

    /// Begins to write what is not configuration.
    pub(super) async fn begin_unnumbered(&self, doing: &'static str) -> Result<Held, StoreError> {
        let inner = &self.0;
        let turn = tokio::time::timeout(inner.limits.lock, inner.writer.clone().acquire_owned());
        let turn = match turn.await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_closed)) => return Err(StoreError::too_slow(doing)),
            Err(_elapsed) => return Err(StoreError::too_slow(doing)),
        };
        let begin = inner.pool.begin_with(inner.dialect.begin_write());
        let limit = inner.limits.acquire + inner.limits.lock;
        let transaction = bounded(inner.dialect, limit, doing, begin).await?;
        Ok(Held { transaction, _turn: turn, dialect: inner.dialect, limits: inner.limits.clone() })
    }
}

impl Transaction {
    /// The newest revision, locked: nobody else makes one before this transaction ends.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// As [`Store::changes_after`], under the lock.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn changes_after(
        &mut self,
        revision: u64,
        limit: u32,
    ) -> Result<Vec<Revision>, StoreError> {
        changes::after(&mut self.held.session(), revision, limit).await
    }

    /// As [`Store::changed_since`], under the lock.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub async fn changed_since(
        &mut self,
        revision: u64,
        scope: Scope<'_>,
    ) -> Result<Vec<Difference>, StoreError> {
        history::changed_since(&mut self.held.session(), revision, scope).await
    }

    /// Writes the changes to the resources and, with them, the next revision to the log; gives its number.
    /// A resource may stand in `changes` once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where the store does not hold what a change says is there: one that is
    /// created is there, one that is updated or deleted is not. The transaction is then of no more use.
    pub async fn append(
        &mut self,
        revision: NewRevision<'_>,
        changes: &[Change],
    ) -> Result<u64, StoreError> {
        let number = self.revision + 1;
        changes::append(&mut self.held.session(), number, revision, changes).await?;
        self.revision = number;
        Ok(number)
    }

    /// The transaction, to write what is not configuration under the same lock.
    pub(super) fn held(&mut self) -> &mut Held {
        &mut self.held
    }

    /// Makes it durable.
    ///
    /// # Errors
    ///
    /// Where the answer to the commit was lost it may have happened all the same; the log knows.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.held.commit().await
    }
}

impl Held {
    pub(super) fn session(&mut self) -> Session<'_> {
        Session {
            connection: &mut self.transaction,
            dialect: self.dialect,
            limit: self.limits.statement,
        }
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let Self { transaction, _turn, dialect, limits } = self;
        bounded(dialect, limits.statement, "commit a change", transaction.commit()).await
    }
}
