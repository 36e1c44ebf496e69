//! A change, from the admin API to what nodes hold.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as they do")]
#![expect(clippy::indexing_slicing, reason = "a missing field of an answer fails the test")]
#![expect(clippy::large_futures, reason = "a test's future is on the heap and alone")]

mod node;
mod plane;

use std::time::{Duration, Instant};

use anyhow::ensure;
use node::{Certified, Held, Node, join};
use plane::{Answer, Plane, settings, upstream};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollgate_testkit::pki::Authority;
use tollgate_testkit::postgres;

const U: &str = "/api/v1/tenants/default/upstreams";

async fn joined(plane: &Plane, name: &str) -> anyhow::Result<Certified> {
    let answer =
        plane.post("/api/v1/join-tokens", json!({ "gateway": "default", "ttl": "10m" })).await;
    ensure!(answer.status == StatusCode::CREATED, "{answer:?}");
    join(plane.grpc, answer.body["token"].as_str().unwrap(), name).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_a_node_whole_and_its_word_comes_back() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let certified = joined(&plane, "n1").await?;
    let mut node = Node::connect(plane.grpc, &certified, Held::default()).await?;
    node.take().await?;
    assert_eq!((node.held.revision, node.snapshots), (0, 1));

    let resources = json!([
        { "kind": "Api", "name": "orders", "spec": { "base_path": "/orders", "upstream": "orders", "policies": [{ "api_key": {} }] } },
        { "kind": "Upstream", "name": "orders", "spec": { "endpoints": [{ "url": "http://127.0.0.1:9000" }] } },
        { "kind": "Application", "name": "web", "spec": {} },
        { "kind": "Credential", "name": "web", "spec": { "application": "web", "api_key": { "value": "sk-shop-0001" } } },
    ]);
    let change = json!({ "resources": resources, "message": "first" });
    let (answer, reached) =
        tokio::join!(plane.post("/api/v1/changes?wait=applied&timeout=10s", change), node.reach(1));
    reached?;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["revision"], 1);
    let applied = json!({ "revision": 1, "nodes_total": 1, "nodes_applied": 1, "pending": [], "rejected": [] });
    assert_eq!(answer.body["applied"], applied);
    assert_eq!((node.held.resources.len(), node.deltas), (4, 1));
    let credential = node.spec("Credential", "default", "web").unwrap();
    let key: [u8; 32] = node.credential_key.clone().try_into().unwrap();
    let hash = blake3::keyed_hash(&key, b"sk-shop-0001").to_hex().to_string();
    assert_eq!(credential["api_key"], json!({ "hash": hash, "hint": "sk-" }));

    // The same again changes nothing and makes no revision.
    let again = json!({ "resources": [{ "kind": "Credential", "name": "web", "spec": { "application": "web", "api_key": { "value": "sk-shop-0001" } } }] });
    let answer = plane.post("/api/v1/changes", again).await;
    assert_eq!(
        (&answer.body["revision"], &answer.body["changes"][0]["op"]),
        (&Value::Null, &json!("unchanged"))
    );

    // All of it can go at once.
    let all = ["Api orders", "Upstream orders", "Application web", "Credential web"].map(|id| {
        let (kind, name) = id.split_once(' ').unwrap();
        json!({ "kind": kind, "name": name })
    });
    let answer = plane.post("/api/v1/changes", json!({ "deletions": all })).await;
    assert_eq!(answer.body["revision"], 2, "{answer:?}");
    node.reach(2).await?;
    assert!(node.held.resources.is_empty());
    let figures = plane.get("/metrics").await;
    assert_eq!(figures.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(figures.text.contains("tollgate_config_revision 2\n"), "{}", figures.text);
    let (_, held) = node.leave();
    assert_eq!(held.revision, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_told_who_has_not_answered_and_what_is_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let (a, b) = (joined(&plane, "a").await?, joined(&plane, "b").await?);
    let mut first = Node::connect(plane.grpc, &a, Held::default()).await?;
    let _second = Node::connect(plane.grpc, &b, Held::default()).await?;
    let path = format!("{U}/one?wait=applied&timeout=300ms");
    let (answer, reached) = tokio::join!(plane.put(&path, upstream("http://h:1")), first.reach(1));
    reached?;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.body["applied"]["pending"], json!(["b"]));
    assert_eq!(answer.body["applied"]["nodes_total"], 2);

    let issue = tollgate_proto::v1::Issue {
        pointer: "/spec/balance".into(),
        code: "unknown_value".into(),
        message: "is newer than this node".into(),
    };
    let id = tollgate_proto::v1::ResourceId {
        kind: "Upstream".into(),
        tenant: "default".into(),
        name: "one".into(),
    };
    let rejection = tollgate_proto::v1::Rejection { id: Some(id), version: 1, issues: vec![issue] };
    first.acknowledge(vec![rejection]).await?;
    let deadline = Instant::now() + Duration::from_secs(5);
    let status = loop {
        let status = plane.get("/api/v1/status").await.body;
        if status["resources"][0]["state"] == "rejected" || Instant::now() > deadline {
            break status;
        }
        tokio::task::yield_now().await;
    };
    let nodes = &status["resources"][0]["nodes"];
    assert_eq!(
        nodes[0],
        json!({ "node": "a", "state": "rejected", "issues": [{ "at": "/spec/balance", "code": "unknown_value", "problem": "is newer than this node" }] }),
        "{status}"
    );
    assert_eq!(nodes[1]["state"], "pending");
    let again = plane.put(&path, upstream("http://h:1")).await;
    assert_eq!(again.body["result"], "unchanged");
    assert_eq!(again.body["applied"]["rejected"][0]["node"], "a");
    let nodes = plane.get("/api/v1/nodes").await.body;
    assert_eq!(nodes["items"][0]["rejected"][0]["issues"][0]["code"], "unknown_value");
    assert_eq!(nodes["items"][1]["revision"], Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_commits_the_other_streams() -> anyhow::Result<()> {
    let url = postgres::database().await?;
    let (one, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut of_one = settings(one.path());
    of_one.database = Some(url);
    let first = Plane::start(of_one.clone()).await?;
    // Both need the same master key.
    std::fs::copy(one.path().join("master-key"), other.path().join("master-key"))?;
    let mut of_other = settings(other.path());
    of_other.database = of_one.database.clone();
    let second = Plane::start(of_other).await?;

    // A certificate of the one is good at the other.
    let certified = joined(&first, "n").await?.renew(second.grpc).await?;
    let mut node = Node::connect(second.grpc, &certified, Held::default()).await?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while first.get("/api/v1/status").await.body["nodes"]["connected"] != 1 {
        ensure!(Instant::now() < deadline, "the one does not hear of the other's node");
    }
    let path = format!("{U}/one?wait=applied&timeout=10s");
    let (answer, reached) = tokio::join!(first.put(&path, upstream("http://h:1")), node.reach(1));
    reached?;
    assert_eq!(answer.body["applied"]["nodes_applied"], 1, "{answer:?}");
    // Both commit, one after the other and at once; the node sees every revision in order.
    for i in 0..10 {
        let (a, b) = (format!("{U}/a{i}"), format!("{U}/b{i}"));
        let (a, b) = tokio::join!(
            first.put(&a, upstream("http://h:2")),
            second.put(&b, upstream("http://h:3"))
        );
        assert_eq!((a.status, b.status), (StatusCode::CREATED, StatusCode::CREATED), "{a:?} {b:?}");
    }
    node.reach(21).await?;
    assert_eq!(node.held.resources.len(), 21);
    let nodes = first.get("/api/v1/nodes").await.body;
    assert_eq!(
        (&nodes["items"][0]["name"], &nodes["items"][0]["connected"]),
        (&json!("n"), &json!(true))
    );

    // The other goes away; the node goes on where it was.
    second.stop().await?;
    let held = node.held.clone();
    assert_eq!(node.end().await?.code(), tonic::Code::Unavailable);
    first.put(&format!("{U}/last"), upstream("http://h:4")).await;
    let mut node = Node::connect(first.grpc, &certified, held).await?;
    node.reach(22).await?;
    assert_eq!((node.snapshots, node.held.resources.len()), (0, 22));
    Ok(())
}

const PLAIN: &str = "sk-live-very-secret-0123456789";
const SECOND: &str = "sk-live-even-more-secret-98765";
const KEY: &str = "caller-key-abcdefghijklmnopqrstuvwxyz";

/// Answers to writes that are refused, though what they hold is secret.
async fn faulty(plane: &Plane) -> Vec<Answer> {
    let path = "/api/v1/tenants/default/secrets/s";
    let mut answers = Vec::new();
    answers.push(plane.put(path, json!({ "spec": { "value": PLAIN, "colour": 1 } })).await);
    answers.push(plane.put(path, json!({ "spec": { "value": [PLAIN] } })).await);
    answers.push(
        plane
            .put(
                "/api/v1/tenants/default/credentials/d",
                json!({ "spec": { "application": "none", "api_key": { "value": KEY } } }),
            )
            .await,
    );
    let raw = plane
        .request(Method::PUT, path)
        .bearer_auth(plane::ROOT)
        .body(format!("{{\"spec\": {{\"value\": \"{PLAIN}\" \"x\"}}}}"));
    answers.push(plane::send(raw.header("content-type", "application/json")).await);
    assert!(answers.iter().all(|answer| answer.status.is_client_error()), "{answers:?}");
    answers
}

/// Answers to all that can be read.
async fn everything(plane: &Plane) -> Vec<Answer> {
    let mut answers = Vec::new();
    for path in [
        "/api/v1/export",
        "/api/v1/revisions",
        "/api/v1/revisions/1",
        "/api/v1/revisions/2",
        "/api/v1/revisions/5",
        "/api/v1/revisions/0/diff/5",
        "/api/v1/tenants/default/secrets",
        "/api/v1/tenants/default/credentials",
        "/api/v1/tenants/default/credentials/c",
        "/api/v1/nodes",
        "/api/v1/status",
        "/metrics",
    ] {
        let answer = plane.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path} {answer:?}");
        answers.push(answer);
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_nowhere_but_on_the_stream() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let certified = joined(&plane, "n").await?;
    let mut node = Node::connect(plane.grpc, &certified, Held::default()).await?;
    let secret = |value: &str| json!({ "spec": { "description": "d", "value": value } });
    let path = "/api/v1/tenants/default/secrets/s";
    let mut answers = vec![plane.put(path, secret(PLAIN)).await];
    answers.push(plane.put(path, secret(SECOND)).await);
    // What was shown sealed and comes back so keeps its value.
    let shown = plane.get(path).await;
    assert_eq!(shown.body["spec"], json!({ "description": "d", "sealed": true }));
    let mut edited = shown.body.clone();
    edited["spec"]["description"] = "e".into();
    answers.push(plane.put(path, edited).await);
    answers.push(plane.put("/api/v1/tenants/default/applications/a", json!({ "spec": {} })).await);
    let credential = json!({ "spec": { "application": "a", "api_key": { "value": KEY } } });
    answers.push(plane.put("/api/v1/tenants/default/credentials/c", credential).await);
    assert!(answers.iter().all(|answer| answer.status.is_success()), "{answers:?}");
    node.reach(5).await?;
    assert_eq!(
        node.spec("Secret", "default", "s").unwrap(),
        json!({ "description": "e", "value": SECOND })
    );

    answers.extend(faulty(&plane).await);
    answers.extend(everything(&plane).await);
    answers.push(plane.post("/api/v1/revisions/1/rollback", json!({})).await);
    assert_eq!(answers.last().unwrap().body["revision"], 6, "{answers:?}");
    node.reach(6).await?;
    assert_eq!(node.spec("Secret", "default", "s").unwrap()["value"], PLAIN);
    for answer in &answers {
        for hidden in [PLAIN, SECOND, KEY] {
            assert!(!answer.text.contains(hidden), "{answer:?}");
        }
    }
    let settings = plane.stop().await?;
    for file in std::fs::read_dir(&settings.data)? {
        let file = file?.path();
        let bytes = std::fs::read(&file)?;
        for hidden in [PLAIN, SECOND, KEY] {
            let is_there = bytes.windows(hidden.len()).any(|window| window == hidden.as_bytes());
            assert!(!is_there, "{hidden} in {}", file.display());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificates_key_is_nowhere_but_on_the_stream() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let certified = joined(&plane, "n").await?;
    let mut node = Node::connect(plane.grpc, &certified, Held::default()).await?;
    let root = Authority::new("root")?;
    let issued = root.server(&["api.test"])?;
    let path = "/api/v1/tenants/default/certificates/c";
    let given = json!({ "spec": { "chain": issued.chain, "key": issued.key } });
    let mut answers = vec![plane.put(path, given).await];
    // What was shown sealed and comes back so keeps its key.
    let shown = plane.get(path).await;
    assert_eq!(shown.body["spec"], json!({ "chain": issued.chain, "sealed": true }));
    let mut edited = shown.body.clone();
    edited["spec"]["description"] = "d".into();
    answers.push(plane.put(path, edited).await);
    assert!(answers.iter().all(|answer| answer.status.is_success()), "{answers:?}");
    node.reach(2).await?;
    assert_eq!(node.spec("Certificate", "default", "c").unwrap()["key"], issued.key);

    let other = root.server(&["other.test"])?;
    let mut renewed = shown.body.clone();
    renewed["spec"]["chain"] = other.chain.into();
    answers.push(plane.put(path, renewed).await);
    assert_eq!(answers.last().unwrap().body["issues"][0]["code"], "key_mismatch");
    answers.push(shown);
    answers.push(plane.get("/api/v1/export").await);
    answers.push(plane.get("/api/v1/revisions/2").await);
    let secret = issued.key.lines().nth(1).unwrap();
    for answer in &answers {
        assert!(!answer.text.contains(secret), "{answer:?}");
    }
    let settings = plane.stop().await?;
    for file in std::fs::read_dir(&settings.data)? {
        let file = file?.path();
        let bytes = std::fs::read(&file)?;
        let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_there, "the key in {}", file.display());
    }
    // The store's copy is run again.
    let plane = Plane::start(settings).await?;
    assert_eq!(plane.get(path).await.body["spec"]["description"], "d");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_refused_when_it_is_written() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let old = Authority::new("root")?.expired_server(&["api.test"])?;
    let path = "/api/v1/tenants/default/certificates/c";
    let answer = plane.put(path, json!({ "spec": { "chain": old.chain, "key": old.key } })).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{answer:?}");
    let issue = &answer.body["issues"][0];
    assert_eq!((&issue["at"], &issue["code"]), (&json!("/spec/chain"), &json!("expired")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_content_comes_back_as_a_new_revision() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    plane.put(&format!("{U}/kept?managed_by=cli"), upstream("http://h:1")).await;
    plane.put(&format!("{U}/edited?managed_by=cli"), upstream("http://h:2")).await;
    plane.put(&format!("{U}/edited?managed_by=cli"), upstream("http://h:3")).await;
    plane.call(Method::DELETE, &format!("{U}/kept"), None).await;
    plane.put(&format!("{U}/new"), upstream("http://h:4")).await;

    let dry = plane.post("/api/v1/revisions/2/rollback", json!({ "dry_run": true })).await;
    assert_eq!((&dry.body["revision"], &dry.body["dry_run"]), (&Value::Null, &json!(true)));
    let done = plane.post("/api/v1/revisions/2/rollback", json!({ "message": "back" })).await;
    assert_eq!(done.body["revision"], 6, "{done:?}");
    assert_eq!(done.body["changes"], dry.body["changes"]);
    let ops: Vec<(&str, &str)> = done.body["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["name"].as_str().unwrap(), change["op"].as_str().unwrap()))
        .collect();
    assert_eq!(ops, [("edited", "update"), ("kept", "create"), ("new", "delete")]);
    assert_eq!(
        plane.get(&format!("{U}/edited")).await.body["spec"],
        upstream("http://h:2")["spec"]
    );
    assert_eq!(plane.get(&format!("{U}/kept")).await.body["managed_by"], "cli");
    assert_eq!(plane.get("/api/v1/revisions/2/diff/6").await.body["changes"], json!([]));
    let back = plane.get("/api/v1/revisions/6/diff/5").await.body;
    let ops: Vec<&Value> =
        back["changes"].as_array().unwrap().iter().map(|change| &change["op"]).collect();
    assert_eq!(ops, ["update", "delete", "create"]);
    assert_eq!(back["changes"][0]["before"]["spec"]["endpoints"][0]["url"], "http://h:2");
    assert_eq!(
        plane.post("/api/v1/revisions/99/rollback", json!({})).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        plane.post("/api/v1/revisions/6/rollback", json!({})).await.body["revision"],
        Value::Null
    );

    // What is in memory is what is in the store.
    let before = plane.get("/api/v1/export").await.text;
    let plane = Plane::start(plane.stop().await?).await?;
    assert_eq!(plane.get("/api/v1/export").await.text, before);
    Ok(())
}
