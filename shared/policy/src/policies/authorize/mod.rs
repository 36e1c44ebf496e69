#![doc = include_str!("MANUAL.md")]

use std::borrow::Cow;
use std::future::Future;

use deserr::Deserr;
use http::{Request, StatusCode};
use schemars::JsonSchema;
use tollgate_model::Issues;

use crate::body::Body;
use crate::expression::{Condition, begin};
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};

/// What the operator writes; at least one of both lists.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Expressions in CEL. A call of which any is true may be made, and no other. None: every call that `deny_when` does not refuse.
    #[deserr(default)]
    pub allow_when: Option<Vec<String>>,
    /// Expressions in CEL. A call of which any is true, or of which it cannot be said, is refused, whatever `allow_when` says.
    #[deserr(default)]
    pub deny_when: Option<Vec<String>>,
    /// What a caller is told who is refused: 1 to 256 bytes. Default: a sentence that gives nothing away.
    #[deserr(default)]
    pub detail: Option<String>,
}

/// Decides by expressions over the request and its caller whether a call may be made.
pub struct Authorize {
    allow: Option<Box<[Condition]>>,
    deny: Box<[Condition]>,
    detail: Cow<'static, str>,
}

/// What came of the expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Refused,
    /// An expression of `deny_when` has no answer.
    Unanswered,
}

/// The most expressions of one list.
const MAX_CONDITIONS: usize = 32;

/// The most bytes of `detail`.
const DETAIL_BYTES: usize = 256;

impl Policy for Authorize {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "authorize";
    const PHASE: Phase = Phase::Authz;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        if config.allow_when.is_none() && config.deny_when.is_none() {
            let problem = "lets every call through; add `allow_when` or `deny_when`";
            issues.add("", "missing_field", problem);
        }
        let mut conditions = |sources: Option<Vec<String>>, at: &str| {
            sources.map(|sources| conditions(&sources, at, scope, &mut issues))
        };
        let allow = conditions(config.allow_when, "/allow_when");
        let deny = conditions(config.deny_when, "/deny_when").unwrap_or_default();
        if let Some(detail) = &config.detail
            && (!(1..=DETAIL_BYTES).contains(&detail.len()) || detail.chars().any(char::is_control))
        {
            let problem = "is not a text of 1 to 256 bytes without control characters";
            issues.add("/detail", "invalid_detail", problem);
        }
        let detail = config.detail.map_or(Cow::Borrowed("this call is not allowed"), Cow::Owned);
        issues.into_result(Self { allow, deny, detail })
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<()>> {
        std::future::ready(match self.judge(cx, request) {
            Verdict::Allowed => Flow::Next(()),
            Verdict::Refused => {
                Refusal::new(StatusCode::FORBIDDEN, "forbidden", self.detail.clone()).into_flow()
            }
            Verdict::Unanswered => {
                let detail = "whether this call is allowed could not be decided";
                Refusal::new(StatusCode::FORBIDDEN, "authorization_failed", detail).into_flow()
            }
        })
    }
}

impl Authorize {
    fn judge(&self, cx: &Cx<'_>, request: &Request<Body>) -> Verdict {
        let mut evaluation = begin(cx, request);
        for condition in &self.deny {
            match condition.holds(&mut evaluation) {
                Some(false) => {}
                Some(true) => return Verdict::Refused,
                None => return Verdict::Unanswered,
            }
        }
        let Some(allow) = &self.allow else { return Verdict::Allowed };
        // What cannot be said allows nothing.
        if allow.iter().any(|condition| condition.holds(&mut evaluation) == Some(true)) {
            Verdict::Allowed
        } else {
            Verdict::Refused
        }
    }
}

fn conditions(
    sources: &[String],
    at: &str,
    scope: Scope<'_>,
    issues: &mut Issues,
) -> Box<[Condition]> {
    if !(1..=MAX_CONDITIONS).contains(&sources.len()) {
        issues.add(at, "invalid_count", "give 1 to 32 expressions, or leave it out");
    }
    let mut conditions = Vec::with_capacity(sources.len());
    for (i, source) in sources.iter().enumerate() {
        match Condition::compile(source, scope) {
            Ok(condition) => conditions.push(condition),
            Err(faults) => issues.extend_under(&format!("{at}/{i}"), faults),
        }
    }
    conditions.into()
}

#[cfg(test)]
mod tests;
