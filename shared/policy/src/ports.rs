//! The world as traits: what policies need of it, implemented by the data plane and by test doubles.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use tollgate_model::Name;
use tollgate_model::credential::KeyHash;
use tollgate_model::secret::SecretText;

use crate::body::Body;
use crate::jose::{Generation, KeySet, KeySource, Remembered};
use crate::limit::Definition;
use crate::policy::{Caller, Client};
use crate::stored::{Digest, Key, Lead, Stored, Variants};

/// Everything that a policy may reach.
pub trait Ports {
    /// Counters of limits.
    fn counters(&self) -> &dyn Counters;

    /// Requests under way.
    fn concurrency(&self) -> &dyn Concurrency;

    /// The caller that an API key belongs to, among the callers of `tenant`; none where nobody has
    /// that key. Whether the caller is switched off or expired is the policy's to judge.
    fn caller_of_key(&self, tenant: &Name, key: &[u8]) -> Option<Arc<Caller>>;

    /// An application of `tenant` that something other than a key has named; none where there is no
    /// such application. Whether it is switched off is the policy's to judge.
    fn caller_of_application(&self, tenant: &Name, application: &Name) -> Option<Arc<Caller>>;

    /// Finds out whether a username and a password belong together, among the callers of `tenant`.
    /// Whether the caller is switched off or expired is the policy's to judge.
    fn caller_of_login<'a>(&'a self, tenant: &Name, login: Login<'_>) -> Proving<'a>;

    /// The caller that something proven or to be proven belongs to, such as a client's certificate or the id of
    /// a key, among the callers of `tenant`; see [`tollgate_model::credential::Credential::lookup_key`].
    fn caller_of_proof(&self, tenant: &Name, key: &KeyHash) -> Option<Arc<Caller>>;

    /// The value of a tenant's secret.
    fn secret(&self, tenant: &Name, name: &Name) -> Option<&SecretText>;

    /// Sets of keys that are elsewhere.
    fn key_sets(&self) -> &dyn KeySets;

    /// Tokens that this request thread has verified.
    fn remembered(&self) -> &Remembered;

    /// Calls of policies' own.
    fn calls(&self) -> &dyn HttpCall;

    /// Ends after a while: a bound on what a policy itself waits for.
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()>>>;

    /// Responses that are kept; none where the node keeps none.
    fn cache(&self) -> Option<&Arc<dyn Cache>> {
        None
    }

    /// The same body, for a policy that waits for its end: it ends with [`TooSlow`](crate::body::TooSlow)
    /// where its next piece does not come within the node's bounds. What is streamed needs no such
    /// thing: its waits are bounded where it goes.
    fn in_time(&self, body: Body) -> Body {
        body
    }
}

/// Sets of keys behind URLs, kept and renewed off the path of requests.
pub trait KeySets {
    /// Which keys of a source are held; none while there are none.
    fn generation(&self, source: &KeySource) -> Option<Generation>;

    /// The keys of a source; none where they cannot be had within the source's `wait`.
    fn keys<'a>(&'a self, source: &'a KeySource) -> FoundKeys<'a>;

    /// The keys of a source after it was asked whether there are newer ones than these, if it may
    /// be asked again already.
    fn keys_after<'a>(&'a self, source: &'a KeySource, known: Generation) -> FoundKeys<'a>;
}

/// An answer, at once where the keys are held.
pub enum FoundKeys<'a> {
    /// The common case.
    Now(Option<Arc<KeySet>>),
    /// They are being fetched; bounded by the source's `wait`.
    Wait(Pin<Box<dyn Future<Output = Option<Arc<KeySet>>> + 'a>>),
}

/// What a caller says of himself.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// Who he says that he is.
    pub username: &'a str,
    /// What proves it.
    pub password: &'a str,
}

/// An answer, at once where this thread knows it already.
pub enum Proving<'a> {
    /// The common case.
    Now(Proof),
    /// It has to be worked out; bounded by the port's own deadline.
    Wait(Pin<Box<dyn Future<Output = Proof> + 'a>>),
}

/// Whether a password is right.
pub enum Proof {
    /// It is this caller's.
    Caller(Arc<Caller>),
    /// Nobody has that username, or it has another password.
    Wrong,
    /// It was not worked out: too many others wait.
    Unavailable,
}

/// Calls to upstreams that are not the client's: over the connections that the request's thread has
/// anyway, with the balancing, the health, the TLS and the bounds of the upstream.
pub trait HttpCall {
    /// Sends a request; there is no answer where there is no such upstream, where none of its servers
    /// can be reached, and where none answers in time.
    fn call<'a>(&'a self, call: Call<'a>) -> Calling<'a>;

    /// Counts a call that had no answer, or one that was of no use.
    fn count_failure(&self);
}

/// A request of a policy's own.
pub struct Call<'a> {
    /// Whose upstream it goes to.
    pub tenant: &'a Name,
    /// The upstream's name.
    pub upstream: &'a Name,
    /// Whose request it is about, for upstreams that choose a server by that.
    pub client: &'a Client,
    /// In origin form. Its `host` is told to upstreams that keep the client's; others have their own.
    pub request: Request<Bytes>,
    /// From now to the last byte of the answer, beside the upstream's own bounds.
    pub timeout: Duration,
    /// The largest body that is read of the answer.
    pub most_bytes: usize,
}

/// What a policy's own request was answered with.
#[derive(Clone, Debug, Default)]
pub struct CallAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without those of one hop.
    pub headers: HeaderMap,
    /// Its whole body; none where that is too large, breaks off or takes too long.
    pub body: Option<Bytes>,
    /// The fields behind its body.
    pub trailers: HeaderMap,
}

