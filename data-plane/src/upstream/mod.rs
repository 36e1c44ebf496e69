//! Sends a request to an upstream: pick an endpoint, get a connection, try, try again where that
//! is safe.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use hyper::client::conn::http2;
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};
use tollgate_model::upstream::{Balance, Protocol};

use crate::core::Core;
use crate::deadline::Deadline;
use crate::fault::Fault;
use crate::plan::{Current, Endpoint, Endpoints, Source, UpstreamPlan};

// Which endpoint.
mod balance;
// Which endpoints are well.
pub mod health;
// Which endpoints are behind a name.
pub mod names;
// The request's body on its way.
mod body;
// What it is told of who calls.
mod credentials;
// What TLS believes and speaks.
pub(crate) mod tls;
// In the clear or over TLS.
mod stream;
// How much is under way at a time.
mod limit;
// An upstream that is left alone while its calls fail.
mod breaker;
// What can be tried again.
mod retry;
// A new connection.
mod connect;
// Kept connections.
mod pool;
// HTTP/1.1 over a connection.
mod http1;
// What came back.
mod answer;

pub use answer::{Answer, AnswerBody, Switched};
pub use balance::affinity;
pub use body::{OutgoingBody, Upload};
pub use breaker::Breaker;
pub(crate) use credentials::Maker;
pub use credentials::{Credentials, TokenCounts, Tokens};
pub use limit::Limit;
use limit::Place;
use pool::{Connection, EndpointPool};
pub use pool::{Pool, Turn};
use retry::{Copy, Failure, Progress, is_repeatable, retries_on};

/// Marks a request whose host a policy has set: the endpoint's own does not take its place.
#[derive(Clone, Copy, Debug)]
pub struct HostIsSet;

/// Kept connections that turn out to be closed are passed over without counting as attempts.
const STALE_TRIES: u8 = 3;

/// What a request goes out with.
pub struct Dispatch<'a> {
    /// The core that carries it.
    pub core: &'a Core,
    /// Where it goes.
    pub upstream: &'a UpstreamPlan,
    /// When the call has to be over.
    pub deadline: Deadline,
    /// See [`affinity`].
    pub affinity: u64,
}

/// Sends a request. `attempts` counts, also where it fails.
///
/// # Errors
///
/// The fault of the last attempt.
pub async fn send(
    dispatch: &Dispatch<'_>,
    request: Box<Request<OutgoingBody>>,
    attempts: &mut u8,
) -> Result<Answer, Fault> {
    let Dispatch { core, upstream, .. } = *dispatch;
    let passage = match upstream.breaker.as_deref().map(|breaker| breaker.admit(Instant::now())) {
        None => None,
        Some(Ok(passage)) => Some(passage),
        Some(Err(retry_after)) => {
            core.metrics.upstream_breaker_refusals.add(1);
            return Err(Fault::CircuitOpen { retry_after });
        }
    };
    let place = match &upstream.limit {
        None => None,
        Some(limit) => Some(limit.enter().ok_or_else(|| overloaded(core))?),
    };
    let mut sent = attempt(dispatch, request, attempts).await;
    if let Some(passage) = passage {
        let outcome = sent.as_ref().map(|answer| answer.response.status());
        if passage.end(Instant::now(), health::is_failure(outcome)) {
            core.metrics.upstream_breaker_openings.add(1);
            tracing::warn!(upstream = ?upstream.name, "an upstream is left alone for calls that failed");
        }
    }
    if let Ok(answer) = &mut sent {
        answer.turn.hold(place);
    }
    sent
}

fn overloaded(core: &Core) -> Fault {
    core.metrics.upstream_overloads.add(1);
    Fault::UpstreamOverloaded
}

