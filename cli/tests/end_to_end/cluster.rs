use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tollgate_testkit::postgres::Server;
use tollgate_testkit::redis::Redis;

use super::support::{Process, call, cli, cli_json, cli_ok, errors, eventually, free_port, ready};

const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct Node {
    gateway: u16,
    status: u16,
    process: Process,
}

struct Cluster {
    folder: tempfile::TempDir,
    admin: [u16; 2],
    grpc: [u16; 2],
    control: [Process; 2],
    nodes: Vec<Node>,
    _echo: Process,
    _postgres: Server,
    _redis: Redis,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let postgres = Server::start().await.unwrap();
        let database = postgres.database().await.unwrap();
        let redis = Redis::start().unwrap();
        let (admin, grpc) = ([free_port(), free_port()], [free_port(), free_port()]);
        let control = [0, 1].map(|i| control_plane(folder.path(), i, admin[i], grpc[i], &database));
        for port in admin {
            ready(&format!("http://127.0.0.1:{port}/ready")).await;
        }
        let echo = free_port();
        let toy = Process::start(
            folder.path(),
            "echo",
            &["echo", "--listen", &format!("127.0.0.1:{echo}")],
            &[],
        );
        let mut cluster = Self {
            folder,
            admin,
            grpc,
            control,
            nodes: Vec::new(),
            _echo: toy,
            _postgres: postgres,
            _redis: redis,
        };
        let join = cli_json(cluster.path(), admin[0], &["node", "token", "create"]);
        for i in 0..3 {
            let node = cluster.node(i, join["token"].as_str());
            ready(&format!("http://127.0.0.1:{}/ready", node.status)).await;
            cluster.nodes.push(node);
        }
        let file = cluster.path().join("orders.yaml");
        let text = include_str!("../../../examples/orders.yaml");
        std::fs::write(&file, text.replace("127.0.0.1:9000", &format!("127.0.0.1:{echo}")))
            .unwrap();
        cli_ok(cluster.path(), admin[0], &["apply", "-f", file.to_str().unwrap(), "--wait=20s"]);
        cluster
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Node `i`; the first speaks to the first control plane, the others begin with the second.
    fn node(&self, i: usize, join: Option<&str>) -> Node {
        let (gateway, status) = self
            .nodes
            .get(i)
            .map_or_else(|| (free_port(), free_port()), |node| (node.gateway, node.status));
        let mut planes = self.grpc.map(|port| format!("https://127.0.0.1:{port}"));
        if i > 0 {
            planes.reverse();
        }
        let arguments = [
            "data-plane",
            "--listen",
            &format!("127.0.0.1:{gateway}"),
            "--status",
            &format!("127.0.0.1:{status}"),
            "--node",
            &format!("n{i}"),
            "--workers",
            "1",
            "--control-plane",
            &planes.join(","),
            "--access-log",
            "off",
            "--data",
            self.path().join(format!("node-{i}")).to_str().unwrap(),
            "--redis",
            &self._redis.address(),
            // Debug builds on a busy machine: what is tested is the count, not the wait.
            "--redis-timeout",
            "1s",
            "--drain-time",
            "5s",
        ]
        .map(ToOwned::to_owned);
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if let Some(join) = join {
            arguments.extend(["--join", join]);
        }
        Node {
            gateway,
            status,
            process: Process::start(self.path(), &format!("node-{i}"), &arguments, &[]),
        }
    }

    async fn all_answer(&self, path: &str, status: u16) {
        for node in &self.nodes {
            eventually(path, async || {
                let answer = call(node.gateway, path, "sk-shop-0001").await.ok()?;
                (answer.status() == status).then_some(())
            })
            .await;
        }
    }
}

fn control_plane(folder: &Path, i: usize, admin: u16, grpc: u16, database: &str) -> Process {
    let (admin, grpc) = (format!("127.0.0.1:{admin}"), format!("127.0.0.1:{grpc}"));
    let data = folder.join(format!("control-{i}"));
    let arguments =
        ["control-plane", "--admin", &admin, "--grpc", &grpc, "--data", data.to_str().unwrap()];
    let variables = [("TOLLGATE_DATABASE_URL", database), ("TOLLGATE_MASTER_KEY", MASTER_KEY)];
    Process::start(folder, &format!("control-{i}"), &arguments, &variables)
}

