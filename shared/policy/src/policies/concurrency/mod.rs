#![doc = include_str!("MANUAL.md")]

use std::future::Future;
use std::time::Duration;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use http::{HeaderValue, Request, StatusCode, header};
use schemars::JsonSchema;
use tollgate_model::issue::pointer;
use tollgate_model::units::Span;
use tollgate_model::{Issue, Issues, Name, ResourceId};

use crate::body::Body;
use crate::limit::subject::{By, Subject, Written};
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};
use crate::ports::{Enter, Entered, Permit, Queue};

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Requests of one subject that may be under way at once on a node, 1 to 1,000,000.
    pub limit: Places,
    /// Whom it is counted for: `application`, `credential`, `ip`, `route`, a text with variables such as
    /// `"{header.x-user}"`, or `{ip: {v4: 24, v6: 56}}`. Default `application`; a call without an identity counts for its address.
    #[deserr(default)]
    #[schemars(with = "Option<Written>")]
    pub by: Option<Subject>,
    /// Lets requests wait for their turn. Default: none waits.
    #[deserr(default)]
    pub queue: Option<Waiting>,
    /// Tells limits apart. Default `default`.
    #[deserr(default)]
    pub name: Option<Name>,
}

/// Requests that wait for their turn, the first first.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Waiting {
    /// How many of one subject may wait, 1 to 1,000,000.
    pub length: Places,
    /// How long each waits at most, up to 60s.
    #[schemars(with = "Span")]
    pub timeout: Patience,
}

/// A number of requests at once.
#[derive(Clone, Copy, Debug, JsonSchema)]
#[schemars(transparent)]
pub struct Places(#[schemars(range(min = 1, max = 1_000_000))] u32);

impl Deserr<Issues> for Places {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        match u32::try_from(u64::deserialize_from_value(value, location)?) {
            Ok(places @ 1..=1_000_000) => Ok(Self(places)),
            _ => Err(Issues::one(Issue::new(
                pointer(location),
                "out_of_range",
                "give a number from 1 to 1,000,000",
            ))),
        }
    }
}

/// How long a request waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience(Duration);

impl Deserr<Issues> for Patience {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let patience = Span::deserialize_from_value(value, location)?.get();
        if patience <= Duration::from_secs(60) {
            return Ok(Self(patience));
        }
        Err(Issues::one(Issue::new(pointer(location), "out_of_range", "give a time up to 60s")))
    }
}

/// Refuses a subject's requests while too many of it are under way.
pub struct Concurrency {
    id: Box<str>,
    limit: u32,
    by: By,
    queue: Option<Queue>,
}

impl Policy for Concurrency {
    type Config = Config;
    /// Its place, given back with the carry.
    type Carry = Permit;

    const NAME: &'static str = "concurrency";
    const PHASE: Phase = Phase::RateLimit;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let by = By::compile(config.by, scope)?;
        let name = config.name.unwrap_or_else(Name::default_name);
        let queue =
            config.queue.map(|queue| Queue { length: queue.length.0, timeout: queue.timeout.0 });
        Ok(Self {
            id: format!("{}/{name}", scope.place).into_boxed_str(),
            limit: config.limit.0,
            by,
            queue,
        })
    }

    fn own_name(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        self.by.references(tenant)
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<Permit>> {
        self.meet(cx, request)
    }
}

impl Concurrency {
    async fn meet(&self, cx: &mut Cx<'_>, request: &Request<Body>) -> Flow<Permit> {
        let entered = {
            let subject = self.by.subject(cx, request);
            cx.ports.concurrency().enter(Enter {
                id: &self.id,
                tenant: &cx.route.tenant,
                subject: &subject,
                limit: self.limit,
                queue: self.queue,
            })
        };
        let permit = match entered {
            Entered::Now(permit) => permit,
            Entered::Later(permit) => permit.await,
        };
        match permit {
            Some(permit) => Flow::Next(permit),
            None => Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "concurrency_exceeded",
                "too many requests are under way at once",
            )
            .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
            .into_flow(),
        }
    }
}

#[cfg(test)]
mod tests;
