//! One resource at a time: written, read, listed, taken away.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::plane::{Answer, ROOT, send, upstream};
use crate::{U, refused, start};

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
