//! An empty database of either kind, and a suite that runs over both.

use jiff::Timestamp;
use sqlx::{AnyConnection, Connection as _};
use tollgate_control_plane::store::{Store, StoreError};
use tollgate_testkit::postgres;

/// An empty database, until it is dropped.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) folder: tempfile::TempDir,
}

impl Place {
    pub(crate) async fn sqlite() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self { url: format!("sqlite://{}/store.db", folder.path().display()), folder })
    }

    pub(crate) async fn postgres() -> anyhow::Result<Self> {
        Ok(Self { url: postgres::database().await?, folder: tempfile::tempdir()? })
    }

    pub(crate) async fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.url).await
    }

    /// A connection past the store, to break things.
    pub(crate) async fn raw(&self) -> anyhow::Result<AnyConnection> {
        sqlx::any::install_default_drivers();
        Ok(AnyConnection::connect(&self.url).await?)
    }
}

/// Runs every function once on either database.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> anyhow::Result<()> {
                super::$name(crate::support::Place::sqlite().await?).await
            }
        )+}
        mod postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> anyhow::Result<()> {
                super::$name(crate::support::Place::postgres().await?).await
            }
        )+}
    };
}
pub(crate) use on_both;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap_or_default()
}
