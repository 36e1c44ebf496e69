//! The body of an answer as it is read.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::chunked::Taken;
use super::head::Framing;
use super::{Broken, Connection, READ_BYTES};
use crate::upstream::pool::EndpointPool;

/// What is read at once of a body that is known or seen to be long.
const LONG_READ_BYTES: usize = 64 << 10;

/// The body of an answer. Gives its connection back to the pool when all of it was read; dropped
/// before, it closes it.
pub struct Receiving {
    /// None after the end.
    pub(super) connection: Option<Box<Connection>>,
    framing: Framing,
    /// Where the connection goes back to, if it can be used again.
    pub(super) pool: Option<Rc<EndpointPool>>,
    room_bytes: usize,
}

impl Receiving {
    pub(super) fn new(
        connection: Box<Connection>,
        framing: Framing,
        pool: Option<Rc<EndpointPool>>,
    ) -> Self {
        Self { connection: Some(connection), framing, pool, room_bytes: READ_BYTES }
    }

    /// The end: no byte of the answer is left.
    fn end(&mut self) {
        if let (Some(connection), Some(pool)) = (self.connection.take(), self.pool.take()) {
            pool.keep(connection);
        }
    }

    /// The next piece; none at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Broken>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(None)) };
            let received = &mut connection.received;
            match &mut self.framing {
                Framing::Nothing | Framing::Length(0) => {
                    self.end();
                    return Poll::Ready(Ok(None));
                }
                Framing::Length(left) if !received.is_empty() => {
                    let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
                    let piece = received.split_to(wanted.min(received.len())).freeze();
                    *left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                    if *left == 0 {
                        self.end();
                    }
                    return Poll::Ready(Ok(Some(Frame::data(piece))));
                }
                Framing::UntilClose if !received.is_empty() => {
                    let piece = received.split().freeze();
                    return Poll::Ready(Ok(Some(Frame::data(piece))));
                }
                Framing::Length(_) | Framing::UntilClose => {}
                Framing::Chunked(chunked) => match chunked.take(received)? {
                    Taken::Data(piece) => return Poll::Ready(Ok(Some(Frame::data(piece)))),
                    Taken::End(trailers) => {
                        self.framing = Framing::Nothing;
                        self.end();
                        let trailers = (!trailers.is_empty()).then(|| Frame::trailers(trailers));
                        return Poll::Ready(Ok(trailers));
                    }
                    Taken::Nothing => {}
                },
            }
            if ready!(self.poll_more(cx))? == 0 {
                return Poll::Ready(self.closed());
            }
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(0)) };
        // What goes wrong here, the read will tell.
        let polled = match connection.stream.poll_readable(cx) {
            Poll::Ready(_) => connection.poll_read(cx, self.room_bytes),
            Poll::Pending => Poll::Pending,
        };
        if polled.is_pending() && connection.received.is_empty() {
            // Of streams of events, most rest most of the time: meanwhile they keep no buffer.
            connection.received = BytesMut::new();
        }
        let read = ready!(polled)?;
        // As long as reads are full there is more to come.
        self.room_bytes = if read >= self.room_bytes { LONG_READ_BYTES } else { READ_BYTES };
        Poll::Ready(Ok(read))
    }

    /// The server has closed: the end where nothing else says where it is.
    fn closed(&mut self) -> Result<Option<Frame<Bytes>>, Broken> {
        match self.framing {
            Framing::UntilClose | Framing::Nothing => {
                self.framing = Framing::Nothing;
                self.end();
                Ok(None)
            }
            Framing::Length(_) | Framing::Chunked(_) => Err(Broken::Closed),
        }
    }
}

impl Body for Receiving {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let polled = ready!(this.poll_piece(cx));
        if polled.is_err() {
            this.connection = None;
        }
        Poll::Ready(polled.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none() || matches!(self.framing, Framing::Nothing | Framing::Length(0))
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Nothing => SizeHint::with_exact(0),
            Framing::Length(length) => SizeHint::with_exact(length),
            Framing::Chunked(_) | Framing::UntilClose => SizeHint::default(),
        }
    }
}
