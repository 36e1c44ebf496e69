//! Scans for the end of a token, a target or a value, eight bytes at a time.
//!
//! Each loop tests a little-endian word for the bytes that end the run. The tests may flag bytes
//! above the first true one (a borrow runs upwards), never below it, so the lowest flag is exact.
//! (Warren, "Hacker's Delight", §6-1; the whole head is then one pass over its bytes.)

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The length of the run of token bytes at the start (RFC 9110 §5.6.2).
#[inline]
pub(super) fn token(bytes: &[u8]) -> usize {
    run(bytes, not_common_token, is_token)
}

/// The length of the run of bytes at the start that a host name may hold: unreserved characters
/// (RFC 3986 §2.3).
#[inline]
pub(super) fn host(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is_host(*byte)).unwrap_or(bytes.len())
}

/// The length of the run of bytes at the start that a request target may hold.
///
/// Those are the visible ASCII characters without `#`: RFC 9112 §3.2 has no fragment, and a
/// parser that cuts one off sees another target than one that does not.
#[inline]
pub(super) fn target(bytes: &[u8]) -> usize {
    run(bytes, not_target, is_target)
}

/// The length of the run of bytes at the start that a field value may hold: visible characters,
/// SP, HTAB and obs-text (RFC 9110 §5.5).
#[inline]
pub(super) fn value(bytes: &[u8]) -> usize {
    run(bytes, not_common_value, is_value)
}

/// Whether a request target may hold the byte.
#[inline]
pub(super) fn is_target(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && byte != b'#'
}

/// Splits at `at`, or at the end where there are fewer bytes.
#[inline]
pub(super) fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

/// What stands after the first `count` bytes.
#[inline]
pub(super) fn after(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(count..).unwrap_or_default()
}

/// Counts the bytes up to the first that `is_member` refuses.
///
/// `flags` gives the high bit of each byte of a word that may be no member; it may flag a member,
/// which `is_member` then lets pass.
#[inline(always)]
fn run(bytes: &[u8], flags: impl Fn(u64) -> u64, is_member: impl Fn(u8) -> bool) -> usize {
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        let flagged = flags(u64::from_le_bytes(*chunk));
        if flagged == 0 {
            rest = tail;
            continue;
        }
        let clean = usize::try_from(flagged.trailing_zeros() / 8).unwrap_or(0);
        rest = after(rest, clean);
        match rest.split_first() {
            Some((byte, tail)) if is_member(*byte) => rest = tail,
            _ => return bytes.len() - rest.len(),
        }
    }
    let clean = rest.iter().position(|byte| !is_member(*byte)).unwrap_or(rest.len());
    bytes.len() - rest.len() + clean
}

/// Flags `-`, digits and letters for what they are, and all other token bytes with the rest.
#[inline(always)]
fn not_common_token(word: u64) -> u64 {
    let folded = word | (ONES * 0x20);
    outside(folded, b'a', b'z') & outside(word, b'-', b'9') | equal(word, b'/') | equal(word, b'.')
}

#[inline(always)]
fn not_target(word: u64) -> u64 {
    let below_visible = word.wrapping_sub(ONES * 0x21);
    let delete = word.wrapping_add(ONES);
    (below_visible | delete | word) & HIGH | equal(word, b'#')
}

#[inline(always)]
fn not_common_value(word: u64) -> u64 {
    let below_space = word.wrapping_sub(ONES * 0x20);
    let delete = word.wrapping_add(ONES);
    (below_space | delete) & !word & HIGH
}

/// Flags bytes that are `byte`, and perhaps bytes above one.
#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & HIGH
}

/// Flags bytes outside `first..=last`, both ASCII; exact for every byte.
#[inline(always)]
fn outside(word: u64, first: u8, last: u8) -> u64 {
    let low = word & !HIGH;
    let reaches = low + ONES * u64::from(0x80 - first);
    let exceeds = low + ONES * u64::from(0x7f - last);
    (!reaches | exceeds | word) & HIGH
}

#[inline]
fn is_value(byte: u8) -> bool {
    (byte >= 0x20 && byte != 0x7f) || byte == b'\t'
}

#[inline]
fn is_token(byte: u8) -> bool {
    class(byte) & TOKEN != 0
}

#[inline]
fn is_host(byte: u8) -> bool {
    class(byte) & HOST != 0
}

#[inline]
fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

const TOKEN: u8 = 1;
const HOST: u8 = 2;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        let is_host = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let is_token = is_host
            || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
            || matches!(byte, b'^' | b'`' | b'|');
        #[expect(clippy::indexing_slicing, reason = "a u8 is within a table of 256")]
        #[expect(clippy::as_conversions, reason = "`From` is not const")]
        {
            classes[byte as usize] = match (is_token, is_host) {
                (_, true) => TOKEN | HOST,
                (true, false) => TOKEN,
                (false, false) => 0,
            };
        }
        byte += 1;
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every place of a run of 19 members, against the definition of the class.
    fn agrees(scan: fn(&[u8]) -> usize, is_member: impl Fn(u8) -> bool, member: u8) {
        for byte in 0..=255_u8 {
            for place in 0..19 {
                let mut bytes = [member; 19];
                bytes[place] = byte;
                let expected = bytes.iter().position(|byte| !is_member(*byte)).unwrap_or(19);
                assert_eq!(scan(&bytes), expected, "byte {byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn scans_find_the_first_byte_outside_their_class() {
        let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let visible = |byte: u8| (0x21..=0x7e).contains(&byte) && byte != b'#';
        let text = |byte: u8| byte == 9 || byte >= 0x80 || (0x20..=0x7e).contains(&byte);
        agrees(token, tchar, b'a');
        agrees(token, tchar, b'.');
        agrees(target, visible, b'/');
        agrees(value, text, b' ');
        agrees(value, text, b'\t');
        agrees(value, text, 0xff);
    }
}
