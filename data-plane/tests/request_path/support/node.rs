//! A node's request threads, with the configuration given by hand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;
use tollgate_data_plane::access_log::{self, AccessLog, Destination, Sink};
use tollgate_data_plane::core::Shared;
use tollgate_data_plane::listener::Listeners;
use tollgate_data_plane::metrics::{self, CoreMetrics, NodeFacts};
use tollgate_data_plane::plan::{Configurator, Update};
use tollgate_data_plane::ports::cache::MemoryCache;
use tollgate_data_plane::ports::concurrency::NodeConcurrency;
use tollgate_data_plane::ports::counters::NodeCounters;
use tollgate_data_plane::ports::key_sets::NodeKeySets;
use tollgate_data_plane::ports::passwords::Passwords;
use tollgate_data_plane::thread;
use tollgate_data_plane::upstream::Tokens;
use tollgate_data_plane::upstream::health::Checks;
use tollgate_data_plane::upstream::names::{Names, Resolver};
use tollgate_model::credential::KeyHash;
use tollgate_model::password::PasswordHash;
use tollgate_model::units::Size;
use tollgate_model::{Name, file};
use tollgate_proto::v1;

use super::{Wire, eventually};

/// A key that is long enough.
pub(crate) const API_KEY: &str = "sk-test-0001";
const CREDENTIAL_KEY: [u8; 32] = [7; 32];
const THREADS: usize = 2;