/// An answer, in the caller's own time.
pub type Calling<'a> = Pin<Box<dyn Future<Output = Option<CallAnswer>> + 'a>>;

/// Responses that are kept, by all request threads of a node.
pub trait Cache: Send + Sync {
    /// What is stored under a key.
    fn lookup(&self, key: &Key) -> Option<Arc<Variants>>;

    /// Stores a response, unless its target was invalidated after it was asked for.
    fn store(&self, key: &Key, response: Stored);

    /// Lets everything of a target go, for whomever it is kept.
    fn invalidate(&self, target: &Digest);

    /// Lets everything of a group go; see [`Stored::groups`].
    fn purge(&self, group: &Digest);

    /// Who fetches what a key lacks. A wait lasts for `limit` at most.
    fn turn(&self, key: &Key, limit: Duration) -> Turn;

    /// What a key answers cannot be stored: for a while nobody waits for it.
    fn pass(&self, key: &Key);

    /// Microseconds since 1970-01-01.
    fn now_unix_micros(&self) -> u64;
}

/// Whose turn it is to ask the origin.
pub enum Turn {
    /// The caller's; the others wait until the lead is dropped.
    Lead(Lead),
    /// Another's. True once that one is done, false where it takes too long.
    Wait(Pin<Box<dyn Future<Output = bool>>>),
    /// Everybody's: there is nothing to wait for.
    Alone,
}

/// Counters of limits, of this node or of the whole cluster.
pub trait Counters {
    /// Takes permits from a limit for a subject, all or none of them.
    fn take<'a>(&'a self, take: Take<'a>) -> Taken<'a>;

    /// What [`Counters::take`] would answer, while nothing is taken; none where that is not known here.
    fn look(&self, take: &Take<'_>) -> Option<Decision>;

    /// Puts right what a call has taken, once, when it is known what it did cost. It counts for the moment at which it
    /// was taken, whatever the limit; where that has left the window, what is charged counts for now. Never waits;
    /// what cannot reach the shared counters lapses.
    fn settle(&self, settlement: &Settlement<'_>);
}

/// Permits that were taken, and what they should have been.
#[derive(Clone, Copy, Debug)]
pub struct Settlement<'a> {
    /// As it was asked for.
    pub take: Take<'a>,
    /// Where it was counted.
    pub booked: Booked,
    /// What the call did cost; also 0.
    pub cost: u64,
}

impl Settlement<'_> {
    /// What is to be given back, and what is to be charged; one of them is 0.
    #[must_use]
    pub fn differences(&self) -> (u64, u64) {
        let taken = self.take.cost;
        (taken.saturating_sub(self.cost), self.cost.saturating_sub(taken))
    }
}

/// Where permits are counted that were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booked {
    /// The slot of the window.
    pub slot: u64,
    /// Whether in the counters that nodes share.
    pub is_shared: bool,
}

/// A request for permits.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    /// The limit.
    pub definition: &'a Definition,
    /// Whose API is called. A limit of the gateway serves many tenants, and their counters never meet.
    pub tenant: &'a Name,
    /// Whom it is counted for, such as an application's name; unique within definition and tenant.
    pub subject: &'a str,
    /// How many permits, at least 1.
    pub cost: u64,
    /// Microseconds since 1970-01-01.
    pub now_unix_micros: u64,
}

/// An answer, at once where it can be had without leaving the node.
pub enum Taken<'a> {
    /// The common case.
    Now(Decision),
    /// The counter is elsewhere; bounded by the store's own deadline.
    Wait(Pin<Box<dyn Future<Output = Decision> + 'a>>),
}

/// Whether permits were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether all that were asked for were given.
    pub is_admitted: bool,
    /// What is left, as far as this node knows.
    pub remaining: u64,
    /// Until some permits come back; for a refusal, until asking again can help.
    pub reset: Duration,
    /// Where what was given is counted; none where nothing was, or nobody counts.
    pub booked: Option<Booked>,
}

/// Requests under way on this node.
pub trait Concurrency {
    /// Lets a request in while fewer than the limit are under way for its subject.
    fn enter<'a>(&'a self, enter: Enter<'_>) -> Entered<'a>;
}

/// A request for a place among those under way.
#[derive(Clone, Copy, Debug)]
pub struct Enter<'a> {
    /// The limit's stable name.
    pub id: &'a str,
    /// Whose API is called. A limit of the gateway serves many tenants, and they never meet.
    pub tenant: &'a Name,
    /// Whom it is counted for; unique within limit and tenant.
    pub subject: &'a str,
    /// How many may be under way, at least 1.
    pub limit: u32,
    /// Where it may wait; none where it is let in at once or not at all.
    pub queue: Option<Queue>,
}

/// How requests wait for a place.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// How many of one subject.
    pub length: u32,
    /// How long each of them.
    pub timeout: Duration,
}

/// An answer, at once where nobody has to wait; no permit where there is no place.
pub enum Entered<'a> {
    /// The common case.
    Now(Option<Permit>),
    /// There may be a place in time; bounded by the queue's timeout.
    Later(Pin<Box<dyn Future<Output = Option<Permit>> + 'a>>),
}

/// A place among the requests under way. Dropping it gives it back, whatever became of the request.
pub struct Permit(Option<Arc<dyn Gate>>);

/// Where a [`Permit`] comes from.
pub trait Gate: Send + Sync {
    /// Takes the place back.
    fn leave(self: Arc<Self>);
}

impl Permit {
    /// A place that `gate` has counted.
    #[must_use]
    pub fn new(gate: Arc<dyn Gate>) -> Self {
        Self(Some(gate))
    }

    /// Ends without giving back, for a place that was never counted.
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.leave();
        }
    }
}
