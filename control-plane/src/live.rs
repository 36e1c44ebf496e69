//! The configuration that is in force, in memory: what the admin API reads and the stream sends.
//!
//! A state is persistent: the next one shares all that a change does not touch. It moves forward one
//! revision at a time and never skips one, whether the change was made here or read from the log.

use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rpds::RedBlackTreeMapSync;
use tollgate_model::wire::{Digest, resource_to_wire};
use tollgate_model::{FromText, Kind, Name, ResourceId};
use tollgate_policy::{Checked, Set};
use tollgate_proto::v1;

use crate::content::{Candidate, ContentError, Contents, Labels};
use crate::fanout::{Fanout, Published};
use crate::store::{Change, Content, Revision, Row, Store, StoreError};

/// One resource in force.
pub(crate) struct Entry {
    /// With the revision that last changed it.
    pub(crate) checked: Arc<Checked>,
    /// The specification as nodes get it.
    pub(crate) sent: Arc<str>,
    pub(crate) labels: Arc<Labels>,
    /// Who looks after it: `console`, `cli`, `import`, `api`.
    pub(crate) managed_by: Arc<str>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// The specification as the store keeps it.
    pub(crate) kept: Arc<str>,
}

impl Entry {
    /// The message that nodes get.
    pub(crate) fn wire(&self) -> v1::Resource {
        resource_to_wire(&self.checked.id, self.checked.version, &self.sent)
    }
}

/// All resources at one revision.
#[derive(Clone)]
pub(crate) struct LiveState {
    revision: u64,
    committed_at: Timestamp,
    set: Set,
    entries: RedBlackTreeMapSync<ResourceId, Arc<Entry>>,
    digest: Digest,
}

impl Default for LiveState {
    fn default() -> Self {
        Self {
            revision: 0,
            committed_at: Timestamp::UNIX_EPOCH,
            set: Set::default(),
            entries: RedBlackTreeMapSync::new_sync(),
            digest: Digest::default(),
        }
    }
}

impl LiveState {
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn committed_at(&self) -> Timestamp {
        self.committed_at
    }

    pub(crate) fn set(&self) -> &Set {
        &self.set
    }

    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.size()
    }

    pub(crate) fn get(&self, id: &ResourceId) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    /// Every resource, by kind, tenant and name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// The resources of one kind that a tenant owns, by name; those after a name, where one is given.
    pub(crate) fn of_tenant<'a>(
        &'a self,
        kind: Kind,
        tenant: &Name,
        after: Option<&Name>,
    ) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        // `0` is the first of all names.
        let first = || Name::from_text("0").unwrap_or_else(|_rejected| Name::default_name());
        let start = match after {
            Some(after) => Bound::Excluded(ResourceId::new(kind, tenant.clone(), after.clone())),
            None => Bound::Included(ResourceId::new(kind, tenant.clone(), first())),
        };
        let tenant = tenant.clone();
        self.entries
            .range((start, Bound::Unbounded))
            .take_while(move |(id, _)| id.kind == kind && id.tenant == tenant)
            .map(|(_, entry)| entry)
    }

    /// The state as it will be at the next revision, still without its changes.
    pub(crate) fn next(&self, committed_at: Timestamp) -> Self {
        Self { revision: self.revision + 1, committed_at, ..self.clone() }
    }

    /// Writes a resource at this state's revision.
    pub(crate) fn put(&mut self, candidate: Candidate, managed_by: Arc<str>) {
        let Candidate { id, labels, mut checked, sent, kept } = candidate;
        checked.version = self.revision;
        let created_at = self.entries.get(&id).map_or(self.committed_at, |old| old.created_at);
        self.put_entry(Entry {
            checked: Arc::new(checked),
            sent,
            labels: Arc::new(labels),
            managed_by,
            created_at,
            updated_at: self.committed_at,
            kept,
        });
    }

    fn put_entry(&mut self, entry: Entry) {
        let id = entry.checked.id.clone();
        if let Some(old) = self.entries.get(&id) {
            self.digest.toggle(&old.wire());
        }
        self.digest.toggle(&entry.wire());
        self.set.insert(Arc::clone(&entry.checked));
        self.entries.insert_mut(id, Arc::new(entry));
    }

    /// Takes a resource out.
    pub(crate) fn take_out(&mut self, id: &ResourceId) {
        if let Some(old) = self.entries.get(id) {
            self.digest.toggle(&old.wire());
            self.set.remove(id);
            self.entries.remove_mut(id);
        }
    }
}

