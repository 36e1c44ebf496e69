#![doc = include_str!("MANUAL.md")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use http::{Request, Response};
use schemars::JsonSchema;
use tollgate_model::issue::pointer;
use tollgate_model::units::Span;
use tollgate_model::{Issue, Issues, Name, ResourceId};

use crate::body::Body;
use crate::limit::Definition;
use crate::limit::cost::{Cost, WrittenCost};
use crate::limit::meter::{Counting, Held, Meter};
use crate::limit::settle::Settle;
use crate::limit::subject::{Subject, Written};
use crate::limit::written::{Failure, Mode, Permits};
use crate::policy::{Cx, Flow, Phase, Policy, Repeat, Scope};

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Requests admitted in one window, 1 to 1,000,000,000.
    pub limit: Permits,
    /// The length of the rolling window, 1s to 31d.
    #[schemars(with = "Span")]
    pub window: Window,
    /// Whom it is counted for: `application`, `credential`, `ip`, `route`, a text with variables such as
    /// `"{header.x-user}"`, or `{ip: {v4: 24, v6: 56}}`. Default `application`; a call without an identity counts for its address.
    #[deserr(default)]
    #[schemars(with = "Option<Written>")]
    pub by: Option<Subject>,
    /// How exactly the nodes of a cluster agree: `exact`, `leased`, `local`. Default `leased`.
    #[deserr(default)]
    #[schemars(with = "Option<Mode>")]
    pub mode: Mode,
    /// While the shared counters are away: `open` admits, `closed` refuses, `local_share` counts
    /// on the node against its share. Default `local_share`.
    #[deserr(default)]
    #[schemars(with = "Option<Failure>")]
    pub on_failure: Failure,
    /// What one request takes of the limit: 1 to the limit, or an expression in CEL such as
    /// `request.path.startsWith("/bulk") ? 10 : 1`, or `{expression: …, otherwise: …}`. Default 1.
    #[deserr(default)]
    #[schemars(with = "Option<WrittenCost>")]
    pub cost: Option<Cost>,
    /// Where the answer tells what the call did cost: what it has taken beyond that is given back, what it has
    /// taken too little is charged, whatever the limit. Default: it costs what it has taken.
    #[deserr(default)]
    pub settle: Option<Settle>,
    /// Whether it only watches: it counts, and what it would refuse goes on and is told in the access log as `shadowed`. Default false.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub shadow: bool,
    /// Stands in the `ratelimit` fields, and tells limits apart. Default `default`.
    #[deserr(default)]
    pub name: Option<Name>,
}

/// The length of a window.
#[derive(Clone, Copy, Debug)]
pub struct Window(Duration);

impl Deserr<Issues> for Window {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let window = Span::deserialize_from_value(value, location)?.get();
        if (Duration::from_secs(1)..=Duration::from_secs(31 * 86_400)).contains(&window) {
            return Ok(Self(window));
        }
        Err(Issues::one(Issue::new(
            pointer(location),
            "out_of_range",
            "give a window from 1s to 31d",
        )))
    }
}

/// Refuses a subject's requests beyond a number in a window of time.
pub struct RateLimit(Meter);

impl Policy for RateLimit {
    type Config = Config;
    /// What the counter said; none where it was not asked.
    type Carry = Option<Held>;

    const NAME: &'static str = "rate_limit";
    const PHASE: Phase = Phase::RateLimit;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let (limit, Window(window)) = (config.limit.get(), config.window);
        let name = config.name.unwrap_or_else(Name::default_name);
        let definition = Definition {
            id: Arc::from(format!("{}/{name}", scope.place)),
            limit,
            window: window.into(),
            enforcement: config.mode.into(),
            on_failure: config.on_failure.into(),
            is_settled: config.settle.is_some(),
        };
        let (by, cost, settle) = (config.by, config.cost, config.settle);
        let counting = Counting { by, cost, settle, is_shadow: config.shadow };
        Meter::compile(definition, &name, counting, scope).map(Self)
    }

    fn own_name(&self) -> Option<&str> {
        Some(&self.0.definition().id)
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        self.0.references(tenant)
    }

    async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<Self::Carry> {
        let counted = self.0.take(cx, request).await;
        self.0.judge(counted, cx, ("rate_limited", "too many requests in this window"))
    }

    fn on_response(
        &self,
        held: &mut Self::Carry,
        cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) -> impl Future<Output = ()> {
        self.0.answer(held, cx, response);
        std::future::ready(())
    }
}

impl RateLimit {
    /// The counter that it keeps, for `tollgate explain` and the nodes' bookkeeping.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        self.0.definition()
    }
}

#[cfg(test)]
mod tests;
