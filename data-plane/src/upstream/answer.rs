//! What an upstream answered.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tollgate_policy::Body;
use tollgate_policy::body::BodyError;

use super::http1::{Connection, Duplex, Receiving};
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
    /// None: the connection speaks another protocol now.
    Switched(Switched),
}

/// A connection to an endpoint that switched protocols.
pub struct Switched(Box<Connection>);

impl Switched {
    pub(super) fn new(connection: Box<Connection>) -> Self {
        Self(connection)
    }

    /// What came behind the head.
    pub fn take_received(&mut self) -> BytesMut {
        std::mem::take(&mut self.0.received)
    }
}

impl AsyncRead for Switched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Switched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.stream).poll_shutdown(cx)
    }
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
            Self::Switched(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Receiving(body) => body.is_end_stream(),
            Self::Duplex(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Switched(_) => true,
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
            Self::Switched(_) => SizeHint::with_exact(0),
        }
    }
}
