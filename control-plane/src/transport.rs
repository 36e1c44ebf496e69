//! The port of the nodes: TLS 1.3, HTTP/2, gRPC.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_proto::v1::enrolment_server::EnrolmentServer;
use tollgate_proto::v1::sync_server::SyncServer;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::authority::NodeIdentity;
use crate::cause;
use crate::enrolment::EnrolmentService;
use crate::stream::SyncService;

/// Connections that are setting up TLS at once; more wait in the system's queue.
const HANDSHAKES: usize = 256;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// A node that is gone without a word is noticed within twice this time.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// After a failure to accept, such as no file descriptors being left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The largest message of a node: a report of what it refuses.
const MESSAGE_BYTES: usize = 4 << 20;
/// A node has one stream; more are of no use to it.
const STREAMS_PER_CONNECTION: u32 = 16;

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The node at the other end; none where it has no certificate of a node.
    identity: Option<NodeIdentity>,
}

/// The node at the other end; none where it has no certificate of a node.
pub(crate) fn identity<T>(request: &tonic::Request<T>) -> Option<NodeIdentity> {
    request.extensions().get::<Peer>()?.identity.clone()
}

/// A connection whose TLS is set up, so that the client's certificate, if it has one, is verified.
pub(crate) struct NodeConnection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl NodeConnection {
    fn new(stream: TlsStream<TcpStream>, address: SocketAddr) -> Self {
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let identity = certificate.and_then(|der| NodeIdentity::from_certificate(der).ok());
        Self { stream, peer: Peer { address, identity } }
    }
}

impl Connected for NodeConnection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for NodeConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for NodeConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Serves nodes until the end.
///
/// # Errors
///
/// Where HTTP/2 cannot be served at all.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    services: (SyncService, EnrolmentService),
    tasks: &TaskTracker,
    stopping: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let incoming = accept(listener, acceptor, tasks, stopping.clone());
    let (sync, enrolment) = services;
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .add_service(SyncServer::new(sync).max_decoding_message_size(MESSAGE_BYTES))
        .add_service(EnrolmentServer::new(enrolment).max_decoding_message_size(MESSAGE_BYTES))
        .serve_with_incoming_shutdown(incoming, stopping.cancelled_owned());
    Box::pin(serving).await
}

/// Connections whose TLS is set up. One that is slow at it keeps no other waiting.
fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    tasks: &TaskTracker,
    stopping: CancellationToken,
) -> impl Stream<Item = io::Result<NodeConnection>> + use<> {
    let (sender, receiver) = mpsc::channel(HANDSHAKES);
    let (inner, permits) = (tasks.clone(), Arc::new(Semaphore::new(HANDSHAKES)));
    tasks.spawn(async move {
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = cause(&error), "accept a node's connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            inner.spawn(async move {
                let _permit = permit;
                match handshake(&acceptor, stream).await {
                    // Nobody takes it when the server has stopped.
                    Ok(stream) => {
                        drop(sender.send(Ok(NodeConnection::new(stream, address))).await);
                    }
                    Err(error) => tracing::debug!(
                        error = cause(&error),
                        peer = %address,
                        "set up TLS with a node"
                    ),
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}

async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(done) => done,
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}
