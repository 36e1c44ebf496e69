//! A body that is read whole, within a bound.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::body::{Body, BodyError};

/// What came of reading a body.
pub(super) enum Read {
    /// All of it. Trailers are dropped: they may tell of the bytes as they were.
    Whole(Bytes),
    /// It is larger; nothing of it is lost.
    TooLarge(Body),
}

/// Reads a body of at most so many bytes.
///
/// # Errors
///
/// Why it broke off.
pub(super) async fn read(mut body: Body, most_bytes: usize) -> Result<Read, BodyError> {
    let most = u64::try_from(most_bytes).unwrap_or(u64::MAX);
    if body.size_hint().lower() > most {
        return Ok(Read::TooLarge(body));
    }
    if let Body::Full(bytes) = body {
        return Ok(Read::Whole(bytes));
    }
    let room = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut begun = Vec::with_capacity(room.unwrap_or(0));
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(piece) = frame?.into_data() else { break };
        begun.extend_from_slice(&piece);
        if begun.len() > most_bytes {
            return Ok(Read::TooLarge(Body::stream(Rejoined { begun: begun.into(), rest: body })));
        }
    }
    Ok(Read::Whole(begun.into()))
}

/// What was read, and what was not.
struct Rejoined {
    begun: Bytes,
    rest: Body,
}

impl http_body::Body for Rejoined {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if !this.begun.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.begun)))));
        }
        Pin::new(&mut this.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let begun = u64::try_from(self.begun.len()).unwrap_or(u64::MAX);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(begun));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(begun));
        }
        hint
    }
}
