//! What goes down the stream: a whole configuration in pieces, or the difference between two revisions.

use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::Mutex;
use tollgate_model::ResourceId;
use tollgate_model::wire::id_to_wire;
use tollgate_proto::v1;

use crate::live::LiveState;

/// The most bytes of one piece: well below what a gRPC client takes by default (4 MiB).
const CHUNK_BYTES: usize = 1 << 20;
/// The default of zstd: level 9 would save a tenth and take four times as long.
const LEVEL: i32 = 3;
/// Resources that are compressed at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// The difference between the revision `from` and a state, where `changed` names all that differs.
///
/// Applied to what a node holds at `from` it gives the state. A removal may name what was never there.
pub(crate) fn delta(from: u64, changed: &[ResourceId], state: &LiveState) -> v1::Delta {
    let (mut upserts, mut removals) = (Vec::new(), Vec::new());
    for id in changed {
        match state.get(id) {
            Some(entry) => upserts.push(entry.wire()),
            None => removals.push(id_to_wire(id)),
        }
    }
    v1::Delta {
        from,
        to: state.revision(),
        upserts,
        removals,
        digest: Bytes::copy_from_slice(state.digest().as_bytes()),
        committed_unix_micros: u64::try_from(state.committed_at().as_microsecond()).unwrap_or_default(),
    }
}

/// A whole configuration, encoded and compressed.
pub(crate) struct Snapshot {
    pub(crate) revision: u64,
    /// In order; the pieces share one buffer.
    pub(crate) chunks: Vec<v1::ControlMessage>,
}

/// The newest snapshot, made once for all streams that need one.
#[derive(Default)]
pub(crate) struct Snapshots {
    newest: Mutex<Option<Arc<Snapshot>>>,
}

impl Snapshots {
    /// A snapshot of this state, or a newer one that is there already. Who asks while one is being made
    /// waits for it. `serves` says whether an older one does, too.
    ///
    /// # Errors
    ///
    /// Where it cannot be compressed: there is no memory left.
    pub(crate) async fn get(
        &self,
        state: Arc<LiveState>,
        serves: impl Fn(u64) -> bool,
    ) -> io::Result<Arc<Snapshot>> {
        let mut newest = self.newest.lock().await;
        if let Some(snapshot) = newest.as_ref()
            && (snapshot.revision >= state.revision() || serves(snapshot.revision))
        {
            return Ok(Arc::clone(snapshot));
        }
        let made = tokio::task::spawn_blocking(move || make(&state)).await;
        let snapshot = Arc::new(made.map_err(io::Error::other)??);
        *newest = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }
}

fn make(state: &LiveState) -> io::Result<Snapshot> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
    // A node that reads a torn snapshot learns it from the frame already.
    encoder.include_checksum(true)?;
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    for entry in state.iter() {
        // Lists that are encoded one after the other read as one list (protobuf, "last one wins").
        let list = v1::ResourceList { resources: vec![entry.wire()] };
        list.encode(&mut buffer).map_err(io::Error::other)?;
        if buffer.len() >= BUFFER_BYTES {
            encoder.write_all(&buffer)?;
            buffer.clear();
        }
    }
    encoder.write_all(&buffer)?;
    let whole = Bytes::from(encoder.finish()?);
    Ok(Snapshot { revision: state.revision(), chunks: cut(state, &whole) })
}

fn cut(state: &LiveState, whole: &Bytes) -> Vec<v1::ControlMessage> {
    let count = whole.len().div_ceil(CHUNK_BYTES).max(1);
    let digest = Bytes::copy_from_slice(state.digest().as_bytes());
    let piece = |i: usize| {
        let start = i * CHUNK_BYTES;
        let chunk = v1::SnapshotChunk {
            revision: state.revision(),
            digest: digest.clone(),
            index: u32::try_from(i).unwrap_or(u32::MAX),
            last: i + 1 == count,
            data: whole.slice(start..whole.len().min(start + CHUNK_BYTES)),
        };
        v1::ControlMessage { message: Some(v1::control_message::Message::Snapshot(chunk)) }
    };
    (0..count).map(piece).collect()
}
