//! Addresses of electronic mail: the forms of RFC 5321 §4.1.2 that are in use, and RFC 6531 beside it.

use super::{Finds, TooMuch};

/// The most bytes that are taken for one side of an address. RFC 5321 §4.5.3.1 has 64 and 255; what is longer
/// is hidden as far as this goes.
const LONGEST_SIDE: usize = 255;

/// Finds what stands around an `@`, or a `%40`, with a domain of two labels or more.
pub(super) fn find(text: &str, finds: &mut Finds) -> Result<(), TooMuch> {
    let mut from = 0;
    while let Some(sign) = next_sign(text, from) {
        from = sign.end;
        let start = start_of_local_part(text, sign.start);
        let Some(end) = end_of_domain(text, sign.end) else { continue };
        if start < sign.start {
            finds.add(start..end)?;
        }
    }
    Ok(())
}

/// The next sign between a local part and a domain.
fn next_sign(text: &str, from: usize) -> Option<std::ops::Range<usize>> {
    let mut from = from;
    loop {
        let start = from + text.get(from..)?.find(['@', '%'])?;
        let rest = text.get(start..)?;
        if rest.starts_with('@') {
            return Some(start..start + 1);
        }
        if rest.starts_with("%40") {
            return Some(start..start + 3);
        }
        from = start + 1;
    }
}

fn start_of_local_part(text: &str, end: usize) -> usize {
    let mut start = end;
    for character in text.get(..end).unwrap_or_default().chars().rev() {
        let length = character.len_utf8();
        if !is_of_local_part(character) || end - start + length > LONGEST_SIDE {
            break;
        }
        start -= length;
    }
    // A quotation mark before it, or the end of a sentence, is not its own.
    let local = text.get(start..end).unwrap_or_default();
    end - local.trim_start_matches(['\'', '.', '*', '#']).len()
}

/// RFC 5322 §3.2.3, but for what stands before addresses in URLs, forms and templates.
fn is_of_local_part(character: char) -> bool {
    character.is_alphanumeric() || "!#$%'*+-.^_~".contains(character)
}

fn end_of_domain(text: &str, start: usize) -> Option<usize> {
    let mut end = start;
    for character in text.get(start..)?.chars() {
        let length = character.len_utf8();
        let is_of_domain = character.is_alphanumeric() || matches!(character, '-' | '.');
        if !is_of_domain || end - start + length > LONGEST_SIDE {
            break;
        }
        end += length;
    }
    let mut domain = text.get(start..end)?.trim_end_matches(['.', '-']);
    // The last label is none where it is a number, as in `joe@example.com.5`.
    while let Some((rest, last)) = domain.rsplit_once('.') {
        if is_top_level(last) && !rest.is_empty() {
            return Some(start + domain.len());
        }
        domain = rest;
    }
    None
}

fn is_top_level(label: &str) -> bool {
    label.chars().nth(1).is_some()
        && (label.chars().all(char::is_alphabetic)
            || label.to_ascii_lowercase().starts_with("xn--"))
}
