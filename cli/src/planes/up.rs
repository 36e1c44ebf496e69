//! `tollgate up`: both planes in one process, on SQLite and counters in memory. They talk over the
//! same gRPC on loopback as in a cluster, with certificates that the control plane issues.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tollgate_control_plane::identity::First;
use tollgate_control_plane::{ControlPlane, Settings as ControlSettings};
use tollgate_data_plane::settings::{
    AccessLog, ControlPlane as ControlPlaneAddress, cache_memory, redis_timeout, redis_url,
};
use tollgate_data_plane::sync::Readiness;
use tollgate_data_plane::{Node, Settings as NodeSettings};
use tollgate_model::secret::SecretText;
use tollgate_model::units::{Size, Span};
use tollgate_model::{FromText, Name};

use super::{DONE, Logging, control_runtime, signal};
use crate::context::{Context, Contexts};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// How long the join token of the process's own node is good for.
const JOIN_TIME: Duration = Duration::from_secs(300);
/// How long the node may take to receive its first configuration.
const READY_TIME: Duration = Duration::from_secs(30);

/// What `tollgate up` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where calls come in over HTTP
    #[arg(long, env = "TOLLGATE_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the admin API listens
    #[arg(long, env = "TOLLGATE_ADMIN", value_name = "ADDRESS", default_value = "127.0.0.1:9080")]
    admin: SocketAddr,
    /// Where nodes connect
    #[arg(long, env = "TOLLGATE_GRPC", value_name = "ADDRESS", default_value = "127.0.0.1:9081")]
    grpc: SocketAddr,
    /// Where /live, /ready, /metrics and /config are
    #[arg(long, env = "TOLLGATE_STATUS", value_name = "ADDRESS", default_value = "127.0.0.1:9082")]
    status: SocketAddr,
    /// The store (default: <sqlite://DATA/tollgate.db>)
    #[arg(long, env = "TOLLGATE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database: Option<String>,
    /// The data folder
    #[arg(long, env = "TOLLGATE_DATA", value_name = "FOLDER", default_value = "./tollgate-data")]
    data: PathBuf,
    /// The file of the master key [default: DATA/master-key, made on first start]
    #[arg(long, env = "TOLLGATE_MASTER_KEY_FILE", value_name = "PATH")]
    master_key_file: Option<PathBuf>,
    /// Request threads [default: one a core]
    #[arg(long, env = "TOLLGATE_WORKERS", value_name = "NUMBER")]
    workers: Option<NonZeroUsize>,
    /// Where the access log goes, as JSON lines: a file, `stdout` or `off`
    #[arg(
        long,
        env = "TOLLGATE_ACCESS_LOG",
        value_name = "PATH|stdout|off",
        default_value = "stdout"
    )]
    access_log: AccessLog,
    /// Where the counters are [default: in memory]
    #[arg(long, env = "TOLLGATE_REDIS_URL", value_name = "URL", hide_env_values = true, value_parser = redis_url)]
    redis: Option<SecretText>,
    /// How long a call waits for Redis at most, from 1ms to 1s
    #[arg(long, env = "TOLLGATE_REDIS_TIMEOUT", value_name = "DURATION", default_value = "4ms", value_parser = redis_timeout)]
    redis_timeout: Duration,
    /// How much memory stored responses take at most, such as 256MiB; 0B: nothing is stored
    #[arg(long, env = "TOLLGATE_CACHE_MEMORY", value_name = "SIZE", default_value = "256MiB", value_parser = cache_memory)]
    cache_memory: Size,
    /// How long calls may go on once the process is told to stop, such as 30s
    #[arg(long, env = "TOLLGATE_DRAIN_TIME", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    drain_time: Duration,
    #[command(flatten)]
    logging: Logging,
}

fn duration(text: &str) -> Result<Duration, String> {
    Span::from_text(text).map(Span::get).map_err(|rejected| rejected.problem)
}

/// Carries out `tollgate up`.
pub(crate) fn run(arguments: Arguments, out: &Output) -> Result<Outcome, Failure> {
    arguments.logging.init()?;
    for problem in tollgate_control_plane::settings::unknown_variables() {
        tracing::warn!("{problem}");
    }
    let control = control_runtime()?;
    control.block_on(both(arguments, out, control.handle()))
}

