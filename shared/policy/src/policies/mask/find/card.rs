//! Numbers of payment cards: ISO/IEC 7812-1.

use smallvec::SmallVec;

use super::{
    Finds, TooMuch, at, before, end_of_digits, is_fraction, is_joined, next_digit, separator,
};

/// How many digits a number has.
const SHORTEST: usize = 13;
const LONGEST: usize = 19;
/// How many digits stand together at least, where a number is written in groups.
const GROUP: usize = 3;

/// Finds numbers of 13 to 19 digits, alone or in groups with a space or a dash between two, whose last digit is
/// right.
pub(super) fn find(text: &str, finds: &mut Finds) -> Result<(), TooMuch> {
    let mut from = 0;
    while let Some(start) = next_digit(text, from) {
        from = end_of_digits(text, start);
        if is_joined(before(text, start)) || is_fraction(text, start) {
            continue;
        }
        // Also within what is found already: of two that share digits, both are hidden.
        if let Some(end) = end_of_number(text, start) {
            finds.add(start..end)?;
        }
    }
    Ok(())
}

/// The end of the longest number that begins here.
fn end_of_number(text: &str, start: usize) -> Option<usize> {
    let mut digits = SmallVec::<[u8; LONGEST]>::new();
    let (mut group, mut found) = (start, None);
    loop {
        let end = end_of_digits(text, group);
        let length = end - group;
        if length < GROUP || digits.len() + length > LONGEST {
            return found;
        }
        let group_digits = text.as_bytes().get(group..end).unwrap_or_default();
        digits.extend(group_digits.iter().map(|digit| digit - b'0'));
        if !is_joined(at(text, end)) && is_number(&digits) {
            found = Some(end);
        }
        match separator(text, end, "-") {
            0 => return found,
            length => group = end + length,
        }
    }
}

fn is_number(digits: &[u8]) -> bool {
    // No issuer of payment cards has 0; of 1 there are those of airlines with 15 digits, and else milliseconds
    // and microseconds since 1970.
    let may_begin = match digits.first() {
        Some(0) | None => false,
        Some(1) => digits.len() == 15,
        Some(_) => true,
    };
    digits.len() >= SHORTEST && may_begin && is_right(digits)
}

/// ISO/IEC 7812-1 annex B, the formula of Luhn.
fn is_right(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match u32::from(*digit) {
            digit if place % 2 == 0 => digit,
            digit if digit > 4 => digit * 2 - 9,
            digit => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}
