#![doc = include_str!("MANUAL.md")]

use std::future::pending;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use tollgate_model::{Issues, Kind as ResourceKind, Name, ResourceId};

use super::compress::{forget_bytes, weaken_etag};
use super::decompress::{self, Asked, Bounds};
use crate::body::whole::{self, Read};
use crate::body::{Body, BodyError, BrokenOff};
use crate::escape::Escape;
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, RouteFacts, Scope};
use crate::ports::Ports;
use crate::recorded::Recorded;

/// What the operator writes.
mod config;
/// What is found in a text, and where.
mod find;
/// Values of forms.
mod form;
/// JSON that is rewritten where it stands.
mod json;
/// What an answer is.
mod medium;
/// Places in JSON.
mod path;
/// What is written down of a call.
mod record;
//// What takes the place of what was found.
mod replace;
/// Rules over one text.
mod rules;

pub use config::{ApplyTo, Config, KeyReference, Keyed, Kind, OnLarge, PartialConfig, RuleConfig};
use find::TooMuch;
use form::FormFault;
use json::{Count, JsonFault, Rewriter};
use medium::{EVENT_STREAM, Judgement, Medium};
use rules::Masker;

/// How many times larger than its coding an answer may be; the first 64 KiB are free.
const MAX_RATIO: u64 = 100;
/// How much JSON is read before others on the thread get their turn.
const TURN: usize = 64 << 10;
/// How many times larger than `max_body` an answer may become by what takes the place of what was found, and what
/// it may have beside that.
const GROWTH: usize = 4;
const FREE_GROWTH: usize = 64 << 10;

/// Hides personal data in answers and in records.
pub struct Mask {
    compiled: config::Compiled,
}

/// What is known of the request when the answer comes.
#[derive(Debug)]
pub struct Carry {
    asked: Asked,
    is_head: bool,
}

/// Why an answer is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    TooLarge,
    TooMuch,
    Malformed,
    Charset,
    Partial,
    Events,
    Incomplete,
    NoKey,
}

impl Fault {
    fn refusal(self) -> Refusal {
        let (status, code, detail) = match self {
            Self::TooLarge => (
                StatusCode::BAD_GATEWAY,
                "response_too_large",
                "the answer of this API is larger than is taken here",
            ),
            Self::TooMuch => (
                StatusCode::BAD_GATEWAY,
                "response_not_masked",
                "the answer of this API has more to hide than is taken here",
            ),
            Self::Malformed => (
                StatusCode::BAD_GATEWAY,
                "malformed_response",
                "the answer of this API is not what its content-type says",
            ),
            Self::Charset => (
                StatusCode::BAD_GATEWAY,
                "unsupported_response_charset",
                "the answer of this API is not in UTF-8",
            ),
            Self::Partial => (
                StatusCode::BAD_GATEWAY,
                "unsupported_response_range",
                "the answer of this API is a part, which cannot be shown here",
            ),
            Self::Events => (
                StatusCode::BAD_GATEWAY,
                "unsupported_response_stream",
                "the answer of this API is a stream of events, which cannot be shown here",
            ),
            Self::Incomplete => {
                (StatusCode::BAD_GATEWAY, "incomplete_response", "the answer of this API broke off")
            }
            Self::NoKey => (
                StatusCode::SERVICE_UNAVAILABLE,
                "masking_unavailable",
                "the gateway lacks a key that this API's answers need",
            ),
        };
        Refusal::new(status, code, detail)
    }
}

impl From<TooMuch> for Fault {
    fn from(_: TooMuch) -> Self {
        Self::TooMuch
    }
}

impl From<JsonFault> for Fault {
    fn from(fault: JsonFault) -> Self {
        match fault {
            JsonFault::Malformed => Self::Malformed,
            JsonFault::TooMuch => Self::TooMuch,
        }
    }
}

impl From<FormFault> for Fault {
    fn from(fault: FormFault) -> Self {
        match fault {
            FormFault::NotUtf8 => Self::Charset,
            FormFault::TooMuch => Self::TooMuch,
        }
    }
}

impl From<Fault> for Box<Refusal> {
    fn from(fault: Fault) -> Self {
        Self::new(fault.refusal())
    }
}

impl Policy for Mask {
    type Config = Config;
    type Carry = Option<Carry>;

    const NAME: &'static str = "mask";
    const PHASE: Phase = Phase::Transform;
    // What an outer level hides, an inner one must not show.
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        config.compile(scope).map(|compiled| Self { compiled })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        let secrets = self.compiled.rules.iter().filter_map(|rule| rule.replacement.secret());
        secrets
            .map(|name| ResourceId::new(ResourceKind::Secret, tenant.clone(), name.clone()))
            .collect()
    }

    fn least_bytes(&self, _secret: &ResourceId) -> usize {
        replace::MIN_KEY
    }

    async fn on_request(&self, _cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<Self::Carry> {
        if !self.compiled.apply_to.answers {
            return Flow::Next(None);
        }
        let is_head = request.method() == Method::HEAD;
        let headers = request.headers_mut();
        // A part cannot be read: what is to be hidden may begin before it.
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
        let asked = Asked::instead(headers, decompress::PLAIN);
        Flow::Next(Some(Carry { asked, is_head }))
    }

    fn changes_records(&self) -> bool {
        self.compiled.apply_to.records
    }

    fn on_record(&self, route: &RouteFacts, ports: &dyn Ports, recorded: &mut Recorded<'_>) {
        if self.compiled.apply_to.records {
            record::hide(&self.compiled.rules, route, ports, recorded);
        }
    }

    async fn on_response(
        &self,
        carry: &mut Self::Carry,
        cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) {
        let Some(carry) = carry else { return };
        carry.asked.settle(cx);
        if carry.is_head || !has_body(response) {
            return;
        }
        let medium = match self.judge(response) {
            Ok(None) => return,
            Ok(Some(medium)) => medium,
            Err(fault) => return fault.refusal().replace(response),
        };
        // In its own memory: few answers are read, and what is handed from step to step stays small.
        let masking = Box::pin(self.mask(medium, cx, response));
        if let Err(refusal) = masking.await {
            refusal.replace(response);
        }
    }
}

