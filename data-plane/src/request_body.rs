//! What a client sends after its head: how slowly it may come, whoever reads it.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};
use tollgate_model::gateway::Limits;
use tollgate_policy::body::{BodyError, BrokenOff};
use tollgate_policy::{Body, Refusal};

use crate::fault::REQUEST_TIMEOUT;
use crate::response;

/// Whether the body still has to come at a certain rate: until an answer has begun. From then on the two may take
/// turns, and the upstream knows best how long it listens.
#[derive(Clone, Debug, Default)]
pub struct Pace(Rc<Cell<bool>>);

impl Pace {
    /// An answer has begun.
    pub fn end(&self) {
        self.0.set(true);
    }

    fn has_ended(&self) -> bool {
        self.0.get()
    }
}

/// The body of a request as policies see it, and the pace that is demanded of it.
///
/// No pace where there is no body or no bound, and for gRPC: its streams may be silent, and its calls have deadlines.
#[must_use]
pub fn take(request: Request<Incoming>, limits: &Limits) -> (Request<Body>, Option<Pace>) {
    if request.body().is_end_stream() {
        return (request.map(|_none| Body::Empty), None);
    }
    let rate = limits.body_rate.bytes();
    if rate == 0 || response::is_grpc(request.headers()) {
        return (request.map(|body| Body::stream(body.map_err(Into::into))), None);
    }
    let pace = Pace::default();
    let paced = |incoming| Paced {
        incoming,
        pace: pace.clone(),
        rate,
        allowed: limits.body_time.get(),
        awaited_since: None,
        timer: None,
    };
    (request.map(|incoming| Body::stream(paced(incoming))), Some(pace))
}

/// A body that has to come at a certain rate. Only the time counts in which somebody waits for it: what an upstream
/// does not take is not the client's fault.
struct Paced {
    incoming: Incoming,
    pace: Pace,
    /// Bytes a second.
    rate: u64,
    /// How long the client may still let others wait. Every byte adds to it.
    allowed: Duration,
    awaited_since: Option<Instant>,
    /// Set when the client is first waited for, and then only when it has run out: not for every piece.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    fn received(&mut self, bytes: usize) {
        if let Some(since) = self.awaited_since.take() {
            self.allowed = self.allowed.saturating_sub(since.elapsed());
        }
        let micros = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000) / self.rate;
        self.allowed = self.allowed.saturating_add(Duration::from_micros(micros));
    }

    /// Ready when the client has let others wait for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pace.has_ended() {
            self.timer = None;
            return Poll::Pending;
        }
        let since = *self.awaited_since.get_or_insert_with(Instant::now);
        let Some(end) = since.checked_add(self.allowed) else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        loop {
            std::task::ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            this.received(bytes.map_or(0, Bytes::len));
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        this.poll_late(cx).map(|()| Some(Err(too_slow())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// In the form that policies which read a body know already.
fn too_slow() -> BodyError {
    let detail = "the request's body came too slowly";
    Box::new(BrokenOff(Box::new(Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        REQUEST_TIMEOUT,
        detail,
    ))))
}
