//! How a configuration arrives at a node, against a control plane that does what a test tells it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unreachable,
    reason = "a test stops where something is off"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tollgate_data_plane::admin;
use tollgate_data_plane::sync::{EnrolError, MustJoin, StartError};
use tollgate_model::{FromText, Name};
use tollgate_proto::v1;
use tollgate_proto::v1::control_message::Message;

use crate::node::{
    Store, problem_of, settings, settings_without_token, start, started_with, try_start, written,
};
use crate::plane::{Authority, Plane, SECRET, eventually, welcome};

mod node;
mod plane;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_control_plane_takes_nothing_from_the_node_which_reconnects() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let mut plane = Plane::start(&authority).await;
    let store = Store::with(&["a"]);
    let (node, session) = started_with(&store, folder.path(), &mut plane).await;
    let readiness = node.readiness();
    let address = plane.kill();
    drop(session);
    eventually(|| (!readiness.is_connected()).then_some(())).await;
    assert!(readiness.is_ready() && store.is_held_by(&node));
    let mut plane = Plane::start_at(address, &authority, &authority).await;
    let session = plane.session().await;
    assert_eq!((session.hello.epoch, session.hello.revision), (7, 3));
    session.welcome().await;
    eventually(|| readiness.is_connected().then_some(())).await;
    assert_eq!(readiness.sessions(), 2);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_control_planes_one_that_lives_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let dead = Plane::start(&authority).await;
    let mut plane = Plane::start(&authority).await;
    let mut settings = settings(folder.path(), &plane);
    let planes = [dead.url(), plane.url(), dead.url()];
    settings.control_plane = planes.iter().map(|url| url.parse().unwrap()).collect();
    dead.kill();
    let node = start(&settings);
    assert_eq!(plane.session().await.hello.node, "node-1");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_say_how_the_node_is_doing() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let (node, mut session) = started_with(&Store::with(&[]), folder.path(), &mut plane).await;
    for _beat in 0..2 {
        let beat = session.heartbeat().await;
        assert_eq!((beat.open_connections, beat.requests_total, beat.resident_bytes), (4, 5, 6));
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_from_its_disk_without_a_control_plane() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let mut store = Store::with(&["a", "b"]);
    let (node, mut session) = started_with(&store, folder.path(), &mut plane).await;
    session.say(Message::Delta(store.change("c", Some("a")))).await;
    session.applied().await;
    // What is left is written before it ends.
    node.shutdown().await;
    let url = plane.url();
    plane.kill();
    // Neither a token is needed, nor any control plane.
    for planes in [vec![url], Vec::new()] {
        let node = start(&settings_without_token(folder.path(), &planes));
        let readiness = node.readiness();
        assert!(
            readiness.is_ready() && readiness.is_serving_from_disk() && store.is_held_by(&node)
        );
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_the_node_resumes_and_goes_on_with_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let mut store = Store::with(&["a"]);
    let (mut node, mut session) = started_with(&store, folder.path(), &mut plane).await;
    for restart in 0..3 {
        session.say(Message::Delta(store.change(&format!("n{restart}"), None))).await;
        session.applied().await;
        node.shutdown().await;
        node = start(&settings(folder.path(), &plane));
        assert!(store.is_held_by(&node));
        session = plane.session().await;
        assert_eq!((session.hello.epoch, session.hello.revision), (7, store.revision));
        assert_eq!(&*session.hello.digest, store.digest().as_bytes());
        session.welcome().await;
        assert_eq!(session.applied().await.revision, store.revision);
        assert!(!node.readiness().is_serving_from_disk());
    }
    assert_eq!(plane.script.joins.lock().unwrap().len(), 1);
    node.shutdown().await;
}

/// Of a node that held `a`, then also `b`: the files of one generation, the delta in its log.
async fn folder_with_a_log(plane: &mut Plane) -> (tempfile::TempDir, Store, Store) {
    let folder = tempfile::tempdir().unwrap();
    let before = Store::with(&["a"]);
    let (node, mut session) = started_with(&before, folder.path(), plane).await;
    written(folder.path(), "base-", 0).await;
    let mut after = before.clone();
    session.say(Message::Delta(after.change("b", None))).await;
    session.applied().await;
    written(folder.path(), "log-", 0).await;
    node.shutdown().await;
    (folder, before, after)
}

fn only_file(folder: &Path, prefix: &str) -> PathBuf {
    let files = fs::read_dir(folder.join("config")).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    let found: Vec<PathBuf> = files.filter(is_it).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_log_gives_the_state_before_and_a_flipped_base_gives_none() {
    let mut plane = Plane::start(&Authority::new()).await;
    let (folder, before, after) = folder_with_a_log(&mut plane).await;
    let without_planes = settings_without_token(folder.path(), &[]);
    let node = start(&without_planes);
    assert!(after.is_held_by(&node));
    node.shutdown().await;

    let log = only_file(folder.path(), "log-");
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 1]).unwrap();
    let node = start(&without_planes);
    assert!(before.is_held_by(&node));
    node.shutdown().await;

    let base = only_file(folder.path(), "base-");
    let mut bytes = fs::read(&base).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&base, bytes).unwrap();
    assert!(matches!(try_start(&without_planes), Err(StartError::NoSource { .. })));

    // It still has its certificate, so that the control plane mends it.
    let node = start(&settings_without_token(folder.path(), &[plane.url()]));
    assert!(!node.readiness().is_ready());
    let mut session = plane.session().await;
    assert_eq!(session.hello.epoch, 0);
    session.welcome().await;
    after.give(&mut session).await;
    node.shutdown().await;
    let node = start(&without_planes);
    assert!(after.is_held_by(&node));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_fails_serves_on_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // A folder cannot be made below a file, whoever asks.
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let mut plane = Plane::start(&Authority::new()).await;
    let mut store = Store::with(&["a"]);
    let (node, mut session) = started_with(&store, &file.join("data"), &mut plane).await;
    let readiness = node.readiness();
    eventually(|| readiness.is_disk_failing().then_some(())).await;
    session.say(Message::Delta(store.change("b", None))).await;
    session.applied().await;
    assert!(store.is_held_by(&node) && readiness.is_ready());
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_of_one_folder_do_not_mix_their_files() {
    let mut plane = Plane::start(&Authority::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::with(&["a"]);
    let (first, _session) = started_with(&store, folder.path(), &mut plane).await;
    written(folder.path(), "base-", 0).await;
    let second = start(&settings(folder.path(), &plane));
    let mut session = plane.session().await;
    session.welcome().await;
    let mut other = store.clone();
    session.say(Message::Delta(other.change("b", None))).await;
    // The first acknowledgement is of what it found on disk.
    assert_eq!([session.applied().await.revision, session.applied().await.revision], [3, 4]);
    let readiness = second.readiness();
    eventually(|| readiness.is_disk_failing().then_some(())).await;
    assert!(other.is_held_by(&second) && readiness.is_ready());
    second.shutdown().await;
    first.shutdown().await;
    let node = start(&settings_without_token(folder.path(), &[]));
    assert!(store.is_held_by(&node));
    node.shutdown().await;
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

fn good_welcome() -> v1::Welcome {
    match welcome() {
        Message::Welcome(welcome) => welcome,
        Message::Snapshot(_) | Message::Delta(_) | Message::Cluster(_) => unreachable!(),
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
