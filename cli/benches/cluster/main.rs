//! A cluster as it runs: from a commit to the first request that sees it on every node, the bytes
//! on the wire for it, what a node holds, how soon a refusal is named, and a start from disk without
//! a control plane. Real processes: one control plane on SQLite, N nodes, a toy upstream.
//!
//! `cargo bench --profile micro -p tollgate-cli --bench cluster -- [ROUTES] [NODES] [CHANGES]`
//! (10,000, 8 and 200 where nothing is given). `TOLLGATE` names another binary than the one just built.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "a measurement that stops at the first fault"
)]

// The processes, and what is asked of them.
mod cluster;

use std::time::{Duration, Instant};

use cluster::{Cluster, api};
use serde_json::json;

/// Requests of which the answers before and after a restart are compared.
const COMPARED: usize = 500;
const STARTS: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let numbers: Vec<usize> =
        std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let number = |i: usize, default: usize| numbers.get(i).copied().unwrap_or(default);
    let (routes, nodes, changes) = (number(0, 10_000), number(1, 8), number(2, 200));
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(folder.path(), nodes).await;
    let started = Instant::now();
    for chunk in (0..routes).collect::<Vec<_>>().chunks(5_000) {
        cluster.change(chunk.iter().map(|i| api(*i, 0)).collect()).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{routes} routes on {nodes} nodes: applied in {seconds:.1} s");
    propagation(&cluster, routes, changes).await;
    bytes(&cluster, routes, changes).await;
    println!("a node holds {} MiB resident at most", cluster.resident_bytes() >> 20);
    refusal(&cluster).await;
    restart(&mut cluster, routes).await;
}

/// From a change to the first request that sees it on every node.
async fn propagation(cluster: &Cluster, routes: usize, changes: usize) {
    let (mut after, mut whole) = (Vec::new(), Vec::new());
    for change in 0..changes {
        let (from_answer, from_sending) =
            cluster.measure(change * 7919 % routes, change as u64 + 1).await;
        after.push(from_answer);
        whole.push(from_sending);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    report("commit answered -> seen on every node", after);
    report("change sent -> seen on every node", whole);
}

/// Bytes between one node and its control plane for a change of one route, TLS and all.
async fn bytes(cluster: &Cluster, routes: usize, changes: usize) {
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for change in 0..changes.min(50) {
        let before = cluster.relay.bytes();
        cluster.change(vec![api(change * 7919 % routes, 1_000 + change as u64)]).await;
        let after = cluster.relay.bytes();
        down.push((after.to_client - before.to_client) as f64);
        up.push((after.to_server - before.to_server) as f64);
    }
    for (what, mut counts) in [("to", down), ("from", up)] {
        counts.sort_by(f64::total_cmp);
        println!("bytes {what} a node for a change of one route: {}", percentile(&counts, 0.5));
    }
}

/// A listener that no node can have, since its port is taken: how soon `status` says so, and how
/// soon after it is taken back that it does not any more.
async fn refusal(cluster: &Cluster) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = |listeners: serde_json::Value| json!({"kind": "Gateway", "name": "default", "spec": {"listeners": listeners}});
    let (mut named, mut cleared) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let address = taken.local_addr().unwrap().to_string();
        cluster.commit(vec![gateway(json!([{"name": "taken", "address": address}]))]).await;
        named.push(
            cluster.until_status(|status| status["resources"][0]["state"] == "rejected").await,
        );
        cluster.commit(vec![gateway(json!([]))]).await;
        let is_settled = |status: &serde_json::Value| status["resources"] == json!([]);
        cleared.push(cluster.until_status(is_settled).await);
    }
    report("commit answered -> status names the refusal", named);
    report("commit answered -> status is clear again", cleared);
}

/// The control plane is gone for good; a node is killed and starts from its disk.
async fn restart(cluster: &mut Cluster, routes: usize) {
    let sample = |i: usize| i * 7919 % (routes + routes / 10);
    let before = cluster.answers((0..COMPARED).map(sample)).await;
    // What was changed last is on the disk a moment later.
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.kill_control_plane();
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(cluster.restart_node().await);
        assert_eq!(cluster.answers((0..COMPARED).map(sample)).await, before);
    }
    report("process started -> first answer, from disk", times);
}

fn report(what: &str, mut milliseconds: Vec<f64>) {
    milliseconds.sort_by(f64::total_cmp);
    let at = |share| percentile(&milliseconds, share);
    let (p50, p99, max, count) = (at(0.5), at(0.99), at(1.0), milliseconds.len());
    println!("{what}: p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms ({count} times)");
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
