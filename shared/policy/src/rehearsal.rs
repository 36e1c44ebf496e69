//! What the policies of a route would do to a request, found out by running them in a world in which nothing
//! comes of it: see [`crate::chain::Chain::rehearse`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use tollgate_model::Name;
use tollgate_model::credential::KeyHash;
use tollgate_model::secret::SecretText;

use crate::body::Body;
use crate::chain::Owner;
use crate::jose::Remembered;
use crate::policy::{Caller, Cx, Refusal};
use crate::ports::{
    Cache, Call, Calling, Concurrency, Counters, Decision, Enter, Entered, Gate, HttpCall, KeySets,
    Login, Permit, Ports, Proving, Settlement, Take, Taken, Turn,
};
use crate::stored::{Digest, Key, Outcome, Stored, Variants};

/// What one policy does to a request.
#[derive(Debug)]
pub struct Step {
    /// Its name in documents.
    pub policy: &'static str,
    /// Whose it is.
    pub owner: Owner,
    /// What it does.
    pub did: Did,
}

/// What a policy does to a request.
#[derive(Debug)]
pub enum Did {
    /// Lets it on.
    Passed(Box<Changes>),
    /// Turns it away.
    Refused(Box<Refusal>),
    /// Answers it with this status.
    Answered(StatusCode),
    /// What a service says, which is not asked for a rehearsal.
    NotAsked,
    /// Nothing: one before it has turned the request away or answered it.
    NotReached,
}

/// What is different after a policy. Values of fields and queries are not told: they may be secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The application that was found to call, with its credential.
    pub caller: Option<(Name, Name)>,
    /// The path to the upstream.
    pub path: Option<String>,
    /// Whether the query to the upstream is another.
    pub has_other_query: bool,
    /// The host that the upstream is told.
    pub host: Option<HeaderValue>,
    /// The upstream that is chosen in the place of the route's.
    pub upstream: Option<Name>,
    /// The upstreams that get a copy.
    pub mirrors: Vec<Name>,
    /// Fields that are new or have another value.
    pub set: Vec<HeaderName>,
    /// Fields that are gone.
    pub removed: Vec<HeaderName>,
    /// What the cache does.
    pub cache: Option<Outcome>,
}

/// A request before a policy meets it.
pub(crate) struct Before {
    headers: HeaderMap,
    path: String,
    query: Option<String>,
    host: Option<HeaderValue>,
    upstream: Option<Name>,
    mirrors: usize,
    is_known: bool,
}

impl Before {
    pub(crate) fn of(cx: &Cx<'_>, request: &Request<Body>) -> Self {
        let (path, query) = cx.onward.path_and_query(request);
        Self {
            headers: request.headers().clone(),
            path: path.to_owned(),
            query: query.map(ToOwned::to_owned),
            host: cx.onward.host().cloned(),
            upstream: cx.onward.upstream().cloned(),
            mirrors: cx.onward.mirrors().len(),
            is_known: cx.identity.is_some(),
        }
    }

    pub(crate) fn changes(self, cx: &Cx<'_>, request: &Request<Body>) -> Changes {
        let (path, query) = cx.onward.path_and_query(request);
        let (old, new) = (&self.headers, request.headers());
        let is_same = |name: &HeaderName| old.get_all(name).iter().eq(new.get_all(name).iter());
        let caller = cx.identity.as_ref().filter(|_| !self.is_known);
        let (host, upstream) = (cx.onward.host(), cx.onward.upstream());
        let mirrors = cx.onward.mirrors().iter().skip(self.mirrors);
        Changes {
            caller: caller.map(|caller| (caller.application.clone(), caller.credential.clone())),
            path: (path != self.path).then(|| path.to_owned()),
            has_other_query: query != self.query.as_deref(),
            host: host.filter(|host| Some(*host) != self.host.as_ref()).cloned(),
            upstream: upstream.filter(|name| Some(*name) != self.upstream.as_ref()).cloned(),
            mirrors: mirrors.map(|mirror| mirror.upstream.clone()).collect(),
            set: new.keys().filter(|name| !is_same(name)).cloned().collect(),
            removed: old.keys().filter(|name| !new.contains_key(*name)).cloned().collect(),
            cache: cx.cache.outcome,
        }
    }
}

