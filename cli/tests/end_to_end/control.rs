use std::path::Path;
use std::process::Output;

use tollgate_testkit::pki::Authority;

use super::support::{
    Process, TOKEN, cli, cli_json, cli_ok, command, eventually, free_port, ready,
};

/// A control plane by itself, whose administrator's token is [`TOKEN`].
struct Alone {
    folder: tempfile::TempDir,
    admin: u16,
    process: Process,
}

impl Alone {
    async fn start() -> Self {
        let (folder, admin) = (tempfile::tempdir().unwrap(), free_port());
        let process = start(folder.path(), admin, TOKEN).await;
        Self { folder, admin, process }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Edits the API `orders` with a shell script, whose first argument is the file.
    fn edit(&self, script: &str) -> Output {
        let editor = format!("sh {}", self.file("editor", script));
        let server = format!("http://127.0.0.1:{}", self.admin);
        let arguments = ["edit", "api", "orders", "--server", &server, "--token", TOKEN];
        let mut command = command(self.path());
        command.args(arguments).env("EDITOR", editor).env("TMPDIR", self.path()).output().unwrap()
    }

    fn limit(&self) -> u64 {
        let api = cli_json(self.path(), self.admin, &["get", "api", "orders"]);
        api["spec"]["policies"][1]["rate_limit"]["limit"].as_u64().unwrap()
    }
}

/// A control plane with this in `TOLLGATE_ADMIN_TOKEN`, ready.
async fn start(folder: &Path, admin: u16, token: &str) -> Process {
    let (address, data) = (format!("127.0.0.1:{admin}"), folder.join("data"));
    let data = data.to_str().unwrap();
    let arguments = ["control-plane", "--admin", &address, "--grpc", "127.0.0.1:0", "--data", data];
    let process = Process::start(folder, "control", &arguments, &[("TOLLGATE_ADMIN_TOKEN", token)]);
    ready(&format!("http://{address}/ready")).await;
    process
}

#[tokio::test]
async fn a_token_in_the_environment_that_has_no_effect_is_told_in_one_line() {
    let mut plane = Alone::start().await;
    assert!(plane.process.stop());
    plane.process = start(plane.path(), plane.admin, TOKEN).await;
    assert!(!plane.process.log().contains("TOLLGATE_ADMIN_TOKEN"), "{}", plane.process.log());
    assert!(plane.process.stop());

    plane.process = start(plane.path(), plane.admin, "tga_of_nobody").await;
    let log = plane.process.log();
    let told: Vec<&str> =
        log.lines().filter(|line| line.contains("TOLLGATE_ADMIN_TOKEN")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("\"WARN\"") && told[0].contains("has no effect"), "{log}");
    assert!(!log.contains("tga_of_nobody"), "{log}");
    cli_ok(plane.path(), plane.admin, &["status"]);
}

#[tokio::test]
async fn all_examples_can_be_applied_together() {
    let plane = Alone::start().await;
    let folder = tempfile::tempdir().unwrap();
    let examples = folder.path().join("examples");
    std::fs::create_dir(&examples).unwrap();
    for file in Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").read_dir().unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), examples.join(file.file_name())).unwrap();
    }
    // What the example of TLS says how to make.
    let issued = Authority::new("shop").unwrap().server(&["api.shop.test", "*.shop.test"]).unwrap();
    std::fs::write(examples.join("shop.crt"), issued.chain).unwrap();
    std::fs::write(examples.join("shop.key"), issued.key).unwrap();
    let server = format!("http://127.0.0.1:{}", plane.admin);
    let applied = command(plane.path())
        .args(["apply", "-f", examples.to_str().unwrap(), "-o", "json"])
        .args(["--server", &server, "--token", TOKEN])
        .env("BILLING_TOKEN", "a-token-of-billing")
        .env("PSEUDONYM_KEY", "a key for pseudonyms of at least 16 bytes")
        .env("PARTNER_SIGNING_KEY", "YSBrZXkgb2YgYSBwYXJ0bmVyLCBvZiBhdCBsZWFzdCAzMiBieXRlcw==")
        .envs([("PAYMENTS_KEY", "pk-1"), ("LEGACY_PASSWORD", "lp-1"), ("LEDGER_SECRET", "ls-1")])
        .output()
        .unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&applied.stdout).unwrap();
    let changes = answer["changes"].as_array().unwrap();
    assert!(changes.len() >= 20 && changes.iter().all(|change| change["op"] == "create"));
}

#[tokio::test]
async fn an_edit_is_applied_unless_somebody_else_was_faster() {
    let plane = Alone::start().await;
    let orders = include_str!("../../../examples/orders.yaml");
    let first = plane.file("orders.yaml", orders);
    cli_ok(plane.path(), plane.admin, &["apply", "-f", &first]);
    let edited = plane.edit("sed -i 's/limit: 100/limit: 200/' \"$1\"");
    let (out, problem) =
        (String::from_utf8_lossy(&edited.stdout), String::from_utf8_lossy(&edited.stderr));
    assert!(edited.status.success() && out.contains("+") && out.contains("200"), "{out}{problem}");
    assert_eq!(plane.limit(), 200);

    let faulty = plane.edit("sed -i 's/limit: 200/limit: 0/' \"$1\"");
    let problem = String::from_utf8_lossy(&faulty.stderr);
    assert_eq!(faulty.status.code(), Some(1));
    let fault = problem.lines().find(|line| line.contains(".rate_limit.limit: "));
    assert!(fault.is_some_and(|line| line.contains(".yaml:")), "{problem}");

    // Another administrator applies while the editor is open.
    let other = plane.file("other.yaml", &orders.replace("limit: 100", "limit: 300"));
    let program = env!("CARGO_BIN_EXE_tollgate");
    let server = format!("http://127.0.0.1:{}", plane.admin);
    let late = plane.edit(&format!(
        "{program} apply -f {other} --server {server} --token {TOKEN}\n\
         sed -i 's/limit: 200/limit: 400/' \"$1\""
    ));
    let problem = String::from_utf8_lossy(&late.stderr);
    assert_eq!(late.status.code(), Some(1), "{problem}");
    assert!(problem.contains("version_conflict") && problem.contains("is kept in"), "{problem}");
    assert_eq!(plane.limit(), 300);
    let kept = problem.lines().find_map(|line| line.split_once("is kept in ")).unwrap().1;
    assert!(std::fs::read_to_string(kept).unwrap().contains("limit: 400"));
    assert!(cli(plane.path(), plane.admin, &["validate", "-f", kept]).status.success());
}

#[tokio::test]
async fn the_context_of_up_has_a_token_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let status = format!("127.0.0.1:{}", free_port());
    let any = "127.0.0.1:0";
    let arguments = ["--data", data.to_str().unwrap(), "--listen", any, "--admin", any];
    let arguments = [["up"].as_slice(), &arguments, &["--grpc", any, "--status", &status]].concat();
    for (starts, token) in [(1, ""), (2, "tga_of_nobody")] {
        let mut process =
            Process::start(folder.path(), "up", &arguments, &[("TOLLGATE_ADMIN_TOKEN", token)]);
        eventually("the context", async || {
            (process.log().matches("tollgate is up").count() == starts).then_some(())
        })
        .await;
        let output = command(folder.path()).args(["status"]).output().unwrap();
        assert!(output.status.success(), "{token}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(process.stop());
    }
}
