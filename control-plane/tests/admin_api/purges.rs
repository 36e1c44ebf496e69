//! Purges of the nodes' caches: what is taken, who may, what is told.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{issues, refused, start, token};

const PURGES: &str = "/api/v1/tenants/default/purges";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_is_numbered_and_listed() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    let upstream = crate::plane::upstream("http://h:1");
    plane.put("/api/v1/tenants/default/upstreams/u", upstream).await;
    let api = json!({ "spec": { "base_path": "/a", "upstream": "u" } });
    plane.put("/api/v1/tenants/default/apis/a", api).await;
    for (number, body) in [
        (1, json!({ "url": "https://api.shop.test/orders?page=1" })),
        (2, json!({ "api": "a" })),
        (3, json!({ "tag": "item-7" })),
    ] {
        let made = plane.post(PURGES, body).await;
        assert_eq!((made.status, &made.body["number"]), (StatusCode::CREATED, &json!(number)));
    }
    let waited = plane.post(&format!("{PURGES}?wait=applied"), json!({ "tag": "b" })).await;
    let purged = json!({ "nodes_total": 0, "nodes_purged": 0, "pending": [] });
    assert_eq!(waited.body, json!({ "number": 4, "purged": purged }));
    let listed = plane.get(&format!("{PURGES}?limit=3")).await.body;
    let items = listed["items"].as_array().unwrap();
    let numbers: Vec<&Value> = items.iter().map(|item| &item["number"]).collect();
    assert_eq!((numbers, &listed["next"]), (vec![&json!(4), &json!(3), &json!(2)], &json!("2")));
    assert_eq!((&items[1]["tag"], &items[2]["api"]), (&json!("item-7"), &json!("a")));
    assert!(items[0]["actor"].is_string() && items[0]["at"].is_string());
    let rest = plane.get(&format!("{PURGES}?limit=3&cursor=2")).await.body;
    assert_eq!(rest["items"][0]["url"], "https://api.shop.test/orders?page=1");
    assert_eq!(rest["next"], Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_purge_is_refused_with_every_fault() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    for (body, expected) in [
        (json!({}), vec![("", "invalid_count")]),
        (
            json!({ "tag": "a", "api": "none" }),
            vec![("/api", "unknown_reference"), ("", "invalid_count")],
        ),
        (json!({ "url": "/orders" }), vec![("/url", "invalid_url")]),
        (json!({ "url": "ftp://a/b" }), vec![("/url", "invalid_url")]),
        (json!({ "url": "http://user@a/b" }), vec![("/url", "invalid_url")]),
        (json!({ "url": format!("http://a/{}", "x".repeat(8192)) }), vec![("/url", "invalid_url")]),
        (json!({ "tag": "" }), vec![("/tag", "invalid_tag")]),
        (json!({ "tag": "a\nb" }), vec![("/tag", "invalid_tag")]),
        (json!({ "tags": ["a"] }), vec![("/tags", "unknown_field")]),
    ] {
        let answer = plane.post(PURGES, body.clone()).await;
        refused(&answer, StatusCode::UNPROCESSABLE_ENTITY, "invalid");
        assert_eq!(issues(&answer), expected, "{body}");
    }
    assert_eq!(plane.get(PURGES).await.body["items"], json!([]));
    let elsewhere = plane.post("/api/v1/tenants/none/purges", json!({ "tag": "a" })).await;
    refused(&elsewhere, StatusCode::NOT_FOUND, "not_found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn editors_purge_viewers_look_and_other_tenants_see_nothing() -> anyhow::Result<()> {
    let (_folder, plane) = start().await?;
    plane.put("/api/v1/tenants/default/tenants/other", json!({ "spec": {} })).await;
    let body = || Some(json!({ "tag": "a" }));
    let (viewer, editor) =
        (token(&plane, "viewer", None).await, token(&plane, "editor", None).await);
    let foreign = token(&plane, "admin", Some("other")).await;
    let made = plane.call_as(Some(&viewer), Method::POST, PURGES, body()).await;
    refused(&made, StatusCode::FORBIDDEN, "forbidden");
    let made = plane.call_as(Some(&editor), Method::POST, PURGES, body()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let listed = plane.call_as(Some(&viewer), Method::GET, PURGES, None).await;
    assert_eq!(listed.body["items"][0]["tag"], "a");
    for method in [Method::POST, Method::GET] {
        let body = body().filter(|_| method == Method::POST);
        let answer = plane.call_as(Some(&foreign), method, PURGES, body).await;
        refused(&answer, StatusCode::NOT_FOUND, "not_found");
    }
    let own = "/api/v1/tenants/other/purges";
    let made = plane.call_as(Some(&foreign), Method::POST, own, body()).await;
    assert_eq!(made.body["number"], 2, "{made:?}");
    let listed = plane.call_as(Some(&foreign), Method::GET, own, None).await;
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(1));
    Ok(())
}
