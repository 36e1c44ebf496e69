//! Changes of the configuration: whole or not at all, numbered without gaps.

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tollgate_control_plane::store::{Change, NewRevision, Row, Store, StoreError};

use crate::changes::{by, commit, create, delete, soon, spec, update};
use crate::support::{Place, at, on_both};

on_both!(
    concurrent_writers_get_numbers_without_gaps_in_the_order_of_their_commits,
    a_change_that_is_not_committed_leaves_nothing,
    a_writer_that_dies_in_the_middle_leaves_nothing_and_no_lock,
    a_change_writes_the_resource_and_the_log_together,
    a_change_that_the_store_contradicts_is_a_conflict_and_leaves_nothing,
);

async fn concurrent_writers_get_numbers_without_gaps_in_the_order_of_their_commits(
    place: Place,
) -> anyhow::Result<()> {
    const WRITERS: u64 = 8;
    const CHANGES: u64 = 12;
    let (one, other) = (place.open().await?, place.open().await?);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = if writer % 2 == 0 { one.clone() } else { other.clone() };
        writers.spawn(async move {
            for n in 0..CHANGES {
                let mut transaction = store.begin().await?;
                let locked = transaction.revision();
                let change = create("default", &format!("{writer}-{n}"), spec(locked));
                let number = transaction.append(by("ada"), &[change]).await?;
                ensure!(number == locked + 1, "{number} after {locked}");
                transaction.commit().await?;
            }
            Ok(())
        });
    }
    // Meanwhile: what a follower has seen never has a gap, for numbers are given in order of commits.
    let mut seen = 0;
    while seen < WRITERS * CHANGES {
        for revision in soon(one.changes_after(seen, 7)).await?? {
            assert_eq!(revision.number, seen + 1);
            assert_eq!(revision.changes.len(), 1);
            let said = revision.changes.first().and_then(|change| change.content.after().cloned());
            assert_eq!(said, Some(spec(seen)), "written under the lock of the one before");
            seen = revision.number;
        }
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    let (revision, rows) = other.load_all().await?;
    assert_eq!((revision, rows.len()), (WRITERS * CHANGES, 96));
    Ok(())
}

async fn a_change_that_is_not_committed_leaves_nothing(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    let mut transaction = store.begin().await?;
    transaction.append(by("ada"), &[create("default", "a", spec(1))]).await?;
    drop(transaction);
    assert_eq!(store.load_all().await?, (0, Vec::new()));
    assert_eq!(store.changes_after(0, 10).await?, Vec::new());
    assert_eq!(commit(&store, &[create("default", "a", spec(2))]).await?, 1);
    Ok(())
}

async fn a_writer_that_dies_in_the_middle_leaves_nothing_and_no_lock(
    place: Place,
) -> anyhow::Result<()> {
    let (store, other) = (place.open().await?, place.open().await?);
    let (written, is_written) = tokio::sync::oneshot::channel();
    let mut writer = JoinSet::new();
    writer.spawn(async move {
        let mut transaction = store.begin().await?;
        transaction.append(by("ada"), &[create("default", "a", spec(1))]).await?;
        assert!(written.send(()).is_ok());
        std::future::pending::<()>().await;
        transaction.commit().await
    });
    soon(is_written).await??;
    writer.shutdown().await;
    assert_eq!(soon(commit(&other, &[create("default", "a", spec(2))])).await??, 1);
    let row = other.resource("Upstream", "default", "a").await?.context("it is there")?;
    assert_eq!(row.spec, spec(2));
    Ok(())
}

async fn a_change_writes_the_resource_and_the_log_together(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    let made = create("default", "a", spec(1));
    let changed = update("default", "a", spec(1), spec(2));
    let gone = delete("default", "a", spec(2));
    assert_eq!(commit(&store, std::slice::from_ref(&made)).await?, 1);
    let mut transaction = store.begin().await?;
    let later = NewRevision { at: at(60), ..by("grace") };
    transaction.append(later, std::slice::from_ref(&changed)).await?;
    transaction.commit().await?;
    let row = Row {
        kind: "Upstream".to_owned(),
        tenant: "default".to_owned(),
        name: "a".to_owned(),
        version: 2,
        managed_by: "cli".to_owned(),
        created_at: at(0),
        updated_at: at(60),
        spec: spec(2),
    };
    assert_eq!(store.load_all().await?, (2, vec![row]));
    assert_eq!(commit(&store, std::slice::from_ref(&gone)).await?, 3);
    assert_eq!(store.load_all().await?, (3, Vec::new()));
    assert_eq!(store.resource("Upstream", "default", "a").await?, None);
    the_log_has(&store, [made, changed, gone]).await
}

/// Whether the log is of these, one a revision; the second by `grace` a minute later.
async fn the_log_has(store: &Store, changes: [Change; 3]) -> anyhow::Result<()> {
    let log = store.changes_after(0, 10).await?;
    let logged: Vec<_> = log.iter().map(|revision| revision.changes.clone()).collect();
    assert_eq!(logged, changes.map(|change| vec![change]));
    let second = log.get(1).context("two revisions")?;
    assert_eq!(
        (second.number, second.at, second.actor.as_str(), second.message.as_str()),
        (2, at(60), "grace", "because")
    );
    assert_eq!(store.changes_after(1, 1).await?, log.get(1..2).context("two revisions")?);
    assert_eq!(store.changes_after(3, 10).await?, Vec::new());
    assert_eq!(store.newest_revision().await?, 3);
    assert_eq!(store.health().await?, 3);
    Ok(())
}

async fn a_change_that_the_store_contradicts_is_a_conflict_and_leaves_nothing(
    place: Place,
) -> anyhow::Result<()> {
    let store = place.open().await?;
    commit(&store, &[create("default", "a", spec(1))]).await?;
    let before = store.load_all().await?;
    let twice = create("default", "b", spec(1));
    for changes in [
        vec![create("default", "a", spec(2))],
        vec![update("default", "b", spec(1), spec(2))],
        vec![delete("default", "b", spec(1))],
        vec![twice.clone(), twice],
        vec![create("default", "c", spec(1)), update("other", "a", spec(1), spec(2))],
    ] {
        let refused = commit(&store, &changes).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{changes:?}: {refused:?}");
        assert_eq!(store.load_all().await?, before);
        assert_eq!(store.changes_after(1, 10).await?, Vec::new());
    }
    Ok(())
}
