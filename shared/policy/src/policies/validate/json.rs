//! JSON as it is checked: bounded while it is read, the members of an object in the order of their names.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// How deep lists and objects may stand in each other.
pub(super) const MAX_DEPTH: u32 = 64;

/// How many values a body may have, those within others included. Each takes up to 100 bytes of memory.
pub(super) const MAX_VALUES: u32 = 100_000;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    List(Box<[Json]>),
    Object(Members),
}

/// Members by name, in order, no name twice.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Members(Box<[(Box<str>, Json)]>);

/// A number. One value has one form, whether it was written as `1` or as `1.0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Every whole number of 64 bits.
    Integer(i64),
    /// A whole number beyond those, to 2^64.
    Unsigned(u64),
    /// All others, as a double has them.
    Real(f64),
}

/// Why bytes were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// They are no JSON, or have a name twice; where, and what is wrong.
    Malformed { line: usize, column: usize, problem: &'static str },
    /// They are deeper or have more values than is taken.
    TooComplex,
}

impl Json {
    /// Reads a text of JSON (RFC 8259). A name that stands twice in an object is refused: the upstream
    /// may take the other one.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let reading = Reading { left: Cell::new(MAX_VALUES), reason: Cell::new(None) };
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let read = Seed { reading: &reading, depth: 0 }
            .deserialize(&mut deserializer)
            .and_then(|json| deserializer.end().map(|()| json));
        read.map_err(|error| match reading.reason.get() {
            Some(Reason::TooComplex) => Unreadable::TooComplex,
            Some(Reason::Duplicate) => Unreadable::Malformed {
                line: error.line(),
                column: error.column(),
                problem: "an object has a name twice",
            },
            None => Unreadable::Malformed {
                line: error.line(),
                column: error.column(),
                problem: "is not JSON",
            },
        })
    }

    /// The same as `value`, which the configuration bounds.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => Self::Number(Number::of(number)),
            Value::String(text) => Self::Text(text.as_str().into()),
            Value::Array(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Object(members) => Self::Object(Members::of_distinct(
                members.iter().map(|(name, value)| (name.as_str().into(), Self::of(value))),
            )),
        }
    }

    /// How much there is to look at: values, and 64 bytes of text for one.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 1,
            Self::Text(text) => weight_of(text),
            Self::List(items) => items.iter().fold(1, |sum, item| sum + item.weight()),
            Self::Object(members) => {
                members.iter().fold(1, |sum, (name, value)| sum + weight_of(name) + value.weight())
            }
        }
    }

    /// An order of all values: equal are those that JSON Schema takes for equal.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Number(one), Self::Number(other)) => one.compare(*other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::List(one), Self::List(other)) => compare_all(one, other, Self::compare),
            (Self::Object(one), Self::Object(other)) => {
                compare_all(&one.0, &other.0, |(name, value), (other_name, other)| {
                    name.cmp(other_name).then_with(|| value.compare(other))
                })
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Text(_) => 3,
            Self::List(_) => 4,
            Self::Object(_) => 5,
        }
    }
}

/// What a text weighs.
pub(super) fn weight_of(text: &str) -> u64 {
    u64::try_from(text.len() / 64).unwrap_or(u64::MAX / 2) + 1
}

fn compare_all<T>(one: &[T], other: &[T], compare: impl Fn(&T, &T) -> Ordering) -> Ordering {
    let different =
        one.iter().zip(other).map(|(one, other)| compare(one, other)).find(|order| order.is_ne());
    different.unwrap_or_else(|| one.len().cmp(&other.len()))
}

impl Members {
    /// Members of names that are known to differ.
    pub(super) fn of_distinct(members: impl Iterator<Item = (Box<str>, Json)>) -> Self {
        let mut members: Vec<(Box<str>, Json)> = members.collect();
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(members.into())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        let found = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.0.get(found).map(|(_, value)| value)
    }
}

impl Number {
    /// The number of a configuration.
    pub(super) fn of(number: &serde_json::Number) -> Self {
        let whole = number.as_i64().map(Self::Integer);
        whole
            .or_else(|| number.as_u64().map(Self::Unsigned))
            .unwrap_or_else(|| Self::of_double(number.as_f64().unwrap_or_default()))
    }

