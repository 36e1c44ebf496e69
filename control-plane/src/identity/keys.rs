//! API keys of callers: `tg_<id>_<secret><checksum>`. Kept only as hashes, and that as resources.

use super::secret::{NoRandomness, Shown, base62, checksum};

const PREFIX: &str = "tg_";
const ID_CHARS: usize = 8;
const SECRET_CHARS: usize = 32;

/// Draws a key; with it its id, which is no secret.
///
/// # Errors
///
/// Where the operating system gives no random bytes.
pub fn draw_api_key() -> Result<(String, Shown), NoRandomness> {
    let (id, secret) = (base62(ID_CHARS)?, base62(SECRET_CHARS)?);
    let mut key = String::with_capacity(64);
    for part in [PREFIX, &id, "_", &secret] {
        key.push_str(part);
    }
    key.push_str(&checksum(&key));
    Ok((id.to_string(), Shown::new(key)))
}

#[cfg(test)]
mod tests {
    use super::super::secret::has_checksum;
    use super::*;

    #[test]
    fn a_key_has_its_form_and_its_checksum() {
        let (id, key) = draw_api_key().unwrap();
        let key = key.reveal();
        assert_eq!(key.len(), 3 + 8 + 1 + 32 + 6);
        assert!(key.starts_with(&format!("tg_{id}_")) && has_checksum(key));
        assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        assert_ne!(draw_api_key().unwrap().1.reveal(), key);
    }
}
