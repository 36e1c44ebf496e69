//! The stream between the socket and hyper: reads pass the validator, writes pass through.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::machine::{Framing, Limits, Position};
use super::violation::Violation;

/// What hyper is given to serve a connection from.
pub type GuardedIo<S> = TokioIo<Guarded<S>>;

/// Puts the validator between a stream and hyper; the watch stays with the task that serves it.
pub fn guard<S>(stream: S, limits: Limits) -> (GuardedIo<S>, Watch) {
    let guarded = Guarded::new(stream, limits);
    let watch = guarded.watch();
    (TokioIo::new(guarded), watch)
}

/// A stream whose reader sees only bytes that passed the validator.
///
/// A read with a violation in it gives none of its bytes but an error of the kind
/// [`io::ErrorKind::InvalidData`], as do all reads after it. hyper gives up the connection then,
/// with an error or, between two requests, without one. Ask [`Watch::unanswered`] both ways: writes
/// still work, and a shutdown is not passed on while an answer is owed, so what
/// `Connection::into_parts` gives back can take it. (Poll the connection by `&mut`, not pinned in
/// place; `poll_without_shutdown`, which wants futures that are `Unpin`, is not needed.)
#[derive(Debug)]
pub struct Guarded<S> {
    stream: S,
    framing: Framing,
    shared: Arc<Shared>,
}

/// What the task that serves a connection knows and says of its validator.
///
/// Shared through atomics rather than a cell, as hyper wants a stream that is `Send` for upgrades.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The position in the lowest two bits, the number of requests above them.
    progress: AtomicU64,
    is_released: AtomicBool,
    violation: OnceLock<Violation>,
}

const BETWEEN_REQUESTS: u64 = 0;
const IN_HEAD: u64 = 1;
const IN_BODY: u64 = 2;
const UPGRADED: u64 = 3;

impl<S> Guarded<S> {
    /// Guards a connection from its first byte on.
    pub fn new(stream: S, limits: Limits) -> Self {
        let shared = Arc::new(Shared {
            progress: AtomicU64::new(BETWEEN_REQUESTS),
            is_released: AtomicBool::new(false),
            violation: OnceLock::new(),
        });
        Self { stream, framing: Framing::new(limits), shared }
    }

    /// A handle on what this stream sees.
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.shared))
    }

    /// The stream itself, without its validator.
    pub fn into_inner(self) -> S {
        self.stream
    }

    fn check(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(violation) = self.framing.push(bytes) {
            // The progress stays what it was for the bytes that were handed on.
            let _ = self.shared.violation.set(violation);
            return Err(io::Error::new(io::ErrorKind::InvalidData, violation));
        }
        let position = match self.framing.position() {
            Position::BetweenRequests => BETWEEN_REQUESTS,
            Position::InHead => IN_HEAD,
            Position::InBody => IN_BODY,
            Position::Upgraded => UPGRADED,
        };
        self.shared.progress.store(self.framing.requests() << 2 | position, Ordering::Relaxed);
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.shared.is_released.load(Ordering::Acquire) {
            this.framing.release();
        }
        if this.framing.violation().is_some() {
            return Poll::Ready(this.check(&[]));
        }
        let filled_before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let checked = this.check(buffer.filled().get(filled_before..).unwrap_or_default());
        if checked.is_err() {
            buffer.set_filled(filled_before);
        }
        Poll::Ready(checked)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.shared.unanswered().is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

impl Watch {
    /// Why the connection was given up, if it was for what the client sent.
    pub fn violation(&self) -> Option<Violation> {
        self.0.violation.get().copied()
    }

    /// The violation that the task which serves the connection has to answer.
    ///
    /// None where the body of a request turned bad that hyper has the head of: its exchange sees
    /// the body break off, and its answer is the one to give. The task answers after the last
    /// exchange's response is whole; where hyper left one half written, it can only close.
    pub fn unanswered(&self) -> Option<Violation> {
        self.0.unanswered()
    }

    /// What the next byte that is read belongs to; after a violation, where the last good read
    /// ended.
    ///
    /// Of the reading half only: between two requests the answer to the last may be under way.
    pub fn position(&self) -> Position {
        if self.0.is_released.load(Ordering::Relaxed) {
            return Position::Upgraded;
        }
        self.0.position()
    }

    /// How many heads were handed on whole; tells one slow head from a row of quick ones.
    pub fn requests(&self) -> u64 {
        self.0.progress.load(Ordering::Relaxed) >> 2
    }

    /// Turns the validator off for all further reads; see [`Framing::release`].
    pub fn release(&self) {
        self.0.is_released.store(true, Ordering::Release);
    }
}

impl Shared {
    fn position(&self) -> Position {
        match self.progress.load(Ordering::Relaxed) & 3 {
            BETWEEN_REQUESTS => Position::BetweenRequests,
            IN_HEAD => Position::InHead,
            IN_BODY => Position::InBody,
            _ => Position::Upgraded,
        }
    }

    fn unanswered(&self) -> Option<Violation> {
        match self.position() {
            Position::BetweenRequests | Position::InHead => self.violation.get().copied(),
            Position::InBody | Position::Upgraded => None,
        }
    }
}
