//! The request's body on its way: counted, and bounded in time between two pieces.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tollgate_policy::Body;
use tollgate_policy::body::BodyError;

/// The body of a request to an upstream.
pub struct OutgoingBody(Option<Box<Counted>>);

struct Counted {
    body: Body,
    bytes: Rc<Cell<u64>>,
    is_done: Rc<Cell<bool>>,
    idle_timeout: Duration,
    idle: Option<Pin<Box<Sleep>>>,
}

/// The client stopped sending.
#[derive(Debug, thiserror::Error)]
#[error("the client sent nothing of its body for too long")]
pub struct ClientIdle;

impl OutgoingBody {
    /// None.
    #[must_use]
    pub fn empty() -> Self {
        Self(None)
    }

    /// A body, with where its bytes are counted and its end is told.
    #[must_use]
    pub fn new(
        body: Body,
        bytes: Rc<Cell<u64>>,
        is_done: Rc<Cell<bool>>,
        idle_timeout: Duration,
    ) -> Self {
        Self(Some(Box::new(Counted { body, bytes, is_done, idle_timeout, idle: None })))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Counted {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.idle = None;
            match &frame {
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    self.bytes.set(self.bytes.get() + u64::try_from(length).unwrap_or(0));
                }
                Some(Err(_)) => {}
                None => self.is_done.set(true),
            }
            if self.body.is_end_stream() {
                self.is_done.set(true);
            }
            return Poll::Ready(frame);
        }
        let timeout = self.idle_timeout;
        let idle = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + timeout)));
        match idle.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Box::new(ClientIdle)))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl http_body::Body for OutgoingBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            None => Poll::Ready(None),
            Some(counted) => counted.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|counted| counted.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |counted| counted.body.size_hint())
    }
}
