//! The admin API: what it takes, what it refuses, and who may.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as they do")]
#![expect(clippy::indexing_slicing, reason = "a missing field of an answer fails the test")]
#![expect(clippy::large_futures, reason = "a test's future is on the heap and alone")]

use plane::{Answer, Plane, settings};
use reqwest::StatusCode;
use serde_json::json;

#[path = "../plane/mod.rs"]
mod plane;

// The control plane's ports, its description of itself, its store.
mod whole;
// One resource: written, read, listed, taken away.
mod resources;
// Many resources in one change.
mod changes;
// Requests that do not read.
mod requests;
// Keys of applications.
mod keys;
// Purges of the nodes' caches.
mod purges;
// What a tenant sees.
mod tenants;
// What a role may.
mod roles;

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
