//! What is found in a text, and where. Every way takes time in proportion to the text: nothing that stands in
//! it makes one look twice at more than a fixed number of bytes.

use std::ops::Range;

use regex::Regex;

/// Internet addresses.
mod address;
/// Numbers of payment cards.
mod card;
/// Addresses of electronic mail.
mod email;
/// Words and expressions of the operator's.
mod expression;
/// International bank account numbers.
mod iban;
/// Telephone numbers.
mod phone;

pub(super) use expression::{expression, words};

use super::config::Kind;

/// The most finds of one answer, over all rules. They are what takes memory beside the text.
pub(super) const MOST: usize = 100_000;

/// There are more than [`MOST`] finds, or one is longer than is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// Places in a text, in bytes, in order and apart.
#[derive(Debug)]
pub(super) struct Finds {
    spans: Vec<Range<usize>>,
    /// How many there may still be.
    left: usize,
}

impl Default for Finds {
    fn default() -> Self {
        Self { spans: Vec::new(), left: MOST }
    }
}

impl Finds {
    pub(super) fn spans(&self) -> &[Range<usize>] {
        &self.spans
    }

    /// Makes room for those of another text or rule; what was found goes on to count.
    pub(super) fn clear(&mut self) {
        self.spans.clear();
    }

    /// Adds one that begins no earlier than those before it; where it touches the last, both become one.
    pub(super) fn add(&mut self, span: Range<usize>) -> Result<(), TooMuch> {
        if let Some(last) = self.spans.last_mut()
            && span.start < last.end
        {
            last.end = last.end.max(span.end);
            return Ok(());
        }
        self.left = self.left.checked_sub(1).ok_or(TooMuch)?;
        self.spans.push(span);
        Ok(())
    }
}

/// Finds all of a kind.
pub(super) fn of_kind(kind: Kind, text: &str, finds: &mut Finds) -> Result<(), TooMuch> {
    match kind {
        Kind::Email => email::find(text, finds),
        Kind::Phone => phone::find(text, finds),
        Kind::Card => card::find(text, finds),
        Kind::Iban => iban::find(text, finds),
        Kind::Ip => address::find(text, finds),
    }
}

/// Finds all matches of an expression.
pub(super) fn of_expression(
    expression: &Regex,
    text: &str,
    finds: &mut Finds,
) -> Result<(), TooMuch> {
    expression::find(expression, text, finds).map(|_looks| ())
}

/// The character before a place.
fn before(text: &str, at: usize) -> Option<char> {
    text.get(..at)?.chars().next_back()
}

/// The character at a place.
fn at(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// Whether a word or a number goes on at this character.
fn is_joined(character: Option<char>) -> bool {
    character.is_some_and(char::is_alphanumeric)
}

/// Where the digits that begin at a place end.
fn end_of_digits(text: &str, start: usize) -> usize {
    let rest = text.as_bytes().get(start..).unwrap_or_default();
    start + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The next digit at or behind a place.
fn next_digit(text: &str, from: usize) -> Option<usize> {
    let rest = text.as_bytes().get(from..)?;
    rest.iter().position(u8::is_ascii_digit).map(|offset| from + offset)
}

/// Whether these are the digits behind the point of a number such as 0.25.
fn is_fraction(text: &str, start: usize) -> bool {
    let Some(number) = text.get(..start).and_then(|before| before.strip_suffix('.')) else {
        return false;
    };
    number.ends_with(|character: char| character.is_ascii_digit())
}

/// The length of a space or a character of a set at a place, zero where there is none. A no-break space
/// is a space.
fn separator(text: &str, from: usize, others: &str) -> usize {
    match at(text, from) {
        Some(character @ (' ' | '\u{a0}')) => character.len_utf8(),
        Some(character) if others.contains(character) => character.len_utf8(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
