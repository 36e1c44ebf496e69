//! The stream to a node: who gets one, and what goes down it.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as they do")]
#![expect(clippy::indexing_slicing, reason = "a missing field of an answer fails the test")]
#![expect(clippy::large_futures, reason = "a test's future is on the heap and alone")]

mod node;
mod plane;

use anyhow::{Context as _, ensure};
use node::{Certified, Held, Node, join, join_trusting};
use plane::{Plane, settings, upstream};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tollgate_control_plane::fanout::StreamLimits;
use tollgate_proto::v1;
use tonic::Code;

const U: &str = "/api/v1/tenants/default/upstreams";

async fn token(plane: &Plane) -> String {
    let answer = plane.post("/api/v1/join-tokens", json!({ "ttl": "10m" })).await;
    answer.body["token"].as_str().unwrap().to_owned()
}

async fn joined(plane: &Plane, name: &str) -> anyhow::Result<Certified> {
    join(plane.grpc, &token(plane).await, name).await
}

/// Writes upstreams, one a revision.
async fn write(plane: &Plane, numbers: std::ops::Range<u32>) -> anyhow::Result<()> {
    for i in numbers {
        let answer =
            plane.put(&format!("{U}/u{i}"), upstream(&format!("http://h:{}", 1000 + i))).await;
        ensure!(answer.status == StatusCode::CREATED, "{answer:?}");
    }
    Ok(())
}

fn code(error: &anyhow::Error) -> Option<Code> {
    error.downcast_ref::<tonic::Status>().map(tonic::Status::code)
}

