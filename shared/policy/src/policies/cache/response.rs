//! The response half: what is stored, updated, let go, or used in a failed answer's place.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};

use super::Cache;
use super::answer::{self, updated};
use super::control::Control;
use super::freshness::{self, Came, SECOND, as_date};
use super::key::target_digest;
use super::request::{Change, Fetch, State};
use super::select::{select, selecting};
use super::status;
use super::tags;
use super::tee::{self, Shelf};
use crate::body::Body;
use crate::policy::Cx;
use crate::stored::{Outcome, Stored};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Cache {
    pub(super) fn meet_response(
        &self,
        state: State,
        cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) {
        match state {
            State::Unsafe(change) => invalidate(&change, cx, response),
            State::Fetch(fetch) if fetch.method == Method::HEAD => {
                self.learn_from_head(&fetch, cx, response);
                self.tell_forwarded(&fetch, response, None, false);
            }
            State::Fetch(fetch) => self.receive(*fetch, cx, response),
        }
        if !self.forwards_tags {
            tags::take_off(response.headers_mut());
        }
    }

    fn receive(&self, mut fetch: Fetch, cx: &mut Cx<'_>, response: &mut Response<Body>) {
        let Some(store) = cx.ports.cache() else { return };
        let (status, now) = (response.status(), store.now_unix_micros());
        if fetch.is_validating
            && status == StatusCode::NOT_MODIFIED
            && let Some(stored) = self.refreshed(&fetch, cx, response.headers(), now)
        {
            cx.cache.outcome = Some(Outcome::Revalidated);
            self.answer_with(&stored.0, &fetch, now, response);
            if stored.1 {
                store.store(&fetch.sought.key, stored.0);
            } else {
                store.invalidate(&fetch.sought.key.target);
            }
            return;
        }
        if let Some(stale) = fetch
            .stale
            .take_if(|stale| is_error(status) && may_excuse(stale, &fetch.sought.asked, now))
        {
            cx.cache.outcome = Some(Outcome::Stale);
            self.answer_with(&stale, &fetch, now, response);
            return;
        }
        let shelved =
            if fetch.sought.asked.no_store { None } else { self.shelve(&fetch, cx, response, now) };
        let answered = fetch.is_validating.then_some(status);
        self.tell_forwarded(&fetch, response, answered, shelved.is_some());
        match shelved {
            Some(stored) => {
                let shelf = Shelf {
                    cache: store.clone(),
                    key: fetch.sought.key,
                    response: stored,
                    lead: fetch.lead.take(),
                    most_bytes: self.most_bytes,
                };
                let body = std::mem::take(response.body_mut());
                *response.body_mut() = tee::keep(body, shelf);
            }
            // Who asks next need not wait to learn that; but an error may be over by then.
            None if fetch.lead.is_some() && !status.is_server_error() => {
                store.pass(&fetch.sought.key);
            }
            None => {}
        }
    }

    /// What is to be stored of a response, but for its body; none where it must not be.
    fn shelve(
        &self,
        fetch: &Fetch,
        cx: &Cx<'_>,
        response: &Response<Body>,
        now: u64,
    ) -> Option<Stored> {
        let control = Control::of(response.headers());
        let came = Came {
            status: response.status(),
            headers: response.headers(),
            requested_unix_micros: fetch.requested_unix_micros,
            received_unix_micros: now,
        };
        let rules = freshness::judge(&self.terms, &control, &came, fetch.sought.is_personal)?;
        let sent = cx.cache.sent.as_ref();
        let selecting = selecting(response.headers(), &self.vary, &fetch.headers, sent)?;
        let groups = tags::groups(cx.route, response.headers())?;
        Some(Stored {
            status: response.status(),
            initial_age_micros: freshness::initial_age_micros(&came),
            headers: self.kept_fields(response.headers().clone(), &control, now),
            body: Default::default(),
            selecting,
            groups,
            requested_unix_micros: fetch.requested_unix_micros,
            received_unix_micros: now,
            rules,
        })
    }

    /// What is stored, after the origin said that it still holds (RFC 9111 §4.3.4), and whether it
    /// may be kept.
    fn refreshed(
        &self,
        fetch: &Fetch,
        cx: &Cx<'_>,
        confirmed: &HeaderMap,
        now: u64,
    ) -> Option<(Stored, bool)> {
        let stale = fetch.stale.as_deref()?;
        if answer::is_of_another(&stale.headers, confirmed) {
            return Some((stale.clone(), false));
        }
        let mut headers = updated(&stale.headers, confirmed);
        if !confirmed.contains_key(header::DATE)
            && let Some(date) = as_date(now)
        {
            // RFC 9110 §6.6.1: the recipient's clock counts where the origin has none.
            headers.insert(header::DATE, date);
        }
        let control = Control::of(&headers);
        let came = Came {
            status: stale.status,
            headers: &headers,
            requested_unix_micros: fetch.requested_unix_micros,
            received_unix_micros: now,
        };
        let rules = freshness::judge(&self.terms, &control, &came, fetch.sought.is_personal);
        // Tags are not among the stored fields; what says none of them keeps those that it had.
        let groups = if tags::is_tagged(confirmed) {
            tags::groups(cx.route, confirmed)
        } else {
            Some(stale.groups.clone())
        };
        let is_kept = rules.is_some() && groups.is_some();
        let stored = Stored {
            status: stale.status,
            initial_age_micros: freshness::initial_age_micros(&came),
            body: stale.body.clone(),
            selecting: stale.selecting.clone(),
            groups: groups.unwrap_or_default(),
            requested_unix_micros: fetch.requested_unix_micros,
            received_unix_micros: now,
            rules: rules.unwrap_or_default(),
            headers: self.kept_fields(headers, &control, now),
        };
        Some((stored, is_kept))
    }

    /// RFC 9111 §4.3.5: what a HEAD says of what is stored.
    fn learn_from_head(&self, fetch: &Fetch, cx: &Cx<'_>, response: &Response<Body>) {
        let Some(store) = cx.ports.cache() else { return };
        let status = response.status();
        if is_error(status) || status == StatusCode::NOT_MODIFIED || fetch.sought.asked.no_store {
            return;
        }
        let Some(variants) = store.lookup(&fetch.sought.key) else { return };
        let is_fit = |stored: &Stored| !fetch.sought.is_personal || stored.rules.is_for_all;
        let Some(stored) = select(&variants, &fetch.headers, is_fit) else { return };
        let told = [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH];
        let is_same = told.iter().all(|name| {
            let new = response.headers().get(name);
            new.is_none() || new == stored.headers.get(name)
        });
        let key = &fetch.sought.key;
        if !is_same || status != stored.status {
            return store.invalidate(&key.target);
        }
        let holding = Fetch { stale: Some(stored.clone()), ..fetch.copy() };
        match self.refreshed(&holding, cx, response.headers(), store.now_unix_micros()) {
            Some((stored, true)) => store.store(key, stored),
            Some((_, false)) | None => store.invalidate(&key.target),
        }
    }

    /// Puts a stored response in the place of the one that came.
    fn answer_with(&self, stored: &Stored, fetch: &Fetch, now: u64, response: &mut Response<Body>) {
        let answered = Some(response.status());
        let conditions = fetch.sought.is_conditional.then_some(&fetch.headers);
        *response = answer::answer(stored, &fetch.method, conditions, now);
        self.tell_forwarded(fetch, response, answered, false);
    }

    fn tell_forwarded(
        &self,
        fetch: &Fetch,
        response: &mut Response<Body>,
        answered: Option<StatusCode>,
        is_stored: bool,
    ) {
        if self.tells_status {
            let headers = response.headers_mut();
            status::tell_forwarded(headers, fetch.forwarded, answered, is_stored);
        }
    }

    /// The fields that are stored (RFC 9111 §3.1).
    fn kept_fields(&self, mut headers: HeaderMap, control: &Control, now: u64) -> HeaderMap {
        for name in control.kept_out.iter().chain(&[header::AGE, header::TRAILER, X_REQUEST_ID]) {
            headers.remove(name);
        }
        if !self.forwards_tags {
            tags::take_off(&mut headers);
        }
        if !headers.contains_key(header::DATE)
            && let Some(date) = as_date(now)
        {
            headers.insert(header::DATE, date);
        }
        headers
    }
}

