//! One connection of a client: which HTTP it speaks, how long it may be slow or idle, how it ends.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tollgate_model::gateway::Limits;
use tollgate_policy::body::BodyError;

// The bounds in time, kept by a sweep over all connections.
mod sweep;
// The client's stream, as hyper sees it.
mod stream;
// Frames of HTTP/2 that carry nothing.
mod frames;
// Answers over HTTP/2, each with its own bound.
mod answers;
// A socket, or TLS on one.
mod transport;
// What a balancer says of the client.
pub mod proxy_header;
// The beginning of TLS.
mod handshake;

pub(crate) use stream::refusal_message;
pub use sweep::{Connections, SWEEP};

use crate::core::Core;
use crate::exchange::exchange;
use crate::framing::{self, Guarded};
use crate::listener::Entrance;
use crate::outgoing::ExchangeBody;
use crate::peer::Peer;
use crate::plan::{ListenerPlan, Plan};
use crate::tls::ListenerTls;
use answers::Answers;
use frames::FrameStream;
use stream::ClientStream;
use sweep::{Order, State, UnderWay};
use transport::Transport;

/// What a client of HTTP/2 sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Runs hyper's tasks on the core that the connection is on.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Serves a connection to its end.
pub async fn serve(core: Rc<Core>, stream: TcpStream, address: SocketAddr, entrance: Entrance) {
    let (listener, limits) = {
        let plan = core.plan();
        (listener_of(&plan, entrance), plan.gateway.limits.clone())
    };
    match listener {
        Some(ListenerPlan { tls: None, is_behind_proxy: false }) => {
            serve_clear(core, stream, address, &limits).await;
        }
        // In its own memory: plain connections need none of it.
        Some(listener) => Box::pin(serve_prepared(core, listener, stream, address)).await,
        None => {}
    }
}

/// Serves a connection that begins with something else than HTTP.
async fn serve_prepared(
    core: Rc<Core>,
    listener: ListenerPlan,
    mut stream: TcpStream,
    mut address: SocketAddr,
) {
    let gateway = Arc::clone(&core.plan().gateway);
    let limits = &gateway.limits;
    if listener.is_behind_proxy {
        let trusted = &gateway.trusted_proxies;
        let client = proxy_header::take(&core, &mut stream, address, (trusted, limits)).await;
        let Some(client) = client else { return };
        address = client;
    }
    let limits = gateway.limits.clone();
    drop(gateway);
    match listener.tls {
        None => serve_clear(core, stream, address, &limits).await,
        Some(tls) => serve_tls(core, tls, stream, address).await,
    }
}

/// What is done with connections that come in here; none where the listener has just gone or cannot
/// be run.
fn listener_of(plan: &Plan, entrance: Entrance) -> Option<ListenerPlan> {
    match plan.listeners.get(&entrance.address) {
        Some(listener) => listener.clone(),
        None => entrance.is_own.then(ListenerPlan::default),
    }
}

/// Whether HTTP is what a connection begins with here.
pub(crate) fn is_clear(core: &Core, entrance: Entrance) -> bool {
    listener_of(&core.plan(), entrance).is_some_and(|listener| listener.tls.is_none())
}

async fn serve_tls(core: Rc<Core>, tls: Arc<ListenerTls>, stream: TcpStream, address: SocketAddr) {
    let limits = core.plan().gateway.limits.clone();
    // What it needs, the connection does not keep.
    let secured = Box::pin(handshake::shake_hands(&core, &tls, stream, &limits)).await;
    // What a later change replaced goes with its last handshake.
    drop(tls);
    let Some(secured) = secured else { return };
    let peer = Rc::new(Peer::secured(address, secured.facts));
    if secured.is_http2 {
        serve_http2(core, peer, secured.stream, &limits).await;
    } else {
        serve_http1(core, peer, secured.stream, &limits).await;
    }
}

async fn serve_clear(core: Rc<Core>, stream: TcpStream, address: SocketAddr, limits: &Limits) {
    let Ok(is_http2) = tokio::time::timeout(limits.head_time.get(), begins_http2(&stream)).await
    else {
        return stream::end_unclear(&core, stream).await;
    };
    let peer = Rc::new(Peer::new(address));
    match is_http2 {
        Ok(true) => serve_http2(core, peer, stream, limits).await,
        Ok(false) => serve_http1(core, peer, stream, limits).await,
        Err(_closed) => {}
    }
}

/// Whether the client speaks HTTP/2 with prior knowledge (RFC 9113 §3.3). Looks without taking.
async fn begins_http2(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0_u8; PREFACE.len()];
    let mut known = 0;
    loop {
        let length = stream.peek(&mut first).await?;
        let bytes = first.get(..length).unwrap_or_default();
        if length == 0 || !PREFACE.starts_with(bytes) {
            return Ok(false);
        }
        if length == PREFACE.len() {
            return Ok(true);
        }
        if length == known {
            // What has come stays readable: wait for more without spinning.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        known = length;
    }
}

