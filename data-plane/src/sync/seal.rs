//! How a node's files are sealed: a sequence of frames, each encrypted, each bound to its file and
//! its place in it, so that a frame that was changed, moved or left out does not open.
//!
//! A frame is its length (4 bytes, little endian), a random nonce (12 bytes), and AES-256-GCM of the
//! content with its tag.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hkdf, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::settings::{KeyFileError, MasterKey, Settings};

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const KEY_SALT: &[u8] = b"tollgate/node-cache/v1";
/// What a frame holds at most.
const FRAME_LIMIT_BYTES: usize = 256 << 20;

/// Bytes of the salt that a file's key is derived with.
pub(super) const SALT_BYTES: usize = 32;

/// What the keys of all files are derived from.
#[derive(Clone)]
pub(super) struct CacheKey(hkdf::Prk);

/// Seals and opens the frames of one file.
pub(super) struct FrameKey {
    key: RandomizedNonceKey,
    place: Vec<u8>,
}

/// What stands next in a sequence of frames.
pub(super) enum Frame {
    /// A frame that opens.
    Content(Zeroizing<Vec<u8>>),
    /// Nothing more.
    End,
    /// The beginning of a frame.
    Torn,
    /// A frame that does not open here.
    Damaged,
}

impl CacheKey {
    /// The key from the settings, else from the data folder, where it is made once.
    ///
    /// # Errors
    ///
    /// Why there is none that can be used.
    pub(super) fn open(settings: &Settings) -> Result<Self, KeyFileError> {
        let given = settings.given_master_key()?;
        let key = match given {
            Some(key) => key,
            None => key_from_file_or_new(&settings.data.join("node.key"))?,
        };
        Ok(Self(hkdf::Salt::new(hkdf::HKDF_SHA256, KEY_SALT).extract(key.expose())))
    }

    /// The key for one file: `label` says which sort of file it is.
    ///
    /// # Errors
    ///
    /// The cipher refuses to work.
    pub(super) fn for_file(
        &self,
        label: &str,
        generation: u64,
        salt: &[u8; SALT_BYTES],
    ) -> Result<FrameKey, Unspecified> {
        let mut key = Zeroizing::new([0_u8; 32]);
        self.0.expand(&[label.as_bytes(), salt], hkdf::HKDF_SHA256)?.fill(&mut *key)?;
        let mut place = label.as_bytes().to_vec();
        place.extend_from_slice(&generation.to_le_bytes());
        Ok(FrameKey { key: RandomizedNonceKey::new(&AES_256_GCM, &*key)?, place })
    }
}

impl FrameKey {
    /// Appends a frame to `out`.
    ///
    /// # Errors
    ///
    /// The cipher refuses to work, or the content is too long.
    pub(super) fn seal(&self, number: u64, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let length = NONCE_BYTES + content.len() + TAG_BYTES;
        let written = u32::try_from(length).map_err(io::Error::other)?;
        if content.len() > FRAME_LIMIT_BYTES {
            return Err(io::Error::other("the frame is too long"));
        }
        let mut sealed = Vec::with_capacity(content.len() + TAG_BYTES);
        sealed.extend_from_slice(content);
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(self.associated(number)), &mut sealed)
            .map_err(io::Error::other)?;
        out.reserve(4 + length);
        out.extend_from_slice(&written.to_le_bytes());
        out.extend_from_slice(nonce.as_ref());
        out.extend_from_slice(&sealed);
        Ok(())
    }

    /// Takes the next frame off `bytes`; leaves them as they are where there is none that opens.
    pub(super) fn open(&self, number: u64, bytes: &mut &[u8]) -> Frame {
        if bytes.is_empty() {
            return Frame::End;
        }
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Frame::Torn };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if !(NONCE_BYTES + TAG_BYTES..=FRAME_LIMIT_BYTES + NONCE_BYTES + TAG_BYTES)
            .contains(&length)
        {
            return Frame::Damaged;
        }
        let Some((frame, rest)) = rest.split_at_checked(length) else { return Frame::Torn };
        let Some((nonce, sealed)) = frame.split_first_chunk::<NONCE_BYTES>() else {
            return Frame::Damaged;
        };
        let mut content = Zeroizing::new(sealed.to_vec());
        let associated = Aad::from(self.associated(number));
        let opened = self.key.open_in_place(Nonce::from(nonce), associated, &mut content);
        let Ok(plain_bytes) = opened.map(|plain| plain.len()) else { return Frame::Damaged };
        content.truncate(plain_bytes);
        *bytes = rest;
        Frame::Content(content)
    }

    fn associated(&self, number: u64) -> Vec<u8> {
        let mut associated = self.place.clone();
        associated.extend_from_slice(&number.to_le_bytes());
        associated
    }
}

/// Bytes that nobody can guess.
///
/// # Errors
///
/// The operating system has none.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Makes a folder, and those above it, for its owner alone. Blocks.
///
/// # Errors
///
/// What the operating system says.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes a file that only its owner may read: whole or not at all, durably, in place of what is
/// there. Blocks.
///
/// # Errors
///
/// What the operating system says.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = write_aside(path, bytes)?;
    fs::rename(&aside, path)?;
    sync_folder(path)
}

/// Makes sure that what was created in or renamed within the folder of `path` stays so. Blocks.
///
/// # Errors
///
/// What the operating system says.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(folder_of(path))?.sync_all()
}

/// Opens a new file for its owner alone.
///
/// # Errors
///
/// What the operating system says; it is there already, for one.
pub(super) fn create_private(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn write_aside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    make_folder(folder_of(path))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let tag = u64::from_le_bytes(random()?);
    let aside = folder_of(path).join(format!(".{name}.{tag:016x}.tmp"));
    let written = create_private(&aside)
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

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn key_from_file_or_new(path: &Path) -> Result<MasterKey, KeyFileError> {
    match MasterKey::from_file(path) {
        Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    let write = |source| KeyFileError::Read { path: path.to_owned(), source };
    let key = MasterKey::new(random().map_err(write)?);
    let text = Zeroizing::new(format!("{}\n", STANDARD.encode(key.expose())));
    let aside = write_aside(path, text.as_bytes()).map_err(write)?;
    // Unlike a rename, a link never replaces what is there: of two processes, one makes the key.
    let linked = fs::hard_link(&aside, path);
    drop(fs::remove_file(&aside));
    match linked.and_then(|()| sync_folder(path)) {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => MasterKey::from_file(path),
        Err(error) => Err(write(error)),
    }
}
