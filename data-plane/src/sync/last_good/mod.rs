//! The last good configuration on disk, so that a node starts without a control plane.
//!
//! A generation is two files in `DATA/config`: `base-N`, a whole configuration, and `log-N`, the
//! deltas since. Both begin with a header in clear and go on in sealed frames (see `seal.rs`): of
//! the base, first its facts, then a zstd frame of a `ResourceList` in pieces, each with a byte
//! that says whether it is the last; of the log, a zstd frame of one `Delta` each. The generation
//! before is kept. Everything here blocks.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use prost::Message as _;
use tollgate_model::wire::{self, Digest};
use tollgate_proto::v1;
use zeroize::Zeroizing;

use super::pieces::{self, Pieces, unpack};
use super::seal::{self, CacheKey, Frame, FrameKey, SALT_BYTES};

const FORMAT: u32 = 1;
const BASE_MAGIC: [u8; 8] = *b"TOLLGATE";
const LOG_MAGIC: [u8; 8] = *b"TOLLGLOG";
const BASE_LABEL: &str = "configuration/base";
const LOG_LABEL: &str = "configuration/log";
const HEADER_BYTES: usize = 8 + 4 + 8 + SALT_BYTES;
const FACTS_BYTES: usize = 8 + 8 + 32 + 32;
const COMPRESSION_LEVEL: i32 = 1;
/// A log that is smaller than this is never worth a new base.
const SMALL_LOG_BYTES: u64 = 256 << 10;

/// Where the last good configuration is kept.
pub(super) struct LastGood {
    folder: PathBuf,
    key: CacheKey,
}

/// A whole configuration with its facts.
pub(super) struct Saved {
    pub(super) epoch: u64,
    pub(super) revision: u64,
    pub(super) digest: Digest,
    pub(super) credential_key: Zeroizing<[u8; 32]>,
    pub(super) resources: Vec<v1::Resource>,
}

/// The generation that deltas are appended to, and how far it reaches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    generation: u64,
    salt: [u8; SALT_BYTES],
    base_bytes: u64,
    /// Up to the end of the last record that opens; 0 where there is no log yet.
    log_bytes: u64,
    next_record: u64,
    /// The revision after the last record.
    pub(super) revision: u64,
}

/// What was found on disk.
pub(super) struct Found {
    pub(super) saved: Saved,
    pub(super) position: Position,
    /// Whether nothing newer was there that could not be read.
    pub(super) is_newest: bool,
}

/// Why a base cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    #[error("it is of format {0}, which this version does not know")]
    Format(u32),
    #[error("it ends too early")]
    Torn,
    #[error("it is damaged, or sealed under another key")]
    Damaged,
}

