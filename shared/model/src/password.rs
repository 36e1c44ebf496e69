//! A username and a password, and what is kept of the password.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use deserr::Deserr;
use schemars::JsonSchema;

use crate::credential::KeyHash;
use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::secret::SecretText;

/// The most bytes of a username.
pub const USERNAME_BYTES: usize = 256;
/// The most bytes of a password.
pub const PASSWORD_BYTES: usize = 512;
/// The fewest bytes of a password.
const PASSWORD_MIN_BYTES: usize = 8;

/// A username with its password.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Basic {
    /// Unique within the tenant; 1 to 256 bytes, without colons and control characters.
    pub username: Username,
    /// Written, never read back.
    pub password: Password,
}

/// What stands before the colon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(Box<str>);

/// A password: `value` as it is written, `hash` as it is kept. One of both.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = one_form -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct Password {
    /// The password itself, 8 to 512 bytes without control characters. The control plane keeps
    /// only its hash.
    #[deserr(default)]
    pub value: Option<SecretText>,
    /// Argon2id of the password under the cluster's credential key: `argon2id$`, 64 hexadecimal digits
    /// of salt, `$`, 64 of hash.
    #[deserr(default)]
    pub hash: Option<PasswordHash>,
}

fn one_form(password: Password, location: deserr::ValuePointerRef<'_>) -> Result<Password, Issues> {
    let at = crate::issue::pointer(location);
    let mut issues = Issues::default();
    match (&password.value, &password.hash) {
        (None, None) => issues.add(at, "missing_field", "`value` is missing; add the password"),
        (Some(_), Some(_)) => issues.add(
            format!("{at}/hash"),
            "unknown_field",
            "give `value` alone; the hash is made from it",
        ),
        (Some(value), None) => {
            let text = value.expose();
            if !(PASSWORD_MIN_BYTES..=PASSWORD_BYTES).contains(&text.len())
                || text.chars().any(char::is_control)
            {
                issues.add(
                    format!("{at}/value"),
                    "invalid_password",
                    "a password is 8 to 512 bytes without control characters",
                );
            }
        }
        (None, Some(_)) => {}
    }
    issues.into_result(password)
}

impl Username {
    /// The username as a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromText for Username {
    const EXPECTED: &'static str =
        "a username of 1 to 256 bytes without colons and control characters";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let is_one = (1..=USERNAME_BYTES).contains(&text.len())
            && !text.chars().any(|c| c == ':' || c.is_control());
        if is_one {
            Ok(Self(text.into()))
        } else {
            let problem = format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED);
            Err(Rejected::new("invalid_username", problem))
        }
    }
}

/// A salted hash of a password, costly to work out: Argon2id with 19 MiB and 2 passes, under the
/// cluster's credential key.
///
/// The cost is the same for all, so that nobody can write down a hash that costs a node more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PasswordHash {
    salt: [u8; 32],
    hash: [u8; 32],
}

/// How a hash begins as a text.
const SCHEME: &str = "argon2id$";
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The password was not hashed.
#[derive(Debug, thiserror::Error)]
#[error("hash a password")]
pub struct NotHashed;

impl PasswordHash {
    /// Hashes a password for whom `owner` names. One owner and password always make one hash, so that
    /// writing a credential again changes nothing. Takes some 20 ms and 19 MiB.
    ///
    /// # Errors
    ///
    /// Where there is no memory for it.
    pub fn of(password: &str, owner: &str, credential_key: &[u8; 32]) -> Result<Self, NotHashed> {
        let salt = Self::salt(owner, credential_key);
        Ok(Self { salt, hash: work_out(password, &salt, credential_key)? })
    }

    /// What a password is checked against where nobody has the username: costs what any other does.
    #[must_use]
    pub fn of_nobody(username: &str, credential_key: &[u8; 32]) -> Self {
        Self { salt: Self::salt(username, credential_key), hash: [0; 32] }
    }

    /// Whether it is this password's. Takes as long as making it.
    #[must_use]
    pub fn is_of(&self, password: &str, credential_key: &[u8; 32]) -> bool {
        let found = work_out(password, &self.salt, credential_key);
        // The comparison of these takes the same time wherever they differ.
        found.is_ok_and(|found| {
            blake3::Hash::from_bytes(found) == blake3::Hash::from_bytes(self.hash)
        })
    }

