//! The body of a request, read to its end within bounds.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use super::fault::Fault;
use crate::body::{Body, BodyError, BrokenOff};

/// A pause; see [`crate::ports::Ports::pause`].
pub(super) type Pause = Pin<Box<dyn Future<Output = ()>>>;

/// Reads a body to its end and leaves it in its place, whole. What is over `max_bytes` is not read, and what
/// does not come before `pause` is over is not waited for.
pub(super) async fn read(
    body: &mut Body,
    max_bytes: u64,
    mut pause: Pause,
) -> Result<Bytes, Fault> {
    if body.size_hint().lower() > max_bytes {
        return Err(Fault::BodyTooLarge(max_bytes));
    }
    let (mut first, mut rest, mut trailers) = (Bytes::new(), BytesMut::new(), None);
    let mut left = max_bytes;
    loop {
        let next = std::future::poll_fn(|cx| {
            // First, so that who sends nothing but empty pieces is not listened to for ever.
            if pause.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Fault::BodyTooSlow));
            }
            Pin::new(&mut *body).poll_frame(cx).map(Ok)
        });
        let Some(frame) = next.await? else { break };
        let data = match frame.map_err(broken)?.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().ok();
                continue;
            }
        };
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        left = left.checked_sub(length).ok_or(Fault::BodyTooLarge(max_bytes))?;
        if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    let whole = if rest.is_empty() { first } else { rest.freeze() };
    *body = match trailers {
        None => Body::from(whole.clone()),
        Some(trailers) => {
            Body::stream(Trailed { data: Some(whole.clone()), trailers: Some(trailers) })
        }
    };
    Ok(whole)
}

fn broken(error: BodyError) -> Fault {
    match error.downcast::<BrokenOff>() {
        Ok(broken_off) => Fault::Refused(broken_off.0),
        Err(_clients) => Fault::BodyBroken,
    }
}

/// A body that is whole, and what came behind it.
struct Trailed {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Trailed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let data = this.data.take().filter(|data| !data.is_empty()).map(Frame::data);
        Poll::Ready(data.or_else(|| this.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
