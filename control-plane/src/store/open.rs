//! How a store is opened: its file or server, its migrations, its connections.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::any::AnyConnectOptions;
use sqlx::migrate::MigrateError;
use sqlx::pool::PoolOptions;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Connection, Executor};
use tokio::sync::Semaphore;

use super::dialect::Dialect;
use super::error::StoreError;
use super::session::{Session, bounded, get};
use super::{Inner, Limits, Store};

/// A migration may rewrite a table; a second control plane waits as long for the first one's.
const MIGRATION_LIMIT: Duration = Duration::from_mins(5);

impl Store {
    /// Opens the store at `sqlite://PATH` or `postgres://…` with the limits that are right for use, makes
    /// it where it is not there, and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being opened; [`StoreError::Other`] for an address that is none.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, Limits::default()).await
    }

    /// As [`Store::open`], with limits of one's own.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub async fn open_with(url: &str, limits: Limits) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let (dialect, options) = address(url).await?;
        prepare(dialect, &options, &limits).await?;

        let settings: Arc<str> = dialect.settings(&limits).into();
        let pool = PoolOptions::<Any>::new()
            .max_connections(limits.connections)
            .acquire_timeout(limits.acquire)
            .after_connect(move |connection, _| {
                let settings = settings.clone();
                Box::pin(async move {
                    connection.execute(sqlx::raw_sql(AssertSqlSafe(settings.to_string()))).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options.clone());

        let mut store = Self(Arc::new(Inner {
            pool,
            dialect,
            limits,
            writer: Arc::new(Semaphore::new(1)),
            epoch: 0,
            url: options.database_url.to_string(),
        }));
        let epoch = store.settle_epoch().await?;
        if let Some(inner) = Arc::get_mut(&mut store.0) {
            inner.epoch = epoch;
        }
        Ok(store)
    }

    /// The epoch of this store; the first to open it draws the number.
    async fn settle_epoch(&self) -> Result<u64, StoreError> {
        let mut bytes = [0_u8; 8];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|error| StoreError::Other {
            doing: "draw the store's epoch".to_owned(),
            source: Some(Box::new(error)),
        })?;
        // Positive, and never 0: that means "none" on the wire and in the table.
        let drawn = (i64::from_le_bytes(bytes) & i64::MAX).max(1);
        let mut held = self.begin_unnumbered("set the store's epoch").await?;
        let mut session = held.session();
        session
            .execute(
                "set the store's epoch",
                sqlx::query("UPDATE counter SET epoch = $1 WHERE id = 1 AND epoch = 0").bind(drawn),
            )
            .await?;
        let row = session
            .row("read the store's epoch", sqlx::query("SELECT epoch FROM counter WHERE id = 1"))
            .await?
            .ok_or_else(|| StoreError::corrupt("table `counter`", "it has no row"))?;
        let epoch = get::<i64>(&row, "epoch")?;
        held.commit().await?;
        u64::try_from(epoch).map_err(|error| StoreError::corrupt("column `epoch`", error))
    }
}

/// Parses the address; makes the file and its folder where it is one.
async fn address(url: &str) -> Result<(Dialect, AnyConnectOptions), StoreError> {
    let refused = |why: &str| StoreError::Other {
        doing: format!(
            "take the address of the store: {why}; give sqlite://PATH or postgres://USER@HOST/DATABASE"
        ),
        source: None,
    };
    if let Some(path) = url.strip_prefix("sqlite://") {
        if path.is_empty() || path.starts_with(':') {
            return Err(refused("it names no file"));
        }
        let path = PathBuf::from(path);
        let doing = format!("open the store's file `{}`", path.display());
        let made = tokio::task::spawn_blocking(move || make_file(&path)).await;
        let path = made
            .map_err(std::io::Error::other)
            .and_then(|path| path)
            .map_err(|error| StoreError::from_io(doing.clone(), error))?;
        let encoded = percent_encode(&path).ok_or_else(|| StoreError::Other {
            doing: format!("{doing}: the path is not UTF-8"),
            source: None,
        })?;
        return Ok((Dialect::Sqlite, parse(&format!("sqlite://{encoded}"))?));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok((Dialect::Postgres, parse(url)?));
    }
    Err(refused("it is of neither kind"))
}

