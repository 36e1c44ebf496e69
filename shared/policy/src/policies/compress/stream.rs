//! A body that is compressed as it comes.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use brotli::CompressorWriter;
use bytes::{Buf, Bytes};
use flate2::write::GzEncoder;
use http_body::{Body as _, Frame, SizeHint};

use super::{Coding, Level};
use crate::body::{Body, BodyError};

/// How much is compressed in one go, and then how much before others on the thread get their turn.
const SLICE: usize = 16 << 10;
const TURN: usize = 128 << 10;

/// Windows of 128 KiB: beyond it little is won, and each stream has one.
const BROTLI_WINDOW: u32 = 17;
const ZSTD_WINDOW: u32 = 17;
/// What brotli keeps for its output.
const BROTLI_BUFFER: usize = 4 << 10;

/// A body in a coding. What there is goes out before it waits for more, so that events are not held up.
pub(super) struct Compressed {
    source: Body,
    encoder: Option<Encoder>,
    /// What has come and is not compressed yet.
    input: Bytes,
    /// What was compressed and may still be within the encoder.
    has_unflushed: bool,
    trailers: Option<Frame<Bytes>>,
}

/// An encoder into memory. Boxed where it is large.
pub(super) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// An encoder.
    ///
    /// # Errors
    ///
    /// Where zstd has no memory.
    pub(super) fn new(coding: Coding, level: Level) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => {
                Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level.gzip())))
            }
            Coding::Brotli => Self::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                level.brotli(),
                BROTLI_WINDOW,
            ))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level.zstd())?;
                encoder.window_log(ZSTD_WINDOW)?;
                Self::Zstd(encoder)
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    /// What it has given so far.
    fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }

    fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(self.output()))
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(Bytes::from(match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        }))
    }
}

impl Compressed {
    pub(super) fn new(source: Body, encoder: Encoder) -> Self {
        Self {
            source,
            encoder: Some(encoder),
            input: Bytes::new(),
            has_unflushed: false,
            trailers: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut compressed_bytes = 0;
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(self.trailers.take().map(Ok));
            };
            if !self.input.is_empty() {
                if compressed_bytes >= TURN {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let slice = self.input.split_to(self.input.len().min(SLICE));
                compressed_bytes += slice.len();
                encoder.write(&slice)?;
                self.has_unflushed = true;
                if encoder.output().len() >= SLICE {
                    return Poll::Ready(Some(Ok(Frame::data(encoder.take()))));
                }
                continue;
            }
            match Pin::new(&mut self.source).poll_frame(cx) {
                Poll::Pending => {
                    if !std::mem::take(&mut self.has_unflushed) {
                        return Poll::Pending;
                    }
                    encoder.flush()?;
                    let output = encoder.take();
                    if output.is_empty() {
                        return Poll::Pending;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(output))));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.input = data,
                    Err(trailers) => {
                        self.trailers = Some(trailers);
                        return self.finish();
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    self.encoder = None;
                    return Poll::Ready(Some(Err(io::Error::other(error))));
                }
                Poll::Ready(None) => return self.finish(),
            }
        }
    }

    fn finish(&mut self) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(encoder) = self.encoder.take() else { return Poll::Ready(None) };
        let output = encoder.finish()?;
        Poll::Ready(if output.has_remaining() {
            Some(Ok(Frame::data(output)))
        } else {
            self.trailers.take().map(Ok)
        })
    }
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
