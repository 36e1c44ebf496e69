//! What a node needs to start: every flag and variable, with its default. The only reader of the
//! environment.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Args;
use tollgate_model::secret::SecretText;
use tollgate_model::units::{Size, Span};
use tollgate_model::{FromText, Name};

pub use control_plane::ControlPlane;
pub use join::{JoinFileError, JoinToken};
pub use key::{KeyFileError, MasterKey};

// Where the control planes are.
mod control_plane;
// The token that a node joins with.
mod join;
// The key that the copy on disk is sealed with.
mod key;

/// With the timer's granularity of a millisecond, no call is held up by more than five.
const DEFAULT_REDIS_TIMEOUT: Duration = Duration::from_millis(4);
const REDIS_TIMEOUTS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));
const DEFAULT_CACHE_MEMORY: Size = Size::from_kib(256 * 1024);
const DEFAULT_DRAIN_TIME: Duration = Duration::from_secs(30);
const DEFAULT_DATA: &str = "./tollgate-data";

/// What a node needs to start. Everything else it is told by the control plane.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Where calls come in over HTTP
    #[arg(long, env = "TOLLGATE_LISTEN", value_name = "ADDRESS", default_value_t = default_listen())]
    pub listen: SocketAddr,
    /// Where /live, /ready, /metrics and /config are
    #[arg(long, env = "TOLLGATE_STATUS", value_name = "ADDRESS", default_value_t = default_status())]
    pub status: SocketAddr,
    /// Request threads [default: one a core]
    #[arg(long, env = "TOLLGATE_WORKERS", value_name = "NUMBER")]
    pub workers: Option<NonZeroUsize>,
    /// Where the access log goes, as JSON lines: a file, `stdout` or `off`
    #[arg(
        long,
        env = "TOLLGATE_ACCESS_LOG",
        value_name = "PATH|stdout|off",
        default_value = "stdout"
    )]
    pub access_log: AccessLog,
    /// Where the counters are: redis://, rediss:// or redis-cluster:// [default: in memory]
    #[arg(long, env = "TOLLGATE_REDIS_URL", value_name = "URL", hide_env_values = true, value_parser = redis_url)]
    pub redis: Option<SecretText>,
    /// How long a call waits for Redis at most, from 1ms to 1s; a limit then does as its `on_failure` says
    #[arg(long, env = "TOLLGATE_REDIS_TIMEOUT", value_name = "DURATION", default_value = "4ms", value_parser = redis_timeout)]
    pub redis_timeout: Duration,
    /// How much memory stored responses take at most, such as 256MiB; 0B: nothing is stored
    #[arg(long, env = "TOLLGATE_CACHE_MEMORY", value_name = "SIZE", default_value = "256MiB", value_parser = cache_memory)]
    pub cache_memory: Size,
    /// The data folder
    #[arg(long, env = "TOLLGATE_DATA", value_name = "FOLDER", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// The control planes, with commas: `https://HOST:9081`
    #[arg(long, env = "TOLLGATE_CONTROL_PLANE", value_name = "URL", value_delimiter = ',')]
    pub control_plane: Vec<ControlPlane>,
    /// The token to join with; needed until the node has its certificate
    #[arg(long, env = "TOLLGATE_JOIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub join: Option<JoinToken>,
    /// The file of that token; where there is none, another process is expected to write it within a minute
    #[arg(long, env = "TOLLGATE_JOIN_TOKEN_FILE", value_name = "PATH", conflicts_with = "join")]
    pub join_file: Option<PathBuf>,
    /// The gateway that the node belongs to
    #[arg(long, env = "TOLLGATE_GATEWAY", value_name = "NAME", default_value = "default", value_parser = name)]
    pub gateway: Name,
    /// The name of the node [default: that of the host]
    #[arg(long, env = "TOLLGATE_NODE", value_name = "NAME", alias = "name", default_value_t = host_name(), hide_default_value = true, value_parser = name)]
    pub node: Name,
    /// How long calls may go on once the node is told to stop, such as 30s
    #[arg(long, env = "TOLLGATE_DRAIN_TIME", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub drain_time: Duration,
    /// The key that seals the node's copy of its configuration [default: made in the data folder]
    #[arg(long, env = "TOLLGATE_MASTER_KEY", hide = true, hide_env_values = true)]
    pub master_key: Option<MasterKey>,
    /// The file of that key
    #[arg(
        long,
        env = "TOLLGATE_MASTER_KEY_FILE",
        value_name = "PATH",
        conflicts_with = "master_key"
    )]
    pub master_key_file: Option<PathBuf>,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// To standard output.
    Stdout,
    /// Nowhere.
    Off,
    /// To the end of a file.
    File(PathBuf),
}