/// Tries as often as may be.
async fn attempt(
    dispatch: &Dispatch<'_>,
    mut request: Box<Request<OutgoingBody>>,
    attempts: &mut u8,
) -> Result<Answer, Fault> {
    let Dispatch { core, upstream, deadline: call, .. } = *dispatch;
    let deadline = call.end;
    let mut tried: SmallVec<[u16; 4]> = SmallVec::new();
    let keeps_host = upstream.preserves_host || request.extensions().get::<HostIsSet>().is_some();
    core.pool.earn_retry(upstream);
    let mut endpoints = upstream.endpoints.current();
    if endpoints.all.is_empty() {
        endpoints = first_of_names(upstream, deadline).await?;
    }
    credentials::ready(upstream, deadline).await?;
    loop {
        let Picked { index, endpoint, place } = pick(dispatch, &endpoints, &tried)?;
        *attempts = attempts.saturating_add(1);
        let may_retry = *attempts <= upstream.retry_attempts;
        // What is sent over HTTP/1.1 comes back by itself.
        let is_lost = endpoint.protocol == Protocol::Http2;
        let copy = if may_retry && is_lost { Copy::of(&request) } else { None };
        let pool = core.pool.endpoint(endpoint);
        if !keeps_host {
            request.headers_mut().insert(header::HOST, pool.authority());
        }
        call.tell(request.headers_mut());
        let told = credentials::tell(core, upstream, request.headers_mut())?;
        let turn = pool.begin(place);
        let limit = attempt_limit(upstream, &request, deadline);
        let times = Times { deadline, limit, call };
        let attempt = Attempt { core, upstream, endpoint, pool: &pool, times, may_retry };
        let failure = match attempt.observed(request).await {
            Ok(response) => {
                credentials::hear(upstream, told, response.status());
                return Ok(Answer { response, turn, authority: pool.authority() });
            }
            Err(failure) => failure,
        };
        drop(turn);
        let again = match (failure.progress, failure.request) {
            (Progress::NotSent, Some(request)) => Some(request),
            (Progress::Sent, Some(request)) => is_repeatable(&request).then_some(request),
            (_, None) => copy.map(Copy::into_request),
        };
        let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
        match again {
            Some(again)
                if may_retry
                    && !is_over
                    && (failure.is_paid || retries_on(upstream, &failure.fault))
                    && (failure.is_paid || core.pool.spend_retry(upstream)) =>
            {
                core.metrics.upstream_retries.add(1);
                tried.push(index);
                request = again;
            }
            _ => return Err(failure.fault),
        }
    }
}

/// Waits for the first answer of an upstream's names, no longer than for a connection.
async fn first_of_names(
    upstream: &UpstreamPlan,
    deadline: Option<Instant>,
) -> Result<Current<'_>, Fault> {
    if upstream.is_closed {
        return Err(Fault::RouteUnavailable);
    }
    if let Source::Named(named) = &upstream.endpoints {
        let limit = bound(upstream.within_attempt(upstream.connect_timeout), deadline);
        // Rare and large: in its own memory, it takes no room in every request's.
        let _ = Box::pin(timeout_at(limit, named.known())).await;
    }
    let endpoints = upstream.endpoints.current();
    if endpoints.all.is_empty() { Err(Fault::Unreachable) } else { Ok(endpoints) }
}

/// Until when an attempt that begins now must have its answer's head. That of a request with a body is bounded from
/// its last byte on.
fn attempt_limit(
    upstream: &UpstreamPlan,
    request: &Request<OutgoingBody>,
    deadline: Option<Instant>,
) -> Option<Instant> {
    match upstream.attempt_timeout {
        Some(timeout) if request.body().is_empty() => Some(bound(timeout, deadline)),
        _ => deadline,
    }
}

/// An endpoint for an attempt.
struct Picked<'a> {
    index: u16,
    endpoint: &'a Endpoint,
    /// What the attempt takes of the endpoint's bound.
    place: Option<Place>,
}

fn pick<'a>(
    dispatch: &Dispatch<'a>,
    endpoints: &'a Endpoints,
    tried: &[u16],
) -> Result<Picked<'a>, Fault> {
    let Dispatch { core, upstream, affinity, .. } = *dispatch;
    // Where another thread takes the last place of one endpoint, another endpoint may have one.
    for _ in 0..=endpoints.all.len() {
        let picked = balance::pick(core, upstream, endpoints, tried, affinity);
        let Some((index, endpoint)) = picked else { break };
        match endpoint.limit.as_ref().map(Limit::enter) {
            None => return Ok(Picked { index, endpoint, place: None }),
            Some(Some(place)) => return Ok(Picked { index, endpoint, place: Some(place) }),
            Some(None) => {}
        }
    }
    Err(overloaded(core))
}

