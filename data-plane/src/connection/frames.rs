//! Frames of HTTP/2 that carry nothing: a client may send some of them, and not only them.
//!
//! h2 answers each PING and SETTINGS, and a request that is reset at once has begun to cost its upstream
//! something. Memory is bounded there, as nothing is read while answers are not taken; work is not. So every
//! connection has an allowance for such frames. It fills up with time, and with the bytes that the client is sent,
//! which are what windows are updated for.
//!
//! What begins without SETTINGS is no HTTP/2 (RFC 9113 §3.4), which h2 does not look for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::PREFACE;
use super::sweep::State;
use super::transport::Transport;

/// How many frames without a request or data a connection may send at once.
pub(super) const ALLOWANCE: u32 = 10_000;
/// How many more with every sweep: 2,000 a second.
pub(super) const ALLOWED_A_SWEEP: u32 = 500;
/// A stream that is given up has begun to cost its upstream something.
const RESET_COST: u32 = 5;
/// Bytes to the client that allow another frame. Two updates of windows may answer even a small piece; a PING
/// brings an answer of 17 bytes, which must not pay for it.
const BYTES_A_FRAME: usize = 32;

const HEAD_BYTES: usize = 9;
// RFC 9113 §6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// Frames that end their connection.
#[derive(Debug, thiserror::Error)]
enum BadFrames {
    /// The client sent too many that carry nothing.
    #[error("too many frames of HTTP/2 without a request or data")]
    Flood,
    /// The first is another.
    #[error("a connection of HTTP/2 that does not begin with SETTINGS")]
    Beginning,
}

impl From<BadFrames> for io::Error {
    fn from(error: BadFrames) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Follows the frames that a client sends, however reads cut them.
///
/// What they mean is h2's affair: here is only counted what kind they are.
#[derive(Debug)]
struct Frames {
    /// Bytes of the preface or of a frame's payload that are still to come.
    skipped_bytes: usize,
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// Whether the client's SETTINGS came.
    has_begun: bool,
}

impl Frames {
    fn new() -> Self {
        Self {
            skipped_bytes: PREFACE.len(),
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            has_begun: false,
        }
    }

    /// What these bytes cost of the allowance.
    fn push(&mut self, bytes: &[u8]) -> Result<u32, BadFrames> {
        let mut cost: u32 = 0;
        let mut rest = bytes;
        loop {
            let skipped = self.skipped_bytes.min(rest.len());
            self.skipped_bytes -= skipped;
            rest = rest.get(skipped..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(cost);
            }
            let wanted = (HEAD_BYTES - self.head_bytes).min(rest.len());
            let (taken, behind) = rest.split_at_checked(wanted).unwrap_or((rest, &[]));
            for (to, from) in self.head.iter_mut().skip(self.head_bytes).zip(taken) {
                *to = *from;
            }
            self.head_bytes += wanted;
            rest = behind;
            if self.head_bytes == HEAD_BYTES {
                self.head_bytes = 0;
                let [high, middle, low, kind, flags, ..] = self.head;
                if !self.has_begun && (kind != SETTINGS || flags & ACK != 0) {
                    return Err(BadFrames::Beginning);
                }
                self.has_begun = true;
                self.skipped_bytes =
                    usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                cost = cost.saturating_add(cost_of(kind));
            }
        }
    }
}

/// Requests and data have bounds of their own: concurrent streams, windows, h2's budgets of small and of empty
/// pieces.
fn cost_of(kind: u8) -> u32 {
    match kind {
        DATA | HEADERS => 0,
        RST_STREAM => RESET_COST,
        _ => 1,
    }
}

/// A client's stream that fails where the allowance is used up.
pub(super) struct FrameStream<S> {
    stream: S,
    frames: Frames,
    state: Arc<State>,
    /// Bytes written that have not been counted as an allowed frame.
    written_bytes: usize,
}

impl<S: Transport> FrameStream<S> {
    pub(super) fn new(stream: S, state: Arc<State>) -> Self {
        Self { stream, frames: Frames::new(), state, written_bytes: 0 }
    }

    fn wrote(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(length)) = polled {
            let bytes = self.written_bytes + length;
            self.written_bytes = bytes % BYTES_A_FRAME;
            self.state.allow(u32::try_from(bytes / BYTES_A_FRAME).unwrap_or(u32::MAX));
        }
        polled
    }
}

impl<S: Transport> AsyncRead for FrameStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let refused = match this.frames.push(buffer.filled().get(filled..).unwrap_or_default()) {
            Ok(cost) if cost == 0 || this.state.spend(cost) => return Poll::Ready(Ok(())),
            Ok(_) => BadFrames::Flood,
            Err(refused) => refused,
        };
        buffer.set_filled(filled);
        Poll::Ready(Err(refused.into()))
    }
}

impl<S: Transport> AsyncWrite for FrameStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    /// What frames cost behind the first, which costs 1.
    fn cost(frames: &[u8]) -> u32 {
        let bytes = [PREFACE, &frame(SETTINGS, b""), frames].concat();
        Frames::new().push(&bytes).unwrap() - 1
    }

    #[test]
    fn what_does_not_begin_with_settings_is_refused() {
        let acknowledged = [&[0, 0, 0, SETTINGS, ACK][..], &[0; 4]].concat();
        for first in [frame(6, &[0; 8]), frame(1, b"head"), frame(0xfe, b""), acknowledged] {
            let mut frames = Frames::new();
            assert_eq!(frames.push(PREFACE).unwrap(), 0);
            assert_eq!(frames.push(&first[..8]).unwrap(), 0);
            frames.push(&first[8..]).unwrap_err();
        }
    }

    #[test]
    fn requests_and_data_cost_nothing_and_resets_more_than_others() {
        let frames =
            [frame(1, b"head"), frame(0, &[6; 70_000]), frame(6, &[0; 8]), frame(3, &[0; 4])];
        assert_eq!(cost(&frames.concat()), 1 + RESET_COST);
        // What looks like a frame within a payload is none.
        let inner = frame(0, &frame(6, &[0; 8]));
        assert_eq!(cost(&inner), 0);
        // Kinds that nobody knows, and empty ones.
        let odd = [frame(0xff, b""), frame(0x0a, b"x"), frame(4, b"")].concat();
        assert_eq!(cost(&odd), 3);
    }

    proptest! {
        #[test]
        fn the_cost_does_not_depend_on_how_reads_cut_the_frames(
            frames in proptest::collection::vec(
                (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)),
                0..40,
            ),
            cuts in proptest::collection::vec(1_usize..50, 1..50),
        ) {
            let bytes = frames.iter().map(|(kind, payload)| frame(*kind, payload));
            let bytes = bytes.collect::<Vec<_>>().concat();
            let bytes = [PREFACE, &frame(SETTINGS, b""), &bytes].concat();
            let expected = 1 + frames.iter().map(|(kind, _)| cost_of(*kind)).sum::<u32>();
            let (mut counted, mut rest) = (Frames::new(), &bytes[..]);
            let mut cost = 0;
            for cut in cuts.iter().cycle() {
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                cost += counted.push(piece).unwrap();
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(cost, expected);
        }
    }
}