fn has_body(response: &Response<Body>) -> bool {
    let status = response.status();
    let is_empty = status.is_informational()
        || [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED]
            .contains(&status);
    !is_empty && !response.body().is_end_stream()
}

impl Mask {
    /// How an answer is read; none where it is not.
    fn judge(&self, response: &Response<Body>) -> Result<Option<Medium>, Fault> {
        let headers = response.headers();
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let judgement = medium::judge(headers, self.compiled.content_types.as_deref());
        match judgement {
            Judgement::Leave if is_part && medium::is_of_parts(headers) => Err(Fault::Partial),
            Judgement::Leave => Ok(None),
            _ if is_part => Err(Fault::Partial),
            Judgement::Events => Err(Fault::Events),
            Judgement::Charset => Err(Fault::Charset),
            Judgement::Read(medium) => Ok(Some(medium)),
        }
    }

    async fn mask(
        &self,
        medium: Medium,
        cx: &Cx<'_>,
        response: &mut Response<Body>,
    ) -> Result<(), Box<Refusal>> {
        // The reading below counts the bytes; what is too large may have to go out all the same.
        let bounds = Bounds { max_size: u64::MAX, max_ratio: MAX_RATIO };
        decompress::decode_response(response, bounds)?;
        let body = cx.ports.in_time(std::mem::take(response.body_mut()));
        let bytes =
            match whole::read(body, self.compiled.max_body, pending()).await.map_err(broken_off)? {
                // Its trailers are dropped: they may tell of the bytes as they were.
                Read::Whole(whole) => whole.bytes,
                Read::TooLarge(body) if self.compiled.on_large == OnLarge::Pass => {
                    *response.body_mut() = body;
                    return Ok(());
                }
                Read::TooLarge(_) => return Err(Fault::TooLarge.into()),
            };
        let masked = self.masked(medium, cx, &bytes).await?;
        let headers = response.headers_mut();
        headers.remove(header::ACCEPT_RANGES);
        headers.remove(header::TRAILER);
        let body = match masked {
            Some(masked) => {
                forget_bytes(headers);
                weaken_etag(headers);
                Bytes::from(masked)
            }
            None => bytes,
        };
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        *response.body_mut() = Body::from(body);
        Ok(())
    }

    /// A body with what was found replaced; none where nothing was.
    async fn masked(
        &self,
        medium: Medium,
        cx: &Cx<'_>,
        bytes: &[u8],
    ) -> Result<Option<String>, Fault> {
        let text = std::str::from_utf8(bytes).map_err(|_other| Fault::Charset)?;
        let most_bytes = self.compiled.max_body.saturating_mul(GROWTH).saturating_add(FREE_GROWTH);
        let masker = || {
            Masker::new(&self.compiled.rules, cx.route, cx.ports, most_bytes)
                .map_err(|_no_key| Fault::NoKey)
        };
        match medium {
            Medium::Json => rewritten(text, Count::One, masker()?).await,
            Medium::JsonLines => rewritten(text, Count::Many, masker()?).await,
            Medium::Form => Ok(form::mask(text, &mut masker()?)?),
            Medium::Markup => masked_text(text, Escape::Markup, masker()?).await,
            Medium::Text => masked_text(text, Escape::Nothing, masker()?).await,
            Medium::Unknown => match rewritten(text, Count::One, masker()?).await {
                Err(Fault::Malformed) => masked_text(text, Escape::Nothing, masker()?).await,
                done => done,
            },
        }
    }
}

async fn rewritten(
    text: &str,
    count: Count,
    mut masker: Masker<'_>,
) -> Result<Option<String>, Fault> {
    let mut rewriter = Rewriter::new(text, count, &mut masker);
    while !rewriter.run(TURN)? {
        let_others().await;
    }
    Ok(rewriter.finish())
}

async fn masked_text(
    text: &str,
    escape: Escape,
    mut masker: Masker<'_>,
) -> Result<Option<String>, Fault> {
    for rule in 0..masker.rules().len() {
        masker.look(text, rule, None)?;
        let_others().await;
    }
    Ok(masker.take(text, escape)?)
}

/// Lets others on the thread have their turn.
async fn let_others() {
    let mut has_waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn broken_off(error: BodyError) -> Box<Refusal> {
    match error.downcast::<BrokenOff>() {
        Ok(broken_off) => broken_off.0,
        Err(_upstreams) => Fault::Incomplete.into(),
    }
}

#[cfg(test)]
mod tests;
