//! The client's stream, as hyper sees it, and its end: what is refused before hyper could read it
//! is answered there, with a problem document like every other refusal.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::sweep::{Order, State};
use super::transport::Transport;
use crate::core::Core;
use crate::fault::Fault;
use crate::framing::{Guarded, Position, Watch};
use crate::response::problem_document;

/// How long, and for how much, a client is listened to that was told to stop.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// A head and a small body are written as one piece up to this size: the copy costs less than what the system does for
/// two, and over TLS they are one record.
const GATHER_BYTES: usize = 4 << 10;

thread_local! {
    static GATHERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A guarded stream that keeps a violation to itself while an earlier request is being answered.
pub(super) struct ClientStream<S> {
    guarded: Guarded<S>,
    watch: Watch,
    state: Arc<State>,
    is_flushed: bool,
    has_ended: bool,
    /// A violation is kept back; hyper is to ask again.
    is_holding: bool,
}

impl<S: Transport> ClientStream<S> {
    pub(super) fn new(guarded: Guarded<S>, state: Arc<State>) -> Self {
        let watch = guarded.watch();
        Self { guarded, watch, state, is_flushed: true, has_ended: false, is_holding: false }
    }

    /// The stream itself, which speaks another protocol now.
    pub(super) fn into_inner(self) -> S {
        self.guarded.into_inner()
    }

    /// Ends the connection: writes the refusal that is owed, and closes so that it arrives.
    pub(super) async fn end(self, core: &Core, was_busy: bool) {
        let order = self.state.current_order();
        if order == Order::Cut {
            return;
        }
        let violation = self.watch.violation();
        if violation.is_some() {
            core.metrics.framing_violations.add(1);
        }
        let owed = match self.watch.unanswered() {
            Some(violation) => Some(Fault::from(violation)),
            None => (order == Order::TooSlow).then_some(Fault::TooSlow),
        };
        // Behind half of an answer, another one would be taken for the rest of it.
        let owed = owed.filter(|_| !was_busy && self.is_flushed);
        let is_unread = violation.is_some() || self.watch.position() != Position::BetweenRequests;
        let last = owed.map(|fault| refusal_message(core, fault)).unwrap_or_default();
        let reads_on = !self.has_ended && (is_unread || !last.is_empty());
        close(self.guarded.into_inner(), &last, reads_on).await;
    }
}

/// Ends a connection of which not even the version is clear yet.
pub(super) async fn end_unclear(core: &Core, stream: TcpStream) {
    let last = if has_bytes(&stream) { refusal_message(core, Fault::TooSlow) } else { Vec::new() };
    close(stream, &last, !last.is_empty()).await;
}

/// Ends a connection with a refusal that was not asked for in HTTP.
pub(super) async fn end_with(core: &Core, stream: TcpStream, fault: Fault) {
    close(stream, &refusal_message(core, fault), true).await;
}

/// Writes the last bytes and closes. Closed with bytes unread, the client's system may throw the
/// answer away (RFC 9112 §9.6): they are read for a while.
async fn close<S: Transport>(mut stream: S, last: &[u8], reads_on: bool) {
    let closing = async {
        stream.write_all(last).await?;
        stream.shutdown().await?;
        let socket = stream.socket();
        if reads_on || has_bytes(socket) { discard(socket).await } else { Ok(()) }
    };
    if let Ok(Err(error)) = tokio::time::timeout(LINGER, closing).await {
        tracing::debug!(%error, "end a connection");
    }
}

/// A refusal as it is written to a connection of HTTP/1 that hyper does not have (any more).
pub(crate) fn refusal_message(core: &Core, fault: Fault) -> Vec<u8> {
    let refusal = fault.into_refusal();
    let request_id = core.request_ids.make();
    let request_id = request_id.to_str().unwrap_or_default();
    let status = refusal.status;
    let body = problem_document(&refusal, request_id);
    let mut message = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         x-request-id: {request_id}\r\ncache-control: no-store\r\nconnection: close\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Refused"),
        body.len(),
    )
    .into_bytes();
    for (name, value) in &refusal.headers {
        message.extend_from_slice(
            &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat(),
        );
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(&body);
    message
}

/// Whether bytes wait to be read.
fn has_bytes(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0; 1]), Ok(1))
}

async fn discard(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(16 << 10);
    let mut left = LINGER_BYTES;
    while left > 0 && stream.read_buf(&mut bytes).await? > 0 {
        left = left.saturating_sub(bytes.len());
        bytes.clear();
    }
    Ok(())
}

impl<S: Transport> AsyncRead for ClientStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (filled, room) = (buffer.filled().len(), buffer.remaining());
        let polled = Pin::new(&mut this.guarded).poll_read(cx, buffer);
        match &polled {
            // hyper gives up the exchange under way when it hears of it.
            Poll::Ready(Err(_))
                if this.watch.unanswered().is_some()
                    && (this.state.is_busy() || !this.is_flushed) =>
            {
                this.is_holding = true;
                return Poll::Pending;
            }
            Poll::Ready(Ok(())) if room > 0 && buffer.filled().len() == filled => {
                this.has_ended = true;
            }
            Poll::Ready(_) | Poll::Pending => {}
        }
        polled
    }
}

impl<S: Transport> AsyncWrite for ClientStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_flushed = false;
        Pin::new(&mut this.guarded).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_flushed = false;
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if slices.len() < 2 || length > GATHER_BYTES {
            return Pin::new(&mut this.guarded).poll_write_vectored(cx, slices);
        }
        GATHERED.with_borrow_mut(|gathered| {
            gathered.clear();
            for slice in slices {
                gathered.extend_from_slice(slice);
            }
            Pin::new(&mut this.guarded).poll_write(cx, gathered)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.guarded.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.guarded).poll_flush(cx);
        if polled.is_ready() {
            this.is_flushed = true;
            if this.is_holding && !this.state.is_busy() {
                this.is_holding = false;
                cx.waker().wake_by_ref();
            }
        }
        polled
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().guarded).poll_shutdown(cx)
    }
}
