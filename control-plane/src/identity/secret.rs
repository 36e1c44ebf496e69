//! Random texts that are shown once.

use std::fmt;

use aws_lc_rs::rand;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHECKSUM_CHARS: usize = 6;

/// A token in clear, on its way to the one who asked for it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Shown(String);

impl Shown {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The token. Show it, then forget it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Shown(…)")
    }
}

/// No random bytes.
#[derive(Debug, thiserror::Error)]
#[error("draw random characters")]
pub struct NoRandomness;

/// Letters and digits, each as likely as any other.
pub(super) fn base62(chars: usize) -> Result<Zeroizing<String>, NoRandomness> {
    let mut text = Zeroizing::new(String::with_capacity(chars));
    let mut bytes = Zeroizing::new([0_u8; 64]);
    while text.len() < chars {
        rand::fill(&mut *bytes).map_err(|_unspecified| NoRandomness)?;
        for byte in *bytes {
            // 62 × 4 = 248: bytes above would make the first letters likelier.
            if byte < 248
                && text.len() < chars
                && let Some(letter) = ALPHABET.get(usize::from(byte % 62))
            {
                text.push(char::from(*letter));
            }
        }
    }
    Ok(text)
}

/// Six letters or digits by which a mistyped token, or a token found in a leak, is told without the store.
pub(super) fn checksum(text: &str) -> String {
    let hash = blake3::hash(text.as_bytes());
    let mut number =
        hash.as_bytes().iter().take(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    let mut letters = String::with_capacity(CHECKSUM_CHARS);
    for _ in 0..CHECKSUM_CHARS {
        let digit = usize::try_from(number % 62).unwrap_or_default();
        letters.extend(ALPHABET.get(digit).map(|letter| char::from(*letter)));
        number /= 62;
    }
    letters
}

/// Whether the last six characters are the checksum of those before.
pub(super) fn has_checksum(text: &str) -> bool {
    text.len()
        .checked_sub(CHECKSUM_CHARS)
        .and_then(|end| text.split_at_checked(end))
        .is_some_and(|(before, check)| checksum(before) == check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_text_has_its_length_and_alphabet_and_differs() {
        let text = base62(1_000).unwrap();
        assert_eq!(text.len(), 1_000);
        assert!(ALPHABET.iter().all(|letter| text.contains(char::from(*letter))));
        assert_ne!(*base62(32).unwrap(), *base62(32).unwrap());
    }

    #[test]
    fn a_checksum_finds_a_mistyped_character() {
        let text = format!("tga_abc{}", checksum("tga_abc"));
        assert!(has_checksum(&text));
        assert!(!has_checksum(&text.replacen('b', "d", 1)));
        assert!(!has_checksum("tga") && !has_checksum("") && !has_checksum("äöüß"));
    }
}
