//! A real PostgreSQL for tests: one server a test process, one database a test.
//!
//! The server listens on a Unix socket in a folder of its own, so it needs no port. A shell stands between
//! this process and the server and waits for the end of its standard input, which comes however this
//! process ends, even by a signal that cannot be caught: then it stops the server and removes the folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::sync::OnceCell;

const START_LIMIT: Duration = Duration::from_secs(30);
const SUPERUSER: &str = "postgres";

/// `$1` the programs' folder, `$2` the server's folder. A line on standard input: stop and keep the folder.
const WATCHDOG: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off \
    -c full_page_writes=off -c max_connections=200 -c shared_buffers=32MB >"$2/log" 2>&1 &
server=$!
if read -r line; then keep=1; else keep=; fi
kill -QUIT "$server" 2>/dev/null
wait "$server"
[ -n "$keep" ] || rm -rf "$2"
"#;

static SHARED: OnceCell<Server> = OnceCell::const_new();
static NEXT_DATABASE: AtomicU32 = AtomicU32::new(0);

/// Makes an empty database on the server of this process, which it starts if need be; gives its address.
///
/// # Errors
///
/// Where PostgreSQL is not installed or does not start.
pub async fn database() -> anyhow::Result<String> {
    SHARED.get_or_try_init(Server::start).await?.database().await
}

/// A PostgreSQL server of one's own, for tests that stop it.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    folder: PathBuf,
    user: Option<User>,
    watchdog: Option<Child>,
}

/// Who runs the server where this process may not: PostgreSQL refuses to run as root.
#[derive(Clone, Copy, Debug)]
struct User {
    id: u32,
    group: u32,
}

impl Server {
    /// Makes and starts a server.
    ///
    /// # Errors
    ///
    /// Where PostgreSQL is not installed or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(|| {
            let mut server = Self::make()?;
            server.start_again()?;
            Ok(server)
        })
        .await?
    }

    /// Makes an empty database; gives its address.
    ///
    /// # Errors
    ///
    /// What PostgreSQL says.
    pub async fn database(&self) -> anyhow::Result<String> {
        let name = format!("test_{}", NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
        let mut command = self.client("createdb");
        command.arg(&name);
        tokio::task::spawn_blocking(move || run(&mut command)).await??;
        Ok(format!("postgres://{SUPERUSER}@localhost/{name}?host={}", self.folder.display()))
    }

    /// Stops it at once, as a crash would; its data stays.
    ///
    /// # Errors
    ///
    /// Where it does not stop.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut watchdog) = self.watchdog.take() {
            if let Some(mut input) = watchdog.stdin.take() {
                input.write_all(b"keep\n").context("tell the server's watchdog to stop it")?;
            }
            watchdog.wait().context("wait for the server to stop")?;
        }
        Ok(())
    }

    /// Starts it after [`Server::stop`]; its databases have the addresses they had.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCHDOG, "tollgate-test-postgres"])
            .arg(&self.programs)
            .arg(&self.folder);
        self.run_as(&mut command);
        // A group of its own: what is sent to the tests' group (Ctrl-C, a runner's time limit) must not
        // reach the one who cleans up. No output: a runner waits until all have closed it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.watchdog = Some(command.spawn().context("start sh")?);
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let mut probe = self.client("pg_isready");
            probe.stdout(Stdio::null()).stderr(Stdio::null());
            if probe.status().context("run pg_isready")?.success() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                bail!("PostgreSQL did not start within {START_LIMIT:?}:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn make() -> anyhow::Result<Self> {
        let programs = find_programs()?;
        let mut folder = tempfile::Builder::new();
        folder.prefix("tollgate-pg-");
        // Short and open to every user, as the path of a socket must be.
        let folder = folder.tempdir_in("/tmp").context("make a folder in /tmp")?.keep();
        let is_root = fs::metadata(&folder)?.uid() == 0;
        let user = if is_root { Some(find_user("postgres")?) } else { None };
        let server = Self { programs, folder, user, watchdog: None };
        if let Some(user) = user {
            chown(&server.folder, Some(user.id), Some(user.group))
                .context("hand over the folder")?;
        }
        server.fill()?;
        Ok(server)
    }

    /// Makes the data folder: the copy of one that was made before, beside this program, for that takes a
    /// tenth of the time.
    fn fill(&self) -> anyhow::Result<()> {
        let version = run(Command::new(self.programs.join("postgres")).arg("--version"))?;
        let version = version.split_whitespace().nth(2).context("read PostgreSQL's version")?;
        let program = std::env::current_exe().context("find this program")?;
        let template = program.with_file_name(format!("tollgate-postgres-{version}"));
        let data = self.folder.join("data");
        if template.is_dir() {
            return copy(&template, &data, self.user);
        }
        let mut initdb = Command::new(self.programs.join("initdb"));
        initdb.args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        initdb.arg(format!("--username={SUPERUSER}")).arg("-D").arg(&data);
        self.run_as(&mut initdb);
        run(&mut initdb)?;
        let aside = template.with_extension(std::process::id().to_string());
        copy(&data, &aside, None)?;
        // Another process may have been faster; its copy is as good.
        if fs::rename(&aside, &template).is_err() {
            fs::remove_dir_all(&aside).context("remove a copy that is not needed")?;
        }
        Ok(())
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-h").arg(&self.folder).args(["-U", SUPERUSER]);
        command
    }

    fn run_as(&self, command: &mut Command) {
        command.current_dir("/");
        if let Some(user) = self.user {
            command.uid(user.id).gid(user.group);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.watchdog.take() {
            Some(mut watchdog) => {
                drop(watchdog.stdin.take());
                drop(watchdog.wait());
            }
            None => drop(fs::remove_dir_all(&self.folder)),
        }
    }
}

/// The newest of what Debian installs, else what is on the path.
fn find_programs() -> anyhow::Result<PathBuf> {
    let has_all = |folder: &Path| {
        ["initdb", "postgres", "createdb", "pg_isready"]
            .iter()
            .all(|name| folder.join(name).is_file())
    };
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, folder)| has_all(folder))
        .collect();
    versions.sort();
    if let Some((_, folder)) = versions.pop() {
        return Ok(folder);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|folder| has_all(folder))
        .context("find PostgreSQL (initdb, postgres, createdb, pg_isready): run scripts/setup")
}

fn find_user(name: &str) -> anyhow::Result<User> {
    let users = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let user = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        let (id, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        is_it.then_some(User { id, group })
    });
    user.with_context(|| format!("find the user `{name}`, for PostgreSQL refuses to run as root"))
}

/// Copies a folder with all that is in it, for its owner alone.
fn copy(from: &Path, to: &Path, user: Option<User>) -> anyhow::Result<()> {
    let hand_over = |path: &Path| match user {
        Some(user) => chown(path, Some(user.id), Some(user.group)),
        None => Ok(()),
    };
    fs::DirBuilder::new().mode(0o700).create(to)?;
    hand_over(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, user)?;
        } else {
            fs::copy(entry.path(), &target)?;
            hand_over(&target)?;
        }
    }
    Ok(())
}

/// Runs it to its end; gives what it wrote.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let null = File::open("/dev/null").context("open /dev/null")?;
    let Output { status, stdout, stderr } =
        command.stdin(null).output().with_context(|| format!("run {command:?}"))?;
    if !status.success() {
        bail!(
            "{command:?} ended with {status}:\n{}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
