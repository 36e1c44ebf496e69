//! What `format` asserts.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::policies::validate::json::Number;

/// A format that is asserted. Others say something to people alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    DateTime,
    Date,
    Time,
    Email,
    Hostname,
    Ipv4,
    Ipv6,
    Uri,
    Uuid,
    /// Base64 of RFC 4648 §4, as OpenAPI has it.
    Byte,
    Int32,
    Int64,
}

impl Format {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "date-time" => Self::DateTime,
            "date" => Self::Date,
            "time" => Self::Time,
            "email" => Self::Email,
            "hostname" => Self::Hostname,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "uri" => Self::Uri,
            "uuid" => Self::Uuid,
            "byte" => Self::Byte,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            _ => return None,
        })
    }

    pub(crate) fn is_of_numbers(self) -> bool {
        matches!(self, Self::Int32 | Self::Int64)
    }

    /// For people.
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Self::DateTime => "a time such as 2024-05-01T12:00:00Z",
            Self::Date => "a date such as 2024-05-01",
            Self::Time => "a time of day such as 12:00:00Z",
            Self::Email => "an address of e-mail",
            Self::Hostname => "a host name",
            Self::Ipv4 => "an address of IPv4",
            Self::Ipv6 => "an address of IPv6",
            Self::Uri => "a URI with its scheme",
            Self::Uuid => "a UUID such as 123e4567-e89b-12d3-a456-426614174000",
            Self::Byte => "base64",
            Self::Int32 => "a whole number of 32 bits",
            Self::Int64 => "a whole number of 64 bits",
        }
    }

    pub(crate) fn takes_number(self, number: Number) -> bool {
        let whole = number.whole();
        match self {
            Self::Int32 => whole.is_some_and(|number| i32::try_from(number).is_ok()),
            Self::Int64 => whole.is_some_and(|number| i64::try_from(number).is_ok()),
            Self::DateTime
            | Self::Date
            | Self::Time
            | Self::Email
            | Self::Hostname
            | Self::Ipv4
            | Self::Ipv6
            | Self::Uri
            | Self::Uuid
            | Self::Byte => true,
        }
    }

    pub(crate) fn takes_text(self, text: &str) -> bool {
        match self {
            Self::DateTime => text
                .split_once(['T', 't'])
                .is_some_and(|(date, time)| is_date(date) && is_time(time)),
            Self::Date => is_date(text),
            Self::Time => is_time(text),
            Self::Email => is_email(text),
            Self::Hostname => is_hostname(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Uri => is_uri(text),
            Self::Uuid => is_uuid(text),
            Self::Byte => is_base64(text),
            Self::Int32 | Self::Int64 => true,
        }
    }
}

/// A number of exactly so many digits.
fn digits(text: &str, length: usize) -> Option<u32> {
    let is_number = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// RFC 3339 §5.6, `full-date`.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut part = |length| parts.next().and_then(|part| digits(part, length));
    let (Some(year), Some(month), Some(day)) = (part(4), part(2), part(2)) else { return false };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// RFC 3339 §5.6, `full-time`. A leap second is one where it would be 23:59:60 UTC.
fn is_time(text: &str) -> bool {
    let Some((clock, rest)) = text.split_at_checked(8) else { return false };
    let mut parts = clock.splitn(3, ':');
    let mut part = || parts.next().and_then(|part| digits(part, 2));
    let (Some(hour), Some(minute), Some(second)) = (part(), part(), part()) else { return false };
    let offset = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if offset.len() == fraction.len() {
                return false;
            }
            offset
        }
    };
    let Some(offset_minutes) = offset_of(offset) else { return false };
    let is_leap_second = || {
        let minutes = i64::from(hour * 60 + minute) - offset_minutes;
        minutes.rem_euclid(24 * 60) == 24 * 60 - 1
    };
    hour < 24 && minute < 60 && (second < 60 || (second == 60 && is_leap_second()))
}

/// Minutes ahead of UTC.
fn offset_of(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, clock) = match text.strip_prefix('+') {
        Some(clock) => (1, clock),
        None => (-1, text.strip_prefix('-')?),
    };
    let (hour, minute) = clock.split_once(':')?;
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    (hour < 24 && minute < 60).then(|| sign * i64::from(hour * 60 + minute))
}

