//! A real Redis for tests: a server of one's own on a free port, that can be stopped, paused and slow.
//!
//! A shell stands between this process and the server and waits for the end of its standard input,
//! which comes however this process ends: then it kills the server and removes the folder.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::relay::Relay;

const START_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// `$1` the server's folder, `$2` its port, `$3` more of its options. The first line of output is the server's process id.
const WATCHDOG: &str = r#"
redis-server --port "$2" --bind 127.0.0.1 --dir "$1" --save '' --appendonly no $3 >"$1/log" 2>&1 &
server=$!
echo "$server"
exec >/dev/null
read -r line
kill -KILL "$server" 2>/dev/null
kill -CONT "$server" 2>/dev/null
wait "$server" 2>/dev/null
[ -n "$line" ] || rm -rf "$1"
"#;

/// A Redis that keeps nothing, with no data but what the test writes.
#[derive(Debug)]
pub struct Redis {
    folder: PathBuf,
    port: u16,
    options: String,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    watchdog: Child,
    server_id: u32,
}

impl Redis {
    /// Starts a server.
    ///
    /// # Errors
    ///
    /// Where Redis is not installed or does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(|| Ok(String::new()))
    }

    /// Starts a cluster of one server that has every slot. Its nodes are addressed as those of a
    /// larger one are, by `redis-cluster://`.
    ///
    /// # Errors
    ///
    /// Where Redis is not installed, is older than 7, or does not start.
    pub fn start_cluster() -> anyhow::Result<Self> {
        // By default the port of the cluster's bus is 10,000 above the server's, which may be none.
        let redis = Self::start_with(|| {
            Ok(format!("--cluster-enabled yes --cluster-port {}", free_port()?))
        })?;
        redis.command("CLUSTER ADDSLOTSRANGE 0 16383")?;
        let deadline = Instant::now() + START_LIMIT;
        while !redis.command("CLUSTER INFO")?.contains("cluster_state:ok") {
            if Instant::now() > deadline {
                bail!("the cluster was not formed within {START_LIMIT:?}");
            }
            sleep(Duration::from_millis(5));
        }
        Ok(redis)
    }

    fn start_with(options: impl Fn() -> anyhow::Result<String>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tollgate-redis-").tempdir()?.keep();
        let mut redis = Self { folder, port: 0, options: String::new(), running: None };
        // Another process may take a port between its being found free and the server's start.
        let mut result = Ok(());
        for _ in 0..5 {
            redis.port = free_port()?;
            redis.options = options()?;
            result = redis.start_again();
            if result.is_ok() {
                return Ok(redis);
            }
        }
        result.map(|()| redis)
    }

    /// `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Stops it from running, as a machine that hangs: connections stay open, nothing is answered.
    ///
    /// # Errors
    ///
    /// Where it does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal("STOP")
    }

    /// Lets it run again after [`Redis::pause`].
    ///
    /// # Errors
    ///
    /// Where it does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal("CONT")
    }

    /// Kills it; its data is gone.
    ///
    /// # Errors
    ///
    /// Where it does not end.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        if let Some(mut input) = running.watchdog.stdin.take() {
            input.write_all(b"keep\n").context("tell the server's watchdog to kill it")?;
        }
        running.watchdog.wait().context("wait for the server to end")?;
        Ok(())
    }

    /// Starts it after [`Redis::kill`], empty, on the port it had.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCHDOG, "tollgate-test-redis"])
            .arg(&self.folder)
            .arg(self.port.to_string())
            .arg(&self.options);
        // A group of its own: what is sent to the tests' group must not reach the one who cleans up.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut watchdog = command.spawn().context("start sh")?;
        let mut line = String::new();
        if let Some(output) = watchdog.stdout.take() {
            BufReader::new(output).read_line(&mut line).context("read the server's process id")?;
        }
        let server_id = line.trim().parse().context("read the server's process id")?;
        self.running = Some(Running { watchdog, server_id });
        let deadline = Instant::now() + START_LIMIT;
        loop {
            // Another server may have the port.
            let is_it = self
                .command("INFO server")
                .is_ok_and(|info| info.contains(&format!("process_id:{server_id}\r")));
            if is_it {
                return Ok(());
            }
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            if Instant::now() > deadline
                || log.contains("not found")
                || log.contains("already in use")
            {
                self.kill()?;
                bail!("Redis did not start; is redis-server installed (scripts/setup)?\n{log}");
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Runs one command whose words hold no space; gives the answer as text.
    ///
    /// # Errors
    ///
    /// Where the server does not answer, or with an error.
    pub fn command(&self, words: &str) -> anyhow::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream =
            TcpStream::connect_timeout(&address, ANSWER_LIMIT).context("connect to Redis")?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(format!("{words}\r\n").as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first).context("read the answer of Redis")?;
        let first = first.trim_end();
        if let Some(error) = first.strip_prefix('-') {
            bail!("Redis answered `{words}` with: {error}");
        }
        match first.strip_prefix('$').map(str::parse::<usize>) {
            Some(length) => {
                let mut text = vec![0; length.context("read the answer of Redis")?];
                reader.read_exact(&mut text)?;
                Ok(String::from_utf8(text)?)
            }
            None => Ok(first.trim_start_matches([':', '+']).to_owned()),
        }
    }

    /// How often each command has run since the server's start or [`Redis::forget_calls`].
    ///
    /// # Errors
    ///
    /// Where the server does not answer.
    pub fn calls(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let stats = self.command("INFO commandstats")?;
        let calls = stats.lines().filter_map(|line| {
            let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = numbers.strip_prefix("calls=")?.split(',').next()?.parse().ok()?;
            Some((name.to_owned(), calls))
        });
        Ok(calls.collect())
    }

    /// How often a script has run.
    ///
    /// # Errors
    ///
    /// Where the server does not answer.
    pub fn script_calls(&self) -> anyhow::Result<u64> {
        let calls = self.calls()?;
        Ok(["eval", "evalsha"].iter().filter_map(|name| calls.get(*name)).sum())
    }

    /// Sets the counts of [`Redis::calls`] to zero.
    ///
    /// # Errors
    ///
    /// Where the server does not answer.
    pub fn forget_calls(&self) -> anyhow::Result<()> {
        self.command("CONFIG RESETSTAT").map(drop)
    }

    /// The address of a way to this server on which every answer takes so much longer. It is there
    /// as long as the runtime of the caller.
    ///
    /// # Errors
    ///
    /// Where no port is free.
    pub async fn slow_address(&self, delay: Duration) -> anyhow::Result<String> {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let address = Relay::start(server, delay).await?.address();
        Ok(format!("redis://{address}"))
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let running = self.running.as_ref().context("Redis does not run")?;
        let server_id = running.server_id.to_string();
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "kill", name, &server_id])
            .status()?;
        if !status.success() {
            bail!("kill -s {name} {server_id} ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        match self.running.take() {
            Some(mut running) => {
                // The end of its input tells the watchdog to end the server and remove the folder.
                drop(running.watchdog.stdin.take());
                drop(running.watchdog.wait());
            }
            None => drop(std::fs::remove_dir_all(&self.folder)),
        }
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
