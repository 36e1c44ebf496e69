//! Who may call, by what they prove themselves with.

use std::sync::Arc;

use rpds::HashTrieMapSync;
use tollgate_model::credential::{Credential, KeyHash};
use tollgate_model::password::PasswordHash;
use tollgate_model::{Kind, Name, ResourceId, Spec};
use tollgate_policy::policy::Caller;

use super::build::Builder;
use super::configurator::Configurator;

/// Callers by their keys, also those of certificates and signatures, and by their usernames.
#[derive(Clone)]
pub(super) struct Callers {
    by_key: HashTrieMapSync<KeyHash, Arc<Caller>>,
    by_username: HashTrieMapSync<UsernameKey, (Arc<Caller>, PasswordHash)>,
}

/// A tenant and a username as one short key, so that looking for it copies neither.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct UsernameKey([u8; 32]);

impl UsernameKey {
    fn of(tenant: &Name, username: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        // No name of a tenant has a slash in it.
        hasher.update(tenant.as_str().as_bytes()).update(b"/").update(username.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }
}

impl Default for Callers {
    fn default() -> Self {
        Self { by_key: HashTrieMapSync::new_sync(), by_username: HashTrieMapSync::new_sync() }
    }
}

impl Callers {
    /// Lets a caller prove himself with a credential.
    pub(super) fn insert(&mut self, tenant: &Name, credential: &Credential, caller: Caller) {
        let caller = Arc::new(caller);
        if let Some(hash) = credential.lookup_key(tenant) {
            self.by_key.insert_mut(hash, Arc::clone(&caller));
        }
        if let Some(basic) = &credential.basic
            && let Some(hash) = basic.password.hash
        {
            let key = UsernameKey::of(tenant, basic.username.as_str());
            self.by_username.insert_mut(key, (caller, hash));
        }
    }

    /// Lets nobody prove himself with a credential any longer.
    pub(super) fn remove(&mut self, tenant: &Name, credential: &Credential) {
        if let Some(hash) = credential.lookup_key(tenant) {
            self.by_key.remove_mut(&hash);
        }
        if let Some(basic) = &credential.basic {
            self.by_username.remove_mut(&UsernameKey::of(tenant, basic.username.as_str()));
        }
    }

    pub(super) fn of_key(&self, hash: &KeyHash) -> Option<&Arc<Caller>> {
        self.by_key.get(hash)
    }

    pub(super) fn of_username(
        &self,
        tenant: &Name,
        username: &str,
    ) -> Option<&(Arc<Caller>, PasswordHash)> {
        self.by_username.get(&UsernameKey::of(tenant, username))
    }
}

impl Configurator {
    pub(super) fn place_credential(&mut self, id: &ResourceId) {
        let Some(checked) = self.resources.get(id) else { return };
        let Spec::Credential(credential) = &checked.spec else { return };
        let owner =
            ResourceId::new(Kind::Application, id.tenant.clone(), credential.application.clone());
        let Some(application) = Builder::of_callers(&self.resources, &self.gateway).caller(&owner)
        else {
            self.plan.callers.remove(&id.tenant, credential);
            return;
        };
        let caller = Caller {
            credential: id.name.clone(),
            expires_at_unix_micros: credential.expires_at.map(|moment| moment.unix_micros),
            is_disabled: credential.disabled || application.is_disabled,
            verification_key: credential.signature.as_ref().map(|of| Arc::clone(&of.key)),
            ..application
        };
        self.plan.callers.insert(&id.tenant, credential, caller);
    }

    pub(super) fn place_application(&mut self, id: &ResourceId) {
        match Builder::of_callers(&self.resources, &self.gateway).caller(id) {
            Some(caller) => self.plan.applications.insert_mut(id.clone(), Arc::new(caller)),
            None => {
                self.plan.applications.remove_mut(id);
            }
        }
    }
}