async fn serve_http1<S: Transport>(core: Rc<Core>, peer: Rc<Peer>, stream: S, limits: &Limits) {
    let guarded = Guarded::new(stream, framing_limits(limits));
    let state = State::new(Some(guarded.watch()));
    let _entered = core.connections.enter(&core, Arc::clone(&state), None);
    let io = TokioIo::new(ClientStream::new(guarded, Arc::clone(&state)));
    let service = service_fn(|request| {
        let under_way = UnderWay::new(Arc::clone(&state), None);
        counted(&core, &peer, under_way, request)
    });
    let mut builder = http1::Builder::new();
    // hyper's own bounds are 100 fields and some 400 KiB; asking for other numbers costs it an
    // allocation a request.
    if limits.headers > 100 {
        builder.max_headers(usize::from(limits.headers));
    }
    if limits.head.bytes() > 256 * 1024 {
        builder.max_buf_size(head_bytes(limits) * 2);
    }
    let mut connection = builder.serve_connection(io, service);
    let mut is_finishing = false;
    std::future::poll_fn(|cx| {
        let mut connection = Pin::new(&mut connection);
        match state.order(cx) {
            Order::Finish if !is_finishing => {
                is_finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            Order::TooSlow | Order::Cut => return Poll::Ready(Ok(())),
            Order::Stay | Order::Finish => {}
        }
        connection.poll(cx)
    })
    .await
    .unwrap_or_else(|error| tracing::debug!(%error, "serve a connection"));
    let was_busy = state.is_busy();
    let parts = connection.into_parts();
    let stream = parts.io.into_inner();
    match peer.take_tunnel() {
        Some(tunnel) => {
            let _under_way = UnderWay::new(Arc::clone(&state), None);
            tunnel.run(stream.into_inner(), parts.read_buf).await;
        }
        None => stream.end(&core, was_busy).await,
    }
}

/// The bounds that h2 keeps.
///
/// Of its own it has more: 5 frames of CONTINUATION to a head of 64 KiB, four times that for what a head unpacks to,
/// 100 empty frames of DATA, and 512 KiB of overhead by small ones, which reading them gives back. It answers one PING
/// or SETTINGS at a time and reads no further while answers are not taken. `frames` and `answers` keep the rest.
fn http2_builder(limits: &Limits, answers: Answers) -> http2::Builder<Answers> {
    let mut builder = http2::Builder::new(answers);
    let streams = usize::try_from(limits.streams).unwrap_or(usize::MAX);
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head.bytes()).unwrap_or(u32::MAX))
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(256 << 10)
        // Rapid Reset (CVE-2023-44487): requests given up before they were begun.
        .max_pending_accept_reset_streams(20)
        // MadeYouReset (CVE-2025-8671): streams reset for what the client did. A client that does not know how many it may
        // open may have that many refused, and again, before it does.
        .max_local_error_reset_streams(streams.saturating_mul(2).max(256));
    builder
}

async fn serve_http2<S: Transport>(core: Rc<Core>, peer: Rc<Peer>, stream: S, limits: &Limits) {
    let state = State::new(None);
    let answers = Answers::default();
    let _entered = core.connections.enter(&core, Arc::clone(&state), Some(answers.clone()));
    let service = {
        let (core, state, answers) = (Rc::clone(&core), Arc::clone(&state), answers.clone());
        service_fn(move |request| {
            let (core, peer) = (Rc::clone(&core), Rc::clone(&peer));
            let under_way = UnderWay::new(Arc::clone(&state), Some(answers.begin()));
            // hyper moves it from task to task: in its own memory, that is a pointer.
            async move { Box::pin(counted(&core, &peer, under_way, request)).await }
        })
    };
    let io = TokioIo::new(FrameStream::new(stream, Arc::clone(&state)));
    let connection = http2_builder(limits, answers).serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut is_finishing = false;
    std::future::poll_fn(|cx| {
        match state.order(cx) {
            Order::Finish if !is_finishing => {
                is_finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            Order::TooSlow | Order::Cut => return Poll::Ready(Ok(())),
            Order::Stay | Order::Finish => {}
        }
        connection.as_mut().poll(cx)
    })
    .await
    .unwrap_or_else(|error| tracing::debug!(%error, "serve a connection"));
    if state.is_flooded() {
        core.metrics.http2_floods.add(1);
    }
}

/// An exchange, counted as under way on its connection to the end of its answer.
async fn counted(
    core: &Rc<Core>,
    peer: &Rc<Peer>,
    under_way: UnderWay,
    request: Request<Incoming>,
) -> Result<Response<CountedBody>, std::convert::Infallible> {
    let response = exchange(Rc::clone(core), Rc::clone(peer), request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        under_way.release();
    }
    Ok(response.map(|body| CountedBody { body, under_way }))
}

/// The body of an answer while it is under way.
struct CountedBody {
    body: ExchangeBody,
    under_way: UnderWay,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.under_way.asked(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn head_bytes(limits: &Limits) -> usize {
    usize::try_from(limits.head.bytes()).unwrap_or(usize::MAX / 4)
}

fn framing_limits(limits: &Limits) -> framing::Limits {
    framing::Limits {
        head_bytes: head_bytes(limits),
        header_count: usize::from(limits.headers),
        target_bytes: usize::try_from(limits.target.bytes()).unwrap_or(usize::MAX),
    }
}