/// A text that is not what a setting takes; the text itself is not in it, it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(&'static str);

impl Settings {
    /// The number of request threads: as set, else one a core.
    #[must_use]
    pub fn worker_count(&self) -> NonZeroUsize {
        self.workers.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }

    /// The same settings with the join token read from its file, which is waited for.
    ///
    /// # Errors
    ///
    /// Where the file does not come within a minute, or holds no token.
    pub fn with_join_file_read(mut self) -> Result<Self, JoinFileError> {
        if let Some(path) = self.join_file.take() {
            self.join = Some(JoinToken::from_file_to_come(path)?);
        }
        Ok(self)
    }

    /// The master key as given, or read from its file; none where neither is set.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn given_master_key(&self) -> Result<Option<MasterKey>, KeyFileError> {
        match (&self.master_key, &self.master_key_file) {
            (Some(key), _) => Ok(Some(key.clone())),
            (None, Some(path)) => MasterKey::from_file(path).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// The defaults, whatever the environment says.
impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: default_listen(),
            status: default_status(),
            workers: None,
            access_log: AccessLog::Stdout,
            redis: None,
            redis_timeout: DEFAULT_REDIS_TIMEOUT,
            cache_memory: DEFAULT_CACHE_MEMORY,
            data: PathBuf::from(DEFAULT_DATA),
            control_plane: Vec::new(),
            join: None,
            join_file: None,
            gateway: Name::default_name(),
            node: host_name(),
            drain_time: DEFAULT_DRAIN_TIME,
            master_key: None,
            master_key_file: None,
        }
    }
}

impl FromStr for AccessLog {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text {
            "" => Err(Unfit("give a path, `stdout` or `off`")),
            "stdout" | "-" => Ok(Self::Stdout),
            "off" => Ok(Self::Off),
            path => Ok(Self::File(PathBuf::from(path))),
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080))
}

fn default_status() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 9082))
}

fn name(text: &str) -> Result<Name, String> {
    Name::from_text(text).map_err(|rejected| rejected.problem)
}

fn duration(text: &str) -> Result<Duration, String> {
    Span::from_text(text).map(Span::get).map_err(|rejected| rejected.problem)
}

/// Reads how much memory stored responses may take.
///
/// # Errors
///
/// What it should be, where it is no size.
pub fn cache_memory(text: &str) -> Result<Size, String> {
    Size::from_text(text).map_err(|rejected| rejected.problem)
}

/// Reads a bound on each wait for Redis.
///
/// # Errors
///
/// What it should be, where it is no duration or out of range.
pub fn redis_timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if (REDIS_TIMEOUTS.0..=REDIS_TIMEOUTS.1).contains(&timeout) {
        Ok(timeout)
    } else {
        Err("give a duration from 1ms to 1s".to_owned())
    }
}

/// Reads the address of a Redis.
///
/// # Errors
///
/// Where its scheme is none of Redis'.
pub fn redis_url(text: &str) -> Result<SecretText, Unfit> {
    let schemes = ["redis://", "rediss://", "redis-cluster://", "rediss-cluster://"];
    if schemes.iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme)) {
        Ok(SecretText::new(text.to_owned()))
    } else {
        Err(Unfit("give the address of a Redis: redis://, rediss:// or redis-cluster://"))
    }
}

/// The host's name, made a name of ours; `node` where it has none.
fn host_name() -> Name {
    let said = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .into_iter()
        .find_map(|path| fs::read_to_string(path).ok());
    named_after(said.as_deref().unwrap_or_default())
        .or_else(|| Name::from_text("node").ok())
        .unwrap_or_else(Name::default_name)
}

