//! What tokens are checked with.

use tollgate_model::Name;

use super::fault::Fault;
use crate::jose::{Algorithm, Compact, Generation, KeySet, KeySource, Unverified};
use crate::policy::{Cx, Holder};
use crate::ports::FoundKeys;

/// Keys of one kind: public ones, or a secret; never both.
pub(super) enum Keys {
    /// Public keys that stand in the configuration.
    Fixed(KeySet),
    /// Public keys that are elsewhere.
    Remote(KeySource),
    /// A secret.
    Secret(Holder, Name),
}

impl Keys {
    /// Which keys are in force; what was verified by others is not known any more.
    pub(super) fn generation(&self, cx: &Cx<'_>) -> Option<Generation> {
        match self {
            Self::Fixed(set) => Some(set.generation()),
            Self::Remote(source) => cx.ports.key_sets().generation(source),
            Self::Secret(of, name) => {
                cx.secret(*of, name).map(|secret| Generation::of(secret.expose().as_bytes()))
            }
        }
    }

    /// Checks a token's signature by an algorithm that is admitted; says by which keys.
    pub(super) async fn verify(
        &self,
        cx: &Cx<'_>,
        algorithm: Algorithm,
        token: &Compact<'_>,
    ) -> Result<Generation, Fault> {
        match self {
            Self::Fixed(set) => match set.verify(algorithm, token) {
                Ok(()) => Ok(set.generation()),
                Err(Unverified::BadSignature) => Err(Fault::BadSignature),
                Err(Unverified::UnknownKey) => Err(Fault::UnknownKey),
            },
            Self::Remote(source) => remote(cx, source, algorithm, token).await,
            Self::Secret(of, name) => {
                let secret = cx.secret(*of, name).ok_or(Fault::NoKeys)?;
                let secret = secret.expose().as_bytes();
                if !algorithm.takes_secret(secret) {
                    return Err(Fault::NoKeys);
                }
                if algorithm.verify_mac(secret, token.signed, &token.signature) {
                    Ok(Generation::of(secret))
                } else {
                    Err(Fault::BadSignature)
                }
            }
        }
    }
}

async fn remote(
    cx: &Cx<'_>,
    source: &KeySource,
    algorithm: Algorithm,
    token: &Compact<'_>,
) -> Result<Generation, Fault> {
    let sets = cx.ports.key_sets();
    let set = found(sets.keys(source)).await.ok_or(Fault::NoKeys)?;
    match set.verify(algorithm, token) {
        Ok(()) => return Ok(set.generation()),
        Err(Unverified::BadSignature) => return Err(Fault::BadSignature),
        Err(Unverified::UnknownKey) => {}
    }
    // The issuer may have changed its keys since.
    let newer = found(sets.keys_after(source, set.generation())).await.ok_or(Fault::UnknownKey)?;
    if newer.generation() == set.generation() {
        return Err(Fault::UnknownKey);
    }
    match newer.verify(algorithm, token) {
        Ok(()) => Ok(newer.generation()),
        Err(Unverified::BadSignature) => Err(Fault::BadSignature),
        Err(Unverified::UnknownKey) => Err(Fault::UnknownKey),
    }
}

async fn found(keys: FoundKeys<'_>) -> Option<std::sync::Arc<KeySet>> {
    match keys {
        FoundKeys::Now(set) => set,
        FoundKeys::Wait(set) => set.await,
    }
}
