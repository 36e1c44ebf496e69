//! From a commit to the first request that sees it on every node; bytes on the wire and memory on
//! the way. Real processes: one control plane on SQLite, N nodes, a toy upstream.
//!
//! `cargo bench -p tollgate-cli --bench propagation -- [ROUTES] [NODES] [CHANGES]`
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

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const TOKEN: &str = "tga_propagation_bench";

/// A process that ends with this one.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn tollgate(folder: &std::path::Path, name: &str, arguments: &[&str]) -> Process {
    let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
    let program =
        std::env::var_os("TOLLGATE").unwrap_or_else(|| env!("CARGO_BIN_EXE_tollgate").into());
    let child = Command::new(program)
        .args(arguments)
        .env("TOLLGATE_ADMIN_TOKEN", TOKEN)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Process(child)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn api(i: usize, mark: u64) -> Value {
    json!({"kind": "Api", "name": format!("api-{i:05}"), "spec": {
        "hosts": [format!("h{}.bench.test", i % 100)], "base_path": format!("/api-{i:05}"), "upstream": "echo",
        "routes": [{"name": "all", "policies": [{"headers": {"response": {"set": {"x-mark": mark.to_string()}}}}]}]}})
}

struct Cluster {
    client: reqwest::Client,
    admin: String,
    gateways: Vec<String>,
    _processes: Vec<Process>,
}

impl Cluster {
    async fn start(folder: &std::path::Path, nodes: usize) -> Self {
        let client = reqwest::Client::builder().tcp_nodelay(true).build().unwrap();
        let (admin, grpc, echo) = (free_port(), free_port(), free_port());
        let echo_address = format!("127.0.0.1:{echo}");
        let mut processes = vec![tollgate(folder, "echo", &["echo", "--listen", &echo_address])];
        let data = folder.join("control");
        processes.push(tollgate(
            folder,
            "control",
            &[
                "control-plane",
                "--admin",
                &format!("127.0.0.1:{admin}"),
                "--grpc",
                &format!("127.0.0.1:{grpc}"),
                "--data",
                data.to_str().unwrap(),
            ],
        ));
        let admin = format!("http://127.0.0.1:{admin}");
        wait(&client, &format!("{admin}/ready")).await;
        let mut cluster = Self { client, admin, gateways: Vec::new(), _processes: processes };
        let upstream = json!({"kind": "Upstream", "name": "echo", "spec": {"endpoints": [{"url": format!("http://{echo_address}")}]}});
        cluster.change(vec![upstream]).await;
        let join =
            cluster.post("/api/v1/join-tokens", json!({"gateway": "default", "ttl": "1h"})).await;
        for i in 0..nodes {
            let (port, status) = (free_port(), free_port());
            let data = folder.join(format!("node-{i}"));
            cluster._processes.push(tollgate(
                folder,
                &format!("node-{i}"),
                &[
                    "data-plane",
                    "--listen",
                    &format!("127.0.0.1:{port}"),
                    "--status",
                    &format!("127.0.0.1:{status}"),
                    "--data",
                    data.to_str().unwrap(),
                    "--workers",
                    "1",
                    "--access-log",
                    "off",
                    "--node",
                    &format!("n{i}"),
                    "--control-plane",
                    &format!("https://127.0.0.1:{grpc}"),
                    "--join",
                    join["token"].as_str().unwrap(),
                ],
            ));
            wait(&cluster.client, &format!("http://127.0.0.1:{status}/ready")).await;
            cluster.gateways.push(format!("http://127.0.0.1:{port}"));
        }
        cluster
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let response = self
            .client
            .post(format!("{}{path}", self.admin))
            .bearer_auth(TOKEN)
            .json(&body)
            .send()
            .await
            .unwrap();
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{status} {body}");
        body
    }

    async fn change(&self, resources: Vec<Value>) -> Value {
        self.post("/api/v1/changes?wait=applied&timeout=60s", json!({"resources": resources})).await
    }

    /// Puts a mark on one API and waits until every node shows it. Returns the milliseconds from the
    /// answer of the commit, and from sending it.
    async fn measure(&self, i: usize, mark: u64) -> (f64, f64) {
        let committed_ns = Arc::new(AtomicU64::new(u64::MAX));
        let start = Instant::now();
        let watches: Vec<_> = self
            .gateways
            .iter()
            .map(|gateway| {
                let request = self
                    .client
                    .get(format!("{gateway}/api-{i:05}"))
                    .header("host", format!("h{}.bench.test", i % 100));
                tokio::task::spawn(async move {
                    let wanted = mark.to_string();
                    loop {
                        let asked = Instant::now();
                        let response = request.try_clone().unwrap().send().await.unwrap();
                        if response.headers().get("x-mark").is_some_and(|mark| *mark == *wanted) {
                            return asked;
                        }
                        tokio::time::sleep(Duration::from_micros(500)).await;
                    }
                })
            })
            .collect();
        let mut document = api(i, mark);
        let spec = document["spec"].take();
        let put = self
            .client
            .put(format!("{}/api/v1/tenants/default/apis/api-{i:05}", self.admin))
            .bearer_auth(TOKEN)
            .json(&json!({"spec": spec}))
            .send()
            .await
            .unwrap();
        let status = put.status();
        assert!(status.is_success(), "{status}: {}", put.text().await.unwrap());
        committed_ns.store(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        let mut last = start;
        for watch in watches {
            last = last
                .max(tokio::time::timeout(Duration::from_secs(10), watch).await.unwrap().unwrap());
        }
        let seen = (last - start).as_secs_f64() * 1e3;
        let committed = committed_ns.load(Ordering::Relaxed) as f64 / 1e6;
        ((seen - committed).max(0.0), seen)
    }
}

async fn wait(client: &reqwest::Client, url: &str) {
    for _ in 0..600 {
        if client.get(url).send().await.is_ok_and(|response| response.status() == 200) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{url} is not ready");
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let numbers: Vec<usize> =
        std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let number = |i: usize, default: usize| numbers.get(i).copied().unwrap_or(default);
    let (routes, nodes, changes) = (number(0, 10_000), number(1, 8), number(2, 200));
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path(), nodes).await;
    let started = Instant::now();
    for chunk in (0..routes).collect::<Vec<_>>().chunks(5_000) {
        cluster.change(chunk.iter().map(|i| api(*i, 0)).collect()).await;
    }
    println!(
        "{routes} routes applied on {nodes} nodes in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    let (mut after, mut whole) = (Vec::new(), Vec::new());
    for change in 0..changes {
        let (from_answer, from_sending) =
            cluster.measure(change * 7919 % routes, change as u64 + 1).await;
        after.push(from_answer);
        whole.push(from_sending);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (what, times) in [
        ("commit answered -> seen on every node", &mut after),
        ("change sent -> seen on every node", &mut whole),
    ] {
        times.sort_by(f64::total_cmp);
        println!(
            "{what}: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms ({changes} changes)",
            percentile(times, 0.5),
            percentile(times, 0.99),
            percentile(times, 1.0)
        );
    }
    let listed: Value = cluster
        .client
        .get(format!("{}/api/v1/nodes", cluster.admin))
        .bearer_auth(TOKEN)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let resident: Vec<u64> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|node| node["resident_bytes"].as_u64())
        .collect();
    println!(
        "resident a node at {routes} routes: {} MiB at most",
        resident.iter().max().unwrap_or(&0) >> 20
    );
}
