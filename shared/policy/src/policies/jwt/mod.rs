#![doc = include_str!("MANUAL.md")]

use std::future::Future;
use std::sync::Arc;

use http::{HeaderMap, Request};
use tollgate_model::{Issues, Kind, Name, ResourceId};

use crate::body::Body;
use crate::jose::{Compact, Generation, KeySource, Verified};
use crate::policy::{Cx, Flow, Phase, Policy, Repeat, Scope};

// What a token must be and say.
mod admission;
// What the operator writes.
mod config;
// Why a token is refused.
mod fault;
// What tokens are checked with.
mod keys;
// Where in a request its token is.
mod place;

use self::admission::Admission;
pub use self::config::{Application, Config, Failure, Jwks, Unknown};
use self::fault::Fault;
use self::keys::Keys;
use self::place::Places;

/// Finds out by a signed token who calls.
pub struct Jwt {
    /// Of the configuration as it is written, so that what one policy verified is good for no other.
    identity: [u8; 32],
    keys: Keys,
    admission: Admission,
    places: Places,
    unknown_application: Option<Unknown>,
    is_forwarded: bool,
    is_optional: bool,
    on_failure: Failure,
}

impl Policy for Jwt {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "jwt";
    const PHASE: Phase = Phase::Authn;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        config.check(&mut issues);
        let algorithms = config.algorithms(&mut issues);
        let places = config.places(&mut issues);
        // Without keys there is an issue that says so.
        let Some(keys) = config.keys(scope.holder(), &mut issues) else { return Err(issues) };
        issues.into_result(Self {
            // How a configuration looks to who debugs it says all that stands in it.
            identity: *blake3::hash(format!("{config:?}").as_bytes()).as_bytes(),
            keys,
            admission: Admission::new(&config, algorithms),
            places,
            unknown_application: config.application.map(|application| application.unknown),
            is_forwarded: config.forward.unwrap_or(true),
            is_optional: config.optional,
            on_failure: config.on_failure,
        })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        match &self.keys {
            Keys::Secret(_, name) => {
                vec![ResourceId::new(Kind::Secret, tenant.clone(), name.clone())]
            }
            Keys::Fixed(_) | Keys::Remote(_) => Vec::new(),
        }
    }

    fn least_bytes(&self, _secret: &ResourceId) -> usize {
        // It has one at most, for all of its algorithms.
        self.admission.least_secret_bytes()
    }

    fn key_source(&self) -> Option<&KeySource> {
        match &self.keys {
            Keys::Remote(source) => Some(source),
            Keys::Fixed(_) | Keys::Secret(..) => None,
        }
    }

    fn take_off_own_fields(&self, headers: &mut HeaderMap) {
        for name in self.admission.fields() {
            headers.remove(name);
        }
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<()>> {
        self.meet(cx, request)
    }
}

impl Jwt {
    async fn meet(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<()> {
        self.take_off_own_fields(request.headers_mut());
        let verified = match self.places.find(request) {
            Ok(None) if self.is_optional => return Flow::Next(()),
            Ok(None) => Err(Fault::Missing),
            Ok(Some(token)) => self.verified(cx, token).await,
            Err(fault) => Err(fault),
        };
        let is_forwarded = match verified {
            Ok(verified) => match self.take_over(cx, &verified, request.headers_mut()) {
                Ok(()) => self.is_forwarded,
                Err(fault) => return fault.into_refusal().into_flow(),
            },
            // What nobody has checked does not go upstream, where it would look as if somebody had.
            Err(Fault::NoKeys) if self.on_failure == Failure::Open => false,
            Err(fault) => return fault.into_refusal().into_flow(),
        };
        if !is_forwarded {
            self.places.strip(request.headers_mut());
        }
        Flow::Next(())
    }

    /// What a token says, if it is good: from memory, or by checking it.
    async fn verified(&self, cx: &Cx<'_>, token: &[u8]) -> Result<Arc<Verified>, Fault> {
        let (remembered, now) = (cx.ports.remembered(), cx.now_unix_micros);
        let key = remembered.key(&self.identity, token);
        if let Some(keys) = self.keys.generation(cx)
            && let Some(verified) = remembered.get(&key, keys, now)
        {
            return Ok(verified);
        }
        // In its own memory, so that every chain's future stays small.
        let (keys, verified) = Box::pin(self.check(cx, token)).await?;
        remembered.put(key, keys, token.len(), Arc::clone(&verified));
        Ok(verified)
    }

    /// Checks a token that is not remembered; says by which keys.
    async fn check(&self, cx: &Cx<'_>, token: &[u8]) -> Result<(Generation, Arc<Verified>), Fault> {
        let compact = Compact::parse(token)?;
        let algorithm = self.admission.algorithm(&compact.header)?;
        let keys = self.keys.verify(cx, algorithm, &compact).await?;
        let verified = self.admission.admit(compact.claims()?, cx.now_unix_micros)?;
        Ok((keys, Arc::new(verified)))
    }

    /// Makes of a good token what later policies and the upstream see.
    fn take_over(
        &self,
        cx: &mut Cx<'_>,
        verified: &Verified,
        headers: &mut HeaderMap,
    ) -> Result<(), Fault> {
        if let Some(unknown) = self.unknown_application {
            let caller = verified.application.as_ref().and_then(|application| {
                cx.ports.caller_of_application(&cx.route.tenant, application)
            });
            match (caller, unknown) {
                (Some(caller), _) if caller.is_disabled => return Err(Fault::DisabledApplication),
                (Some(caller), _) => cx.identity = Some(caller),
                (None, Unknown::Refuse) => return Err(Fault::UnknownApplication),
                (None, Unknown::Allow) => {}
            }
        }
        for (name, value) in self.admission.fields().zip(&verified.fields) {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        cx.claims = Some(Arc::clone(&verified.claims));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
