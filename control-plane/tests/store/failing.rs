//! What the store says when it cannot: a lock that is held, a full disk, a database that goes away.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tollgate_control_plane::store::{Limits, Store, StoreError};
use tollgate_testkit::postgres::Server;

use crate::changes::{by, commit, create, hasty, soon, spec};
use crate::support::{Place, on_both};

on_both!(a_lock_that_is_held_is_unavailable_within_the_limit,);

async fn a_lock_that_is_held_is_unavailable_within_the_limit(place: Place) -> anyhow::Result<()> {
    let (holder, hasty) = (place.open().await?, Store::open_with(&place.url, hasty()).await?);
    commit(&holder, &[create("default", "a", spec(1))]).await?;
    let held = holder.begin().await?;
    let start = Instant::now();
    let refused = hasty.begin().await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{:?}", refused.err());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    // In this process too, where writers queue before they come to the database; and reads go on.
    let queued = (hasty.begin(), hasty.begin());
    let queued = tokio::join!(queued.0, queued.1);
    assert!(queued.0.is_err() && queued.1.is_err());
    assert_eq!(hasty.load_all().await?.0, 1);
    drop(held);
    assert_eq!(soon(commit(&hasty, &[create("default", "b", spec(1))])).await??, 2);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_half_written() -> anyhow::Result<()> {
    let place = Place::sqlite().await?;
    let limits = Limits { sqlite_pages: Some(100), ..Limits::default() };
    let store = Store::open_with(&place.url, limits).await?;
    let big = json!({ "text": "x".repeat(20_000) });
    let mut stored = 0;
    let refused = loop {
        match commit(&store, &[create("default", &format!("r{stored}"), big.clone())]).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        ensure!(stored < 100, "it never gets full");
    };
    assert!(stored > 0 && matches!(refused, StoreError::Full { .. }), "{stored}: {refused:?}");
    let (revision, rows) = store.load_all().await?;
    assert_eq!((revision, u64::try_from(rows.len())?), (stored, stored));
    store.close().await;
    // With room again, it goes on where it was.
    assert_eq!(commit(&place.open().await?, &[create("default", "after", big)]).await?, stored + 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_unavailable_and_comes_back() -> anyhow::Result<()> {
    let mut server = Server::start().await?;
    let url = server.database().await?;
    let store = Store::open_with(&url, hasty()).await?;
    commit(&store, &[create("default", "a", spec(1))]).await?;
    let mut under_way = store.begin().await?;
    let mut listener = store.listen().context("postgres can be listened to")?;
    soon(listener.changed()).await??;

    server.stop()?;
    let lost = under_way.append(by("ada"), &[create("default", "b", spec(1))]).await;
    assert!(matches!(lost, Err(StoreError::Unavailable { .. })), "{lost:?}");
    drop(under_way);
    let start = Instant::now();
    let refused = store.health().await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    let refused = store.begin().await.err();
    assert!(matches!(refused, Some(StoreError::Unavailable { .. })), "{refused:?}");
    let refused = Store::open_with(&url, hasty()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    while soon(listener.changed()).await?.is_ok() {}

    server.start_again()?;
    let log = soon(async {
        loop {
            if let Ok(log) = store.changes_after(0, 10).await {
                break log;
            }
        }
    })
    .await?;
    assert_eq!(log.len(), 1, "what was acknowledged is there, and nothing else");
    assert_eq!(commit(&store, &[create("default", "b", spec(1))]).await?, 2);
    soon(listener.changed()).await??;
    Ok(())
}
