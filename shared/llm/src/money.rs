//! Money: whole billionths of a US dollar, and factors on it. Nothing here is a float, at any step.

use std::fmt;
use std::str::FromStr;

use crate::named::by_text;

/// Billionths in a dollar.
const PER_DOLLAR: u64 = 1_000_000_000;
/// How many decimal places a dollar has here.
const DOLLAR_PLACES: usize = 9;
/// Millionths in a factor of one.
const PER_FACTOR: u32 = 1_000_000;
const FACTOR_PLACES: usize = 6;

/// An amount of US dollars in billionths, from nothing to about 18.4 billion dollars.
///
/// Its text is a decimal number of dollars, such as `12.50`: at least two places are written and at most nine. What is read
/// may have any number of places as long as those beyond the ninth are zero; it has no sign, exponent or space. In JSON it
/// is a string: a number would have been through a float.
///
/// An amount never wraps: `saturating_…` stays at [`Nanodollars::MAX`] or at nothing, `checked_…` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanodollars(u64);

/// A factor on an amount, in millionths, up to about 4294. Its text is a decimal number such as `1.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Factor(u32);

/// Why a text is no amount or factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Something other than digits with at most one point between them.
    #[error("an amount is digits with at most one point between them, such as \"12.50\"")]
    NotDecimal,
    /// Digits that are not zero behind the last place that is kept.
    #[error("an amount of dollars has at most nine decimal places, a factor at most six")]
    TooPrecise,
    /// More than the type holds.
    #[error("this amount is too large")]
    TooLarge,
}

impl Nanodollars {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The most that there can be; what saturates stays here.
    pub const MAX: Self = Self(u64::MAX);

    /// So many billionths of a dollar.
    #[must_use]
    pub const fn new(billionths: u64) -> Self {
        Self(billionths)
    }

    /// Billionths of a dollar.
    #[must_use]
    pub const fn billionths(self) -> u64 {
        self.0
    }

    /// The sum; [`Nanodollars::MAX`] where it is more than that.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left; nothing where `other` is more.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum; none where it is more than [`Nanodollars::MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// What is left; none where `other` is more.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// What so many of something cost at this price for a million of them. Rounded half up, saturating.
    #[must_use]
    pub fn for_units(self, count: u64) -> Self {
        // Two numbers of 64 bits: the product has room in 128.
        Self::rounded(u128::from(count).saturating_mul(u128::from(self.0)), 1_000_000)
    }

    /// A fraction of billionths, rounded half up. [`Nanodollars::MAX`] where it is more, or where the denominator is zero.
    pub(crate) fn rounded(numerator: u128, denominator: u128) -> Self {
        let (Some(whole), Some(rest)) =
            (numerator.checked_div(denominator), numerator.checked_rem(denominator))
        else {
            return Self::MAX;
        };
        let is_up = rest >= denominator.saturating_sub(rest);
        let billionths = whole.saturating_add(u128::from(is_up));
        u64::try_from(billionths).map_or(Self::MAX, Self)
    }
}

impl std::iter::Sum for Nanodollars {
    /// Saturates.
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl FromStr for Nanodollars {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        decimal(text, DOLLAR_PLACES).map(Self)
    }
}

impl fmt::Display for Nanodollars {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / PER_DOLLAR, self.0 % PER_DOLLAR);
        let digits = format!("{fraction:0DOLLAR_PLACES$}");
        let (cents, finer) = digits.split_at_checked(2).unwrap_or((&digits, ""));
        formatter.pad(&format!("{whole}.{cents}{}", finer.trim_end_matches('0')))
    }
}

by_text!(Nanodollars, "dollars as a string, such as \"12.50\"");

impl Factor {
    /// Changes nothing.
    pub const ONE: Self = Self(PER_FACTOR);

    /// In millionths.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// Both one after the other. Rounded half up to a millionth, saturating.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        let product = u64::from(self.0).saturating_mul(u64::from(other.0));
        let rounded = product.saturating_add(u64::from(PER_FACTOR / 2)) / u64::from(PER_FACTOR);
        Self(u32::try_from(rounded).unwrap_or(u32::MAX))
    }
}

impl Default for Factor {
    fn default() -> Self {
        Self::ONE
    }
}

impl FromStr for Factor {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let millionths = decimal(text, FACTOR_PLACES)?;
        u32::try_from(millionths).map(Self).or(Err(AmountError::TooLarge))
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / PER_FACTOR, self.0 % PER_FACTOR);
        let text = format!("{whole}.{fraction:0FACTOR_PLACES$}");
        formatter.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

by_text!(Factor, "a factor as a string, such as \"1.1\"");

