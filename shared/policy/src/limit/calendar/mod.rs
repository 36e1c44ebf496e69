//! Windows of the calendar: the minute, the day, the month that a moment lies in, in a time zone.
//!
//! Windows of one unit follow one another without a gap and without an overlap, whatever clocks are
//! set to. A day begins with its first moment, which is not midnight where clocks go forward over
//! it; a week begins on Monday (ISO 8601). An hour and a minute end where the zone's clock is changed.

use std::sync::atomic::{AtomicU64, Ordering};

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span, Timestamp};
use tollgate_model::issue::nearest;
use tollgate_model::parse::{self, Rejected};
use tollgate_model::{FromText, Issues};

/// How long a window of the calendar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first on.
    Month,
    /// From January 1 on.
    Year,
}

/// A time zone of the IANA database that is built in.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

/// Windows of one unit in one time zone.
#[derive(Debug)]
pub struct Calendar {
    unit: Unit,
    zone: TimeZone,
    shape: u64,
    /// The window that was asked for last: its beginning and its length, in seconds. Most requests find
    /// theirs here.
    last: AtomicU64,
}

/// One window, in microseconds since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub from: u64,
    /// The first moment after it.
    pub until: u64,
}

const MICROS: u64 = 1_000_000;
/// A year of seconds has 25 bits.
const LENGTH_BITS: u32 = 26;

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// The zone as the calendar's library has it.
    #[must_use]
    pub fn into_time_zone(self) -> TimeZone {
        self.0
    }
}

impl FromText for Zone {
    const EXPECTED: &'static str = "a time zone, such as UTC or Europe/Berlin";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let zones = TimeZoneDatabase::bundled();
        zones.get(text).map(Self).map_err(|_unknown| {
            let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            // A list of six hundred names helps nobody.
            let hint = Some(nearest(text, &known)).filter(|hint| hint.len() < 100);
            Rejected::new(
                "unknown_time_zone",
                format!(
                    "`{}` is not a time zone; {}",
                    text.escape_debug(),
                    hint.unwrap_or_else(|| "give one such as UTC or Europe/Berlin".to_owned())
                ),
            )
        })
    }
}

impl Deserr<Issues> for Zone {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        parse::text(value, location)
    }
}

impl Period {
    /// Whether a moment lies in it.
    #[must_use]
    pub fn contains(self, now_unix_micros: u64) -> bool {
        (self.from..self.until).contains(&now_unix_micros)
    }
}

