//! Deltas and snapshots, and what becomes of those that do not fit.

use tollgate_proto::v1;
use tollgate_proto::v1::control_message::Message;

use crate::node::{Store, started_with};
use crate::plane::{Authority, Plane, welcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_is_applied_and_the_next_hello_names_what_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let mut store = Store::with(&["a", "b"]);
    let (node, mut session) = started_with(&store, folder.path(), &mut plane).await;
    for (written, removed) in [("c", None), ("a", Some("b"))] {
        session.say(Message::Delta(store.change(written, removed))).await;
        assert_eq!(session.applied().await.revision, store.revision);
        assert!(store.is_held_by(&node));
    }
    drop(session);
    let mut session = plane.session().await;
    assert_eq!((session.hello.epoch, session.hello.revision), (7, 5));
    assert_eq!(&*session.hello.digest, store.digest().as_bytes());
    session.welcome().await;
    // What runs already is said at once, without waiting for a change.
    assert_eq!(session.applied().await.revision, 5);
    session.say(Message::Delta(store.change("d", None))).await;
    assert_eq!(session.applied().await.revision, 6);
    assert_eq!(plane.script.joins.lock().unwrap().len(), 1);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_node_cannot_run_is_named_in_the_acknowledgement() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let mut store = Store::with(&["a"]);
    let (node, mut session) = started_with(&store, folder.path(), &mut plane).await;
    let mut delta = store.change("z", None);
    let unknown = v1::Resource { kind: "Gizmo".to_owned(), ..delta.upserts[0].clone() };
    delta.upserts = vec![unknown.clone()];
    store.resources.insert("z".to_owned(), unknown);
    delta.digest = store.digest().as_bytes().to_vec().into();
    session.say(Message::Delta(delta)).await;
    let applied = session.applied().await;
    let id = applied.rejected[0].id.as_ref().unwrap();
    assert_eq!((id.kind.as_str(), id.name.as_str()), ("Gizmo", "z"));
    assert_eq!(applied.rejected[0].issues[0].code, "unknown_kind");
    assert_eq!(node.overview()().rejections, applied.rejected);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_from_another_revision_makes_the_node_resume_from_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let store = Store::with(&["a"]);
    let (node, session) = started_with(&store, folder.path(), &mut plane).await;
    let mut ahead = store.clone();
    ahead.change("b", None);
    session.say(Message::Delta(ahead.change("c", None))).await;
    session.ended().await;
    let session = plane.session().await;
    assert_eq!((session.hello.epoch, session.hello.revision), (7, 3));
    assert!(store.is_held_by(&node) && node.readiness().is_ready());
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_that_differs_makes_the_node_ask_for_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let mut store = Store::with(&["a"]);
    let (node, session) = started_with(&store, folder.path(), &mut plane).await;
    let mut delta = store.change("b", None);
    delta.digest = vec![1; 32].into();
    session.say(Message::Delta(delta)).await;
    session.ended().await;
    assert!(node.readiness().is_ready());
    let mut session = plane.session().await;
    assert_eq!((session.hello.epoch, session.hello.revision), (0, 0));
    session.welcome().await;
    // A delta is not what it asked for.
    session.say(Message::Delta(store.clone().change("c", None))).await;
    session.ended().await;
    session = plane.session().await;
    assert_eq!(session.hello.epoch, 0);
    session.welcome().await;
    assert_eq!(session.applied().await.revision, 4);
    store.give(&mut session).await;
    assert!(store.is_held_by(&node));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_another_epoch_replaces_everything() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let (node, session) = started_with(&Store::with(&["a", "b"]), folder.path(), &mut plane).await;
    drop(session);
    let mut session = plane.session().await;
    session.say(Message::Welcome(v1::Welcome { epoch: 8, ..good_welcome() })).await;
    let store = Store { revision: 1, ..Store::with(&["x"]) };
    store.give(&mut session).await;
    assert!(store.is_held_by(&node));
    drop(session);
    assert_eq!(plane.session().await.hello.epoch, 8);
    node.shutdown().await;
}

fn good_welcome() -> v1::Welcome {
    match welcome() {
        Message::Welcome(welcome) => welcome,
        Message::Snapshot(_)
        | Message::Delta(_)
        | Message::Cluster(_)
        | Message::Purges(_)
        | Message::Explain(_) => unreachable!(),
    }
}

/// A node that holds `a` is told these, one session after another.
async fn keeps_what_it_has(sessions: impl FnOnce(&Store) -> Vec<Vec<Message>>) {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let mut store = Store::with(&["a"]);
    let (node, first) = started_with(&store, folder.path(), &mut plane).await;
    drop(first);
    for messages in sessions(&store) {
        let session = plane.session().await;
        assert_eq!((session.hello.epoch, session.hello.revision), (7, 3));
        for message in messages {
            session.say(message).await;
        }
        session.ended().await;
        assert!(store.is_held_by(&node) && node.readiness().is_ready());
    }
    let mut session = plane.session().await;
    session.welcome().await;
    session.say(Message::Delta(store.change("b", None))).await;
    assert_eq!([session.applied().await.revision, session.applied().await.revision], [3, 4]);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_begins_wrong_is_ended_and_changes_nothing() {
    keeps_what_it_has(|_store| {
        let good = good_welcome();
        vec![
            vec![Message::Welcome(v1::Welcome { credential_key: vec![1].into(), ..good.clone() })],
            vec![Message::Welcome(v1::Welcome { epoch: 0, ..good })],
            vec![Message::Delta(v1::Delta::default())],
            vec![Message::Cluster(v1::Cluster { live_nodes: 0 })],
            vec![welcome(), welcome()],
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_not_whole_is_refused_and_changes_nothing() {
    keeps_what_it_has(|store| {
        let chunk = |index, last, data: &[u8]| {
            let digest = store.digest().as_bytes().to_vec().into();
            let data = data.to_vec().into();
            Message::Snapshot(v1::SnapshotChunk { revision: 9, digest, index, last, data })
        };
        let nothing =
            zstd::encode_all(std::io::Read::take(std::io::repeat(0), 1 << 20), 1).unwrap();
        vec![
            vec![welcome(), chunk(1, true, b"")],
            vec![welcome(), chunk(0, true, b"")],
            vec![welcome(), chunk(0, true, b"not a frame")],
            vec![welcome(), chunk(0, true, &nothing)],
            vec![welcome(), chunk(0, false, b"x"), chunk(0, true, b"y")],
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_out_of_place_is_refused_and_changes_nothing() {
    keeps_what_it_has(|store| {
        let delta =
            |from, to| Message::Delta(v1::Delta { from, to, ..store.clone().change("q", None) });
        let mut pieces = store.snapshot(2).into_iter();
        vec![
            vec![welcome(), delta(3, 3)],
            vec![welcome(), delta(3, 2)],
            vec![welcome(), delta(u64::MAX, 0)],
            vec![welcome(), pieces.next().unwrap(), delta(3, 4)],
        ]
    })
    .await;
}
