//! What an idle stream holds of a node's memory. The clients and the upstream are bare sockets of the standard library, which
//! hold none.

#![expect(clippy::unwrap_used, reason = "a test stops where something is off")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;
use tollgate_data_plane::access_log::{self, AccessLog, Destination};
use tollgate_data_plane::core::Shared;
use tollgate_data_plane::listener::Listeners;
use tollgate_data_plane::plan::{Configurator, Update};
use tollgate_data_plane::ports::concurrency::NodeConcurrency;
use tollgate_data_plane::ports::counters::NodeCounters;
use tollgate_data_plane::ports::key_sets::NodeKeySets;
use tollgate_data_plane::ports::passwords::Passwords;
use tollgate_data_plane::thread;
use tollgate_model::Name;
use tollgate_proto::v1;
use tollgate_testkit::allocations::{Counting, held_bytes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// As many as make what is held once, and what one allocates more than another, small for each.
const STREAMS: usize = 200;

/// A node with one request thread.
struct Node {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    stop: CancellationToken,
    _configurator: Configurator,
    _control: Runtime,
    _folder: tempfile::TempDir,
}

impl Node {
    /// One whose every call goes to this upstream.
    fn before(upstream: SocketAddr) -> Self {
        let control = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (sender, commands) = unbounded_channel();
        let listeners =
            Listeners::open("127.0.0.1:0".parse().unwrap(), vec![sender.clone()]).unwrap();
        let address = listeners.address();
        let listeners = Mutex::new(listeners);
        let mut configurator = Configurator::new(
            Name::default_name(),
            Box::new(move |gateway, unserved| listeners.lock().unwrap().follow(gateway, unserved)),
        );
        let key_sets = NodeKeySets::new(control.handle().clone());
        configurator.set_key_sets(key_sets.clone());
        configurator.apply(Update {
            is_whole: true,
            revision: 1,
            upserts: resources(upstream),
            ..Update::default()
        });
        assert_eq!(configurator.rejections(), []);
        let shared = Arc::new(Shared {
            plan: configurator.plan(),
            counters: Arc::new(NodeCounters::in_memory()),
            key_sets,
            passwords: Passwords::default(),
            cache: None,
            concurrency: NodeConcurrency::default(),
            loads: [AtomicUsize::new(0)].into(),
        });
        let folder = tempfile::tempdir().unwrap();
        let log = Destination::File(folder.path().join("access.log"));
        let (sink, _ends_with_the_thread) = access_log::start(log).unwrap();
        let stop = CancellationToken::new();
        let thread = thread::spawn(thread::Start {
            index: 0,
            shared,
            metrics: Arc::default(),
            access_log: AccessLog::new(Some(sink)),
            commands,
            threads: vec![sender],
            drain: CancellationToken::new(),
            stop: stop.clone(),
        });
        Self {
            address,
            thread: Some(thread.unwrap()),
            stop,
            _configurator: configurator,
            _control: control,
            _folder: folder,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the request thread panicked");
    }
}

fn resources(upstream: SocketAddr) -> Vec<v1::Resource> {
    let resource = |kind: &str, spec: String| v1::Resource {
        kind: kind.to_owned(),
        tenant: "default".to_owned(),
        name: "streams".to_owned(),
        version: 1,
        spec: spec.into(),
    };
    vec![
        resource("Upstream", format!(r#"{{"endpoints": [{{"url": "http://{upstream}"}}]}}"#)),
        resource("Api", r#"{"base_path": "/", "upstream": "streams"}"#.to_owned()),
    ]
}

/// An upstream that answers every connection's first head with these bytes, and then holds its peace.
fn upstream(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::with_capacity(STREAMS);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            until(&mut stream, b"\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            held.push(stream);
        }
    });
    address
}

/// Reads to these bytes.
fn until(stream: &mut TcpStream, end: &[u8]) {
    let (mut bytes, mut length) = ([0; 4096], 0);
    while !bytes.get(..length).unwrap().ends_with(end) {
        let read = stream.read(bytes.get_mut(length..).unwrap()).unwrap();
        assert!(read > 0, "closed");
        length += read;
    }
}

/// Waits until each of many streams holds no more than this of a node, after such a call whose answer ends so far.
#[track_caller]
fn holds_at_most(bound_bytes: usize, request: &str, answer: &'static str, end: &str) {
    let node = Node::before(upstream(answer));
    let mut held = Vec::with_capacity(STREAMS + 1);
    let mut open = || {
        let mut stream = TcpStream::connect(node.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        until(&mut stream, end.as_bytes());
        held.push(stream);
    };
    // What is made once for all.
    open();
    let before = held_bytes();
    (0..STREAMS).for_each(|_| open());
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let bytes = held_bytes().saturating_sub(before) / STREAMS;
        if bytes <= bound_bytes {
            return;
        }
        assert!(Instant::now() < deadline, "{bytes} bytes a stream, {bound_bytes} are the bound");
        std::thread::yield_now();
    }
}

// Both calls say what the access log keeps of a head: it must not keep the head.

#[test]
fn an_idle_stream_of_events_holds_no_buffer_but_what_hyper_does() {
    let request =
        "GET /events HTTP/1.1\r\nhost: localhost\r\nuser-agent: test\r\nx-request-id: 1\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
        d\r\ndata: hello\n\n\r\n";
    // hyper keeps 8 KiB to read and 8 KiB to write.
    holds_at_most(28 << 10, request, answer, "hello\n\n\r\n");
}

#[test]
fn an_idle_websocket_holds_no_buffer() {
    let request = "GET /socket HTTP/1.1\r\nhost: localhost\r\nuser-agent: test\r\nx-request-id: 1\r\n\
        connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
    holds_at_most(7 << 10, request, answer, "\r\n\r\nhello");
}