impl Fetch {
    /// The same without what can be had once only.
    fn copy(&self) -> Self {
        Self {
            sought: self.sought,
            method: self.method.clone(),
            headers: HeaderMap::new(),
            stale: None,
            is_validating: false,
            forwarded: self.forwarded,
            lead: None,
            requested_unix_micros: self.requested_unix_micros,
        }
    }
}

/// RFC 5861 §4: what counts as an error.
fn is_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Whether a stored response may stand in for an error.
fn may_excuse(stored: &Stored, asked: &super::control::Asked, now: u64) -> bool {
    if asked.no_cache || stored.rules.must_validate {
        return false;
    }
    let is_young =
        asked.max_age.is_none_or(|age| stored.age_micros(now) <= age.saturating_mul(SECOND));
    match stored.staleness_micros(now) {
        None => is_young,
        Some(staleness) => is_young && staleness < stored.rules.if_error_micros,
    }
}

/// RFC 9111 §4.4: what was changed is not answered from memory any more.
fn invalidate(change: &Change, cx: &Cx<'_>, response: &Response<Body>) {
    let Some(store) = cx.ports.cache() else { return };
    if !(200..400).contains(&response.status().as_u16()) {
        return;
    }
    store.invalidate(&target_digest(cx, &change.host, &change.target));
    for group in tags::invalidated(cx.route, response.headers()) {
        store.purge(&group);
    }
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let located = response.headers().get(name).and_then(|value| same_origin(change, value));
        if let Some(target) = located {
            store.invalidate(&target_digest(cx, &change.host, &target));
        }
    }
}

/// The target that a field names, where it is one of the same origin.
fn same_origin(change: &Change, value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let text = text.split('#').next().unwrap_or_default();
    if text.is_empty() {
        return None;
    }
    if text.contains("://") || text.starts_with("//") {
        let absolute =
            if text.starts_with("//") { format!("http:{text}") } else { text.to_owned() };
        let uri: Uri = absolute.parse().ok()?;
        let is_same = uri.authority()?.as_str().eq_ignore_ascii_case(&change.host);
        return is_same
            .then(|| uri.path_and_query().map_or("/", |target| target.as_str()).to_owned());
    }
    if text.starts_with('/') {
        return Some(text.to_owned());
    }
    let path = change.target.split('?').next().unwrap_or_default();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{folder}/{text}"))
}
