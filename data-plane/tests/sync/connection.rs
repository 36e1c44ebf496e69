//! The connection to the control plane: lost, found again, kept.

use crate::node::{Store, settings, start, started_with};
use crate::plane::{Authority, Plane, eventually};

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
