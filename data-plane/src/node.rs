//! A node as a whole: started in the order of what depends on what, and drained in the reverse.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tollgate_model::Name;
use tollgate_policy::ports::{Cache, Counters};

use crate::access_log::{self, AccessLog, Destination, Sink};
use crate::admin::{self, StatusServer};
use crate::core::Shared;
use crate::explain::Explainer;
use crate::listener::{Command, ListenError, Listeners};
use crate::metrics::{self, CoreMetrics};
use crate::plan::{Configurator, Plan};
use crate::ports::cache::MemoryCache;
use crate::ports::concurrency::NodeConcurrency;
use crate::ports::counters::{AddressError, NodeCounters};
use crate::ports::key_sets::NodeKeySets;
use crate::ports::passwords::Passwords;
use crate::settings::{AccessLog as AccessLogSetting, JoinFileError, Settings};
use crate::sync::{self, Load, Sources, SyncHandle};
use crate::thread;
use crate::upstream::Tokens;
use crate::upstream::health::Checks;
use crate::upstream::names::Names;

/// A node that runs.
pub struct Node {
    address: SocketAddr,
    sync: SyncHandle,
    status: StatusServer,
    counters: NodeCounters,
    threads: Vec<JoinHandle<()>>,
    log_writer: Option<JoinHandle<()>>,
    drain: CancellationToken,
    stop: CancellationToken,
    drain_time: Duration,
    // Held so that the channels to the threads stay open.
    _listeners: Arc<Mutex<Listeners>>,
}

/// Why a node cannot start. The messages are for people.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address for calls cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The address for the status endpoints cannot be had.
    #[error(
        "listen on {address} for /live, /ready and /metrics; choose another address with --status"
    )]
    Status {
        /// Which.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The access log cannot be opened.
    #[error("open the access log; choose another place with --access-log")]
    AccessLog(#[source] io::Error),
    /// No configuration, and no way to get one.
    #[error(transparent)]
    Sync(#[from] sync::StartError),
    /// The file of the join token is not there, or holds none.
    #[error(transparent)]
    JoinFile(#[from] JoinFileError),
    /// The address of Redis cannot be read.
    #[error("use the Redis that --redis names")]
    Redis(#[from] AddressError),
    /// The system gives no thread.
    #[error("start a request thread")]
    Thread(#[source] io::Error),
}

impl Node {
    /// Starts a node. What is not on the path of a call runs on `control`.
    ///
    /// # Errors
    ///
    /// What cannot be had, by the flag that would change it.
    pub fn start(settings: &Settings, control: &Handle) -> Result<Self, StartError> {
        let settings = &settings.clone().with_join_file_read()?;
        let cores = settings.worker_count().get();
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..cores).map(|_| unbounded_channel()).unzip();
        let listeners = Listeners::open(settings.listen, senders.clone())?;
        let address = listeners.address();
        let listeners = Arc::new(Mutex::new(listeners));
        let (sink, log_writer) = open_log(&settings.access_log)?;
        let metrics: Vec<Arc<CoreMetrics>> = (0..cores).map(|_| Arc::default()).collect();

        let key_sets = NodeKeySets::new(control.clone());
        let mut configurator = configurator(settings.gateway.clone(), Arc::clone(&listeners));
        configurator.set_key_sets(key_sets.clone());
        let names = Names::of_system(control.clone());
        configurator.set_names(names.clone());
        let tokens = Tokens::new(control.clone());
        configurator.set_tokens(tokens.clone());
        let plan = configurator.plan();
        let cache = MemoryCache::with_room(settings.cache_memory).map(Arc::new);
        let load = load_source(metrics.clone());
        let explainer = Explainer::default();
        let sources = Sources { cache: cache.clone(), load, explainer: explainer.clone() };
        let sync = sync::start(settings, configurator, sources, control)?;
        let counters = open_counters(settings, &sync, control)?;
        let facts = FactsSource {
            counters: counters.clone(),
            cache: cache.clone(),
            tokens,
            names,
            readiness: sync.readiness(),
            sink: sink.clone(),
            plan: Arc::clone(&plan),
        };
        let render = metrics_source(&metrics, facts);
        let address_of_status = settings.status;
        let status = admin::start(address_of_status, &sync, render, control)
            .map_err(|source| StartError::Status { address: address_of_status, source })?;

        let shared_counters: Arc<dyn Counters + Send + Sync> = Arc::new(counters.clone());
        let shared = Arc::new(Shared {
            plan,
            counters: shared_counters,
            key_sets,
            passwords: Passwords::default(),
            cache: cache.map(|cache| -> Arc<dyn Cache> { cache }),
            concurrency: NodeConcurrency::default(),
            loads: (0..cores).map(|_| AtomicUsize::new(0)).collect(),
        });
        explainer.begin(Arc::clone(&shared));
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        control.spawn(Checks::follow(Arc::clone(&shared.plan), drain.clone()));
        let starting = Starting { shared, metrics, sink, senders, drain: &drain, stop: &stop };
        let threads = starting.threads(receivers)?;
        Ok(Self {
            address,
            sync,
            status,
            counters,
            threads,
            log_writer,
            drain,
            stop,
            drain_time: settings.drain_time,
            _listeners: listeners,
        })
    }

    /// Where calls come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the status endpoints are.
    #[must_use]
    pub fn status_address(&self) -> SocketAddr {
        self.status.address()
    }

    /// Whether it can carry calls.
    #[must_use]
    pub fn readiness(&self) -> Arc<sync::Readiness> {
        self.sync.readiness()
    }

    /// Runs until `shutdown`, then drains: no new connections, calls under way may end within the
    /// drain time, records are written.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.cancelled().await;
        self.sync.readiness().set_draining();
        self.drain.cancel();
        end_threads(self.threads, self.drain_time, &self.stop).await;
        self.counters.give_back().await;
        self.sync.shutdown().await;
        self.status.shutdown().await;
        if let Some(writer) = self.log_writer {
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }
}

/// Waits until the request threads have ended; after the drain time they are told to.
async fn end_threads(threads: Vec<JoinHandle<()>>, drain_time: Duration, stop: &CancellationToken) {
    tracing::info!(drain_time_ms = drain_time.as_millis(), "draining");
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads {
            // A thread that panicked has nothing left to drain.
            let _ = thread.join();
        }
    });
    let mut joined = std::pin::pin!(joined);
    if tokio::time::timeout(drain_time, &mut joined).await.is_err() {
        tracing::warn!("the drain time is over; calls under way are cut off");
        stop.cancel();
        let _ = joined.await;
    }
}

struct Starting<'a> {
    shared: Arc<Shared>,
    metrics: Vec<Arc<CoreMetrics>>,
    sink: Option<Sink>,
    senders: Vec<UnboundedSender<Command>>,
    drain: &'a CancellationToken,
    stop: &'a CancellationToken,
}

impl Starting<'_> {
    fn threads(
        self,
        receivers: Vec<UnboundedReceiver<Command>>,
    ) -> Result<Vec<JoinHandle<()>>, StartError> {
        let mut threads = Vec::with_capacity(receivers.len());
        for ((index, commands), metrics) in (0..).zip(receivers).zip(self.metrics) {
            let start = thread::Start {
                index,
                shared: Arc::clone(&self.shared),
                metrics,
                access_log: AccessLog::new(self.sink.clone()),
                commands,
                threads: self.senders.clone(),
                drain: self.drain.clone(),
                stop: self.stop.clone(),
            };
            threads.push(thread::spawn(start).map_err(StartError::Thread)?);
        }
        Ok(threads)
    }
}

