//! International bank account numbers: ISO 13616-1, lengths from the registry of SWIFT.

use smallvec::SmallVec;

use super::{Finds, TooMuch, at, before, is_joined, separator};

const SHORTEST: usize = 15;
const LONGEST: usize = 34;

/// How long numbers of a country are.
#[rustfmt::skip]
const LENGTHS: [(&[u8; 2], usize); 87] = [
    (b"AD", 24), (b"AE", 23), (b"AL", 28), (b"AT", 20), (b"AZ", 28), (b"BA", 20), (b"BE", 16), (b"BG", 22),
    (b"BH", 22), (b"BI", 27), (b"BR", 29), (b"BY", 28), (b"CH", 21), (b"CR", 22), (b"CY", 28), (b"CZ", 24),
    (b"DE", 22), (b"DJ", 27), (b"DK", 18), (b"DO", 28), (b"EE", 20), (b"EG", 29), (b"ES", 24), (b"FI", 18),
    (b"FK", 18), (b"FO", 18), (b"FR", 27), (b"GB", 22), (b"GE", 22), (b"GI", 23), (b"GL", 18), (b"GR", 27),
    (b"GT", 28), (b"HN", 28), (b"HR", 21), (b"HU", 28), (b"IE", 22), (b"IL", 23), (b"IQ", 23), (b"IS", 26),
    (b"IT", 27), (b"JO", 30), (b"KW", 30), (b"KZ", 20), (b"LB", 28), (b"LC", 32), (b"LI", 21), (b"LT", 20),
    (b"LU", 20), (b"LV", 21), (b"LY", 25), (b"MC", 27), (b"MD", 24), (b"ME", 22), (b"MK", 19), (b"MN", 20),
    (b"MR", 27), (b"MT", 31), (b"MU", 30), (b"NI", 28), (b"NL", 18), (b"NO", 15), (b"OM", 23), (b"PK", 24),
    (b"PL", 28), (b"PS", 29), (b"PT", 25), (b"QA", 29), (b"RO", 24), (b"RS", 22), (b"RU", 33), (b"SA", 24),
    (b"SC", 31), (b"SD", 18), (b"SE", 24), (b"SI", 19), (b"SK", 24), (b"SM", 27), (b"SO", 23), (b"ST", 25),
    (b"SV", 28), (b"TL", 23), (b"TN", 24), (b"TR", 26), (b"UA", 29), (b"VA", 22), (b"VG", 24),
];
// Kosovo has no code of ISO 3166-1.
const KOSOVO: (&[u8; 2], usize) = (b"XK", 20);

/// Finds numbers of a country's length, alone or with single spaces or dashes within, whose check digits are
/// right; of a country that the registry does not have, those without spaces.
pub(super) fn find(text: &str, finds: &mut Finds) -> Result<(), TooMuch> {
    let mut from = 0;
    while let Some(offset) = text.as_bytes().get(from..).and_then(|rest| {
        rest.windows(4).position(|four| {
            let (letters, digits) = four.split_at(2);
            letters.iter().all(u8::is_ascii_alphabetic) && digits.iter().all(u8::is_ascii_digit)
        })
    }) {
        let start = from + offset;
        from = start + 2;
        if is_joined(before(text, start)) {
            continue;
        }
        if let Some(end) = end_of_number(text, start) {
            finds.add(start..end)?;
            from = end;
        }
    }
    Ok(())
}

fn end_of_number(text: &str, start: usize) -> Option<usize> {
    let country = text.get(start..start + 2)?.to_ascii_uppercase();
    let known = LENGTHS.iter().chain([&KOSOVO]).find(|(code, _)| *code == country.as_bytes());
    let most = known.map_or(LONGEST, |(_, length)| *length);
    let mut characters = SmallVec::<[u8; LONGEST]>::new();
    let mut end = start;
    while characters.len() < most {
        let gap = match at(text, end) {
            Some(character) if character.is_ascii_alphanumeric() => 0,
            _ if known.is_some() && end > start => separator(text, end, "-"),
            _ => break,
        };
        let Some(byte) = text.as_bytes().get(end + gap).filter(|byte| byte.is_ascii_alphanumeric())
        else {
            break;
        };
        characters.push(byte.to_ascii_uppercase());
        end += gap + 1;
    }
    let is_long_enough = match known {
        Some((_, length)) => characters.len() == *length,
        None => characters.len() >= SHORTEST,
    };
    (is_long_enough && !is_joined(at(text, end)) && is_right(&characters)).then_some(end)
}

/// ISO 7064, MOD 97-10, over the number with its first four characters behind the others.
fn is_right(characters: &[u8]) -> bool {
    let Some((head, account)) = characters.split_at_checked(4) else { return false };
    let remainder = account.iter().chain(head).fold(0_u32, |remainder, byte| {
        let value = u32::from(*byte);
        if byte.is_ascii_digit() {
            (remainder * 10 + value - u32::from(b'0')) % 97
        } else {
            (remainder * 100 + value - u32::from(b'A') + 10) % 97
        }
    });
    remainder == 1
}
