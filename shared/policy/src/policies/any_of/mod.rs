#![doc = include_str!("MANUAL.md")]

use std::pin::Pin;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use http::{HeaderMap, Request, Response, StatusCode};
use schemars::JsonSchema;
use tollgate_model::attachment::Attachment;
use tollgate_model::issue::escape;
use tollgate_model::{Issues, Name, ResourceId};

use super::{AnyCarry, AnyPolicy};
use crate::body::Body;
use crate::jose::KeySource;
use crate::policy::{Cx, End, Flow, Phase, Policy, Refusal, Repeat, Scope};

/// Ways to find out who calls, each a policy with its configuration, in the order in which they are tried.
#[derive(Debug, JsonSchema)]
pub struct Config(Vec<Attachment>);

impl Deserr<Issues> for Config {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        Vec::deserialize_from_value(value, location).map(Self)
    }
}

/// Several ways to find out who calls, of which one must succeed.
pub struct AnyOf {
    ways: Box<[AnyPolicy]>,
}

/// Which way it was, and what that hands on.
pub struct Taken {
    index: usize,
    carry: AnyCarry,
}

/// The most ways.
const WAYS: usize = 16;

/// Boxed, for one of a chain's policies holds others here.
type Attempt<'a> = Pin<Box<dyn Future<Output = Flow<AnyCarry>> + 'a>>;

impl Policy for AnyOf {
    type Config = Config;
    type Carry = Box<Taken>;

    const NAME: &'static str = "any_of";
    const PHASE: Phase = Phase::Authn;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(Config(list): Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        if !(2..=WAYS).contains(&list.len()) {
            issues.add("", "invalid_count", "give 2 to 16 ways to find out who calls");
        }
        let mut ways = Vec::with_capacity(list.len());
        for (i, attachment) in list.iter().enumerate() {
            match way(attachment, scope) {
                Ok(policy) => ways.push(policy),
                Err(found) => issues.extend_under(&format!("/{i}"), found),
            }
        }
        issues.into_result(Self { ways: ways.into() })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        self.ways.iter().flat_map(|way| way.references(tenant)).collect()
    }

    fn least_bytes(&self, secret: &ResourceId) -> usize {
        let names_it =
            |way: &&AnyPolicy| way.references(&secret.tenant).iter().any(|named| named == secret);
        let ways = self.ways.iter().filter(names_it);
        ways.map(|way| way.least_bytes(secret)).max().unwrap_or(0)
    }

    fn key_source(&self) -> Option<&KeySource> {
        self.ways.iter().find_map(AnyPolicy::key_source)
    }

    fn take_off_own_fields(&self, headers: &mut HeaderMap) {
        for way in &self.ways {
            way.take_off_own_fields(headers);
        }
    }

    async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<Self::Carry> {
        // Also of the ways that are not taken.
        self.take_off_own_fields(request.headers_mut());
        let mut lacking: Option<Box<Refusal>> = None;
        for (index, way) in self.ways.iter().enumerate() {
            let attempt: Attempt<'_> = Box::pin(way.on_request(cx, request));
            match attempt.await {
                Flow::Next(carry) => return Flow::Next(Box::new(Taken { index, carry })),
                Flow::Answer(response) => return Flow::Answer(response),
                Flow::Refuse(refusal) if !refusal.lacks_credential => {
                    return Flow::Refuse(refusal);
                }
                Flow::Refuse(refusal) => match &mut lacking {
                    None => lacking = Some(refusal),
                    Some(first) => add_challenges(first, *refusal),
                },
            }
        }
        Flow::Refuse(lacking.unwrap_or_else(|| {
            let detail = "it is not known who calls";
            Box::new(Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail))
        }))
    }

    async fn on_response(
        &self,
        carry: &mut Self::Carry,
        cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) {
        if let Some(way) = self.ways.get(carry.index) {
            let half: Pin<Box<dyn Future<Output = ()> + '_>> =
                Box::pin(way.on_response(&mut carry.carry, cx, response));
            half.await;
        }
    }

    fn on_end(&self, carry: Self::Carry, end: &End) {
        if let Some(way) = self.ways.get(carry.index) {
            way.on_end(carry.carry, end);
        }
    }
}

fn way(attachment: &Attachment, scope: Scope<'_>) -> Result<AnyPolicy, Issues> {
    let mut issues = Issues::default();
    let (name, config) = match attachment {
        Attachment::Policy { name, config } => (name.as_str(), config),
        Attachment::Set(_) => {
            let problem = "a set cannot stand here; write the policies out";
            issues.add("/policy_set", "nested_policy_set", problem);
            return Err(issues);
        }
    };
    let at = format!("/{}", escape(name));
    if name == AnyOf::NAME {
        issues.add(at, "wrong_place", "stands in itself; write all ways in one list");
        return Err(issues);
    }
    match AnyPolicy::compile(name, config, scope) {
        Ok(policy) if policy.phase() == Phase::Authn => return Ok(policy),
        Ok(_) => {
            let problem =
                format!("`{name}` does not find out who calls; attach it beside `any_of`");
            issues.add(at, "wrong_place", problem);
        }
        Err(found) => issues.extend_under(&at, found),
    }
    Err(issues)
}

/// Who sent nothing is told of every way, of each challenge once.
fn add_challenges(all: &mut Refusal, other: Refusal) {
    for field in other.headers {
        if !all.headers.contains(&field) {
            all.headers.push(field);
        }
    }
    all.detail = "nothing was sent that tells who calls".into();
}

#[cfg(test)]
mod tests;