/// What is committed, but cannot be run by this version of the program.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The store did not answer, or a row does not read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A resource is not one that this program takes.
    #[error(
        "{what} of revision {revision} cannot be read by this version of Tollgate; a newer one wrote it"
    )]
    Unknown {
        /// Which resource.
        what: String,
        /// The revision that wrote it.
        revision: u64,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The state in force, and all who follow it.
pub(crate) struct Live {
    contents: Contents,
    state: ArcSwap<LiveState>,
    fanout: Fanout,
    /// Held while a revision takes effect, so that all see them in order.
    turn: Mutex<()>,
}

impl Live {
    /// Reads all that the store holds.
    ///
    /// # Errors
    ///
    /// The first resource that does not read.
    pub(crate) async fn load(
        store: &Store,
        contents: Contents,
        fanout: Fanout,
    ) -> Result<Self, LiveError> {
        let mut state = LiveState::default();
        let mut failed = None;
        let revision = store
            .load_pages(|page| {
                for row in page {
                    if failed.is_none() {
                        failed = load_row(&mut state, &contents, row).err();
                    }
                }
            })
            .await?;
        if let Some(error) = failed {
            return Err(error);
        }
        state.revision = revision;
        let live =
            Self { contents, state: ArcSwap::from_pointee(state), fanout, turn: Mutex::new(()) };
        Ok(live)
    }

    /// The state in force.
    pub(crate) fn state(&self) -> Arc<LiveState> {
        self.state.load_full()
    }

    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    pub(crate) fn fanout(&self) -> &Fanout {
        &self.fanout
    }

    /// Puts a committed state in force and tells all who follow. Does nothing where it is in force
    /// already: the log may have been faster.
    pub(crate) fn publish(&self, next: LiveState, changed: Vec<ResourceId>) {
        let before = self.state();
        if before.revision + 1 != next.revision {
            return;
        }
        let published = Arc::new(Published::new(&before, &next, changed));
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.load().revision + 1 == next.revision {
            // Kept before it is in force: who reads the state finds in the tail all that led to it.
            self.fanout.keep(Arc::clone(&published));
            self.state.store(Arc::new(next));
            self.fanout.send(published);
        }
    }

    /// Takes over revisions from the log, in order; those that are in force already are passed over.
    ///
    /// # Errors
    ///
    /// The first resource that does not read; the revisions before it are in force.
    pub(crate) fn follow(&self, revisions: &[Revision]) -> Result<(), LiveError> {
        for revision in revisions {
            let state = self.state();
            if revision.number != state.revision + 1 {
                continue;
            }
            let mut next = state.next(revision.at);
            let mut changed = Vec::with_capacity(revision.changes.len());
            for change in &revision.changes {
                changed.push(self.follow_one(&mut next, change)?);
            }
            self.publish(next, changed);
        }
        Ok(())
    }

    fn follow_one(&self, next: &mut LiveState, change: &Change) -> Result<ResourceId, LiveError> {
        let unknown = |source| LiveError::Unknown {
            what: format!("{} {}/{}", change.kind, change.tenant, change.name),
            revision: next.revision,
            source,
        };
        let id = id_of(&change.kind, &change.tenant, &change.name).map_err(unknown)?;
        match &change.content {
            Content::Create { after } | Content::Update { after, .. } => {
                let candidate = self.contents.kept(id.clone(), after);
                let candidate = candidate.map_err(|error| match error {
                    ContentError::Store(error) => LiveError::Store(error),
                    error @ (ContentError::Faults(_) | ContentError::Seal(_)) => {
                        unknown(Box::new(error))
                    }
                })?;
                next.put(candidate, Arc::from(change.managed_by.as_str()));
            }
            Content::Delete { .. } => next.take_out(&id),
        }
        Ok(id)
    }
}

fn load_row(state: &mut LiveState, contents: &Contents, row: Row) -> Result<(), LiveError> {
    let unknown = |source| LiveError::Unknown {
        what: format!("{} {}/{}", row.kind, row.tenant, row.name),
        revision: row.version,
        source,
    };
    let id = id_of(&row.kind, &row.tenant, &row.name).map_err(unknown)?;
    let candidate = contents.kept(id, &row.spec).map_err(|error| match error {
        ContentError::Store(error) => LiveError::Store(error),
        error @ (ContentError::Faults(_) | ContentError::Seal(_)) => unknown(Box::new(error)),
    })?;
    let Candidate { labels, mut checked, sent, kept, .. } = candidate;
    checked.version = row.version;
    state.committed_at = state.committed_at.max(row.updated_at);
    state.put_entry(Entry {
        checked: Arc::new(checked),
        sent,
        labels: Arc::new(labels),
        managed_by: Arc::from(row.managed_by),
        created_at: row.created_at,
        updated_at: row.updated_at,
        kept,
    });
    Ok(())
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The id of what the store names.
pub(crate) fn id_of(kind: &str, tenant: &str, name: &str) -> Result<ResourceId, Cause> {
    let kind =
        Kind::from_name(kind).ok_or_else(|| Cause::from(format!("there is no kind `{kind}`")))?;
    let (tenant, name) = (Name::from_text(tenant)?, Name::from_text(name)?);
    Ok(ResourceId::new(kind, tenant, name))
}
