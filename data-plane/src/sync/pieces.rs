//! A long content as a sequence of sealed frames, and its compression.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};

use zeroize::Zeroizing;

use super::seal::FrameKey;

const PIECE_BYTES: usize = 1 << 20;
const MORE: u8 = 0;
/// The first byte of the last piece.
pub(super) const LAST: u8 = 1;
/// What a configuration, or a delta, is at most once it is decoded.
pub(super) const DECODED_LIMIT_BYTES: u64 = 1 << 30;

/// Cuts what is written to it into pieces and seals them.
pub(super) struct Pieces {
    key: FrameKey,
    file: BufWriter<File>,
    number: u64,
    /// The flag of the piece, then its bytes so far; empty before the first byte.
    held: Zeroizing<Vec<u8>>,
}

impl Pieces {
    /// Goes on after what stands in `file`.
    pub(super) fn new(key: FrameKey, file: BufWriter<File>) -> Self {
        Self { key, file, number: 0, held: Zeroizing::new(Vec::new()) }
    }

    /// Seals a piece of its own.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(super) fn seal(&mut self, content: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        self.key.seal(self.number, content, &mut frame)?;
        self.number = self.number.saturating_add(1);
        self.file.write_all(&frame)
    }

    fn seal_held(&mut self, flag: u8) -> io::Result<()> {
        let mut piece = std::mem::take(&mut self.held);
        match piece.first_mut() {
            Some(first) => *first = flag,
            None => piece.push(flag),
        }
        self.seal(&piece)
    }

    /// Seals what is left, as the last piece.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(super) fn finish(mut self) -> io::Result<BufWriter<File>> {
        self.seal_held(LAST)?;
        Ok(self.file)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            self.held.reserve_exact(1 + PIECE_BYTES);
            self.held.push(MORE);
        }
        let room = (1 + PIECE_BYTES).saturating_sub(self.held.len());
        let taken = bytes.split_at_checked(room).map_or(bytes, |(taken, _)| taken);
        self.held.extend_from_slice(taken);
        if self.held.len() > PIECE_BYTES {
            self.seal_held(MORE)?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decodes a zstd frame, of not more than [`DECODED_LIMIT_BYTES`].
///
/// # Errors
///
/// It is no such frame, or too long.
pub(super) fn unpack(packed: impl io::Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut decoded = Zeroizing::new(Vec::new());
    let mut decoder = zstd::stream::read::Decoder::new(packed)?.take(DECODED_LIMIT_BYTES + 1);
    decoder.read_to_end(&mut decoded)?;
    if u64::try_from(decoded.len()).unwrap_or(u64::MAX) > DECODED_LIMIT_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 GiB once decoded"));
    }
    Ok(decoded)
}
