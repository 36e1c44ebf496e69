//! The client's stream, as hyper sees it: what is refused before hyper could read it is answered
//! here, with a problem document like every other refusal.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::sweep::{Order, State};
use crate::core::Core;
use crate::framing::{Guarded, Watch};
use crate::metrics::CoreMetrics;
use crate::response::problem_document;

/// A guarded stream that answers for what it does not let through.
pub(super) struct ClientStream {
    guarded: Guarded<TcpStream>,
    watch: Watch,
    state: Arc<State>,
    metrics: Arc<CoreMetrics>,
    request_id: String,
    is_answered: bool,
}

impl ClientStream {
    pub(super) fn new(guarded: Guarded<TcpStream>, state: Arc<State>, core: &Core) -> Self {
        let request_id = core.request_ids.make();
        Self {
            watch: guarded.watch(),
            guarded,
            state,
            metrics: Arc::clone(&core.metrics),
            request_id: request_id.to_str().unwrap_or_default().to_owned(),
            is_answered: false,
        }
    }

    /// Writes a refusal, once, and only where no other answer is under way. One write: what the
    /// socket does not take at once, a client that breaks the protocol does not get.
    fn refuse(&mut self, cx: &mut Context<'_>, status: u16, code: &str, problem: &str) {
        if std::mem::replace(&mut self.is_answered, true) || self.state.is_busy() {
            return;
        }
        self.metrics.framing_violations.add(1);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let body = problem_document(status, code, problem, &self.request_id);
        let mut answer = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
             x-request-id: {}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or("Refused"),
            body.len(),
            self.request_id,
        )
        .into_bytes();
        answer.extend_from_slice(&body);
        let _ = Pin::new(&mut self.guarded).poll_write(cx, &answer);
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.state.current_order() == Order::TooSlow {
            this.refuse(cx, 408, "request_timeout", "the request's head took too long to come");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let polled = Pin::new(&mut this.guarded).poll_read(cx, buffer);
        if let Poll::Ready(Err(_)) = &polled
            && let Some(violation) = this.watch.violation()
        {
            this.refuse(cx, violation.status, violation.code, violation.problem);
        }
        polled
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().guarded).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().guarded).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.guarded.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().guarded).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().guarded).poll_shutdown(cx)
    }
}
