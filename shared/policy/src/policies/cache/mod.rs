#![doc = include_str!("MANUAL.md")]

use std::future::Future;
use std::time::Duration;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use schemars::JsonSchema;
use tollgate_model::issue::pointer;
use tollgate_model::route::FieldName;
use tollgate_model::units::{Size, Span};
use tollgate_model::{Issue, Issues, Name, ResourceId};

use crate::body::Body;
use crate::policy::{Cx, Flow, Phase, Policy, Repeat, Scope};
use crate::stored::Stored;
use crate::template::Template;

// Answers made of what is stored.
mod answer;
// What messages say about caching.
mod control;
// What may be stored, and for how long.
mod freshness;
// What a response is found by.
mod key;
// What is done with a request.
mod request;
// What is done with its response.
mod response;
// Which of several responses.
mod select;
// `cache-status`.
mod status;
// What it can be purged by.
mod tags;
// A body that is kept while it passes by.
mod tee;

use freshness::Terms;
pub use request::State;

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// How long plain answers (200, 203, 204, 300, 301, 308) are fresh, in place of what they say
    /// themselves. What they say against storing still holds.
    #[deserr(default)]
    pub ttl: Option<Span>,
    /// The same for plain answers that say nothing of it.
    #[deserr(default)]
    pub default_ttl: Option<Span>,
    /// Whether an answer that says nothing but has `last-modified` is fresh for a tenth of the time
    /// since then, a day at most. Default true.
    #[deserr(default = true)]
    #[schemars(with = "Option<bool>")]
    pub heuristics: bool,
    /// How long a stale answer may be given while it is fetched anew, where it does not say itself.
    /// Default: not at all.
    #[deserr(default)]
    pub stale_while_revalidate: Option<Span>,
    /// How long a stale answer may be given where the upstream fails, where it does not say itself.
    /// Default: not at all.
    #[deserr(default)]
    pub stale_if_error: Option<Span>,
    /// The largest body that is stored, 1B to 1GiB. Default 1MiB.
    #[deserr(default)]
    #[schemars(with = "Option<Size>")]
    pub max_body: MaxBody,
    /// Who shares an answer: `everyone`, the callers of one `application`, or those with one
    /// `credential`. Default `everyone`.
    #[deserr(default)]
    #[schemars(with = "Option<Per>")]
    pub per: Per,
    /// Texts with variables that tell answers apart beside tenant, API, host and target.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub key: Vec<String>,
    /// Request fields that tell answers apart beside those that the answers name in `vary`.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<FieldName>>")]
    pub vary: Vec<FieldName>,
    /// Whether what clients say in `cache-control` and `pragma` counts: `obey` or `ignore`. Default `obey`.
    #[deserr(default)]
    #[schemars(with = "Option<ClientDirectives>")]
    pub client_directives: ClientDirectives,
    /// Whether answers tell in `cache-status` what the cache did. Default true.
    #[deserr(default = true)]
    #[schemars(with = "Option<bool>")]
    pub cache_status: bool,
    /// Whether `surrogate-key` and `cache-tag` go on to clients. Default false.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub forward_tags: bool,
    /// How long a request waits for another one that fetches the same, 1ms to 1m. Default 5s.
    #[deserr(default)]
    #[schemars(with = "Option<Span>")]
    pub wait: Wait,
}

/// Who shares an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum Per {
    /// Everyone.
    #[default]
    Everyone,
    /// The callers of one application, and within it of one subject where that is known.
    Application,
    /// Those with one credential.
    Credential,
}

/// What becomes of the directives of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum ClientDirectives {
    /// They count.
    #[default]
    Obey,
    /// They do not.
    Ignore,
}

/// The largest body.
#[derive(Clone, Copy, Debug)]
pub struct MaxBody(usize);

impl Default for MaxBody {
    fn default() -> Self {
        Self(1 << 20)
    }
}

impl Deserr<Issues> for MaxBody {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        match Size::deserialize_from_value(value, location)?.bytes() {
            bytes @ 1..=0x4000_0000 => Ok(Self(usize::try_from(bytes).unwrap_or(usize::MAX))),
            _ => Err(out_of_range(location, "give a size from 1B to 1GiB")),
        }
    }
}

/// The longest wait.
#[derive(Clone, Copy, Debug)]
pub struct Wait(Duration);

impl Default for Wait {
    fn default() -> Self {
        Self(Duration::from_secs(5))
    }
}

impl Deserr<Issues> for Wait {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let wait = Span::deserialize_from_value(value, location)?.get();
        if wait <= Duration::from_secs(60) {
            return Ok(Self(wait));
        }
        Err(out_of_range(location, "give a wait from 1ms to 1m"))
    }
}

fn out_of_range(location: ValuePointerRef<'_>, problem: &'static str) -> Issues {
    Issues::one(Issue::new(pointer(location), "out_of_range", problem))
}

/// Answers from memory what may be answered from there.
pub struct Cache {
    terms: Terms,
    most_bytes: usize,
    per: Per,
    key: Box<[Template]>,
    vary: Box<[HeaderName]>,
    client_directives: ClientDirectives,
    tells_status: bool,
    forwards_tags: bool,
    wait: Duration,
}

impl Policy for Cache {
    type Config = Config;
    /// What the response half has to know; none where it has nothing to do.
    type Carry = Option<Box<State>>;

    const NAME: &'static str = "cache";
    const PHASE: Phase = Phase::Cache;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        let mut key = Vec::with_capacity(config.key.len());
        for (i, text) in config.key.iter().enumerate() {
            match Template::parse(text, scope) {
                Ok(template) => key.push(template),
                Err(rejected) => issues.add(format!("/key/{i}"), rejected.code, rejected.problem),
            }
        }
        let micros = |span: Span| u64::try_from(span.get().as_micros()).unwrap_or(u64::MAX);
        issues.into_result(Self {
            terms: Terms {
                lifetime: config.ttl.map(micros),
                default_lifetime: config.default_ttl.map(micros),
                has_heuristics: config.heuristics,
                while_revalidating: config.stale_while_revalidate.map_or(0, micros),
                if_error: config.stale_if_error.map_or(0, micros),
            },
            most_bytes: config.max_body.0,
            per: config.per,
            key: key.into(),
            vary: config.vary.iter().map(|name| name.as_http().clone()).collect(),
            client_directives: config.client_directives,
            tells_status: config.cache_status,
            forwards_tags: config.forward_tags,
            wait: config.wait.0,
        })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        self.key.iter().flat_map(|template| template.references(tenant)).collect()
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<Self::Carry>> {
        self.meet_request(cx, request)
    }

    fn on_response(
        &self,
        carry: &mut Self::Carry,
        cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) -> impl Future<Output = ()> {
        if let Some(state) = carry.take() {
            self.meet_response(*state, cx, response);
        }
        std::future::ready(())
    }
}

/// Says the length of a stored body, whatever was said of it on the way.
fn set_length(stored: &mut Stored) {
    stored.headers.remove(header::TRANSFER_ENCODING);
    if stored.status != StatusCode::NO_CONTENT {
        stored.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(stored.body.len()));
    }
}

#[cfg(test)]
mod tests;
