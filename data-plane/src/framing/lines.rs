//! The request line and the field lines, of a head or of a trailer section.
//!
//! Each function takes what it can of its part and goes straight on to the next part of the same
//! line, so that a line that came in one piece is one run without a dispatch between its parts.

use super::fields::Kind;
use super::machine::{Framing, State, Step};
use super::scan;
use super::violation as refused;

/// A part of a line; where a read ends within it, the next one goes on there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Method,
    /// At the first byte of the target.
    Target,
    /// In a target in origin form: a path and a query.
    Origin,
    /// In a target in absolute form: a URI.
    Absolute,
    /// After the `*` of `OPTIONS *`.
    Asterisk,
    /// In the version; so many of its bytes and of its CRLF were seen.
    Version {
        seen: u8,
    },
    /// At the start of a field line or of the empty line after the last.
    FieldStart,
    FieldName,
    /// In the white space before a value.
    ValueStart(Kind),
    /// In a value that says nothing about the framing.
    Value,
    /// In a value that is kept until it is whole.
    KeptValue(Kind),
    /// After the CR of a field line.
    FieldEnd,
    /// After the CR of the empty line.
    LinesEnd,
}

/// The most that is kept of a token a read cut in two, and the longest value of a field that is
/// read here: a host name (255 bytes), a scheme and a port, with some white space after it.
const CARRY_BYTES: usize = 320;

