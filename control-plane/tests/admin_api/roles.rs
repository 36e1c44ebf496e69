//! What each role may.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::plane::upstream;
use crate::{U, issues, refused, start, token};

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
