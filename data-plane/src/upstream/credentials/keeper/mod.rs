//! One token: fetched when the first call needs it, renewed in the background before it expires, and fetched anew when
//! an endpoint does not take it.
//!
//! One task fetches, so that there is one fetch at a time, however many calls wait for it. A call reads what is held
//! and takes no lock.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Field;
use super::grant::{Fetched, TokenError};

/// A share of a token's life, after which it is renewed; another one each time, so that nodes do not ask at once.
const RENEWED_AFTER: std::ops::RangeInclusive<f64> = 0.75..=0.85;
/// How often at most the server is asked for the reason that an endpoint does not take a token.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How often at most it is asked at all.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// How long a failing server is left alone at most.
const MOST_PAUSE: Duration = Duration::from_secs(60);

/// Fetches a token once.
pub(super) type Fetch = Box<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<Fetched, TokenError>> + Send>> + Send + Sync,
>;

/// Keeps a token until it is dropped.
pub(super) struct Keeper {
    held: Arc<Held>,
    task: AbortHandle,
}

struct Held {
    state: ArcSwap<State>,
    /// How many fetches have ended.
    rounds: watch::Sender<u64>,
    wake: Notify,
    /// Whether a call needed it since the last fetch began.
    is_wanted: AtomicBool,
    /// The number of the token that an endpoint did not take.
    refused: AtomicU64,
}

struct State {
    token: Option<Token>,
    /// Until then nothing is fetched.
    not_before: Instant,
    /// Until then nothing is fetched because a token is not taken.
    refusable_from: Instant,
}

#[derive(Clone)]
struct Token {
    field: Arc<Field>,
    renewed_from: Instant,
    expires: Instant,
}

/// When the next fetch is.
enum Next {
    Now,
    At(Instant),
    /// When a call asks for it.
    Asked,
}

impl Keeper {
    /// Fetches nothing until a call needs it. `upstream` is its name for people.
    pub(super) fn begin(fetch: Fetch, upstream: &str, control: &Handle) -> Self {
        let now = Instant::now();
        let state = State { token: None, not_before: now, refusable_from: now };
        let held = Arc::new(Held {
            state: ArcSwap::from_pointee(state),
            rounds: watch::Sender::new(0),
            wake: Notify::new(),
            is_wanted: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        });
        let task = control.spawn(keep(Arc::clone(&held), fetch, upstream.into())).abort_handle();
        Self { held, task }
    }

    /// Uses the token that is held; none where there is none that is good.
    pub(super) fn with_current<T>(&self, f: impl FnOnce(&Arc<Field>) -> T) -> Option<T> {
        // Before the wake: who is woken looks at it.
        self.held.want();
        let state = self.held.state.load();
        let now = Instant::now();
        let token = state.token.as_ref().filter(|token| now < token.expires)?;
        if now >= token.renewed_from && now >= state.not_before {
            self.held.wake.notify_one();
        }
        Some(f(&token.field))
    }

    /// Waits for the end of the fetch that is under way, or of one that is begun for it; at once none where that is
    /// not to be begun yet.
    pub(super) async fn wait(&self, limit: Instant) -> Option<Arc<Field>> {
        // Before the look at what is held, so that no end is missed.
        let mut rounds = self.held.rounds.subscribe();
        let ended = *rounds.borrow_and_update();
        if let Some(field) = self.with_current(Arc::clone) {
            return Some(field);
        }
        if Instant::now() < self.held.state.load().not_before {
            return None;
        }
        self.held.wake.notify_one();
        // Too late or gone is the same to who asks.
        drop(timeout_at(limit, rounds.wait_for(|count| *count > ended)).await);
        // It has asked for this one, and need not ask for the next.
        let state = self.held.state.load();
        let token = state.token.as_ref().filter(|token| Instant::now() < token.expires);
        token.map(|token| Arc::clone(&token.field))
    }

