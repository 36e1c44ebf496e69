//! What one request thread has to itself. Nothing in it is shared with another core on the path of
//! a request.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::{ArcSwap, Cache};
use tollgate_policy::jose::Remembered;
use tollgate_policy::ports::{Cache as ResponseCache, Counters};

use crate::access_log::AccessLog;
use crate::connection::Connections;
use crate::metrics::{CoreMetrics, KnownApis};
use crate::plan::Plan;
use crate::ports::concurrency::NodeConcurrency;
use crate::ports::key_sets::NodeKeySets;
use crate::ports::passwords::{Memory, Passwords};
use crate::request_id::RequestIds;
use crate::upstream::Pool;

/// What all request threads of a node have in common.
pub struct Shared {
    /// The newest plan.
    pub plan: Arc<ArcSwap<Plan>>,
    /// Counters of limits.
    pub counters: Arc<dyn Counters + Send + Sync>,
    /// Key sets behind URLs.
    pub key_sets: NodeKeySets,
    /// Where passwords are checked.
    pub passwords: Passwords,
    /// Responses that are kept; none where the node has no memory for them.
    pub cache: Option<Arc<dyn ResponseCache>>,
    /// Requests under way, by limit and subject.
    pub concurrency: NodeConcurrency,
    /// Open connections of each request thread, so that they can be dealt out evenly.
    pub loads: Box<[AtomicUsize]>,
}

/// What one request thread has to itself.
pub struct Core {
    /// Its number, from 0.
    pub index: usize,
    /// In common with the others.
    pub shared: Arc<Shared>,
    /// Connections to upstreams.
    pub pool: Pool,
    /// Connections of clients.
    pub connections: Connections,
    /// What it counted.
    pub metrics: Arc<CoreMetrics>,
    /// Which of its counters are found without asking.
    pub known_apis: KnownApis,
    /// Where its records go.
    pub access_log: AccessLog,
    /// Makes request identifiers.
    pub request_ids: RequestIds,
    /// Tokens that it has verified.
    pub remembered: Remembered,
    /// Which passwords were right and which wrong.
    pub password_memory: RefCell<Memory>,
    plan: RefCell<Cached>,
    /// Requests under way for the cache's sake alone.
    pub refreshes: Cell<usize>,
    /// Copies of requests under way.
    pub mirrors: Cell<usize>,
    /// A moment that is at most one sweep old, for ages that need no more.
    pub coarse_now: Cell<tokio::time::Instant>,
}

struct Cached {
    source: Cache<Arc<ArcSwap<Plan>>, Arc<Plan>>,
    pinned: Pinned,
}

/// One plan for the whole life of a request. Cloning it touches no memory that other cores write.
#[derive(Clone)]
#[expect(
    clippy::redundant_allocation,
    reason = "the inner count is shared by all cores, the outer is not"
)]
pub struct Pinned(Rc<Arc<Plan>>);

impl Deref for Pinned {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0
    }
}

impl Core {
    /// The state of request thread `index`. Made on that thread.
    #[must_use]
    pub fn new(
        index: usize,
        shared: Arc<Shared>,
        metrics: Arc<CoreMetrics>,
        access_log: AccessLog,
    ) -> Self {
        let mut source = Cache::new(Arc::clone(&shared.plan));
        let pinned = Pinned(Rc::new(Arc::clone(source.load())));
        Self {
            index,
            shared,
            pool: Pool::default(),
            connections: Connections::default(),
            metrics,
            known_apis: KnownApis::default(),
            access_log,
            request_ids: RequestIds::new(),
            remembered: Remembered::new(rand::random()),
            password_memory: RefCell::default(),
            plan: RefCell::new(Cached { source, pinned }),
            refreshes: Cell::new(0),
            mirrors: Cell::new(0),
            coarse_now: Cell::new(tokio::time::Instant::now()),
        }
    }

    /// The newest plan.
    pub fn plan(&self) -> Pinned {
        let mut cached = self.plan.borrow_mut();
        let Cached { source, pinned } = &mut *cached;
        let newest = source.load();
        if !Arc::ptr_eq(newest, &pinned.0) {
            *pinned = Pinned(Rc::new(Arc::clone(newest)));
        }
        pinned.clone()
    }
}
