//! The admin API: what it takes, what it refuses, and who may.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as they do")]
#![expect(clippy::indexing_slicing, reason = "a missing field of an answer fails the test")]
#![expect(clippy::large_futures, reason = "a test's future is on the heap and alone")]

mod plane;

use plane::{Answer, Plane, ROOT, read, send, settings, upstream};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const U: &str = "/api/v1/tenants/default/upstreams";

async fn start() -> anyhow::Result<(tempfile::TempDir, Plane)> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    Ok((folder, plane))
}

async fn token(plane: &Plane, role: &str, tenant: Option<&str>) -> String {
    let body = json!({ "name": format!("{role} of {tenant:?}"), "role": role, "tenant": tenant });
    let answer = plane.post("/api/v1/tokens", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.body["token"].as_str().unwrap().to_owned()
}

/// The places of its issues with their codes.
fn issues(answer: &Answer) -> Vec<(&str, &str)> {
    let issues = answer.body["issues"].as_array().unwrap();
    issues
        .iter()
        .map(|issue| (issue["at"].as_str().unwrap(), issue["code"].as_str().unwrap()))
        .collect()
}

fn refused(answer: &Answer, status: StatusCode, code: &str) {
    assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["status"], status.as_u16());
    assert_eq!(answer.body["request_id"].as_str().unwrap(), answer.headers["x-request-id"]);
    assert!(answer.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_is_written_read_listed_and_taken_away() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let created = plane.put(&format!("{U}/orders"), upstream("http://h:1")).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    assert_eq!(created.body, json!({ "revision": 1, "result": "created", "dry_run": false }));
    assert_eq!(created.headers["etag"], "\"1\"");
    let got = plane.get(&format!("{U}/orders")).await;
    assert_eq!(got.headers["etag"], "\"1\"");
    let fields: Vec<&String> = got.body.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        ["kind", "tenant", "name", "spec", "version", "created_at", "updated_at", "managed_by"]
    );
    assert_eq!((&got.body["managed_by"], &got.body["version"]), (&json!("api"), &json!(1)));

    // What was read can be written back.
    let same = plane.put(&format!("{U}/orders"), got.body.clone()).await;
    assert_eq!(same.body, json!({ "revision": null, "result": "unchanged", "dry_run": false }));
    let mut labelled = got.body.clone();
    labelled["labels"] = json!({ "team": "shop" });
    let updated = plane.put(&format!("{U}/orders"), labelled).await;
    assert_eq!(
        (&updated.body["result"], &updated.headers["etag"]),
        (&json!("updated"), &"\"2\"".parse()?)
    );

    for i in 0..5 {
        plane.put(&format!("{U}/u{i}"), upstream("http://h:1")).await;
    }
    let names = |answer: &Answer| -> Vec<String> {
        let items = answer.body["items"].as_array().unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = plane.get(&format!("{U}?limit=4")).await;
    assert_eq!(names(&first), ["orders", "u0", "u1", "u2"]);
    let cursor = first.body["next"].as_str().unwrap();
    let second = plane.get(&format!("{U}?limit=4&cursor={cursor}")).await;
    assert_eq!(
        (names(&second), &second.body["next"]),
        (vec!["u3".to_owned(), "u4".to_owned()], &Value::Null)
    );
    assert_eq!(names(&plane.get(&format!("{U}?label=team=shop")).await), ["orders"]);
    assert_eq!(names(&plane.get(&format!("{U}?q=U3")).await), ["u3"]);
    assert!(names(&plane.get(&format!("{U}?label=team=else")).await).is_empty());

    let gone = plane.call(Method::DELETE, &format!("{U}/u4?message=tidy"), None).await;
    assert_eq!(
        (&gone.body["result"], &gone.body["revision"]),
        (&json!("deleted"), &json!(8)),
        "{gone:?}"
    );
    refused(&plane.get(&format!("{U}/u4")).await, StatusCode::NOT_FOUND, "not_found");
    refused(
        &plane.call(Method::DELETE, &format!("{U}/u4"), None).await,
        StatusCode::NOT_FOUND,
        "not_found",
    );
    let history = plane.get("/api/v1/revisions?kind=Upstream&tenant=default&name=u4").await.body;
    let messages: Vec<&Value> =
        history["items"].as_array().unwrap().iter().map(|item| &item["message"]).collect();
    assert_eq!(messages, ["tidy", ""]);
    let page = plane.get("/api/v1/revisions?limit=3").await.body;
    assert_eq!((&page["items"][0]["number"], &page["next"]), (&json!(8), &json!("6")));
    let page = plane.get("/api/v1/revisions?limit=3&cursor=6").await.body;
    assert_eq!(page["items"][0]["number"], 5);
    let export = plane.get("/api/v1/export").await.body;
    assert_eq!((&export["revision"], export["items"].as_array().unwrap().len()), (&json!(8), 5));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_meets_what_it_expects_or_is_refused() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let path = format!("{U}/orders");
    let with = |name: &'static str, value: &'static str, url: &str| {
        let request = plane.request(Method::PUT, &path).bearer_auth(ROOT).header(name, value);
        send(request.json(&upstream(url)))
    };
    refused(
        &with("if-match", "\"1\"", "http://h:1").await,
        StatusCode::PRECONDITION_FAILED,
        "version_conflict",
    );
    assert_eq!(with("if-none-match", "*", "http://h:1").await.status, StatusCode::CREATED);
    refused(
        &with("if-none-match", "*", "http://h:2").await,
        StatusCode::PRECONDITION_FAILED,
        "version_conflict",
    );
    let stale = with("if-match", "\"7\"", "http://h:2").await;
    refused(&stale, StatusCode::PRECONDITION_FAILED, "version_conflict");
    assert!(stale.body["detail"].as_str().unwrap().contains("is at version 1"));
    refused(
        &with("if-match", "1", "http://h:2").await,
        StatusCode::BAD_REQUEST,
        "invalid_condition",
    );
    assert_eq!(with("if-match", "\"1\"", "http://h:2").await.body["revision"], 2);

    // Two that read the same version: one of them is told.
    let (a, b) = tokio::join!(
        with("if-match", "\"2\"", "http://h:3"),
        with("if-match", "\"2\"", "http://h:4")
    );
    let mut statuses = [a.status, b.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::PRECONDITION_FAILED]);
    Ok(())
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_read_is_refused_by_its_place() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let raw = |body: &'static str| {
        let request = plane.request(Method::PUT, &format!("{U}/u")).bearer_auth(ROOT);
        send(request.header("content-type", "application/json").body(body))
    };
    let answer = raw("{\"spec\": {\n  \"endpoints\": [1,]}}").await;
    refused(&answer, StatusCode::BAD_REQUEST, "invalid_json");
    assert!(answer.body["detail"].as_str().unwrap().contains("line 2 column"), "{answer:?}");
    refused(&raw("[]").await, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    let answer =
        plane.put(&format!("{U}/u"), json!({ "kind": "Api", "name": "v", "spec": {} })).await;
    assert_eq!(issues(&answer), [("/kind", "address_differs"), ("/name", "address_differs")]);
    let answer = plane.get(&format!("{U}?limt=3&q=a&q=b&limit=0")).await;
    refused(&answer, StatusCode::BAD_REQUEST, "invalid_query");
    assert_eq!(
        issues(&answer),
        [("?limt", "unknown_parameter"), ("?q", "duplicate"), ("?limit", "out_of_range")]
    );
    assert!(
        answer.body["issues"][0]["problem"].as_str().unwrap().contains("did you mean `limit`?")
    );
    refused(
        &plane.get("/api/v1/tenants/default/upstream").await,
        StatusCode::NOT_FOUND,
        "not_found",
    );
    refused(
        &plane.get("/api/v1/tenants/nobody/upstreams").await,
        StatusCode::NOT_FOUND,
        "not_found",
    );
    refused(&plane.get("/nowhere").await, StatusCode::NOT_FOUND, "not_found");
    refused(
        &plane.call(Method::PATCH, &format!("{U}/u"), None).await,
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
    );
    // Refused before it is read, so the connection may be reset under a client that still sends.
    let mut large = None;
    for _ in 0..50 {
        let request = plane.request(Method::PUT, &format!("{U}/u")).bearer_auth(ROOT);
        let request = request.header("content-type", "application/json");
        if let Ok(response) = request.body(" ".repeat((2 << 20) + 1)).send().await {
            large = read(response).await;
        }
        if large.is_some() {
            break;
        }
    }
    let large = large.unwrap();
    refused(&large, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large");
    let request = plane.request(Method::PUT, &format!("{U}/u")).bearer_auth(ROOT);
    refused(
        &send(request.header("content-type", "text/yaml").body("spec: {}")).await,
        StatusCode::BAD_REQUEST,
        "not_json",
    );
    let request = plane.request(Method::GET, "/nowhere").header("x-request-id", "mine-1");
    assert_eq!(send(request).await.body["request_id"], "mine-1");
    let request = plane.request(Method::GET, "/nowhere").header("x-request-id", "a b");
    assert_ne!(send(request).await.body["request_id"], "a b");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_made_shown_once_and_rotated() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let keys = "/api/v1/tenants/default/applications/web/keys";
    refused(&plane.post(keys, json!({})).await, StatusCode::NOT_FOUND, "not_found");
    plane.put("/api/v1/tenants/default/applications/web", json!({ "spec": {} })).await;
    let made =
        plane.post(keys, json!({ "name": "first", "expires_at": "2100-01-01T00:00:00Z" })).await;
    assert_eq!(
        (made.status, &made.body["credential"], &made.body["revision"]),
        (StatusCode::CREATED, &json!("first"), &json!(2))
    );
    let key = made.body["key"].as_str().unwrap();
    assert!(key.starts_with("tg_") && key.len() == 50, "{key}");
    let shown = plane.get("/api/v1/tenants/default/credentials/first").await.body;
    assert_eq!(
        shown["spec"],
        json!({ "application": "web", "api_key": { "hint": &key[..7] }, "expires_at": "2100-01-01T00:00:00Z" })
    );
    refused(
        &plane.post(keys, json!({ "name": "first" })).await,
        StatusCode::PRECONDITION_FAILED,
        "version_conflict",
    );
    refused(
        &plane.post(keys, json!({ "expires_at": "2001-01-01T00:00:00Z" })).await,
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid",
    );
    let unnamed = plane.post(keys, json!({})).await;
    assert!(unnamed.body["credential"].as_str().unwrap().starts_with("web-"), "{unnamed:?}");

    let rotate = |name: &str, body: Value| {
        let path = format!("/api/v1/tenants/default/credentials/{name}/rotate");
        let plane = &plane;
        async move { plane.post(&path, body).await }
    };
    let kept = rotate("first", json!({ "overlap": "1h" })).await;
    assert_eq!(kept.body["credential"], "first-2", "{kept:?}");
    assert_ne!(kept.body["key"], made.body["key"]);
    let old = plane.get("/api/v1/tenants/default/credentials/first").await.body;
    assert!(old["spec"]["expires_at"].as_str().unwrap() < "2100", "{old}");
    assert_eq!(old["spec"]["api_key"]["hint"], key[..7]);
    assert_eq!(rotate("first-2", json!({})).await.body["credential"], "first-3");
    refused(
        &plane.get("/api/v1/tenants/default/credentials/first-2").await,
        StatusCode::NOT_FOUND,
        "not_found",
    );
    refused(&rotate("absent", json!({})).await, StatusCode::NOT_FOUND, "not_found");
    Ok(())
}

/// What a token of tenant `shop` must find nothing behind.
fn foreign() -> Vec<(Method, String, Option<Value>)> {
    let bank = |path: &str| format!("/api/v1/tenants/bank/{path}");
    vec![
        (Method::GET, bank("applications"), None),
        (Method::GET, bank("applications/app"), None),
        (Method::PUT, bank("applications/app"), Some(json!({ "spec": {} }))),
        (Method::DELETE, bank("applications/app"), None),
        (Method::POST, bank("applications/app/keys"), Some(json!({}))),
        (Method::POST, bank("credentials/key/rotate"), Some(json!({}))),
        (Method::GET, "/api/v1/tenants/default/applications".to_owned(), None),
        (Method::GET, "/api/v1/tenants/default/tenants".to_owned(), None),
        (Method::GET, "/api/v1/tenants/shop/tenants".to_owned(), None),
        (Method::GET, "/api/v1/tenants/default/tenants/shop".to_owned(), None),
        (
            Method::PUT,
            "/api/v1/tenants/default/tenants/shop".to_owned(),
            Some(json!({ "spec": {} })),
        ),
        (Method::PUT, "/api/v1/tenants/default/gateways/g".to_owned(), Some(json!({ "spec": {} }))),
        (Method::GET, "/api/v1/export?tenant=bank".to_owned(), None),
        (Method::GET, "/api/v1/revisions?tenant=bank".to_owned(), None),
        (Method::GET, "/api/v1/revisions/1".to_owned(), None),
        (Method::GET, "/api/v1/revisions/5".to_owned(), None),
        (
            Method::POST,
            "/api/v1/changes".to_owned(),
            Some(
                json!({ "resources": [{ "kind": "Application", "tenant": "bank", "name": "x", "spec": {} }] }),
            ),
        ),
        (
            Method::POST,
            "/api/v1/changes".to_owned(),
            Some(json!({ "resources": [{ "kind": "Tenant", "name": "evil", "spec": {} }] })),
        ),
        (
            Method::POST,
            "/api/v1/changes".to_owned(),
            Some(
                json!({ "deletions": [{ "kind": "Application", "tenant": "bank", "name": "app" }] }),
            ),
        ),
        (
            Method::POST,
            "/api/v1/changes".to_owned(),
            Some(json!({ "prune": { "managed_by": "api", "tenants": ["bank"] } })),
        ),
        (Method::GET, "/api/v1/nodes".to_owned(), None),
        (Method::DELETE, "/api/v1/nodes/default/n".to_owned(), None),
        (Method::GET, "/api/v1/join-tokens".to_owned(), None),
        (Method::POST, "/api/v1/join-tokens".to_owned(), Some(json!({}))),
        (Method::DELETE, "/api/v1/join-tokens/x".to_owned(), None),
    ]
}

/// Every endpoint, with what a tenant's token gets: of its own tenant, of another, of the platform.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_sees_and_changes_nothing_but_its_own() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    for tenant in ["shop", "bank"] {
        plane
            .put(
                &format!("/api/v1/tenants/default/tenants/{tenant}"),
                json!({ "spec": { "hosts": [format!("{tenant}.test")] } }),
            )
            .await;
        plane
            .put(&format!("/api/v1/tenants/{tenant}/applications/app"), json!({ "spec": {} }))
            .await;
        plane
            .post(
                &format!("/api/v1/tenants/{tenant}/applications/app/keys"),
                json!({ "name": "key" }),
            )
            .await;
    }
    plane
        .put(
            "/api/v1/tenants/bank/applications/app",
            json!({ "spec": { "description": "the bank's" } }),
        )
        .await;
    let shop = token(&plane, "admin", Some("shop")).await;
    let call = |method: Method, path: &str, body: Option<Value>| {
        let (path, shop, plane) = (path.to_owned(), shop.clone(), &plane);
        async move { plane.call_as(Some(&shop), method, &path, body).await }
    };
    let before = plane.get("/api/v1/export").await.text;
    for (method, path, body) in foreign() {
        let answer = call(method.clone(), &path, body).await;
        refused(&answer, StatusCode::NOT_FOUND, "not_found");
        assert!(!answer.text.contains("the bank's"), "{answer:?}");
    }
    assert_eq!(plane.get("/api/v1/export").await.text, before);

    let export = call(Method::GET, "/api/v1/export", None).await.body;
    assert!(
        export["items"].as_array().unwrap().iter().all(|item| item["tenant"] == "shop"),
        "{export}"
    );
    assert_eq!(export["items"].as_array().unwrap().len(), 2);
    for path in ["/api/v1/revisions", "/api/v1/revisions/0/diff/7"] {
        let answer = call(Method::GET, path, None).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.text.contains("bank") && !answer.text.contains("Tenant"), "{answer:?}");
    }
    assert_eq!(call(Method::GET, "/api/v1/status", None).await.status, StatusCode::OK);
    let whoami = call(Method::GET, "/api/v1/whoami", None).await.body;
    assert_eq!((&whoami["tenant"], &whoami["role"]), (&json!("shop"), &json!("admin")));
    // Its own goes back; the other's stays as it is.
    let back = call(Method::POST, "/api/v1/revisions/0/rollback", Some(json!({}))).await;
    let lines = back.body["changes"].as_array().unwrap();
    assert!(lines.len() == 2 && lines.iter().all(|line| line["tenant"] == "shop"), "{back:?}");
    assert_eq!(plane.get("/api/v1/tenants/bank/applications/app").await.status, StatusCode::OK);
    // Where nothing names a tenant, its own is meant.
    let change = json!({ "resources": [{ "kind": "Application", "name": "mine", "spec": {} }] });
    assert_eq!(
        call(Method::POST, "/api/v1/changes", Some(change)).await.body["changes"][0]["tenant"],
        "shop"
    );

    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_administrator_makes_and_sees_tokens_of_its_own_alone() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    for tenant in ["shop", "bank"] {
        let body = json!({ "spec": { "hosts": [format!("{tenant}.test")] } });
        plane.put(&format!("/api/v1/tenants/default/tenants/{tenant}"), body).await;
    }
    let shop = token(&plane, "admin", Some("shop")).await;
    let call = |method: Method, path: &str, body: Option<Value>| {
        let (path, shop, plane) = (path.to_owned(), shop.clone(), &plane);
        async move { plane.call_as(Some(&shop), method, &path, body).await }
    };
    let made =
        call(Method::POST, "/api/v1/tokens", Some(json!({ "name": "t", "role": "viewer" }))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let foreign = call(
        Method::POST,
        "/api/v1/tokens",
        Some(json!({ "name": "t", "role": "viewer", "tenant": "bank" })),
    )
    .await;
    assert_eq!(issues(&foreign), [("/tenant", "unknown_reference")]);
    let tokens = call(Method::GET, "/api/v1/tokens", None).await.body;
    assert!(
        tokens["items"].as_array().unwrap().iter().all(|item| item["tenant"] == "shop"),
        "{tokens}"
    );
    let all = plane.get("/api/v1/tokens").await.body;
    let root =
        all["items"].as_array().unwrap().iter().find(|item| item["tenant"].is_null()).unwrap();
    let path = format!("/api/v1/tokens/{}", root["id"].as_str().unwrap());
    refused(&call(Method::DELETE, &path, None).await, StatusCode::NOT_FOUND, "not_found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_may_do_no_more_than_it_says() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let (viewer, editor) =
        (token(&plane, "viewer", None).await, token(&plane, "editor", None).await);
    let put = |token: &str, path: &str| {
        let (token, path, plane) = (token.to_owned(), path.to_owned(), &plane);
        async move {
            plane.call_as(Some(&token), Method::PUT, &path, Some(upstream("http://h:1"))).await
        }
    };
    refused(&put(&viewer, &format!("{U}/u")).await, StatusCode::FORBIDDEN, "forbidden");
    assert_eq!(put(&editor, &format!("{U}/u")).await.status, StatusCode::CREATED);
    let get = |token: Option<String>, path: &'static str| {
        let plane = &plane;
        async move { plane.call_as(token.as_deref(), Method::GET, path, None).await }
    };
    assert_eq!(get(Some(viewer.clone()), "/api/v1/export").await.status, StatusCode::OK);
    refused(&get(Some(editor.clone()), "/api/v1/tokens").await, StatusCode::FORBIDDEN, "forbidden");
    refused(
        &plane
            .call_as(
                Some(&editor),
                Method::PUT,
                "/api/v1/tenants/default/tenants/t",
                Some(json!({ "spec": {} })),
            )
            .await,
        StatusCode::FORBIDDEN,
        "forbidden",
    );
    refused(
        &plane.call_as(Some(&viewer), Method::POST, "/api/v1/changes", Some(json!({}))).await,
        StatusCode::FORBIDDEN,
        "forbidden",
    );
    for token in [None, Some("tga_wrong".to_owned()), Some(String::new())] {
        let answer = get(token, "/api/v1/status").await;
        refused(&answer, StatusCode::UNAUTHORIZED, "unauthenticated");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    // Revoked is revoked, from the next request on.
    let tokens = plane.get("/api/v1/tokens").await.body;
    let id = tokens["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["role"] == "viewer")
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        plane.call(Method::DELETE, &format!("/api/v1/tokens/{id}"), None).await.status,
        StatusCode::OK
    );
    refused(
        &get(Some(viewer), "/api/v1/export").await,
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
    );
    assert!(!plane.get("/api/v1/tokens").await.text.contains(&id));
    assert!(plane.get("/api/v1/tokens?all=true").await.text.contains(&id));
    let faults = plane.post("/api/v1/tokens", json!({ "name": "", "role": "boss", "tenant": "none", "expires_at": "2001-01-01T00:00:00Z" })).await;
    assert_eq!(issues(&faults).len(), 4, "{faults:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_described_as_it_is() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let answer = plane.call_as(None, Method::GET, "/api/v1/openapi.json", None).await;
    assert_eq!(answer.body["openapi"], "3.1.0");
    let references: Vec<&str> = answer
        .text
        .split("\"$ref\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(answer.body.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (path, methods) in answer.body["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path =
                path.replace("{kind}", "apis").replace("{number}", "1").replace("{other}", "1");
            let path = path.replace(['{', '}'], "");
            let method: Method = method.to_uppercase().parse()?;
            // Without a token every endpoint that there is asks for one.
            let answer = plane.call_as(None, method.clone(), &format!("/api/v1{path}"), None).await;
            refused(&answer, StatusCode::UNAUTHORIZED, "unauthenticated");
        }
    }
    insta::assert_json_snapshot!("openapi", answer.body);
    let page = plane.call_as(None, Method::GET, "/docs", None).await;
    assert!(page.text.contains("/api/v1/openapi.json") && !page.text.contains("src="));
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(plane.call_as(None, Method::GET, path, None).await.status, StatusCode::OK);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_says_what_mends_it() -> anyhow::Result<()> {
    let (folder, plane) = start().await?;
    let taken = plane.grpc;
    let mut settings = plane.stop().await?;
    let holder = std::net::TcpListener::bind(taken)?;
    settings.grpc = taken;
    let error = Plane::start(settings.clone()).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "listen on {taken} for the nodes; take another one with `--grpc` or `TOLLGATE_GRPC`"
        )
    );
    drop(holder);
    std::fs::remove_file(folder.path().join("master-key"))?;
    let error = Plane::start(settings.clone()).await.err().unwrap();
    assert!(format!("{error:#}").contains("does not fit this store"), "{error:#}");
    settings.database = Some("mysql://x".to_owned());
    let error = Plane::start(settings).await.err().unwrap();
    assert!(error.to_string().contains("--database"), "{error:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_is_said_so_and_comes_back() -> anyhow::Result<()> {
    let mut server = tollgate_testkit::postgres::Server::start().await?;
    let folder = tempfile::tempdir()?;
    let mut settings = settings(folder.path());
    settings.database = Some(server.database().await?);
    let plane = Plane::start(settings).await?;
    plane.put(&format!("{U}/u"), upstream("http://h:1")).await;
    server.stop()?;
    let away = plane.put(&format!("{U}/v"), upstream("http://h:1")).await;
    refused(&away, StatusCode::SERVICE_UNAVAILABLE, "store_unavailable");
    assert_eq!(away.headers["retry-after"], "1");
    assert_eq!(plane.get("/ready").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(plane.get("/live").await.status, StatusCode::OK);
    server.start_again()?;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while plane.get("/ready").await.status != StatusCode::OK {
        assert!(std::time::Instant::now() < deadline, "it does not come back");
    }
    assert_eq!(plane.put(&format!("{U}/v"), upstream("http://h:1")).await.body["revision"], 2);
    Ok(())
}
