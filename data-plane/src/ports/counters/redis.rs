//! The way to Redis: one connection that all threads share, and nobody waits for longer than
//! its deadline.
//!
//! The connection is multiplexed: what is asked for at the same moment goes out in one write, from
//! whichever thread. It is driven, watched and replaced on the control runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, RedisError, RedisResult, ServerErrorKind,
};
use tokio::time::{Instant, sleep, timeout};

use super::breaker::Breaker;
use super::script::{Call, Reply, Slots};

/// Between two attempts to reach Redis again.
const PROBE_EVERY: Duration = Duration::from_millis(200);
/// Between two looks at a connection that may be idle.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For the connection with TLS and authentication. Together with [`PROBE_EVERY`] below a second, in
/// which a Redis that is back must be in use again.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);
/// Commands that may wait for the connection's driver.
const PENDING: usize = 4_096;

/// Why an address of Redis is not one.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The text cannot be read; it is not shown, for it may hold a password.
    #[error("read the address of redis; give redis://, rediss:// or redis-cluster://HOST:PORT,…")]
    Invalid(#[source] RedisError),
}

/// Redis did not answer in time, or with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Away;

/// Redis or a cluster of it.
pub(super) struct Redis {
    target: Target,
    connection: ArcSwapOption<Connection>,
    breaker: Breaker,
    deadline: Duration,
    calls: AtomicU64,
    failures: AtomicU64,
}

enum Target {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Redis {
    /// Reads an address. Connecting is for [`Redis::keep`].
    pub(super) fn open(address: &str, deadline: Duration) -> Result<Self, AddressError> {
        let target = Target::parse(address).map_err(AddressError::Invalid)?;
        Ok(Self {
            target,
            connection: ArcSwapOption::empty(),
            breaker: Breaker::new(),
            deadline,
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// Whether calls are refused without being tried.
    pub(super) fn is_away(&self) -> bool {
        self.breaker.is_open()
    }

    /// Calls that were tried, and those of them that failed.
    pub(super) fn calls_and_failures(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// The longest a call may take.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Runs the script. Returns within the deadline, at once while the breaker is open.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Reply, Away> {
        if self.is_away() {
            return Err(Away);
        }
        let connection = self.connection.load_full().ok_or(Away)?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        match timeout(self.deadline, connection.evaluate(call)).await {
            Ok(Ok(reply)) => {
                self.breaker.succeeded();
                Ok(reply)
            }
            Ok(Err(error)) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                // One node of a cluster may be gone while the others answer.
                if matches!(*connection, Connection::Single(_)) && error.is_unrecoverable_error() {
                    self.breaker.open();
                } else {
                    self.breaker.failed();
                }
                tracing::debug!(error = %error, "a counter could not be reached");
                Err(Away)
            }
            Err(_elapsed) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.breaker.failed();
                Err(Away)
            }
        }
    }

    /// Connects, watches, connects again; never returns.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut is_reported = false;
        loop {
            let began = Instant::now();
            let reason = match timeout(CONNECT_LIMIT, self.connect()).await {
                Ok(Ok(connection)) => {
                    self.connection.store(Some(Arc::new(connection.clone())));
                    self.breaker.close();
                    tracing::info!("counters are shared through redis");
                    self.watch(&connection).await;
                    is_reported = false;
                    "it failed or did not answer in time".to_owned()
                }
                Ok(Err(error)) => error.to_string(),
                Err(_elapsed) => "it does not answer".to_owned(),
            };
            if !is_reported {
                report_away(&reason);
                is_reported = true;
            }
            // What served for a while is tried again at once.
            if began.elapsed() < LOOK_EVERY {
                sleep(PROBE_EVERY).await;
            }
        }
    }

