//! Key sets behind URLs: fetched on the control runtime, kept here, renewed before they are stale.
//!
//! A request reads what is held and takes no lock. It waits only where nothing is held yet, or where a key
//! is not known and the provider may be asked again; all who wait share one fetch.

mod fetch;
mod held;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tollgate_policy::chain::Chain;
use tollgate_policy::jose::{Generation, KeySource};
use tollgate_policy::ports::{FoundKeys, KeySets};

use self::fetch::Fetcher;
use self::held::Held;

/// The most sets that a node holds.
const MAX_SETS: usize = 1024;
/// After how long without a request a set is given up.
const IDLE_LIMIT: Duration = Duration::from_secs(86_400);
/// How long it takes at most until a provider that is away is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The key sets of one node. A clone shares them.
#[derive(Clone)]
pub struct NodeKeySets(Arc<Inner>);

struct Inner {
    sets: ArcSwap<Sets>,
    tasks: Mutex<HashMap<u128, AbortHandle>>,
    fetcher: Arc<Fetcher>,
    control: Handle,
    started: Instant,
}

type Sets = HashMap<u128, Arc<Held>, RandomState>;

impl NodeKeySets {
    /// Holds nothing yet. What is fetched is fetched on `control`.
    #[must_use]
    pub fn new(control: Handle) -> Self {
        Self::with(Fetcher::default(), control)
    }

    fn with(fetcher: Fetcher, control: Handle) -> Self {
        Self(Arc::new(Inner {
            sets: ArcSwap::default(),
            tasks: Mutex::default(),
            fetcher: Arc::new(fetcher),
            control,
            started: Instant::now(),
        }))
    }

    /// Begins to fetch the keys that the policies of a chain need, where they are not held already.
    pub fn prepare_for(&self, chain: &Chain) {
        for source in chain.policies().iter().filter_map(|policy| policy.key_source()) {
            self.held(source);
        }
    }

    fn held(&self, source: &KeySource) -> Option<Arc<Held>> {
        match self.0.sets.load().get(&source.id()) {
            Some(held) => Some(Arc::clone(held)),
            None => self.0.begin(source),
        }
    }
}

impl KeySets for NodeKeySets {
    fn generation(&self, source: &KeySource) -> Option<Generation> {
        let sets = self.0.sets.load();
        let held = sets.get(&source.id())?;
        held.note_wanted(self.0.started.elapsed());
        held.generation()
    }

    fn keys<'a>(&'a self, source: &'a KeySource) -> FoundKeys<'a> {
        match self.held(source) {
            None => FoundKeys::Now(None),
            Some(held) => held.keys(source.wait),
        }
    }

    fn keys_after<'a>(&'a self, source: &'a KeySource, known: Generation) -> FoundKeys<'a> {
        match self.held(source) {
            None => FoundKeys::Now(None),
            Some(held) => held.keys_after(known, self.0.started.elapsed(), source.wait),
        }
    }
}

impl Inner {
    /// None where there are too many already.
    fn begin(self: &Arc<Self>, source: &KeySource) -> Option<Arc<Held>> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = self.sets.load_full();
        if let Some(held) = sets.get(&source.id()) {
            return Some(Arc::clone(held));
        }
        if sets.len() >= MAX_SETS {
            tracing::warn!(limit = MAX_SETS, "too many key sets; one is not fetched");
            return None;
        }
        let held = Arc::new(Held::new(source.clone(), self.started.elapsed()));
        let mut sets = Sets::clone(&sets);
        sets.insert(source.id(), Arc::clone(&held));
        self.sets.store(Arc::new(sets));
        let keeping = keep(Arc::downgrade(self), Arc::clone(&self.fetcher), Arc::clone(&held));
        tasks.insert(source.id(), self.control.spawn(keeping).abort_handle());
        Some(held)
    }

    fn give_up(&self, id: u128) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.remove(&id);
        let mut sets = Sets::clone(&self.sets.load_full());
        sets.remove(&id);
        self.sets.store(Arc::new(sets));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        for task in tasks.values() {
            task.abort();
        }
    }
}

/// Keeps one set fresh for as long as it is asked for.
async fn keep(inner: Weak<Inner>, fetcher: Arc<Fetcher>, held: Arc<Held>) {
    let mut failures: u32 = 0;
    loop {
        let pause = renew(&fetcher, &held, &mut failures).await;
        held.end_round();
        tokio::select! {
            () = sleep(pause) => {}
            () = held.renewal() => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        if held.idle_for(inner.started.elapsed()) > IDLE_LIMIT {
            return inner.give_up(held.source.id());
        }
    }
}

/// Fetches a set once; returns after how long that is to be done again.
async fn renew(fetcher: &Fetcher, held: &Held, failures: &mut u32) -> Duration {
    match fetcher.fetch(&held.source).await {
        Ok(fetched) => {
            if std::mem::take(failures) > 0 {
                tracing::info!(url = held.source.shown(), "keys can be fetched again");
            }
            held.replace(fetched.set);
            // Before they are stale, so that no request waits for the next ones.
            fetched.fresh_for.mul_f64(0.8)
        }
        Err(error) => {
            if *failures == 0 {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(url = held.source.shown(), error, "fetch keys");
            }
            *failures = failures.saturating_add(1);
            Duration::from_secs(1 << (*failures).min(6)).min(LONGEST_PAUSE)
        }
    }
}

#[cfg(test)]
mod tests;
