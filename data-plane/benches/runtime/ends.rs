//! Both ends of a call, as cheap as they get: they share the machine with what is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::task::JoinSet;

const REQUEST: &[u8] = b"GET /orders/items?page=2 HTTP/1.1\r\n\
    host: api.shop.test\r\n\
    user-agent: shop-client/4.2\r\n\
    accept: application/json\r\n\
    \r\n";
const BODY_BYTES: usize = 1024;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

fn runtime() -> LocalRuntime {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap()
}

/// A server that answers everything with 1 KiB, on a thread of its own, to the process's end.
pub(crate) fn start_upstream() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let thread = std::thread::Builder::new().name("upstream".to_owned());
    thread.spawn(move || runtime().block_on(accept(socket))).unwrap();
    address
}

async fn accept(socket: std::net::TcpListener) {
    let listener = TcpListener::from_std(socket).unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {BODY_BYTES}\r\n\r\n"
    );
    let answer: Arc<[u8]> = [head.into_bytes(), vec![b'x'; BODY_BYTES]].concat().into();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::task::spawn_local(answer_all(stream, Arc::clone(&answer)));
    }
}

/// Requests have no body and come one at a time: what ends with an empty line is a whole one.
async fn answer_all(mut stream: TcpStream, answer: Arc<[u8]>) {
    let mut request = Vec::with_capacity(1024);
    while stream.read_buf(&mut request).await.is_ok_and(|length| length > 0) {
        if request.ends_with(END_OF_HEAD) {
            request.clear();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

/// Clients, each with one request under way at a time, on a thread of their own.
pub(crate) struct Load {
    counted: Arc<Counted>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Counted {
    answers: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    pub(crate) fn start(connections: Vec<std::net::TcpStream>) -> Self {
        let counted = Arc::<Counted>::default();
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn({
            let counted = Arc::clone(&counted);
            move || runtime().block_on(ask_on_all(connections, counted))
        });
        Self { counted, thread: thread.unwrap() }
    }

    pub(crate) fn answers(&self) -> u64 {
        self.counted.answers.load(Ordering::Relaxed)
    }

    /// Ends once every client has its answer.
    pub(crate) fn stop(self) {
        self.counted.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

async fn ask_on_all(connections: Vec<std::net::TcpStream>, counted: Arc<Counted>) {
    let mut clients = JoinSet::new();
    for stream in connections {
        clients.spawn_local(ask(TcpStream::from_std(stream).unwrap(), Arc::clone(&counted)));
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

async fn ask(mut stream: TcpStream, counted: Arc<Counted>) {
    let mut answer = Vec::with_capacity(4096);
    while !counted.is_over.load(Ordering::Relaxed) {
        stream.write_all(REQUEST).await.unwrap();
        answer.clear();
        while !is_whole(&answer) {
            let length = stream.read_buf(&mut answer).await.unwrap();
            assert!(length > 0, "the proxy closed a connection");
        }
        counted.answers.fetch_add(1, Ordering::Relaxed);
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(head_bytes) = memmem::find(answer, END_OF_HEAD) else { return false };
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "the proxy did not answer with 200");
    let whole_bytes = head_bytes + END_OF_HEAD.len() + BODY_BYTES;
    assert!(answer.len() <= whole_bytes, "the proxy answered more than the upstream");
    answer.len() == whole_bytes
}
