//! What the query of a request asks for, and the body that is answered by it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::{Answer, Seen};

/// What a query asks for.
pub(super) struct Script(Vec<(String, String)>);

impl Script {
    pub(super) fn of(query: &str) -> Self {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.to_owned(), value.to_owned())
        };
        Self(query.split('&').map(pair).collect())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn dress(&self, mut response: Answer) -> Answer {
        let status = self.number("status").and_then(|status| u16::try_from(status).ok());
        if let Some(Ok(status)) = status.map(StatusCode::from_u16) {
            *response.status_mut() = status;
        }
        for (_, field) in self.0.iter().filter(|(name, _)| name == "set") {
            let Some((name, value)) = field.split_once(':') else { continue };
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                response.headers_mut().append(name, value);
            }
        }
        if self.has("trailers") {
            response.headers_mut().insert("trailer", HeaderValue::from_static("x-checksum"));
        }
        response
    }

    pub(super) fn body(&self, told: Bytes, seen: Arc<Seen>) -> Pieces {
        let size = self.number("size");
        let piece = self.number("piece").and_then(|bytes| usize::try_from(bytes).ok());
        let source = match size {
            None => told.clone(),
            Some(_) => Bytes::from(vec![b'x'; piece.unwrap_or(64 << 10).max(1)]),
        };
        let end = match () {
            () if self.has("cut") => End::Cut,
            () if self.has("stall") => End::Stall,
            () if self.has("trailers") => End::Trailers,
            () => End::Whole,
        };
        let left_bytes = size.unwrap_or_else(|| u64::try_from(told.len()).unwrap_or(0));
        let promised = left_bytes + if matches!(end, End::Cut | End::Stall) { 1000 } else { 0 };
        let has_length = !self.has("chunked") && !matches!(end, End::Trailers);
        Pieces {
            source,
            left_bytes,
            promised: has_length.then_some(promised),
            pause: self.number("pause_ms").map(Duration::from_millis),
            wait: None,
            end,
            seen,
        }
    }
}

enum End {
    Whole,
    Trailers,
    Cut,
    Stall,
}

/// A body by its script.
pub(super) struct Pieces {
    source: Bytes,
    left_bytes: u64,
    promised: Option<u64>,
    pause: Option<Duration>,
    wait: Option<Pin<Box<Sleep>>>,
    end: End,
    seen: Arc<Seen>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if let Some(wait) = &mut this.wait {
            std::task::ready!(wait.as_mut().poll(cx));
            this.wait = None;
        }
        if this.left_bytes == 0 {
            return match std::mem::replace(&mut this.end, End::Whole) {
                End::Whole => Poll::Ready(None),
                End::Trailers => {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("x-checksum", HeaderValue::from_static("abc"));
                    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                }
                End::Cut => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
                End::Stall => {
                    this.end = End::Stall;
                    Poll::Pending
                }
            };
        }
        let length = usize::try_from(this.left_bytes).unwrap_or(usize::MAX).min(this.source.len());
        let length_64 = u64::try_from(length).unwrap_or(0);
        this.left_bytes -= length_64;
        this.promised = this.promised.map(|promised| promised - length_64);
        this.seen.body_bytes.fetch_add(length_64, Ordering::SeqCst);
        // Also before the end, so that what was sent is seen before it breaks off.
        this.wait =
            this.pause.map(|pause| Box::pin(tokio::time::sleep_until(Instant::now() + pause)));
        Poll::Ready(Some(Ok(Frame::data(this.source.slice(..length)))))
    }

    fn size_hint(&self) -> SizeHint {
        self.promised.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
