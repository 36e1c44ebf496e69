//! How a configuration arrives: from the node's own disk first, so that it serves at once, then
//! from a control plane, for as long as the node runs.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_proto::v1;

use crate::explain::Explainer;
use crate::plan::{Configurator, Update};
use crate::ports::cache::MemoryCache;
use crate::settings::{KeyFileError, Settings};

// How long to wait before the next attempt.
mod backoff;
// The stream from the control plane.
mod client;
// Keeps the configuration on disk, behind what the node runs.
mod disk;
// How a node gets its certificate.
mod enrol;
// What the node holds.
mod holding;
// What a control plane's messages do.
mod intake;
// The last good configuration on disk.
mod last_good;
// A long content as sealed frames.
mod pieces;
// What leaves the cache of responses.
mod purger;
// What can be said of the configuration at any time.
mod readiness;
// How files are sealed.
mod seal;
// TLS to the control plane.
mod tls;

pub use enrol::{EnrolError, MustJoin};
pub use readiness::Readiness;

use client::{Asked, Client};
use disk::{DiskQueue, DiskWriter};
use enrol::Enrolment;
use holding::Holding;
use intake::Intake;
use last_good::{Found, LastGood};
use purger::Purger;
use seal::CacheKey;

/// What is left to be written or said when the node stops may take this long.
const STOP_TIME: Duration = Duration::from_secs(5);

/// How much a node has to do, for its heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections of clients that are open.
    pub open_connections: u64,
    /// Requests since the start.
    pub requests_total: u64,
    /// Memory of the process.
    pub resident_bytes: u64,
}

/// Asked for every heartbeat; must not wait.
pub type LoadSource = Arc<dyn Fn() -> Load + Send + Sync>;

/// What a control plane asks a node for beside its configuration.
pub struct Sources {
    /// What is purged; none where the node keeps no responses.
    pub cache: Option<Arc<MemoryCache>>,
    /// What heartbeats say.
    pub load: LoadSource,
    /// What would become of a request.
    pub explainer: Explainer,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It can have no certificate, and nothing to serve without one.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// It has nobody to ask, and nothing to serve.
    #[error(
        "the node has no control plane and no configuration in `{data}`; give --control-plane https://HOST:9081"
    )]
    NoSource {
        /// Its data folder.
        data: String,
    },
    /// The key that was given is not fit to use.
    #[error("open the key that the configuration on disk is sealed with")]
    Key(#[from] KeyFileError),
}

/// The receiver of the configuration, while it runs.
pub struct SyncHandle {
    readiness: Arc<Readiness>,
    live_nodes: Arc<AtomicU32>,
    holding: Arc<Mutex<Holding>>,
    client: TaskTracker,
    stop_client: CancellationToken,
    disk: TaskTracker,
    stop_disk: CancellationToken,
}

/// What a node holds, in words: no specification, no secret.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// The store that it is from; 0: nothing is held.
    pub epoch: u64,
    /// The revision.
    pub revision: u64,
    /// The digest of all resources.
    pub digest: [u8; 32],
    /// Every resource with its version, in no order.
    pub resources: Vec<(v1::ResourceId, u64)>,
    /// What the node cannot run, and why.
    pub rejections: Vec<v1::Rejection>,
}

/// Takes over what is on disk, then keeps up with the control planes in the background.
///
/// When it returns, the configuration on disk, if there is one, is live. Reads the disk: it blocks
/// for some 100 ms with a large configuration. The tasks run on `runtime`, which should not be one
/// that carries calls.
///
/// # Errors
///
/// The node can neither serve nor join: what is missing is named.
pub fn start(
    settings: &Settings,
    configurator: Configurator,
    sources: Sources,
    runtime: &Handle,
) -> Result<SyncHandle, StartError> {
    let readiness = Arc::new(Readiness::new());
    let live_nodes = Arc::new(AtomicU32::new(1));
    let queue = Arc::new(DiskQueue::default());
    let Sources { cache, load, explainer } = sources;
    let purger = Purger::new(cache, configurator.plan());
    let mut holding = Holding::new(configurator);
    let files = open_files(settings)?;
    let found = files.as_ref().and_then(LastGood::load);
    let mut position = None;
    if let Some(found) = found {
        position = Some(found.position);
        if !found.is_newest {
            queue.put_whole();
        }
        take_found(found, &mut holding, &readiness);
    }
    let is_bare = !readiness.is_complete();
    let enrolment = open_enrolment(settings, is_bare)?;
    let holding = Arc::new(Mutex::new(holding));
    let handle = SyncHandle {
        readiness: Arc::clone(&readiness),
        live_nodes: Arc::clone(&live_nodes),
        holding: Arc::clone(&holding),
        client: TaskTracker::new(),
        stop_client: CancellationToken::new(),
        disk: TaskTracker::new(),
        stop_disk: CancellationToken::new(),
    };
    match files {
        Some(files) => {
            let writer = DiskWriter::new(files, position, Arc::clone(&holding));
            let run =
                writer.run(Arc::clone(&queue), Arc::clone(&readiness), handle.stop_disk.clone());
            handle.disk.spawn_on(run, runtime);
        }
        None => readiness.set_disk_failing(true),
    }
    if let Some(enrolment) = enrolment {
        let intake = Intake::new(holding, queue, Arc::clone(&readiness), live_nodes, purger);
        let asked = Asked { load, explainer };
        let client = Client::new(settings, enrolment, intake, readiness, asked);
        handle.client.spawn_on(client.run(handle.stop_client.clone()), runtime);
    }
    Ok(handle)
}

