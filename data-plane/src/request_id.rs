//! `x-request-id`: taken from the client where it is well formed, else made.

use std::cell::Cell;

use http::{HeaderName, HeaderValue};

/// The field's name.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Makes identifiers: 128 bits, unique, not secret.
pub struct RequestIds {
    high: u64,
    state: Cell<u64>,
}

impl RequestIds {
    /// A source of its own for each core.
    #[must_use]
    pub fn new() -> Self {
        Self { high: rand::random(), state: Cell::new(rand::random()) }
    }

    /// The next identifier: 32 hexadecimal digits.
    pub fn make(&self) -> HeaderValue {
        // SplitMix64 (Steele, Lea, Flood 2014): a full period over 64 bits from one addition.
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mut low = state;
        low = (low ^ (low >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        low = (low ^ (low >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low ^= low >> 31;
        let mut text = [0_u8; 32];
        let number = (u128::from(self.high) << 64) | u128::from(low);
        for (i, digit) in text.iter_mut().rev().enumerate() {
            let nibble = u8::try_from((number >> (4 * i)) & 0xf).unwrap_or(0);
            *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-"))
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a client's identifier is taken: 1 to 128 letters, digits, `-`, `_`, `.`, `:`, `/`, `+`, `=`.
#[must_use]
pub fn is_well_formed(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_well_formed_and_differ() {
        let ids = RequestIds::new();
        let (first, second) = (ids.make(), ids.make());
        assert_eq!(first.len(), 32);
        assert!(is_well_formed(&first));
        assert_ne!(first, second);
    }

    #[test]
    fn what_could_break_a_log_line_is_not_taken() {
        for text in ["", "a b", "a\"b", "a{b"] {
            assert!(!is_well_formed(&HeaderValue::from_bytes(text.as_bytes()).unwrap()), "{text}");
        }
        assert!(!is_well_formed(&HeaderValue::from_bytes(&[b'a'; 129]).unwrap()));
    }
}
