//! What every limit that is counted does with a request: asks, tells, refuses.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use tollgate_model::{Issues, Name, ResourceId};

use super::cost::{Cost, NoPrice, Price};
use super::settle::{Reservation, Settle, Teller};
use super::subject::{By, Subject};
use super::{Definition, Window};
use crate::body::Body;
use crate::policy::{Cx, Flow, Refusal, Scope};
use crate::ports::{Decision, Settlement, Take, Taken};

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
    price: Price,
    /// Who tells what it did take.
    teller: Option<Teller>,
    /// Whether it only watches.
    is_shadow: bool,
}

/// How a limit counts, as it is written.
pub struct Counting {
    /// Whom it counts for.
    pub by: Option<Subject>,
    /// What one request takes.
    pub cost: Option<Cost>,
    /// Who tells what it did take.
    pub settle: Option<Settle>,
    /// Whether it only watches.
    pub is_shadow: bool,
}

/// What a limit hands from a request to its answer.
#[derive(Debug)]
pub struct Held {
    left: Left,
    /// What is to be settled.
    reservation: Option<Box<Reservation>>,
}

/// What a client is told.
#[derive(Clone, Copy, Debug)]
struct Left {
    permits: u64,
    reset: Duration,
}

/// What came of counting a request.
#[derive(Debug)]
pub enum Counted {
    /// It costs nothing: it is let on, and told nothing of the limit.
    Free,
    /// What the counter said.
    Asked(Decision, Option<Box<Reservation>>),
    /// What it costs is not known, or more than the limit.
    Unpriced(NoPrice),
}

/// `"name";q=100;w=60`, as it stands in `ratelimit-policy`.
enum PolicyField {
    /// Of a window that is always as long.
    Whole(HeaderValue),
    /// As it begins, without the length of the window.
    Start(Box<str>),
}

impl Meter {
    /// Compiles a limit by its name.
    ///
    /// # Errors
    ///
    /// Every fault, with pointers below `/by`, `/cost` and `/settle`.
    pub fn compile(
        definition: Definition,
        name: &Name,
        counting: Counting,
        scope: Scope<'_>,
    ) -> Result<Self, Issues> {
        let by = By::compile(counting.by, scope);
        let price = Price::compile(counting.cost, definition.limit, scope);
        let teller = counting.settle.as_ref().map(Teller::compile).transpose();
        let (by, price, teller) = match (by, price, teller) {
            (Ok(by), Ok(price), Ok(teller)) => (by, price, teller),
            (by, price, teller) => {
                let mut issues = Issues::default();
                for faults in [by.err(), price.err(), teller.err()].into_iter().flatten() {
                    issues.extend_under("", faults);
                }
                return Err(issues);
            }
        };
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
        let is_shadow = counting.is_shadow;
        Ok(Self { definition, by, policy_field, field_start, price, teller, is_shadow })
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
    pub async fn take(&self, cx: &Cx<'_>, request: &Request<Body>) -> Counted {
        let cost = match self.price.of(self.definition.limit, cx, request) {
            Ok(0) => return Counted::Free,
            Ok(cost) => cost,
            Err(no_price) => return Counted::Unpriced(no_price),
        };
        let subject = self.by.subject(cx, request);
        let take = Take {
            definition: &self.definition,
            tenant: &cx.route.tenant,
            subject: &subject,
            cost,
            now_unix_micros: cx.now_unix_micros,
        };
        let decision = match cx.ports.counters().take(take) {
            Taken::Now(decision) => decision,
            Taken::Wait(decision) => decision.await,
        };
        let booked = decision.booked.filter(|_| self.teller.is_some());
        let reservation =
            booked.map(|booked| Box::new(Reservation { subject: (*subject).into(), cost, booked }));
        Counted::Asked(decision, reservation)
    }

    /// Lets a request on, or turns it away: over the limit with this code and detail.
    pub fn judge(
        &self,
        counted: Counted,
        cx: &mut Cx<'_>,
        told: (&'static str, &'static str),
    ) -> Flow<Option<Held>> {
        let now = cx.now_unix_micros;
        let (held, refusal) = match counted {
            Counted::Free => return Flow::Next(None),
            Counted::Asked(Decision { is_admitted, remaining, reset, .. }, reservation) => {
                let left = Left { permits: remaining, reset };
                let held = Some(Held { left, reservation });
                if is_admitted {
                    return Flow::Next(held);
                }
                (held, self.refuse(left, now, told))
            }
            Counted::Unpriced(no_price) => (None, self.refuse_unpriced(no_price, now)),
        };
        if self.is_shadow {
            cx.shadowed.get_or_insert(refusal.code);
            return Flow::Next(held);
        }
        refusal.into_flow()
    }

    /// Settles what the call did cost, and tells the client what is left: unless it only watches, or has not counted
    /// the request.
    pub fn answer(&self, held: &mut Option<Held>, cx: &Cx<'_>, response: &mut Response<Body>) {
        let did_cost = self.teller.as_ref().and_then(|teller| teller.told(response));
        let Some(Held { left, reservation }) = held else { return };
        if let (Some(cost), Some(reservation)) = (did_cost, reservation.take()) {
            self.settle(&reservation, cost, cx);
            left.permits = left.permits.saturating_add(reservation.cost).saturating_sub(cost);
        }
        if !self.is_shadow {
            let headers = response.headers_mut();
            for (name, value) in self.fields(*left, cx.now_unix_micros) {
                headers.append(name, value);
            }
        }
    }

    fn settle(&self, reservation: &Reservation, cost: u64, cx: &Cx<'_>) {
        let Reservation { subject, cost: taken, booked } = reservation;
        let take = Take {
            definition: &self.definition,
            tenant: &cx.route.tenant,
            subject,
            cost: *taken,
            now_unix_micros: cx.now_unix_micros,
        };
        if cost != *taken {
            cx.ports.counters().settle(&Settlement { take, booked: *booked, cost });
        }
    }

    /// Tells a client that nothing is left, and until when.
    fn refuse(
        &self,
        left: Left,
        now_unix_micros: u64,
        (code, detail): (&'static str, &'static str),
    ) -> Refusal {
        let wait = HeaderValue::from(whole_seconds(left.reset));
        let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
            .with(header::RETRY_AFTER, wait);
        refusal.headers.extend(self.fields(left, now_unix_micros));
        refusal
    }

    /// Says that a request could not be counted, and by which limit.
    fn refuse_unpriced(&self, no_price: NoPrice, now_unix_micros: u64) -> Refusal {
        let mut refusal = no_price.refusal();
        refusal.headers.extend(self.policy(now_unix_micros));
        refusal
    }

    fn fields(
        &self,
        left: Left,
        now_unix_micros: u64,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        // draft-ietf-httpapi-ratelimit-headers-11 §2: `"name";r=12;t=30`.
        let left = joined(&[
            &self.field_start,
            itoa::Buffer::new().format(left.permits),
            ";t=",
            itoa::Buffer::new().format(whole_seconds(left.reset)),
        ]);
        let left = left.map(|value| (RATELIMIT, value));
        self.policy(now_unix_micros).into_iter().chain(left)
    }

    fn policy(&self, now_unix_micros: u64) -> Option<(HeaderName, HeaderValue)> {
        let value = match &self.policy_field {
            PolicyField::Whole(value) => value.clone(),
            PolicyField::Start(start) => {
                let length = self.definition.window.length_at(now_unix_micros);
                joined(&[start, itoa::Buffer::new().format(length.as_secs())])?
            }
        };
        Some((RATELIMIT_POLICY, value))
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
