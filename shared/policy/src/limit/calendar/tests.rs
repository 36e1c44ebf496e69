use jiff::ToSpan as _;
use jiff::civil::datetime;
use proptest::prelude::*;

use super::*;

const UNITS: [Unit; 6] = [Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year];

/// Zones in which something is odd: changes at midnight, of half an hour, of a whole day, back over midnight.
const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Cairo",
    "Antarctica/Troll",
];

fn calendar(unit: Unit, zone: &str) -> Calendar {
    Calendar::new(unit, Zone::from_text(zone).unwrap())
}

fn micros(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_microsecond()).unwrap()
}

/// The moment that a zone's clock shows this, the first where it is shown twice.
fn at(zone: &str, clock: jiff::civil::DateTime) -> u64 {
    let Zone(zone) = Zone::from_text(zone).unwrap();
    micros(zone.to_ambiguous_timestamp(clock).compatible().unwrap())
}

fn hours(period: Period) -> u64 {
    assert_eq!((period.until - period.from) % (3_600 * MICROS), 0);
    (period.until - period.from) / (3_600 * MICROS)
}

/// In St. John's clocks went back at 00:01, to 23:01 of the day before.
#[test]
fn a_day_that_has_begun_does_not_end_for_a_date_that_comes_again() {
    let days = calendar(Unit::Day, "America/St_Johns");
    let began = 972_786_600;
    for second in [began, began + 59, began + 60, began + 3_599, began + 3_660] {
        let window = days.window_at(second * MICROS);
        assert_eq!((window.from, window.until), (began * MICROS, (began + 25 * 3_600) * MICROS));
    }
    assert_eq!(days.window_at((began - 1) * MICROS).until, began * MICROS);
}

#[test]
fn a_day_has_23_hours_where_clocks_go_forward_and_25_where_they_go_back() {
    let days = calendar(Unit::Day, "Europe/Berlin");
    for (month, day, length) in [(3, 30, 24), (3, 31, 23), (4, 1, 24), (10, 27, 25), (10, 28, 24)] {
        let noon = at("Europe/Berlin", datetime(2024, month, day, 12, 0, 0, 0));
        let window = days.window_at(noon);
        assert_eq!(hours(window), length, "{month}-{day}");
        assert_eq!(window.from, at("Europe/Berlin", datetime(2024, month, day, 0, 0, 0, 0)));
    }
}

#[test]
fn months_and_years_are_as_long_as_they_are() {
    let months = calendar(Unit::Month, "UTC");
    for (year, month, days) in [(2024, 2, 29), (2023, 2, 28), (2100, 2, 28), (2024, 4, 30)] {
        let last = at("UTC", datetime(year, month, 28, 23, 59, 59, 0));
        assert_eq!(hours(months.window_at(last)), days * 24, "{year}-{month}");
    }
    let years = calendar(Unit::Year, "Asia/Kathmandu");
    for (year, days) in [(2023, 365), (2024, 366), (2100, 365)] {
        let middle = at("UTC", datetime(year, 7, 1, 0, 0, 0, 0));
        assert_eq!(hours(years.window_at(middle)), days * 24, "{year}");
    }
}

#[test]
fn a_month_ends_at_midnight_of_its_zone() {
    let months = calendar(Unit::Month, "America/New_York");
    let end = at("UTC", datetime(2025, 2, 1, 5, 0, 0, 0));
    assert_eq!(months.window_at(end - 1).until, end);
    assert_eq!(months.window_at(end).from, end);
}

#[test]
fn a_week_begins_on_monday() {
    let weeks = calendar(Unit::Week, "UTC");
    let monday = at("UTC", datetime(2024, 12, 30, 0, 0, 0, 0));
    for day in 0..7 {
        let window = weeks.window_at(monday + day * 86_400 * MICROS);
        assert_eq!((window.from, hours(window)), (monday, 7 * 24));
    }
    assert_ne!(weeks.window_at(monday - 1).from, monday);
}

#[test]
fn a_day_that_never_was_is_no_window() {
    let days = calendar(Unit::Day, "Pacific/Apia");
    let last = days.window_at(at("Pacific/Apia", datetime(2011, 12, 29, 12, 0, 0, 0)));
    let next = days.window_at(last.until);
    assert_eq!(next.from, at("Pacific/Apia", datetime(2011, 12, 31, 0, 0, 0, 0)));
    assert_eq!((hours(last), hours(next)), (24, 24));
}

#[test]
fn a_day_begins_with_the_change_that_goes_over_its_midnight() {
    let days = calendar(Unit::Day, "America/Sao_Paulo");
    let window = days.window_at(at("America/Sao_Paulo", datetime(2018, 11, 4, 12, 0, 0, 0)));
    assert_eq!(window.from, at("America/Sao_Paulo", datetime(2018, 11, 4, 1, 0, 0, 0)));
    assert_eq!(hours(window), 23);
}

