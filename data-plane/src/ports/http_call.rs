//! Calls of policies' own: sent like a client's, over the connections of the same thread.

use std::rc::Rc;

use http::Request;
use tokio::time::{Instant, sleep_until};
use tollgate_policy::Body;
use tollgate_policy::body::whole::{self, Read, Whole};
use tollgate_policy::ports::{Call, CallAnswer, Calling, HttpCall};

use super::RequestPorts;
use crate::deadline::Deadline;
use crate::fields;
use crate::upstream::{self, Dispatch, OutgoingBody};

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
        let read = whole::read(body.into_body(), most_bytes, sleep_until(end)).await;
        if let Ok(Read::Whole(Whole { bytes, trailers })) = read {
            (answered.body, answered.trailers) = (Some(bytes), trailers.unwrap_or_default());
        }
        // Until here it counts as under way at its server.
        drop(answer.turn);
        Some(answered)
    }
}
