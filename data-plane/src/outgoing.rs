//! The answer on its way to the client: counted, bounded in time, and with all that ends with its
//! last byte.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tollgate_policy::body::{BodyError, BrokenOff};
use tollgate_policy::chain::Carries;
use tollgate_policy::{Body, End};

use crate::deadline::{self, Deadline};
use crate::fault::{Fault, Side};
use crate::record::Record;
use crate::request_id::X_REQUEST_ID;
use crate::tunnel::Tunnel;
use crate::upstream::{AnswerBody, Turn};

/// The bytes of an answer.
pub enum Inner {
    /// As the upstream sends them.
    Answer(AnswerBody),
    /// As policies or the gateway made them.
    Body(Body),
}

impl Inner {
    /// The same as policies see it.
    #[must_use]
    pub fn into_body(self) -> Body {
        match self {
            Self::Body(body) => body,
            Self::Answer(answer) => answer.into_body(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Answer(answer) => Pin::new(answer).poll_frame(cx),
            Self::Body(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Answer(answer) => answer.is_end_stream(),
            Self::Body(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Answer(answer) => answer.size_hint(),
            Self::Body(body) => body.size_hint(),
        }
    }
}

/// What an answer of an upstream's holds until its last byte.
pub struct Rest {
    /// Keeps the request counted as under way at its endpoint.
    pub turn: Turn,
    /// The longest wait between two pieces.
    pub idle_timeout: Duration,
    /// When the whole exchange must be over.
    pub deadline: Deadline,
}

/// The body of an answer.
pub struct ExchangeBody {
    inner: Inner,
    /// None where it went over to a tunnel.
    ending: Option<Box<Ending>>,
}

/// All that ends with an exchange: at its last byte, or when it is given up before.
pub struct Ending {
    /// What is known of it.
    pub record: Record,
    /// What its policies wait for.
    pub carries: Carries,
    rest: Option<Rest>,
    /// None while no answer has begun.
    status: Option<StatusCode>,
    wait: Option<Pin<Box<Sleep>>>,
    /// Why the answer breaks off, until what came before it has been written.
    broken: Option<BodyError>,
    is_over: bool,
}

/// What nginx writes for a client that went away before its answer; in records alone.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The upstream stopped sending.
#[derive(Debug, thiserror::Error)]
#[error("the upstream sent nothing of its answer for too long")]
pub struct UpstreamIdle;

impl Ending {
    /// Begins with the exchange.
    #[must_use]
    pub fn new(record: Record) -> Self {
        let carries = Carries::default();
        Self { record, carries, rest: None, status: None, wait: None, broken: None, is_over: false }
    }

    /// Ties an answer to what ends with it.
    pub fn finish_when_sent(
        mut self: Box<Self>,
        mut response: Response<Inner>,
        rest: Option<Rest>,
    ) -> Response<ExchangeBody> {
        response.headers_mut().insert(X_REQUEST_ID, self.record.request_id.clone());
        self.status = Some(response.status());
        self.rest = rest;
        if will_last(&response) {
            self.record.settle();
        }
        // A policy may have refused what came back.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some((upstream, idle_timeout)) = self.record.switched.take()
        {
            let peer = Rc::clone(self.record.peer());
            peer.switch(Tunnel { upstream, ending: self, idle_timeout });
            return response
                .map(|_nothing| ExchangeBody { inner: Inner::Body(Body::Empty), ending: None });
        }
        response.map(|inner| ExchangeBody { inner, ending: Some(self) })
    }

    /// Ends it where no body does.
    pub fn finish(mut self, is_complete: bool) {
        self.end(is_complete);
    }

    /// Ends the exchange, once.
    fn end(&mut self, is_complete: bool) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.rest = None;
        let given_up =
            StatusCode::from_u16(CLIENT_CLOSED_REQUEST).unwrap_or(StatusCode::BAD_REQUEST);
        let status = self.status.unwrap_or(given_up);
        self.record.finish(status, is_complete);
        if let Some(entry) = self.record.slot.and_then(|slot| self.record.plan.entry(slot)) {
            let carries = std::mem::take(&mut self.carries);
            entry.chain.on_end(carries, &End { status, is_complete });
        }
    }

    /// Ready when the upstream has been silent for too long, or the exchange has lasted too long.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(rest) = &self.rest else { return Poll::Pending };
        let wait = self.wait.get_or_insert_with(|| {
            let idle = Instant::now() + rest.idle_timeout;
            Box::pin(tokio::time::sleep_until(rest.deadline.end.map_or(idle, |end| end.min(idle))))
        });
        wait.as_mut().poll(cx)
    }

    /// Whether a gRPC call has lasted too long, however much comes of its answer.
    fn is_grpc_over(&self) -> bool {
        let Some(Rest { deadline: Deadline { end, is_grpc: true, .. }, .. }) = &self.rest else {
            return false;
        };
        end.is_some_and(|end| end <= Instant::now())
    }
}

/// Whether an answer is a stream that may be silent for long.
fn will_last(response: &Response<Inner>) -> bool {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return true;
    }
    let is_events = |value: &HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
    response.body().size_hint().exact().is_none()
        && response.headers().get(header::CONTENT_TYPE).is_some_and(is_events)
}

impl Drop for Ending {
    /// The client went away.
    fn drop(&mut self) {
        self.end(false);
    }
}

impl ExchangeBody {
    /// Ends the answer of a gRPC call whose time is over: what came of it stands, its status says why no more does.
    fn end_of_grpc(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        self.inner = Inner::Body(Body::Empty);
        if let Some(ending) = &mut self.ending {
            let is_callers =
                ending.rest.as_ref().is_some_and(|rest| rest.deadline.is_callers_over());
            let fault = if is_callers { Fault::DeadlineExceeded } else { Fault::TimedOut };
            let side = fault.side();
            ending.record.fault = Some((fault.into_refusal().code, side));
            ending.end(false);
        }
        Some(Ok(Frame::trailers(deadline::exceeded_trailers())))
    }
}

impl http_body::Body for ExchangeBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(ending) = &mut this.ending else { return Poll::Ready(None) };
        if let Some(error) = ending.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if ending.is_grpc_over() {
            return Poll::Ready(this.end_of_grpc());
        }
        let polled = this.inner.poll(cx);
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                ending.record.response_bytes += u64::try_from(length).unwrap_or(0);
                ending.wait = None;
                if this.inner.is_over() {
                    ending.end(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                ending.end(true);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(BrokenOff(refusal)) = error.downcast_ref() {
                    ending.record.fault = Some((refusal.code, Side::Policy));
                }
                ending.end(false);
                // At the error hyper closes, and throws away what it has not written.
                ending.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => {
                if ending.poll_wait(cx).is_ready() {
                    if ending.is_grpc_over() {
                        return Poll::Ready(this.end_of_grpc());
                    }
                    ending.end(false);
                    return Poll::Ready(Some(Err(Box::new(UpstreamIdle))));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for ExchangeBody {
    /// Complete where there was nothing (more) to ask for, also of the answer to HEAD; else the
    /// client went away.
    fn drop(&mut self) {
        if let Some(ending) = &mut self.ending {
            let is_complete = self.inner.is_over() || ending.record.is_head();
            ending.end(is_complete);
        }
    }
}
