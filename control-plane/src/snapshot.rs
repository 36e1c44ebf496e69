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
        committed_unix_micros: u64::try_from(state.committed_at().as_microsecond())
            .unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tollgate_model::wire::Digest;
    use tollgate_model::{Document, FromText, Kind, Name};

    use super::*;
    use crate::content::{Contents, Labels};
    use crate::seal::{ClusterKeys, MasterKey, Sealer};
    use crate::store::Store;

    type Key = (String, String, String);

    /// What a node holds.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Held(BTreeMap<Key, v1::Resource>);

    impl Held {
        fn of(resources: impl IntoIterator<Item = v1::Resource>) -> Self {
            let key = |resource: &v1::Resource| {
                (resource.kind.clone(), resource.tenant.clone(), resource.name.clone())
            };
            Self(resources.into_iter().map(|resource| (key(&resource), resource)).collect())
        }

        fn apply(mut self, delta: v1::Delta) -> Self {
            self.0.extend(Self::of(delta.upserts).0);
            for id in delta.removals {
                self.0.remove(&(id.kind, id.tenant, id.name));
            }
            self
        }

        fn digest(&self) -> Digest {
            let mut digest = Digest::default();
            self.0.values().for_each(|resource| digest.toggle(resource));
            digest
        }
    }

    fn contents() -> Contents {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let url = format!("sqlite://{}/store.db", folder.path().display());
            let store = Store::open(&url).await.unwrap();
            let sealer = Arc::new(Sealer::new(&MasterKey::from_text(&"0".repeat(64)).unwrap()));
            let keys = ClusterKeys::open(&store, &sealer).await.unwrap();
            Contents::new(sealer, Arc::new(keys))
        })
    }

    /// A resource out of few, so that they are often changed: what it says, or that it is gone.
    fn operation() -> impl Strategy<Value = (Kind, u8, Option<u8>)> {
        let kind = prop_oneof![Just(Kind::Upstream), Just(Kind::Secret), Just(Kind::Application)];
        (kind, 0..5_u8, proptest::option::weighted(0.7, 0..3_u8))
    }

    fn spec(kind: Kind, n: u8) -> Value {
        match kind {
            Kind::Upstream => {
                json!({ "endpoints": [{ "url": format!("http://h:{}", 1000 + u32::from(n)) }] })
            }
            Kind::Secret => json!({ "description": "d", "value": n }),
            Kind::Application
            | Kind::Tenant
            | Kind::Certificate
            | Kind::Gateway
            | Kind::PolicySet
            | Kind::Api
            | Kind::Credential => json!({ "description": n.to_string() }),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_delta_leads_from_any_revision_to_any_later_one(
            revisions in proptest::collection::vec(proptest::collection::vec(operation(), 1..6), 1..12),
            from in any::<prop::sample::Index>(),
            to in any::<prop::sample::Index>(),
        ) {
            let contents = contents();
            let mut states = vec![Arc::new(LiveState::default())];
            let mut changed: Vec<BTreeSet<ResourceId>> = Vec::new();
            for revision in &revisions {
                let mut next = states.last().unwrap().next(Timestamp::UNIX_EPOCH);
                let mut touched = BTreeSet::new();
                for (kind, name, says) in revision {
                    let name = Name::from_text(&format!("n{name}")).unwrap();
                    let id = ResourceId::new(*kind, Name::default_name(), name);
                    touched.insert(id.clone());
                    match says {
                        Some(n) => {
                            let document = Document { id, labels: Labels::new(), spec: spec(*kind, *n) };
                            next.put(contents.given(document, None).unwrap(), Arc::from("api"));
                        }
                        None => next.take_out(&id),
                    }
                }
                states.push(Arc::new(next));
                changed.push(touched);
            }
            let (a, b) = (from.index(states.len()), to.index(states.len()));
            let (a, b) = (a.min(b), a.max(b));
            let held = |state: &LiveState| Held::of(state.iter().map(|entry| entry.wire()));
            let between: BTreeSet<ResourceId> = changed[a..b].iter().flatten().cloned().collect();
            let between: Vec<ResourceId> = between.into_iter().collect();
            let delta = delta(states[a].revision(), &between, &states[b]);
            prop_assert_eq!(&delta.digest[..], &states[b].digest().as_bytes()[..]);
            let applied = held(&states[a]).apply(delta);
            prop_assert_eq!(&applied, &held(&states[b]));
            prop_assert_eq!(applied.digest(), *states[b].digest());

            let snapshot = make(&states[b]).unwrap();
            let mut whole = Vec::new();
            for chunk in &snapshot.chunks {
                let Some(v1::control_message::Message::Snapshot(chunk)) = &chunk.message else {
                    return Err(TestCaseError::fail("a piece of something else"));
                };
                whole.extend_from_slice(&chunk.data);
            }
            let list = zstd::decode_all(whole.as_slice()).unwrap();
            let list = v1::ResourceList::decode(list.as_slice()).unwrap();
            prop_assert_eq!(Held::of(list.resources), held(&states[b]));
        }
    }
}
