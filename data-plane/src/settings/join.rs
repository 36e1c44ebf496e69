//! The token that a node joins with, and the file that it may stand in.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use tollgate_model::secret::SecretText;

use super::Unfit;
use super::key::{KEY_BYTES, from_hex};

/// How long the file of a join token is waited for, and how often it is looked for.
const JOIN_FILE_TIME: Duration = Duration::from_secs(60);
const JOIN_FILE_LOOK: Duration = Duration::from_millis(200);

/// A token that a node joins with: `tgj_<id>_<secret>_<fingerprint>`.
#[derive(Clone)]
pub struct JoinToken {
    text: SecretText,
    id: String,
    fingerprint: [u8; KEY_BYTES],
}

/// Why the file of a join token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JoinFileError {
    /// It cannot be read.
    #[error("read the join token in `{}`", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// It holds none.
    #[error("`{}` holds no join token; `tollgate node token create` prints one", path.display())]
    NoToken {
        /// Which file.
        path: PathBuf,
    },
}

impl JoinToken {
    /// Reads a token from a file that another process may have yet to write: for a minute it is waited
    /// for. Blocks; for the start alone.
    ///
    /// # Errors
    ///
    /// Where the file does not come in time, or holds no token.
    pub(super) fn from_file_to_come(path: PathBuf) -> Result<Self, JoinFileError> {
        let given_up = Instant::now() + JOIN_FILE_TIME;
        let text = loop {
            match fs::read_to_string(&path) {
                Ok(text) if !text.trim().is_empty() => break text,
                Err(source) if Instant::now() >= given_up => {
                    return Err(JoinFileError::Read { path, source });
                }
                Ok(_) if Instant::now() >= given_up => return Err(JoinFileError::NoToken { path }),
                Ok(_) | Err(_) => std::thread::sleep(JOIN_FILE_LOOK),
            }
        };
        text.trim().parse().map_err(|Unfit(_)| JoinFileError::NoToken { path })
    }

    /// The whole token. Never log what this returns.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// What the token is called; no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256 of the certificate (DER) of the control plane's authority.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; KEY_BYTES] {
        &self.fingerprint
    }
}

impl FromStr for JoinToken {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let unfit =
            || Unfit("this is no join token; `tollgate node token create` prints one: tgj_…");
        let text = text.trim();
        let mut parts = text.strip_prefix("tgj_").ok_or_else(unfit)?.split('_');
        let (Some(id), Some(secret), Some(fingerprint), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(unfit());
        };
        let is_word = |part: &str| {
            (1..=64).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        if !is_word(id) || !is_word(secret) {
            return Err(unfit());
        }
        let fingerprint = from_hex(fingerprint).ok_or_else(unfit)?;
        let fingerprint = <[u8; KEY_BYTES]>::try_from(fingerprint.as_slice());
        Ok(Self {
            text: SecretText::new(text.to_owned()),
            id: id.to_owned(),
            fingerprint: fingerprint.map_err(|_length| unfit())?,
        })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JoinToken({}, …)", self.id)
    }
}
