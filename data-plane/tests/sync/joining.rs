//! How a node gets its certificate, and how it keeps it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::Ordering;

use tollgate_data_plane::sync::{EnrolError, MustJoin, StartError};
use tollgate_model::{FromText, Name};
use tollgate_proto::v1;
use tollgate_proto::v1::control_message::Message;

use crate::node::{
    Store, problem_of, settings, settings_without_token, start, started_with, try_start,
};
use crate::plane::{Authority, Plane, SECRET, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_and_is_ready_when_it_has_every_piece_of_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let node = start(&settings(folder.path(), &plane));
    let mut session = plane.session().await;
    let hello = session.hello.clone();
    assert_eq!((hello.node.as_str(), hello.gateway.as_str()), ("node-1", "default"));
    assert_eq!((hello.epoch, hello.revision, hello.digest.len()), (0, 0, 32));
    assert!(
        hello
            .policies
            .iter()
            .any(|policy| policy.name == "api_key" && policy.schema_hash.len() == 32)
    );

    session.welcome().await;
    session.say_nothing_known().await;
    let store = Store::with(&["a", "b", "c"]);
    let mut pieces = store.snapshot(3);
    assert_eq!(pieces.len(), 3);
    let last = pieces.pop().unwrap();
    for piece in pieces {
        session.say(piece).await;
    }
    // What is said on the same stream after the pieces has been heard: so have they.
    session.say(Message::Cluster(v1::Cluster { live_nodes: 9 })).await;
    let live_nodes = node.live_nodes();
    eventually(|| (live_nodes.load(Ordering::Relaxed) == 9).then_some(())).await;
    assert!(!node.readiness().is_ready() && node.readiness().is_connected());
    session.say(last).await;
    let applied = session.applied().await;
    assert_eq!((applied.revision, applied.rejected), (3, vec![]));
    assert!(node.readiness().is_ready() && store.is_held_by(&node));
    assert!(!node.readiness().is_serving_from_disk());

    for name in ["node-key.pem", "node-certificate.json", "node.key"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_authority_never_sees_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(), Authority::new());
    // One shows its own authority; one shows ours, but is not certified by it.
    let any = "127.0.0.1:0".parse().unwrap();
    for plane in [Plane::start(&theirs).await, Plane::start_at(any, &theirs, &ours).await] {
        let mut settings = settings(folder.path(), &plane);
        settings.join = Some(ours.token(SECRET).parse().unwrap());
        let node = start(&settings);
        problem_of(&node, "invalid peer certificate").await;
        assert!(plane.script.joins.lock().unwrap().is_empty());
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_not_known_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(&Authority::new()).await;
    let mut settings = settings(folder.path(), &plane);
    settings.join = Some(plane.script.authority.token("wr0ng").parse().unwrap());
    let node = start(&settings);
    let problem = problem_of(&node, "not known here").await;
    assert!(problem.contains("t1") && !problem.contains("wr0ng"), "{problem}");
    assert!(!node.readiness().is_ready());
    node.shutdown().await;
}

#[tokio::test]
async fn a_node_that_can_neither_serve_nor_join_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let url = ["https://127.0.0.1:1".to_owned()];
    let refused = try_start(&settings_without_token(folder.path(), &url)).err().unwrap();
    assert!(refused.to_string().contains("--join TOKEN"), "{refused}");
    let refused = try_start(&settings_without_token(folder.path(), &[])).err().unwrap();
    assert!(matches!(refused, StartError::NoSource { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    *plane.script.lifetime_secs.lock().unwrap() = 6;
    let (node, session) = started_with(&Store::with(&["a"]), folder.path(), &mut plane).await;
    let first = fs::read(folder.path().join("node-certificate.json")).unwrap();
    *plane.script.lifetime_secs.lock().unwrap() = 3600;
    eventually(|| {
        let now = fs::read(folder.path().join("node-certificate.json")).unwrap();
        (now != first).then_some(())
    })
    .await;
    assert_eq!(*plane.script.renewals.lock().unwrap(), 1);
    // The stream goes on, and the next one needs no token.
    drop(session);
    plane.session().await.welcome().await;
    assert_eq!(plane.script.joins.lock().unwrap().len(), 1);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_needs_the_token_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let store = Store::with(&["a"]);
    let (node, _session) = started_with(&store, folder.path(), &mut plane).await;
    node.shutdown().await;
    let path = folder.path().join("node-certificate.json");
    let mut certificate: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    certificate["not_after_unix_seconds"] = 1.into();
    fs::write(&path, certificate.to_string()).unwrap();

    // Without a token it serves from its disk, and says what is to be done.
    let without_token = settings_without_token(folder.path(), &[plane.url()]);
    let node = start(&without_token);
    let problem = problem_of(&node, "has expired").await;
    assert!(problem.contains("--join TOKEN") && store.is_held_by(&node), "{problem}");
    node.shutdown().await;
    fs::remove_dir_all(folder.path().join("config")).unwrap();
    assert!(matches!(
        try_start(&without_token),
        Err(StartError::Enrol(EnrolError::NoToken { why: MustJoin::Expired }))
    ));
    let node = start(&settings(folder.path(), &plane));
    plane.session().await.welcome().await;
    assert_eq!(plane.script.joins.lock().unwrap().len(), 2);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_name_or_another_control_plane_joins_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let (node, _session) = started_with(&Store::with(&["a"]), folder.path(), &mut plane).await;
    node.shutdown().await;
    let mut renamed = settings(folder.path(), &plane);
    renamed.node = Name::from_text("node-2").unwrap();
    let node = start(&renamed);
    assert_eq!(plane.session().await.hello.node, "node-2");
    assert_eq!(plane.script.joins.lock().unwrap().last().unwrap().node, "node-2");
    node.shutdown().await;

    let mut other = Plane::start(&Authority::new()).await;
    let mut moved = settings(folder.path(), &other);
    moved.node = renamed.node;
    let node = start(&moved);
    other.session().await;
    assert_eq!(other.script.joins.lock().unwrap().len(), 1);
    node.shutdown().await;
}
