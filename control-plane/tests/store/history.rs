//! The history as it is listed, and what differs between revisions.

use anyhow::Context as _;
use serde_json::Value;
use tollgate_control_plane::store::{Filter, Operation, Scope, Store};

use crate::changes::{commit, create, delete, spec, update};
use crate::support::{Place, on_both};

on_both!(
    history_is_listed_newest_first_by_filter_and_page,
    a_tenant_sees_its_own_part_of_the_history_alone,
    what_changed_since_a_revision_is_what_differs_from_it,
    a_long_revision_lists_its_first_resources,
);

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
    the_newest_updates(&store, "r3").await
}

async fn the_newest_updates(store: &Store, name: &str) -> anyhow::Result<()> {
    let newest = store.revisions(Scope::Platform, &Filter::default(), 1).await?;
    let newest = newest.first().context("one revision")?;
    let changed = newest.changes.first().context("one change")?;
    assert_eq!((changed.name.as_str(), changed.operation), (name, Operation::Update));
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