    /// A short name of the question whether it is this password's, for a memory of answers. Says
    /// nothing of the password to who has not the key.
    #[must_use]
    pub fn question(&self, password: &str, credential_key: &[u8; 32]) -> KeyHash {
        let mut hasher = blake3::Hasher::new_keyed(credential_key);
        hasher.update(&self.salt).update(&self.hash).update(password.as_bytes());
        KeyHash(*hasher.finalize().as_bytes())
    }

    fn salt(owner: &str, credential_key: &[u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(credential_key);
        hasher.update(b"password/").update(owner.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

fn work_out(
    password: &str,
    salt: &[u8; 32],
    credential_key: &[u8; 32],
) -> Result<[u8; 32], NotHashed> {
    let mut hash = [0; 32];
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(hash.len()));
    let argon2 = params.and_then(|params| {
        Argon2::new_with_secret(credential_key, Algorithm::Argon2id, Version::V0x13, params)
    });
    let argon2 = argon2.map_err(|_out_of_bounds| NotHashed)?;
    argon2
        .hash_password_into(password.as_bytes(), salt, &mut hash)
        .map_err(|_no_memory| NotHashed)?;
    Ok(hash)
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { salt, hash } = self;
        write!(formatter, "{SCHEME}{}${}", KeyHash(*salt), KeyHash(*hash))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(…)")
    }
}

impl FromText for PasswordHash {
    const EXPECTED: &'static str = "`argon2id$`, 64 hexadecimal digits, `$`, and 64 more";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let parts = text.strip_prefix(SCHEME).and_then(|rest| rest.split_once('$'));
        parts
            .and_then(|(salt, hash)| {
                let (KeyHash(salt), KeyHash(hash)) =
                    (KeyHash::from_text(salt).ok()?, KeyHash::from_text(hash).ok()?);
                Some(Self { salt, hash })
            })
            .ok_or_else(|| Rejected::new("invalid_hash", format!("is not {}", Self::EXPECTED)))
    }
}

deserr_text!(Username, PasswordHash);
text_schema!(Username, "Username", "1 to 256 bytes, without colons and control characters.");
text_schema!(PasswordHash, "PasswordHash", "`argon2id$`, 64 hexadecimal digits, `$`, and 64 more.");

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_hash_is_its_passwords_alone_under_its_key_alone() {
        let hash = PasswordHash::of("correct horse", "default/web", &KEY).unwrap();
        assert!(hash.is_of("correct horse", &KEY));
        assert!(!hash.is_of("correct horsf", &KEY));
        assert!(!hash.is_of("correct horse", &[8; 32]));
        assert_eq!(hash, PasswordHash::of("correct horse", "default/web", &KEY).unwrap());
        assert_ne!(hash, PasswordHash::of("correct horse", "default/other", &KEY).unwrap());
    }

    #[test]
    fn nobodys_hash_is_no_passwords() {
        let hash = PasswordHash::of_nobody("web", &KEY);
        assert!(!hash.is_of("", &KEY) && !hash.is_of("correct horse", &KEY));
    }

    #[test]
    fn a_hash_is_read_as_it_is_written_and_shows_nothing_of_itself() {
        let hash = PasswordHash::of_nobody("web", &KEY);
        assert_eq!(PasswordHash::from_text(&hash.to_string()).unwrap(), hash);
        assert_eq!(format!("{hash:?}"), "PasswordHash(…)");
        let digits = "0".repeat(64);
        for text in [
            String::new(),
            digits.clone(),
            format!("argon2id${digits}"),
            format!("argon2i${digits}${digits}"),
            format!("argon2id${digits}${digits}0"),
            format!("argon2id${digits}${digits}$"),
        ] {
            assert!(PasswordHash::from_text(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn questions_differ_by_hash_and_password() {
        let (one, other) = (PasswordHash::of_nobody("a", &KEY), PasswordHash::of_nobody("b", &KEY));
        assert_eq!(one.question("p", &KEY), one.question("p", &KEY));
        assert_ne!(one.question("p", &KEY), one.question("q", &KEY));
        assert_ne!(one.question("p", &KEY), other.question("p", &KEY));
    }
}
