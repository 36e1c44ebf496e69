#![doc = include_str!("MANUAL.md")]

use std::time::Duration;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use http::{HeaderName, Request, StatusCode};
use schemars::JsonSchema;
use tollgate_model::issue::pointer;
use tollgate_model::route::FieldName;
use tollgate_model::units::Span;
use tollgate_model::{Issue, Issues};

use crate::body::Body;
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};
use crate::share::{Draw, Percent};

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Lets calls wait. Default: none waits.
    #[deserr(default)]
    pub delay: Option<Delay>,
    /// Refuses calls. Default: none is refused.
    #[deserr(default)]
    pub abort: Option<Abort>,
    /// Only calls that have this field. Default: all.
    #[deserr(default)]
    pub header: Option<FieldName>,
}

/// Calls that wait.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Delay {
    /// How long each waits, up to 1m.
    #[schemars(with = "Span")]
    pub time: Wait,
    /// How many of a hundred: 0, or 0.01 to 100. Default 100.
    #[deserr(default)]
    #[schemars(with = "Option<f64>")]
    pub percent: Percent,
}

/// Calls that are refused.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Abort {
    /// With this status, 400 to 599.
    pub status: ErrorStatus,
    /// How many of a hundred: 0, or 0.01 to 100. Default 100.
    #[deserr(default)]
    #[schemars(with = "Option<f64>")]
    pub percent: Percent,
}

/// How long a call waits.
#[derive(Clone, Copy, Debug)]
pub struct Wait(Duration);

impl Deserr<Issues> for Wait {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let wait = Span::deserialize_from_value(value, location)?.get();
        if wait <= Duration::from_secs(60) {
            return Ok(Self(wait));
        }
        Err(out_of_range(location, "give a time up to 1m"))
    }
}

/// The status of an error.
#[derive(Clone, Copy, Debug, JsonSchema)]
#[schemars(transparent)]
pub struct ErrorStatus(#[schemars(range(min = 400, max = 599), with = "u16")] StatusCode);

impl Deserr<Issues> for ErrorStatus {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let number = u16::deserialize_from_value(value, location)?;
        match StatusCode::from_u16(number) {
            Ok(status) if (400..=599).contains(&number) => Ok(Self(status)),
            _ => Err(out_of_range(location, "give a status from 400 to 599")),
        }
    }
}

fn out_of_range(location: ValuePointerRef<'_>, problem: &'static str) -> Issues {
    Issues::one(Issue::new(pointer(location), "out_of_range", problem))
}

/// Delays and refuses calls on purpose.
pub struct Fault {
    delay: Option<(Duration, Percent, Draw)>,
    abort: Option<(StatusCode, Percent, Draw)>,
    header: Option<HeaderName>,
}

impl Policy for Fault {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "fault";
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        if config.delay.is_none() && config.abort.is_none() {
            let problem = "gives neither `delay` nor `abort`; give one of them";
            return Err(Issues::one(Issue::new("", "missing_field", problem)));
        }
        Ok(Self {
            delay: config
                .delay
                .map(|delay| (delay.time.0, delay.percent, Draw::of(scope, "delay"))),
            abort: config
                .abort
                .map(|abort| (abort.status.0, abort.percent, Draw::of(scope, "abort"))),
            header: config.header.map(|name| name.as_http().clone()),
        })
    }

    async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<()> {
        if self.header.as_ref().is_some_and(|name| !request.headers().contains_key(name)) {
            return Flow::Next(());
        }
        if let Some((time, share, draw)) = self.delay
            && draw.falls_into(share, cx.request_id)
        {
            cx.ports.sleep(time).await;
        }
        match self.abort {
            Some((status, share, draw)) if draw.falls_into(share, cx.request_id) => {
                Refusal::new(status, "fault_injected", "the gateway was told to refuse this call")
                    .into_flow()
            }
            _ => Flow::Next(()),
        }
    }
}

#[cfg(test)]
mod tests;