impl Calendar {
    /// The windows of a unit in a zone.
    #[must_use]
    pub fn new(unit: Unit, zone: Zone) -> Self {
        let Zone(zone) = zone;
        let name = zone.iana_name().unwrap_or("UTC");
        // FNV-1a. The highest bit tells it from the length of a rolling window's slots.
        let shape = [unit.tag()]
            .iter()
            .chain(name.as_bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Self { unit, zone, shape: shape | 1 << 63, last: AtomicU64::new(0) }
    }

    /// Tells one unit in one zone from all others.
    #[must_use]
    pub fn shape(&self) -> u64 {
        self.shape
    }

    /// The window that a moment lies in.
    #[must_use]
    pub fn window_at(&self, now_unix_micros: u64) -> Period {
        // Relaxed: it is one word, and whoever sees an older one computes it again.
        let last = unpack(self.last.load(Ordering::Relaxed));
        if last.contains(now_unix_micros) {
            return last;
        }
        let window = self.compute(now_unix_micros);
        self.last.store(pack(window), Ordering::Relaxed);
        window
    }

    /// The beginnings of the window before that of a moment, of its own and of the one after it,
    /// and the end of that.
    #[must_use]
    pub fn around(&self, now_unix_micros: u64) -> [u64; 4] {
        let own = self.window_at(now_unix_micros);
        let before = self.compute(own.from.saturating_sub(1));
        [before.from, own.from, own.until, self.compute(own.until).until]
    }

    fn compute(&self, now_unix_micros: u64) -> Period {
        let computed = i64::try_from(now_unix_micros)
            .ok()
            .and_then(|micros| Timestamp::from_microsecond(micros).ok())
            .and_then(|now| match self.unit {
                Unit::Minute => self.clock_window(now, 60),
                Unit::Hour => self.clock_window(now, 3_600),
                Unit::Day | Unit::Week | Unit::Month | Unit::Year => self.dated_window(now),
            })
            .and_then(|(from, until)| {
                let micros = |moment: Timestamp| u64::try_from(moment.as_microsecond()).ok();
                Some(Period { from: micros(from)?, until: micros(until)? })
            })
            .filter(|window| window.contains(now_unix_micros));
        // Beyond the years 1970 to 9998 there is no calendar; a window is needed all the same.
        computed.unwrap_or_else(|| {
            let length = self.unit.usual_secs() * MICROS;
            let from = now_unix_micros - now_unix_micros % length;
            Period { from, until: from.saturating_add(length) }
        })
    }

    /// By the zone's clock, between two changes of it.
    fn clock_window(&self, now: Timestamp, length: i64) -> Option<(Timestamp, Timestamp)> {
        let offset = i64::from(self.zone.to_offset(now).seconds());
        let into = (now.as_second() + offset).rem_euclid(length);
        let from = Timestamp::from_second(now.as_second() - into).ok()?;
        let until = Timestamp::from_second(from.as_second() + length).ok()?;
        // A change is the first moment of the new time, which `preceding` leaves out.
        let just_after = now.checked_add(SignedDuration::from_nanos(1)).ok()?;
        let changed = self.zone.preceding(just_after).next().map(|change| change.timestamp());
        let changes = self.zone.following(now).next().map(|change| change.timestamp());
        Some((
            changed.map_or(from, |changed| changed.max(from)),
            changes.map_or(until, |changes| changes.min(until)),
        ))
    }

    /// By the zone's dates.
    fn dated_window(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let first = self.unit.first_date(self.zone.to_datetime(now).date())?;
        let (from, until) = (self.first_moment(first)?, self.first_moment(self.unit.next(first)?)?);
        // Where clocks go back over midnight, a date comes twice: the window that has begun stays.
        if now >= until {
            let next = self.unit.next(first)?;
            return Some((until, self.first_moment(self.unit.next(next)?)?));
        }
        if now < from {
            let before = self.unit.first_date(first.yesterday().ok()?)?;
            return Some((self.first_moment(before)?, from));
        }
        Some((from, until))
    }

    /// The first moment of a date.
    fn first_moment(&self, date: Date) -> Option<Timestamp> {
        let midnight = date.at(0, 0, 0, 0);
        match self.zone.to_ambiguous_timestamp(midnight).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(midnight).ok(),
            // It comes twice: the first.
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(midnight).ok(),
            // Clocks go forward over it: the change itself is the first moment that is later.
            AmbiguousOffset::Gap { after, .. } => {
                let earlier = after.to_timestamp(midnight).ok()?;
                let just_before = earlier.checked_sub(SignedDuration::from_nanos(1)).ok()?;
                self.zone.following(just_before).next().map(|change| change.timestamp())
            }
        }
    }
}

impl Unit {
    const fn tag(self) -> u8 {
        match self {
            Self::Minute => 0,
            Self::Hour => 1,
            Self::Day => 2,
            Self::Week => 3,
            Self::Month => 4,
            Self::Year => 5,
        }
    }

    const fn usual_secs(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
            Self::Month => 30 * 86_400,
            Self::Year => 365 * 86_400,
        }
    }

    /// The first date of the window that a date lies in.
    fn first_date(self, date: Date) -> Option<Date> {
        match self {
            Self::Minute | Self::Hour | Self::Day => Some(date),
            Self::Week => {
                let into = i64::from(date.weekday().to_monday_zero_offset());
                date.checked_sub(Span::new().try_days(into).ok()?).ok()
            }
            Self::Month => Some(date.first_of_month()),
            Self::Year => Some(date.first_of_year()),
        }
    }

    /// The first date of the window after that of a first date.
    fn next(self, first: Date) -> Option<Date> {
        let one = Span::new();
        let one = match self {
            Self::Minute | Self::Hour | Self::Day => one.try_days(1),
            Self::Week => one.try_weeks(1),
            Self::Month => one.try_months(1),
            Self::Year => one.try_years(1),
        };
        first.checked_add(one.ok()?).ok()
    }
}

fn pack(window: Period) -> u64 {
    let (from, until) = (window.from / MICROS, window.until / MICROS);
    // What has no room is computed each time.
    let has_room = from >> (u64::BITS - LENGTH_BITS) == 0;
    if has_room { from << LENGTH_BITS | (until - from).min((1 << LENGTH_BITS) - 1) } else { 0 }
}

fn unpack(word: u64) -> Period {
    let (from, length) = (word >> LENGTH_BITS, word & ((1 << LENGTH_BITS) - 1));
    Period { from: from * MICROS, until: (from + length) * MICROS }
}

#[cfg(test)]
mod tests;
