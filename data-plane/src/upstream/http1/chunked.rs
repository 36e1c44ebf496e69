//! The chunked coding of an answer, taken off (RFC 9112 §7.1).

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use httparse::Status;
use memchr::{memchr, memmem};

use super::Broken;
use super::head::{MAX_FIELDS, header_map};

/// The longest line with a chunk's size and its extensions.
const MAX_SIZE_LINE_BYTES: usize = 1 << 10;
/// The longest trailer section.
const MAX_TRAILER_BYTES: usize = 32 << 10;

/// What comes next.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Chunked {
    /// A chunk's size.
    #[default]
    Size,
    /// So many bytes of a chunk, at least one.
    Data(u64),
    /// The line's end after a chunk.
    AfterData,
    /// Fields after the last chunk, and the empty line.
    Trailers,
}

/// What could be taken.
#[derive(Debug)]
pub(super) enum Taken {
    /// A piece of the body.
    Data(Bytes),
    /// The body's end, with its trailer fields.
    End(HeaderMap),
    /// Nothing before more is read.
    Nothing,
}

impl Chunked {
    /// Takes the next piece off what was received.
    ///
    /// # Errors
    ///
    /// Where the coding is not followed to the letter.
    pub(super) fn take(&mut self, received: &mut BytesMut) -> Result<Taken, Broken> {
        loop {
            match self {
                Self::Size => match size(received)? {
                    None => return Ok(Taken::Nothing),
                    Some(0) => *self = Self::Trailers,
                    Some(size) => *self = Self::Data(size),
                },
                Self::Data(left) => {
                    let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
                    let piece = received.split_to(wanted.min(received.len())).freeze();
                    if piece.is_empty() {
                        return Ok(Taken::Nothing);
                    }
                    *left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                    if *left == 0 {
                        *self = Self::AfterData;
                    }
                    return Ok(Taken::Data(piece));
                }
                Self::AfterData => match received.get(..2) {
                    None => return Ok(Taken::Nothing),
                    Some(b"\r\n") => {
                        drop(received.split_to(2));
                        *self = Self::Size;
                    }
                    Some(_) => return Err(Broken::Malformed("a chunk is longer than it says")),
                },
                Self::Trailers => return trailers(received),
            }
        }
    }
}

/// The size of the next chunk; none where its line has not come whole.
fn size(received: &mut BytesMut) -> Result<Option<u64>, Broken> {
    let malformed = || Broken::Malformed("a chunk's size");
    let line = received.get(..received.len().min(MAX_SIZE_LINE_BYTES)).unwrap_or_default();
    // The parser takes an empty size for 0.
    if line.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
        return Err(malformed());
    }
    let Some(end) = memchr(b'\n', line) else {
        return if line.len() < MAX_SIZE_LINE_BYTES { Ok(None) } else { Err(malformed()) };
    };
    match httparse::parse_chunk_size(line) {
        // The parser reads past a lone LF in an extension.
        Ok(Status::Complete((length, size))) if length == end + 1 => {
            drop(received.split_to(length));
            Ok(Some(size))
        }
        Ok(_) | Err(_) => Err(malformed()),
    }
}

fn trailers(received: &mut BytesMut) -> Result<Taken, Broken> {
    let malformed = || Broken::Malformed("its trailer section");
    if received.starts_with(b"\r\n") {
        drop(received.split_to(2));
        return Ok(Taken::End(HeaderMap::new()));
    }
    let Some(end) = memmem::find(received, b"\r\n\r\n") else {
        return if received.len() > MAX_TRAILER_BYTES {
            Err(malformed())
        } else {
            Ok(Taken::Nothing)
        };
    };
    if end > MAX_TRAILER_BYTES {
        return Err(malformed());
    }
    let bytes = received.split_to(end + 4).freeze();
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    match httparse::parse_headers(&bytes, &mut fields) {
        Ok(Status::Complete((length, fields))) if length == bytes.len() => {
            header_map(&bytes, fields).map(Taken::End)
        }
        Ok(_) | Err(_) => Err(malformed()),
    }
}
