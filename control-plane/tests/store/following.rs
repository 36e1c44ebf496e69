//! What a control plane sees of what another one writes.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::Executor as _;
use tokio::task::JoinSet;
use tollgate_control_plane::store::StoreError;

use crate::changes::{by, commit, create, soon, spec, update};
use crate::support::{Place, on_both};

on_both!(a_reading_follower_sees_whole_revisions, a_gap_in_the_log_is_not_passed_over,);

async fn a_reading_follower_sees_whole_revisions(place: Place) -> anyhow::Result<()> {
    let (writer, follower) = (place.open().await?, place.open().await?);
    let mut writing = JoinSet::new();
    writing.spawn(async move {
        for n in 0..20_u64 {
            let pair = ["a", "b"].map(|name| match n {
                0 => create("default", name, spec(n)),
                _ => update("default", name, spec(n - 1), spec(n)),
            });
            commit(&writer, &pair).await?;
        }
        anyhow::Ok(())
    });
    let mut newest = 0;
    while newest < 20 {
        let (revision, rows) = soon(follower.load_all()).await??;
        for row in &rows {
            assert_eq!((row.version, &row.spec), (revision, &spec(revision - 1)));
        }
        assert_eq!(rows.len(), if revision == 0 { 0 } else { 2 });
        newest = revision;
    }
    writing.join_next().await.context("it was spawned")??
}

async fn a_gap_in_the_log_is_not_passed_over(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    for n in 0..3 {
        commit(&store, &[create("default", &format!("r{n}"), spec(n))]).await?;
    }
    let mut raw = place.raw().await?;
    raw.execute("DELETE FROM change WHERE revision = 2").await?;
    raw.execute("DELETE FROM revision WHERE number = 2").await?;
    for after in [0, 1] {
        let refused = store.changes_after(after, 10).await;
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    }
    assert_eq!(store.changes_after(2, 10).await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_wakes_those_that_listen_on_postgres() -> anyhow::Result<()> {
    let place = Place::postgres().await?;
    let (writer, follower) = (place.open().await?, place.open().await?);
    let mut listener = follower.listen().context("postgres can be listened to")?;
    soon(listener.changed()).await??;
    commit(&writer, &[create("default", "a", spec(1))]).await?;
    soon(listener.changed()).await??;
    assert_eq!(follower.newest_revision().await?, 1);
    // Nothing is told of what was not committed.
    let mut dropped = writer.begin().await?;
    dropped.append(by("ada"), &[create("default", "b", spec(1))]).await?;
    drop(dropped);
    let quiet = tokio::time::timeout(Duration::from_millis(100), listener.changed()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    // A lost connection wakes too, for something may have been missed, and is made again.
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    place.raw().await?.execute(sql).await?;
    drop(soon(listener.changed()).await?);
    soon(listener.changed()).await??;
    commit(&writer, &[create("default", "b", spec(1))]).await?;
    soon(listener.changed()).await??;
    assert!(Place::sqlite().await?.open().await?.listen().is_none());
    Ok(())
}