impl LastGood {
    /// The configuration kept in this folder, under this key.
    pub(super) fn new(data: &Path, key: CacheKey) -> Self {
        Self { folder: data.join("config"), key }
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The newest configuration that can be read whole; says in the log what could not.
    pub(super) fn load(&self) -> Option<Found> {
        let mut is_newest = true;
        for generation in self.generations() {
            match self.load_generation(generation) {
                Ok((saved, position)) => return Some(Found { saved, position, is_newest }),
                Err(error) => {
                    tracing::warn!(
                        path = %self.base_path(generation).display(),
                        error = %error,
                        "a configuration on disk is passed over"
                    );
                    is_newest = false;
                }
            }
        }
        None
    }

    /// Writes a new generation, and removes all but it and the one before.
    ///
    /// `previous` is the generation that was good until now.
    ///
    /// # Errors
    ///
    /// What the operating system says; the files are then as they were.
    pub(super) fn write_base(
        &self,
        saved: Saved,
        previous: Option<Position>,
    ) -> io::Result<Position> {
        seal::make_folder(&self.folder)?;
        let generations = self.generations();
        let generation = generations.first().map_or(1, |newest| newest.saturating_add(1));
        let path = self.base_path(generation);
        let aside = path.with_extension("tmp");
        let revision = saved.revision;
        let salt = seal::random()?;
        let written = self.write_whole(&aside, (generation, salt), saved);
        let written = written.and_then(|base_bytes| {
            fs::rename(&aside, &path)?;
            seal::sync_folder(&path)?;
            Ok(base_bytes)
        });
        if written.is_err() {
            // What is left of it is of no use; that it may not go away changes nothing.
            drop(fs::remove_file(&aside));
        }
        let base_bytes = written?;
        let kept =
            previous.map(|previous| previous.generation).or_else(|| generations.first().copied());
        self.remove_all_but(generation, kept);
        Ok(Position { generation, salt, base_bytes, log_bytes: 0, next_record: 0, revision })
    }

    /// Appends deltas, durably, after the last record that opens.
    ///
    /// # Errors
    ///
    /// What the operating system says; a part may have been written, so that a new base is due.
    pub(super) fn append(&self, position: &mut Position, deltas: &[v1::Delta]) -> io::Result<()> {
        let key = self
            .key
            .for_file(LOG_LABEL, position.generation, &position.salt)
            .map_err(io::Error::other)?;
        let is_new = position.log_bytes == 0;
        let mut bytes = Vec::new();
        if is_new {
            bytes.extend(header(LOG_MAGIC, position.generation, &position.salt));
        }
        let (mut number, mut revision) = (position.next_record, position.revision);
        for delta in deltas {
            let encoded = Zeroizing::new(delta.encode_to_vec());
            let packed = zstd::bulk::compress(&encoded, COMPRESSION_LEVEL).map(Zeroizing::new)?;
            key.seal(number, &packed, &mut bytes)?;
            number = number.saturating_add(1);
            revision = delta.to;
        }
        let path = self.log_path(position.generation);
        let mut file = open_log(&path)?;
        file.set_len(position.log_bytes)?;
        file.seek(io::SeekFrom::End(0))?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        if is_new {
            seal::sync_folder(&path)?;
        }
        position.log_bytes = position.log_bytes.saturating_add(length(&bytes));
        position.next_record = number;
        position.revision = revision;
        Ok(())
    }

    /// Whether the files end where this says, and there is no newer generation.
    pub(super) fn ends_at(&self, position: &Position) -> bool {
        let log_bytes = match fs::metadata(self.log_path(position.generation)) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(_) => return false,
        };
        log_bytes == position.log_bytes && self.generations().first() == Some(&position.generation)
    }

    /// Removes what writers that were killed have left.
    pub(super) fn remove_leftovers(&self) {
        for path in self.paths() {
            if path.extension().is_some_and(|extension| extension == "tmp") {
                drop(fs::remove_file(path));
            }
        }
    }

    fn load_generation(&self, generation: u64) -> Result<(Saved, Position), Unusable> {
        let bytes = fs::read(self.base_path(generation))?;
        let salt = read_header(&bytes, BASE_MAGIC, generation)?;
        let key =
            self.key.for_file(BASE_LABEL, generation, &salt).map_err(|_e| Unusable::Damaged)?;
        let mut saved = read_base(&key, bytes.get(HEADER_BYTES..).unwrap_or_default())?;
        let mut position = Position {
            generation,
            salt,
            base_bytes: length(&bytes),
            log_bytes: 0,
            next_record: 0,
            revision: saved.revision,
        };
        drop(bytes);
        let deltas = self.read_log(&mut position);
        replay(&mut saved, deltas);
        Ok((saved, position))
    }

