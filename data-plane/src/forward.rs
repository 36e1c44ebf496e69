//! A request on its way to its upstream, and the head of the answer on its way back: what each
//! hop adds and takes off.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;
use tollgate_model::Name;
use tollgate_model::gateway::Limits;
use tollgate_policy::onward::Upstreams;
use tollgate_policy::{Body, Onward};

use crate::arrival::{Arrival, Below};
use crate::core::Core;
use crate::deadline::Deadline;
use crate::fault::Fault;
use crate::fields;
use crate::mirror;
use crate::outgoing::Rest;
use crate::plan::{Plan, RouteEntry, Target, UpstreamPlan};
use crate::record::Record;
use crate::request_body::{self, Pace};
use crate::request_id::X_REQUEST_ID;
use crate::tunnel;
use crate::upstream::{self, AnswerBody, Dispatch, HostIsSet, OutgoingBody, Upload};

const VIA_1_0: HeaderValue = HeaderValue::from_static("1.0 tollgate");
const VIA_1_1: HeaderValue = HeaderValue::from_static("1.1 tollgate");
const VIA_2: HeaderValue = HeaderValue::from_static("2.0 tollgate");

/// The head of an upstream's answer, and what its body needs.
pub struct Sent {
    /// The answer, ready for the client but for what policies change.
    pub response: Response<AnswerBody>,
    /// What ends with its last byte.
    pub rest: Rest,
}

/// The request as policies see it. What is for this hop only goes before they run, so that
/// `connection` cannot name what they set.
#[must_use]
pub fn take_over(mut request: Request<Incoming>, limits: &Limits) -> (Request<Body>, Option<Pace>) {
    fields::remove_hop_by_hop(request.headers_mut());
    request_body::take(request, limits)
}

/// Where a request goes on to, before policies change it.
#[must_use]
pub fn onward(entry: &RouteEntry, arrival: &Arrival) -> Onward {
    let Below::Rewritten { whole, stripped } = &arrival.below_base else {
        return Onward::default();
    };
    let target =
        if entry.strips_base_path { stripped.as_ref().or(whole.as_ref()) } else { whole.as_ref() };
    Onward::to(target.cloned())
}

/// Points a request at where it goes on to. Upstreams that are not its route's travel with it.
pub fn aim(request: &mut Request<Body>, onward: Onward) {
    let (target, host, upstreams) = onward.into_parts();
    if let Some(target) = target {
        *request.uri_mut() = Uri::from(target);
    }
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
        request.extensions_mut().insert(HostIsSet);
    }
    if let Some(upstreams) = upstreams {
        request.extensions_mut().insert(upstreams);
    }
}

/// The upstream of a call: one that a policy chose, else its route's.
#[must_use]
pub fn destination<'a>(
    plan: &'a Plan,
    entry: &RouteEntry,
    chosen: Option<&Name>,
) -> Option<&'a Arc<UpstreamPlan>> {
    let Target::Upstream(slot) = entry.target else { return None };
    match chosen {
        // The API would be closed, were it not there.
        Some(name) => plan.upstream_named(&entry.facts.tenant, name),
        None => plan.upstream(slot),
    }
}

/// Sends a request to its upstream, and copies of it to its mirrors.
///
/// # Errors
///
/// Why there is no answer.
pub async fn forward(
    core: &Core,
    entry: &RouteEntry,
    arrival: &Arrival,
    request: Box<Request<Body>>,
    record: &mut Record,
) -> Result<Sent, Fault> {
    let (mut head, mut body) = request.into_parts();
    let upstreams = head.extensions.remove::<Box<Upstreams>>();
    let plan = record.plan.clone();
    let chosen = upstreams.as_ref().and_then(|upstreams| upstreams.chosen.as_ref());
    let upstream = destination(&plan, entry, chosen);
    let Some(upstream) = upstream else { return Err(Fault::RouteUnavailable) };

    tell_upstream(&mut head.headers, arrival, head.version, record);
    if record.asks_websocket {
        tunnel::ask(&mut head.headers);
    } else if let Some(upstreams) = &upstreams {
        body = mirror::send(&upstreams.mirrors, &head, body, record);
    }
    let body = if body.is_end_stream() {
        OutgoingBody::empty()
    } else {
        let upload = Rc::<Upload>::default();
        record.upload = Some(Rc::clone(&upload));
        OutgoingBody::new(body, upload, upstream.idle_timeout)
    };

    let affinity = upstream::affinity(upstream, &head, record.client());
    let started = Instant::now();
    let bounds = (started, upstream.total_timeout);
    let deadline = Deadline::of(&head.headers, record.started(), bounds)?;
    let request = Box::new(Request::from_parts(head, body));
    let dispatch = Dispatch { core, upstream, deadline, affinity };
    let answer = upstream::send(&dispatch, request, &mut record.attempts).await?;
    if let Some(pace) = record.pace.take() {
        pace.end();
    }
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    record.upstream = Some((answer.authority, micros));

    let mut response = answer.response;
    let is_switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if is_switched && !(record.asks_websocket && tunnel::switches(response.headers())) {
        // Nobody asked it to speak another protocol.
        return Err(Fault::Reset);
    }
    clean_answer(&mut response);
    if is_switched {
        tunnel::ask(response.headers_mut());
        response = response.map(|body| keep_switched(body, upstream, record));
    }
    let rest = Rest { turn: answer.turn, idle_timeout: upstream.idle_timeout, deadline };
    Ok(Sent { response, rest })
}

fn keep_switched(body: AnswerBody, upstream: &UpstreamPlan, record: &mut Record) -> AnswerBody {
    if let AnswerBody::Switched(switched) = body {
        record.switched = Some((switched, upstream.tunnel_timeout));
        return AnswerBody::Whole(Bytes::new());
    }
    body
}

fn tell_upstream(headers: &mut HeaderMap, arrival: &Arrival, version: Version, record: &Record) {
    if version == Version::HTTP_2 {
        fields::join_cookies(headers);
    }
    // hyper has answered it with 100 already, once the body is asked for.
    headers.remove(header::EXPECT);
    let via = match version {
        Version::HTTP_2 => VIA_2,
        Version::HTTP_10 => VIA_1_0,
        _ => VIA_1_1,
    };
    let is_trusted = record.client.is_some();
    record.peer().tell(headers, arrival.host.clone(), is_trusted, via);
    if let Some(host) = &arrival.host {
        headers.entry(header::HOST).or_insert_with(|| host.clone());
    }
    headers.insert(X_REQUEST_ID, record.request_id.clone());
}

fn clean_answer(response: &mut Response<AnswerBody>) {
    // RFC 9112 §6.3: with both, the transfer coding counts, and the length is not to be passed on.
    if response.headers().contains_key(header::TRANSFER_ENCODING) {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    fields::remove_hop_by_hop(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
}