/// Parses an address; what cannot be parsed is not repeated, for there may be a password in it.
fn parse(url: &str) -> Result<AnyConnectOptions, StoreError> {
    AnyConnectOptions::from_str(url).map_err(|error| StoreError::Other {
        doing: "parse the address of the store".to_owned(),
        source: Some(Box::new(error)),
    })
}

/// Makes the file, for its owner alone, and the folders above; gives its absolute path. SQLite's own
/// `-wal` and `-shm` files take their mode from it.
fn make_file(path: &Path) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    path.canonicalize()
}

fn percent_encode(path: &Path) -> Option<String> {
    let mut text = String::new();
    for byte in path.to_str()?.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    Some(text)
}

/// Connects once, outside the pool, so that what is wrong is told and not waited for; runs the migrations.
async fn prepare(
    dialect: Dialect,
    options: &AnyConnectOptions,
    limits: &Limits,
) -> Result<(), StoreError> {
    let doing = "connect to the store";
    let mut connection =
        bounded(dialect, limits.acquire, doing, AnyConnection::connect_with(options)).await?;
    let doing = "bring the store's tables up to date";
    match dialect {
        Dialect::Postgres => {
            // A lock keeps a second control plane waiting meanwhile.
            let work = dialect.migrations().run(&mut connection);
            migrated(dialect, tokio::time::timeout(MIGRATION_LIMIT, work).await)?;
        }
        Dialect::Sqlite => {
            let settings = dialect.settings(limits);
            let work = connection.execute(sqlx::raw_sql(AssertSqlSafe(settings)));
            bounded(dialect, limits.statement, doing, work).await?;
            write_ahead_log(&mut connection, limits).await?;
            // sqlx takes no lock here, so it is taken around all of it.
            let begin = connection.begin_with(dialect.begin_write());
            let mut transaction = bounded(dialect, limits.statement, doing, begin).await?;
            let work = dialect.migrations().run(&mut *transaction);
            migrated(dialect, tokio::time::timeout(MIGRATION_LIMIT, work).await)?;
            bounded(dialect, limits.statement, doing, transaction.commit()).await?;
        }
    }
    // It is not needed any more; that it says so politely does not matter.
    drop(tokio::time::timeout(limits.acquire, connection.close()).await);
    Ok(())
}

/// Turns on the write-ahead log, which stays on. SQLite refuses at once, without waiting, where another
/// is just turning it on.
async fn write_ahead_log(
    connection: &mut AnyConnection,
    limits: &Limits,
) -> Result<(), StoreError> {
    let doing = "turn on the store's write-ahead log";
    let deadline = Instant::now() + limits.lock;
    loop {
        let mut session = Session {
            connection: &mut *connection,
            dialect: Dialect::Sqlite,
            limit: limits.statement,
        };
        match session.row(doing, sqlx::query("PRAGMA journal_mode = WAL")).await {
            Err(StoreError::Unavailable { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
}

fn migrated(
    dialect: Dialect,
    result: Result<Result<(), MigrateError>, tokio::time::error::Elapsed>,
) -> Result<(), StoreError> {
    let doing = "bring the store's tables up to date";
    match result {
        Ok(Ok(())) => Ok(()),
        Err(_elapsed) => Err(StoreError::too_slow(doing)),
        Ok(Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _))) => {
            Err(StoreError::from_sqlx(dialect, doing, error))
        }
        Ok(Err(MigrateError::VersionMissing(version))) => Err(StoreError::Other {
            doing: format!(
                "{doing}: a newer Tollgate has changed them (migration {version}); run that one"
            ),
            source: None,
        }),
        Ok(Err(error)) => {
            Err(StoreError::Other { doing: doing.to_owned(), source: Some(Box::new(error)) })
        }
    }
}