    /// The deltas of a generation's log, up to the first that is not whole.
    fn read_log(&self, position: &mut Position) -> Vec<v1::Delta> {
        let path = self.log_path(position.generation);
        let warn = |problem: &str| {
            let path = path.display();
            tracing::warn!(%path, problem, "the log of deltas on disk is used up to its fault");
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                warn(&error.to_string());
                return Vec::new();
            }
        };
        let key = match read_header(&bytes, LOG_MAGIC, position.generation) {
            Ok(salt) if salt == position.salt => {
                self.key.for_file(LOG_LABEL, position.generation, &salt)
            }
            Ok(_) | Err(_) => {
                warn("its beginning is damaged");
                return Vec::new();
            }
        };
        let Ok(key) = key else { return Vec::new() };
        let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let mut deltas = Vec::new();
        loop {
            // Whatever happens to the log from here on, this much of it is good.
            position.log_bytes = length(&bytes).saturating_sub(length(rest));
            let content = match key.open(position.next_record, &mut rest) {
                Frame::Content(content) => content,
                Frame::End => break,
                Frame::Torn => {
                    warn("its last record is torn");
                    break;
                }
                Frame::Damaged => {
                    warn("a record is damaged");
                    break;
                }
            };
            match decode_delta(&content) {
                Some(delta) if delta.from == position.revision => {
                    position.revision = delta.to;
                    position.next_record = position.next_record.saturating_add(1);
                    deltas.push(delta);
                }
                Some(_) | None => {
                    warn("a record does not follow the one before");
                    break;
                }
            }
        }
        deltas
    }

    fn write_whole(
        &self,
        path: &Path,
        (generation, salt): (u64, [u8; SALT_BYTES]),
        saved: Saved,
    ) -> io::Result<u64> {
        let key = self.key.for_file(BASE_LABEL, generation, &salt).map_err(io::Error::other)?;
        drop(fs::remove_file(path));
        let mut file = BufWriter::new(seal::create_private(path)?);
        file.write_all(&header(BASE_MAGIC, generation, &salt))?;
        let mut pieces = Pieces::new(key, file);
        pieces.seal(&saved.facts())?;
        let mut encoder = zstd::stream::write::Encoder::new(pieces, COMPRESSION_LEVEL)?;
        for resource in saved.resources {
            // Lists that are written one after another read as one list.
            let list = v1::ResourceList { resources: vec![resource] };
            encoder.write_all(&Zeroizing::new(list.encode_to_vec()))?;
        }
        let file = encoder.finish()?.finish()?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }

    /// The generations that have a base, newest first.
    fn generations(&self) -> Vec<u64> {
        let mut generations: Vec<u64> =
            self.paths().into_iter().filter_map(|path| generation_of(&path, "base-")).collect();
        generations.sort_unstable_by(|a, b| b.cmp(a));
        generations
    }

    fn remove_all_but(&self, newest: u64, kept: Option<u64>) {
        for path in self.paths() {
            let generation =
                ["base-", "log-"].iter().find_map(|prefix| generation_of(&path, prefix));
            if generation.is_some_and(|found| found != newest && Some(found) != kept) {
                // What stays for now goes with a later generation.
                drop(fs::remove_file(path));
            }
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten();
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
    }

    fn base_path(&self, generation: u64) -> PathBuf {
        self.folder.join(format!("base-{generation:016x}"))
    }

    fn log_path(&self, generation: u64) -> PathBuf {
        self.folder.join(format!("log-{generation:016x}"))
    }
}

impl Position {
    /// Whether a new base costs less than going on with the log.
    pub(super) fn is_outgrown(&self) -> bool {
        self.log_bytes > SMALL_LOG_BYTES.max(self.base_bytes / 2)
    }
}

impl Saved {
    fn facts(&self) -> Zeroizing<Vec<u8>> {
        let mut facts = Zeroizing::new(Vec::with_capacity(FACTS_BYTES));
        facts.extend_from_slice(&self.epoch.to_le_bytes());
        facts.extend_from_slice(&self.revision.to_le_bytes());
        facts.extend_from_slice(self.digest.as_bytes());
        facts.extend_from_slice(&*self.credential_key);
        facts
    }

