//! Internet addresses: IPv4 in four decimal numbers, IPv6 as RFC 4291 §2.2 writes it.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::{Finds, TooMuch, at, before, end_of_digits, is_fraction, is_joined, next_digit};

/// The longest text of an IPv6 address.
const LONGEST_IPV6: usize = 45;

/// Finds both, in the order of the text.
pub(super) fn find(text: &str, finds: &mut Finds) -> Result<(), TooMuch> {
    let (mut v4_from, mut v6_from) = (0, 0);
    let mut v4 = next_v4(text, &mut v4_from);
    let mut v6 = next_v6(text, &mut v6_from);
    loop {
        let is_v6_next = match (&v4, &v6) {
            (None, None) => return Ok(()),
            (Some(v4), Some(v6)) => v6.start <= v4.start,
            (None, Some(_)) => true,
            (Some(_), None) => false,
        };
        // `::ffff:192.0.2.1` holds both; where they overlap, they are one.
        let found = if is_v6_next {
            std::mem::replace(&mut v6, next_v6(text, &mut v6_from))
        } else {
            std::mem::replace(&mut v4, next_v4(text, &mut v4_from))
        };
        if let Some(span) = found {
            finds.add(span)?;
        }
    }
}

fn next_v4(text: &str, from: &mut usize) -> Option<Range<usize>> {
    while let Some(start) = next_digit(text, *from) {
        *from = end_of_digits(text, start);
        if is_joined(before(text, start)) || is_fraction(text, start) {
            continue;
        }
        if let Some(end) = end_of_v4(text, start) {
            *from = end;
            return Some(start..end);
        }
    }
    None
}

fn end_of_v4(text: &str, start: usize) -> Option<usize> {
    let mut number = start;
    for place in 0..4 {
        let end = end_of_digits(text, number);
        let digits = text.get(number..end)?;
        if digits.len() > 3 || digits.parse::<u8>().is_err() {
            return None;
        }
        if place == 3 {
            // Five numbers are a version or the like.
            let goes_on =
                at(text, end) == Some('.') && at(text, end + 1).is_some_and(|c| c.is_ascii_digit());
            return (!goes_on && !is_joined(at(text, end))).then_some(end);
        }
        if at(text, end) != Some('.') {
            return None;
        }
        number = end + 1;
    }
    None
}

fn next_v6(text: &str, from: &mut usize) -> Option<Range<usize>> {
    loop {
        let colon = *from + text.get(*from..)?.find(':')?;
        // The first group has four digits at most.
        let head = text.as_bytes().get(*from..colon)?;
        let group = head.iter().rev().take_while(|byte| byte.is_ascii_hexdigit()).take(5).count();
        let start = colon - group;
        let rest = text.as_bytes().get(start..)?;
        let length = rest.iter().take_while(|byte| is_of_v6(**byte)).take(LONGEST_IPV6 + 1).count();
        *from = colon + 1;
        if length > LONGEST_IPV6 || is_joined(before(text, start)) {
            // Behind a run of such characters that is no address there is none until it ends.
            *from = (*from).max(start + length);
            continue;
        }
        let end = start + length;
        if let Some(end) = end_of_v6(text, start, end) {
            *from = end;
            return Some(start..end);
        }
        *from = end.max(*from);
    }
}

/// The end of the address that this run is, but for the punctuation behind it.
fn end_of_v6(text: &str, start: usize, end: usize) -> Option<usize> {
    if is_joined(at(text, end)) {
        return None;
    }
    let run = text.get(start..end)?;
    let bare = run.trim_end_matches('.');
    [bare, bare.strip_suffix(':').unwrap_or(bare)].into_iter().find_map(|candidate| {
        // `::` alone is more often a word of a programming language.
        let is_told = candidate.bytes().any(|byte| byte.is_ascii_hexdigit());
        let is_address = is_told && candidate.parse::<Ipv6Addr>().is_ok();
        is_address.then_some(start + candidate.len())
    })
}

fn is_of_v6(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')
}
