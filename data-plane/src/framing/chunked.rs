//! The chunked transfer coding (RFC 9112 §7.1).

use super::lines::Line;
use super::machine::{Framing, State, Step};
use super::scan;
use super::violation;

/// A part of a chunked body; where a read ends within it, the next one goes on there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In a chunk size of which so many digits were seen.
    Size { digits: u8 },
    /// In a chunk extension that may have so many bytes more.
    Extension { left_bytes: u16 },
    /// After the CR of a chunk size line.
    SizeEnd,
    /// In the data.
    Data,
    /// After the data.
    DataCr,
    /// After the CR that follows the data.
    DataLf,
}

/// Most clients send no extension at all, and none has a meaning here.
const EXTENSION_BYTES: u16 = 256;

impl Framing {
    pub(super) fn chunked<'a>(&mut self, chunk: Chunk, input: &'a [u8]) -> Step<'a> {
        match chunk {
            Chunk::Size { digits } => self.chunk_size(digits, input),
            Chunk::Extension { left_bytes } => self.chunk_extension(left_bytes, input),
            Chunk::SizeEnd => match input.first() {
                Some(b'\n') => {
                    self.begin_data();
                    Ok(scan::after(input, 1))
                }
                _ => Err(&violation::BARE_CR),
            },
            Chunk::Data => {
                let rest = self.skip(input);
                if self.left_bytes == 0 {
                    self.state = State::Chunked(Chunk::DataCr);
                }
                Ok(rest)
            }
            Chunk::DataCr => self.chunk_end(b'\r', Chunk::DataLf, input),
            Chunk::DataLf => self.chunk_end(b'\n', Chunk::Size { digits: 0 }, input),
        }
    }

    fn chunk_size<'a>(&mut self, mut digits: u8, input: &'a [u8]) -> Step<'a> {
        let mut rest = input;
        while let Some((byte, tail)) = rest.split_first() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                b'\n' => return Err(&violation::BARE_LF),
                b'\r' | b';' if digits > 0 => {
                    self.state = State::Chunked(match byte {
                        b';' => Chunk::Extension { left_bytes: EXTENSION_BYTES },
                        _ => Chunk::SizeEnd,
                    });
                    return Ok(tail);
                }
                _ => return Err(&violation::CHUNK_SIZE),
            };
            // Sixteen digits are all that a u64 holds.
            if digits == 16 {
                return Err(&violation::CHUNK_SIZE);
            }
            digits += 1;
            self.left_bytes = self.left_bytes << 4 | u64::from(digit);
            rest = tail;
        }
        self.state = State::Chunked(Chunk::Size { digits });
        Ok(rest)
    }

    fn chunk_extension<'a>(&mut self, left_bytes: u16, input: &'a [u8]) -> Step<'a> {
        let (window, _) = scan::split(input, usize::from(left_bytes));
        let length = scan::value(window);
        let rest = scan::after(input, length);
        match rest.first() {
            None => {
                let left_bytes = left_bytes.saturating_sub(u16::try_from(length).unwrap_or(0));
                self.state = State::Chunked(Chunk::Extension { left_bytes });
                Ok(rest)
            }
            Some(b'\r') => {
                self.state = State::Chunked(Chunk::SizeEnd);
                Ok(scan::after(rest, 1))
            }
            Some(b'\n') => Err(&violation::BARE_LF),
            Some(_) => Err(&violation::CHUNK_EXTENSION),
        }
    }

    fn begin_data(&mut self) {
        if self.left_bytes > 0 {
            self.state = State::Chunked(Chunk::Data);
            return;
        }
        self.fields.begin_trailer();
        self.budget_bytes = self.limits.head_bytes;
        self.state = State::Lines(Line::FieldStart);
    }

    fn chunk_end<'a>(&mut self, expected: u8, next: Chunk, input: &'a [u8]) -> Step<'a> {
        match input.first() {
            Some(byte) if *byte == expected => {
                self.state = State::Chunked(next);
                Ok(scan::after(input, 1))
            }
            _ => Err(&violation::CHUNK_END),
        }
    }
}
