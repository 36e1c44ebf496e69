//! The request half: what is stored, whether it may be used, and who fetches what is missing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, StatusCode, header};

use super::Cache;
use super::answer;
use super::freshness::SECOND;
use super::key::{Present, Sought, host};
use super::select::select;
use super::status::{self, Forwarded};
use crate::body::Body;
use crate::policy::{Cx, Flow, Refusal};
use crate::ports::{Cache as Store, Turn};
use crate::stored::{Lead, Outcome, Stored};

/// A request wakes so often without finding what it waited for; then it goes on alone.
const ROUNDS: u8 = 3;

/// What the response half has to know.
pub enum State {
    /// A request that may be answered from memory, and was not.
    Fetch(Box<Fetch>),
    /// One that changes what it is about.
    Unsafe(Box<Change>),
}

/// A request for a representation, on its way to the origin.
pub struct Fetch {
    pub(super) sought: Sought,
    pub(super) method: Method,
    /// As the client sent them.
    pub(super) headers: HeaderMap,
    /// What is stored and could not be used without asking.
    pub(super) stale: Option<Arc<Stored>>,
    /// Whether the origin is asked if that still holds.
    pub(super) is_validating: bool,
    pub(super) forwarded: Forwarded,
    pub(super) lead: Option<Lead>,
    pub(super) requested_unix_micros: u64,
}

/// A request that changes something.
pub struct Change {
    pub(super) host: String,
    pub(super) target: String,
}

/// Why a request goes on, and what it holds.
struct Need {
    stale: Option<Arc<Stored>>,
    forwarded: Forwarded,
    lead: Option<Lead>,
}

enum Use {
    /// As it is.
    Fresh(Arc<Stored>),
    /// As it is, for the client takes that.
    Stale(Arc<Stored>),
    /// As it is, while it is fetched anew.
    WhileFetched(Arc<Stored>),
    /// Not at once.
    Not(Option<Arc<Stored>>, Forwarded),
}

/// How far a request's search has come.
#[derive(Default)]
struct Search {
    rounds: u8,
    /// Whether another request was waited for.
    has_waited: bool,
    /// Whether nobody is waited for any more.
    is_alone: bool,
    lead: Option<Lead>,
}

enum Look {
    Done(Flow<Option<Box<State>>>),
    /// Another request fetches the same.
    Wait(Pin<Box<dyn Future<Output = bool>>>),
}

impl Cache {
    pub(super) async fn meet_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> Flow<Option<Box<State>>> {
        let mut search = Search::default();
        // What is looked at stays within a look, so that the future of every chain is small.
        loop {
            match self.look(cx, request, &mut search) {
                Look::Done(flow) => return flow,
                Look::Wait(wait) => {
                    let is_done = wait.await;
                    (search.has_waited, search.is_alone) = (is_done, !is_done);
                }
            }
        }
    }

    fn look(&self, cx: &mut Cx<'_>, request: &mut Request<Body>, search: &mut Search) -> Look {
        let refresh = cx.cache.refresh.take();
        let Some(store) = cx.ports.cache() else { return Look::Done(Flow::Next(None)) };
        let is_retrieval = matches!(*request.method(), Method::GET | Method::HEAD);
        let present = Present::of(request.headers());
        // Only what has no body, and nothing that the origin alone can answer.
        let is_plain = matches!(request.body(), Body::Empty) && !present.is_odd;
        if !is_retrieval || !is_plain {
            cx.cache.outcome = Some(Outcome::Bypass);
            return Look::Done(Flow::Next(change_of(request)));
        }
        let sought = self.seek(cx, request, present);
        let now = cx.now_unix_micros;
        if refresh.is_some() {
            let (stale, forwarded) = match find(&**store, &sought, request, now) {
                Use::Fresh(stored) | Use::Stale(stored) | Use::WhileFetched(stored) => {
                    (Some(stored), Forwarded::Stale)
                }
                Use::Not(stale, forwarded) => (stale, forwarded),
            };
            let fetch = fetch(cx, request, sought, Need { stale, forwarded, lead: refresh });
            return Look::Done(Flow::Next(Some(fetch)));
        }
        self.look_up(cx, request, sought, search)
    }

    fn look_up(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
        sought: Sought,
        search: &mut Search,
    ) -> Look {
        let Some(store) = cx.ports.cache() else { return Look::Done(Flow::Next(None)) };
        let (asked, now) = (sought.asked, cx.now_unix_micros);
        loop {
            let (stale, forwarded) = match find(&**store, &sought, request, now) {
                Use::Fresh(stored) => {
                    let hit = if search.has_waited { Outcome::Collapsed } else { Outcome::Hit };
                    return Look::Done(self.use_stored(cx, request, (&stored, hit), &sought));
                }
                Use::Stale(stored) => {
                    return Look::Done(self.use_stored(
                        cx,
                        request,
                        (&stored, Outcome::Stale),
                        &sought,
                    ));
                }
                Use::WhileFetched(stored) => {
                    if let Turn::Lead(lead) = store.turn(&sought.key, self.wait) {
                        cx.cache.refresh = Some(lead);
                    }
                    return Look::Done(self.use_stored(
                        cx,
                        request,
                        (&stored, Outcome::Stale),
                        &sought,
                    ));
                }
                Use::Not(stale, forwarded) => (stale, forwarded),
            };
            if asked.only_if_cached {
                // RFC 9111 §5.2.1.7.
                let detail = "nothing is stored that the request allows to be used";
                let refusal = Refusal::new(StatusCode::GATEWAY_TIMEOUT, "not_cached", detail);
                return Look::Done(refusal.into_flow());
            }
            let is_alone = search.is_alone
                || search.lead.is_some()
                || search.rounds >= ROUNDS
                || !takes_part(request, &sought, stale.as_deref());
            search.rounds += 1;
            match if is_alone { Turn::Alone } else { store.turn(&sought.key, self.wait) } {
                Turn::Wait(wait) => return Look::Wait(wait),
                // Looked at again: another may have stored it between the look and the lead.
                Turn::Lead(given) => search.lead = Some(given),
                Turn::Alone => {
                    let need = Need { stale, forwarded, lead: search.lead.take() };
                    return Look::Done(Flow::Next(Some(fetch(cx, request, sought, need))));
                }
            }
        }
    }