/// Reads a decimal number as an integer of its so-many-eth place.
fn decimal(text: &str, places: usize) -> Result<u64, AmountError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err(AmountError::NotDecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = places.checked_sub(fraction.len()).ok_or(AmountError::TooPrecise)?;
    let zeros = std::iter::repeat_n(b'0', missing);
    let digits = whole.bytes().chain(fraction.bytes()).chain(zeros);
    digits
        .map(|digit| u64::from(digit.saturating_sub(b'0')))
        .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(digit))
        .ok_or(AmountError::TooLarge)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dollars(text: &str) -> Nanodollars {
        text.parse().unwrap()
    }

    #[test]
    fn an_amount_is_written_with_two_places_or_as_many_as_it_takes() {
        let cases = [
            (0, "0.00"),
            (1, "0.000000001"),
            (12_500_000_000, "12.50"),
            (1_000_000_000, "1.00"),
            (3_750_000_000, "3.75"),
            (75_000_000, "0.075"),
            (u64::MAX, "18446744073.709551615"),
        ];
        for (billionths, text) in cases {
            assert_eq!(Nanodollars::new(billionths).to_string(), text);
            assert_eq!(dollars(text).billionths(), billionths);
        }
        assert_eq!(format!("{:>8}|{:<8}|", dollars("1.5"), dollars("1.5")), "    1.50|1.50    |");
    }

    #[test]
    fn other_writings_of_an_amount_are_read_exactly() {
        for (text, billionths) in
            [("12", 12_000_000_000), ("0.1", 100_000_000), ("007.5", 7_500_000_000)]
        {
            assert_eq!(dollars(text).billionths(), billionths, "{text}");
        }
        assert_eq!(dollars("0.1000000010000000"), Nanodollars::new(100_000_001));
    }

    #[test]
    fn what_is_no_amount_is_refused_with_its_reason() {
        let cases = [
            ("", AmountError::NotDecimal),
            (".", AmountError::NotDecimal),
            (".5", AmountError::NotDecimal),
            ("5.", AmountError::NotDecimal),
            ("-1", AmountError::NotDecimal),
            ("+1", AmountError::NotDecimal),
            ("1e3", AmountError::NotDecimal),
            ("1,5", AmountError::NotDecimal),
            ("1.2.3", AmountError::NotDecimal),
            (" 1", AmountError::NotDecimal),
            ("$1", AmountError::NotDecimal),
            ("\u{0661}", AmountError::NotDecimal),
            ("0.0000000001", AmountError::TooPrecise),
            ("18446744073.709551616", AmountError::TooLarge),
            ("99999999999999999999999999", AmountError::TooLarge),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Nanodollars>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn in_json_an_amount_is_a_string_and_never_a_number() {
        assert_eq!(serde_json::to_string(&dollars("12.5")).unwrap(), "\"12.50\"");
        assert_eq!(serde_json::from_str::<Nanodollars>("\"0.3\"").unwrap(), dollars("0.30"));
        for text in ["0.3", "1", "null", "\"x\""] {
            assert!(serde_json::from_str::<Nanodollars>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sums_stay_at_the_ends_or_say_so() {
        let (one, most) = (dollars("1"), Nanodollars::MAX);
        assert_eq!(most.saturating_add(one), most);
        assert_eq!(one.saturating_sub(most), Nanodollars::ZERO);
        assert_eq!((most.checked_add(one), one.checked_sub(most)), (None, None));
        assert_eq!(one.checked_add(one), Some(dollars("2")));
        assert_eq!(dollars("2").checked_sub(one), Some(one));
        assert_eq!([one, one, most].into_iter().sum::<Nanodollars>(), most);
    }

    #[test]
    fn units_are_rounded_half_up() {
        // 0.000000001 dollars a million: half a million of them is half a billionth.
        let price = Nanodollars::new(1);
        assert_eq!(price.for_units(499_999), Nanodollars::ZERO);
        assert_eq!(price.for_units(500_000), Nanodollars::new(1));
        assert_eq!(dollars("3").for_units(1000), dollars("0.003"));
        assert_eq!(Nanodollars::MAX.for_units(u64::MAX), Nanodollars::MAX);
        assert_eq!(Nanodollars::rounded(1, 0), Nanodollars::MAX);
        assert_eq!(Nanodollars::rounded(3, 3), Nanodollars::new(1));
        assert_eq!(Nanodollars::rounded(1, 3), Nanodollars::ZERO);
        assert_eq!(Nanodollars::rounded(2, 3), Nanodollars::new(1));
    }

    #[test]
    fn a_factor_is_a_decimal_number_of_six_places() {
        for text in ["0", "1", "1.1", "2", "0.000001", "4294.967295"] {
            assert_eq!(text.parse::<Factor>().unwrap().to_string(), text);
        }
        assert_eq!("1.10".parse::<Factor>().unwrap().millionths(), 1_100_000);
        assert_eq!("1.0000001".parse::<Factor>(), Err(AmountError::TooPrecise));
        assert_eq!("4295".parse::<Factor>(), Err(AmountError::TooLarge));
        let factor = |text: &str| text.parse::<Factor>().unwrap();
        assert_eq!(factor("1.1").times(factor("1.1")), factor("1.21"));
        assert_eq!(factor("4000").times(factor("4000")), factor("4294.967295"));
        assert_eq!(Factor::default().times(factor("2")), factor("2"));
    }

    proptest! {
        #[test]
        fn every_amount_is_read_as_it_is_written(billionths: u64) {
            let amount = Nanodollars::new(billionths);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Nanodollars>();
            let _ = text.parse::<Factor>();
        }
    }
}
