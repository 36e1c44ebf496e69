//! What a node says of itself at `/live`, `/ready`, `/metrics` and `/config`.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tollgate_data_plane::admin;

use crate::node::{Store, settings, start};
use crate::plane::{Authority, Plane};

async fn get(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_endpoints_say_what_the_node_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let node = start(&settings(folder.path(), &plane));
    let any = "127.0.0.1:0".parse().unwrap();
    let metrics = Arc::new(|| "tollgate_up 1\n".to_owned());
    let status = admin::start(any, &node, metrics, &Handle::current()).unwrap();
    let at = status.address();
    assert!(get(at, "GET /live").await.starts_with("HTTP/1.1 200"));
    let answer = get(at, "GET /ready").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("no_configuration"), "{answer}");

    let mut session = plane.session().await;
    session.welcome().await;
    let store = Store::with(&["a", "b"]);
    store.give(&mut session).await;
    let answer = get(at, "GET /ready").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"revision\":3"), "{answer}");
    assert!(get(at, "GET /metrics").await.ends_with("\r\n\r\ntollgate_up 1\n"));
    let answer = get(at, "GET /config").await;
    let body: serde_json::Value =
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&body["revision"], &body["counts"]["Upstream"]), (&3.into(), &2.into()));
    assert_eq!(
        (&body["resources"][1]["name"], &body["resources"][1]["version"]),
        (&"b".into(), &3.into())
    );
    assert!(!answer.contains("127.0.0.1"), "no specification: {answer}");

    let answer = get(at, "HEAD /ready").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(get(at, "POST /ready").await.starts_with("HTTP/1.1 405"));
    assert!(get(at, "GET /else").await.starts_with("HTTP/1.1 404"));
    node.readiness().set_draining();
    let answer = get(at, "GET /ready").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("draining"), "{answer}");
    status.shutdown().await;
    node.shutdown().await;
}
