//! A connection that switched protocols (RFC 9110 §7.8), such as to WebSocket: bytes both ways, as they come,
//! until both sides have ended.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Version, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tokio_util::io::poll_read_buf;

use crate::outgoing::Ending;
use crate::upstream::Switched;

/// The one protocol that is switched to. Others, `h2c` above all, would carry requests past the policies.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");
const READ_BYTES: usize = 8 << 10;

/// Both ends of a tunnel but the client's, and what ends with it.
pub struct Tunnel {
    /// The upstream's end.
    pub upstream: Switched,
    /// The exchange that it came from.
    pub ending: Box<Ending>,
    /// The longest silence of both sides.
    pub idle_timeout: Duration,
}

/// Whether a request asks for WebSocket (RFC 6455 §4.1).
#[must_use]
pub fn asks<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && *request.method() == Method::GET
        && request.headers().contains_key(header::SEC_WEBSOCKET_KEY)
        && switches(request.headers())
}

/// Whether these fields say that the connection is to become, or becomes, a WebSocket.
#[must_use]
pub fn switches(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let (Some(protocol), None) = (protocols.next(), protocols.next()) else { return false };
    let is_upgrade = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|list| list.split(',').any(|one| one.trim().eq_ignore_ascii_case("upgrade")))
    };
    protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes())
        && headers.get_all(header::CONNECTION).iter().any(is_upgrade)
}

/// Says so for the next hop.
pub fn ask(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, WEBSOCKET);
}

impl Tunnel {
    /// Carries bytes to the end. `first` is what the client sent behind its request.
    pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(self, mut client: S, first: Bytes) {
        let Self { mut upstream, mut ending, idle_timeout } = self;
        let mut sent = Pipe::beginning_with(BytesMut::from(first));
        let mut received = Pipe::beginning_with(upstream.take_received());
        let mut idle = pin!(sleep_until(Instant::now() + idle_timeout));
        let mut seen_bytes = 0;
        let is_complete = poll_fn(|cx| {
            let sending = sent.poll(&mut client, &mut upstream, cx);
            let receiving = received.poll(&mut upstream, &mut client, cx);
            match (sending, receiving) {
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(true),
                (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => {
                    tracing::debug!(%error, "carry bytes of another protocol");
                    return Poll::Ready(false);
                }
                (Poll::Pending, _) | (_, Poll::Pending) => {}
            }
            let bytes = sent.bytes + received.bytes;
            if std::mem::replace(&mut seen_bytes, bytes) != bytes {
                idle.as_mut().reset(Instant::now() + idle_timeout);
            }
            idle.as_mut().poll(cx).map(|()| false)
        })
        .await;
        ending.record.count_tunnel(sent.bytes, received.bytes);
        ending.finish(is_complete);
    }
}

/// One direction.
struct Pipe {
    /// Read, and not yet written. Given back while nothing moves: most tunnels rest most of the time.
    buffer: BytesMut,
    has_ended: bool,
    is_flushed: bool,
    is_over: bool,
    bytes: u64,
}

impl Pipe {
    fn beginning_with(buffer: BytesMut) -> Self {
        Self { buffer, has_ended: false, is_flushed: true, is_over: false, bytes: 0 }
    }

    /// Ready when the one side has ended and the other knows.
    fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        from: &mut R,
        to: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_over {
            while !self.buffer.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.buffer.advance(written);
                self.bytes += u64::try_from(written).unwrap_or(0);
                self.is_flushed = false;
            }
            if !self.is_flushed {
                ready!(Pin::new(&mut *to).poll_flush(cx))?;
                self.is_flushed = true;
            }
            if self.has_ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.is_over = true;
                break;
            }
            self.buffer.reserve(READ_BYTES);
            let Poll::Ready(read) = poll_read_buf(Pin::new(&mut *from), cx, &mut self.buffer)
            else {
                self.buffer = BytesMut::new();
                return Poll::Pending;
            };
            self.has_ended = read? == 0;
        }
        Poll::Ready(Ok(()))
    }
}
