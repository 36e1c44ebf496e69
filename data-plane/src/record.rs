//! One record an exchange, from its head to its last byte.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode, Version, header};
use tollgate_policy::policy::{Caller, Client};
use tollgate_policy::recorded::Recorded;
use tollgate_policy::stored::Outcome as CacheOutcome;

use crate::access_log::{Line, Time};
use crate::clock;
use crate::core::{Core, Pinned};
use crate::fault::Side;
use crate::metrics::Outcome;
use crate::peer::Peer;
use crate::plan::{RouteEntry, Slot};
use crate::ports::RequestPorts;
use crate::request_body::Pace;
use crate::tunnel;
use crate::upstream::{Switched, Upload};

/// What is known of an exchange so far.
pub struct Record {
    core: Rc<Core>,
    peer: Rc<Peer>,
    /// When its head came, in microseconds since 1970-01-01.
    pub started_unix_micros: u64,
    started: Instant,
    /// `x-request-id`.
    pub request_id: HeaderValue,
    method: Method,
    version: Version,
    /// The configuration that it is served by.
    pub plan: Pinned,
    /// The route's place in that.
    pub slot: Option<Slot>,
    /// The client behind a trusted proxy.
    pub client: Option<Client>,
    /// Who calls.
    pub caller: Option<Arc<Caller>>,
    /// What a cache did for it.
    pub cache: Option<CacheOutcome>,
    /// What a limit that only watches would have refused it with.
    pub shadowed: Option<&'static str>,
    /// Why, where it was not the upstream's answer.
    pub fault: Option<(&'static str, Side)>,
    /// How far the request's body has come, where it has one that went upstream.
    pub upload: Option<Rc<Upload>>,
    /// How it has to come, until there is an answer.
    pub pace: Option<Pace>,
    /// Bytes of the response's body so far.
    pub response_bytes: u64,
    /// Which server answered, and after how many microseconds.
    pub upstream: Option<(HeaderValue, u64)>,
    /// Attempts at the upstream.
    pub attempts: u8,
    /// Whether the client asks for WebSocket.
    pub asks_websocket: bool,
    /// The upstream's end of the connection that became one, and the longest silence on it.
    pub switched: Option<(Switched, Duration)>,
    logged: Option<Logged>,
}

/// What only the log reads; kept where there is one.
struct Logged {
    target: Option<PathAndQuery>,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
}

impl Record {
    /// Begins the record of a request.
    pub fn start<B>(core: &Rc<Core>, peer: &Rc<Peer>, plan: Pinned, request: &Request<B>) -> Self {
        let headers = request.headers();
        let given = headers.get(crate::request_id::X_REQUEST_ID);
        let request_id = match given {
            Some(value) if crate::request_id::is_well_formed(value) => value.clone(),
            _ => core.request_ids.make(),
        };
        let logged = core.access_log.is_on().then(|| Logged {
            target: request.uri().path_and_query().cloned(),
            host: headers.get(header::HOST).cloned().or_else(|| {
                request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok())
            }),
            user_agent: headers.get(header::USER_AGENT).cloned(),
        });
        Self {
            core: Rc::clone(core),
            peer: Rc::clone(peer),
            started_unix_micros: clock::unix_micros(),
            started: Instant::now(),
            request_id,
            method: request.method().clone(),
            version: request.version(),
            plan,
            slot: None,
            client: None,
            caller: None,
            cache: None,
            shadowed: None,
            fault: None,
            upload: None,
            pace: None,
            response_bytes: 0,
            upstream: None,
            attempts: 0,
            asks_websocket: tunnel::asks(request),
            switched: None,
            logged,
        }
    }

    /// The record of a request that is sent for the cache's sake alone. Nobody reads it.
    #[must_use]
    pub fn for_refresh(&self) -> Self {
        Self {
            core: Rc::clone(&self.core),
            peer: Rc::clone(&self.peer),
            started_unix_micros: self.started_unix_micros,
            started: self.started,
            request_id: self.request_id.clone(),
            method: self.method.clone(),
            version: self.version,
            plan: self.plan.clone(),
            slot: self.slot,
            client: self.client.clone(),
            caller: self.caller.clone(),
            cache: None,
            shadowed: None,
            fault: None,
            upload: None,
            pace: None,
            response_bytes: 0,
            upstream: None,
            attempts: 0,
            asks_websocket: false,
            switched: None,
            logged: None,
        }
    }

