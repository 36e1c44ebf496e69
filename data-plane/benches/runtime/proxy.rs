//! A proxy as small as it gets: hyper towards the client, a pool of kept connections towards the
//! upstream. What the two runtimes share is written once; they differ in [`Pool`] and [`Proxy`].

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{client, server};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What the names of the proxy's threads begin with.
pub(crate) const THREAD_NAME: &str = "proxy";
/// That of a node's request threads, for both.
const EVENT_INTERVAL: u32 = 31;

type Sender = client::conn::http1::SendRequest<Incoming>;
type Connection = client::conn::http1::Connection<TokioIo<TcpStream>, Incoming>;

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    PerCore,
    WorkStealing,
}

/// A proxy that runs.
pub(crate) struct Proxy {
    listener: TcpListener,
    threads: Threads,
}

enum Threads {
    PerCore(Vec<(UnboundedSender<std::net::TcpStream>, JoinHandle<()>)>),
    WorkStealing { runtime: Runtime, pool: SharedPool, upstream: SocketAddr },
}

impl Proxy {
    pub(crate) fn start(kind: Kind, threads: usize, upstream: SocketAddr) -> Self {
        let threads = match kind {
            Kind::PerCore => Threads::PerCore((0..threads).map(|_| thread(upstream)).collect()),
            Kind::WorkStealing => {
                let runtime = Builder::new_multi_thread()
                    .worker_threads(threads)
                    .thread_name(THREAD_NAME)
                    .enable_all()
                    .event_interval(EVENT_INTERVAL)
                    .build();
                let runtime = runtime.unwrap();
                Threads::WorkStealing { runtime, pool: SharedPool::default(), upstream }
            }
        };
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), threads }
    }

    /// The client's end of its `i`th connection. Threads with a runtime each get as many each.
    pub(crate) fn connect(&self, i: usize) -> std::net::TcpStream {
        let client = std::net::TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (stream, _) = self.listener.accept().unwrap();
        for stream in [&client, &stream] {
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
        }
        match &self.threads {
            Threads::PerCore(threads) => {
                let (connections, _) = threads.get(i % threads.len()).unwrap();
                connections.send(stream).unwrap();
            }
            Threads::WorkStealing { runtime, pool, upstream } => {
                runtime.spawn(serve(pool.clone(), *upstream, stream));
            }
        }
        client
    }

    /// Ends its threads, and with them its connections.
    pub(crate) fn stop(self) {
        match self.threads {
            Threads::PerCore(threads) => {
                for (connections, thread) in threads {
                    drop(connections);
                    thread.join().unwrap();
                }
            }
            Threads::WorkStealing { runtime, .. } => drop(runtime),
        }
    }
}

/// A thread with a runtime and a pool of its own.
fn thread(upstream: SocketAddr) -> (UnboundedSender<std::net::TcpStream>, JoinHandle<()>) {
    let (sender, connections) = unbounded_channel();
    let thread = std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build_local(LocalOptions::default());
        runtime.unwrap().block_on(take_connections(connections, upstream));
    });
    (sender, thread.unwrap())
}

async fn take_connections(
    mut connections: UnboundedReceiver<std::net::TcpStream>,
    upstream: SocketAddr,
) {
    let pool = LocalPool::default();
    while let Some(stream) = connections.recv().await {
        tokio::task::spawn_local(serve(pool.clone(), upstream, stream));
    }
}

/// Kept connections to the upstream.
trait Pool: Clone + Unpin + 'static {
    /// The one that was used last.
    fn take(&self) -> Option<Sender>;
    fn give_back(&self, sender: Sender);
    /// Drives a connection in a task of its own.
    fn spawn(connection: Connection);
}

#[derive(Clone, Default)]
struct LocalPool(Rc<RefCell<Vec<Sender>>>);

#[derive(Clone, Default)]
struct SharedPool(Arc<Mutex<Vec<Sender>>>);

impl Pool for LocalPool {
    fn take(&self) -> Option<Sender> {
        self.0.borrow_mut().pop()
    }

    fn give_back(&self, sender: Sender) {
        self.0.borrow_mut().push(sender);
    }

    fn spawn(connection: Connection) {
        tokio::task::spawn_local(connection);
    }
}

impl Pool for SharedPool {
    fn take(&self) -> Option<Sender> {
        self.0.lock().unwrap().pop()
    }

    fn give_back(&self, sender: Sender) {
        self.0.lock().unwrap().push(sender);
    }

    #[expect(clippy::disallowed_methods, reason = "what is compared; it ends with its runtime")]
    fn spawn(connection: Connection) {
        tokio::spawn(connection);
    }
}

/// Serves a client's connection. How it ends is of no matter: the load checks every answer.
async fn serve<P: Pool>(pool: P, upstream: SocketAddr, stream: std::net::TcpStream) {
    let io = TokioIo::new(TcpStream::from_std(stream).unwrap());
    let service = service_fn(move |request| exchange(pool.clone(), upstream, request));
    let _ = server::conn::http1::Builder::new().serve_connection(io, service).await;
}

async fn exchange<P: Pool>(
    pool: P,
    upstream: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Answer<P>>, Infallible> {
    let mut sender = match pool.take() {
        Some(sender) => sender,
        None => connect::<P>(upstream).await,
    };
    // On several threads, the task that drives it may be a moment behind the end of its last answer.
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    Ok(response.map(|body| Answer { body, lease: Some((pool, sender)) }))
}

async fn connect<P: Pool>(upstream: SocketAddr) -> Sender {
    let stream = TcpStream::connect(upstream).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let handshake = client::conn::http1::handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    P::spawn(connection);
    sender
}

/// An answer's body; gives its connection back at its end.
struct Answer<P> {
    body: Incoming,
    lease: Option<(P, Sender)>,
}

impl<P: Pool> Body for Answer<P> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        let is_whole =
            matches!(polled, Poll::Ready(None | Some(Ok(_)))) && this.body.is_end_stream();
        if is_whole && let Some((pool, sender)) = this.lease.take() {
            pool.give_back(sender);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