impl SyncHandle {
    /// Whether the node can carry calls, and how it stands with its control plane.
    #[must_use]
    pub fn readiness(&self) -> Arc<Readiness> {
        Arc::clone(&self.readiness)
    }

    /// How many nodes share the limits of the cluster; at least 1, and 1 until it is known.
    #[must_use]
    pub fn live_nodes(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.live_nodes)
    }

    /// What is held, in words, whenever it is asked. Its cost follows the number of resources, and no
    /// change is applied meanwhile: not for a thread that carries calls.
    #[must_use]
    pub fn overview(&self) -> Arc<dyn Fn() -> Overview + Send + Sync> {
        let holding = Arc::clone(&self.holding);
        Arc::new(move || {
            let holding = holding.lock().unwrap_or_else(PoisonError::into_inner);
            let resources = holding.configurator().resources();
            Overview {
                epoch: holding.epoch(),
                revision: holding.revision(),
                digest: *holding.digest().as_bytes(),
                resources: resources
                    .map(|resource| (tollgate_model::wire::id_of(resource), resource.version))
                    .collect(),
                rejections: holding.configurator().rejections(),
            }
        })
    }

    /// Ends the stream, then writes what is still to be written; takes 5 seconds at most.
    pub async fn shutdown(self) {
        let stopped = async {
            self.stop_client.cancel();
            self.client.close();
            self.client.wait().await;
            // Only now is there nothing more to be written.
            self.stop_disk.cancel();
            self.disk.close();
            self.disk.wait().await;
        };
        if timeout(STOP_TIME, stopped).await.is_err() {
            tracing::warn!("the disk is too slow: the newest configuration may not be kept on it");
        }
    }
}

/// None where the folder gives no key: the node runs without a copy on disk.
fn open_files(settings: &Settings) -> Result<Option<LastGood>, KeyFileError> {
    match CacheKey::open(settings) {
        Ok(key) => Ok(Some(LastGood::new(&settings.data, key))),
        // What an operator gave must be right; what the node makes for itself may fail.
        Err(error) if settings.given_master_key().is_err() => Err(error),
        Err(error) => {
            let problem = described(&error);
            tracing::warn!(problem, "the configuration is not kept on disk; serving on");
            Ok(None)
        }
    }
}

fn take_found(found: Found, holding: &mut Holding, readiness: &Readiness) {
    let began = Instant::now();
    let saved = found.saved;
    let resources = saved.resources.len();
    let update = Update {
        is_whole: true,
        revision: saved.revision,
        upserts: saved.resources,
        removals: Vec::new(),
        committed_unix_micros: 0,
    };
    holding.take_whole(saved.epoch, &saved.credential_key, update);
    if holding.digest() != saved.digest {
        tracing::warn!(
            "the configuration on disk is not what its digest says; the control plane will mend it"
        );
    }
    readiness.set_from_disk();
    readiness.set_held(saved.revision);
    let duration_ms = began.elapsed().as_millis();
    tracing::info!(
        revision = saved.revision,
        resources,
        duration_ms,
        "the configuration on disk is live"
    );
}

/// None where there is no control plane to connect to.
fn open_enrolment(settings: &Settings, is_bare: bool) -> Result<Option<Enrolment>, StartError> {
    if settings.control_plane.is_empty() {
        if is_bare {
            return Err(StartError::NoSource { data: settings.data.display().to_string() });
        }
        tracing::warn!("no control plane is set: the configuration on disk is all there will be");
        return Ok(None);
    }
    let enrolment = Enrolment::open(settings)?;
    match enrolment.check() {
        Err(error) if is_bare => return Err(error.into()),
        Err(error) => {
            tracing::error!(error = %error, "the node cannot connect; it serves from disk");
        }
        Ok(()) => {}
    }
    Ok(Some(enrolment))
}

/// An error with its causes, for the log and the status.
fn described(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            // Writing to a string does not fail.
            let _written = write!(text, ": {said}");
        }
        source = cause.source();
    }
    text
}
