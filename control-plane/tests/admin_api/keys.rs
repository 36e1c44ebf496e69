//! Keys of applications: made, shown once, rotated.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{refused, start};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_written_and_never_shown() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    plane.put("/api/v1/tenants/default/applications/web", json!({ "spec": {} })).await;
    let path = "/api/v1/tenants/default/credentials/web";
    let spec = |username: &str, password: Value| json!({ "spec": { "application": "web", "basic": { "username": username, "password": password } } });
    let written = spec("web", json!({ "value": "correct horse" }));
    let first = plane.put(path, written.clone()).await;
    assert!(first.status.is_success() && !first.text.contains("argon2id"), "{first:?}");
    let shown = plane.get(path).await;
    assert_eq!(
        shown.body["spec"]["basic"],
        json!({ "username": "web", "password": { "sealed": true } })
    );

    // The same password is no change, and what was shown sealed keeps it.
    let version = |body: &Value| body["version"].clone();
    plane.put(path, written).await;
    assert_eq!(version(&plane.get(path).await.body), version(&shown.body));
    plane.put(path, spec("web-2", json!({ "sealed": true }))).await;
    let renamed = plane.get(path).await;
    assert_ne!(version(&renamed.body), version(&shown.body));
    assert_eq!(renamed.body["spec"]["basic"]["username"], "web-2");

    let other = "/api/v1/tenants/default/credentials/other";
    let taken = plane.put(other, spec("web-2", json!({ "value": "another horse" }))).await;
    refused(&taken, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(taken.body["issues"][0]["code"], "username_in_use", "{taken:?}");
    let rotated = plane.post(&format!("{path}/rotate"), json!({})).await;
    refused(&rotated, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(rotated.body["issues"][0]["code"], "no_key", "{rotated:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_signatures_is_shown_and_its_secret_is_not() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let at = |path: &str| format!("/api/v1/tenants/default/{path}");
    plane.put(&at("applications/web"), json!({ "spec": {} })).await;
    let secret = |value: &str| json!({ "spec": { "value": value } });
    let signature = json!({ "key_id": "web-1", "secret": "signing" });
    let credential = json!({ "spec": { "application": "web", "signature": signature } });
    let missing = plane.put(&at("credentials/web"), credential.clone()).await;
    refused(&missing, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(missing.body["issues"][0]["code"], "unknown_reference", "{missing:?}");

    let value = "0123456789abcdef0123456789abcdef";
    assert!(plane.put(&at("secrets/signing"), secret(value)).await.status.is_success());
    assert!(plane.put(&at("credentials/web"), credential).await.status.is_success());
    let shown = plane.get(&at("credentials/web")).await;
    assert_eq!(shown.body["spec"]["signature"], signature);
    assert!(!shown.text.contains(value), "{shown:?}");
    let kept = plane.put(&at("credentials/web"), json!({ "spec": shown.body["spec"] })).await;
    assert!(kept.status.is_success(), "{kept:?}");

    let weaker = plane.put(&at("secrets/signing"), secret("short")).await;
    refused(&weaker, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(weaker.body["issues"][0]["code"], "unfit_secret", "{weaker:?}");
    assert!(!weaker.text.contains("short"), "{weaker:?}");
    let gone = plane.call(Method::DELETE, &at("secrets/signing"), None).await;
    assert!(!gone.status.is_success(), "{gone:?}");
    let rotated = plane.post(&at("credentials/web/rotate"), json!({})).await;
    refused(&rotated, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(rotated.body["issues"][0]["code"], "no_key", "{rotated:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_too_short_for_a_policy_is_refused() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let at = |path: &str| format!("/api/v1/tenants/default/{path}");
    let secret = |value: &str| json!({ "spec": { "value": value } });
    let policies = json!({ "spec": { "policies": [{ "jwt": { "secret": "tokens" } }] } });
    assert!(plane.put(&at("secrets/tokens"), secret("a-short-one")).await.status.is_success());
    let unfit = plane.put(&at("policy-sets/tokens"), policies.clone()).await;
    refused(&unfit, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(unfit.body["issues"][0]["code"], "unfit_secret", "{unfit:?}");

    let value = "0123456789abcdef0123456789abcdef";
    assert!(plane.put(&at("secrets/tokens"), secret(value)).await.status.is_success());
    assert!(plane.put(&at("policy-sets/tokens"), policies).await.status.is_success());
    let weaker = plane.put(&at("secrets/tokens"), secret("a-short-one")).await;
    refused(&weaker, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(weaker.body["issues"][0]["code"], "unfit_secret", "{weaker:?}");
    assert!(!weaker.text.contains("a-short-one"), "{weaker:?}");
    Ok(())
}
