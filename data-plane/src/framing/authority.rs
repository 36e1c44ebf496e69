//! A host with an optional port, as the Host field and the absolute form of a target carry it.

use std::net::Ipv6Addr;

use super::scan;

/// A host and the port beside it, borrowed from the bytes that were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Parses `uri-host [ ":" port ]` (RFC 9110 §7.2).
    ///
    /// Narrower than RFC 3986 §3.2.2: a name holds only unreserved characters. What else the
    /// grammar has (sub-delims, percent-encoding, user information) is in no name that DNS
    /// resolves, and two parsers need not agree about it. An empty host or port is refused too.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (host, port) = if bytes.first() == Some(&b'[') {
            let end = bytes.iter().position(|byte| *byte == b']')?;
            let (literal, port) = bytes.split_at_checked(end + 1)?;
            let address = literal.get(1..end)?;
            std::str::from_utf8(address).ok()?.parse::<Ipv6Addr>().ok()?;
            (literal, port)
        } else {
            scan::split(bytes, scan::host(bytes))
        };
        if host.is_empty() || host.len() > 255 {
            return None;
        }
        match port {
            [] => Some(Self { host, port: None }),
            [b':', digits @ ..] => Some(Self { host, port: Some(parse_port(digits)?) }),
            _ => None,
        }
    }

    /// Whether both name the same authority where an absent port means `default_port`.
    pub(super) fn is_same(&self, other: &Authority<'_>, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// The authority of a target in absolute form and its scheme's default port; `None` where it is
/// no `http` or `https` URI (RFC 9112 §3.2.2).
pub(super) fn of_absolute_form(target: &[u8]) -> Option<(&[u8], u16)> {
    let colon = target.iter().position(|byte| *byte == b':')?;
    let (scheme, rest) = target.split_at_checked(colon)?;
    let default_port = if scheme.eq_ignore_ascii_case(b"http") {
        80
    } else if scheme.eq_ignore_ascii_case(b"https") {
        443
    } else {
        return None;
    };
    let rest = rest.strip_prefix(b"://")?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    Some((rest.get(..end)?, default_port))
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
