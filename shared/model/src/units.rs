//! Durations and sizes as people write them: a number and a unit.

use std::time::Duration;

use crate::parse::{FromText, Rejected, deserr_text, text_schema};

/// A length of time: `250ms`, `10s`, `5m`, `1h`, `30d`. Never zero, at most 366 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// The longest that is accepted.
    pub const MAX: Duration = Duration::from_secs(366 * 86_400);

    /// A span of whole seconds, for defaults in code.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromText for Span {
    const EXPECTED: &'static str =
        "a duration: a number and a unit, such as 250ms, 10s, 5m, 1h, 30d";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let refuse = |why: &str| {
            Rejected::new(
                "invalid_duration",
                format!("`{}` {why}; give {}", text.escape_debug(), Self::EXPECTED),
            )
        };
        let (number, unit) = split(text);
        let number: u64 = number.parse().map_err(|_not_a_number| refuse("is not a duration"))?;
        let millis_per_unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(refuse("has no unit that is known")),
        };
        let duration = number.checked_mul(millis_per_unit).map(Duration::from_millis);
        match duration {
            Some(duration) if duration.is_zero() => Err(refuse("is zero")),
            Some(duration) if duration <= Self::MAX => Ok(Self(duration)),
            _ => Err(refuse("is longer than 366 days")),
        }
    }
}

/// A number of bytes: `512B`, `64KiB`, `1MiB`, `2GiB`. At most 1 TiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    const MAX_BYTES: u64 = 1 << 40;

    /// A size in KiB, for defaults in code.
    #[must_use]
    pub const fn from_kib(kib: u32) -> Self {
        Self(1024 * u64_from(kib))
    }

    /// A size in bytes, for defaults in code. At most 1 TiB is taken of it.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(if bytes < Self::MAX_BYTES { bytes } else { Self::MAX_BYTES })
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

#[expect(clippy::as_conversions, reason = "widening; `From` is not const")]
const fn u64_from(number: u32) -> u64 {
    number as u64
}

impl FromText for Size {
    const EXPECTED: &'static str = "a size: a number and a unit, such as 512B, 64KiB, 1MiB";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let refuse = |why: &str| {
            Rejected::new(
                "invalid_size",
                format!("`{}` {why}; give {}", text.escape_debug(), Self::EXPECTED),
            )
        };
        let (number, unit) = split(text);
        let number: u64 = number.parse().map_err(|_not_a_number| refuse("is not a size"))?;
        let bytes_per_unit = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(refuse("has no unit that is known")),
        };
        match number.checked_mul(bytes_per_unit) {
            Some(bytes) if bytes <= Self::MAX_BYTES => Ok(Self(bytes)),
            _ => Err(refuse("is more than 1 TiB")),
        }
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}

deserr_text!(Span, Size);
text_schema!(Span, "Duration", "A number and a unit: 250ms, 10s, 5m, 1h, 30d.");
text_schema!(Size, "Size", "A number and a unit: 512B, 64KiB, 1MiB, 2GiB.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, millis) in
            [("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("30d", 2_592_000_000)]
        {
            assert_eq!(Span::from_text(text).unwrap().get().as_millis(), millis, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in
            ["", "10", "s", "0s", "1.5s", "-1s", "10 s", "10sec", "367d", "99999999999999999999s"]
        {
            assert_eq!(Span::from_text(text).unwrap_err().code, "invalid_duration", "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_units_and_bounded() {
        assert_eq!(Size::from_text("64KiB").unwrap().bytes(), 65_536);
        for text in ["64", "64KB", "1025GiB", "KiB"] {
            assert_eq!(Size::from_text(text).unwrap_err().code, "invalid_size", "{text}");
        }
    }
}
