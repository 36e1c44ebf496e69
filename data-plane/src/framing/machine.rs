//! The state machine: which part of a message the next byte belongs to, and the bodies.
//!
//! Every check is made at a certain byte of the stream, whatever reads the bytes came in, so the
//! verdict does not depend on how they were cut. The lines of a head are in `lines.rs`, the
//! chunked coding in `chunked.rs`.

use super::chunked::Chunk;
use super::fields::Fields;
use super::lines::Line;
use super::scan;
use super::violation::{self, Violation};

/// What a step of the machine left unread, or why it refused.
pub(super) type Step<'a> = Result<&'a [u8], &'static Violation>;

/// How much of a head the validator takes.
///
/// What parses after it must take as much: hyper's buffer and its count of headers have bounds of
/// their own (400 KiB, 100) and it answers 431 without a problem document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line and all field lines, each with its CRLF, and of the empty line;
    /// the same again for the trailer section. Default 32 KiB.
    pub head_bytes: usize,
    /// Field lines in a head, and again in a trailer section. Default 100.
    pub header_count: usize,
    /// Bytes of the request target. Default 8 KiB.
    pub target_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes: 32 * 1024, header_count: 100, target_bytes: 8 * 1024 }
    }
}

/// What part of a connection's traffic the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// To no request yet: nothing of the next one, or only an empty line before it, has come.
    /// The answer to the last one may still be under way.
    BetweenRequests,
    /// To a head that is not complete.
    InHead,
    /// To a body, its chunked coding and its trailers.
    InBody,
    /// To another protocol: the validator was turned off.
    Upgraded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Before a request line.
    Start,
    /// After the CR of an empty line before a request line.
    EmptyLine,
    /// In a head or a trailer section.
    Lines(Line),
    /// In a body of known length.
    Body,
    /// In a chunked body.
    Chunked(Chunk),
    /// Turned off.
    Released,
}

/// Follows the requests on one connection and refuses what RFC 9112 does not let be forwarded.
///
/// Sans-I/O: bytes go in by [`Framing::push`] in whatever pieces they were read.
#[derive(Debug)]
pub struct Framing {
    pub(super) limits: Limits,
    pub(super) state: State,
    /// What is known of the message under way.
    pub(super) fields: Fields,
    /// Bytes of a body or of a chunk that are still to come.
    pub(super) left_bytes: u64,
    /// Bytes that the head or trailer section under way may still have.
    pub(super) budget_bytes: usize,
    /// The start of a token that a read cut in two.
    pub(super) carry: Vec<u8>,
    empty_lines: u8,
    requests: u64,
    violation: Option<&'static Violation>,
}

impl Framing {
    /// Begins before the first request of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Start,
            fields: Fields::default(),
            left_bytes: 0,
            budget_bytes: 0,
            carry: Vec::new(),
            empty_lines: 0,
            requests: 0,
            violation: None,
        }
    }

    /// Follows the next bytes of the connection.
    ///
    /// One pass over heads and chunk lines; constant time for what is only data. Allocates
    /// only where a read cuts a token in two or a target is in absolute form, and then a bounded
    /// amount.
    ///
    /// # Errors
    ///
    /// The first violation; from then on every call gives it again. None of these bytes may be
    /// processed then, although requests that ended within them were in order.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if let Some(violation) = self.violation {
            return Err(*violation);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.step(rest) {
                Ok(rest) => rest,
                Err(violation) => {
                    self.violation = Some(violation);
                    return Err(*violation);
                }
            };
        }
        Ok(())
    }

    /// Turns the validator off: the connection speaks another protocol now.
    ///
    /// To be called when an upgrade was granted, before the 101 is written: a client sends the
    /// other protocol's bytes only after it has seen that (RFC 9110 §7.8).
    pub fn release(&mut self) {
        self.state = State::Released;
    }

    /// What the next byte belongs to.
    #[inline]
    pub fn position(&self) -> Position {
        match self.state {
            State::Start | State::EmptyLine => Position::BetweenRequests,
            State::Lines(_) if self.fields.is_trailer => Position::InBody,
            State::Lines(_) => Position::InHead,
            State::Body | State::Chunked(_) => Position::InBody,
            State::Released => Position::Upgraded,
        }
    }

    /// How many heads were complete and in order; tells one slow head from a row of quick ones.
    #[inline]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The violation, once there was one.
    pub fn violation(&self) -> Option<Violation> {
        self.violation.copied()
    }

    #[inline]
    fn step<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match self.state {
            State::Start => self.start(input),
            State::EmptyLine => self.empty_line(input),
            State::Lines(_) => self.lines(input),
            State::Body => Ok(self.body(input)),
            State::Chunked(chunk) => self.chunked(chunk, input),
            State::Released => Ok(&[]),
        }
    }

    #[inline]
    fn start<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match input.first() {
            None => Ok(input),
            Some(b'\r') => {
                self.state = State::EmptyLine;
                Ok(scan::after(input, 1))
            }
            Some(b'\n') => Err(&violation::BARE_LF),
            Some(_) => {
                self.empty_lines = 0;
                self.fields.begin(self.limits.target_bytes);
                self.budget_bytes = self.limits.head_bytes;
                self.state = State::Lines(Line::Method);
                self.lines(input)
            }
        }
    }

    /// RFC 9112 §2.2: a server should ignore at least one empty line before a request line, for
    /// the sake of clients that end a body with one.
    fn empty_line<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match input.first() {
            Some(b'\n') if self.empty_lines < 2 => {
                self.empty_lines += 1;
                self.state = State::Start;
                Ok(scan::after(input, 1))
            }
            Some(b'\n') => Err(&violation::EMPTY_LINES),
            _ => Err(&violation::BARE_CR),
        }
    }

    /// Takes lines of the head or of the trailer section, as far as there are bytes and budget.
    #[inline]
    fn lines<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        let (window, beyond) = scan::split(input, self.budget_bytes);
        let mut rest = window;
        while let State::Lines(line) = self.state {
            if rest.is_empty() {
                self.budget_bytes -= window.len();
                return match (beyond, self.fields.is_trailer) {
                    ([], _) => Ok(&[]),
                    (_, false) => Err(&violation::HEAD_TOO_LARGE),
                    (_, true) => Err(&violation::TRAILERS_TOO_LARGE),
                };
            }
            rest = self.line(line, rest)?;
        }
        Ok(scan::after(input, window.len() - rest.len()))
    }

    /// The empty line after the fields: what comes next is settled (RFC 9112 §6.3).
    #[inline]
    pub(super) fn end_lines(&mut self) -> Result<(), &'static Violation> {
        if self.fields.is_trailer {
            self.state = State::Start;
            return Ok(());
        }
        self.fields.end()?;
        self.requests += 1;
        self.state = match (self.fields.is_chunked, self.fields.content_length) {
            (true, _) => {
                self.left_bytes = 0;
                State::Chunked(Chunk::Size { digits: 0 })
            }
            (false, None | Some(0)) => State::Start,
            (false, Some(length)) => {
                self.left_bytes = length;
                State::Body
            }
        };
        Ok(())
    }

    fn body<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let rest = self.skip(input);
        if self.left_bytes == 0 {
            self.state = State::Start;
        }
        rest
    }

    /// Passes over data of known length, however much of it there is.
    pub(super) fn skip<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        // Where the length does not fit a usize it is more than any slice has.
        let wanted = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        let (data, rest) = scan::split(input, wanted);
        self.left_bytes -= u64::try_from(data.len()).unwrap_or(self.left_bytes);
        rest
    }
}