    /// The number that a text is, by the grammar of JSON.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // It would skip white space around it.
        let is_bare = text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
            && text.ends_with(|c: char| c.is_ascii_digit());
        let number = is_bare.then(|| serde_json::from_str::<serde_json::Number>(text).ok())??;
        Some(Self::of(&number))
    }

    #[expect(clippy::as_conversions, reason = "whole and within the bounds of the type")]
    fn of_double(number: f64) -> Self {
        const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
        let is_whole = number.fract() == 0.0;
        if is_whole && (-TWO_POW_63..TWO_POW_63).contains(&number) {
            return Self::Integer(number as i64);
        }
        if is_whole && (TWO_POW_63..2.0 * TWO_POW_63).contains(&number) {
            return Self::Unsigned(number as u64);
        }
        Self::Real(number)
    }

    fn of_unsigned(number: u64) -> Self {
        i64::try_from(number).map_or(Self::Unsigned(number), Self::Integer)
    }

    /// The number where it is whole and not beyond 2^64.
    pub(super) fn whole(self) -> Option<i128> {
        match self {
            Self::Integer(number) => Some(number.into()),
            Self::Unsigned(number) => Some(number.into()),
            Self::Real(_) => None,
        }
    }

    /// Whether it has no fraction.
    pub(super) fn is_whole(self) -> bool {
        match self {
            Self::Integer(_) | Self::Unsigned(_) => true,
            Self::Real(number) => number.fract() == 0.0,
        }
    }

    /// The double that is nearest.
    #[expect(clippy::as_conversions, reason = "there is no other way; the nearest double is meant")]
    pub(super) fn double(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Unsigned(number) => number as f64,
            Self::Real(number) => number,
        }
    }

    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self.whole(), other.whole()) {
            (Some(one), Some(other)) => one.cmp(&other),
            // A real number that is near a whole one is so small that doubles tell them apart.
            _ => self.double().total_cmp(&other.double()),
        }
    }

    /// Whether it is a multiple of another one, as both are written in decimal.
    pub(super) fn is_multiple_of(self, other: Self) -> bool {
        if let (Some(one), Some(other)) = (self.whole(), other.whole()) {
            return other != 0 && one.checked_rem(other).is_none_or(|rest| rest == 0);
        }
        let (one, other) = (self.double(), other.double());
        match (decimal(one), decimal(other)) {
            (Some((one, scale)), Some((other, other_scale))) => {
                let least = scale.min(other_scale);
                match (scaled(one, scale - least), scaled(other, other_scale - least)) {
                    (Some(one), Some(other)) if other != 0 => one % other == 0,
                    _ => false,
                }
            }
            _ => one % other == 0.0,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(formatter),
            Self::Unsigned(number) => number.fmt(formatter),
            Self::Real(number) => number.fmt(formatter),
        }
    }
}

/// Digits and exponent of the shortest decimal that is this double.
fn decimal(number: f64) -> Option<(i128, i32)> {
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    Some((digits.parse().ok()?, exponent.checked_sub(i32::try_from(fraction).ok()?)?))
}

fn scaled(digits: i128, by: i32) -> Option<i128> {
    digits.checked_mul(10_i128.checked_pow(u32::try_from(by).ok()?)?)
}

/// What is left of the bounds while a text is read.
struct Reading {
    left: Cell<u32>,
    reason: Cell<Option<Reason>>,
}

#[derive(Clone, Copy)]
enum Reason {
    TooComplex,
    Duplicate,
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Seed<'a> {
    reading: &'a Reading,
    depth: u32,
}

impl<'a> Seed<'a> {
    fn refuse<E: Error>(self, reason: Reason) -> E {
        self.reading.reason.set(Some(reason));
        E::custom("beyond the bounds")
    }