fn open_counters(
    settings: &Settings,
    sync: &SyncHandle,
    control: &Handle,
) -> Result<NodeCounters, AddressError> {
    let Some(address) = &settings.redis else { return Ok(NodeCounters::in_memory()) };
    let (timeout, live_nodes) = (settings.redis_timeout, sync.live_nodes());
    NodeCounters::with_redis(timeout, address.expose(), live_nodes, control)
}

type LogParts = (Option<Sink>, Option<JoinHandle<()>>);

/// Applies resources; listeners follow their gateway.
fn configurator(gateway: Name, listeners: Arc<Mutex<Listeners>>) -> Configurator {
    Configurator::new(
        gateway,
        Box::new(move |gateway, unserved| {
            let mut listeners = listeners.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.follow(gateway, unserved)
        }),
    )
}

fn open_log(setting: &AccessLogSetting) -> Result<LogParts, StartError> {
    let destination = match setting {
        AccessLogSetting::Off => return Ok((None, None)),
        AccessLogSetting::Stdout => Destination::StandardOutput,
        AccessLogSetting::File(path) => Destination::File(path.clone()),
    };
    let (sink, writer) = access_log::start(destination).map_err(StartError::AccessLog)?;
    Ok((Some(sink), Some(writer)))
}

/// Where the facts about a node come from.
struct FactsSource {
    counters: NodeCounters,
    cache: Option<Arc<MemoryCache>>,
    tokens: Tokens,
    names: Names,
    readiness: Arc<sync::Readiness>,
    sink: Option<Sink>,
    plan: Arc<ArcSwap<Plan>>,
}

fn metrics_source(cores: &[Arc<CoreMetrics>], facts: FactsSource) -> admin::MetricsSource {
    let cores = cores.to_vec();
    let started = Instant::now();
    Arc::new(move || {
        let node = metrics::NodeFacts {
            uptime: started.elapsed(),
            resident_bytes: resident_bytes(),
            revision: facts.readiness.revision(),
            is_connected: facts.readiness.is_connected(),
            is_disk_failing: facts.readiness.is_disk_failing(),
            dropped_log_lines: facts.sink.as_ref().map_or(0, Sink::dropped_lines),
            counters: facts.counters.health(),
            cache: facts.cache.as_ref().map(|cache| cache.filling()).unwrap_or_default(),
            tokens: facts.tokens.counts(),
            lookups: facts.names.lookups(),
            live_apis: Some(facts.plan.load().api_numbers().collect()),
        };
        metrics::render(&cores, &node)
    })
}

fn load_source(cores: Vec<Arc<CoreMetrics>>) -> sync::LoadSource {
    Arc::new(move || Load {
        open_connections: metrics::open_connections(&cores),
        requests_total: metrics::requests(&cores),
        resident_bytes: resident_bytes(),
    })
}

/// The memory that the process has in use; 0 where the system does not say.
fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

/// Waits for the signal to stop: SIGTERM or SIGINT.
///
/// # Errors
///
/// Where signals cannot be waited for.
pub async fn signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
