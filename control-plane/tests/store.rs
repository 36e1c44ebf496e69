//! One suite over both databases: what the store promises, and what it says when it cannot.

#![expect(clippy::cognitive_complexity, reason = "every assertion counts as a branch")]
#![expect(clippy::large_futures, reason = "a test's future is on the heap and alone")]

#[path = "support/changes.rs"]
mod changes;
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};
use tokio::task::JoinSet;
use tollgate_control_plane::store::{
    Content, Filter, Limits, NodeRow, Operation, Row, Scope, Store, StoreError,
};
use tollgate_testkit::postgres::Server;

use changes::{by, commit, create, delete, hasty, soon, spec, update};
use support::{Place, at, on_both};

on_both!(
    concurrent_writers_get_numbers_without_gaps_in_the_order_of_their_commits,
    a_change_that_is_not_committed_leaves_nothing,
    a_writer_that_dies_in_the_middle_leaves_nothing_and_no_lock,
    a_change_writes_the_resource_and_the_log_together,
    a_change_that_the_store_contradicts_is_a_conflict_and_leaves_nothing,
    history_is_listed_newest_first_by_filter_and_page,
    a_tenant_sees_its_own_part_of_the_history_alone,
    what_changed_since_a_revision_is_what_differs_from_it,
    a_big_change_is_written_and_read_back_page_by_page,
    what_is_said_comes_back_as_it_was_said,
    a_long_revision_lists_its_first_resources,
    a_reading_follower_sees_whole_revisions,
    two_that_open_an_empty_store_at_once_open_the_same,
    a_store_keeps_its_epoch,
    a_lock_that_is_held_is_unavailable_within_the_limit,
    a_resource_that_does_not_read_is_named,
    a_gap_in_the_log_is_not_passed_over,
    nodes_are_remembered,
    a_store_of_a_newer_program_is_refused,
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
    let later = tollgate_control_plane::store::NewRevision { at: at(60), ..by("grace") };
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

    let log = store.changes_after(0, 10).await?;
    let changes: Vec<_> = log.iter().map(|revision| revision.changes.clone()).collect();
    assert_eq!(changes, [vec![made], vec![changed], vec![gone]]);
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

async fn history_is_listed_newest_first_by_filter_and_page(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    for n in 1..=10_u64 {
        let mut other = create("default", &format!("r{n}"), spec(n));
        other.kind = if n % 2 == 0 { "Api" } else { "Upstream" }.to_owned();
        commit(&store, &[other]).await?;
    }
    commit(&store, &[update("default", "r3", spec(3), spec(30))]).await?;
    let list = async |filter: Filter, limit| -> anyhow::Result<Vec<u64>> {
        let found = store.revisions(Scope::Platform, &filter, limit).await?;
        Ok(found.iter().map(|revision| revision.number).collect())
    };
    let (kind, name) = (Some("Upstream".to_owned()), Some("r3".to_owned()));
    assert_eq!(list(Filter::default(), 3).await?, [11, 10, 9]);
    assert_eq!(list(Filter { before: Some(3), ..Filter::default() }, 9).await?, [2, 1]);
    assert_eq!(list(Filter { kind: kind.clone(), ..Filter::default() }, 3).await?, [11, 9, 7]);
    let filter = Filter { kind: kind.clone(), before: Some(7), ..Filter::default() };
    assert_eq!(list(filter, 9).await?, [5, 3, 1]);
    assert_eq!(list(Filter { kind, name, before: None }, 9).await?, [11, 3]);
    let filter = Filter { kind: Some("Secret".to_owned()), ..Filter::default() };
    assert!(list(filter, 9).await?.is_empty());

    let newest = store.revisions(Scope::Platform, &Filter::default(), 1).await?;
    let newest = newest.first().context("one revision")?;
    let changed = newest.changes.first().context("one change")?;
    assert_eq!((changed.name.as_str(), changed.operation), ("r3", Operation::Update));
    assert!(!newest.has_more_changes);
    Ok(())
}

async fn a_tenant_sees_its_own_part_of_the_history_alone(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    commit(&store, &[create("shop", "a", spec(1)), create("bank", "vault", spec(2))]).await?;
    commit(&store, &[create("bank", "door", spec(3))]).await?;
    let shop = Scope::Tenant("shop");
    let listed = store.revisions(shop, &Filter::default(), 10).await?;
    assert_eq!(listed.len(), 1);
    let names = |changes: &[tollgate_control_plane::store::ChangedResource]| {
        changes.iter().map(|change| change.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed.first().map(|revision| names(&revision.changes)), Some(vec!["a".to_owned()]));
    let seen = store.revision(shop, 1).await?.context("it touched the shop")?;
    assert_eq!(seen.changes, [create("shop", "a", spec(1))]);
    assert_eq!(store.revision(shop, 2).await?, None);
    assert_eq!(store.revision(Scope::Platform, 3).await?, None);
    let whole = store.revision(Scope::Platform, 1).await?.context("it is there")?;
    assert_eq!(whole.changes.len(), 2);
    let differences = store.changed_since(0, shop).await?;
    assert_eq!(differences.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["a"]);
    Ok(())
}

/// A name, what it said then and what it says now.
type Said = (String, Option<Value>, Option<Value>);

async fn what_changed_since_a_revision_is_what_differs_from_it(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    commit(&store, &[create("default", "kept", spec(1)), create("default", "edited", spec(1))])
        .await?;
    commit(&store, &[create("default", "gone", spec(1)), create("default", "back", spec(1))])
        .await?;
    commit(&store, &[update("default", "edited", spec(1), spec(2))]).await?;
    commit(
        &store,
        &[update("default", "edited", spec(2), spec(3)), delete("default", "gone", spec(1))],
    )
    .await?;
    commit(&store, &[create("default", "new", spec(1)), delete("default", "back", spec(1))])
        .await?;
    commit(&store, &[create("default", "back", spec(1))]).await?;
    let since = async |revision| -> anyhow::Result<Vec<Said>> {
        let mut transaction = store.begin().await?;
        let locked = transaction.changed_since(revision, Scope::Platform).await?;
        assert_eq!(locked, store.changed_since(revision, Scope::Platform).await?);
        Ok(locked.into_iter().map(|d| (d.name, d.then, d.now)).collect())
    };
    let edited = |then| ("edited".to_owned(), Some(spec(then)), Some(spec(3)));
    let new = ("new".to_owned(), None, Some(spec(1)));
    let gone = ("gone".to_owned(), Some(spec(1)), None);
    assert_eq!(since(6).await?, []);
    assert_eq!(since(4).await?, std::slice::from_ref(&new));
    assert_eq!(since(3).await?, [edited(2), gone.clone(), new.clone()]);
    assert_eq!(since(2).await?, [edited(1), gone, new.clone()]);
    let back = ("back".to_owned(), None, Some(spec(1)));
    assert_eq!(since(1).await?, [back.clone(), edited(1), new.clone()]);
    let whole = [
        back,
        ("edited".to_owned(), None, Some(spec(3))),
        ("kept".to_owned(), None, Some(spec(1))),
        new,
    ];
    assert_eq!(since(0).await?, whole);
    Ok(())
}

async fn a_big_change_is_written_and_read_back_page_by_page(place: Place) -> anyhow::Result<()> {
    const RESOURCES: u64 = 5_001;
    let store = place.open().await?;
    let name = |n: u64| format!("r{n:05}");
    let changes: Vec<_> = (0..RESOURCES).map(|n| create("default", &name(n), spec(n))).collect();
    commit(&store, &changes).await?;
    let (mut pages, mut rows) = (0, Vec::new());
    let revision = store
        .load_pages(|page| {
            pages += 1;
            rows.extend(page);
        })
        .await?;
    assert_eq!((revision, pages), (1, 3));
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    assert_eq!(names, (0..RESOURCES).map(name).collect::<Vec<_>>());

    let edit = |n: u64| match n % 3 {
        0 => delete("default", &name(n), spec(n)),
        _ => update("default", &name(n), spec(n), spec(n + 1)),
    };
    let changes: Vec<_> = (0..RESOURCES).map(edit).collect();
    commit(&store, &changes).await?;
    let (_, rows) = store.load_all().await?;
    assert_eq!(rows.len(), 3_334);
    for (row, n) in rows.iter().zip((0..RESOURCES).filter(|n| n % 3 != 0)) {
        assert_eq!((row.name.clone(), &row.spec, row.version), (name(n), &spec(n + 1), 2));
    }
    let log = store.changes_after(1, 10).await?;
    assert_eq!(log.first().map(|revision| &revision.changes), Some(&changes));
    Ok(())
}

async fn what_is_said_comes_back_as_it_was_said(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    let text =
        r#"{"z":1,"a":[1.5,-3,18446744073709551615,1e300],"ü\u0000€":"\n'\"\\🦀","":null,"b":{}}"#;
    let said: Value = serde_json::from_str(text)?;
    commit(&store, &[create("default", "a", said.clone())]).await?;
    let row = store.resource("Upstream", "default", "a").await?.context("it is there")?;
    assert_eq!(row.spec.to_string(), said.to_string());
    let log = store.changes_after(0, 1).await?;
    let change = log.first().and_then(|revision| revision.changes.first()).context("one change")?;
    assert_eq!(change.content, Content::Create { after: said });
    Ok(())
}

async fn a_long_revision_lists_its_first_resources(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    let changes: Vec<_> =
        (0..101_u64).map(|n| create("default", &format!("r{n}"), spec(n))).collect();
    commit(&store, &changes).await?;
    let listed = store.revisions(Scope::Platform, &Filter::default(), 1).await?;
    let listed = listed.first().context("one revision")?;
    assert_eq!((listed.changes.len(), listed.has_more_changes), (100, true));
    Ok(())
}

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

async fn a_resource_that_does_not_read_is_named(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    commit(&store, &[create("default", "a", spec(1)), create("default", "b", spec(1))]).await?;
    place.raw().await?.execute("UPDATE resource SET spec = '{\"n\":' WHERE name = 'b'").await?;
    let refused = store.load_all().await;
    match refused {
        Err(StoreError::Corrupt { what, .. }) => assert_eq!(what, "Upstream default/b"),
        other => bail!("{other:?}"),
    }
    Ok(())
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

async fn nodes_are_remembered(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    store.node_certified("default", "n1", "0a", at(0)).await?;
    let mut node = NodeRow {
        gateway: "default".to_owned(),
        name: "n1".to_owned(),
        build: "1.2.3".to_owned(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        certificate_serial: "ignored".to_owned(),
        first_seen_at: at(5),
        last_seen_at: at(5),
    };
    let other = NodeRow { gateway: "edge".to_owned(), ..node.clone() };
    store.nodes_seen(&[node.clone(), other.clone()]).await?;
    node.certificate_serial = "0a".to_owned();
    node.first_seen_at = at(0);
    assert_eq!(store.nodes().await?, [node.clone(), other.clone()]);
    store.node_certified("default", "n1", "0b", at(9)).await?;
    node.certificate_serial = "0b".to_owned();
    node.last_seen_at = at(9);
    assert_eq!(store.nodes().await?, [node, other.clone()]);
    assert!(store.forget_node("default", "n1").await?);
    assert!(!store.forget_node("default", "n1").await?);
    assert_eq!(store.nodes().await?, [other]);
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
