//! Purges: numbered in the order of their commits, remembered for a while.

use anyhow::Context as _;
use sqlx::Executor as _;
use tokio::task::JoinSet;
use tollgate_control_plane::store::{NewPurge, Scope, Store};

use crate::support::{Place, at, on_both};

on_both!(
    purges_are_numbered_without_gaps_whoever_writes_them,
    what_is_not_remembered_any_more_is_said_so,
    a_tenant_sees_its_own,
);

fn purge(tenant: &str, value: &str) -> NewPurge {
    NewPurge {
        tenant: tenant.to_owned(),
        what: "tag".to_owned(),
        value: value.to_owned(),
        actor: "ada".to_owned(),
        at: at(1),
    }
}

async fn values(store: &Store, after: u64) -> anyhow::Result<Option<Vec<(u64, String)>>> {
    let rows = store.purges_after(after).await?;
    Ok(rows.map(|rows| rows.into_iter().map(|row| (row.number, row.purge.value)).collect()))
}

async fn purges_are_numbered_without_gaps_whoever_writes_them(place: Place) -> anyhow::Result<()> {
    let (first, second) = (place.open().await?, place.open().await?);
    assert_eq!(first.newest_purge().await?, 0);
    assert_eq!(values(&first, 0).await?, Some(Vec::new()));
    let mut writing = JoinSet::new();
    for store in [&first, &second] {
        let store = store.clone();
        writing.spawn(async move {
            for _ in 0..10 {
                store.add_purge(&purge("default", "a")).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    assert_eq!(second.newest_purge().await?, 20);
    let numbers = values(&second, 0).await?.context("all are remembered")?;
    assert!(numbers.iter().map(|(number, _)| *number).eq(1..=20), "{numbers:?}");
    assert_eq!(values(&first, 18).await?.context("two")?.len(), 2);
    assert_eq!(values(&first, 20).await?, Some(Vec::new()));
    Ok(())
}

async fn what_is_not_remembered_any_more_is_said_so(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    store.add_purge(&purge("default", "first")).await?;
    place.raw().await?.execute("UPDATE purge_counter SET number = 10000").await?;
    // The first is the one too many.
    assert_eq!(store.add_purge(&purge("default", "second")).await?, 10_001);
    assert_eq!(values(&store, 0).await?, None);
    let newest = (10_001, "second".to_owned());
    assert_eq!(values(&store, 10_000).await?, Some(vec![newest.clone()]));
    let listed = store.purges(Scope::Platform, None, 10).await?;
    assert_eq!(listed.iter().map(|row| row.number).collect::<Vec<_>>(), [newest.0]);
    Ok(())
}

async fn a_tenant_sees_its_own(place: Place) -> anyhow::Result<()> {
    let store = place.open().await?;
    for tenant in ["a", "b", "a", "b", "a"] {
        store.add_purge(&purge(tenant, "x")).await?;
    }
    let numbers = async |scope, before, limit| {
        let rows = store.purges(scope, before, limit).await?;
        anyhow::Ok(rows.iter().map(|row| row.number).collect::<Vec<_>>())
    };
    assert_eq!(numbers(Scope::Tenant("a"), None, 10).await?, [5, 3, 1]);
    assert_eq!(numbers(Scope::Tenant("a"), None, 2).await?, [5, 3]);
    assert_eq!(numbers(Scope::Tenant("a"), Some(3), 2).await?, [1]);
    assert_eq!(numbers(Scope::Tenant("c"), None, 10).await?, [0; 0]);
    assert_eq!(numbers(Scope::Platform, None, 10).await?, [5, 4, 3, 2, 1]);
    let row = store.purges(Scope::Tenant("b"), None, 1).await?.remove(0);
    assert_eq!((row.number, row.purge), (4, purge("b", "x")));
    Ok(())
}
