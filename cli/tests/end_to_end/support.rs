//! Processes of the program under test, ended with the test; the CLI; calls through a gateway.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The administrator's token of every control plane here.
pub(crate) const TOKEN: &str = "tga_end_to_end_test_token";

/// A free port below those that the system gives to connections, from a place of this process's own: two tests that
/// run side by side do not find the same one.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    let ports = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed))
        .map(|number| u16::try_from(12_000 + first.wrapping_add(number) % 20_000).unwrap());
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.take(1_000).find(is_free).unwrap_or_else(|| panic!("one of a thousand ports is free"))
}

/// A process of the program under test.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the program with its output in `folder/name.log`.
    pub(crate) fn start(
        folder: &Path,
        name: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = command(folder)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Ends it without a warning.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Tells it to stop and waits until it has; whether it ended well.
    pub(crate) fn stop(&mut self) -> bool {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let limit = Instant::now() + Duration::from_secs(20);
        while Instant::now() < limit {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the process does not stop: {}", self.log());
    }

    /// All that it wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program, with nothing in its environment but a home and [`TOKEN`].
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", folder)
        .env("TOLLGATE_ADMIN_TOKEN", TOKEN);
    command
}

/// Runs a verb of the CLI.
pub(crate) fn cli(folder: &Path, admin: u16, arguments: &[&str]) -> Output {
    command(folder)
        .args(arguments)
        .args(["--server", &format!("http://127.0.0.1:{admin}"), "--token", TOKEN])
        .output()
        .unwrap()
}

/// Runs a verb that must succeed; its standard output.
pub(crate) fn cli_ok(folder: &Path, admin: u16, arguments: &[&str]) -> String {
    let output = cli(folder, admin, arguments);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out.into_owned()
}

/// Runs a verb that must succeed; its result.
pub(crate) fn cli_json(folder: &Path, admin: u16, arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.extend(["-o", "json"]);
    serde_json::from_str(&cli_ok(folder, admin, &arguments)).unwrap()
}

/// Looks again and again, for 20 seconds at most, until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < limit, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until an address answers 200.
pub(crate) async fn ready(url: &str) {
    eventually(url, async || {
        reqwest::get(url).await.ok().filter(|response| response.status() == 200).map(|_| ())
    })
    .await;
}

/// Calls through a gateway, with a host and a key.
pub(crate) async fn call(
    gateway: u16,
    path: &str,
    key: &str,
) -> reqwest::Result<reqwest::Response> {
    reqwest::Client::new()
        .get(format!("http://127.0.0.1:{gateway}{path}"))
        .header("host", "api.shop.test")
        .header("x-api-key", key)
        .send()
        .await
}

/// Log lines that say that someone must act; a good run has none.
pub(crate) fn errors(log: &str) -> Vec<&str> {
    log.lines()
        .filter(|line| line.contains("\"level\":\"ERROR\"") || line.contains("panicked"))
        .collect()
}
