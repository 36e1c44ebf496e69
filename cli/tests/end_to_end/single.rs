use std::path::Path;

use serde_json::Value;

use super::support::{Process, call, cli, cli_json, cli_ok, errors, free_port, ready};

struct Single {
    folder: tempfile::TempDir,
    echo: u16,
    gateway: u16,
    admin: u16,
    status: u16,
    up: Process,
    _echo: Process,
}

impl Single {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (echo, gateway, admin, status) = (free_port(), free_port(), free_port(), free_port());
        let toy = Process::start(
            folder.path(),
            "echo",
            &["echo", "--listen", &format!("127.0.0.1:{echo}")],
            &[],
        );
        let up = start_up(folder.path(), gateway, admin, status);
        ready(&format!("http://127.0.0.1:{status}/ready")).await;
        Self { folder, echo, gateway, admin, status, up, _echo: toy }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The example of the README, with the toy upstream's port.
    fn example(&self) -> String {
        let text = include_str!("../../../examples/orders.yaml");
        let file = self.path().join("orders.yaml");
        std::fs::write(&file, text.replace("127.0.0.1:9000", &format!("127.0.0.1:{}", self.echo)))
            .unwrap();
        file.to_str().unwrap().to_owned()
    }
}

fn start_up(folder: &Path, gateway: u16, admin: u16, status: u16) -> Process {
    let address = |port: u16| format!("127.0.0.1:{port}");
    let arguments = [
        "up",
        "--data",
        folder.join("data").to_str().unwrap(),
        "--listen",
        &address(gateway),
        "--admin",
        &address(admin),
        "--grpc",
        "127.0.0.1:0",
        "--status",
        &address(status),
        "--workers",
        "2",
        "--access-log",
        folder.join("access.log").to_str().unwrap(),
        "--drain-time",
        "5s",
    ]
    .map(ToOwned::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::start(folder, "up", &arguments, &[])
}

#[tokio::test]
async fn a_newcomer_publishes_an_api_and_calls_it() {
    let mut tollgate = Single::start().await;
    let example = tollgate.example();
    let applied = cli_json(tollgate.path(), tollgate.admin, &["apply", "-f", &example, "--wait"]);
    assert_eq!(applied["applied"]["nodes_applied"], 1, "{applied}");

    let key =
        cli_json(tollgate.path(), tollgate.admin, &["key", "create", "--application", "web-shop"]);
    let key = key["key"].as_str().unwrap();
    assert!(key.starts_with("tg_"));
    let answer = super::support::eventually("the new key", async || {
        call(tollgate.gateway, "/orders/items?all=1", key)
            .await
            .ok()
            .filter(|answer| answer.status() == 200)
    })
    .await;
    assert!(answer.headers().contains_key("ratelimit"));
    let seen: Value = answer.json().await.unwrap();
    assert_eq!(seen["path"], "/items");
    assert!(seen["headers"].get("x-api-key").is_none(), "{seen}");
    let text = seen["headers"].to_string();
    assert!(text.contains("x-forwarded-for") && !text.contains(key), "{text}");

    assert_eq!(
        call(tollgate.gateway, "/orders/items", "sk-shop-0001").await.unwrap().status(),
        200
    );
    let refused = call(tollgate.gateway, "/orders/items", "sk-shop-0002").await.unwrap();
    assert_eq!(refused.status(), 401);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "unauthenticated");

    let metrics = reqwest::get(format!("http://127.0.0.1:{}/metrics", tollgate.status))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics
            .contains("tollgate_requests_total{tenant=\"default\",api=\"orders\",status=\"2xx\"}"),
        "{metrics}"
    );

    assert!(tollgate.up.stop(), "{}", tollgate.up.log());
    let lines = std::fs::read_to_string(tollgate.path().join("access.log")).unwrap();
    // Each request thread writes its own lines together, so the last call need not be the last line.
    let of_refusal = |line: &Value| line["status"] == 401 && line["code"] == "unauthenticated";
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(records.filter(of_refusal).count(), 1, "{lines}");
    assert!(!lines.contains(key), "a key stands in the access log");
    let log = tollgate.up.log();
    assert!(errors(&log).is_empty(), "{log}");
    assert!(!log.contains(key) && !log.contains("sk-shop-0001"), "a key stands in the log");
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart_and_a_kill() {
    let mut tollgate = Single::start().await;
    let example = tollgate.example();
    cli_ok(tollgate.path(), tollgate.admin, &["apply", "-f", &example, "--wait"]);
    for is_killed in [false, true] {
        if is_killed {
            tollgate.up.kill();
        } else {
            assert!(tollgate.up.stop());
        }
        tollgate.up = start_up(tollgate.path(), tollgate.gateway, tollgate.admin, tollgate.status);
        ready(&format!("http://127.0.0.1:{}/ready", tollgate.status)).await;
        assert_eq!(
            call(tollgate.gateway, "/orders/items", "sk-shop-0001").await.unwrap().status(),
            200
        );
    }
    ready(&format!("http://127.0.0.1:{}/ready", tollgate.admin)).await;
    let history = cli_json(tollgate.path(), tollgate.admin, &["history"]);
    assert_eq!(
        history.as_array().or_else(|| history["items"].as_array()).unwrap().len(),
        1,
        "{history}"
    );
}

