//! The last good configuration on disk.

use std::fs;
use std::path::{Path, PathBuf};

use tollgate_data_plane::sync::StartError;
use tollgate_proto::v1::control_message::Message;

use crate::node::{
    Store, settings, settings_without_token, start, started_with, try_start, written,
};
use crate::plane::{Authority, Plane, eventually};

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