/// Why a node is not let in.
async fn refusal(node: anyhow::Result<Node>) -> anyhow::Result<Code> {
    match node {
        Ok(node) => Ok(node.end().await?.code()),
        Err(error) => code(&error).with_context(|| format!("{error:?}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_gets_only_what_it_missed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let certified = joined(&plane, "n").await?;
    write(&plane, 0..3).await?;
    let mut node = Node::connect(plane.grpc, &certified, Held::default()).await?;
    node.reach(3).await?;
    assert_eq!((node.snapshots, node.deltas, node.live_nodes), (1, 0, 1));

    // Nothing missed: the next that comes is the next revision.
    let (certified, held) = node.leave();
    let mut node = Node::connect(plane.grpc, &certified, held).await?;
    write(&plane, 3..4).await?;
    node.reach(4).await?;
    assert_eq!((node.snapshots, node.deltas), (0, 1));

    // Several missed: all of them as one.
    let (certified, held) = node.leave();
    write(&plane, 4..8).await?;
    plane.call(Method::DELETE, &format!("{U}/u0"), None).await;
    let mut node = Node::connect(plane.grpc, &certified, held).await?;
    node.reach(9).await?;
    assert_eq!((node.snapshots, node.deltas, node.held.resources.len()), (0, 1, 7));

    // Missed while the control plane was started anew, which reads them from the log.
    let (certified, held) = node.leave();
    write(&plane, 8..10).await?;
    let plane = Plane::start(plane.stop().await?).await?;
    let mut node = Node::connect(plane.grpc, &certified, held).await?;
    node.reach(11).await?;
    assert_eq!((node.snapshots, node.deltas), (0, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_holds_something_else_gets_everything() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let certified = joined(&plane, "n").await?;
    write(&plane, 0..3).await?;
    let mut node = Node::connect(plane.grpc, &certified, Held::default()).await?;
    node.reach(3).await?;
    let (certified, held) = node.leave();
    let whole = held.clone();

    let mut other_epoch = held.clone();
    other_epoch.epoch ^= 1;
    let mut ahead = held.clone();
    ahead.revision = 99;
    let mut behind = held.clone();
    behind.revision = 2;
    for (held, digest) in [
        (held, vec![7; 32]),
        (other_epoch.clone(), other_epoch.digest().as_bytes().to_vec()),
        (ahead.clone(), ahead.digest().as_bytes().to_vec()),
        // An earlier revision, but not with that digest.
        (behind.clone(), behind.digest().as_bytes().to_vec()),
    ] {
        let mut node = Node::connect_claiming(plane.grpc, &certified, held, digest, "n").await?;
        node.take().await?;
        assert_eq!((node.snapshots, &node.held), (1, &whole));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_read_is_caught_up_at_once_and_holds_nothing_up() -> anyhow::Result<()>
{
    let folder = tempfile::tempdir()?;
    let mut settings = settings(folder.path());
    settings.stream = StreamLimits { queue_revisions: 4, tail_revisions: 8, tail_resources: 8 };
    let plane = Plane::start(settings).await?;
    let (slow, quick) = (joined(&plane, "slow").await?, joined(&plane, "quick").await?);
    let mut slow = Node::connect(plane.grpc, &slow, Held::default()).await?;
    let mut quick = Node::connect(plane.grpc, &quick, Held::default()).await?;
    quick.take().await?;
    // More than fits into the connection of who does not read.
    let text = "x".repeat(400_000);
    for i in 1..=40_u64 {
        let body = json!({ "spec": { "endpoints": [{ "url": "http://h:1" }] }, "labels": { "n": i.to_string() } });
        let answer = plane.put(&format!("{U}/u"), body).await;
        ensure!(answer.status.is_success(), "{answer:?}");
        let body = json!({ "spec": { "value": format!("{}{i}", &text[..60_000]) } });
        let answer = plane.put(&format!("/api/v1/tenants/default/secrets/s{i}"), body).await;
        ensure!(answer.status.is_success(), "{answer:?}");
        quick.reach(2 * i).await?;
    }
    slow.reach(80).await?;
    assert!(slow.snapshots >= 2 && slow.deltas < 80, "{} {}", slow.snapshots, slow.deltas);
    assert_eq!(slow.held, quick.held);
    assert_eq!(quick.deltas, 80);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_too_large_for_one_message_comes_as_a_snapshot_in_pieces() -> anyhow::Result<()> {
    use std::fmt::Write as _;
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let certified = joined(&plane, "n").await?;
    let mut node = Node::connect(plane.grpc, &certified, Held::default()).await?;
    // Text that does not compress well.
    let value = |i: u32| {
        let mut text = String::new();
        for j in 0..700_u32 {
            let _ = write!(
                text,
                "{}",
                blake3::hash(&[i.to_le_bytes(), j.to_le_bytes()].concat()).to_hex()
            );
        }
        text
    };
    let resources: Vec<_> = (0..120)
        .map(
            |i| json!({ "kind": "Secret", "name": format!("s{i}"), "spec": { "value": value(i) } }),
        )
        .collect();
    let answer = plane.post("/api/v1/changes", json!({ "resources": resources })).await;
    assert_eq!(answer.body["revision"], 1, "{}", answer.text);
    node.reach(1).await?;
    assert_eq!((node.held.resources.len(), node.deltas), (120, 0));
    assert_eq!(node.spec("Secret", "default", "s7").unwrap()["value"], value(7));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_token_that_works_does_not_join() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let good = token(&plane).await;
    let fingerprint = good.rsplit_once('_').unwrap().1.to_owned();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let wrong = format!("tgj_{}_{}_{fingerprint}", "a".repeat(8), "b".repeat(32));
    let used = plane.post("/api/v1/join-tokens", json!({ "uses": 1 })).await.body["token"]
        .as_str()
        .unwrap()
        .to_owned();
    join(plane.grpc, &used, "once").await?;
    let revoked = plane.post("/api/v1/join-tokens", json!({})).await.body;
    plane
        .call(
            Method::DELETE,
            &format!("/api/v1/join-tokens/{}", revoked["id"].as_str().unwrap()),
            None,
        )
        .await;
    for (token, node, expected) in [
        (wrong.as_str(), "n", Code::Unauthenticated),
        ("nonsense", "n", Code::Unauthenticated),
        (used.as_str(), "twice", Code::Unauthenticated),
        (revoked["token"].as_str().unwrap(), "n", Code::Unauthenticated),
        (good.as_str(), "no name", Code::InvalidArgument),
    ] {
        let refused = join_trusting(plane.grpc, token, node, &key, fingerprint.clone()).await;
        let refused = refused.err().context("it was let in")?;
        assert_eq!(code(&refused), Some(expected), "{refused:?}");
    }
    // A control plane of another authority is not trusted by the node.
    let other = tempfile::tempdir()?;
    let stranger = Plane::start(settings(other.path())).await?;
    assert!(join(stranger.grpc, &good, "n").await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_for_the_node_of_the_certificate() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let certified = joined(&plane, "n").await?;
    let digest = vec![0; 32];
    let other =
        Node::connect_claiming(plane.grpc, &certified, Held::default(), digest, "other").await;
    assert_eq!(refusal(other).await?, Code::Unauthenticated);

    // Another authority's certificate does not even get through TLS.
    let elsewhere = tempfile::tempdir()?;
    let stranger = Plane::start(settings(elsewhere.path())).await?;
    let foreign = joined(&stranger, "n").await?;
    assert!(Node::connect(plane.grpc, &foreign, Held::default()).await.is_err());

    // The newer of two streams stays.
    let first = Node::connect(plane.grpc, &certified, Held::default()).await?;
    let renewed = certified.renew(plane.grpc).await?;
    let second = Node::connect(plane.grpc, &renewed, Held::default()).await?;
    assert_eq!(first.end().await?.code(), Code::Aborted);

    // A node that is forgotten has to join again.
    let forgotten = plane.call(Method::DELETE, "/api/v1/nodes/default/n", None).await;
    assert_eq!(forgotten.status, StatusCode::OK, "{forgotten:?}");
    assert_eq!(second.end().await?.code(), Code::Aborted);
    let again = Node::connect(plane.grpc, &renewed, Held::default()).await;
    assert_eq!(refusal(again).await?, Code::Unauthenticated);
    assert_eq!(
        renewed.renew(plane.grpc).await.err().as_ref().and_then(code),
        Some(Code::Unauthenticated)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_hear_how_many_they_are() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let mut first = Node::connect(plane.grpc, &joined(&plane, "a").await?, Held::default()).await?;
    let second = Node::connect(plane.grpc, &joined(&plane, "b").await?, Held::default()).await?;
    while first.live_nodes != 2 {
        first.take().await?;
    }
    second.leave();
    while first.live_nodes != 1 {
        first.take().await?;
    }
    let nodes = plane.get("/api/v1/nodes").await;
    assert_eq!(nodes.headers["content-type"], "application/json");
    assert_eq!(nodes.body["items"][1]["connected"], false);
    // A control plane that stops says so, and does not wait for its nodes.
    plane.stop().await?;
    assert_eq!(first.end().await?.code(), Code::Unavailable);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_goes_to_who_is_there_and_to_who_comes_back() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let certified = joined(&plane, "n").await?;
    let purge = async |tag: &str| {
        let path = "/api/v1/tenants/default/purges?wait=applied&timeout=5s";
        plane.post(path, json!({ "tag": tag })).await.body["purged"].clone()
    };
    let tag = |tag: &str| Some(v1::purge::What::Tag(tag.to_owned()));
    purge("before").await;

    // Nobody knows what it cached before it came.
    let mut node = Node::connect(plane.grpc, &certified, Held::default()).await?;
    while node.held.purge != Some(1) {
        node.take().await?;
    }
    assert_eq!(std::mem::take(&mut node.purges), [None]);
    let (purged, taken) = tokio::join!(purge("here"), async {
        while node.held.purge != Some(2) {
            node.take().await?;
        }
        anyhow::Ok(())
    });
    taken?;
    assert_eq!(purged, json!({ "nodes_total": 1, "nodes_purged": 1, "pending": [] }));
    assert_eq!(node.purges, [tag("here")]);

    let (certified, held) = node.leave();
    purge("away").await;
    purge("still away").await;
    let mut node = Node::connect(plane.grpc, &certified, held).await?;
    while node.held.purge != Some(4) {
        node.take().await?;
    }
    assert_eq!(node.purges, [tag("away"), tag("still away")]);

    // It has them all: it is told of none, and counts as one that has them.
    let (certified, held) = node.leave();
    let mut node = Node::connect(plane.grpc, &certified, held).await?;
    let (purged, taken) = tokio::join!(purge("last"), async {
        while node.held.purge != Some(5) {
            node.take().await?;
        }
        anyhow::Ok(())
    });
    taken?;
    assert_eq!(
        (node.purges.as_slice(), &purged["nodes_purged"]),
        ([tag("last")].as_slice(), &json!(1))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_answered_by_a_node_and_each_tenant_sees_its_own() -> anyhow::Result<()> {
    const EXPLAIN: &str = "/api/v1/explain";
    let folder = tempfile::tempdir()?;
    let plane = Plane::start(settings(folder.path())).await?;
    let question = json!({ "method": "GET", "url": "http://api.test/a" });
    let alone = plane.post(EXPLAIN, question.clone()).await;
    assert_eq!(
        (alone.status, &alone.body["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("no_node"))
    );

    let certified = joined(&plane, "n").await?;
    let mut node = Node::connect(plane.grpc, &certified, Held::default()).await?;
    let mut answering = tokio::task::JoinSet::new();
    answering.spawn(async move { while node.take().await.is_ok() {} });
    let answer = plane.post(EXPLAIN, question.clone()).await;
    assert_eq!((answer.status, &answer.body["node"]), (StatusCode::OK, &json!("n")), "{answer:?}");
    assert_eq!(answer.body["routes"][0]["api"], "http://api.test/a");
    assert_eq!(answer.body["routes"][1]["api"], "GET");
    assert_eq!(answer.body["ends"], json!({ "as": "forwarded" }));

    let new = json!({ "name": "viewer", "role": "viewer", "tenant": "default" });
    let token = plane.post("/api/v1/tokens", new).await.body["token"].clone();
    let seen = plane.call_as(token.as_str(), Method::POST, EXPLAIN, Some(question)).await;
    assert_eq!(seen.body["routes"].as_array().map(Vec::len), Some(1), "{seen:?}");
    assert_eq!(seen.body["ends"], json!({ "as": "another tenant's" }));

    let wrong = json!({
        "method": "G T",
        "url": "/a",
        "client_address": "here",
        "headers": [{ "name": "a b", "value": "x\ny" }],
    });
    let refused = plane.post(EXPLAIN, wrong).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let at: Vec<&str> = refused.body["issues"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|issue| issue["at"].as_str())
        .collect();
    assert_eq!(at, ["/method", "/url", "/client_address", "/headers/0/name", "/headers/0/value"]);
    let elsewhere = json!({ "gateway": "edge", "method": "GET", "url": "http://api.test/a" });
    assert_eq!(plane.post(EXPLAIN, elsewhere).await.body["code"], "no_node");
    Ok(())
}
