//! Calls of policies' own: sent like a client's, over the connections of the same thread.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use tollgate_policy::Body;
use tollgate_policy::ports::{Call, CallAnswer, Calling, HttpCall};

use super::RequestPorts;
use crate::deadline::Deadline;
use crate::fields;
use crate::upstream::{self, AnswerBody, Dispatch, OutgoingBody};

impl HttpCall for RequestPorts<'_> {
    fn call<'a>(&'a self, call: Call<'a>) -> Calling<'a> {
        Box::pin(self.send(call))
    }

    fn count_failure(&self) {
        if let Some(core) = self.core {
            core.metrics.policy_call_failures.add(1);
        }
    }
}

impl RequestPorts<'_> {
    async fn send(&self, call: Call<'_>) -> Option<CallAnswer> {
        let Call { tenant, upstream, client, request, timeout, most_bytes } = call;
        let core = self.core?;
        // What names it would not run without it.
        let upstream = self.plan.upstream_named(tenant, upstream)?;
        let (head, body) = request.into_parts();
        let body = if body.is_empty() {
            OutgoingBody::empty()
        } else {
            OutgoingBody::new(Body::from(body), Rc::default(), upstream.idle_timeout)
        };
        let affinity = upstream::affinity(upstream, &head, client);
        let total = upstream.total_timeout.map_or(timeout, |total| total.min(timeout));
        let end = Instant::now() + total;
        let deadline = Deadline { end: Some(end), ..Deadline::default() };
        let dispatch = Dispatch { core, upstream, deadline, affinity };
        let request = Box::new(Request::from_parts(head, body));
        let answer = match upstream::send(&dispatch, request, &mut 0).await {
            Ok(answer) => answer,
            Err(fault) => {
                tracing::debug!(?fault, "call a policy's upstream");
                return None;
            }
        };
        let (mut head, body) = answer.response.into_parts();
        fields::remove_hop_by_hop(&mut head.headers);
        let mut answered =
            CallAnswer { status: head.status, headers: head.headers, ..CallAnswer::default() };
        let read = timeout_at(end, read(body, most_bytes)).await;
        if let Some((body, trailers)) = read.ok().flatten() {
            (answered.body, answered.trailers) = (Some(body), trailers);
        }
        // Until here it counts as under way at its server.
        drop(answer.turn);
        Some(answered)
    }
}

/// A whole body and what follows it; none where it is too large or breaks off.
async fn read(mut body: AnswerBody, most_bytes: usize) -> Option<(Bytes, HeaderMap)> {
    if let AnswerBody::Whole(bytes) = body {
        return (bytes.len() <= most_bytes).then(|| (bytes, HeaderMap::new()));
    }
    let (mut whole, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) if data.len() > most_bytes - whole.len() => return None,
            Ok(data) => whole.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Some((whole.freeze(), trailers))
}
