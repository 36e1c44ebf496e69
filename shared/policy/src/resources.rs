//! The resources of a configuration, and who needs whom: all that running one takes.
//!
//! Persistent: a copy costs nothing, and a change costs what it touches.

use std::hash::Hash;
use std::sync::Arc;

use rpds::{HashTrieMapSync, HashTrieSetSync};
use tollgate_model::api::Api;
use tollgate_model::host::HostPattern;
use tollgate_model::{Name, ResourceId, Spec};

use crate::check::Checked;

/// Resources that were each checked by themselves.
#[derive(Clone)]
pub struct Resources {
    by_id: HashTrieMapSync<ResourceId, Arc<Checked>>,
    /// Who needs a resource, whether that one is there or not.
    referrers: Index<ResourceId>,
}

/// The resources that have something in common, by what that is.
pub(crate) type Index<K> = HashTrieMapSync<K, HashTrieSetSync<ResourceId>>;

/// The hosts of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts<'a> {
    /// Every host that no other API claims.
    Any,
    /// These; none at all for a tenant that owns no host.
    These(&'a [HostPattern]),
}

impl Default for Resources {
    fn default() -> Self {
        Self { by_id: HashTrieMapSync::new_sync(), referrers: Index::new_sync() }
    }
}

impl Resources {
    /// Finds a resource.
    #[must_use]
    pub fn get(&self, id: &ResourceId) -> Option<&Arc<Checked>> {
        self.by_id.get(id)
    }

    /// Every resource, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Checked>> {
        self.by_id.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.size()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The resources that need this one.
    pub fn referrers(&self, id: &ResourceId) -> impl Iterator<Item = &ResourceId> {
        self.referrers.get(id).into_iter().flat_map(HashTrieSetSync::iter)
    }

    /// Puts a resource in, in the place of one with the same id.
    pub fn insert(&mut self, checked: Arc<Checked>) {
        self.remove(&checked.id);
        for reference in &checked.references {
            add(&mut self.referrers, reference.to.clone(), &checked.id);
        }
        self.by_id.insert_mut(checked.id.clone(), checked);
    }

    /// Takes a resource out.
    pub fn remove(&mut self, id: &ResourceId) {
        let Some(old) = self.by_id.get(id).cloned() else { return };
        for reference in &old.references {
            discard(&mut self.referrers, &reference.to, id);
        }
        self.by_id.remove_mut(id);
    }

    /// The hosts that an API answers for: its own, or all of its tenant's.
    #[must_use]
    pub fn hosts_of<'a>(&'a self, tenant: &Name, api: &'a Api) -> Hosts<'a> {
        if !api.hosts.is_empty() {
            return Hosts::These(&api.hosts);
        }
        if *tenant == Name::default_name() {
            return Hosts::Any;
        }
        match self.by_id.get(&ResourceId::of_tenant(tenant)).map(|checked| &checked.spec) {
            Some(Spec::Tenant(tenant)) => Hosts::These(&tenant.hosts),
            _ => Hosts::These(&[]),
        }
    }
}

pub(crate) fn add<K: Clone + Hash + Eq>(index: &mut Index<K>, key: K, id: &ResourceId) {
    match index.get_mut(&key) {
        Some(ids) => {
            ids.insert_mut(id.clone());
        }
        None => {
            let mut ids = HashTrieSetSync::new_sync();
            ids.insert_mut(id.clone());
            index.insert_mut(key, ids);
        }
    }
}

pub(crate) fn discard<K: Clone + Hash + Eq>(index: &mut Index<K>, key: &K, id: &ResourceId) {
    let Some(ids) = index.get_mut(key) else { return };
    ids.remove_mut(id);
    if ids.is_empty() {
        index.remove_mut(key);
    }
}