/// RFC 5321 §4.1.2 without quoted parts and address literals, and with the characters of RFC 6531.
fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    let is_atom = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| {
                c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~-".contains(c) || !c.is_ascii()
            })
    };
    local.len() <= 64 && local.split('.').all(is_atom) && is_hostname(host)
}

/// RFC 1123 §2.1.
fn is_hostname(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// RFC 3986 §3, by its characters.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let mut bytes = rest.bytes();
    while let Some(byte) = bytes.next() {
        let is_allowed = match byte {
            b'%' => {
                let mut is_digit = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
                is_digit() && is_digit()
            }
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
            other => other.is_ascii_graphic(),
        };
        if !is_allowed {
            return false;
        }
    }
    is_scheme
}

/// RFC 9562 §4.
fn is_uuid(text: &str) -> bool {
    let mut parts = text.split('-');
    let lengths = [8, 4, 4, 4, 12];
    let is_part = |length: &usize| {
        parts.next().is_some_and(|part| {
            part.len() == *length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    lengths.iter().all(is_part) && text.len() == 36
}

fn is_base64(text: &str) -> bool {
    let content = text.trim_end_matches('=');
    let padding = text.len() - content.len();
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    text.len().is_multiple_of(4) && padding <= 2 && content.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn formats_take_what_their_sources_take() {
        let cases: [(&str, &[&str], &[&str]); 10] = [
            (
                "date-time",
                &[
                    "2024-02-29T23:59:59Z",
                    "2024-01-01t00:00:00.123456789+14:00",
                    "1990-12-31T23:59:60Z",
                    "1990-12-31T15:59:60-08:00",
                ],
                &[
                    "2023-02-29T00:00:00Z",
                    "2024-01-01 00:00:00Z",
                    "2024-01-01T24:00:00Z",
                    "2024-01-01T00:00:00",
                    "2024-01-01T00:00:00.Z",
                    "2024-01-01T12:00:60Z",
                    "2024-01-01T00:00:00+24:00",
                    "",
                    "T",
                ],
            ),
            (
                "date",
                &["2000-02-29", "0000-01-01"],
                &[
                    "1900-02-29",
                    "2024-13-01",
                    "2024-1-1",
                    "2024-04-31",
                    "2024-01-01x",
                    "+024-01-01",
                ],
            ),
            (
                "time",
                &["00:00:00Z", "12:30:01.5-00:30"],
                &["12:30Z", "12:30:00", "1:2:3Z", "12:30:00é"],
            ),
            (
                "email",
                &["a@b.test", "a.b+c@shop.test", "ü@shop.test"],
                &["a", "@b", "a@", "a@b@c", "a..b@c", "a b@c", "a@-b"],
            ),
            ("hostname", &["a", "shop.test", "a-b.c"], &["", "a..b", "-a", "a_b", "a.", "ü.test"]),
            ("ipv4", &["192.0.2.1"], &["192.0.2", "192.0.2.256", "192.0.2.01", "::1"]),
            ("ipv6", &["::1", "2001:db8::192.0.2.1"], &["192.0.2.1", "::1%eth0", ":::"]),
            (
                "uri",
                &["https://shop.test/a?b#c", "urn:x:y", "a:%20"],
                &["/a", "https://a b", "1a:b", "a:%2", "a:ü", "a:<b>"],
            ),
            (
                "uuid",
                &["123e4567-e89b-12d3-a456-426614174000"],
                &[
                    "123e4567e89b12d3a456426614174000",
                    "123e4567-e89b-12d3-a456-42661417400g",
                    "123e4567-e89b-12d3-a456-426614174000-",
                ],
            ),
            ("byte", &["", "YQ==", "YWJj"], &["YQ", "YQ=", "Y===", "Y-_j", "====="]),
        ];
        for (name, taken, refused) in cases {
            let format = Format::named(name).unwrap();
            for text in taken {
                assert!(format.takes_text(text), "{name} {text}");
            }
            for text in refused {
                assert!(!format.takes_text(text), "{name} {text}");
            }
        }
    }

    #[test]
    fn numbers_have_their_bits() {
        let takes = |format: Format, text| format.takes_number(Number::parse(text).unwrap());
        assert!(takes(Format::Int32, "2147483647") && !takes(Format::Int32, "2147483648"));
        assert!(takes(Format::Int64, "-9223372036854775808"));
        assert!(!takes(Format::Int64, "9223372036854775808") && !takes(Format::Int32, "1.5"));
    }
}
