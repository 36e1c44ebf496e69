#![doc = include_str!("MANUAL.md")]

use std::future::Future;

use deserr::Deserr;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use schemars::JsonSchema;
use smallvec::SmallVec;
use tollgate_model::Issues;
use tollgate_model::route::FieldName;

use crate::body::Body;
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Header fields where a key is looked for, in this order, in place of `authorization` (as
    /// `Bearer`), `x-api-key`, `api-key` and `x-goog-api-key`.
    #[deserr(default)]
    pub headers: Option<Vec<FieldName>>,
    /// Whether calls without any key go on, without an identity. Default false. A wrong key is
    /// refused all the same.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub optional: bool,
}

/// Finds out by an API key which application calls.
pub struct ApiKey {
    headers: Box<[HeaderName]>,
    is_optional: bool,
}

impl Policy for ApiKey {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "api_key";
    const PHASE: Phase = Phase::Authn;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, _scope: Scope<'_>) -> Result<Self, Issues> {
        let headers: Box<[HeaderName]> = match config.headers {
            None => Box::new([
                header::AUTHORIZATION,
                HeaderName::from_static("x-api-key"),
                HeaderName::from_static("api-key"),
                HeaderName::from_static("x-goog-api-key"),
            ]),
            Some(names) => names.iter().map(|name| name.as_http().clone()).collect(),
        };
        let mut issues = Issues::default();
        if headers.is_empty() {
            issues.add(
                "/headers",
                "invalid_count",
                "is empty; name a header field, or leave `headers` out",
            );
        }
        issues.into_result(Self { headers, is_optional: config.optional })
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<()>> {
        std::future::ready(self.meet(cx, request.headers_mut()))
    }
}

impl ApiKey {
    fn meet(&self, cx: &mut Cx<'_>, headers: &mut HeaderMap) -> Flow<()> {
        let Some((at, key)) =
            self.headers.iter().enumerate().find_map(|(i, name)| Some((i, key_in(headers, name)?)))
        else {
            return if self.is_optional {
                Flow::Next(())
            } else {
                refusal("no API key was sent").lacking_credential().into_flow()
            };
        };
        let caller = cx.ports.caller_of_key(&cx.route.tenant, key);
        // The gateway's own credential never goes upstream, in whichever of the fields it stands.
        let mut holding: SmallVec<[&HeaderName; 4]> = SmallVec::new();
        holding.extend(self.headers.iter().skip(at).filter(|name| holds(headers, name, key)));
        for name in holding {
            headers.remove(name);
        }
        let Some(caller) = caller else {
            return refuse("the API key is not known");
        };
        let now = i64::try_from(cx.now_unix_micros).unwrap_or(i64::MAX);
        if caller.is_disabled {
            return refuse("the API key is switched off");
        }
        if caller.expires_at_unix_micros.is_some_and(|end| end <= now) {
            return refuse("the API key has expired");
        }
        cx.identity = Some(caller);
        Flow::Next(())
    }
}

/// The first key in a field; none where the field is absent, empty, or `authorization` of another scheme.
fn key_in<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get_all(name).iter().find_map(|value| key_of(name, value))
}

fn key_of<'a>(name: &HeaderName, value: &'a HeaderValue) -> Option<&'a [u8]> {
    let value = value.as_bytes();
    let key = if *name == header::AUTHORIZATION {
        // RFC 6750 §2.1; the scheme's name is case-insensitive (RFC 9110 §11.1).
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())?
    } else {
        value.trim_ascii()
    };
    (!key.is_empty()).then_some(key)
}

/// Whether any line of a field holds this key.
fn holds(headers: &HeaderMap, name: &HeaderName, key: &[u8]) -> bool {
    headers.get_all(name).iter().any(|value| key_of(name, value) == Some(key))
}

fn refuse<C>(detail: &'static str) -> Flow<C> {
    refusal(detail).into_flow()
}

fn refusal(detail: &'static str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
        .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

#[cfg(test)]
mod tests;
