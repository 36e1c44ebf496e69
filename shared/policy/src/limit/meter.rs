//! What every limit that is counted does with a request: asks, tells, refuses.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use tollgate_model::{Issue, Issues, Name, ResourceId};

use super::subject::By;
use super::written::Permits;
use super::{Definition, Window};
use crate::body::Body;
use crate::policy::{Cx, Flow, Refusal};
use crate::ports::{Decision, Take, Taken};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A limit with whom it counts for, and its name in header fields.
pub struct Meter {
    definition: Definition,
    by: By,
    policy_field: PolicyField,
    /// `"name";r=`, as it begins in `ratelimit`.
    field_start: Box<str>,
    /// What one request takes.
    cost: u64,
    /// Whether it only watches.
    is_shadow: bool,
}

/// `"name";q=100;w=60`, as it stands in `ratelimit-policy`.
enum PolicyField {
    /// Of a window that is always as long.
    Whole(HeaderValue),
    /// As it begins, without the length of the window.
    Start(Box<str>),
}

impl Meter {
    /// A limit by its name.
    #[must_use]
    pub fn new(definition: Definition, by: By, name: &Name) -> Self {
        let start = format!("\"{name}\";q={};w=", definition.limit);
        let policy_field = match &definition.window {
            Window::Rolling(length) => PolicyField::Whole(
                // A name and two numbers are always visible ASCII.
                HeaderValue::from_str(&format!("{start}{}", length.as_secs()))
                    .unwrap_or(HeaderValue::from_static("")),
            ),
            Window::Calendar(_) => PolicyField::Start(start.into_boxed_str()),
        };
        let field_start = format!("\"{name}\";r=").into_boxed_str();
        Self { definition, by, policy_field, field_start, cost: 1, is_shadow: false }
    }

    /// The same where one request takes so much.
    ///
    /// # Errors
    ///
    /// Where that is more than the limit.
    pub fn costing(mut self, cost: Option<Permits>) -> Result<Self, Issues> {
        self.cost = cost.map_or(1, Permits::get);
        if self.cost <= self.definition.limit {
            return Ok(self);
        }
        let problem = "is more than the limit, so that no request would be admitted";
        Err(Issues::one(Issue::new("/cost", "out_of_range", problem)))
    }

    /// The same where it only watches, or not.
    #[must_use]
    pub fn shadowing(mut self, is_shadow: bool) -> Self {
        self.is_shadow = is_shadow;
        self
    }

    /// The counter that it keeps.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The secrets that it names.
    #[must_use]
    pub fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        self.by.references(tenant)
    }

    /// Counts a request.
    pub async fn take(&self, cx: &Cx<'_>, request: &Request<Body>) -> Decision {
        let subject = self.by.subject(cx, request);
        let take = Take {
            definition: &self.definition,
            tenant: &cx.route.tenant,
            subject: &subject,
            cost: self.cost,
            now_unix_micros: cx.now_unix_micros,
        };
        match cx.ports.counters().take(take) {
            Taken::Now(decision) => decision,
            Taken::Wait(decision) => decision.await,
        }
    }

    /// Lets a request on, or turns it away with this code and detail.
    pub fn judge(
        &self,
        decision: Decision,
        cx: &mut Cx<'_>,
        told: (&'static str, &'static str),
    ) -> Flow<Decision> {
        if decision.is_admitted {
            return Flow::Next(decision);
        }
        if self.is_shadow {
            cx.shadowed.get_or_insert(told.0);
            return Flow::Next(decision);
        }
        self.refuse(decision, cx.now_unix_micros, told).into_flow()
    }

    /// Tells a client what is left, unless it only watches.
    pub fn tell(&self, decision: Decision, now_unix_micros: u64, headers: &mut HeaderMap) {
        if self.is_shadow {
            return;
        }
        for (name, value) in self.fields(decision, now_unix_micros) {
            headers.append(name, value);
        }
    }

    /// Tells a client that nothing is left, and until when.
    fn refuse(
        &self,
        decision: Decision,
        now_unix_micros: u64,
        (code, detail): (&'static str, &'static str),
    ) -> Refusal {
        let wait = HeaderValue::from(whole_seconds(decision.reset));
        let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
            .with(header::RETRY_AFTER, wait);
        refusal.headers.extend(self.fields(decision, now_unix_micros));
        refusal
    }

    fn fields(
        &self,
        decision: Decision,
        now_unix_micros: u64,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let policy = match &self.policy_field {
            PolicyField::Whole(value) => Some(value.clone()),
            PolicyField::Start(start) => {
                let length = self.definition.window.length_at(now_unix_micros);
                joined(&[start, itoa::Buffer::new().format(length.as_secs())])
            }
        };
        // draft-ietf-httpapi-ratelimit-headers-11 §2: `"name";r=12;t=30`.
        let left = joined(&[
            &self.field_start,
            itoa::Buffer::new().format(decision.remaining),
            ";t=",
            itoa::Buffer::new().format(whole_seconds(decision.reset)),
        ]);
        let policy = policy.map(|value| (RATELIMIT_POLICY, value));
        policy.into_iter().chain(left.map(|value| (RATELIMIT, value)))
    }
}

/// One value out of pieces, in one allocation.
fn joined(pieces: &[&str]) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(pieces.concat())).ok()
}

/// Rounded up, so that who waits as long as told is admitted.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