impl Framing {
    #[inline]
    pub(super) fn line<'a>(&mut self, line: Line, input: &'a [u8]) -> Step<'a> {
        match line {
            Line::FieldStart => self.fields(input),
            Line::FieldName => self.field_name(input),
            Line::ValueStart(kind) => self.value_start(kind, input),
            Line::Value => self.value(input),
            Line::KeptValue(kind) => self.kept_value(kind, input),
            Line::FieldEnd => self.field_end(input),
            Line::LinesEnd => self.lines_end(input),
            Line::Method => self.method(input),
            Line::Target => self.target(input),
            Line::Origin => self.origin(input),
            Line::Absolute => self.absolute(input),
            Line::Asterisk => self.asterisk(input),
            Line::Version { seen } => self.version(seen, input),
        }
    }

    #[inline]
    fn enter(&mut self, line: Line) {
        self.state = State::Lines(line);
    }

    /// Keeps the start of a token whose end has not come, up to one byte more than any of use.
    #[cold]
    fn keep<'a>(&mut self, part: &[u8]) -> Step<'a> {
        self.carry_on(part);
        Ok(&[])
    }

    fn carry_on(&mut self, part: &[u8]) {
        let room = (CARRY_BYTES + 1).saturating_sub(self.carry.len());
        self.carry.extend_from_slice(scan::split(part, room).0);
    }

    /// Hands the whole token to `read`: `part` alone, or what earlier reads had of it and `part`.
    #[inline]
    fn whole<T>(&mut self, part: &[u8], read: impl FnOnce(&mut Self, &[u8]) -> T) -> T {
        if self.carry.is_empty() {
            return read(self, part);
        }
        self.carry_on(part);
        let mut carry = std::mem::take(&mut self.carry);
        let result = read(self, &carry);
        carry.clear();
        self.carry = carry;
        result
    }

    // RFC 9112 §3: request-line = method SP request-target SP HTTP-version.

    #[inline]
    fn method<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        let length = scan::token(input);
        let (method, rest) = scan::split(input, length);
        match rest.first() {
            None => self.keep(method),
            Some(b' ') if length > 0 || !self.carry.is_empty() => {
                self.whole(method, |framing, method| framing.fields.method(method))?;
                self.enter(Line::Target);
                self.target(scan::after(rest, 1))
            }
            Some(b'\n') => Err(&refused::BARE_LF),
            Some(_) => Err(&refused::METHOD),
        }
    }

    #[inline]
    fn target<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match input.first() {
            None => Ok(input),
            Some(b'/') => {
                self.enter(Line::Origin);
                self.origin(input)
            }
            // RFC 9112 §3.2.4: the asterisk form is for OPTIONS alone.
            Some(b'*') if self.fields.is_options => {
                self.enter(Line::Asterisk);
                Ok(scan::after(input, 1))
            }
            Some(byte) if byte.is_ascii_alphabetic() => {
                self.enter(Line::Absolute);
                self.absolute(input)
            }
            Some(byte) if scan::is_target(*byte) => Err(&refused::TARGET_FORM),
            Some(b'\n') => Err(&refused::BARE_LF),
            Some(_) => Err(&refused::TARGET),
        }
    }

    #[inline]
    fn origin<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match self.target_part(input)? {
            (_, None) => Ok(&[]),
            (_, Some(rest)) => {
                self.enter(Line::Version { seen: 0 });
                self.version(0, rest)
            }
        }
    }

    fn absolute<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match self.target_part(input)? {
            (part, None) => self.keep(part),
            (part, Some(rest)) => {
                self.whole(part, |framing, target| {
                    // As much of it as is kept of one that was cut; more than any authority.
                    framing.fields.absolute_form(scan::split(target, CARRY_BYTES + 1).0)
                })?;
                self.enter(Line::Version { seen: 0 });
                self.version(0, rest)
            }
        }
    }

    /// The part of the target in `input` and, if it ends there, what follows its space.
    #[inline]
    fn target_part<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<(&'a [u8], Option<&'a [u8]>), &'static refused::Violation> {
        let (window, _) = scan::split(input, self.fields.target_left_bytes);
        let length = scan::target(window);
        let (part, rest) = scan::split(input, length);
        match rest.first() {
            None => {
                self.fields.target_left_bytes -= length;
                Ok((part, None))
            }
            Some(b' ') => Ok((part, Some(scan::after(rest, 1)))),
            // The scan stopped at the end of the window, not at this byte.
            Some(byte) if scan::is_target(*byte) => Err(&refused::TARGET_TOO_LONG),
            Some(b'\n') => Err(&refused::BARE_LF),
            // RFC 9112 §3: without a version it would be HTTP/0.9.
            Some(b'\r') => Err(&refused::VERSION),
            Some(_) => Err(&refused::TARGET),
        }
    }

    fn asterisk<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match input.first() {
            None => Ok(input),
            Some(b' ') => {
                self.enter(Line::Version { seen: 0 });
                self.version(0, scan::after(input, 1))
            }
            Some(_) => Err(&refused::TARGET_FORM),
        }
    }

    #[inline]
    fn version<'a>(&mut self, seen: u8, input: &'a [u8]) -> Step<'a> {
        if seen == 0 && input.starts_with(b"HTTP/1.1\r\n") {
            self.fields.is_1_1 = true;
            self.enter(Line::FieldStart);
            return Ok(scan::after(input, 10));
        }
        self.version_by_byte(seen, input)
    }

    /// RFC 9112 §2.3: HTTP-version = "HTTP" "/" DIGIT "." DIGIT, in this case and no other.
    #[cold]
    fn version_by_byte<'a>(&mut self, mut seen: u8, input: &'a [u8]) -> Step<'a> {
        let mut rest = input;
        while let Some((byte, tail)) = rest.split_first() {
            match (seen, byte) {
                (0, b'H') | (1 | 2, b'T') | (3, b'P') | (4, b'/') | (6, b'.') | (8, b'\r') => {}
                (5, b'1') => {}
                (7, b'0' | b'1') => self.fields.is_1_1 = *byte == b'1',
                (5 | 7, b'0'..=b'9') => return Err(&refused::UNSUPPORTED_VERSION),
                (9, b'\n') => {
                    self.enter(Line::FieldStart);
                    return Ok(tail);
                }
                (9, _) => return Err(&refused::BARE_CR),
                (_, b'\n') => return Err(&refused::BARE_LF),
                (0, b' ') => return Err(&refused::TARGET),
                _ => return Err(&refused::VERSION),
            }
            seen += 1;
            rest = tail;
        }
        self.enter(Line::Version { seen });
        Ok(rest)
    }

    // RFC 9112 §5: field-line = field-name ":" OWS field-value OWS.

    /// Takes lines as long as they are whole and in order; all else goes part by part.
    #[inline]
    fn fields<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        let mut rest = input;
        while let Some(after) = self.field_line(rest)? {
            rest = after;
        }
        self.field_start(rest)
    }

    /// A line that is in `input` whole, up to its LF; `None` where it is not or is not in order.
    ///
    /// The end of the line does not hang on the end of the name: the processor looks for both at
    /// once, and this halves the time of a head.
    #[inline]
    fn field_line<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<&'a [u8]>, &'static refused::Violation> {
        let (line, end) = scan::split(input, scan::value(input));
        let [b'\r', b'\n', rest @ ..] = end else { return Ok(None) };
        let (name, colon) = scan::split(line, scan::token(input));
        let [b':', value @ ..] = colon else { return Ok(None) };
        if name.is_empty() {
            return Ok(None);
        }
        self.count_field()?;
        let kind = self.fields.name(name)?;
        if kind != Kind::Other {
            let value = value.trim_ascii_start();
            self.fields.value(kind, value, value.len() > CARRY_BYTES)?;
        }
        Ok(Some(rest))
    }

    #[inline]
    fn count_field(&mut self) -> Result<(), &'static refused::Violation> {
        self.fields.count += 1;
        if self.fields.count <= self.limits.header_count {
            return Ok(());
        }
        Err(match self.fields.is_trailer {
            false => &refused::TOO_MANY_FIELDS,
            true => &refused::TRAILERS_TOO_LARGE,
        })
    }

    #[inline]
    fn field_start<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match input.first() {
            None => Ok(input),
            Some(b'\r') => {
                self.enter(Line::LinesEnd);
                self.lines_end(scan::after(input, 1))
            }
            // RFC 9112 §5.2 for a fold, §2.2 for white space after the request line.
            Some(b' ' | b'\t') => Err(&refused::OBSOLETE_FOLD),
            Some(_) => {
                self.count_field()?;
                self.enter(Line::FieldName);
                self.field_name(input)
            }
        }
    }

    #[inline]
    fn field_name<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        let length = scan::token(input);
        let (name, rest) = scan::split(input, length);
        match rest.first() {
            None => self.keep(name),
            Some(b':') if length > 0 || !self.carry.is_empty() => {
                let kind = self.whole(name, |framing, name| framing.fields.name(name))?;
                self.enter(Line::ValueStart(kind));
                self.value_start(kind, scan::after(rest, 1))
            }
            // RFC 9112 §5.1: such a request must be refused with a 400.
            Some(b' ' | b'\t') => Err(&refused::SPACE_BEFORE_COLON),
            Some(b'\n') => Err(&refused::BARE_LF),
            Some(_) => Err(&refused::FIELD_NAME),
        }
    }

    #[inline]
    fn value_start<'a>(&mut self, kind: Kind, input: &'a [u8]) -> Step<'a> {
        let mut rest = input;
        while let Some((b' ' | b'\t', tail)) = rest.split_first() {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(rest);
        }
        if kind == Kind::Other {
            self.enter(Line::Value);
            return self.value(rest);
        }
        self.enter(Line::KeptValue(kind));
        self.kept_value(kind, rest)
    }

    #[inline]
    fn value<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        self.value_end(scan::after(input, scan::value(input)))
    }

    #[inline]
    fn kept_value<'a>(&mut self, kind: Kind, input: &'a [u8]) -> Step<'a> {
        let (value, rest) = scan::split(input, scan::value(input));
        match rest.first() {
            None => return self.keep(value),
            Some(b'\r') => self.whole(value, |framing, value| {
                framing.fields.value(kind, value, value.len() > CARRY_BYTES)
            })?,
            Some(_) => {}
        }
        self.value_end(rest)
    }

    /// At the first byte that is not of the value: only a CR may be.
    #[inline]
    fn value_end<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match input.first() {
            None => Ok(input),
            Some(b'\r') => {
                self.enter(Line::FieldEnd);
                self.field_end(scan::after(input, 1))
            }
            Some(b'\n') => Err(&refused::BARE_LF),
            Some(_) => Err(&refused::FIELD_VALUE),
        }
    }

    #[inline]
    fn field_end<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match input.first() {
            None => Ok(input),
            Some(b'\n') => {
                self.enter(Line::FieldStart);
                Ok(scan::after(input, 1))
            }
            Some(_) => Err(&refused::BARE_CR),
        }
    }

    #[inline]
    fn lines_end<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match input.first() {
            None => Ok(input),
            Some(b'\n') => {
                self.end_lines()?;
                Ok(scan::after(input, 1))
            }
            Some(_) => Err(&refused::BARE_CR),
        }
    }
}