    /// Takes in that an endpoint did not take a token: where it is the one that is held, another one is fetched, unless
    /// that has just been done for this reason.
    pub(super) fn refused(&self, number: u64) {
        let state = self.held.state.load();
        let Some(token) = &state.token else { return };
        if token.field.number() == number && Instant::now() >= state.refusable_from {
            self.held.refused.store(number, Ordering::SeqCst);
            self.held.wake.notify_one();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Held {
    /// Notes that a call needs it; written once a fetch, so that cores do not contend for it.
    fn want(&self) {
        if !self.is_wanted.load(Ordering::SeqCst) {
            self.is_wanted.store(true, Ordering::SeqCst);
        }
    }

    /// Ends when a token is to be fetched.
    async fn due(&self) {
        loop {
            match self.next() {
                Next::Now => return,
                Next::At(moment) => tokio::select! {
                    () = sleep_until(moment) => {}
                    () = self.wake.notified() => {}
                },
                Next::Asked => self.wake.notified().await,
            }
        }
    }

    fn next(&self) -> Next {
        let state = self.state.load();
        let now = Instant::now();
        if now < state.not_before {
            return Next::At(state.not_before);
        }
        match &state.token {
            Some(token) if now < token.renewed_from && !self.is_refused(token) => {
                Next::At(token.renewed_from)
            }
            _ if self.is_wanted.load(Ordering::SeqCst) => Next::Now,
            _ => Next::Asked,
        }
    }

    fn is_refused(&self, token: &Token) -> bool {
        token.field.number() == self.refused.load(Ordering::SeqCst)
    }

    /// Begins a fetch.
    fn begin(&self) {
        self.is_wanted.store(false, Ordering::SeqCst);
        let State { token, not_before, refusable_from } = &**self.state.load();
        if token.as_ref().is_some_and(|token| self.is_refused(token)) {
            let refusable_from = (*refusable_from).max(Instant::now() + REFUSED_AGAIN_AFTER);
            self.set(token.clone(), *not_before, refusable_from);
        }
    }

    /// Takes in a token.
    fn replace(&self, Fetched { field, good_for }: Fetched) {
        let now = Instant::now();
        let token = Token {
            field: Arc::new(field),
            renewed_from: now + good_for.mul_f64(rand::random_range(RENEWED_AFTER)),
            expires: now + good_for,
        };
        self.set(Some(token), now + LEAST_PAUSE, self.state.load().refusable_from);
    }

    /// Leaves the server alone for a while. What is held stays good.
    fn pause(&self, pause: Duration) {
        let state = self.state.load_full();
        self.set(state.token.clone(), Instant::now() + pause, state.refusable_from);
    }

    fn set(&self, token: Option<Token>, not_before: Instant, refusable_from: Instant) {
        self.state.store(Arc::new(State { token, not_before, refusable_from }));
    }
}

async fn keep(held: Arc<Held>, fetch: Fetch, upstream: Box<str>) {
    let mut failures: u32 = 0;
    loop {
        held.due().await;
        held.begin();
        match fetch().await {
            Ok(fetched) => {
                if std::mem::take(&mut failures) > 0 {
                    tracing::info!(?upstream, "tokens can be fetched again");
                }
                held.replace(fetched);
            }
            Err(error) => {
                if failures == 0 {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(?upstream, error, "fetch a token");
                }
                held.pause(pause_after(failures));
                failures = failures.saturating_add(1);
            }
        }
        // After the state: who finds the round ended finds what came of it.
        held.rounds.send_modify(|ended| *ended += 1);
    }
}

/// Twice as long after each failure, and never the same for all nodes.
fn pause_after(failures_before: u32) -> Duration {
    let pause = LEAST_PAUSE * (1 << failures_before.min(6));
    pause.min(MOST_PAUSE).mul_f64(rand::random_range(1.0..=1.25))
}

#[cfg(test)]
mod tests;
