//! How secrets are kept: sealed under the master key, which never leaves this process.
//!
//! AES-256-GCM with a random nonce, under a key of its own for every context (HKDF-SHA256), with the
//! context as associated data: a value that is moved to another place does not open there.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use tollgate_model::password::{NotHashed, PasswordHash};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::store::{Store, StoreError};

/// Bytes of a key of any sort here.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const FORMAT: &str = "v1:";
const SALT: &[u8] = b"tollgate/seal/v1";
/// What the check value says once it is opened.
const CHECK: &[u8] = b"tollgate";

/// Why something was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file of the master key is not fit to use.
    #[error("use the master key in `{}`: {problem}", path.display())]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong and how to mend it.
        problem: String,
        /// What the operating system said, where it said something.
        #[source]
        source: Option<io::Error>,
    },
    /// The text given as the master key is none.
    #[error("the master key must be 32 bytes, in base64 or as 64 hexadecimal digits")]
    KeyText,
    /// The store was made under another master key.
    #[error("the master key does not fit this store; start with the key that it was made with")]
    WrongKey,
    /// A sealed value does not open.
    #[error("open what is sealed as `{context}`: it is damaged, or belongs elsewhere")]
    Damaged {
        /// What it was opened as.
        context: String,
    },
    /// The operating system gave no random bytes, or the cipher refused to work.
    #[error("seal a value")]
    Cipher,
    /// A password was not hashed: there was no memory for it.
    #[error(transparent)]
    NotHashed(#[from] NotHashed),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The key that all others are derived from or sealed under.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; KEY_BYTES]);

impl MasterKey {
    /// Reads base64 (any alphabet, padded or not) or 64 hexadecimal digits; white space around it is not
    /// part of it.
    ///
    /// # Errors
    ///
    /// [`SealError::KeyText`]; the text itself is not in the error.
    pub fn from_text(text: &str) -> Result<Self, SealError> {
        let text = text.trim();
        if text.len() == 2 * KEY_BYTES
            && let Some(bytes) = from_hex(text)
        {
            return Self::from_bytes(&bytes);
        }
        let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
        let decoded = engines.into_iter().find_map(|engine| engine.decode(text).ok());
        Self::from_bytes(&Zeroizing::new(decoded.ok_or(SealError::KeyText)?))
    }

    /// Reads the file: base64, hexadecimal, or the 32 bytes as they are. Blocks; for the start alone.
    ///
    /// # Errors
    ///
    /// [`SealError::KeyFile`] where it cannot be read, others than its owner can, or it holds no key.
    pub fn from_file(path: &Path) -> Result<Self, SealError> {
        let refuse = |problem: &str, source| SealError::KeyFile {
            path: path.to_owned(),
            problem: problem.to_owned(),
            source,
        };
        let metadata =
            fs::metadata(path).map_err(|error| refuse("it cannot be read", Some(error)))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            let problem =
                format!("others than its owner may use it; run `chmod 600 {}`", path.display());
            return Err(refuse(&problem, None));
        }
        let bytes = fs::read(path).map_err(|error| refuse("it cannot be read", Some(error)))?;
        let bytes = Zeroizing::new(bytes);
        if let Ok(key) = Self::from_bytes(&bytes) {
            return Ok(key);
        }
        str::from_utf8(&bytes)
            .ok()
            .and_then(|text| Self::from_text(text).ok())
            .ok_or_else(|| refuse("it holds no 32 bytes, nor their base64 or hexadecimal", None))
    }

    /// Reads the file; makes it, for its owner alone, where it is not there. Never overwrites one, and
    /// never leaves half of one. Blocks; for the start alone.
    ///
    /// # Errors
    ///
    /// [`SealError::KeyFile`] as in [`MasterKey::from_file`], or where it cannot be made.
    pub fn from_file_or_new(path: &Path) -> Result<Self, SealError> {
        let refuse = |problem: &str, source| SealError::KeyFile {
            path: path.to_owned(),
            problem: problem.to_owned(),
            source: Some(source),
        };
        match fs::symlink_metadata(path) {
            Ok(_) => return Self::from_file(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refuse("it cannot be read", error)),
        }
        let key = Self(*random_key()?);
        let text = Zeroizing::new(format!("{}\n", STANDARD.encode(key.0)));
        match write_new_private(path, text.as_bytes()) {
            Ok(()) => Ok(key),
            // Another process was faster; its key is the key.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::from_file(path),
            Err(error) => Err(refuse("it cannot be made", error)),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        <[u8; KEY_BYTES]>::try_from(bytes).map(Self).map_err(|_length| SealError::KeyText)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MasterKey(…)")
    }
}

/// Seals and opens values.
pub struct Sealer(hkdf::Prk);

impl Sealer {
    /// A sealer under this key.
    #[must_use]
    pub fn new(key: &MasterKey) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(&key.0))
    }

    /// Seals `plain` for one place, such as `secret/default/openai-key`; gives `v1:` and base64. The same
    /// value is sealed differently every time.
    ///
    /// # Errors
    ///
    /// [`SealError::Cipher`], where the operating system has no random bytes.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<String, SealError> {
        let key = self.key(context)?;
        // Room for all of it at once: growing would leave copies of the plain text behind.
        let mut sealed = Vec::with_capacity(NONCE_BYTES + plain.len() + TAG_BYTES);
        sealed.extend_from_slice(plain);
        let nonce = key
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut sealed)
            .map_err(|_unspecified| SealError::Cipher)?;
        sealed.splice(..0, nonce.as_ref().iter().copied());
        Ok(format!("{FORMAT}{}", STANDARD.encode(sealed)))
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    ///
    /// [`SealError::Damaged`] where it was sealed for another place or under another key, or was changed.
    pub fn open(&self, context: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let damaged = || SealError::Damaged { context: context.to_owned() };
        let bytes = sealed.strip_prefix(FORMAT).and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.ok_or_else(damaged)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let length = self
            .key(context)?
            .open_in_place(Nonce::from(nonce), Aad::from(context.as_bytes()), &mut plain)
            .map_err(|_unspecified| damaged())?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    fn key(&self, context: &str) -> Result<RandomizedNonceKey, SealError> {
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        self.0
            .expand(&[context.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|derived| derived.fill(&mut *key))
            .and_then(|()| RandomizedNonceKey::new(&AES_256_GCM, &*key))
            .map_err(|_unspecified| SealError::Cipher)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealer(…)")
    }
}

/// The keys that all control planes of a store share. Kept sealed in the store, made by the first.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ClusterKeys {
    credential: [u8; KEY_BYTES],
    token: [u8; KEY_BYTES],
}

