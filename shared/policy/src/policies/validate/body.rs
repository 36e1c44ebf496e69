//! A body that is read whole before it goes on, byte for byte.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::body::{Body, BodyError, BrokenOff};
use crate::policy::Refusal;

/// Why a body was not read.
pub(super) enum Unread {
    TooLarge,
    /// It did not come in time.
    Late,
    /// Another policy broke it off.
    Refused(Box<Refusal>),
    /// Its sender broke it off.
    Broken,
}

/// Reads a body of at most so many bytes, and puts what was read in its place. `late` ends the wait.
pub(super) async fn read(
    body: &mut Body,
    most: usize,
    late: impl Future<Output = ()>,
) -> Result<Bytes, Unread> {
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > most {
        return Err(Unread::TooLarge);
    }
    let mut source = match std::mem::take(body) {
        Body::Empty => return Ok(Bytes::new()),
        Body::Full(bytes) => {
            *body = Body::from(bytes.clone());
            return Ok(bytes);
        }
        Body::Stream(source) => source,
    };
    let mut late = pin!(late);
    let mut whole = Whole::default();
    let mut gathered = Gathered::default();
    loop {
        let frame = poll_fn(|cx| match source.as_mut().poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => late.as_mut().poll(cx).map(Err),
        });
        let frame = match frame.await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(because_of(error)),
            Err(()) => return Err(Unread::Late),
        };
        match frame.into_data() {
            Ok(data) => {
                if data.len() > most - gathered.len().min(most) {
                    return Err(Unread::TooLarge);
                }
                gathered.add(data);
            }
            Err(frame) => whole.trailers = frame.into_trailers().ok(),
        }
    }
    let bytes = gathered.into_bytes();
    *body = match whole.trailers {
        None => Body::from(bytes.clone()),
        Some(_) => {
            whole.bytes = bytes.clone();
            Body::stream(whole)
        }
    };
    Ok(bytes)
}

fn because_of(error: BodyError) -> Unread {
    match error.downcast::<BrokenOff>() {
        Ok(broken_off) => Unread::Refused(broken_off.0),
        Err(_senders) => Unread::Broken,
    }
}

/// What has come. One piece is kept as it is.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    all: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn add(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        let first = std::mem::take(&mut self.first);
        self.all.extend_from_slice(&first);
        self.all.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

/// A body in memory, with its trailers.
#[derive(Default)]
struct Whole {
    bytes: Bytes,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if !this.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.bytes)))));
        }
        Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX))
    }
}
