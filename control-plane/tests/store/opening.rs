//! How a store is opened and closed, and which one is refused.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use sqlx::{Connection as _, Executor as _};
use tollgate_control_plane::store::{Store, StoreError};

use crate::changes::{commit, create, spec};
use crate::support::{Place, on_both};

on_both!(
    two_that_open_an_empty_store_at_once_open_the_same,
    a_store_keeps_its_epoch,
    a_store_of_a_newer_program_is_refused,
);

async fn two_that_open_an_empty_store_at_once_open_the_same(place: Place) -> anyhow::Result<()> {
    let opened = futures_util::future::try_join_all((0..4).map(|_| place.open())).await?;
    let mut epochs: Vec<u64> = opened.iter().map(Store::epoch).collect();
    epochs.dedup();
    assert!(matches!(epochs.as_slice(), [epoch] if *epoch > 0), "{epochs:?}");
    Ok(())
}

async fn a_store_keeps_its_epoch(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    let epoch = store.epoch();
    commit(&store, &[create("default", "a", spec(1))]).await?;
    store.close().await;
    let refused = store.health().await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    let again = place.open().await?;
    assert_eq!((again.epoch(), again.health().await?), (epoch, 1));
    Ok(())
}

async fn a_store_of_a_newer_program_is_refused(place: Place) -> anyhow::Result<()> {
    place.open().await?.close().await;
    let mut raw = place.raw().await?;
    raw.execute("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 4").await?;
    raw.close().await?;
    let refused = place.open().await.err().context("it is refused")?.to_string();
    assert!(refused.contains("newer Tollgate") && refused.contains("9999"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_sqlite_file_and_its_folder_are_made_for_their_owner_alone() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("a folder/with #? %41");
    let path = data.join("store.db");
    let store = Store::open(&format!("sqlite://{}", path.display())).await?;
    commit(&store, &[create("default", "a", spec(1))]).await?;
    assert_eq!(std::fs::metadata(&data)?.permissions().mode() & 0o777, 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(&data)? {
        let entry = entry?;
        assert!(entry.file_name().to_string_lossy().starts_with("store.db"), "{entry:?}");
        assert_eq!(entry.metadata()?.permissions().mode() & 0o777, 0o600, "{entry:?}");
        files += 1;
    }
    assert!(files >= 2, "the file and its write-ahead log");
    Ok(())
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_repeating_it() {
    for url in [
        "",
        "sqlite://",
        "sqlite://:memory:",
        "mysql://u:hunter2@h/d",
        "postgres://u:hunter2@h:x/d",
    ] {
        let refused = Store::open(url).await.unwrap_err();
        let text = format!("{:#}", anyhow::Error::from(refused));
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("the address of the store"), "{text}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    std::fs::write(&file, "")?;
    for path in [file.join("store.db"), "/proc/tollgate/store.db".into(), folder.path().to_owned()]
    {
        let refused = Store::open(&format!("sqlite://{}", path.display())).await.unwrap_err();
        assert!(matches!(refused, StoreError::Other { .. }), "{refused:?}");
        assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_database_is_damaged() -> anyhow::Result<()> {
    let place = Place::sqlite().await?;
    std::fs::write(
        place.folder.path().join("store.db"),
        "not a database, but long enough".repeat(99),
    )?;
    let refused = place.open().await;
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    Ok(())
}
