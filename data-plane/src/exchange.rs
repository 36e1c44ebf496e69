//! The travel of one request, from its head to the last byte of its answer. Read this first.

use std::convert::Infallible;
use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;
use tollgate_policy::chain::Carries;
use tollgate_policy::policy::{Cx, Flow};
use tollgate_policy::stored::Caching;
use tollgate_policy::{Body, Refusal};

use crate::arrival::{self, Arrival};
use crate::core::{Core, Pinned};
use crate::fault::Fault;
use crate::forward::{self, Sent};
use crate::outgoing::{Ending, ExchangeBody, Inner, Rest};
use crate::peer::Peer;
use crate::plan::{RouteEntry, Target};
use crate::ports::RequestPorts;
use crate::ports::patience::Patience;
use crate::record::Record;
use crate::refresh::{self, Refresh};
use crate::response;

/// One request's whole travel. Each step is a function or a module.
///
/// # Errors
///
/// None: every fault becomes an answer.
pub async fn exchange(
    core: Rc<Core>,
    peer: Rc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<ExchangeBody>, Infallible> {
    let plan = core.plan();
    let record = Record::start(&core, &peer, plan.clone(), &request);
    let mut ending = Box::new(Ending::new(record));
    let Ending { record, carries, .. } = &mut *ending;
    record.client = peer.client_behind(request.headers(), &plan.gateway.trusted_proxies);
    let is_grpc = response::is_grpc(request.headers());

    let (response, rest) = match route(&plan, &request, record) {
        Ok((entry, arrival)) => {
            let call = Call { core: &core, entry, arrival: &arrival, is_grpc };
            call.travel(request, record, carries).await
        }
        Err(fault) => (answer_fault(fault, record, is_grpc), None),
    };
    Ok(ending.finish_when_sent(response, rest))
}

/// Finds the route and what of the request it needs.
fn route<'a>(
    plan: &'a Pinned,
    request: &Request<Incoming>,
    record: &mut Record,
) -> Result<(&'a RouteEntry, Arrival), Fault> {
    if record.peer().is_misdirected(request) {
        return Err(Fault::MISDIRECTED);
    }
    let arrival = arrival::arrive(plan, request)?;
    record.slot = Some(arrival.slot);
    match plan.entry(arrival.slot) {
        Some(entry) if entry.target != Target::Unavailable => Ok((entry, arrival)),
        _ => Err(Fault::RouteUnavailable),
    }
}

/// A request that has its route.
struct Call<'a> {
    core: &'a Core,
    entry: &'a RouteEntry,
    arrival: &'a Arrival,
    is_grpc: bool,
}

impl Call<'_> {
    /// Policies, upstream, policies.
    async fn travel(
        &self,
        request: Request<Incoming>,
        record: &mut Record,
        carries: &mut Carries,
    ) -> (Response<Inner>, Option<Rest>) {
        // In its own memory: what is handed from step to step stays small.
        let (request, pace) = forward::take_over(request, &record.plan.gateway.limits);
        record.pace = pace;
        let mut request = Box::new(request);
        if self.entry.chain.is_empty() {
            forward::aim(&mut request, forward::onward(self.entry, self.arrival));
            let sent = forward::forward(self.core, self.entry, self.arrival, request, record).await;
            return self.answer(sent, record);
        }
        self.through_policies(request, record, carries).await
    }

    async fn through_policies(
        &self,
        mut request: Box<Request<Body>>,
        record: &mut Record,
        carries: &mut Carries,
    ) -> (Response<Inner>, Option<Rest>) {
        let (plan, peer) = (record.plan.clone(), Rc::clone(record.peer()));
        let (client, request_id) = (record.client.clone(), record.request_id.clone());
        let ports = RequestPorts::of(self.core, &plan);
        let mut cx = Cx {
            now_unix_micros: record.started_unix_micros,
            client: client.as_ref().unwrap_or(&peer.client),
            certificate: peer.certificate(),
            route: &self.entry.facts,
            parameters: &self.arrival.parameters,
            request_id: request_id.to_str().unwrap_or_default(),
            scheme: peer.scheme(),
            identity: None,
            claims: None,
            onward: forward::onward(self.entry, self.arrival),
            cache: Caching::default(),
            shadowed: None,
            ports: &ports,
        };
        let flow = self.entry.chain.on_request(&mut cx, &mut request, carries).await;
        record.caller.clone_from(&cx.identity);
        let (response, rest) = match flow {
            Flow::Next(()) => {
                forward::aim(&mut request, std::mem::take(&mut cx.onward));
                cx.cache.sent = cx.cache.is_sent_wanted.then(|| request.headers().clone());
                let sent =
                    forward::forward(self.core, self.entry, self.arrival, request, record).await;
                self.answer(sent, record)
            }
            Flow::Answer(response) => {
                if let Some(cache) = cx.cache.take_refresh() {
                    let (arrival, record) = (self.arrival.clone(), record.for_refresh());
                    let (identity, claims) = (cx.identity.clone(), cx.claims.clone());
                    let upstream = cx.onward.upstream().cloned();
                    let refresh =
                        Refresh { arrival, request, record, upstream, cache, identity, claims };
                    refresh::start(refresh);
                }
                (response.map(Inner::Body), None)
            }
            Flow::Refuse(refusal) => {
                (answer_fault(Fault::Refused(refusal), record, self.is_grpc), None)
            }
        };
        if let Some(Rest { idle_timeout, deadline, .. }) = &rest {
            ports.patience.set(Patience { idle: *idle_timeout, deadline: deadline.end });
        }
        let mut response = response.map(Inner::into_body);
        self.entry.chain.on_response(carries, &mut cx, &mut response).await;
        record.cache = cx.cache.outcome;
        record.shadowed = cx.shadowed;
        match Refusal::take_from(&mut response) {
            None => (response.map(Inner::Body), rest),
            // Its connection goes with the rest: nobody reads that answer to its end.
            Some(refusal) => {
                let mut refused = answer_fault(Fault::Refused(refusal), record, self.is_grpc);
                refused.headers_mut().extend(response.into_parts().0.headers);
                (refused, None)
            }
        }
    }

    fn answer(
        &self,
        sent: Result<Sent, Fault>,
        record: &mut Record,
    ) -> (Response<Inner>, Option<Rest>) {
        match sent {
            Ok(Sent { response, rest }) => (response.map(Inner::Answer), Some(rest)),
            Err(fault) => (answer_fault(fault, record, self.is_grpc), None),
        }
    }
}

fn answer_fault(fault: Fault, record: &mut Record, is_grpc: bool) -> Response<Inner> {
    let side = fault.side();
    let refusal = fault.into_refusal();
    record.fault = Some((refusal.code, side));
    for issue in &refusal.issues {
        let (code, at) = (refusal.code, issue.at.as_str());
        let request_id = record.request_id_text();
        tracing::debug!(request_id, code, at, problem = %issue.problem, "a message is refused");
    }
    response::refused(refusal, record.request_id_text(), is_grpc).map(Inner::Body)
}
