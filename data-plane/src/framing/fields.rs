//! What the lines of a head say about the framing, collected as they come.

use super::authority::{self, Authority};
use super::violation::{self, Violation};

/// What a field means for the framing; decides whether its value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Host,
    ContentLength,
    TransferEncoding,
    Other,
}

/// What is known of the message under way.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) is_options: bool,
    pub(super) is_1_1: bool,
    pub(super) is_chunked: bool,
    /// The lines that come are those of a trailer section.
    pub(super) is_trailer: bool,
    has_host: bool,
    has_content_length: bool,
    pub(super) content_length: Option<u64>,
    pub(super) count: usize,
    pub(super) target_left_bytes: usize,
    /// The authority of a target in absolute form, empty for any other, and its default port.
    authority: Vec<u8>,
    default_port: u16,
}

impl Fields {
    /// Begins a request.
    #[inline]
    pub(super) fn begin(&mut self, target_bytes: usize) {
        let mut authority = std::mem::take(&mut self.authority);
        authority.clear();
        *self = Self { authority, target_left_bytes: target_bytes, ..Self::default() };
    }

    /// Begins the trailer section of the same request.
    pub(super) fn begin_trailer(&mut self) {
        self.is_trailer = true;
        self.count = 0;
    }

    #[inline]
    pub(super) fn method(&mut self, method: &[u8]) -> Result<(), &'static Violation> {
        self.is_options = method == b"OPTIONS";
        if method == b"CONNECT" {
            return Err(&violation::CONNECT);
        }
        Ok(())
    }

    /// Keeps the authority of a target in absolute form, of which at least the start is given.
    pub(super) fn absolute_form(&mut self, prefix: &[u8]) -> Result<(), &'static Violation> {
        let Some((authority, default_port)) = authority::of_absolute_form(prefix) else {
            return Err(&violation::TARGET_FORM);
        };
        if Authority::parse(authority).is_none() {
            return Err(&violation::TARGET_AUTHORITY);
        }
        self.authority.extend_from_slice(authority);
        self.default_port = default_port;
        Ok(())
    }

    /// What the field of this name is; refuses one that may not stand here (again).
    #[inline(always)]
    pub(super) fn name(&mut self, name: &[u8]) -> Result<Kind, &'static Violation> {
        if self.is_trailer {
            return trailer(name);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host_line(),
            14 if is_dashed(name, b"content-length") => self.content_length_line(name),
            17 if is_dashed(name, b"transfer-encoding") => self.transfer_encoding_line(name),
            _ => Ok(Kind::Other),
        }
    }

    /// Reads the value of a field that [`Fields::name`] found to be of the `kind`; `is_longer`
    /// where not all of it is given.
    #[inline]
    pub(super) fn value(
        &mut self,
        kind: Kind,
        value: &[u8],
        is_longer: bool,
    ) -> Result<(), &'static Violation> {
        // Only the end needs it: the white space before a value is no part of what was kept.
        let value = value.trim_ascii_end();
        match kind {
            Kind::Host if is_longer => Err(&violation::HOST),
            Kind::Host => self.host(value),
            Kind::ContentLength if is_longer => Err(&violation::CONTENT_LENGTH),
            Kind::ContentLength => self.content_length(value),
            Kind::TransferEncoding if is_longer => Err(&violation::TRANSFER_CODING),
            Kind::TransferEncoding => self.transfer_encoding(value),
            Kind::Other => Ok(()),
        }
    }

    /// Checks what only the end of the head shows.
    #[inline]
    pub(super) fn end(&self) -> Result<(), &'static Violation> {
        // RFC 9112 §3.2: a request of HTTP/1.1 without Host must be refused with a 400.
        if self.is_1_1 && !self.has_host {
            return Err(&violation::HOST_MISSING);
        }
        Ok(())
    }

    fn host_line(&mut self) -> Result<Kind, &'static Violation> {
        if self.has_host {
            return Err(&violation::HOST_LINES);
        }
        self.has_host = true;
        Ok(Kind::Host)
    }

    /// RFC 9112 §6.3 lets identical values pass for one; two parsers need not agree on that.
    fn content_length_line(&mut self, name: &[u8]) -> Result<Kind, &'static Violation> {
        if name.contains(&b'_') {
            return Err(&violation::DISGUISED_LENGTH);
        }
        if self.has_content_length {
            return Err(&violation::CONTENT_LENGTH_LIST);
        }
        if self.is_chunked {
            return Err(&violation::BOTH_LENGTHS);
        }
        self.has_content_length = true;
        Ok(Kind::ContentLength)
    }

    fn transfer_encoding_line(&mut self, name: &[u8]) -> Result<Kind, &'static Violation> {
        if name.contains(&b'_') {
            return Err(&violation::DISGUISED_LENGTH);
        }
        if self.is_chunked {
            return Err(&violation::TRANSFER_ENCODING_LINES);
        }
        // RFC 9112 §6.3: both ought to be handled as an error.
        if self.has_content_length {
            return Err(&violation::BOTH_LENGTHS);
        }
        // RFC 9112 §6.1: the framing of such a request is faulty.
        if !self.is_1_1 {
            return Err(&violation::TRANSFER_ENCODING_1_0);
        }
        Ok(Kind::TransferEncoding)
    }

    #[inline]
    fn host(&mut self, value: &[u8]) -> Result<(), &'static Violation> {
        let Some(host) = Authority::parse(value) else {
            return Err(&violation::HOST);
        };
        if self.authority.is_empty() {
            return Ok(());
        }
        // RFC 9112 §3.2.2 has the target win; whoever sends both has them equal (§3.2).
        match Authority::parse(&self.authority) {
            Some(target) if target.is_same(&host, self.default_port) => Ok(()),
            _ => Err(&violation::HOST_MISMATCH),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), &'static Violation> {
        if value.contains(&b',') {
            return Err(&violation::CONTENT_LENGTH_LIST);
        }
        if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
            return Err(&violation::CONTENT_LENGTH);
        }
        // 18 digits are less than 2^63.
        let length = value.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        self.content_length = Some(length);
        Ok(())
    }

    /// RFC 9112 §6.1: a coding that is not understood is answered with a 501.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), &'static Violation> {
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(&violation::TRANSFER_CODING);
        }
        self.is_chunked = true;
        Ok(())
    }
}

/// Whether `name` is `wanted` where `_` is as good as `-`.
///
/// CGI and what descends from it hands both on under one name, so an upstream may take
/// `content_length` for the length that nobody before it saw.
fn is_dashed(name: &[u8], wanted: &[u8]) -> bool {
    name.iter().zip(wanted).all(|(byte, wanted)| {
        byte.eq_ignore_ascii_case(wanted) || (*byte == b'_' && *wanted == b'-')
    })
}

/// RFC 9110 §6.5.1: fields that frame, route, condition or authenticate a request, or say how to
/// read its content, may not stand in a trailer section.
fn trailer(name: &[u8]) -> Result<Kind, &'static Violation> {
    const FORBIDDEN: [&[u8]; 27] = [
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"keep-alive",
        b"max-forwards",
        b"pragma",
        b"proxy-authorization",
        b"proxy-connection",
        b"range",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"via",
    ];
    if FORBIDDEN.iter().any(|wanted| wanted.len() == name.len() && is_dashed(name, wanted)) {
        return Err(&violation::FORBIDDEN_TRAILER);
    }
    Ok(Kind::Other)
}