/// A world like another one, but that nothing is counted, stored or let go in it.
pub struct Rehearsal<'a> {
    world: &'a dyn Ports,
    cache: Option<Arc<dyn Cache>>,
}

impl<'a> Rehearsal<'a> {
    /// A rehearsal in this world.
    #[must_use]
    pub fn of(world: &'a dyn Ports) -> Self {
        let cache = world.cache().cloned();
        Self { world, cache: cache.map(|cache| -> Arc<dyn Cache> { Arc::new(ReadOnly(cache)) }) }
    }
}

impl Ports for Rehearsal<'_> {
    fn counters(&self) -> &dyn Counters {
        self
    }

    fn concurrency(&self) -> &dyn Concurrency {
        self
    }

    fn caller_of_key(&self, tenant: &Name, key: &[u8]) -> Option<Arc<Caller>> {
        self.world.caller_of_key(tenant, key)
    }

    fn caller_of_application(&self, tenant: &Name, application: &Name) -> Option<Arc<Caller>> {
        self.world.caller_of_application(tenant, application)
    }

    fn caller_of_login<'a>(&'a self, tenant: &Name, login: Login<'_>) -> Proving<'a> {
        self.world.caller_of_login(tenant, login)
    }

    fn caller_of_proof(&self, tenant: &Name, key: &KeyHash) -> Option<Arc<Caller>> {
        self.world.caller_of_proof(tenant, key)
    }

    fn secret(&self, tenant: &Name, name: &Name) -> Option<&SecretText> {
        self.world.secret(tenant, name)
    }

    fn key_sets(&self) -> &dyn KeySets {
        self.world.key_sets()
    }

    fn remembered(&self) -> &Remembered {
        self.world.remembered()
    }

    fn calls(&self) -> &dyn HttpCall {
        self
    }

    /// Nothing waits: there is no body that could be late.
    fn sleep(&self, _time: Duration) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(std::future::ready(()))
    }

    fn cache(&self) -> Option<&Arc<dyn Cache>> {
        self.cache.as_ref()
    }
}

impl HttpCall for Rehearsal<'_> {
    fn call<'a>(&'a self, _call: Call<'a>) -> Calling<'a> {
        Box::pin(std::future::ready(None))
    }

    fn count_failure(&self) {}
}

impl Counters for Rehearsal<'_> {
    fn take<'a>(&'a self, take: Take<'a>) -> Taken<'a> {
        // What only Redis knows is not asked for: the request is let on.
        let unknown = || Decision {
            is_admitted: true,
            remaining: take.definition.limit,
            reset: take.definition.window.left_at(take.now_unix_micros),
            booked: None,
        };
        Taken::Now(self.look(&take).unwrap_or_else(unknown))
    }

    fn look(&self, take: &Take<'_>) -> Option<Decision> {
        self.world.counters().look(take)
    }

    fn settle(&self, _settlement: &Settlement<'_>) {}
}

/// Lets everyone in, and counts nobody.
struct Open;

impl Gate for Open {
    fn leave(self: Arc<Self>) {}
}

impl Concurrency for Rehearsal<'_> {
    fn enter<'a>(&'a self, _enter: Enter<'_>) -> Entered<'a> {
        Entered::Now(Some(Permit::new(Arc::new(Open))))
    }
}

/// A cache that is only looked into.
struct ReadOnly(Arc<dyn Cache>);

impl Cache for ReadOnly {
    fn lookup(&self, key: &Key) -> Option<Arc<Variants>> {
        self.0.lookup(key)
    }

    fn store(&self, _key: &Key, _response: Stored) {}

    fn invalidate(&self, _target: &Digest) {}

    fn purge(&self, _group: &Digest) {}

    fn turn(&self, _key: &Key, _limit: Duration) -> Turn {
        Turn::Alone
    }

    fn pass(&self, _key: &Key) {}

    fn now_unix_micros(&self) -> u64 {
        self.0.now_unix_micros()
    }
}