/// One attempt at one endpoint.
struct Attempt<'a> {
    core: &'a Core,
    upstream: &'a UpstreamPlan,
    endpoint: &'a Endpoint,
    pool: &'a Rc<EndpointPool>,
    times: Times,
    /// Whether another one may follow.
    may_retry: bool,
}

/// Until when.
#[derive(Clone, Copy)]
struct Times {
    /// The whole exchange must be over.
    deadline: Option<Instant>,
    /// This attempt must have its answer's head.
    limit: Option<Instant>,
    /// What the client has set of it.
    call: Deadline,
}

impl Attempt<'_> {
    /// The same, taken into account for the choice of endpoints to come.
    async fn observed(
        &self,
        request: Box<Request<OutgoingBody>>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let began = (self.upstream.balance == Balance::Ewma).then(Instant::now);
        let mut outcome = self.run(request).await;
        if let Err(failure) = &mut outcome
            && self.times.call.is_callers_over()
        {
            failure.fault = Fault::DeadlineExceeded;
        }
        let end = outcome.as_ref().map(Response::status).map_err(|failure| &failure.fault);
        if let Some(is_failure) = health::is_failure(end) {
            if let Some(began) = began {
                self.pool.took(began.elapsed());
            }
            health::observe(self.core, self.upstream, self.endpoint, is_failure);
        }
        outcome
    }

    async fn run(
        &self,
        mut request: Box<Request<OutgoingBody>>,
    ) -> Result<Response<AnswerBody>, Failure> {
        match self.endpoint.protocol {
            Protocol::Http1 => as_http1(&mut request),
            Protocol::Http2 => as_http2(&mut request, self.endpoint),
        }
        let not_sent = |fault, request| Failure {
            progress: Progress::NotSent,
            request: Some(request),
            ..Failure::sent(fault)
        };
        for _ in 0..STALE_TRIES {
            let connection = match self.connection().await {
                Ok(connection) => connection,
                Err(fault) => return Err(not_sent(fault, request)),
            };
            let upload = request.body().upload();
            let sent = match connection {
                Connection::Http1(connection) => {
                    self.over_http1(connection, request, upload.as_deref()).await
                }
                Connection::Http2(sender) => {
                    self.over_http2(sender, request, upload.as_deref()).await
                }
            };
            match sent {
                Ok(response) => return Ok(response),
                Err(Failure { progress: Progress::NotSent, request: Some(unsent), .. }) => {
                    request = unsent;
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(not_sent(Fault::Reset, request))
    }

    async fn over_http1(
        &self,
        connection: Box<http1::Connection>,
        request: Box<Request<OutgoingBody>>,
        upload: Option<&Upload>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let mut waiting = http1::Waiting::new(connection, request);
        let fault = match self.in_time(upload, waiting.head()).await {
            Some(Ok(head)) if self.repeats(head.status(), waiting.request()) => {
                let (request, _) = waiting.into_request();
                return Err(Failure { request: Some(request), ..Failure::repeated() });
            }
            Some(Ok(head)) => return Ok(waiting.answered(head, self.pool)),
            Some(Err(broken)) => {
                tracing::debug!(error = %broken, "send a request to an endpoint");
                upload.and_then(Upload::fault).unwrap_or(Fault::Reset)
            }
            None => Fault::TimedOut,
        };
        let (request, progress) = waiting.into_request();
        Err(Failure { progress, request: Some(request), ..Failure::sent(fault) })
    }

    async fn over_http2(
        &self,
        mut sender: http2::SendRequest<OutgoingBody>,
        request: Box<Request<OutgoingBody>>,
        upload: Option<&Upload>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let is_repeatable = is_repeatable(&request);
        match self.in_time(upload, sender.try_send_request(*request)).await {
            Some(Ok(response)) if is_repeatable && self.is_retried(response.status()) => {
                Err(Failure::repeated())
            }
            Some(Ok(response)) => Ok(response.map(AnswerBody::Http2)),
            Some(Err(mut error)) => {
                tracing::debug!(error = %error.error(), "send a request to an endpoint");
                let fault = upload.and_then(Upload::fault).unwrap_or(Fault::Reset);
                Err(match error.take_message() {
                    Some(request) => Failure {
                        progress: Progress::NotSent,
                        request: Some(Box::new(request)),
                        ..Failure::sent(fault)
                    },
                    None => Failure::sent(fault),
                })
            }
            None => Err(Failure::sent(Fault::TimedOut)),
        }
    }

    /// Whether an answer of this status is given up for another attempt, which is then paid for.
    fn repeats(&self, status: StatusCode, request: &Request<OutgoingBody>) -> bool {
        is_repeatable(request) && self.is_retried(status)
    }

    /// The same of what may be sent again.
    fn is_retried(&self, status: StatusCode) -> bool {
        let is_over = || self.times.deadline.is_some_and(|deadline| deadline <= Instant::now());
        self.may_retry
            && self.upstream.retry_statuses.contains(&status.as_u16())
            && !is_over()
            && self.core.pool.spend_retry(self.upstream)
    }

    /// A kept connection, or a new one.
    async fn connection(&self) -> Result<Connection, Fault> {
        if let Some(connection) = self.pool.take() {
            return Ok(connection);
        }
        let opened =
            connect::connect(self.core, self.upstream, self.endpoint, self.pool, self.times.limit);
        // Rare and large: in its own memory, it takes no room in every request's.
        Box::pin(opened).await.inspect_err(|_| self.core.metrics.upstream_connect_failures.add(1))
    }

    /// Waits for an answer's head, from the request's last byte on; none where it is late.
    async fn in_time<T>(
        &self,
        upload: Option<&Upload>,
        head: impl Future<Output = T>,
    ) -> Option<T> {
        let timeout = self.upstream.head_timeout();
        let mut head = pin!(head);
        let mut limit = bound(timeout, self.times.limit);
        let mut sent_bytes = 0;
        loop {
            if let Ok(head) = timeout_at(limit, &mut head).await {
                return Some(head);
            }
            let upload = upload?;
            let before = std::mem::replace(&mut sent_bytes, upload.bytes());
            let last_byte = match upload.ended() {
                Some(ended) => ended,
                // What the client does not send has a bound of its own.
                None if upload.is_awaited() || sent_bytes > before => Instant::now(),
                // The upstream takes nothing.
                None => return None,
            };
            let later = self
                .times
                .limit
                .map_or(last_byte + timeout, |limit| limit.min(last_byte + timeout));
            if later <= Instant::now() {
                return None;
            }
            limit = later;
        }
    }
}

fn bound(timeout: Duration, deadline: Option<Instant>) -> Instant {
    let limit = Instant::now() + timeout;
    deadline.map_or(limit, |deadline| deadline.min(limit))
}

/// Origin form (RFC 9112 §3.2.1); the authority goes into `host`.
fn as_http1(request: &mut Request<OutgoingBody>) {
    *request.version_mut() = Version::HTTP_11;
    if request.uri().authority().is_some() {
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = target.map(Uri::from).unwrap_or_default();
    }
}

/// Absolute form, of which HTTP/2 makes its pseudo-header fields (RFC 9113 §8.3.1); no `host` beside them.
fn as_http2(request: &mut Request<OutgoingBody>, endpoint: &Endpoint) {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(header::HOST);
    let before = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let host = host.as_ref().map(HeaderValue::as_bytes);
    // An attempt before this one may have made a pseudo-header field of it.
    let authority = host.or(before).unwrap_or(endpoint.authority.as_bytes());
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let scheme = if endpoint.tls.is_some() { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build();
    if let Ok(uri) = uri {
        *request.uri_mut() = uri;
    }
}