async fn both(arguments: Arguments, out: &Output, control: &Handle) -> Result<Outcome, Failure> {
    let plane =
        ControlPlane::start(control_settings(&arguments)).await.map_err(Failure::ControlPlane)?;
    let admin_address = plane.admin_address();
    let token_path = plane.admin_token_path().to_owned();
    let is_token_given = matches!(plane.first_token(), First::Given);
    let settings = node_settings(&arguments, &plane).await?;
    let stop_plane = CancellationToken::new();
    let plane = control.spawn(plane.run(stop_plane.clone()));

    let started = {
        let control = control.clone();
        // Reads the node's disk.
        tokio::task::spawn_blocking(move || Node::start(&settings, &control)).await
    };
    let node = started.map_err(|_ended| Failure::Stopped)?.map_err(Failure::Node)?;
    let (address, readiness) = (node.address(), node.readiness());
    let stop_node = CancellationToken::new();
    let node = control.spawn(node.run(stop_node.clone()));

    remember(admin_address, is_token_given, &token_path, out);
    let serving = async {
        wait_until_ready(&readiness).await?;
        greet(out, address, admin_address, &token_path)?;
        signal().await
    };
    let ended = tokio::select! {
        ended = serving => ended,
        () = ends_early(&plane) => Err(Failure::Stopped),
    };
    // The node first: its last records and its drain need nothing of the control plane, and callers
    // need nothing of either.
    stop_node.cancel();
    let _ = node.await;
    stop_plane.cancel();
    match plane.await {
        Ok(result) => result.map_err(Failure::ControlPlaneEnded)?,
        Err(_panicked) => return Err(Failure::Stopped),
    }
    ended?;
    DONE
}

/// Ends when the task does. Looks seldom: it is not expected to.
async fn ends_early<T>(task: &tokio::task::JoinHandle<T>) {
    let mut look = tokio::time::interval(Duration::from_millis(200));
    while !task.is_finished() {
        look.tick().await;
    }
}

fn control_settings(arguments: &Arguments) -> ControlSettings {
    ControlSettings {
        admin: arguments.admin,
        grpc: arguments.grpc,
        grpc_name: Vec::new(),
        database: arguments.database.clone(),
        data: arguments.data.clone(),
        master_key_file: arguments.master_key_file.clone(),
        master_key: None,
        admin_token: None,
        stream: tollgate_control_plane::fanout::StreamLimits::default(),
    }
}

async fn node_settings(
    arguments: &Arguments,
    plane: &ControlPlane,
) -> Result<NodeSettings, Failure> {
    let join = plane.make_join_token("default", JOIN_TIME).await.map_err(Failure::Join)?;
    let grpc = plane.grpc_address();
    let host = if grpc.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { grpc.ip() };
    Ok(NodeSettings {
        listen: arguments.listen,
        status: arguments.status,
        workers: arguments.workers,
        access_log: arguments.access_log.clone(),
        redis: arguments.redis.clone(),
        redis_timeout: arguments.redis_timeout,
        cache_memory: arguments.cache_memory,
        // Beside the control plane's files, as on a machine of its own.
        data: arguments.data.join("node"),
        control_plane: vec![ControlPlaneAddress { host: host.to_string(), port: grpc.port() }],
        join: join.reveal().parse().ok(),
        join_file: None,
        gateway: Name::default_name(),
        node: Name::from_text("local").unwrap_or_else(|_never| Name::default_name()),
        drain_time: arguments.drain_time,
        master_key: None,
        master_key_file: None,
    })
}

async fn wait_until_ready(readiness: &Arc<Readiness>) -> Result<(), Failure> {
    let ready = async {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        while !readiness.is_ready() {
            look.tick().await;
        }
    };
    tokio::time::timeout(READY_TIME, ready).await.map_err(|_elapsed| Failure::NotReady)
}

/// Writes the context `local`, so that the next command in another terminal just works.
fn remember(admin: SocketAddr, is_token_given: bool, token_path: &std::path::Path, out: &Output) {
    // A variable that has no effect is no token either.
    let given = is_token_given.then(|| crate::settings::secret_variable("TOLLGATE_ADMIN_TOKEN"));
    let token = given.flatten().or_else(|| std::fs::read_to_string(token_path).ok());
    let written = Contexts::read().and_then(|mut contexts| {
        let context = Context {
            server: format!("http://{}", reachable(admin)),
            token: token.map(|token| token.trim().to_owned()),
            tenant: None,
        };
        contexts.set("local", context);
        contexts.make_current("local")?;
        contexts.write()
    });
    if let Err(error) = written {
        out.note(&format!("the context `local` was not written: {error}"));
    }
}

fn greet(
    out: &Output,
    gateway: SocketAddr,
    admin: SocketAddr,
    token_path: &std::path::Path,
) -> Result<(), Failure> {
    let token = token_path.display();
    let (gateway, admin) = (reachable(gateway), reachable(admin));
    out.line(&format!(
        "tollgate is up\n\
         \x20 gateway     http://{gateway}\n\
         \x20 admin API   http://{admin}/docs\n\
         \x20 token       {token}\n\
         try it:\n\
         \x20 curl -H \"authorization: Bearer $(cat {token})\" http://{admin}/api/v1/status"
    ))
}

/// An address that a program on this machine can call.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port())
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}
