//! Many resources in one change: who manages them, every fault at once, a dry run.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::plane::upstream;
use crate::{U, issues, refused, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_overwrites_what_another_manages_without_being_told() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let change = |url: &str, force: bool| {
        let mut document = upstream(url);
        document["kind"] = "Upstream".into();
        document["name"] = "u".into();
        json!({ "managed_by": "cli", "force": force, "resources": [document] })
    };
    plane.put(&format!("{U}/u?managed_by=console"), upstream("http://h:1")).await;
    // The same content is nobody's change.
    assert_eq!(
        plane.post("/api/v1/changes", change("http://h:1", false)).await.body["revision"],
        Value::Null
    );
    let answer = plane.post("/api/v1/changes", change("http://h:2", false)).await;
    refused(&answer, StatusCode::CONFLICT, "managed_elsewhere");
    assert_eq!(issues(&answer), [("/resources/0", "managed_elsewhere")]);
    assert_eq!(plane.post("/api/v1/changes", change("http://h:2", true)).await.body["revision"], 2);
    assert_eq!(plane.get(&format!("{U}/u")).await.body["managed_by"], "cli");
    let answer = plane.call(Method::DELETE, &format!("{U}/u?managed_by=console"), None).await;
    refused(&answer, StatusCode::CONFLICT, "managed_elsewhere");
    assert_eq!(plane.call(Method::DELETE, &format!("{U}/u"), None).await.status, StatusCode::OK);

    // Pruning takes away what the manager made and the change no longer has, and nothing else.
    plane.put(&format!("{U}/mine?managed_by=cli"), upstream("http://h:1")).await;
    plane.put(&format!("{U}/theirs?managed_by=console"), upstream("http://h:1")).await;
    let mut pruning = change("http://h:3", false);
    pruning["prune"] = json!({ "managed_by": "cli", "tenants": ["default"] });
    let answer = plane.post("/api/v1/changes", pruning).await;
    let lines: Vec<(&Value, &Value)> = answer.body["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (&line["op"], &line["name"]))
        .collect();
    assert_eq!(
        lines,
        [(&json!("create"), &json!("u")), (&json!("delete"), &json!("mine"))],
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_change_is_told_at_once_and_nothing_is_changed() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let change = json!({ "resources": [
        { "kind": "Upstrem", "name": "a", "spec": {} },
        { "kind": "Upstream", "name": "Not A Name", "spec": {} },
        { "kind": "Upstream", "name": "b", "spec": { "endpoints": [], "colour": "red", "balance": "best" } },
        { "kind": "Api", "name": "c", "spec": { "base_path": "no-slash", "policies": [{ "rate_limit": { "limit": 0 } }] } },
        7,
    ] });
    let answer = plane.post("/api/v1/changes", change).await;
    refused(&answer, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    let found = issues(&answer);
    for expected in [
        ("/resources/0/kind", "unknown_kind"),
        ("/resources/1/name", "invalid_name"),
        ("/resources/2/spec/colour", "unknown_field"),
        ("/resources/2/spec/balance", "unknown_value"),
        ("/resources/4", "wrong_type"),
    ] {
        assert!(found.contains(&expected), "{expected:?} in {found:?}");
    }
    assert!(found.iter().any(|(at, _)| at.starts_with("/resources/3/spec/base_path")), "{found:?}");

    // What only all resources together show comes with what one alone shows.
    let change = json!({ "resources": [
        { "kind": "Upstream", "name": "bad", "spec": { "endpoints": 1 } },
        { "kind": "Api", "name": "uses-bad", "spec": { "base_path": "/a", "upstream": "bad" } },
        { "kind": "Api", "name": "uses-none", "spec": { "base_path": "/b", "upstream": "none" } },
        { "kind": "Api", "name": "uses-none", "spec": { "base_path": "/b", "upstream": "none" } },
    ], "deletions": [{ "kind": "Upstream", "name": "not-there" }] });
    let answer = plane.post("/api/v1/changes", change).await;
    let found = issues(&answer);
    assert!(found.contains(&("/resources/2/spec/upstream", "unknown_reference")), "{found:?}");
    assert!(found.contains(&("/resources/3", "duplicate")), "{found:?}");
    assert!(found.iter().any(|(at, _)| at.starts_with("/resources/0/spec/endpoints")), "{found:?}");
    assert!(!found.iter().any(|(at, _)| at.starts_with("/resources/1")), "{found:?}");

    // What is in use does not go.
    plane.put(&format!("{U}/u"), upstream("http://h:1")).await;
    plane
        .put(
            "/api/v1/tenants/default/apis/a",
            json!({ "spec": { "base_path": "/a", "upstream": "u" } }),
        )
        .await;
    let answer = plane.call(Method::DELETE, &format!("{U}/u"), None).await;
    refused(&answer, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(issues(&answer), [("", "in_use")]);
    assert_eq!(plane.get("/api/v1/status").await.body["revision"], 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_writes_nothing() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let answer =
        plane.put(&format!("{U}/u?dry_run=true&wait=applied"), upstream("http://h:1")).await;
    assert_eq!(
        (answer.status, &answer.body),
        (StatusCode::OK, &json!({ "revision": null, "result": "created", "dry_run": true }))
    );
    plane.put(&format!("{U}/u"), upstream("http://h:1")).await;
    let mut document = upstream("http://h:2");
    document["kind"] = "Upstream".into();
    document["name"] = "u".into();
    let answer =
        plane.post("/api/v1/changes", json!({ "dry_run": true, "resources": [document] })).await;
    let expected = json!({ "revision": null, "dry_run": true, "changes": [{ "op": "update", "kind": "Upstream", "tenant": "default", "name": "u", "diff": [{ "at": "/spec/endpoints/0/url", "before": "http://h:1", "after": "http://h:2" }] }] });
    assert_eq!(answer.body, expected);
    let answer = plane.call(Method::DELETE, &format!("{U}/u?dry_run=true"), None).await;
    assert_eq!(answer.body["result"], "deleted");
    assert_eq!(plane.get(&format!("{U}/u")).await.body["version"], 1);
    assert_eq!(plane.get("/api/v1/revisions").await.body["items"].as_array().unwrap().len(), 1);
    Ok(())
}