    fn below<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(Reason::TooComplex));
        }
        Ok(Self { reading: self.reading, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        match self.reading.left.get().checked_sub(1) {
            Some(left) => self.reading.left.set(left),
            None => return Err(self.refuse(Reason::TooComplex)),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(Number::Integer(number)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(Number::of_unsigned(number)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(Number::of_double(number)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let (below, mut items) = (self.below()?, Vec::new());
        while let Some(item) = sequence.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Json::List(items.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let (below, mut members) = (self.below()?, Vec::<(Box<str>, Json)>::new());
        while let Some(name) = map.next_key()? {
            members.push((name, map.next_value_seed(below)?));
        }
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut neighbours = members.iter().zip(members.iter().skip(1));
        if neighbours.any(|((one, _), (other, _))| one == other) {
            return Err(self.refuse(Reason::Duplicate));
        }
        Ok(Json::Object(Members(members.into())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn one_value_has_one_form() {
        for (one, other) in [
            ("1", "1.0"),
            ("100", "1e2"),
            ("-0.0", "0"),
            ("18446744073709551615", "18446744073709551615"),
            ("10000000000000000000", "1e19"),
            (r#"{"a":1,"b":[2.0]}"#, r#"{"b":[2],"a":1.0}"#),
        ] {
            assert_eq!(json(one).compare(&json(other)), Ordering::Equal, "{one} {other}");
        }
        assert_ne!(json("9007199254740993").compare(&json("9007199254740992")), Ordering::Equal);
        assert_ne!(json("\"1\"").compare(&json("1")), Ordering::Equal);
    }

    #[test]
    fn multiples_are_those_of_the_decimals() {
        for (number, of, is_multiple) in [
            ("19.99", "0.01", true),
            ("0.3", "0.1", true),
            ("4.02", "0.01", true),
            ("1.005", "0.01", false),
            ("7", "2", false),
            ("-6", "3", true),
            ("1e30", "3", false),
            ("1e30", "2", true),
            ("3", "0.5", true),
            ("1e308", "0.123456789", false),
        ] {
            let parsed = |text: &str| Number::parse(text).unwrap();
            assert_eq!(parsed(number).is_multiple_of(parsed(of)), is_multiple, "{number} {of}");
        }
    }

    #[test]
    fn only_the_grammar_of_json_makes_a_number_of_a_text() {
        for text in ["", " 1", "1 ", "01", "+1", "0x1", "1.", ".5", "NaN", "1e400", "1,0", "--1"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
        assert_eq!(Number::parse("-1.50e1"), Some(Number::Integer(-15)));
    }

    #[test]
    fn what_is_no_json_or_ambiguous_is_told_by_its_place() {
        for (text, problem, column) in [
            ("", "is not JSON", 0),
            ("{\"a\":1,}", "is not JSON", 8),
            ("[1] 2", "is not JSON", 5),
            ("\u{feff}1", "is not JSON", 1),
            ("{\"a\":1,\"\\u0061\":2}", "an object has a name twice", 18),
        ] {
            let fault = Json::parse(text.as_bytes()).unwrap_err();
            assert_eq!(fault, Unreadable::Malformed { line: 1, column, problem }, "{text}");
        }
        assert!(Json::parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(nested(64).as_bytes()).is_ok());
        for depth in [65, 1000, 100_000] {
            assert_eq!(Json::parse(nested(depth).as_bytes()), Err(Unreadable::TooComplex));
        }
        let wide = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        assert!(Json::parse(wide(99_999).as_bytes()).is_ok());
        assert_eq!(Json::parse(wide(100_000).as_bytes()), Err(Unreadable::TooComplex));
    }

    proptest! {
        #[test]
        fn the_order_of_numbers_is_total(numbers in proptest::collection::vec(prop_oneof![
            any::<i64>().prop_map(Number::Integer),
            any::<u64>().prop_map(Number::of_unsigned),
            any::<f64>().prop_filter("JSON has none", |number| number.is_finite()).prop_map(Number::of_double),
            (-4i32..4).prop_map(|half| Number::of_double(f64::from(half) / 2.0)),
            (0u32..4).prop_map(|more| Number::of_double(9.223_372_036_854_775e18 + f64::from(more) * 1024.0)),
        ], 3)) {
            let [a, b, c] = [numbers[0], numbers[1], numbers[2]];
            prop_assert_eq!(a.compare(b), b.compare(a).reverse());
            if a.compare(b).is_le() && b.compare(c).is_le() {
                prop_assert!(a.compare(c).is_le());
            }
        }
    }
}
