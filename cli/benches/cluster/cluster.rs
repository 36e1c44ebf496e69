use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_testkit::relay::Relay;

const TOKEN: &str = "tga_cluster_bench";

/// A process that ends with this one.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn tollgate(folder: &Path, name: &str, arguments: &[String]) -> Process {
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

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

pub(crate) fn host(i: usize) -> String {
    format!("h{}.bench.test", i % 100)
}

/// An API of one route that sets a mark on its answers.
pub(crate) fn api(i: usize, mark: u64) -> Value {
    json!({"kind": "Api", "name": format!("api-{i:05}"), "spec": {
        "hosts": [host(i)], "base_path": format!("/api-{i:05}"), "upstream": "echo",
        "routes": [{"name": "all", "policies": [{"headers": {"response": {"set": {"x-mark": mark.to_string()}}}}]}]}})
}

/// A node, and how it was started.
struct Node {
    process: Option<Process>,
    name: String,
    arguments: Vec<String>,
    gateway: String,
}

pub(crate) struct Cluster {
    /// Between the first node and the control plane.
    pub(crate) relay: Relay,
    client: reqwest::Client,
    admin: String,
    nodes: Vec<Node>,
    control_plane: Option<Process>,
    folder: PathBuf,
    _echo: Process,
}

impl Cluster {
    pub(crate) async fn start(folder: &Path, nodes: usize) -> Self {
        let client = reqwest::Client::builder().tcp_nodelay(true).build().unwrap();
        let (admin, grpc, echo) = (free_address(), free_address(), free_address());
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let data = folder.join("control").display().to_string();
        let control = ["control-plane", "--admin", &admin, "--grpc", &grpc, "--data", &data];
        let mut cluster = Self {
            relay: Relay::start(grpc.parse().unwrap(), Duration::ZERO).await.unwrap(),
            client,
            admin: format!("http://{admin}"),
            nodes: Vec::new(),
            control_plane: Some(tollgate(folder, "control", &words(&control))),
            folder: folder.to_owned(),
            _echo: tollgate(folder, "echo", &words(&["echo", "--listen", &echo])),
        };
        wait(&cluster.client, &format!("{}/ready", cluster.admin)).await;
        let endpoints = json!([{"url": format!("http://{echo}")}]);
        cluster
            .change(vec![
                json!({"kind": "Upstream", "name": "echo", "spec": {"endpoints": endpoints}}),
            ])
            .await;
        let join =
            cluster.post("/api/v1/join-tokens", json!({"gateway": "default", "ttl": "1h"})).await;
        for i in 0..nodes {
            let (listen, status) = (free_address(), free_address());
            let name = format!("node-{i}");
            let data = folder.join(&name).display().to_string();
            let relay = cluster.relay.address().to_string();
            let control_plane = format!("https://{}", if i == 0 { &relay } else { &grpc });
            let arguments = words(&[
                "data-plane",
                "--listen",
                &listen,
                "--status",
                &status,
                "--data",
                &data,
                "--workers",
                "1",
                "--access-log",
                "off",
                "--node",
                &name,
                "--control-plane",
                &control_plane,
                "--join",
                join["token"].as_str().unwrap(),
            ]);
            let process = Some(tollgate(folder, &name, &arguments));
            cluster.nodes.push(Node {
                process,
                name,
                arguments,
                gateway: format!("http://{listen}"),
            });
            wait(&cluster.client, &format!("http://{status}/ready")).await;
        }
        cluster
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.admin));
        let response = request.bearer_auth(TOKEN).json(&body).send().await.unwrap();
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{status} {body}");
        body
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.admin)).bearer_auth(TOKEN);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Writes resources; returns when they are committed.
    pub(crate) async fn commit(&self, resources: Vec<Value>) {
        self.post("/api/v1/changes", json!({"resources": resources})).await;
    }

    /// Writes resources; returns when every node runs them.
    pub(crate) async fn change(&self, resources: Vec<Value>) {
        let path = "/api/v1/changes?wait=applied&timeout=60s";
        self.post(path, json!({"resources": resources})).await;
    }

    /// Milliseconds until `status` is as `is_so` wants it.
    pub(crate) async fn until_status(&self, is_so: impl Fn(&Value) -> bool) -> f64 {
        let start = Instant::now();
        while !is_so(&self.get("/api/v1/status").await) {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{}",
                self.get("/api/v1/status").await
            );
        }
        start.elapsed().as_secs_f64() * 1e3
    }

    /// The most bytes that a node holds resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let resident = |node: &Node| {
            let id = node.process.as_ref()?.0.id();
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        self.nodes.iter().filter_map(resident).max().unwrap() << 10
    }

    /// Status and mark of answers of the first node.
    pub(crate) async fn answers(&self, indexes: impl Iterator<Item = usize>) -> Vec<(u16, String)> {
        let mut answers = Vec::new();
        for i in indexes {
            let request = self.client.get(format!("{}/api-{i:05}", self.nodes[0].gateway));
            let response = request.header("host", host(i)).send().await.unwrap();
            let mark =
                response.headers().get("x-mark").map(|mark| mark.to_str().unwrap().to_owned());
            answers.push((response.status().as_u16(), mark.unwrap_or_default()));
        }
        answers
    }

    pub(crate) fn kill_control_plane(&mut self) {
        self.control_plane = None;
    }

    /// Kills the first node and starts it again; milliseconds until it answers as before.
    pub(crate) async fn restart_node(&mut self) -> f64 {
        let node = &mut self.nodes[0];
        node.process = None;
        let start = Instant::now();
        node.process = Some(tollgate(&self.folder, &node.name, &node.arguments));
        let request =
            self.client.get(format!("{}/api-00000", node.gateway)).header("host", host(0));
        loop {
            let sent = request.try_clone().unwrap().send().await;
            if sent.is_ok_and(|response| response.status() == 200) {
                return start.elapsed().as_secs_f64() * 1e3;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "the node does not come back");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Puts a mark on one API and waits until every node shows it. Returns the milliseconds from the
    /// answer of the commit, and from sending it.
    pub(crate) async fn measure(&self, i: usize, mark: u64) -> (f64, f64) {
        let committed_ns = Arc::new(AtomicU64::new(u64::MAX));
        let start = Instant::now();
        let watches: Vec<_> = self
            .nodes
            .iter()
            .map(|node| {
                let url = format!("{}/api-{i:05}", node.gateway);
                let request = self.client.get(url).header("host", host(i));
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
