#![doc = include_str!("MANUAL.md")]

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use http::{HeaderMap, Request};
use schemars::JsonSchema;
use tollgate_model::issue::pointer;
use tollgate_model::units::Size;
use tollgate_model::{Issue, Issues, Kind, Name, ResourceId};

use crate::body::Body;
use crate::onward::{self, X_TOLLGATE_MIRROR};
use crate::policy::{Cx, Flow, Phase, Policy, Repeat, Scope};
use crate::share::{Draw, Percent};

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// The upstream of the tenant that gets a copy.
    pub upstream: Name,
    /// Of how many of a hundred calls: 0, or 0.01 to 100. Default 100.
    #[deserr(default)]
    #[schemars(with = "Option<f64>")]
    pub percent: Percent,
    /// The most of a request's body that waits for the mirror, up to 16MiB. Where the mirror takes it more slowly than the
    /// call's own upstream and more would wait, the copy breaks off. Default 1MiB.
    #[deserr(default)]
    #[schemars(with = "Option<Size>")]
    pub buffer: Buffer,
}

/// How much of a body may wait.
#[derive(Clone, Copy, Debug)]
pub struct Buffer(usize);

const MAX_BUFFER: u64 = 16 * 1024 * 1024;

impl Default for Buffer {
    fn default() -> Self {
        Self(1024 * 1024)
    }
}

impl Deserr<Issues> for Buffer {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let bytes = Size::deserialize_from_value(value, location)?.bytes();
        match usize::try_from(bytes) {
            Ok(buffer) if bytes <= MAX_BUFFER => Ok(Self(buffer)),
            _ => {
                let problem = "give a size up to 16MiB";
                Err(Issues::one(Issue::new(pointer(location), "out_of_range", problem)))
            }
        }
    }
}

/// Sends a copy of requests to another upstream.
pub struct Mirror {
    to: onward::Mirror,
    share: Percent,
    draw: Draw,
}

impl Policy for Mirror {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "mirror";
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        if scope.is_of_gateway() {
            let problem =
                "whose upstream it is cannot be told at a gateway, which serves every tenant";
            return Err(Issues::one(Issue::new("", "wrong_place", problem)));
        }
        let Config { upstream, percent, buffer } = config;
        let to = onward::Mirror { upstream, most_waiting_bytes: buffer.0 };
        Ok(Self { to, share: percent, draw: Draw::of(scope, "mirror") })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        vec![ResourceId::new(Kind::Upstream, tenant.clone(), self.to.upstream.clone())]
    }

    fn take_off_own_fields(&self, headers: &mut HeaderMap) {
        headers.remove(X_TOLLGATE_MIRROR);
    }

    async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<()> {
        self.take_off_own_fields(request.headers_mut());
        if self.draw.falls_into(self.share, cx.request_id) {
            cx.onward.add_mirror(self.to.clone());
        }
        Flow::Next(())
    }
}

#[cfg(test)]
mod tests;
