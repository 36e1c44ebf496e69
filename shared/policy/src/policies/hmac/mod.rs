#![doc = include_str!("MANUAL.md")]

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request};
use http_body::Body as _;
use sfv::{BareItem, Key, Parameters};
use tollgate_model::Issues;
use tollgate_model::signature::{KeyId, SigningAlgorithm, Unverified, VerificationKey};

use crate::body::Body;
use crate::policy::{Caller, Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};

// Parts of a request that a signature covers.
mod component;
// What the operator writes.
mod config;
// Whether the body is the one that was signed.
mod digest;
// Why a call is refused.
mod fault;
// The signature fields, read within bounds.
mod fields;
// What is signed.
mod message;
// Whether a signature was used before.
mod replay;
// Keys that nobody has.
mod stand_in;
// A body, read to its end within bounds.
mod whole;

use self::component::Component;
pub use self::config::{Config, Replay, SignedBody, SignedScheme};
use self::fault::Fault;
use self::fields::{Input, Signatures};
use self::message::Message;
use self::replay::{Guard, Mark};

/// Finds out by a signature over the request which application calls.
pub struct Hmac {
    required: Box<[Component]>,
    /// What callers are told of that.
    accepted: HeaderValue,
    label: Option<Key>,
    tag: Option<sfv::String>,
    algorithms: Option<Box<[SigningAlgorithm]>>,
    max_age_micros: i64,
    leeway_micros: i64,
    body: SignedBody,
    max_body_bytes: u64,
    body_time: Duration,
    scheme: Option<&'static str>,
    is_forwarded: bool,
    is_optional: bool,
    /// What refuses a signature that was used before.
    guard: Option<Guard>,
}

/// A signature that is good.
struct Verified {
    caller: Arc<Caller>,
    /// What it is remembered by, where it is good once.
    mark: Option<Mark>,
    /// Whether it says what the body is.
    tells_body: bool,
}

impl Policy for Hmac {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "hmac";
    const PHASE: Phase = Phase::Authn;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        stand_in::prepare();
        let mut issues = Issues::default();
        config.check(&mut issues);
        let required = config.required(&mut issues);
        issues.into_result(Self {
            required: required.components,
            accepted: required.accepted,
            label: config.label(),
            tag: config.tag(),
            max_age_micros: micros(config.max_age()),
            leeway_micros: micros(config.leeway()),
            body: config.body,
            max_body_bytes: config.max_body_bytes(),
            body_time: config.body_time(),
            scheme: config.scheme.map(SignedScheme::name),
            is_forwarded: config.forward.unwrap_or(true),
            is_optional: config.optional,
            guard: (config.replay == Replay::Refuse).then(|| Guard::new(&config, scope)),
            algorithms: config.algorithms.map(Vec::into_boxed_slice),
        })
    }

    async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<()> {
        let judged = if fields::are_there(request.headers()) {
            // In its own memory, so that every chain's future stays small.
            Box::pin(self.judge(cx, request)).await
        } else {
            Err(Fault::Missing)
        };
        match judged {
            Ok(()) => Flow::Next(()),
            Err(Fault::Missing) if self.is_optional => Flow::Next(()),
            Err(fault) => Flow::Refuse(self.refusal(fault)),
        }
    }
}

impl Hmac {
    fn refusal(&self, fault: Fault) -> Box<Refusal> {
        fault.into_refusal(&self.accepted)
    }