impl ClusterKeys {
    /// Makes sure that the sealer's key is that of the store, and reads the keys.
    ///
    /// # Errors
    ///
    /// [`SealError::WrongKey`] where the store was made under another master key.
    pub async fn open(store: &Store, sealer: &Sealer) -> Result<Self, SealError> {
        let check = "cluster/check";
        let sealed = store.cluster_key_or_insert(check, &sealer.seal(check, CHECK)?).await?;
        match sealer.open(check, &sealed) {
            Ok(said) if *said == CHECK => {}
            Ok(_) | Err(SealError::Damaged { .. }) => return Err(SealError::WrongKey),
            Err(error) => return Err(error),
        }
        Ok(Self {
            credential: *shared_key(store, sealer, "cluster/credential").await?,
            token: *shared_key(store, sealer, "cluster/token").await?,
        })
    }

    /// The key under which callers' API keys are hashed, on the nodes too.
    #[must_use]
    pub fn credential_key(&self) -> &[u8; KEY_BYTES] {
        &self.credential
    }

    /// What is kept of a caller's API key: its BLAKE3 hash under [`ClusterKeys::credential_key`].
    #[must_use]
    pub fn hash_api_key(&self, key: &str) -> [u8; KEY_BYTES] {
        *blake3::keyed_hash(&self.credential, key.as_bytes()).as_bytes()
    }

    /// What is kept of a caller's password: its Argon2id hash under [`ClusterKeys::credential_key`].
    ///
    /// # Errors
    ///
    /// Where there is no memory for it.
    pub fn hash_password(&self, owner: &str, password: &str) -> Result<PasswordHash, SealError> {
        Ok(PasswordHash::of(password, owner, &self.credential)?)
    }

    /// What is kept of an administrator's token or a join token. The nodes do not know its key.
    #[must_use]
    pub fn hash_token(&self, token: &str) -> [u8; KEY_BYTES] {
        *blake3::keyed_hash(&self.token, token.as_bytes()).as_bytes()
    }
}

impl fmt::Debug for ClusterKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClusterKeys(…)")
    }
}

async fn shared_key(
    store: &Store,
    sealer: &Sealer,
    name: &str,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealError> {
    let sealed = match store.cluster_key(name).await? {
        Some(sealed) => sealed,
        None => {
            let drawn = sealer.seal(name, &*random_key()?)?;
            store.cluster_key_or_insert(name, &drawn).await?
        }
    };
    let opened = sealer.open(name, &sealed)?;
    <[u8; KEY_BYTES]>::try_from(opened.as_slice())
        .map(Zeroizing::new)
        .map_err(|_length| SealError::Damaged { context: name.to_owned() })
}

fn random_key() -> Result<Zeroizing<[u8; KEY_BYTES]>, SealError> {
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    rand::fill(&mut *key).map_err(|_unspecified| SealError::Cipher)?;
    Ok(key)
}

/// Writes a file that only its owner may read, whole or not at all, and only where there is none.
fn write_new_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = write_aside(path, bytes)?;
    // Unlike a rename, a link never replaces what is there.
    let linked = fs::hard_link(&written, path);
    let removed = fs::remove_file(&written);
    linked.and(removed).and_then(|()| sync_folder(path))
}

