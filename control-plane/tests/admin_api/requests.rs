//! Requests that do not read.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::plane::{ROOT, read, send};
use crate::{U, issues, refused, start};

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
    // Else the client would send its next request into a connection that is about to close.
    assert_eq!(large.headers["connection"], "close");
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