    async fn judge(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Result<(), Fault> {
        let Verified { caller, mark, tells_body } = self.verified(cx, request)?;
        if caller.is_disabled {
            return Err(Fault::Disabled);
        }
        if caller.expires_at_unix_micros.is_some_and(|end| end <= now(cx)) {
            return Err(Fault::CredentialExpired);
        }
        // Only now: nobody has a body read who has no key.
        if self.body == SignedBody::Verify && tells_body {
            let expected = digest::Expected::of(request.headers())?;
            let body = if request.body().is_end_stream() {
                bytes::Bytes::new()
            } else {
                let pause = cx.ports.sleep(self.body_time);
                whole::read(request.body_mut(), self.max_body_bytes, pause).await?
            };
            if !expected.is_of(&body) {
                return Err(Fault::WrongBody);
            }
        }
        // Last: what is refused has not used its signature up.
        if let (Some(guard), Some(mark)) = (&self.guard, mark) {
            guard.spend(cx, mark).await?;
        }
        cx.identity = Some(caller);
        if !self.is_forwarded {
            take_off(request.headers_mut());
        }
        Ok(())
    }

    /// The first signature that is good, of those that are asked for.
    fn verified(&self, cx: &Cx<'_>, request: &Request<Body>) -> Result<Verified, Fault> {
        let inputs = fields::inputs(request.headers())?;
        let signatures = fields::signatures(request.headers())?;
        let mut message = Message::of(request, self.scheme.unwrap_or(cx.scheme));
        let mut first = None;
        for input in inputs.iter().filter(|input| self.is_asked_for(input)) {
            match self.verify(cx, input, &signatures, &mut message) {
                Ok(verified) => return Ok(verified),
                Err(fault) => {
                    first.get_or_insert(fault);
                }
            }
        }
        Err(first.unwrap_or(Fault::Missing))
    }

    /// Whether it is a signature for this gateway: a request may carry others, for others.
    fn is_asked_for(&self, input: &Input) -> bool {
        let tag = input.parameters.get("tag").and_then(BareItem::as_string);
        self.label.as_ref().is_none_or(|label| *label == input.label)
            && self.tag.as_ref().is_none_or(|wanted| tag.is_some_and(|tag| *tag == **wanted))
    }

    fn verify(
        &self,
        cx: &Cx<'_>,
        input: &Input,
        signatures: &Signatures,
        message: &mut Message<'_>,
    ) -> Result<Verified, Fault> {
        let components = components(input)?;
        let key_id = text(&input.parameters, "keyid")?.ok_or(Fault::Parameter)?;
        let algorithm = text(&input.parameters, "alg")?;
        self.check_time(&input.parameters, now(cx))?;
        let tells_body = components.iter().any(digest::tells_body);
        self.check_coverage(&components, tells_body, message.request())?;
        let signature = signatures.get(&input.label).ok_or(Fault::Malformed)?;
        // Before the key is looked for: what is wrong with the request is told whoever signed it.
        let base = message.base(input, &components)?;

        let mark = match &self.guard {
            None => None,
            Some(_) => Some(Mark::of(key_id, text(&input.parameters, "nonce")?, &base)),
        };

        let tenant = &cx.route.tenant;
        let caller = cx.ports.caller_of_proof(tenant, &KeyId::lookup_key(tenant, key_id));
        let key = caller.as_ref().and_then(|caller| caller.verification_key.as_ref());
        // RFC 9421 §3.2: the key decides how it is checked, and what the signature says must agree.
        let is_fit = |key: &&Arc<VerificationKey>| {
            let by = key.algorithm();
            self.algorithms.as_ref().is_none_or(|accepted| accepted.contains(&by))
                && algorithm.is_none_or(|named| named == by.name())
        };
        let (Some(caller), Some(key)) = (&caller, key.filter(is_fit)) else {
            stand_in::check(algorithm, self.algorithms.as_deref(), base.as_bytes(), signature);
            return Err(Fault::Unverified);
        };
        let secret = key.secret().and_then(|name| cx.ports.secret(tenant, name));
        match key.verify(secret, base.as_bytes(), signature) {
            Ok(()) => Ok(Verified { caller: Arc::clone(caller), mark, tells_body }),
            Err(Unverified::Wrong) => Err(Fault::Unverified),
            Err(Unverified::NoSecret) => Err(Fault::NoSecret),
        }
    }

    fn check_time(&self, parameters: &Parameters, now: i64) -> Result<(), Fault> {
        let created = moment(parameters, "created")?.ok_or(Fault::Parameter)?;
        let expires = moment(parameters, "expires")?;
        if created > now.saturating_add(self.leeway_micros) {
            return Err(Fault::NotYet);
        }
        if created.saturating_add(self.max_age_micros) <= now {
            return Err(Fault::TooOld);
        }
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Fault::Expired);
        }
        Ok(())
    }

    /// Whether a signature covers what it must. What a request has not got need not be covered: who adds a
    /// query or a body on the way has it refused.
    fn check_coverage(
        &self,
        components: &[Component],
        tells_body: bool,
        request: &Request<Body>,
    ) -> Result<(), Fault> {
        let is_there =
            |wanted: &&Component| **wanted != Component::Query || request.uri().query().is_some();
        let is_covered = |wanted: &Component| components.iter().any(|has| has.includes(wanted));
        if !self.required.iter().filter(is_there).all(is_covered) {
            return Err(Fault::NotCovered);
        }
        if self.body == SignedBody::Verify && !tells_body && !request.body().is_end_stream() {
            return Err(Fault::BodyNotCovered);
        }
        Ok(())
    }
}

/// What a signature covers; nothing of it twice (RFC 9421 §2).
fn components(input: &Input) -> Result<Vec<Component>, Fault> {
    let mut components: Vec<Component> = Vec::with_capacity(input.components.len());
    for identifier in &input.components {
        let component = Component::of(identifier.name.as_str(), &identifier.parameters)
            .map_err(Fault::Component)?;
        if components.contains(&component) {
            return Err(Fault::Malformed);
        }
        components.push(component);
    }
    Ok(components)
}

/// A parameter that is a text.
fn text<'a>(parameters: &'a Parameters, name: &str) -> Result<Option<&'a str>, Fault> {
    let Some(value) = parameters.get(name) else { return Ok(None) };
    value.as_string().map(|text| Some(text.as_str())).ok_or(Fault::Parameter)
}

/// A parameter that is a number of seconds since 1970-01-01; in microseconds.
fn moment(parameters: &Parameters, name: &str) -> Result<Option<i64>, Fault> {
    let Some(value) = parameters.get(name) else { return Ok(None) };
    let seconds = value.as_integer().ok_or(Fault::Parameter)?;
    Ok(Some(i64::from(seconds).saturating_mul(1_000_000)))
}

fn now(cx: &Cx<'_>) -> i64 {
    i64::try_from(cx.now_unix_micros).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn take_off(headers: &mut HeaderMap) {
    headers.remove(fields::SIGNATURE_INPUT);
    headers.remove(fields::SIGNATURE);
}

#[cfg(test)]
mod tests;
