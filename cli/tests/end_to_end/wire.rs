use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tollgate_testkit::relay::Relay;

use super::support::{Process, cli_json, cli_ok, free_port, ready};

/// A change of one route takes no more on the stream, TLS and all.
const MOST_BYTES: u64 = 2 << 10;

/// APIs of one route each, on ten hosts.
fn apis(numbers: std::ops::Range<usize>, mark: usize) -> String {
    let mut text = String::from(
        "kind: Upstream\nname: orders\nspec: {endpoints: [{url: \"http://127.0.0.1:9\"}]}\n",
    );
    for i in numbers {
        write!(
            text,
            "---\nkind: Api\nname: api-{i:05}\nspec:\n  hosts: [h{}.shop.test]\n  base_path: /api-{i:05}\n  upstream: orders\n  \
             routes: [{{name: all, policies: [{{headers: {{response: {{set: {{x-mark: \"{mark}\"}}}}}}}}]}}]\n",
            i % 10
        )
        .unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_one_route_takes_the_same_few_bytes_however_many_routes_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [admin, grpc, gateway, status] = [(); 4].map(|()| free_port());
    let at = |port: u16| format!("127.0.0.1:{port}");
    let (data, admin_at, grpc_at) = (path("control"), at(admin), at(grpc));
    let arguments = ["control-plane", "--admin", &admin_at, "--grpc", &grpc_at, "--data", &data];
    let _control = Process::start(folder.path(), "control", &arguments, &[]);
    ready(&format!("http://{admin_at}/ready")).await;
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, grpc));
    let relay = Relay::start(server, Duration::ZERO).await.unwrap();
    let join = cli_json(folder.path(), admin, &["node", "token", "create"]);
    let (plane, join) = (format!("https://{}", relay.address()), join["token"].as_str().unwrap());
    let (data, listen, status_at) = (path("node"), at(gateway), at(status));
    let arguments = [
        "data-plane",
        "--listen",
        &listen,
        "--status",
        &status_at,
        "--data",
        &data,
        "--workers",
        "1",
        "--control-plane",
        &plane,
        "--access-log",
        "off",
        "--join",
        join,
    ];
    let _node = Process::start(folder.path(), "node", &arguments, &[]);
    ready(&format!("http://{status_at}/ready")).await;

    let file = path("apis.yaml");
    let apply = |text: String| {
        std::fs::write(&file, text).unwrap();
        cli_ok(folder.path(), admin, &["apply", "-f", &file, "--wait=60s"]);
    };
    let mut medians = Vec::new();
    for routes in [100, 2_000] {
        apply(apis(0..routes, 0));
        let mut taken: Vec<u64> = (1..10)
            .map(|change| {
                let before = relay.bytes();
                apply(apis(change * 7..change * 7 + 1, change));
                let after = relay.bytes();
                after.to_client - before.to_client + after.to_server - before.to_server
            })
            .collect();
        taken.sort_unstable();
        medians.push(taken[taken.len() / 2]);
    }
    let (few, many) = (medians[0], medians[1]);
    assert!(few.max(many) <= MOST_BYTES, "{medians:?}");
    assert!(few.abs_diff(many) * 5 <= few, "{medians:?}");
    assert!(few > 100, "nothing was measured: {medians:?}");
}
