//! What the node holds, with the facts that the plan does not need.

use tollgate_model::wire::Digest;
use zeroize::Zeroizing;

use super::last_good::Saved;
use crate::plan::{Configurator, Update};

/// The configuration that the node runs, and where it comes from.
pub(super) struct Holding {
    configurator: Configurator,
    /// 0: nothing is held.
    epoch: u64,
    credential_key: Zeroizing<[u8; 32]>,
}

impl Holding {
    /// Nothing yet.
    pub(super) fn new(configurator: Configurator) -> Self {
        Self { configurator, epoch: 0, credential_key: Zeroizing::new([0; 32]) }
    }

    /// What runs it.
    pub(super) fn configurator(&self) -> &Configurator {
        &self.configurator
    }

    /// Which store it is from; 0: nothing is held.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The revision that is held.
    pub(super) fn revision(&self) -> u64 {
        self.configurator.revision()
    }

    /// The digest of what is held.
    pub(super) fn digest(&self) -> Digest {
        self.configurator.digest()
    }

    /// Takes over a whole configuration. Slow: its cost follows its size.
    pub(super) fn take_whole(&mut self, epoch: u64, credential_key: &[u8; 32], update: Update) {
        self.set_credential_key(credential_key);
        self.configurator.apply(update);
        self.epoch = epoch;
    }

    /// Applies a change; its cost follows what it touches.
    pub(super) fn apply(&mut self, update: Update) {
        self.configurator.apply(update);
    }

    /// Sets the key that callers' keys are hashed under; says whether it is another than before.
    pub(super) fn set_credential_key(&mut self, key: &[u8; 32]) -> bool {
        let is_new = *self.credential_key != *key;
        self.credential_key = Zeroizing::new(*key);
        self.configurator.set_credential_key(*key);
        is_new
    }

    /// Everything, for the disk; none where nothing is held.
    pub(super) fn to_saved(&self) -> Option<Saved> {
        (self.epoch != 0).then(|| Saved {
            epoch: self.epoch,
            revision: self.revision(),
            digest: self.digest(),
            credential_key: self.credential_key.clone(),
            resources: self.configurator.resources().cloned().collect(),
        })
    }
}