    fn from_facts(facts: &[u8]) -> Option<Self> {
        let (epoch, rest) = facts.split_first_chunk::<8>()?;
        let (revision, rest) = rest.split_first_chunk::<8>()?;
        let (digest, rest) = rest.split_first_chunk::<32>()?;
        let credential_key = <[u8; 32]>::try_from(rest).ok()?;
        Some(Self {
            epoch: u64::from_le_bytes(*epoch),
            revision: u64::from_le_bytes(*revision),
            digest: Digest::from_bytes(digest)?,
            credential_key: Zeroizing::new(credential_key),
            resources: Vec::new(),
        })
    }
}

fn read_base(key: &FrameKey, mut rest: &[u8]) -> Result<Saved, Unusable> {
    let mut number = 0;
    let mut next = || {
        let frame = key.open(number, &mut rest);
        number += 1;
        match frame {
            Frame::Content(content) => Ok(content),
            Frame::End | Frame::Torn => Err(Unusable::Torn),
            Frame::Damaged => Err(Unusable::Damaged),
        }
    };
    let mut saved = Saved::from_facts(&next()?).ok_or(Unusable::Damaged)?;
    let mut packed = Zeroizing::new(Vec::new());
    loop {
        let piece = next()?;
        let (flag, bytes) = piece.split_first().ok_or(Unusable::Damaged)?;
        packed.extend_from_slice(bytes);
        if *flag == pieces::LAST {
            break;
        }
    }
    if !rest.is_empty() {
        return Err(Unusable::Damaged);
    }
    // From a slice, so that each specification is of its own: a resource that outlives the others
    // does not hold all of their memory.
    let decoded = unpack(packed.as_slice())?;
    let list = v1::ResourceList::decode(decoded.as_slice()).map_err(|_error| Unusable::Damaged)?;
    saved.resources = list.resources;
    Ok(saved)
}

fn decode_delta(packed: &[u8]) -> Option<v1::Delta> {
    v1::Delta::decode(unpack(packed).ok()?.as_slice()).ok()
}

/// Brings a base up to the last delta.
fn replay(saved: &mut Saved, deltas: Vec<v1::Delta>) {
    if deltas.is_empty() {
        return;
    }
    let resources = std::mem::take(&mut saved.resources).into_iter();
    let mut held: HashMap<v1::ResourceId, v1::Resource> =
        resources.map(|resource| (wire::id_of(&resource), resource)).collect();
    for delta in deltas {
        for id in &delta.removals {
            held.remove(id);
        }
        for resource in delta.upserts {
            held.insert(wire::id_of(&resource), resource);
        }
        saved.revision = delta.to;
        saved.digest = Digest::from_bytes(&delta.digest).unwrap_or_default();
    }
    saved.resources = held.into_values().collect();
}

fn header(magic: [u8; 8], generation: u64, salt: &[u8; SALT_BYTES]) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&magic);
    header.extend_from_slice(&FORMAT.to_le_bytes());
    header.extend_from_slice(&generation.to_le_bytes());
    header.extend_from_slice(salt);
    header
}

fn read_header(
    bytes: &[u8],
    magic: [u8; 8],
    generation: u64,
) -> Result<[u8; SALT_BYTES], Unusable> {
    let (said_magic, rest) = bytes.split_first_chunk::<8>().ok_or(Unusable::Torn)?;
    let (format, rest) = rest.split_first_chunk::<4>().ok_or(Unusable::Torn)?;
    let (said_generation, rest) = rest.split_first_chunk::<8>().ok_or(Unusable::Torn)?;
    let (salt, _) = rest.split_first_chunk::<SALT_BYTES>().ok_or(Unusable::Torn)?;
    if *said_magic != magic {
        return Err(Unusable::Damaged);
    }
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(Unusable::Format(format));
    }
    if u64::from_le_bytes(*said_generation) != generation {
        return Err(Unusable::Damaged);
    }
    Ok(*salt)
}

fn open_log(path: &Path) -> io::Result<File> {
    match fs::OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => seal::create_private(path),
        opened => opened,
    }
}

fn generation_of(path: &Path, prefix: &str) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_prefix(prefix)?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