    fn use_stored(
        &self,
        cx: &mut Cx<'_>,
        request: &Request<Body>,
        (stored, outcome): (&Stored, Outcome),
        sought: &Sought,
    ) -> Flow<Option<Box<State>>> {
        cx.cache.outcome = Some(outcome);
        let now = cx.now_unix_micros;
        let conditions = sought.is_conditional.then(|| request.headers());
        let mut response = answer::answer(stored, request.method(), conditions, now);
        if self.tells_status {
            let is_collapsed = outcome == Outcome::Collapsed;
            status::tell_hit(response.headers_mut(), stored, now, is_collapsed);
        }
        Flow::Answer(Box::new(response))
    }
}

/// What is stored for a request, and how it may be used (RFC 9111 §4).
fn find(store: &dyn Store, sought: &Sought, request: &Request<Body>, now: u64) -> Use {
    let asked = &sought.asked;
    let Some(variants) = store.lookup(&sought.key) else {
        return Use::Not(None, Forwarded::UriMiss);
    };
    let is_fit = |stored: &Stored| !sought.is_personal || stored.rules.is_for_all;
    let Some(stored) = select(&variants, request.headers(), is_fit).cloned() else {
        return Use::Not(None, Forwarded::VaryMiss);
    };
    let age = stored.age_micros(now);
    let is_beyond = |limit: Option<u64>| limit.is_some_and(|s| age > s.saturating_mul(SECOND));
    if asked.no_cache || is_beyond(asked.max_age) {
        return Use::Not(Some(stored), Forwarded::Request);
    }
    if stored.rules.must_validate {
        return Use::Not(Some(stored), Forwarded::Stale);
    }
    let Some(staleness) = stored.staleness_micros(now) else {
        let left = stored.rules.lifetime_micros.saturating_sub(age);
        let wanted = asked.min_fresh.unwrap_or(0).saturating_mul(SECOND);
        return if left < wanted {
            Use::Not(Some(stored), Forwarded::Request)
        } else {
            Use::Fresh(stored)
        };
    };
    let taken = asked.max_stale.unwrap_or(0).saturating_mul(SECOND);
    if stored.rules.may_be_stale && asked.max_stale.is_some() && staleness <= taken {
        return Use::Stale(stored);
    }
    let is_free = asked.max_age.is_none() && asked.min_fresh.is_none();
    if is_free && staleness < stored.rules.while_revalidating_micros {
        return Use::WhileFetched(stored);
    }
    Use::Not(Some(stored), Forwarded::Stale)
}

/// Sends a request on, with the question whether what is stored still holds.
fn fetch(cx: &mut Cx<'_>, request: &mut Request<Body>, sought: Sought, need: Need) -> Box<State> {
    let Need { stale, forwarded, lead } = need;
    cx.cache.outcome = Some(Outcome::Miss);
    cx.cache.is_sent_wanted = true;
    let headers = request.headers().clone();
    let is_get = *request.method() == Method::GET;
    let validated = stale.as_ref().filter(|stored| {
        is_get && !sought.asked.no_store && stored.status == StatusCode::OK && has_validator(stored)
    });
    let is_validating = validated.is_some();
    if let Some(stored) = validated {
        answer::ask_whether(&stored.headers, request.headers_mut());
    }
    Box::new(State::Fetch(Box::new(Fetch {
        sought,
        method: request.method().clone(),
        headers,
        stale,
        is_validating,
        forwarded,
        lead,
        requested_unix_micros: cx.now_unix_micros,
    })))
}

/// What an unsafe request changes; none for a safe one (RFC 9110 §9.2.1).
fn change_of(request: &Request<Body>) -> Option<Box<State>> {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];
    if is_safe.contains(request.method()) {
        return None;
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    Some(Box::new(State::Unsafe(Box::new(Change { host: host(request).into_owned(), target }))))
}

/// Whether a request may fetch for others, or wait for another: its answer is the whole representation.
fn takes_part(request: &Request<Body>, sought: &Sought, stale: Option<&Stored>) -> bool {
    let (asked, is_whole) = (&sought.asked, !sought.is_conditional);
    *request.method() == Method::GET
        && !asked.no_store
        && !asked.no_cache
        && (is_whole || stale.is_some_and(has_validator))
}

fn has_validator(stored: &Stored) -> bool {
    stored.headers.contains_key(header::ETAG) || stored.headers.contains_key(header::LAST_MODIFIED)
}