#[test]
fn beyond_the_calendar_there_are_windows_too() {
    for unit in UNITS {
        let calendar = calendar(unit, "Europe/Berlin");
        for now in [0, u64::MAX / 2, u64::MAX - 1] {
            assert!(calendar.window_at(now).contains(now), "{unit:?} {now}");
        }
    }
}

#[test]
fn units_and_zones_are_told_apart() {
    let shapes: std::collections::BTreeSet<u64> = UNITS
        .iter()
        .flat_map(|unit| ZONES.iter().map(|zone| calendar(*unit, zone).shape()))
        .collect();
    assert_eq!(shapes.len(), UNITS.len() * ZONES.len());
    assert!(shapes.iter().all(|shape| shape >> 63 == 1));
}

#[test]
fn what_is_no_zone_is_refused_with_the_nearest() {
    for (text, hint) in
        [("Europe/Berlim", "Europe/Berlin"), ("zzzzzzzz", "Europe/Berlin"), ("", "UTC")]
    {
        let rejected = Zone::from_text(text).unwrap_err();
        assert_eq!(rejected.code, "unknown_time_zone");
        assert!(rejected.problem.contains(hint), "{}", rejected.problem);
        assert!(rejected.problem.len() < 200, "{}", rejected.problem);
    }
}

fn cases() -> impl Strategy<Value = (Unit, &'static str, u64)> {
    let seconds = 400_000_000..4_000_000_000_u64;
    (prop::sample::select(&UNITS[..]), prop::sample::select(&ZONES[..]), seconds)
}

/// Moments about the changes of clocks, where it is odd.
fn near_a_change() -> impl Strategy<Value = (Unit, &'static str, u64)> {
    (cases(), 0..20_000_u64).prop_map(|((unit, zone, second), beside)| {
        let Zone(found) = Zone::from_text(zone).unwrap();
        let moment = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        let change = found.following(moment).next().map_or(moment, |change| change.timestamp());
        let near = change + 10_000.seconds() - i64::try_from(beside).unwrap().seconds();
        (unit, zone, u64::try_from(near.as_second()).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn windows_follow_one_another_without_gap_or_overlap(
        (unit, zone, second) in prop_oneof![cases(), near_a_change()],
        inside in 0..1_000_000_u64,
    ) {
        let calendar = calendar(unit, zone);
        let window = calendar.compute(second * MICROS);
        prop_assert!(window.contains(second * MICROS));
        let moment = window.from + (window.until - window.from) / 1_000_000 * inside;
        prop_assert_eq!(calendar.compute(moment), window);
        prop_assert_eq!(calendar.compute(window.until - 1), window);
        prop_assert_eq!(calendar.compute(window.until).from, window.until);
        prop_assert_eq!(calendar.compute(window.from.saturating_sub(1)).until, window.from);
        prop_assert_eq!(unpack(pack(window)), window);
        let around = calendar.around(second * MICROS);
        prop_assert_eq!(&around[1..3], &[window.from, window.until]);
    }

    /// As jiff counts, where no change of clocks is near.
    #[test]
    fn windows_are_those_of_the_calendar((unit, zone, second) in cases()) {
        let Zone(found) = Zone::from_text(zone).unwrap();
        let window = calendar(unit, zone).window_at(second * MICROS);
        let moment = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        // Where clocks went back over midnight, a date comes twice for a while, and its window once.
        let changed = found.preceding(moment).next();
        let since = changed.map(|change| moment.duration_since(change.timestamp()));
        if since.is_some_and(|since| since < SignedDuration::from_hours(3)) {
            return Ok(());
        }
        let now = moment.to_zoned_datetime(found);
        let (from, length) = match unit {
            Unit::Minute | Unit::Hour => return Ok(()),
            Unit::Day => (now.start_of_day().unwrap(), 1.day()),
            Unit::Week => {
                let into = now.weekday().to_monday_zero_offset();
                ((now.start_of_day().unwrap() - into.days()).start_of_day().unwrap(), 1.week())
            }
            Unit::Month => (now.first_of_month().unwrap().start_of_day().unwrap(), 1.month()),
            Unit::Year => (now.first_of_year().unwrap().start_of_day().unwrap(), 1.year()),
        };
        let until = (from.date() + length).to_zoned_datetime(from.time_zone().clone()).unwrap();
        prop_assert_eq!(window.from, micros(from.timestamp()));
        prop_assert_eq!(window.until, micros(until.timestamp()));
    }
}
