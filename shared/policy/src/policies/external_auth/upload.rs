//! The body of the request, held while the service is asked about it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame, SizeHint};

use super::Larger;
use crate::body::{Body, BodyError, BrokenOff};
use crate::policy::Refusal;
use crate::ports::Ports;

/// How much of a body is held, and for how long.
pub(super) struct Buffering {
    pub(super) most_bytes: usize,
    pub(super) on_larger: Larger,
    pub(super) wait: Duration,
}

/// A body that has begun to come.
#[derive(Default)]
struct Begun {
    bytes: BytesMut,
    trailers: Option<HeaderMap>,
    /// Whether there is more, which is not held.
    goes_on: bool,
}

impl Buffering {
    /// Copies a whole body, which stays in its place; none where it is too large and is left out.
    ///
    /// # Errors
    ///
    /// A refusal, where it is too large, breaks off or takes too long.
    pub(super) async fn take(
        &self,
        ports: &dyn Ports,
        body: &mut Body,
    ) -> Result<Option<Bytes>, Box<Refusal>> {
        match body {
            Body::Empty => return Ok(Some(Bytes::new())),
            Body::Full(bytes) if bytes.len() <= self.most_bytes => return Ok(Some(bytes.clone())),
            Body::Full(_) | Body::Stream(_) => {}
        }
        let most_bytes = u64::try_from(self.most_bytes).unwrap_or(u64::MAX);
        // One that says that it is larger is not waited for.
        if body.size_hint().lower() > most_bytes {
            return self.leave_out();
        }
        let Begun { bytes, trailers, goes_on } = self.begin(ports, body).await?;
        let first = bytes.freeze();
        let rest = std::mem::take(body);
        if goes_on {
            *body = Body::stream(Resumed { first, rest, trailers: None });
            return self.leave_out();
        }
        *body = match trailers {
            None => Body::from(first.clone()),
            Some(_) => Body::stream(Resumed { first: first.clone(), rest: Body::Empty, trailers }),
        };
        Ok(Some(first))
    }

    async fn begin(&self, ports: &dyn Ports, body: &mut Body) -> Result<Begun, Box<Refusal>> {
        let mut begun = Begun::default();
        let mut limit = ports.sleep(self.wait);
        loop {
            let frame = poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(Ok(frame)),
                Poll::Pending => limit.as_mut().poll(cx).map(|()| Err(too_slow())),
            });
            let Some(frame) = frame.await? else { return Ok(begun) };
            match frame.map_err(broken_off)?.into_data() {
                Ok(data) => begun.bytes.extend_from_slice(&data),
                Err(frame) => begun.trailers = frame.into_trailers().ok(),
            }
            if begun.bytes.len() > self.most_bytes {
                begun.goes_on = true;
                return Ok(begun);
            }
        }
    }

    fn leave_out(&self) -> Result<Option<Bytes>, Box<Refusal>> {
        match self.on_larger {
            Larger::Omit => Ok(None),
            Larger::Refuse => Err(Box::new(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!(
                    "the request's body is larger than the {} bytes that are taken here",
                    self.most_bytes
                ),
            ))),
        }
    }
}

fn too_slow() -> Box<Refusal> {
    Box::new(Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        "the request's body took too long to come",
    ))
}

fn broken_off(error: BodyError) -> Box<Refusal> {
    match error.downcast::<BrokenOff>() {
        Ok(broken_off) => broken_off.0,
        Err(_clients) => Box::new(Refusal::new(
            StatusCode::BAD_REQUEST,
            "malformed_request",
            "the request's body broke off or is not framed as HTTP demands",
        )),
    }
}

/// A body of which the beginning was read.
struct Resumed {
    first: Bytes,
    rest: Body,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Resumed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.first)))));
        }
        match this.trailers.take() {
            Some(trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            None => Pin::new(&mut this.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.trailers.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (first, rest) =
            (u64::try_from(self.first.len()).unwrap_or(u64::MAX), self.rest.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first));
        // With a length there is no place for trailers.
        if let (Some(upper), None) = (rest.upper(), &self.trailers) {
            hint.set_upper(upper.saturating_add(first));
        }
        hint
    }
}
