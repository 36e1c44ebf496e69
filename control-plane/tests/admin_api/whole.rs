//! The control plane as a whole: how it describes itself, what keeps it from starting, its store.

use reqwest::{Method, StatusCode};

use crate::plane::{Plane, settings, upstream};
use crate::{U, refused, start};

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
