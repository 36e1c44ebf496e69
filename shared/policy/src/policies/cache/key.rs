//! What a response is found by: tenant, API, host and target, and the part of the callers that it is for.

use std::borrow::Cow;

use http::{HeaderMap, Request, header};
use tollgate_model::Name;

use super::control::Asked;
use super::{Cache, ClientDirectives, Per};
use crate::body::Body;
use crate::chain::runs_after_caching;
use crate::policy::Cx;
use crate::stored::{Address, Digest, Key, add};

/// What a request is about.
#[derive(Clone, Copy)]
pub(super) struct Sought {
    pub(super) key: Key,
    /// Whether it tells who calls, and the key does not: only what is for all may be shared then.
    pub(super) is_personal: bool,
    /// What it asks of caches.
    pub(super) asked: Asked,
    /// Whether it depends on what the client holds, or is for a part.
    pub(super) is_conditional: bool,
}

/// Which of the fields that a cache looks at a request has. To go once through what is there costs less than to
/// look each of them up.
#[derive(Clone, Copy, Default)]
pub(super) struct Present {
    /// Preconditions of the origin's own (RFC 9110 §13.1.1, §13.1.4), and what is to become a WebSocket, of
    /// which no policy sees `upgrade`.
    pub(super) is_odd: bool,
    is_authorized: bool,
    has_directives: bool,
    is_conditional: bool,
}

impl Present {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "if-match" | "if-unmodified-since" | "sec-websocket-key" => present.is_odd = true,
                "authorization" => present.is_authorized = true,
                "cache-control" | "pragma" => present.has_directives = true,
                "if-none-match" | "if-modified-since" | "range" | "if-range" => {
                    present.is_conditional = true;
                }
                _ => {}
            }
        }
        present
    }
}

impl Cache {
    pub(super) fn seek(&self, cx: &Cx<'_>, request: &Request<Body>, present: Present) -> Sought {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let target = target_digest(cx, &host(request), target);
        let is_known = cx.identity.is_some() || cx.claims.is_some();
        let is_covered = self.per != Per::Everyone && is_caller_named(cx);
        Sought {
            key: Key::new(target, self.part(cx, request)),
            // RFC 9111 §3.5; the gateway's own credential was taken off the request before.
            is_personal: present.is_authorized || cx.cache.is_personal || (is_known && !is_covered),
            asked: match self.client_directives {
                ClientDirectives::Obey if present.has_directives => Asked::of(request.headers()),
                ClientDirectives::Obey | ClientDirectives::Ignore => Asked::default(),
            },
            is_conditional: present.is_conditional,
        }
    }

    /// The part of the callers that shares an answer; none where all do.
    fn part(&self, cx: &Cx<'_>, request: &Request<Body>) -> Option<Digest> {
        // An application's own policies may change what only its callers are to see.
        let has_own_changes = cx.identity.as_ref().is_some_and(|caller| {
            let chain = caller.chain.as_ref();
            chain.is_some_and(|chain| {
                chain.policies().iter().any(|policy| runs_after_caching(policy.phase()))
            })
        });
        let is_by_caller = self.per != Per::Everyone || has_own_changes;
        let upstream = cx.onward.upstream();
        if !is_by_caller && self.key.is_empty() && upstream.is_none() {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        // What another upstream answers is not this one's answer.
        add(&mut hasher, upstream.map(Name::as_str));
        if is_by_caller {
            let caller = cx.identity.as_deref();
            add(&mut hasher, caller.map(|caller| caller.tenant.as_str()));
            add(&mut hasher, caller.map(|caller| caller.application.as_str()));
            let credential = caller.filter(|_| self.per == Per::Credential);
            add(&mut hasher, credential.map(|caller| caller.credential.as_str()));
            add(&mut hasher, cx.claims.as_ref().and_then(|claims| claims.subject.as_deref()));
        }
        for template in &self.key {
            add(&mut hasher, Some(&template.render(cx, request)));
        }
        Some(*hasher.finalize().as_bytes())
    }
}

/// Whether application and subject say all that is known of the caller.
fn is_caller_named(cx: &Cx<'_>) -> bool {
    cx.claims.as_ref().is_none_or(|claims| claims.subject.is_some())
}

/// What a target of the request's API is found by.
pub(super) fn target_digest(cx: &Cx<'_>, host: &str, target: &str) -> Digest {
    let (tenant, api) = (cx.route.tenant.as_str(), cx.route.api.as_str());
    Address { tenant, api, scheme: cx.scheme, host, target }.digest()
}

/// The host that a request is for, with its port.
pub(super) fn host(request: &Request<Body>) -> Cow<'_, str> {
    let field = request.headers().get(header::HOST).map(|host| host.as_bytes());
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    String::from_utf8_lossy(field.or(authority).unwrap_or_default())
}