#[tokio::test]
async fn a_mistake_is_named_by_file_and_line_and_changes_nothing() {
    let tollgate = Single::start().await;
    let file = tollgate.path().join("bad.yaml");
    std::fs::write(&file, "kind: Api\nname: bad\nspec:\n  base_path: /bad\n  upstrem: orders\n  routes:\n    - name: a\n      match: {path: items}\n").unwrap();
    let output = cli(tollgate.path(), tollgate.admin, &["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("bad.yaml:5: spec.upstrem: ") && text.contains("did you mean `upstream`?"),
        "{text}"
    );
    assert!(text.contains("bad.yaml:8: spec.routes[0].match.path: "), "{text}");
    let status = cli_json(tollgate.path(), tollgate.admin, &["status"]);
    assert_eq!(status["revision"], 0, "{status}");
}

#[tokio::test]
async fn a_roll_back_puts_an_earlier_configuration_in_force() {
    let tollgate = Single::start().await;
    let example = tollgate.example();
    cli_ok(tollgate.path(), tollgate.admin, &["apply", "-f", &example, "--wait"]);
    cli_ok(tollgate.path(), tollgate.admin, &["delete", "api", "orders"]);
    super::support::eventually("the deletion", async || {
        let answer = call(tollgate.gateway, "/orders/items", "sk-shop-0001").await.ok()?;
        (answer.status() == 404).then_some(())
    })
    .await;
    cli_ok(tollgate.path(), tollgate.admin, &["rollback", "1"]);
    super::support::eventually("the old configuration", async || {
        let answer = call(tollgate.gateway, "/orders/items", "sk-shop-0001").await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let tollgate = Single::start().await;
    let other = tempfile::tempdir().unwrap();
    let mut second = start_up(other.path(), tollgate.gateway, free_port(), free_port());
    super::support::eventually("the message", async || {
        let log = second.log();
        (log.contains("--listen") && log.contains(&tollgate.gateway.to_string())).then_some(())
    })
    .await;
    second.kill();
}

#[tokio::test]
async fn explain_tells_what_each_policy_would_do_and_nothing_comes_of_it() {
    let tollgate = Single::start().await;
    let example = tollgate.example();
    cli_ok(tollgate.path(), tollgate.admin, &["apply", "-f", &example, "--wait"]);
    let url = "http://api.shop.test/orders/items";
    let explain = |arguments: &[&str]| {
        let mut all = vec!["explain"];
        all.extend_from_slice(arguments);
        all.extend(["-o", "json"]);
        let output = cli(tollgate.path(), tollgate.admin, &all);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), value)
    };
    let key = "x-api-key: sk-shop-0001";
    let (status, explained) = explain(&["get", url, "-H", key]);
    assert_eq!(status, Some(0), "{explained}");
    let winner = &explained["routes"][0];
    assert_eq!((&winner["won"], &winner["route"]), (&true.into(), &"list".into()));
    assert_eq!(winner["policies"], serde_json::json!(["api_key", "rate_limit"]));
    let steps = winner["steps"].as_array().unwrap();
    assert_eq!(
        steps[0],
        serde_json::json!({
            "policy": "api_key", "of": "route", "does": "passes", "removes": ["x-api-key"],
            "caller": { "application": "web-shop", "credential": "web-shop-old" },
        })
    );
    assert_eq!(steps[1]["does"], "passes");
    let ends = &explained["ends"];
    assert_eq!((&ends["as"], &ends["endpoints"][0]["well"]), (&"forwarded".into(), &true.into()));

    let (status, refused) = explain(&["GET", url]);
    let steps = &refused["routes"][0]["steps"];
    assert_eq!((status, &steps[0]["code"]), (Some(1), &"unauthenticated".into()), "{refused}");
    assert_eq!(steps[1]["does"], "is not reached");
    assert_eq!(refused["ends"]["status"], 401);
    let (_, none) = explain(&["GET", "http://api.shop.test/nowhere"]);
    assert_eq!(none["ends"]["code"], "no_route", "{none}");
    let (_, wrong) = explain(&["DELETE", url, "-H", key]);
    assert_eq!(wrong["ends"]["code"], "method_not_allowed", "{wrong}");

    // A canary and a copy are told.
    let canary = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/canary.yaml");
    cli_ok(tollgate.path(), tollgate.admin, &["apply", "-f", canary, "--wait"]);
    let of_canary = ["GET", "http://api.shop.test/checkout", "-H", "x-canary: always"];
    let (_, explained) = explain(&of_canary);
    let steps = &explained["routes"][0]["steps"];
    assert_eq!(steps[0]["upstream"], "checkout-next", "{explained}");
    assert_eq!(explained["ends"]["endpoints"][0]["endpoint"], "127.0.0.1:9002");
    let copied = (0..40).filter(|id| {
        let id = format!("x-request-id: {id}");
        let (_, explained) = explain(&["GET", of_canary[1], "-H", &id]);
        explained["routes"][0]["steps"][1]["mirrors"] == serde_json::json!(["checkout-lab"])
    });
    assert!((1..16).contains(&copied.count()), "{explained}");

    // However often it is asked, nothing is counted; and once all is used up, that is told.
    let asked = async |number: usize| {
        for _ in 0..number {
            let answer = call(tollgate.gateway, "/orders/items", "sk-shop-0001").await.unwrap();
            assert_eq!(answer.status(), 200);
        }
    };
    asked(99).await;
    for _ in 0..5 {
        assert_eq!(explain(&["GET", url, "-H", key]).0, Some(0));
    }
    asked(1).await;
    let (status, used_up) = explain(&["GET", url, "-H", key]);
    assert_eq!((status, &used_up["ends"]["code"]), (Some(1), &"rate_limited".into()), "{used_up}");
}
