#![doc = include_str!("MANUAL.md")]

use std::future::Future;
use std::sync::Arc;

use deserr::Deserr;
use http::{Request, Response};
use schemars::JsonSchema;
use tollgate_model::{Issues, Name, ResourceId};

use crate::body::Body;
use crate::limit::calendar::{Unit, Zone};
use crate::limit::cost::{Cost, WrittenCost};
use crate::limit::meter::{Counting, Held, Meter};
use crate::limit::settle::Settle;
use crate::limit::subject::{Subject, Written};
use crate::limit::written::{Failure, Mode, Permits};
use crate::limit::{Calendar, Definition, Window};
use crate::policy::{Cx, Flow, Phase, Policy, Repeat, Scope};

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Requests admitted in one window, 1 to 1,000,000,000.
    pub limit: Permits,
    /// The window, of the calendar: `minute`, `hour`, `day`, `week` (from Monday on), `month`, `year`.
    pub window: Every,
    /// The time zone in which windows begin, by its IANA name, such as `Europe/Berlin`. Default `UTC`.
    #[deserr(default)]
    #[schemars(with = "Option<String>")]
    pub time_zone: Zone,
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

/// How long a window is.
#[derive(Clone, Copy, Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum Every {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first on.
    Month,
    /// From January 1 on.
    Year,
}

/// Refuses a subject's requests beyond a number in a window of the calendar.
pub struct Quota {
    meter: Meter,
    detail: &'static str,
}

impl Policy for Quota {
    type Config = Config;
    /// What the counter said; none where it was not asked.
    type Carry = Option<Held>;

    const NAME: &'static str = "quota";
    const PHASE: Phase = Phase::RateLimit;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let name = config.name.unwrap_or_else(Name::default_name);
        let (unit, detail) = config.window.unit_and_detail();
        let definition = Definition {
            id: Arc::from(format!("{}/{name}", scope.place)),
            limit: config.limit.get(),
            window: Window::Calendar(Arc::new(Calendar::new(unit, config.time_zone))),
            enforcement: config.mode.into(),
            on_failure: config.on_failure.into(),
            is_settled: config.settle.is_some(),
        };
        let (by, cost, settle) = (config.by, config.cost, config.settle);
        let counting = Counting { by, cost, settle, is_shadow: config.shadow };
        let meter = Meter::compile(definition, &name, counting, scope)?;
        Ok(Self { meter, detail })
    }

    fn own_name(&self) -> Option<&str> {
        Some(&self.meter.definition().id)
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        self.meter.references(tenant)
    }

    async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<Self::Carry> {
        let counted = self.meter.take(cx, request).await;
        self.meter.judge(counted, cx, ("quota_exhausted", self.detail))
    }

    fn on_response(
        &self,
        held: &mut Self::Carry,
        cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) -> impl Future<Output = ()> {
        self.meter.answer(held, cx, response);
        std::future::ready(())
    }
}

impl Quota {
    /// The counter that it keeps.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        self.meter.definition()
    }
}

impl Every {
    const fn unit_and_detail(self) -> (Unit, &'static str) {
        match self {
            Self::Minute => (Unit::Minute, "the quota of this minute is used up"),
            Self::Hour => (Unit::Hour, "the quota of this hour is used up"),
            Self::Day => (Unit::Day, "the quota of this day is used up"),
            Self::Week => (Unit::Week, "the quota of this week is used up"),
            Self::Month => (Unit::Month, "the quota of this month is used up"),
            Self::Year => (Unit::Year, "the quota of this year is used up"),
        }
    }
}

#[cfg(test)]
mod tests;