    async fn connect(&self) -> RedisResult<Connection> {
        let connection = match &self.target {
            Target::Single(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_LIMIT))
                    .set_response_timeout(Some(CONNECT_LIMIT))
                    .set_pipeline_buffer_size(PENDING);
                Connection::Single(
                    client.get_multiplexed_async_connection_with_config(&config).await?,
                )
            }
            Target::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        };
        // Brings the script along, and writes as calls do: a replica or a full Redis is of no use.
        let probe = Call {
            key: "tollgate:{probe}",
            need: 1,
            want: 1,
            fewest: 1,
            divisor: 1,
            limit: 1 << 50,
            slots: Slots::Rolling { slot_micros: 1_000_000, look_back: 1 },
            now_unix_micros: None,
            give_back: &[],
        };
        connection.run::<Reply>(&probe.by_text()).await?;
        // One that is too slow for calls would only be given up again.
        let answer = timeout(self.deadline, connection.run::<Reply>(&probe.by_hash())).await;
        answer.map_err(|elapsed| RedisError::from(std::io::Error::other(elapsed)))??;
        Ok(connection)
    }

    /// Returns when the breaker has opened. Finds out by itself where there are no calls to fail.
    async fn watch(&self, connection: &Connection) {
        while timeout(LOOK_EVERY, self.breaker.opened()).await.is_err() {
            let answer = timeout(CONNECT_LIMIT, connection.run::<()>(&redis::cmd("PING"))).await;
            if !matches!(answer, Ok(Ok(()))) {
                self.breaker.open();
            }
        }
    }
}

impl Target {
    fn parse(address: &str) -> RedisResult<Self> {
        for (scheme, scheme_of_node) in
            [("redis-cluster://", "redis://"), ("rediss-cluster://", "rediss://")]
        {
            let Some(rest) = address.strip_prefix(scheme) else { continue };
            let (user, nodes) = rest.rsplit_once('@').map_or(("", rest), |(_, nodes)| {
                rest.split_at_checked(rest.len() - nodes.len()).unwrap_or(("", rest))
            });
            let nodes: RedisResult<Vec<ConnectionInfo>> = nodes
                .split(',')
                .map(|node| connection_info(&format!("{scheme_of_node}{user}{node}")))
                .collect();
            let client = ClusterClient::builder(nodes?)
                .connection_timeout(CONNECT_LIMIT)
                .response_timeout(CONNECT_LIMIT)
                .tcp_settings(tcp_settings())
                .retries(2)
                .build()?;
            return Ok(Self::Cluster(Box::new(client)));
        }
        connection_info(address).and_then(Client::open).map(|client| Self::Single(Box::new(client)))
    }
}

impl Connection {
    async fn evaluate(&self, call: &Call<'_>) -> RedisResult<Reply> {
        match self.run(&call.by_hash()).await {
            // Redis was started anew, or its scripts were flushed.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.run(&call.by_text()).await
            }
            answer => answer,
        }
    }

    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Single(connection) => command.query_async(&mut connection.clone()).await,
            Self::Cluster(connection) => command.query_async(&mut connection.clone()).await,
        }
    }
}

fn report_away(reason: &str) {
    tracing::warn!(reason, "redis is away; every limit does as its `on_failure` says");
}

fn connection_info(address: &str) -> RedisResult<ConnectionInfo> {
    Ok(address.into_connection_info()?.set_tcp_settings(tcp_settings()))
}

fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_address_is_read() {
        let single = |address| matches!(Target::parse(address), Ok(Target::Single(_)));
        assert!(single("redis://127.0.0.1:6379"));
        assert!(single("redis://:secret@redis:6379/2"));
        assert!(single("rediss://user:secret@redis:6379"));
        let cluster = |address| matches!(Target::parse(address), Ok(Target::Cluster(_)));
        assert!(cluster("redis-cluster://a:6379,b:6379,c:6379"));
        assert!(cluster("redis-cluster://user:se@cret@a:6379,b:6379"));
    }

    #[test]
    fn a_wrong_address_is_refused_and_not_shown() {
        for address in [
            "",
            "127.0.0.1:6379",
            "http://secret@a",
            "redis://",
            "redis-cluster://",
            "redis-cluster://a:x",
        ] {
            let Err(error) = Redis::open(address, Duration::from_millis(4)) else {
                panic!("{address}")
            };
            assert!(!error.to_string().contains("secret"));
        }
    }
}
