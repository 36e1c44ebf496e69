//! A node without its request path, and what it is sent.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use prost::Message as _;
use tokio::runtime::Handle;
use tollgate_data_plane::explain::Explainer;
use tollgate_data_plane::plan::Configurator;
use tollgate_data_plane::settings::Settings;
use tollgate_data_plane::sync::{self, Load, Sources, StartError, SyncHandle};
use tollgate_model::wire::{Digest, id_of};
use tollgate_model::{FromText, Issues, Name};
use tollgate_proto::v1;
use tollgate_proto::v1::control_message::Message;

use crate::plane::{Plane, SECRET, Session, eventually};

/// Resources as the control plane has them.
#[derive(Clone, Default)]
pub(crate) struct Store {
    pub(crate) revision: u64,
    pub(crate) resources: BTreeMap<String, v1::Resource>,
}

impl Store {
    /// A store of some upstreams.
    pub(crate) fn with(names: &[&str]) -> Self {
        let mut store = Self { revision: 3, ..Self::default() };
        for name in names {
            store.put(name);
        }
        store
    }

    fn put(&mut self, name: &str) -> v1::Resource {
        let port = 9000 + self.revision;
        let spec = format!("{{\"endpoints\":[{{\"url\":\"http://127.0.0.1:{port}\"}}]}}");
        let resource = v1::Resource {
            kind: "Upstream".to_owned(),
            tenant: "default".to_owned(),
            name: name.to_owned(),
            version: self.revision,
            spec: spec.into(),
        };
        self.resources.insert(name.to_owned(), resource.clone());
        resource
    }

    pub(crate) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        self.resources.values().for_each(|resource| digest.toggle(resource));
        digest
    }

    /// The next revision: one resource is written, and one removed where it is there.
    pub(crate) fn change(&mut self, written: &str, removed: Option<&str>) -> v1::Delta {
        let from = self.revision;
        self.revision += 1;
        let upserts = vec![self.put(written)];
        let removed = removed.and_then(|name| self.resources.remove(name));
        v1::Delta {
            from,
            to: self.revision,
            upserts,
            removals: removed.iter().map(id_of).collect(),
            digest: self.digest().as_bytes().to_vec().into(),
            committed_unix_micros: 1,
        }
    }

    /// A snapshot in so many pieces.
    pub(crate) fn snapshot(&self, pieces: usize) -> Vec<Message> {
        let list = v1::ResourceList { resources: self.resources.values().cloned().collect() };
        let packed = zstd::encode_all(list.encode_to_vec().as_slice(), 1).unwrap();
        let step = packed.len().div_ceil(pieces);
        let chunks: Vec<&[u8]> = packed.chunks(step).collect();
        let last = chunks.len() - 1;
        let message = |(index, data): (usize, &&[u8])| {
            Message::Snapshot(v1::SnapshotChunk {
                revision: self.revision,
                digest: self.digest().as_bytes().to_vec().into(),
                index: index.try_into().unwrap(),
                last: index == last,
                data: data.to_vec().into(),
            })
        };
        chunks.iter().enumerate().map(message).collect()
    }

    /// Sends it whole, and waits for the acknowledgement.
    pub(crate) async fn give(&self, session: &mut Session) -> v1::Applied {
        for message in self.snapshot(2) {
            session.say(message).await;
        }
        let applied = session.applied().await;
        assert_eq!(
            (applied.revision, &*applied.digest),
            (self.revision, &self.digest().as_bytes()[..])
        );
        applied
    }

    /// Whether a node holds exactly this.
    pub(crate) fn is_held_by(&self, node: &SyncHandle) -> bool {
        let overview = node.overview()();
        let held: BTreeMap<String, u64> =
            overview.resources.iter().map(|(id, version)| (id.name.clone(), *version)).collect();
        let versions =
            self.resources.values().map(|resource| (resource.name.clone(), resource.version));
        overview.revision == self.revision
            && overview.digest == *self.digest().as_bytes()
            && held == versions.collect()
    }
}

/// What a node of a data folder is started with; `plane` is where it connects.
pub(crate) fn settings(data: &Path, plane: &Plane) -> Settings {
    Settings {
        join: Some(plane.script.authority.token(SECRET).parse().unwrap()),
        ..settings_without_token(data, &[plane.url()])
    }
}

pub(crate) fn settings_without_token(data: &Path, planes: &[String]) -> Settings {
    Settings {
        data: data.to_owned(),
        control_plane: planes.iter().map(|plane| plane.parse().unwrap()).collect(),
        node: Name::from_text("node-1").unwrap(),
        ..Settings::default()
    }
}

pub(crate) fn try_start(settings: &Settings) -> Result<SyncHandle, StartError> {
    let configurator = Configurator::new(
        settings.gateway.clone(),
        Box::new(|_gateway, _unserved| Issues::default()),
    );
    let load = Load { open_connections: 4, requests_total: 5, resident_bytes: 6 };
    let sources =
        Sources { cache: None, load: Arc::new(move || load), explainer: Explainer::default() };
    sync::start(settings, configurator, sources, &Handle::current())
}

pub(crate) fn start(settings: &Settings) -> SyncHandle {
    try_start(settings).unwrap()
}

/// A node that has joined and holds `store`, with its session.
pub(crate) async fn started_with(
    store: &Store,
    data: &Path,
    plane: &mut Plane,
) -> (SyncHandle, Session) {
    let node = start(&settings(data, plane));
    let mut session = plane.session().await;
    session.welcome().await;
    store.give(&mut session).await;
    (node, session)
}

/// Waits until a file of the node's copy on disk has grown beyond `bytes`.
pub(crate) async fn written(data: &Path, prefix: &str, bytes: u64) {
    eventually(|| {
        std::fs::read_dir(data.join("config")).ok()?.find_map(|entry| {
            let entry = entry.ok()?;
            let is_it = entry.file_name().to_str()?.starts_with(prefix)
                && entry.path().extension().is_none()
                && entry.metadata().ok()?.len() > bytes;
            is_it.then_some(())
        })
    })
    .await;
}

/// Waits until the node says this of its control plane.
pub(crate) async fn problem_of(node: &SyncHandle, part: &str) -> String {
    let readiness = node.readiness();
    eventually(|| {
        readiness.problem().filter(|problem| problem.contains(part)).map(|p| p.to_string())
    })
    .await
}
