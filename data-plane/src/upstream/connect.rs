//! A new connection to an endpoint.

use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tollgate_model::upstream::Protocol;

use super::bound;
use super::pool::{EndpointPool, Lease, Sender};
use crate::connection::LocalExecutor;
use crate::core::Core;
use crate::fault::Fault;
use crate::plan::{Endpoint, UpstreamPlan};

/// How often, and for how long, a server of HTTP/2 with requests under way is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects and shakes hands within the upstream's bound. Names are looked up anew for each connection.
pub(super) async fn connect(
    core: &Core,
    upstream: &UpstreamPlan,
    endpoint: &Endpoint,
    pool: &Rc<EndpointPool>,
    deadline: Option<Instant>,
) -> Result<Lease, Fault> {
    let limit = bound(upstream.connect_timeout, deadline);
    match timeout_at(limit, open(endpoint)).await {
        Ok(Ok(sender)) => {
            core.metrics.upstream_connections.add(1);
            Ok(pool.open(sender))
        }
        Ok(Err(error)) => {
            tracing::debug!(endpoint = ?endpoint.authority, %error, "connect to an endpoint");
            Err(Fault::Unreachable)
        }
        Err(_elapsed) => Err(Fault::Unreachable),
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("connect")]
    Connect(#[from] std::io::Error),
    #[error("begin HTTP")]
    Handshake(#[from] hyper::Error),
}

async fn open(endpoint: &Endpoint) -> Result<Sender, ConnectError> {
    let stream = TcpStream::connect((&*endpoint.host, endpoint.port)).await?;
    stream.set_nodelay(true)?;
    let io = TokioIo::new(stream);
    match endpoint.protocol {
        Protocol::Http1 => {
            let (sender, connection) = http1::Builder::new().handshake(io).await?;
            tokio::task::spawn_local(connection);
            Ok(Sender::Http1(sender))
        }
        Protocol::Http2 => {
            let (sender, connection) = http2::Builder::new(LocalExecutor)
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .max_frame_size(64 << 10)
                // All requests share it: a server that is gone without a word must not take them all.
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .handshake(io)
                .await?;
            tokio::task::spawn_local(connection);
            Ok(Sender::Http2(sender))
        }
    }
}
