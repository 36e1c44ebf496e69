//! What can go wrong with the store, by what a caller can do about it.

use std::error::Error;

use super::dialect::{Dialect, Trouble};

/// Why the store did not do what it was asked. `doing` says what that was.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Away, locked, or slower than its limit: the same call may succeed later (503).
    #[error("the store did not answer in time: {doing}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What the database said, where it said something.
        #[source]
        source: Option<BoxedError>,
    },
    /// No room left on the store's disk, or its file is as big as it may be (507).
    #[error("the store is full: {doing}")]
    Full {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: BoxedError,
    },
    /// Something is there already, or no longer there; read again, then decide (409).
    #[error("the store holds something else by now: {doing}")]
    Conflict {
        /// What was being done.
        doing: &'static str,
        /// What the database said, where it said something.
        #[source]
        source: Option<BoxedError>,
    },
    /// What is stored cannot be read; a person must look.
    #[error("what is stored is damaged: {what}")]
    Corrupt {
        /// Which piece of the store.
        what: String,
        /// What is wrong with it.
        #[source]
        source: Option<BoxedError>,
    },
    /// Anything else: a wrong address, a refused log-in, a folder that cannot be written.
    #[error("{doing}")]
    Other {
        /// What was being done, and to what.
        doing: String,
        /// What was said.
        #[source]
        source: Option<BoxedError>,
    },
}

/// A cause of any type.
pub type BoxedError = Box<dyn Error + Send + Sync>;

impl StoreError {
    /// Sorts what sqlx said by what a caller can do about it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours and may grow")]
    pub(super) fn from_sqlx(dialect: Dialect, doing: &'static str, error: sqlx::Error) -> Self {
        let trouble = match &error {
            sqlx::Error::Database(database) => {
                dialect.trouble(database.code().as_deref().unwrap_or_default())
            }
            sqlx::Error::Io(io) => io_trouble(io),
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
            | sqlx::Error::Tls(_) => Trouble::Unavailable,
            sqlx::Error::Protocol(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_) => Trouble::Corrupt,
            // sqlx may add more; about none of the others can a caller do anything.
            _ => Trouble::Other,
        };
        let source: BoxedError = Box::new(error);
        match trouble {
            Trouble::Unavailable => Self::Unavailable { doing, source: Some(source) },
            Trouble::Full => Self::Full { doing, source },
            Trouble::Conflict => Self::Conflict { doing, source: Some(source) },
            Trouble::Corrupt => Self::Corrupt { what: doing.to_owned(), source: Some(source) },
            Trouble::Other => Self::Other { doing: doing.to_owned(), source: Some(source) },
        }
    }

    /// What the operating system said of the store's file or folder.
    pub(super) fn from_io(doing: String, error: std::io::Error) -> Self {
        match io_trouble(&error) {
            Trouble::Full => Self::Full { doing: "make the store's file", source: Box::new(error) },
            Trouble::Unavailable | Trouble::Conflict | Trouble::Corrupt | Trouble::Other => {
                Self::Other { doing, source: Some(Box::new(error)) }
            }
        }
    }

    /// A call that took longer than it may.
    pub(super) fn too_slow(doing: &'static str) -> Self {
        Self::Unavailable { doing, source: None }
    }

    /// A stored value that does not read.
    pub(crate) fn corrupt(what: impl Into<String>, source: impl Into<BoxedError>) -> Self {
        Self::Corrupt { what: what.into(), source: Some(source.into()) }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours and may grow")]
fn io_trouble(error: &std::io::Error) -> Trouble {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Trouble::Full,
        ErrorKind::PermissionDenied | ErrorKind::InvalidInput | ErrorKind::Unsupported => {
            Trouble::Other
        }
        _ => Trouble::Unavailable,
    }
}
