//! Shares of calls, such as 2.5 of a hundred, and which calls fall into them.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use tollgate_model::issue::pointer;
use tollgate_model::{Issue, Issues};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::policy::Scope;

/// A share in hundredths of a per cent, 0 to 10,000. Written as a number: 0, or 0.01 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u32);

/// All calls, in hundredths of a per cent.
pub const ALL: u32 = 10_000;

impl Percent {
    /// Hundredths of a per cent.
    #[must_use]
    pub fn hundredths(self) -> u32 {
        self.0
    }
}

impl Default for Percent {
    /// All of them.
    fn default() -> Self {
        Self(ALL)
    }
}

impl Deserr<Issues> for Percent {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let percent = f64::deserialize_from_value(value, location)?;
        if percent != 0.0 && !(0.01..=100.0).contains(&percent) {
            let problem = "give 0, or a number from 0.01 to 100";
            return Err(Issues::one(Issue::new(pointer(location), "out_of_range", problem)));
        }
        let wanted = percent * 100.0;
        // By counting up to it: a float that is within the range has one whole number next to it.
        let hundredths = (0..=ALL).find(|hundredths| f64::from(*hundredths) + 0.5 > wanted);
        Ok(Self(hundredths.unwrap_or(ALL)))
    }
}

/// Draws calls: the same for the same text and place, apart from every other place.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    seed: u64,
}

impl Draw {
    /// The draw of a place, such as a policy's, for one of its purposes.
    #[must_use]
    pub fn of(scope: Scope<'_>, purpose: &str) -> Self {
        let seed = xxh3_64_with_seed(scope.place.as_bytes(), 0);
        Self { seed: xxh3_64_with_seed(purpose.as_bytes(), seed) }
    }

    /// A number below [`ALL`], evenly spread over texts.
    #[must_use]
    pub fn draw(self, text: &str) -> u32 {
        let number = xxh3_64_with_seed(text.as_bytes(), self.seed) % u64::from(ALL);
        u32::try_from(number).unwrap_or_default()
    }

    /// Whether a call falls into a share, by a text of its own.
    #[must_use]
    pub fn falls_into(self, share: Percent, text: &str) -> bool {
        share.0 == ALL || self.draw(text) < share.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draw(place: &str, purpose: &str) -> Draw {
        Draw::of(Scope { place, parameters: None }, purpose)
    }

    fn percent(text: &str) -> Result<Percent, Issues> {
        tollgate_model::parse::value(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn shares_are_kept_to_a_hundredth() {
        for (text, hundredths) in [
            ("0", 0),
            ("0.01", 1),
            ("2.5", 250),
            ("33.33", 3333),
            ("99.99", 9999),
            ("100", ALL),
            ("1", 100),
        ] {
            assert_eq!(percent(text).unwrap().hundredths(), hundredths, "{text}");
        }
        for text in ["-1", "0.001", "100.01", "1e300"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_larger_share_keeps_who_was_in_the_smaller() {
        let draw = draw("Api/default/shop/0", "x");
        let in_share = |share: &str, text: &String| draw.falls_into(percent(share).unwrap(), text);
        let texts: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
        let few = texts.iter().filter(|text| in_share("5", text)).count();
        // 500 are expected; five times the deviation on both sides.
        assert!((390..610).contains(&few), "{few}");
        assert!(texts.iter().all(|text| !in_share("5", text) || in_share("6", text)));
        assert!(texts.iter().all(|text| in_share("100", text)));
    }

    #[test]
    fn draws_of_two_places_or_purposes_have_nothing_to_do_with_each_other() {
        let half = percent("50").unwrap();
        let draws = [draw("a", "x"), draw("b", "x"), draw("a", "y")];
        for (i, other) in [(0, 1), (0, 2), (1, 2)] {
            let both = (0..4_000).map(|i| i.to_string()).filter(|text| {
                draws[i].falls_into(half, text) == draws[other].falls_into(half, text)
            });
            let both = both.count();
            assert!((1_840..2_160).contains(&both), "{both}");
        }
    }

    proptest! {
        #[test]
        fn a_draw_is_within_its_range(place in ".{0,8}", text in ".{0,64}") {
            prop_assert!(draw(&place, "x").draw(&text) < ALL);
        }
    }
}