fn named_after(host: &str) -> Option<Name> {
    let fit = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-' | '.' | '_') => c,
        _ => '-',
    };
    let text: String = host.trim().chars().map(fit).take(63).collect();
    Name::from_text(text.trim_matches(['-', '.', '_'])).ok()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, clap::Error> {
        let arguments = std::iter::once("tollgate-data-plane").chain(arguments.iter().copied());
        Program::try_parse_from(arguments).map(|program| program.settings)
    }

    fn token() -> String {
        format!("tgj_abc123_s3cr3tword_{}", "0f".repeat(32))
    }

    #[test]
    fn without_flags_the_defaults_hold() {
        let settings = parse(&[]).unwrap();
        assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
        assert_eq!(settings.listen.to_string(), "0.0.0.0:8080");
        assert_eq!(settings.status.to_string(), "127.0.0.1:9082");
        assert_eq!(settings.drain_time, Duration::from_secs(30));
    }

    #[test]
    fn every_flag_is_read() {
        let token = token();
        let settings = parse(&[
            "--listen=127.0.0.1:1",
            "--status=127.0.0.1:2",
            "--workers=3",
            "--access-log=/var/log/calls",
            "--redis=rediss://u:p@h:6380",
            "--redis-timeout=20ms",
            "--cache-memory=64MiB",
            "--data=/d",
            "--control-plane=https://a,https://[::1]:9",
            "--join",
            &token,
            "--gateway=edge",
            "--node=n1",
            "--drain-time=1m",
            "--master-key-file=/k",
        ])
        .unwrap();
        assert_eq!(settings.workers.unwrap().get(), 3);
        assert_eq!(settings.access_log, AccessLog::File("/var/log/calls".into()));
        assert_eq!(settings.redis.as_ref().unwrap().expose(), "rediss://u:p@h:6380");
        assert_eq!(settings.redis_timeout, Duration::from_millis(20));
        assert_eq!(settings.cache_memory.bytes(), 64 << 20);
        let planes: Vec<String> = settings.control_plane.iter().map(ToString::to_string).collect();
        assert_eq!(planes, ["https://a:9081", "https://[::1]:9"]);
        assert_eq!(settings.join.as_ref().unwrap().expose(), token);
        assert_eq!(settings.join.as_ref().unwrap().fingerprint(), &[0x0f; 32]);
        assert_eq!((settings.gateway.as_str(), settings.node.as_str()), ("edge", "n1"));
        assert_eq!(settings.drain_time, Duration::from_secs(60));
    }

    #[test]
    fn no_secret_is_in_debug() {
        let key = "2a".repeat(32);
        let settings =
            parse(&["--join", &token(), "--redis=redis://:hidden@h", "--master-key", &key])
                .unwrap();
        let debug = format!("{settings:?}");
        for secret in ["s3cr3tword", "hidden", "2a2a", "[42"] {
            assert!(!debug.contains(secret), "{debug}");
        }
        assert!(debug.contains("abc123"), "{debug}");
    }

    #[test]
    fn what_is_unfit_is_refused_without_being_repeated() {
        for plane in [
            "http://a:1",
            "a:9081",
            "https://",
            "https://u@a",
            "https://a/x",
            "https://a:0",
            "https://a:99999",
        ] {
            assert!(plane.parse::<ControlPlane>().is_err(), "{plane}");
        }
        let token = token();
        for text in
            ["", "tgj_", "tgj_a_b", &token[1..], &token[..token.len() - 1], &format!("{token}_x")]
        {
            let error = text.parse::<JoinToken>().unwrap_err().to_string();
            assert!(!error.contains("s3cr3tword"), "{error}");
        }
        for text in ["", "short", &"zz".repeat(32), &"00".repeat(31)] {
            assert!(text.parse::<MasterKey>().is_err(), "{text}");
        }
        assert!(parse(&["--redis=http://h"]).is_err() && parse(&["--drain-time=30"]).is_err());
        assert!(
            parse(&["--redis-timeout=0ms"]).is_err() && parse(&["--redis-timeout=2s"]).is_err()
        );
        assert!(parse(&["--cache-memory=64"]).is_err() && parse(&["--cache-memory=-1B"]).is_err());
        assert!(parse(&["--gateway=Not A Name"]).is_err() && parse(&["--workers=0"]).is_err());
    }

    #[test]
    fn a_host_name_becomes_a_name() {
        for (host, name) in [
            ("Web-1.Shop\n", "web-1.shop"),
            ("_a b_", "a-b"),
            ("x".repeat(80).as_str(), &"x".repeat(63)),
        ] {
            assert_eq!(named_after(host).unwrap().as_str(), name);
        }
        assert!(named_after("--").is_none());
    }
}
