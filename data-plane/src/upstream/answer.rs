//! What an upstream answered.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tollgate_policy::Body;
use tollgate_policy::body::BodyError;

use super::http1::{Duplex, Receiving};
use super::pool::Turn;

/// An answer, as far as its head.
pub struct Answer {
    /// The response.
    pub response: Response<AnswerBody>,
    /// Keeps the request counted as under way.
    pub turn: Turn,
    /// Who answered.
    pub authority: HeaderValue,
}

/// The body of an answer, as it comes.
pub enum AnswerBody {
    /// It came with the head.
    Whole(Bytes),
    /// Over HTTP/1.1.
    Receiving(Box<Receiving>),
    /// Over HTTP/1.1, while the request is still being sent.
    Duplex(Duplex),
    /// Over HTTP/2.
    Http2(Incoming),
}

impl AnswerBody {
    /// The same as policies see it.
    #[must_use]
    pub fn into_body(self) -> Body {
        if let Self::Whole(bytes) = self { Body::from(bytes) } else { Body::stream(self) }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Receiving(body) => Pin::new(&mut **body).poll_frame(cx).map_err(Into::into),
            Self::Duplex(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Receiving(body) => body.is_end_stream(),
            Self::Duplex(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Self::Receiving(body) => body.size_hint(),
            Self::Duplex(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
