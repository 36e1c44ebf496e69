//! An upstream that does what the query of a request tells it, and counts what reached it.
//!
//! It tells what it saw as JSON: `{server, connection, method, target, version, headers, body, body_bytes, trailers}`.
//!
//! | query | what it does |
//! | --- | --- |
//! | `status=N` | answers with this status |
//! | `set=NAME:VALUE` | answers with this field; may stand several times |
//! | `etag=TEXT` | answers with this entity tag, and with 304 to who has it |
//! | `delay_ms=N` | waits before the answer's head |
//! | `hang` | never answers |
//! | `abort` | reads the request and closes without an answer |
//! | `early` | answers without reading the body |
//! | `echo` | answers with the request's body, piece by piece |
//! | `document` | answers with what `set_document` was last given; so does every path below `/.well-known/` |
//! | `size=N` | answers with so many bytes in place of the JSON |
//! | `piece=N`, `pause_ms=N` | in pieces of so many bytes, with a pause between two |
//! | `chunked` | without a length |
//! | `trailers` | with the trailer field `x-checksum: abc` |
//! | `cut` | breaks off after `size`, having promised more |
//! | `stall` | falls silent after `size`, having promised more |

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

// What the query of a request asks for.
mod script;

use script::Script;

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// A server of its own thread; gone with all its connections when it is dropped.
pub struct Upstream {
    address: SocketAddr,
    seen: Arc<Seen>,
    close: watch::Sender<u64>,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What reached it.
#[derive(Default)]
struct Seen {
    requests: AtomicU64,
    connections: AtomicU64,
    open: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    body_bytes: AtomicU64,
    document: Mutex<Bytes>,
}

/// How it treats its connections.
#[derive(Clone)]
enum Manner {
    /// Speaks HTTP/1 and HTTP/2; resets a connection at the request after so many.
    Http { name: Arc<str>, requests_a_connection: u64 },
    /// Reads a head and writes these bytes, then closes.
    Raw(Bytes),
}

impl Upstream {
    /// Starts one on a free port.
    ///
    /// # Errors
    ///
    /// Where the system gives no socket or thread.
    pub fn start(name: &str) -> anyhow::Result<Self> {
        Self::start_as(Manner::Http { name: Arc::from(name), requests_a_connection: u64::MAX })
    }

    /// Starts one at this address; port 0 is a free one.
    ///
    /// # Errors
    ///
    /// Where the address is taken, or the system gives no socket or thread.
    pub fn start_at(name: &str, address: SocketAddr) -> anyhow::Result<Self> {
        let manner = Manner::Http { name: Arc::from(name), requests_a_connection: u64::MAX };
        Self::serve(manner, address)
    }

    /// Starts one that resets each connection at the request after `requests_a_connection`.
    ///
    /// # Errors
    ///
    /// Where the system gives no socket or thread.
    pub fn resetting(name: &str, requests_a_connection: u64) -> anyhow::Result<Self> {
        Self::start_as(Manner::Http { name: Arc::from(name), requests_a_connection })
    }

    /// Starts one that answers each request with these bytes, and closes.
    ///
    /// # Errors
    ///
    /// Where the system gives no socket or thread.
    pub fn raw(answer: impl Into<Bytes>) -> anyhow::Result<Self> {
        Self::start_as(Manner::Raw(answer.into()))
    }

