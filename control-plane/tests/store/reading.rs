//! What was written comes back as it was written.

use anyhow::{Context as _, bail};
use serde_json::Value;
use sqlx::Executor as _;
use tollgate_control_plane::store::{Content, NodeRow, StoreError};

use crate::changes::{commit, create, delete, spec, update};
use crate::support::{Place, at, on_both};

on_both!(
    a_big_change_is_written_and_read_back_page_by_page,
    what_is_said_comes_back_as_it_was_said,
    a_resource_that_does_not_read_is_named,
    nodes_are_remembered,
);

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
