#![doc = include_str!("MANUAL.md")]

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use schemars::JsonSchema;
use tollgate_model::issue::{nearest, pointer};
use tollgate_model::parse::{self, Rejected};
use tollgate_model::units::Span;
use tollgate_model::{FromText, Issue, Issues, Name, ResourceId};

use crate::body::Body;
use crate::limit::{Definition, Enforcement, OnFailure};
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};
use crate::ports::{Decision, Take, Taken};
use crate::template::Template;

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
    /// Whom it is counted for: `application`, `credential`, `ip`, `route`, or a text with variables
    /// such as `"{header.x-user}"`. Default `application`; a call without an identity counts for its address.
    #[deserr(default)]
    #[schemars(with = "Option<String>")]
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
    /// Stands in the `ratelimit` fields, and tells limits apart. Default `default`.
    #[deserr(default)]
    pub name: Option<Name>,
}

/// A number of requests.
#[derive(Clone, Copy, Debug, JsonSchema)]
#[schemars(transparent)]
pub struct Permits(#[schemars(range(min = 1, max = 1_000_000_000))] u64);

impl Deserr<Issues> for Permits {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        match u64::deserialize_from_value(value, location)? {
            permits @ 1..=1_000_000_000 => Ok(Self(permits)),
            _ => Err(Issues::one(Issue::new(
                pointer(location),
                "out_of_range",
                "give a limit from 1 to 1,000,000,000",
            ))),
        }
    }
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

/// Whom something is counted for, as it is written; which variables a text may have depends on its place.
#[derive(Clone, Debug)]
pub enum Subject {
    /// The application, or the client's address.
    Application,
    /// The credential, or the client's address.
    Credential,
    /// The client's address.
    Ip,
    /// The route.
    Route,
    /// A text with variables.
    Text(String),
}

impl FromText for Subject {
    const EXPECTED: &'static str = "application, credential, ip, route, or a text with variables";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        const KNOWN: [&str; 4] = ["application", "credential", "ip", "route"];
        match text {
            "application" => Ok(Self::Application),
            "credential" => Ok(Self::Credential),
            "ip" => Ok(Self::Ip),
            "route" => Ok(Self::Route),
            text if text.contains('{') => Ok(Self::Text(text.to_owned())),
            other => Err(Rejected::new(
                "unknown_value",
                format!(
                    "`{}` is not something to count by; {}, or a text with variables such as \"{{header.x-user}}\"",
                    other.escape_debug(),
                    nearest(other, &KNOWN)
                ),
            )),
        }
    }
}

impl Deserr<Issues> for Subject {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        parse::text(value, location)
    }
}

/// How exactly nodes agree.
#[derive(Clone, Copy, Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum Mode {
    /// Every request asks the shared counters.
    Exact,
    /// Blocks of permits are debited first and spent on the node.
    #[default]
    Leased,
    /// Each node by itself.
    Local,
}

/// What happens while the shared counters are away.
#[derive(Clone, Copy, Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues)]
pub enum Failure {
    /// Admit.
    #[deserr(rename = "open")]
    #[schemars(rename = "open")]
    Open,
    /// Refuse.
    #[deserr(rename = "closed")]
    #[schemars(rename = "closed")]
    Closed,
    /// Count on the node.
    #[default]
    #[deserr(rename = "local_share")]
    #[schemars(rename = "local_share")]
    LocalShare,
}

/// Refuses a subject's requests beyond a number in a window of time.
pub struct RateLimit {
    definition: Definition,
    by: By,
    /// `"name";q=100;w=60`, as it stands in `ratelimit-policy`.
    policy_field: HeaderValue,
    /// `"name";r=`, as it begins in `ratelimit`.
    field_start: Box<str>,
}

