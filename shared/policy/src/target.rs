//! The path of a request in the one form it is matched and forwarded in.
//!
//! What gateway and upstream could read differently is refused, so a policy is never passed by
//! writing the same path in another way.

use std::borrow::Cow;

/// What to do with `%2F` and `%5C`, which many servers decode into separators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedSlash {
    /// The request is refused.
    Refuse,
    /// They stay as they are and separate nothing.
    Allow,
}

/// Why a path was refused; the client is owed a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TargetFault {
    /// The stable code, `ambiguous_path`.
    pub code: &'static str,
    /// What is wrong, in one sentence for the caller; never anything the client sent.
    pub problem: &'static str,
}

const fn ambiguous(problem: &'static str) -> TargetFault {
    TargetFault { code: "ambiguous_path", problem }
}

static NOT_ABSOLUTE: TargetFault = ambiguous("the path does not begin with `/`");
static EMPTY_SEGMENT: TargetFault =
    ambiguous("the path has an empty segment (`//`); servers differ on whether it counts");
static DOT_SEGMENT: TargetFault = ambiguous(
    "the path has a `.` or `..` segment, plain or percent-encoded; send the path it stands for",
);
static BACKSLASH: TargetFault = ambiguous("the path has a backslash; some servers take it for `/`");
static ODD_BYTE: TargetFault =
    ambiguous("the path has a byte that a path cannot hold; percent-encode it");
static NUL: TargetFault = ambiguous("the path has an encoded NUL (`%00`)");
static NOT_ENCODING: TargetFault =
    ambiguous("the path has a `%` that is not followed by two hexadecimal digits");
static ENCODED_SLASH: TargetFault = ambiguous(
    "the path has an encoded slash or backslash (`%2F`, `%5C`); servers differ on what it separates",
);

/// The path of a request, normalised: unreserved characters are never percent-encoded, other
/// encodings have upper-case digits, and no reader finds another path in it.
///
/// It is both what routes are compared with and what goes upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    path: Cow<'a, str>,
}

impl<'a> Target<'a> {
    /// Parses a path without its query. Allocates only where the path has a `%`.
    ///
    /// Source: RFC 3986 §6.2.2; what it would remove (dot segments) or leave open (empty
    /// segments, RFC 3986 §3.3) is refused instead.
    ///
    /// # Errors
    ///
    /// Why the path is not taken.
    pub fn parse(path: &'a str, encoded_slash: EncodedSlash) -> Result<Self, TargetFault> {
        let Some((b'/', below)) = path.as_bytes().split_first() else {
            return Err(NOT_ABSOLUTE);
        };
        let mut segment: &[u8] = below;
        for (i, byte) in below.iter().enumerate() {
            match byte {
                b'/' => {
                    let end = segment.len() + i - below.len();
                    let (done, rest) = segment.split_at_checked(end).unwrap_or((segment, &[]));
                    match done.first() {
                        None => return Err(EMPTY_SEGMENT),
                        Some(b'.') => check_dots(done)?,
                        Some(_) => {}
                    }
                    segment = rest.get(1..).unwrap_or_default();
                }
                b'%' => {
                    let path = Cow::Owned(normalise(path, encoded_slash)?);
                    return Ok(Self { path });
                }
                _ => check_plain(*byte)?,
            }
        }
        check_dots(segment)?;
        Ok(Self { path: Cow::Borrowed(path) })
    }

    /// The normalised path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The normalised path, borrowed where it is what the client sent.
    #[must_use]
    pub fn into_path(self) -> Cow<'a, str> {
        self.path
    }
}

/// The path with its encodings in one form, checked as a whole.
fn normalise(path: &str, encoded_slash: EncodedSlash) -> Result<String, TargetFault> {
    let mut normal = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            check_plain(byte)?;
            normal.push(char::from(byte));
            continue;
        }
        let (Some(high), Some(low)) = (hex_digit(bytes.next()), hex_digit(bytes.next())) else {
            return Err(NOT_ENCODING);
        };
        match high << 4 | low {
            0 => return Err(NUL),
            b'/' | b'\\' if encoded_slash == EncodedSlash::Refuse => return Err(ENCODED_SLASH),
            decoded if is_unreserved(decoded) => normal.push(char::from(decoded)),
            _ => normal.extend(['%', upper_hex(high), upper_hex(low)]),
        }
    }
    let mut segments = normal.as_bytes().split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(EMPTY_SEGMENT);
        }
        check_dots(segment)?;
    }
    Ok(normal)
}

#[inline]
fn check_plain(byte: u8) -> Result<(), TargetFault> {
    match byte {
        b'\\' => Err(BACKSLASH),
        b'?' | b'#' => Err(ODD_BYTE),
        0x21..=0x7e => Ok(()),
        _ => Err(ODD_BYTE),
    }
}