    /// Copies what it keeps of the request's head, for an exchange that will last: it would keep all that was read with that.
    pub fn settle(&mut self) {
        self.request_id = copied(&self.request_id);
        let Some(Logged { target, host, user_agent }) = &mut self.logged else { return };
        for value in [host, user_agent].into_iter().flatten() {
            *value = copied(value);
        }
        // What was parsed once parses again.
        if let Some(target) = target
            && let Ok(copy) = PathAndQuery::try_from(target.as_str())
        {
            *target = copy;
        }
    }

    /// The core that carries the exchange.
    #[must_use]
    pub fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// The other end of its connection.
    #[must_use]
    pub fn peer(&self) -> &Rc<Peer> {
        &self.peer
    }

    /// Where the request comes from.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.client.as_ref().unwrap_or(&self.peer.client)
    }

    /// `x-request-id` as text.
    #[must_use]
    pub fn request_id_text(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// Counts what went over a connection after it had switched protocols.
    pub fn count_tunnel(&mut self, sent_bytes: u64, received_bytes: u64) {
        self.upload = Some(Rc::new(Upload::of_tunnel(sent_bytes)));
        self.response_bytes = received_bytes;
    }

    /// Whether its answer has no body, whatever it says of one.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// When its head came.
    #[must_use]
    pub fn started(&self) -> tokio::time::Instant {
        self.started.into()
    }

    /// Microseconds since its head came.
    #[must_use]
    pub fn elapsed_micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Ends the record: counts it and writes it down.
    pub fn finish(&self, status: StatusCode, is_complete: bool) {
        let entry = self.slot.and_then(|slot| self.plan.entry(slot));
        let outcome = Outcome {
            status,
            duration_micros: self.elapsed_micros(),
            request_bytes: self.upload.as_ref().map_or(0, |upload| upload.bytes()),
            response_bytes: self.response_bytes,
        };
        let facts = entry.map(|entry| (entry.api_number, &entry.facts));
        self.core.metrics.count(&self.core.known_apis, facts, outcome);
        if let Some(cache) = self.cache {
            self.core.metrics.count_cache(cache);
        }
        let Some(logged) = &self.logged else { return };
        let Recorded { client, host, path, user_agent } =
            self.recorded(logged, entry.map(Arc::as_ref));
        self.core.access_log.write(&Line {
            time: Time(self.started_unix_micros),
            request_id: self.request_id_text(),
            client: &client,
            protocol: protocol(self.version),
            method: self.method.as_str(),
            host: host.as_deref(),
            path: &path,
            status: status.as_u16(),
            code: self.fault.map(|(code, _)| code),
            fault: self.fault.map(|(_, side)| side.name()),
            tenant: entry.map(|entry| entry.facts.tenant.as_str()),
            api: entry.map(|entry| entry.facts.api.as_str()),
            route: entry.and_then(|entry| entry.facts.route.as_ref()).map(|route| route.as_str()),
            application: self.caller.as_ref().map(|caller| caller.application.as_str()),
            credential: self.caller.as_ref().map(|caller| caller.credential.as_str()),
            cache: self.cache.map(CacheOutcome::name),
            shadowed: self.shadowed,
            request_bytes: outcome.request_bytes,
            response_bytes: outcome.response_bytes,
            duration_us: outcome.duration_micros,
            upstream: self.upstream.as_ref().and_then(|(authority, _)| authority.to_str().ok()),
            upstream_us: self.upstream.as_ref().map(|(_, micros)| *micros),
            attempts: self.attempts,
            complete: is_complete,
            revision: self.plan.revision,
            user_agent: user_agent.as_deref(),
        });
    }

    /// The caller's own words as they may be written down.
    fn recorded<'a>(&'a self, logged: &'a Logged, entry: Option<&RouteEntry>) -> Recorded<'a> {
        let mut recorded = Recorded {
            client: Cow::Borrowed(&*self.client().address_text),
            host: logged.host.as_ref().map(readable),
            path: Cow::Borrowed(logged.target.as_ref().map_or("*", PathAndQuery::path)),
            user_agent: logged.user_agent.as_ref().map(readable),
        };
        let Some(entry) = entry else { return recorded };
        let callers = self.caller.as_ref().and_then(|caller| caller.chain.as_deref());
        let chains = [callers, Some(&entry.chain)].into_iter().flatten();
        for chain in chains.filter(|chain| chain.changes_records()) {
            let ports = RequestPorts::of(&self.core, &self.plan);
            chain.on_record(&entry.facts, &ports, &mut recorded);
        }
        recorded
    }
}

fn copied(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// The readable part of a value; all of it where it is visible ASCII, as it nearly always is.
fn readable(value: &HeaderValue) -> Cow<'_, str> {
    value.to_str().map_or_else(|_odd| String::from_utf8_lossy(value.as_bytes()), Cow::Borrowed)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP",
    }
}
