//! The master key, and the file that it may stand in.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Unfit;

pub(super) const KEY_BYTES: usize = 32;

/// A key of 32 bytes that others are derived from.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; KEY_BYTES]);

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("read the key in `{}`", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Others may read it.
    #[error("others than its owner may use the key in `{path}`; run `chmod 600 {path}`", path = path.display())]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// It holds no key.
    #[error("`{}` holds no key of 32 bytes, in base64, in hexadecimal or as they are", path.display())]
    NoKey {
        /// Which file.
        path: PathBuf,
    },
}

impl MasterKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes. Never log what this returns.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Reads a file of base64, hexadecimal or the 32 bytes as they are. Blocks; for the start alone.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn from_file(path: &Path) -> Result<Self, KeyFileError> {
        let read = |source| KeyFileError::Read { path: path.to_owned(), source };
        if fs::metadata(path).map_err(read)?.permissions().mode() & 0o077 != 0 {
            return Err(KeyFileError::Open { path: path.to_owned() });
        }
        let bytes = Zeroizing::new(fs::read(path).map_err(read)?);
        if let Ok(key) = <[u8; KEY_BYTES]>::try_from(bytes.as_slice()) {
            return Ok(Self(key));
        }
        str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| KeyFileError::NoKey { path: path.to_owned() })
    }
}

impl FromStr for MasterKey {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let unfit = || Unfit("give a key of 32 bytes, in base64 or as 64 hexadecimal digits");
        let text = text.trim();
        let bytes = match from_hex(text) {
            Some(bytes) if bytes.len() == KEY_BYTES => bytes,
            _ => {
                let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
                let decoded = engines.into_iter().find_map(|engine| engine.decode(text).ok());
                Zeroizing::new(decoded.ok_or_else(unfit)?)
            }
        };
        <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map(Self).map_err(|_length| unfit())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MasterKey(…)")
    }
}

/// None where the text is not pairs of hexadecimal digits.
pub(super) fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(high)? << 4) | digit(low)?),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, STANDARD.encode([7; 32])).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(MasterKey::from_file(&path), Err(KeyFileError::Open { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(MasterKey::from_file(&path).unwrap().expose(), &[7; 32]);
    }
}