/// Refuses a segment that a server may take for `.` or `..`: also with parameters behind it
/// (`..;x`, which servlet containers cut off), and between encoded slashes where those are allowed.
fn check_dots(segment: &[u8]) -> Result<(), TargetFault> {
    if has_dots(segment) { Err(DOT_SEGMENT) } else { Ok(()) }
}

fn has_dots(segment: &[u8]) -> bool {
    let mut rest = segment;
    loop {
        let after = rest.strip_prefix(b"..").or_else(|| rest.strip_prefix(b"."));
        let is_end = |after: &[u8]| {
            let encoded = |text| after.starts_with(text);
            matches!(after.first(), None | Some(b';'))
                || encoded(b"%3B")
                || encoded(b"%2F")
                || encoded(b"%5C")
        };
        if after.is_some_and(is_end) {
            return true;
        }
        let separator = |three: &[u8]| three == b"%2F" || three == b"%5C";
        let Some(at) = rest.windows(3).position(separator) else { return false };
        rest = rest.get(at + 3..).unwrap_or_default();
    }
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The value of a hexadecimal digit.
#[must_use]
pub fn hex_digit(byte: Option<u8>) -> Option<u8> {
    match byte? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
        digit @ b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn upper_hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(path: &str) -> Result<String, TargetFault> {
        Target::parse(path, EncodedSlash::Refuse).map(|target| target.into_path().into_owned())
    }

    fn allow(path: &str) -> Result<String, TargetFault> {
        Target::parse(path, EncodedSlash::Allow).map(|target| target.into_path().into_owned())
    }

    #[test]
    fn an_ordinary_path_is_borrowed_as_it_is() {
        for path in ["/", "/a", "/a/", "/a/b.c/..d/...", "/a;v=1/b,c/@:!$&'()*+=~", "/{x}", "/.a"] {
            let target = Target::parse(path, EncodedSlash::Refuse).unwrap();
            assert!(matches!(target.into_path(), Cow::Borrowed(same) if same == path), "{path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let cases = [
            (&["", "a", "*", "http://a/b", "?a"][..], &NOT_ABSOLUTE),
            (&["//", "//a", "/a//", "/a//b", "/%41//b", "/a//%41"], &EMPTY_SEGMENT),
            (&["/.", "/..", "/./a", "/a/../b", "/a/..", "/a/."], &DOT_SEGMENT),
            (&["/%2e", "/%2E%2e/a", "/a/.%2e/b", "/a/%2e./", "/%61/.."], &DOT_SEGMENT),
            (&["/a/..;/b", "/..;x=1", "/.;/a", "/a/..%3b/b", "/a/%2e%2e;x"], &DOT_SEGMENT),
            (&["/\\", "/a\\b", "/%41\\"], &BACKSLASH),
            (&["/ ", "/a\tb", "/\u{7f}", "/\0", "/\r\n", "/ü", "/a?b", "/a#b", "/%41 "], &ODD_BYTE),
            (&["/%00", "/a%00b"], &NUL),
            (&["/%", "/%4", "/%zz", "/%4z", "/a%", "/%%41", "/%+1"], &NOT_ENCODING),
            (&["/a%2fb", "/a%2Fb", "/%5c", "/%5C.."], &ENCODED_SLASH),
        ];
        for (paths, fault) in cases {
            for path in paths {
                assert_eq!(refuse(path).unwrap_err(), *fault, "{path:?}");
                assert_eq!(fault.code, "ambiguous_path");
            }
        }
    }

    #[test]
    fn unreserved_characters_are_decoded_and_the_rest_is_upper_case() {
        assert_eq!(refuse("/%61%2d%5f%7E%30").unwrap(), "/a-_~0");
        assert_eq!(refuse("/a%20b%c3%bc").unwrap(), "/a%20b%C3%BC");
        assert_eq!(refuse("/%3f%23%25%2561").unwrap(), "/%3F%23%25%2561");
        assert_eq!(refuse("/%2ea").unwrap(), "/.a");
    }

    #[test]
    fn encoded_slashes_stay_where_they_are_allowed_but_hide_no_dots() {
        assert_eq!(allow("/a%2fb%5c").unwrap(), "/a%2Fb%5C");
        assert_eq!(allow("/http:%2F%2Fa.test%2fx").unwrap(), "/http:%2F%2Fa.test%2Fx");
        for path in ["/a%2f..", "/..%2fa", "/a%2f%2e%2e%2fb", "/a%5c..%5cb", "/a%2f.%2fb"] {
            assert_eq!(allow(path).unwrap_err(), DOT_SEGMENT, "{path}");
        }
    }

    #[test]
    fn a_normalised_path_is_its_own_normal_form() {
        for path in ["/%61/%2e%2ea", "/a%2fb", "/%25%2541"] {
            let once = allow(path).unwrap();
            assert_eq!(allow(&once).unwrap(), once);
        }
    }
}
