//! HTTP/1.1 to an endpoint, driven by the exchange that has the connection: no task of its own, and
//! nothing to hand bytes through.
//!
//! What an upstream answers is read as strictly as what clients send: an answer whose end can be read in
//! two ways would let one caller see another's (RFC 9112 §11.1).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use http::{Request, Response, StatusCode};
use tokio_util::io::poll_read_buf;

// A request as bytes.
mod sending;
// The head of an answer, and how its body is framed.
mod head;
// The chunked coding.
mod chunked;
// The body of an answer.
mod receiving;

// An answer that began before its request was sent.
mod duplex;

pub(super) use duplex::Duplex;
pub(super) use receiving::Receiving;
use sending::Sending;

use super::pool::EndpointPool;
use super::stream::Stream;
use super::{AnswerBody, OutgoingBody, Progress, Switched};
use head::{Framing, Head};

/// What is read at once as long as nothing is known of the size: a head and a small body.
const READ_BYTES: usize = 8 << 10;
/// Answers of status 1xx before the final one; a server could send them for ever.
const MAX_INTERIM: u8 = 16;

/// A connection to an endpoint. At rest, or owned by one exchange.
pub(in crate::upstream) struct Connection {
    pub(in crate::upstream) stream: Stream,
    /// Read, and not yet taken.
    pub(in crate::upstream) received: BytesMut,
}

/// Why no answer can be had from a connection.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The system's word.
    #[error("read from an upstream, or write to it")]
    Io(#[from] io::Error),
    /// It ended before the message did.
    #[error("the upstream closed the connection in the middle of an answer")]
    Closed,
    /// Its bytes are no answer that can be read in one way.
    #[error("the upstream's answer is malformed: {0}")]
    Malformed(&'static str),
    /// The request's body cannot be sent whole.
    #[error("the request's body broke off")]
    Upload,
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, received: BytesMut::new() }
    }

    /// Whether it can take a request: the server neither closed it nor said anything unasked.
    ///
    /// Costs no system call where nothing happened since the last read.
    pub(super) fn is_open(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.received.is_empty() && self.poll_read(&mut cx, 1).is_pending()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.received.capacity() - self.received.len() < room {
            self.received.reserve(room);
        }
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.received)
    }
}

/// A request under way, until the head of its answer is there. Dropped, it closes the connection.
pub(super) struct Waiting {
    connection: Box<Connection>,
    sending: Sending,
    /// The server takes no more of the request; what it has said already counts.
    is_cut: bool,
    interim: u8,
}

impl Waiting {
    pub(super) fn new(connection: Box<Connection>, request: Box<Request<OutgoingBody>>) -> Self {
        Self { connection, sending: Sending::new(request), is_cut: false, interim: 0 }
    }

    /// Sends the request and waits for the head of its answer. To be waited for again where the wait was given up.
    pub(super) async fn head(&mut self) -> Result<Head, Broken> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    /// The request.
    pub(super) fn request(&self) -> &Request<OutgoingBody> {
        self.sending.request()
    }

    /// The request, and whether anything of it went out. To be sent again only where nothing did or where it has no body.
    pub(super) fn into_request(self) -> (Box<Request<OutgoingBody>>, Progress) {
        self.sending.into_request()
    }

    /// The answer whose head this is. Its connection goes back to `pool` when it was read whole.
    pub(super) fn answered(self, head: Head, pool: &Rc<EndpointPool>) -> Response<AnswerBody> {
        let Self { mut connection, sending, is_cut, .. } = self;
        if head.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return head.response.map(|()| AnswerBody::Switched(Switched::new(connection)));
        }
        let is_sent = sending.is_done();
        let keeps_open = head.keeps_open && !is_cut;
        let whole = match head.framing {
            Framing::Nothing => Some(0),
            Framing::Length(length) => usize::try_from(length).ok(),
            Framing::Chunked(_) | Framing::UntilClose => None,
        };
        let body = match whole {
            Some(length) if is_sent && length <= connection.received.len() => {
                let body = connection.received.split_to(length).freeze();
                if keeps_open {
                    pool.keep(connection);
                }
                AnswerBody::Whole(body)
            }
            _ => {
                let pool = keeps_open.then(|| Rc::clone(pool));
                let is_over = is_sent || is_cut;
                let own = if is_over { pool.clone() } else { None };
                let receiving = Receiving::new(connection, head.framing, own);
                if is_over {
                    AnswerBody::Receiving(Box::new(receiving))
                } else {
                    AnswerBody::Duplex(Duplex::begin(receiving, sending, pool))
                }
            }
        };
        head.response.map(|()| body)
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        if !self.is_cut {
            match self.sending.poll(&mut self.connection.stream, cx) {
                Poll::Ready(Err(Broken::Io(error))) if self.sending.is_begun() => {
                    tracing::debug!(%error, "send all of a request");
                    self.is_cut = true;
                }
                Poll::Ready(sent) => sent?,
                Poll::Pending => {}
            }
        }
        loop {
            let method = self.sending.method();
            while let Some(head) = head::take(&mut self.connection.received, method)? {
                if !head.is_interim() {
                    return Poll::Ready(Ok(head));
                }
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Poll::Ready(Err(Broken::Malformed("too many interim answers")));
                }
            }
            if ready!(self.connection.poll_read(cx, READ_BYTES))? == 0 {
                return Poll::Ready(Err(Broken::Closed));
            }
        }
    }
}

#[cfg(test)]
mod tests;
