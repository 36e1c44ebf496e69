//! A request as bytes, on their way to the upstream.

use std::fmt::Write as _;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use super::Broken;
use crate::upstream::{OutgoingBody, Progress};

/// Pieces up to this size are copied behind what waits already; larger ones are written from where they are.
const COPY_BYTES: usize = 4 << 10;
/// Room for most heads.
const HEAD_BYTES: usize = 1 << 10;

/// A request on its way out.
pub(super) struct Sending {
    /// Kept to the end, so that it can be sent again.
    request: Box<Request<OutgoingBody>>,
    /// The head, then sizes of chunks and small pieces.
    buffer: BytesMut,
    /// A large piece of the body, after what is in the buffer.
    piece: Bytes,
    /// What ends the piece.
    after_piece: &'static [u8],
    coding: Coding,
    is_begun: bool,
    is_body_asked: bool,
    /// Whether TLS may hold back what was written.
    is_held_back: bool,
}

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Coding {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    /// All of it is in the buffer.
    Done,
}

impl Sending {
    pub(super) fn new(request: Box<Request<OutgoingBody>>) -> Self {
        let body = request.body();
        let coding = match (body.is_empty(), body.size_hint().exact()) {
            (true, _) => Coding::Done,
            (false, Some(length)) => Coding::Length(length),
            (false, None) => Coding::Chunked,
        };
        let mut buffer = BytesMut::with_capacity(HEAD_BYTES);
        write_head(&request, coding, &mut buffer);
        Self {
            request,
            buffer,
            piece: Bytes::new(),
            after_piece: b"",
            coding,
            is_begun: false,
            is_body_asked: false,
            is_held_back: false,
        }
    }

    /// Whether a byte of it was written.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Whether all of it was written.
    pub(super) fn is_done(&self) -> bool {
        self.coding == Coding::Done && !self.has_bytes() && !self.is_held_back
    }

    pub(super) fn request(&self) -> &Request<OutgoingBody> {
        &self.request
    }

    pub(super) fn method(&self) -> &Method {
        self.request.method()
    }

    /// The request, and whether anything of it has gone.
    pub(super) fn into_request(self) -> (Box<Request<OutgoingBody>>, Progress) {
        let is_untouched = !self.is_begun && !self.is_body_asked;
        (self.request, if is_untouched { Progress::NotSent } else { Progress::Sent })
    }