/// A small API beside the example's.
fn write_api(folder: &Path, name: &str) -> String {
    let file = folder.join(format!("{name}.yaml"));
    let text = format!(
        "kind: Api\nname: {name}\nspec: {{hosts: [api.shop.test], base_path: /{name}, upstream: orders}}\n"
    );
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_change_at_one_control_plane_reaches_the_nodes_of_the_other_and_outlives_its_death() {
    let mut cluster = Cluster::start().await;
    cluster.all_answer("/orders/items", 200).await;
    let first = write_api(cluster.path(), "first");
    let applied =
        cli_json(cluster.path(), cluster.admin[0], &["apply", "-f", &first, "--wait=20s"]);
    assert_eq!(applied["applied"]["nodes_applied"], 3, "{applied}");
    cluster.all_answer("/first/x", 200).await;

    cluster.control[0].kill();
    let second = write_api(cluster.path(), "second");
    cli_ok(cluster.path(), cluster.admin[1], &["apply", "-f", &second]);
    cluster.all_answer("/second/x", 200).await;

    // Without any control plane, nodes serve on, and one starts again from its disk.
    cluster.control[1].kill();
    cluster.all_answer("/second/x", 200).await;
    cluster.nodes[2].process.kill();
    cluster.nodes[2] = cluster.node(2, None);
    cluster.all_answer("/second/x", 200).await;
    for node in &cluster.nodes {
        let log = node.process.log();
        assert!(errors(&log).is_empty(), "{log}");
    }
}

#[tokio::test]
async fn an_exact_limit_admits_exactly_its_number_in_the_whole_cluster() {
    let cluster = Cluster::start().await;
    let mut calls = tokio::task::JoinSet::new();
    for i in 0..300_usize {
        let gateway = cluster.nodes[i % 3].gateway;
        calls.spawn(async move {
            call(gateway, "/orders/items", "sk-shop-0001").await.unwrap().status().as_u16()
        });
    }
    let statuses = calls.join_all().await;
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(200), count(429)), (100, 200));
}

#[tokio::test]
async fn what_a_node_refuses_is_named_and_mending_it_clears_the_state() {
    let cluster = Cluster::start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file = cluster.path().join("gateway.yaml");
    let text = format!(
        "kind: Gateway\nname: default\nspec:\n  listeners: [{{name: extra, address: \"127.0.0.1:{port}\"}}]\n"
    );
    std::fs::write(&file, text).unwrap();
    let output = cli(
        cluster.path(),
        cluster.admin[0],
        &["apply", "-f", file.to_str().unwrap(), "--wait=10s"],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let started = std::time::Instant::now();
    let status = cli_json_any(&cluster, &["status"]);
    assert!(started.elapsed() < Duration::from_secs(5));
    let resource = &status["resources"][0];
    assert_eq!(
        (&resource["kind"], &resource["state"]),
        (&"Gateway".into(), &"rejected".into()),
        "{status}"
    );
    let issue = &resource["nodes"][0]["issues"][0];
    assert_eq!(
        (&issue["at"], &issue["code"]),
        (&"/spec/listeners/0/address".into(), &"port_in_use".into()),
        "{status}"
    );
    // The rest of the configuration is live all the same.
    cluster.all_answer("/orders/items", 200).await;

    std::fs::write(&file, "kind: Gateway\nname: default\nspec: {}\n").unwrap();
    cli_ok(
        cluster.path(),
        cluster.admin[0],
        &["apply", "-f", file.to_str().unwrap(), "--wait=10s"],
    );
    let status = cli_json_any(&cluster, &["status"]);
    assert_eq!(status["resources"].as_array().map(Vec::len), Some(0), "{status}");
}

#[tokio::test]
async fn a_purge_reaches_the_caches_of_all_nodes() {
    let cluster = Cluster::start().await;
    let file = cluster.path().join("cached.yaml");
    let text = "kind: Api\nname: cached\nspec:\n  hosts: [api.shop.test]\n  base_path: /cached\n  \
                upstream: orders\n  policies:\n    - cache: {default_ttl: 1h}\n    \
                - headers: {response: {set: {surrogate-key: \"item-7 all\"}}}\n";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    cli_ok(cluster.path(), cluster.admin[0], &["apply", "-f", file, "--wait=20s"]);
    // The toy upstream tells the request id of who asked it.
    let look = async || {
        let mut seen = Vec::new();
        for node in &cluster.nodes {
            let answer = call(node.gateway, "/cached/a", "").await.unwrap();
            assert!(answer.headers().get("surrogate-key").is_none());
            seen.push(answer.text().await.unwrap());
        }
        seen
    };
    let mut seen = look().await;
    assert_eq!(look().await, seen);
    let purge = |admin: usize, what: &str, value: &str| {
        let arguments = ["purge", what, value, "--wait=20s"];
        cli_json(cluster.path(), cluster.admin[admin], &arguments)["purged"].clone()
    };
    for (admin, what, value) in
        [(0, "url", "http://api.shop.test/cached/a"), (1, "tag", "item-7"), (0, "api", "cached")]
    {
        purge(admin, "tag", "item-8");
        purge(admin, "url", "http://api.shop.test/cached/b");
        purge(admin, "api", "orders");
        assert_eq!(look().await, seen);
        assert_eq!(purge(admin, what, value)["nodes_purged"], 3);
        let now = look().await;
        assert!(now.iter().zip(&seen).all(|(now, before)| now != before), "{what}: {now:?}");
        seen = now;
    }
}

/// As `cli_json`, for a verb whose exit status says something too.
fn cli_json_any(cluster: &Cluster, arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.extend(["-o", "json"]);
    serde_json::from_slice(&cli(cluster.path(), cluster.admin[0], &arguments).stdout).unwrap()
}
