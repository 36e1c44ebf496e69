//! The request's body on its way: counted, and bounded in time between two pieces.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tollgate_policy::body::{BodyError, BrokenOff};
use tollgate_policy::{Body, Refusal};

use crate::fault::{Fault, REQUEST_TIMEOUT};

/// The body of a request to an upstream.
pub struct OutgoingBody(Option<Box<Counted>>);

struct Counted {
    body: Body,
    upload: Rc<Upload>,
    idle_timeout: Duration,
    idle: Option<Pin<Box<Sleep>>>,
}

/// How far the body of a request has come.
#[derive(Default)]
pub struct Upload {
    bytes: Cell<u64>,
    ended: Cell<Option<Instant>>,
    is_awaited: Cell<bool>,
    failed: Cell<Option<Failed>>,
}

/// Why a body broke off. The client's doing or a policy's, not the upstream's.
enum Failed {
    Idle,
    Broken,
    Refused(Box<Refusal>),
}

/// What the connection to the upstream is told.
#[derive(Debug, thiserror::Error)]
#[error("the request's body broke off")]
struct BodyBroke;

impl Upload {
    /// What went out over a connection that switched protocols.
    #[must_use]
    pub fn of_tunnel(bytes: u64) -> Self {
        let upload = Self::default();
        upload.bytes.set(bytes);
        upload
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// When its last byte went out; none while it has not.
    pub fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    /// Whether the next piece is the client's to send, and not the upstream's to take.
    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited.get()
    }

    /// What is answered where it broke off. For one caller: it is taken.
    pub(super) fn fault(&self) -> Option<Fault> {
        let malformed = |code, status, problem| Fault::Malformed { code, status, problem };
        self.failed.take().map(|failed| match failed {
            Failed::Refused(refusal) => Fault::Refused(refusal),
            Failed::Idle => malformed(
                REQUEST_TIMEOUT,
                StatusCode::REQUEST_TIMEOUT,
                "the request's body stopped coming",
            ),
            Failed::Broken => malformed(
                "malformed_request",
                StatusCode::BAD_REQUEST,
                "the request's body broke off or is not framed as HTTP demands",
            ),
        })
    }
}

impl OutgoingBody {
    /// None.
    #[must_use]
    pub fn empty() -> Self {
        Self(None)
    }

    /// A body, with where it is told how far it has come.
    #[must_use]
    pub fn new(body: Body, upload: Rc<Upload>, idle_timeout: Duration) -> Self {
        Self(Some(Box::new(Counted { body, upload, idle_timeout, idle: None })))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How far it has come, where there is one.
    pub(super) fn upload(&self) -> Option<Rc<Upload>> {
        self.0.as_ref().map(|counted| Rc::clone(&counted.upload))
    }
}

impl Counted {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.idle = None;
            self.upload.is_awaited.set(false);
            let frame =
                frame.map(|frame| frame.map_err(|error| self.fail(Failed::because_of(error))));
            if let Some(Ok(frame)) = &frame {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let bytes = &self.upload.bytes;
                bytes.set(bytes.get() + u64::try_from(length).unwrap_or(0));
            }
            let has_failed = matches!(frame, Some(Err(_)));
            if !has_failed && (frame.is_none() || self.body.is_end_stream()) {
                self.upload.ended.set(Some(Instant::now()));
            }
            return Poll::Ready(frame);
        }
        self.upload.is_awaited.set(true);
        let timeout = self.idle_timeout;
        let idle = self
            .idle
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + timeout)));
        match idle.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(self.fail(Failed::Idle)))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn fail(&self, failed: Failed) -> BodyError {
        self.upload.failed.set(Some(failed));
        Box::new(BodyBroke)
    }
}

impl Failed {
    fn because_of(error: BodyError) -> Self {
        match error.downcast::<BrokenOff>() {
            Ok(broken_off) => Self::Refused(broken_off.0),
            Err(_clients) => Self::Broken,
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
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(counted) => counted.body.size_hint(),
        }
    }
}