    /// Writes as much as the stream takes and the body gives; ready when all is written.
    ///
    /// # Errors
    ///
    /// Where the stream fails or the body does.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            let has_room = self.piece.is_empty() && self.buffer.len() < COPY_BYTES;
            if self.coding != Coding::Done && has_room {
                match self.poll_body(cx)? {
                    Poll::Ready(()) => continue,
                    Poll::Pending if !self.has_bytes() => {
                        ready!(self.poll_flush(stream, cx))?;
                        return Poll::Pending;
                    }
                    Poll::Pending => {}
                }
            }
            if !self.has_bytes() {
                return self.poll_flush(stream, cx);
            }
            ready!(self.poll_write(stream, cx))?;
        }
    }

    fn has_bytes(&self) -> bool {
        !self.buffer.is_empty() || !self.piece.is_empty() || !self.after_piece.is_empty()
    }

    fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        if self.is_held_back {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.is_held_back = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        let stream = Pin::new(stream);
        let written = if self.piece.is_empty() && self.after_piece.is_empty() {
            ready!(stream.poll_write(cx, &self.buffer))?
        } else {
            let slices = [&*self.buffer, &*self.piece, self.after_piece].map(IoSlice::new);
            ready!(stream.poll_write_vectored(cx, &slices))?
        };
        if written == 0 {
            return Poll::Ready(Err(Broken::Io(std::io::ErrorKind::WriteZero.into())));
        }
        (self.is_begun, self.is_held_back) = (true, true);
        let of_buffer = written.min(self.buffer.len());
        self.buffer.advance(of_buffer);
        let of_piece = (written - of_buffer).min(self.piece.len());
        self.piece.advance(of_piece);
        self.after_piece = self.after_piece.get(written - of_buffer - of_piece..).unwrap_or(b"");
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece of the body. To be called where there is no piece under way.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        self.is_body_asked = true;
        let body = self.request.body_mut();
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
            return Ok(Poll::Pending);
        };
        let is_last = frame.is_none() || body.is_end_stream();
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => self.push(data)?,
            Some(Ok(Err(trailers))) => {
                self.end(trailers.into_trailers().ok())?;
                return Ok(Poll::Ready(()));
            }
            Some(Err(_told_by_the_upload)) => return Err(Broken::Upload),
            None => {}
        }
        if is_last {
            self.end(None)?;
        }
        Ok(Poll::Ready(()))
    }

    fn push(&mut self, data: Bytes) -> Result<(), Broken> {
        if data.is_empty() {
            return Ok(());
        }
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if let Coding::Length(left) = &mut self.coding {
            // More than was announced would be the next request's beginning.
            *left = left.checked_sub(length).ok_or(Broken::Upload)?;
        }
        let is_chunked = self.coding == Coding::Chunked;
        // What ended the piece before this one.
        self.buffer.extend_from_slice(std::mem::take(&mut self.after_piece));
        if is_chunked {
            // Memory takes any number of bytes.
            let _ = write!(self.buffer, "{length:x}\r\n");
        }
        let after = if is_chunked { &b"\r\n"[..] } else { b"" };
        if data.len() <= COPY_BYTES {
            self.buffer.extend_from_slice(&data);
            self.buffer.extend_from_slice(after);
        } else {
            (self.piece, self.after_piece) = (data, after);
        }
        Ok(())
    }

    /// Ends the body, which is whole in the buffer and the piece.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Broken> {
        match std::mem::replace(&mut self.coding, Coding::Done) {
            Coding::Length(0) | Coding::Done => {}
            Coding::Length(_missing) => return Err(Broken::Upload),
            Coding::Chunked if !self.piece.is_empty() => self.after_piece = b"\r\n0\r\n\r\n",
            Coding::Chunked => {
                self.buffer.extend_from_slice(std::mem::take(&mut self.after_piece));
                self.buffer.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().flatten() {
                    if may_trail(self.request.headers(), name) {
                        write_field(&mut self.buffer, name, value);
                    }
                }
                self.buffer.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

/// Writes the request line and the fields. How the body is framed is said by the body alone: a field
/// that contradicted it would let the rest be read as another request.
fn write_head(request: &Request<OutgoingBody>, coding: Coding, buffer: &mut BytesMut) {
    buffer.extend_from_slice(request.method().as_str().as_bytes());
    buffer.extend_from_slice(b" ");
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    buffer.extend_from_slice(target.as_bytes());
    buffer.extend_from_slice(b" HTTP/1.1\r\n");
    let mut had_length = false;
    for (name, value) in request.headers() {
        if *name == header::CONTENT_LENGTH {
            had_length = true;
        } else if *name != header::TRANSFER_ENCODING {
            write_field(buffer, name, value);
        }
    }
    let length = match coding {
        Coding::Length(length) => Some(length),
        Coding::Done => had_length.then_some(0),
        Coding::Chunked => None,
    };
    if let Some(length) = length {
        write_field(buffer, &header::CONTENT_LENGTH, &HeaderValue::from(length));
    } else if coding == Coding::Chunked {
        write_field(buffer, &header::TRANSFER_ENCODING, &HeaderValue::from_static("chunked"));
    }
    buffer.extend_from_slice(b"\r\n");
}

fn write_field(buffer: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    buffer.extend_from_slice(name.as_str().as_bytes());
    buffer.extend_from_slice(b": ");
    buffer.extend_from_slice(value.as_bytes());
    buffer.extend_from_slice(b"\r\n");
}

/// What is announced, and does not decide how the message is read (RFC 9110 §6.5.1).
fn may_trail(headers: &HeaderMap, name: &HeaderName) -> bool {
    let is_announced = headers.get_all(header::TRAILER).iter().any(|value| {
        value.to_str().is_ok_and(|list| {
            list.split(',').any(|one| one.trim().eq_ignore_ascii_case(name.as_str()))
        })
    });
    let decides = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::HOST,
        header::MAX_FORWARDS,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
    ];
    is_announced && !decides.contains(name)
}
