//! Moments and spans of time: how they are read, and what is asked of them.

use std::str::FromStr as _;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// What is asked of a moment, in a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Year,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// CEL's names of the parts.
pub(super) const PARTS: [(&str, Part); 10] = [
    ("getFullYear", Part::Year),
    ("getMonth", Part::Month),
    ("getDate", Part::Date),
    ("getDayOfMonth", Part::DayOfMonth),
    ("getDayOfWeek", Part::DayOfWeek),
    ("getDayOfYear", Part::DayOfYear),
    ("getHours", Part::Hours),
    ("getMinutes", Part::Minutes),
    ("getSeconds", Part::Seconds),
    ("getMilliseconds", Part::Milliseconds),
];

impl Part {
    /// CEL counts months, days of the month and days of the year from 0, dates from 1, and days of
    /// the week from Sunday, which is 0.
    pub(super) fn of(self, moment: Timestamp, zone: &TimeZone) -> i64 {
        let clock = zone.to_datetime(moment);
        match self {
            Self::Year => i64::from(clock.year()),
            Self::Month => i64::from(clock.month()) - 1,
            Self::Date => i64::from(clock.day()),
            Self::DayOfMonth => i64::from(clock.day()) - 1,
            Self::DayOfWeek => i64::from(clock.weekday().to_sunday_zero_offset()),
            Self::DayOfYear => i64::from(clock.day_of_year()) - 1,
            Self::Hours => i64::from(clock.hour()),
            Self::Minutes => i64::from(clock.minute()),
            Self::Seconds => i64::from(clock.second()),
            Self::Milliseconds => i64::from(clock.millisecond()),
        }
    }
}

/// No moment in RFC 3339 is longer.
const MOMENT_BYTES: usize = 64;

/// A moment in RFC 3339, such as `2026-01-31T08:00:00Z`.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    if text.len() > MOMENT_BYTES { None } else { Timestamp::from_str(text).ok() }
}

/// A span such as `1h30m`, `-1.5s` or `0`, in CEL's spelling.
pub(super) fn span(text: &str) -> Option<SignedDuration> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut nanos = 0_i128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, from_unit) = rest.split_at(end);
        let end =
            from_unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(from_unit.len());
        let (unit, after) = from_unit.split_at(end);
        let unit: i128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 18 || whole.len() > 18 {
            return None;
        }
        let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
        let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let fraction = digits(fraction)?.checked_mul(unit)?.checked_div(scale)?;
        nanos = nanos.checked_add(digits(whole)?.checked_mul(unit)?)?.checked_add(fraction)?;
        rest = after;
    }
    // CEL's own bound: 10,000 years.
    let bound = 315_576_000_000_i128 * 1_000_000_000;
    let nanos = if is_negative { -nanos } else { nanos };
    if nanos.abs() > bound { None } else { SignedDuration::try_from_nanos_i128(nanos) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_read_in_cels_spelling() {
        for (text, millis) in [
            ("1h30m", Some(5_400_000)),
            ("-1.5s", Some(-1_500)),
            ("+2ms", Some(2)),
            ("0", Some(0)),
            (".5s", Some(500)),
            ("1m1m", Some(120_000)),
            ("", None),
            ("-", None),
            ("1", None),
            ("h", None),
            (".s", None),
            ("1.2.3s", None),
            ("1d", None),
            ("1 h", None),
            ("1hx", None),
            ("90000000h", None),
            ("9999999999999999999999h", None),
        ] {
            assert_eq!(span(text).map(|span| span.as_millis()), millis, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "\\PC{0,80}|[0-9.hmsunµ+-]{0,80}|[0-9TZ:.+-]{0,70}") {
            let _ = (span(&text), moment(&text));
        }
    }
}