enum By {
    Application,
    Credential,
    Ip,
    Route,
    Text(Template),
}

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl Policy for RateLimit {
    type Config = Config;
    /// What the counter said.
    type Carry = Decision;

    const NAME: &'static str = "rate_limit";
    const PHASE: Phase = Phase::RateLimit;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let (Permits(limit), Window(window)) = (config.limit, config.window);
        let by = By::compile(config.by.unwrap_or(Subject::Application), scope)
            .map_err(|rejected| Issues::one(Issue::new("/by", rejected.code, rejected.problem)))?;
        let name = config.name.unwrap_or_else(Name::default_name);
        let text = format!("\"{name}\";q={limit};w={}", window.as_secs());
        // A name and two numbers are always visible ASCII.
        let policy_field = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        Ok(Self {
            definition: Definition {
                id: Arc::from(format!("{}/{name}", scope.place)),
                limit,
                window,
                enforcement: match config.mode {
                    Mode::Exact => Enforcement::Exact,
                    Mode::Leased => Enforcement::Leased,
                    Mode::Local => Enforcement::Local,
                },
                on_failure: match config.on_failure {
                    Failure::Open => OnFailure::Open,
                    Failure::Closed => OnFailure::Closed,
                    Failure::LocalShare => OnFailure::LocalShare,
                },
            },
            by,
            policy_field,
            field_start: format!("\"{name}\";r=").into_boxed_str(),
        })
    }

    fn own_name(&self) -> Option<&str> {
        Some(&self.definition.id)
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        match &self.by {
            By::Text(template) => template.references(tenant),
            By::Application | By::Credential | By::Ip | By::Route => Vec::new(),
        }
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<Decision>> {
        self.meet(cx, request)
    }

    fn on_response(
        &self,
        decision: &mut Decision,
        _cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) -> impl Future<Output = ()> {
        let headers = response.headers_mut();
        headers.append(RATELIMIT_POLICY, self.policy_field.clone());
        if let Some(value) = self.field(*decision) {
            headers.append(RATELIMIT, value);
        }
        std::future::ready(())
    }
}

impl RateLimit {
    /// The counter that it keeps, for `tollgate explain` and the nodes' bookkeeping.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    async fn meet(&self, cx: &mut Cx<'_>, request: &Request<Body>) -> Flow<Decision> {
        let subject = self.by.subject(cx, request);
        let take = Take {
            definition: &self.definition,
            tenant: &cx.route.tenant,
            subject: &subject,
            cost: 1,
            now_unix_micros: cx.now_unix_micros,
        };
        let decision = match cx.ports.counters().take(take) {
            Taken::Now(decision) => decision,
            Taken::Wait(decision) => decision.await,
        };
        if decision.is_admitted {
            return Flow::Next(decision);
        }
        let mut refusal = Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many requests in this window",
        )
        .with(header::RETRY_AFTER, HeaderValue::from(whole_seconds(decision.reset)))
        .with(RATELIMIT_POLICY, self.policy_field.clone());
        if let Some(value) = self.field(decision) {
            refusal = refusal.with(RATELIMIT, value);
        }
        refusal.into_flow()
    }

    /// `"name";r=12;t=30` (draft-ietf-httpapi-ratelimit-headers-11 §2).
    fn field(&self, decision: Decision) -> Option<HeaderValue> {
        let (mut left, mut reset) = (itoa::Buffer::new(), itoa::Buffer::new());
        let left = left.format(decision.remaining);
        let reset = reset.format(whole_seconds(decision.reset));
        let mut text = Vec::with_capacity(self.field_start.len() + left.len() + 3 + reset.len());
        text.extend_from_slice(self.field_start.as_bytes());
        text.extend_from_slice(left.as_bytes());
        text.extend_from_slice(b";t=");
        text.extend_from_slice(reset.as_bytes());
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
    }
}

/// Rounded up, so that who waits as long as told is admitted.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl By {
    fn compile(subject: Subject, scope: Scope<'_>) -> Result<Self, Rejected> {
        Ok(match subject {
            Subject::Application => Self::Application,
            Subject::Credential => Self::Credential,
            Subject::Ip => Self::Ip,
            Subject::Route => Self::Route,
            Subject::Text(text) => Self::Text(Template::parse(&text, scope)?),
        })
    }

    /// Whom a request counts for.
    fn subject<'a>(&'a self, cx: &'a Cx<'_>, request: &'a Request<Body>) -> Cow<'a, str> {
        let address = || Cow::Borrowed(&*cx.client.address_text);
        match self {
            Self::Application => cx
                .identity
                .as_ref()
                .map_or_else(address, |caller| caller.application.as_str().into()),
            Self::Credential => cx
                .identity
                .as_ref()
                .map_or_else(address, |caller| caller.credential.as_str().into()),
            Self::Ip => address(),
            // A limit above the API meets routes of the same name.
            Self::Route => {
                let route = cx.route.route.as_ref().map_or("", Name::as_str);
                Cow::Owned([cx.route.api.as_str(), "/", route].concat())
            }
            Self::Text(template) => template.render(cx, request),
        }
    }
}

#[cfg(test)]
mod tests;
