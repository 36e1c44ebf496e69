//! A body that is decompressed as it comes, within bounds.

use std::io::{self, BufRead, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use brotli::Decompressor;
use bytes::{Buf, Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};

use super::{Bounds, Side};
use crate::body::{Body, BodyError, BrokenOff};
use crate::policies::compress::Coding;
use crate::policy::Refusal;

/// How much comes out in one go.
const PIECE: usize = 16 << 10;
/// So much may come out whatever went in: small texts of one character are no bombs.
const FREE: u64 = 64 << 10;
/// What brotli reads at once.
const BROTLI_BUFFER: usize = 4 << 10;
/// Windows of 8 MiB, as RFC 9659 has it for zstd.
const ZSTD_WINDOW: u32 = 23;

/// Why a body is broken off.
#[derive(Clone, Copy)]
enum Fault {
    TooLarge,
    Malformed,
}

impl Fault {
    fn refusal(self, side: Side) -> Refusal {
        let (status, code, detail) = match (side, self) {
            (Side::Request, Self::TooLarge) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "the request's body is larger than is taken here",
            ),
            (Side::Request, Self::Malformed) => (
                StatusCode::BAD_REQUEST,
                "malformed_body",
                "the request's body is not what its content-encoding says",
            ),
            (Side::Response, Self::TooLarge) => (
                StatusCode::BAD_GATEWAY,
                "response_too_large",
                "the answer of this API is larger than is taken here",
            ),
            (Side::Response, Self::Malformed) => (
                StatusCode::BAD_GATEWAY,
                "malformed_response",
                "the answer of this API is not what its content-encoding says",
            ),
        };
        Refusal::new(status, code, detail)
    }
}

/// A body without its coding. No more is read than what comes out is asked for.
pub(super) struct Decompressed {
    source: Body,
    decoder: Decoder,
    bounds: Bounds,
    side: Side,
    read_bytes: u64,
    given_bytes: u64,
    state: State,
    trailers: Option<Frame<Bytes>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// More comes out.
    Decoding,
    /// The coding has ended; nothing may come behind it.
    Draining,
    /// All is given, but for trailers.
    Ended,
}

/// What has come and is not decoded: a reader that has nothing for now while the body is under way.
#[derive(Default)]
struct Queue {
    bytes: Bytes,
    has_ended: bool,
}

impl Read for Queue {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let length = available.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Queue {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes.is_empty() && !self.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.bytes)
    }

    fn consume(&mut self, length: usize) {
        self.bytes.advance(length.min(self.bytes.len()));
    }
}

enum Decoder {
    Gzip(Box<MultiGzDecoder<Queue>>),
    Brotli(Box<Decompressor<Queue>>),
    Zstd(zstd::stream::read::Decoder<'static, Queue>),
}

impl Decoder {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(Queue::default()))),
            Coding::Brotli => {
                Self::Brotli(Box::new(Decompressor::new(Queue::default(), BROTLI_BUFFER)))
            }
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(Queue::default())?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Self::Zstd(decoder)
            }
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Brotli(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }

    /// Whether it has taken something behind the end of the coding.
    fn has_leftover(&mut self) -> bool {
        match self {
            // It reads ahead, and says so only where it is asked once more.
            Self::Brotli(decoder) => decoder.read(&mut [0]).is_err(),
            Self::Gzip(_) | Self::Zstd(_) => false,
        }
    }

    fn queue(&mut self) -> &mut Queue {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

impl Decompressed {
    /// A body without its coding.
    ///
    /// # Errors
    ///
    /// Where zstd has no memory.
    pub(super) fn new(
        source: Body,
        coding: Coding,
        bounds: Bounds,
        side: Side,
    ) -> io::Result<Self> {
        Ok(Self {
            source,
            decoder: Decoder::new(coding)?,
            bounds,
            side,
            read_bytes: 0,
            given_bytes: 0,
            state: State::Decoding,
            trailers: None,
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.state {
                State::Ended => return Poll::Ready(self.trailers.take().map(Ok)),
                State::Draining => {
                    if !self.decoder.queue().bytes.is_empty() {
                        return self.fail(Fault::Malformed);
                    }
                    if self.decoder.queue().has_ended {
                        self.state = State::Ended;
                        continue;
                    }
                }
                State::Decoding => {
                    let mut piece = BytesMut::zeroed(PIECE);
                    match self.decoder.read(&mut piece) {
                        Ok(0) if self.decoder.has_leftover() => return self.fail(Fault::Malformed),
                        Ok(0) => {
                            self.state = State::Draining;
                            continue;
                        }
                        Ok(length) => {
                            piece.truncate(length);
                            return match self.count(length) {
                                Ok(()) => Poll::Ready(Some(Ok(Frame::data(piece.freeze())))),
                                Err(fault) => self.fail(fault),
                            };
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_malformed) => return self.fail(Fault::Malformed),
                    }
                }
            }
            if let Err(error) = std::task::ready!(self.poll_source(cx)) {
                self.state = State::Ended;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    /// Brings the next piece of the source into the queue.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match std::task::ready!(Pin::new(&mut self.source).poll_frame(cx)) {
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => self.decoder.queue().has_ended = true,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    self.read_bytes = self.read_bytes.saturating_add(length);
                    self.decoder.queue().bytes = data;
                }
                Err(trailers) => {
                    self.trailers = Some(trailers);
                    self.decoder.queue().has_ended = true;
                }
            },
        }
        Poll::Ready(Ok(()))
    }

    fn count(&mut self, length: usize) -> Result<(), Fault> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.given_bytes = self.given_bytes.saturating_add(length);
        let by_ratio = self.read_bytes.saturating_mul(self.bounds.max_ratio).max(FREE);
        if self.given_bytes > self.bounds.max_size.min(by_ratio) {
            return Err(Fault::TooLarge);
        }
        Ok(())
    }

    fn fail(&mut self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.state = State::Ended;
        self.trailers = None;
        let refusal = fault.refusal(self.side);
        Poll::Ready(Some(Err(Box::new(BrokenOff(Box::new(refusal))))))
    }
}

impl http_body::Body for Decompressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
