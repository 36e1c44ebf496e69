//! How a follower is woken. It polls all the same: a message may be lost with its connection.

use sqlx::postgres::{PgListener, PgPoolOptions};

use super::dialect::{CHANNEL, Dialect};
use super::session::bounded;
use super::{Store, StoreError};

/// Hears of new revisions of a PostgreSQL store, whoever made them.
pub struct Listener {
    store: Store,
    connection: Option<PgListener>,
}

impl Store {
    /// What wakes a follower; `None` on SQLite, where only this process writes.
    #[must_use]
    pub fn listen(&self) -> Option<Listener> {
        match self.0.dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some(Listener { store: self.clone(), connection: None }),
        }
    }
}

impl Listener {
    /// Waits until there may be a new revision: one was told of, or the connection was lost and is back.
    /// Returns at once the first time. May be dropped while it waits, and called again.
    ///
    /// # Errors
    ///
    /// Why there is no connection; the next call makes a new one. The caller waits in between.
    pub async fn changed(&mut self) -> Result<(), StoreError> {
        let Some(connection) = &mut self.connection else {
            self.connection = Some(Box::pin(self.connect()).await?);
            return Ok(());
        };
        match Box::pin(connection.try_recv()).await {
            Ok(Some(_)) => {
                // One look at the log finds all that was told of so far.
                while connection.next_buffered().is_some() {}
                Ok(())
            }
            Ok(None) => {
                self.connection = None;
                Ok(())
            }
            Err(error) => {
                self.connection = None;
                Err(StoreError::from_sqlx(Dialect::Postgres, "hear of new revisions", error))
            }
        }
    }

    async fn connect(&self) -> Result<PgListener, StoreError> {
        let (url, limit) = (self.store.0.url.as_str(), self.store.0.limits.acquire);
        let doing = "connect to the store to hear of new revisions";
        let connect = async {
            let options = PgPoolOptions::new().max_connections(1).acquire_timeout(limit);
            let pool = Box::pin(options.connect(url)).await?;
            let mut connection = Box::pin(PgListener::connect_with(&pool)).await?;
            connection.eager_reconnect(false);
            Box::pin(connection.listen(CHANNEL)).await?;
            Ok(connection)
        };
        bounded(Dialect::Postgres, limit, doing, connect).await
    }
}
