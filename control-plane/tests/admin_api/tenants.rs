//! A tenant's token: it sees and changes nothing but its own.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{issues, refused, start, token};

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
