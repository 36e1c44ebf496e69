//! A new connection to an endpoint.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tollgate_model::upstream::Protocol;

use super::pool::{Connection, EndpointPool};
use super::stream::Stream;
use super::tls::EndpointTls;
use super::{bound, http1};
use crate::connection::LocalExecutor;
use crate::core::Core;
use crate::fault::Fault;
use crate::plan::{Endpoint, UpstreamPlan};

/// How often, and for how long, a server of HTTP/2 with requests under way is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects and shakes hands within the upstream's bound.
pub(super) async fn connect(
    core: &Core,
    upstream: &UpstreamPlan,
    endpoint: &Endpoint,
    pool: &Rc<EndpointPool>,
    deadline: Option<Instant>,
) -> Result<Connection, Fault> {
    let limit = bound(upstream.within_attempt(upstream.connect_timeout), deadline);
    match timeout_at(limit, open(endpoint)).await {
        Ok(Ok(connection)) => {
            core.metrics.upstream_connections.add(1);
            if let Connection::Http2(sender) = &connection {
                pool.share(sender.clone());
            }
            Ok(connection)
        }
        Ok(Err(error)) => {
            tracing::debug!(endpoint = ?endpoint.authority, %error, "connect to an endpoint");
            Err(Fault::Unreachable)
        }
        Err(_elapsed) => Err(Fault::Unreachable),
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("connect")]
    Connect(#[from] std::io::Error),
    #[error("shake hands for TLS")]
    Tls(#[source] std::io::Error),
    #[error("the endpoint does not speak HTTP/2 over TLS")]
    NoHttp2,
    #[error("begin HTTP")]
    Handshake(#[from] hyper::Error),
}

/// Opens the way to an endpoint, in the clear or over TLS. The caller bounds the time.
pub(super) async fn stream(endpoint: &Endpoint) -> Result<Stream, ConnectError> {
    let stream = TcpStream::connect(endpoint.address).await?;
    stream.set_nodelay(true)?;
    match &endpoint.tls {
        None => Ok(Stream::Plain(stream)),
        Some(tls) => secure(tls, endpoint.protocol, stream).await,
    }
}

async fn open(endpoint: &Endpoint) -> Result<Connection, ConnectError> {
    let stream = stream(endpoint).await?;
    match endpoint.protocol {
        Protocol::Http1 => Ok(Connection::Http1(Box::new(http1::Connection::new(stream)))),
        Protocol::Http2 => {
            let (sender, connection) = http2::Builder::new(LocalExecutor)
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .max_frame_size(64 << 10)
                // All requests share it: a server that is gone without a word must not take them all.
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .handshake(TokioIo::new(stream))
                .await?;
            tokio::task::spawn_local(connection);
            Ok(Connection::Http2(sender))
        }
    }
}

async fn secure(
    tls: &EndpointTls,
    protocol: Protocol,
    stream: TcpStream,
) -> Result<Stream, ConnectError> {
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let stream =
        connector.connect(tls.server_name.clone(), stream).await.map_err(ConnectError::Tls)?;
    // RFC 9113 §3.2: over TLS it has to be agreed on. HTTP/1.1 is spoken where nothing is.
    if protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(ConnectError::NoHttp2);
    }
    Ok(Stream::Tls(Box::new(stream)))
}