/// Writes a file that only its owner may read, whole or not at all, in place of what is there. Blocks.
///
/// # Errors
///
/// What the operating system says.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = write_aside(path, bytes)?;
    fs::rename(&written, path)?;
    sync_folder(path)
}

/// Writes the bytes, durably, to a file beside `path`; makes the folder where it is not there.
fn write_aside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = folder_of(path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut suffix = [0_u8; 8];
    rand::fill(&mut suffix).map_err(io::Error::other)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = folder.join(format!(".{name}.{}", to_hex(&suffix)));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    match written {
        Ok(()) => Ok(aside),
        Err(error) => {
            // What is left of it is of no use; that it may not go away changes nothing.
            drop(fs::remove_file(&aside));
            Err(error)
        }
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Hexadecimal, in lower case.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits = text.as_bytes().chunks(2).map(|pair| {
        let pair = str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        u8::from_str_radix(pair, 16).ok()
    });
    digits.collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(&MasterKey([7; KEY_BYTES]))
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let sealed = sealer().seal("secret/default/a", b"hidden").unwrap();
        assert!(sealed.starts_with("v1:") && !sealed.contains("hidden"));
        assert_eq!(*sealer().open("secret/default/a", &sealed).unwrap(), b"hidden");
        assert!(matches!(
            sealer().open("secret/default/b", &sealed),
            Err(SealError::Damaged { context }) if context == "secret/default/b"
        ));
        let other = Sealer::new(&MasterKey([8; KEY_BYTES]));
        assert!(matches!(other.open("secret/default/a", &sealed), Err(SealError::Damaged { .. })));
    }

    #[test]
    fn the_same_value_is_sealed_differently_every_time() {
        assert_ne!(sealer().seal("a", b"x").unwrap(), sealer().seal("a", b"x").unwrap());
    }

    #[test]
    fn any_changed_or_cut_value_is_refused() {
        let sealed = sealer().seal("a", b"hidden").unwrap();
        let bytes = STANDARD.decode(sealed.strip_prefix(FORMAT).unwrap()).unwrap();
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1;
            let changed = format!("{FORMAT}{}", STANDARD.encode(&changed));
            assert!(sealer().open("a", &changed).is_err(), "byte {i}");
            let cut = format!("{FORMAT}{}", STANDARD.encode(&bytes[..i]));
            assert!(sealer().open("a", &cut).is_err(), "cut at {i}");
        }
        for text in ["", "v1:", "v2:AAAA", "v1:not base64", "hidden"] {
            assert!(sealer().open("a", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_master_key_is_read_from_base64_and_hexadecimal() {
        let bytes: Vec<u8> = (200..232).collect();
        for text in [
            STANDARD.encode(&bytes),
            URL_SAFE_NO_PAD.encode(&bytes),
            format!(" {}\n", STANDARD_NO_PAD.encode(&bytes)),
            to_hex(&bytes),
            to_hex(&bytes).to_uppercase(),
        ] {
            assert_eq!(MasterKey::from_text(&text).unwrap().0, *bytes, "{text}");
        }
        for text in ["", "secret", &to_hex(&bytes[1..]), &STANDARD.encode(&bytes[1..])] {
            assert!(matches!(MasterKey::from_text(text), Err(SealError::KeyText)), "{text}");
        }
    }

    #[test]
    fn a_master_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/master.key");
        let made = MasterKey::from_file_or_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(MasterKey::from_file_or_new(&path).unwrap().0, made.0);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn many_that_make_a_master_key_at_once_get_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let keys: Vec<[u8; KEY_BYTES]> = std::thread::scope(|scope| {
            let make = || MasterKey::from_file_or_new(&path).unwrap().0;
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_master_key_that_others_may_read_or_of_a_wrong_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        MasterKey::from_file_or_new(&path).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = MasterKey::from_file_or_new(&path).unwrap_err().to_string();
            assert!(refused.contains("chmod 600"), "{refused}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        let refused = MasterKey::from_file_or_new(&path).unwrap_err().to_string();
        assert!(refused.contains("holds no 32 bytes"), "{refused}");
        fs::write(&path, [9_u8; KEY_BYTES]).unwrap();
        assert_eq!(MasterKey::from_file(&path).unwrap().0, [9; KEY_BYTES]);
    }

    #[test]
    fn no_secret_shows_in_debug() {
        assert_eq!(format!("{:?} {:?}", MasterKey([7; 32]), sealer()), "MasterKey(…) Sealer(…)");
    }
}