/// A node on a free port.
pub(crate) struct TestNode {
    pub(crate) address: SocketAddr,
    pub(crate) configurator: Configurator,
    pub(crate) revision: u64,
    metrics: Vec<Arc<CoreMetrics>>,
    cache: Arc<MemoryCache>,
    tokens: Tokens,
    names: Names,
    threads: Vec<JoinHandle<()>>,
    /// Asks endpoints how they are.
    checks: Option<JoinHandle<()>>,
    sink: Option<Sink>,
    log_writer: Option<JoinHandle<()>>,
    log: PathBuf,
    drain: CancellationToken,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl TestNode {
    /// A node that has no configuration yet.
    pub(crate) fn empty() -> Self {
        Self::looking_up(Resolver::System)
    }

    /// The same, with names looked up there.
    pub(crate) fn looking_up(resolver: Resolver) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        let (sink, log_writer) = access_log::start(Destination::File(log.clone())).unwrap();
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..THREADS).map(|_| unbounded_channel()).unzip();
        let listeners = Listeners::open("127.0.0.1:0".parse().unwrap(), senders.clone()).unwrap();
        let address = listeners.address();
        let listeners = Mutex::new(listeners);
        let mut configurator = Configurator::new(
            Name::default_name(),
            Box::new(move |gateway, unserved| listeners.lock().unwrap().follow(gateway, unserved)),
        );
        configurator.set_credential_key(CREDENTIAL_KEY);
        let key_sets = NodeKeySets::new(tokio::runtime::Handle::current());
        configurator.set_key_sets(key_sets.clone());
        let names = Names::with(resolver, tokio::runtime::Handle::current());
        configurator.set_names(names.clone());
        let tokens = Tokens::new(tokio::runtime::Handle::current());
        configurator.set_tokens(tokens.clone());
        let cache = Arc::new(MemoryCache::with_room(Size::from_kib(64 * 1024)).unwrap());
        let shared = Arc::new(Shared {
            plan: configurator.plan(),
            counters: Arc::new(NodeCounters::in_memory()),
            key_sets,
            passwords: Passwords::default(),
            cache: Some(cache.clone()),
            concurrency: NodeConcurrency::default(),
            loads: (0..THREADS).map(|_| AtomicUsize::new(0)).collect(),
        });
        let metrics: Vec<Arc<CoreMetrics>> = (0..THREADS).map(|_| Arc::default()).collect();
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let starts = receivers.into_iter().enumerate().map(|(index, commands)| thread::Start {
            index,
            shared: Arc::clone(&shared),
            metrics: Arc::clone(&metrics[index]),
            access_log: AccessLog::new(Some(sink.clone())),
            commands,
            threads: senders.clone(),
            drain: drain.clone(),
            stop: stop.clone(),
        });
        let threads = starts.map(|start| thread::spawn(start).unwrap()).collect();
        let checks = {
            let following = Checks::follow(configurator.plan(), stop.clone());
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            std::thread::spawn(move || runtime.block_on(following))
        };
        Self {
            address,
            configurator,
            revision: 0,
            metrics,
            cache,
            tokens,
            names,
            threads,
            checks: Some(checks),
            sink: Some(sink),
            log_writer: Some(log_writer),
            log,
            drain,
            stop,
            _folder: folder,
        }
    }

    /// A node with a whole configuration.
    pub(crate) fn with(yaml: &str) -> Self {
        Self::empty().begin(yaml)
    }

    /// The whole configuration of one that has none yet.
    pub(crate) fn begin(mut self, yaml: &str) -> Self {
        let node = &mut self;
        node.revision = 1;
        let upserts = resources(yaml, 1);
        node.configurator.apply(Update {
            is_whole: true,
            revision: 1,
            upserts,
            ..Update::default()
        });
        assert_eq!(node.configurator.rejections(), []);
        self
    }

    /// Writes resources as one revision; returns what is refused after it.
    pub(crate) fn apply(&mut self, yaml: &str) -> Vec<v1::Rejection> {
        self.change(yaml, &[])
    }

    /// Deletes resources of the default tenant as one revision.
    pub(crate) fn remove(&mut self, ids: &[(&str, &str)]) -> Vec<v1::Rejection> {
        self.change("", ids)
    }

    /// One revision of both.
    pub(crate) fn change(&mut self, yaml: &str, removed: &[(&str, &str)]) -> Vec<v1::Rejection> {
        self.revision += 1;
        let removals = removed
            .iter()
            .map(|(kind, name)| v1::ResourceId {
                kind: (*kind).to_owned(),
                tenant: "default".to_owned(),
                name: (*name).to_owned(),
            })
            .collect();
        let upserts = resources(yaml, self.revision);
        let revision = self.revision;
        self.configurator.apply(Update { revision, upserts, removals, ..Update::default() });
        self.configurator.rejections()
    }

    /// A connection to it.
    pub(crate) async fn wire(&self) -> Wire {
        Wire::to(self.address).await
    }

    /// Sends one request on a connection of its own; the host is `api.test`.
    pub(crate) async fn call(&self, line: &str, fields: &[&str], body: &str) -> super::Answer {
        let mut wire = self.wire().await;
        wire.call(line, fields, body).await
    }

    /// `GET` of a target.
    pub(crate) async fn get(&self, target: &str) -> super::Answer {
        self.call(&format!("GET {target}"), &[], "").await
    }

    /// What it counted, in the text format.
    pub(crate) fn metrics_text(&self) -> String {
        let live_apis = Some(self.configurator.plan().load().api_numbers().collect());
        let (cache, lookups) = (self.cache.filling(), self.names.lookups());
        let tokens = self.tokens.counts();
        metrics::render(
            &self.metrics,
            &NodeFacts { live_apis, cache, lookups, tokens, ..NodeFacts::default() },
        )
    }

    /// One metric.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics_text();
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value).unwrap_or_else(|| panic!("{name} in {text}"))
    }

    /// Connections of clients that are open.
    pub(crate) fn open_connections(&self) -> u64 {
        metrics::open_connections(&self.metrics)
    }

    /// The records in the order of their calls, once there are so many of them. Each thread writes
    /// its own when it comes to that.
    pub(crate) async fn records(&self, count: usize) -> Vec<Value> {
        let read = || {
            let text = std::fs::read_to_string(&self.log).unwrap();
            let mut lines: Vec<Value> =
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            lines.sort_by_key(|line| line["time"].as_str().unwrap().to_owned());
            (lines.len() >= count).then_some(lines)
        };
        eventually(read).await
    }

    /// Begins to drain.
    pub(crate) fn drain(&self) {
        self.drain.cancel();
    }

    /// Ends the drain: what is under way is cut off.
    pub(crate) fn cut_off(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }

    /// Whether all of its threads have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a request thread panicked");
        }
        if let Some(checks) = self.checks.take() {
            let ended = checks.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the thread of checks panicked");
        }
        self.sink.take();
        if let Some(writer) = self.log_writer.take() {
            let _ = writer.join();
        }
    }
}

/// Documents as they come from a control plane.
fn resources(yaml: &str, version: u64) -> Vec<v1::Resource> {
    let documents = file::documents(yaml).unwrap();
    let resource = |located: file::Located| {
        let mut value = located.value;
        let text = |field: &str, value: &Value| value[field].as_str().map(str::to_owned);
        let kind = text("kind", &value).unwrap();
        if let Some(key) = value.pointer("/spec/api_key/value").and_then(Value::as_str) {
            let hash = KeyHash::of(key.as_bytes(), &CREDENTIAL_KEY).to_string();
            value["spec"]["api_key"] = json!({ "hash": hash, "hint": &key[..4] });
        }
        if let Some(password) = value.pointer("/spec/basic/password/value").and_then(Value::as_str)
        {
            let owner = value["name"].as_str().unwrap();
            let hash = PasswordHash::of(password, owner, &CREDENTIAL_KEY).unwrap().to_string();
            value["spec"]["basic"]["password"] = json!({ "hash": hash });
        }
        v1::Resource {
            kind,
            tenant: text("tenant", &value).unwrap_or_else(|| "default".to_owned()),
            name: text("name", &value).unwrap(),
            version,
            spec: value["spec"].to_string().into(),
        }
    };
    documents.into_iter().map(resource).collect()
}