    fn start_as(manner: Manner) -> anyhow::Result<Self> {
        Self::serve(manner, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn serve(manner: Manner, address: SocketAddr) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(address).context("listen")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let seen: Arc<Seen> = Arc::default();
        let (close, closing) = watch::channel(0);
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Serving { manner, seen: Arc::clone(&seen), closing };
        let thread = std::thread::Builder::new().name("upstream".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    _ = serving.accept(listener) => {}
                }
            });
        })?;
        Ok(Self { address, seen, close, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that reached it.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Connections that were made to it.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Requests whose answer it has not begun.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.seen.under_way.load(Ordering::SeqCst)
    }

    /// The most of them at once.
    #[must_use]
    pub fn most_under_way(&self) -> usize {
        self.seen.most_under_way.load(Ordering::SeqCst)
    }

    /// Bytes of bodies that it gave away.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.seen.body_bytes.load(Ordering::SeqCst)
    }

    /// What it answers from now on where a query says `document`, and below `/.well-known/`.
    pub fn set_document(&self, document: impl Into<Bytes>) {
        *self.seen.document.lock().unwrap_or_else(PoisonError::into_inner) = document.into();
    }

    /// Closes every connection that is open.
    pub fn close_connections(&self) {
        self.close.send_modify(|times| *times += 1);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has closed its sockets as well.
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Serving {
    manner: Manner,
    seen: Arc<Seen>,
    closing: watch::Receiver<u64>,
}

impl Serving {
    async fn accept(self, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    stream.set_nodelay(true)?;
                    connections.spawn(self.clone().serve(stream));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn serve(mut self, stream: TcpStream) {
        let number = self.seen.connections.fetch_add(1, Ordering::SeqCst) + 1;
        self.seen.open.fetch_add(1, Ordering::SeqCst);
        let seen = Arc::clone(&self.seen);
        self.closing.mark_unchanged();
        let mut closing = self.closing.clone();
        tokio::select! {
            _ = closing.changed() => {}
            () = self.serve_to_its_end(stream, number) => {}
        }
        seen.open.fetch_sub(1, Ordering::SeqCst);
    }

    async fn serve_to_its_end(self, stream: TcpStream, number: u64) {
        match self.manner.clone() {
            Manner::Raw(answer) => {
                // The other end may be gone; that is its own affair.
                let _ = self.answer_raw(stream, &answer).await;
            }
            Manner::Http { name, requests_a_connection } => {
                let count = AtomicU64::new(0);
                let connection = Connection { name, number, requests_a_connection, count };
                let connection = Arc::new(connection);
                let service = service_fn(move |request| {
                    let (connection, seen) = (Arc::clone(&connection), Arc::clone(&self.seen));
                    async move { connection.answer(&seen, request).await }
                });
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http1().max_headers(1000);
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            }
        }
    }

    async fn answer_raw(&self, mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        self.seen.requests.fetch_add(1, Ordering::SeqCst);
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        // What else comes is read, so that the answer is not thrown away.
        while stream.read_buf(&mut head).await? > 0 {
            head.clear();
        }
        Ok(())
    }
}

struct Connection {
    name: Arc<str>,
    number: u64,
    requests_a_connection: u64,
    count: AtomicU64,
}

/// A request under way, until it is answered or given up.
struct UnderWay<'a>(&'a Seen);

impl<'a> UnderWay<'a> {
    fn begin(seen: &'a Seen) -> Self {
        seen.requests.fetch_add(1, Ordering::SeqCst);
        let now = seen.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most_under_way.fetch_max(now, Ordering::SeqCst);
        Self(seen)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Connection {
    async fn answer(&self, seen: &Arc<Seen>, request: Request<Incoming>) -> io::Result<Answer> {
        let _under_way = UnderWay::begin(seen);
        if self.count.fetch_add(1, Ordering::SeqCst) >= self.requests_a_connection {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let script = Script::of(request.uri().query().unwrap_or_default());
        let (head, body) = request.into_parts();
        if script.has("hang") {
            std::future::pending::<Infallible>().await;
        }
        if script.has("echo") {
            let body = body.map_err(io::Error::other).boxed_unsync();
            return Ok(script.dress(Response::new(body)));
        }
        let (body, trailers) = if script.has("early") {
            (Bytes::new(), None)
        } else {
            let collected = body.collect().await.map_err(io::Error::other)?;
            let trailers = collected.trailers().cloned();
            (collected.to_bytes(), trailers)
        };
        if let Some(delay) = script.number("delay_ms") {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if script.has("abort") {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let tag =
            script.text("etag").and_then(|tag| HeaderValue::try_from(format!("\"{tag}\"")).ok());
        if let Some(tag) = &tag
            && head.headers.get(http::header::IF_NONE_MATCH) == Some(tag)
        {
            let body = http_body_util::Empty::new().map_err(|never| match never {});
            let mut response = script.dress(Response::new(body.boxed_unsync()));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().insert(http::header::ETAG, tag.clone());
            return Ok(response);
        }
        let told = json!({
            "server": &*self.name,
            "connection": self.number,
            "method": head.method.as_str(),
            "target": head.uri.to_string(),
            "version": format!("{:?}", head.version),
            "headers": fields(&head.headers),
            "body": String::from_utf8_lossy(body.get(..body.len().min(4096)).unwrap_or_default()),
            "body_bytes": body.len(),
            "trailers": fields(&trailers.unwrap_or_default()),
        });
        let told = if script.has("document") || head.uri.path().starts_with("/.well-known/") {
            seen.document.lock().unwrap_or_else(PoisonError::into_inner).clone()
        } else {
            Bytes::from(told.to_string())
        };
        let body = script.body(told, Arc::clone(seen));
        let mut response = Response::new(body.boxed_unsync());
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            response.headers_mut().insert("x-server", name);
        }
        if let Some(tag) = tag {
            response.headers_mut().insert(http::header::ETAG, tag);
        }
        Ok(script.dress(response))
    }
}

fn fields(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        fields.entry(name.as_str().to_owned()).or_default().push(value);
    }
    fields
}
