#![doc = include_str!("MANUAL.md")]

use std::future::Future;

use deserr::Deserr;
use http::{HeaderValue, Request, StatusCode, header};
use schemars::JsonSchema;
use tollgate_model::{Issues, Kind, Name, ResourceId};

use crate::body::Body;
use crate::claims::Claims;
use crate::policy::{Caller, Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};

/// What the operator writes; at least one of both.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Callers of whom any of this is true may call, and no others. None: all that `deny` does not name.
    #[deserr(default)]
    pub allow: Option<Callers>,
    /// Callers of whom any of this is true may not call, whatever `allow` says.
    #[deserr(default)]
    pub deny: Option<Callers>,
}

/// Callers, by whatever of it is true of them; at least one entry.
#[derive(Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Callers {
    /// Applications of the same tenant.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<Name>>")]
    pub applications: Vec<Name>,
    /// Groups: those of the application, and those that a token proves.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub groups: Vec<String>,
    /// Scopes that a token proves. An entry with several, divided by spaces, is true where all of them are.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub scopes: Vec<String>,
}

/// Decides by who calls whether they may.
pub struct Acl {
    allow: Option<Compiled>,
    deny: Compiled,
}

/// In order, so that long lists cost a request little.
#[derive(Default)]
struct Compiled {
    applications: Box<[Name]>,
    groups: Box<[Box<str>]>,
    /// Each is true where all of its scopes are there.
    scopes: Box<[Box<[Box<str>]>]>,
}

/// The most bytes of a group's name or of an entry of scopes.
const TEXT_BYTES: usize = 1_024;

impl Policy for Acl {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "acl";
    const PHASE: Phase = Phase::Authz;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        if config.allow.is_none() && config.deny.is_none() {
            issues.add("", "missing_field", "lets every caller call; add `allow` or `deny`");
        }
        let mut compiled = |callers: Option<Callers>, at: &str| {
            callers.map(|callers| Compiled::of(callers, at, scope, &mut issues))
        };
        let (allow, deny) = (compiled(config.allow, "/allow"), compiled(config.deny, "/deny"));
        issues.into_result(Self { allow, deny: deny.unwrap_or_default() })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        let named = self.allow.iter().chain([&self.deny]).flat_map(|callers| &callers.applications);
        named.map(|name| ResourceId::new(Kind::Application, tenant.clone(), name.clone())).collect()
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        _request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<()>> {
        std::future::ready(self.judge(cx.identity.as_deref(), cx.claims.as_deref()))
    }
}

impl Acl {
    fn judge(&self, caller: Option<&Caller>, claims: Option<&Claims>) -> Flow<()> {
        if caller.is_none() && claims.is_none() {
            let detail = "it is not known who calls";
            return Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
                .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
                .into_flow();
        }
        let may_call = !self.deny.hold(caller, claims)
            && self.allow.as_ref().is_none_or(|allowed| allowed.hold(caller, claims));
        if may_call {
            Flow::Next(())
        } else {
            let detail = "this caller may not make this call";
            Refusal::new(StatusCode::FORBIDDEN, "forbidden", detail).into_flow()
        }
    }
}

impl Compiled {
    fn of(callers: Callers, at: &str, scope: Scope<'_>, issues: &mut Issues) -> Self {
        let Callers { mut applications, groups, scopes } = callers;
        if applications.is_empty() && groups.is_empty() && scopes.is_empty() {
            let problem = "is empty; name applications, groups or scopes, or leave it out";
            issues.add(at, "invalid_count", problem);
        }
        if !applications.is_empty() && scope.is_of_gateway() {
            issues.add(
                format!("{at}/applications"),
                "wrong_place",
                "whose applications they are cannot be told at a gateway, which serves every tenant; name groups",
            );
        }
        let mut groups: Vec<Box<str>> = groups.into_iter().map(String::into_boxed_str).collect();
        for (i, group) in groups.iter().enumerate() {
            if !(1..=TEXT_BYTES).contains(&group.len()) || group.chars().any(char::is_control) {
                let problem =
                    "is not a group's name of 1 to 1,024 bytes without control characters";
                issues.add(format!("{at}/groups/{i}"), "invalid_group", problem);
            }
        }
        let mut entries = Vec::with_capacity(scopes.len());
        for (i, entry) in scopes.iter().enumerate() {
            let tokens: Box<[Box<str>]> = entry.split_ascii_whitespace().map(Box::from).collect();
            if tokens.is_empty() || entry.len() > TEXT_BYTES || !entry.bytes().all(is_of_scopes) {
                let problem = "is not a scope such as orders:read, or several divided by spaces";
                issues.add(format!("{at}/scopes/{i}"), "invalid_scope", problem);
            }
            entries.push(tokens);
        }
        applications.sort_unstable();
        groups.sort_unstable();
        Self { applications: applications.into(), groups: groups.into(), scopes: entries.into() }
    }

    /// Whether anything of it is true of a caller.
    fn hold(&self, caller: Option<&Caller>, claims: Option<&Claims>) -> bool {
        let has_group =
            |group: &str| self.groups.binary_search_by(|known| (**known).cmp(group)).is_ok();
        let is_caller = |caller: &Caller| {
            self.applications.binary_search(&caller.application).is_ok()
                || caller.groups.iter().any(|group| has_group(group.as_str()))
        };
        let is_claimed = |claims: &Claims| {
            claims.groups.iter().any(|group| has_group(group))
                || self.scopes.iter().any(|all| all.iter().all(|one| claims.scopes.contains(one)))
        };
        caller.is_some_and(is_caller) || claims.is_some_and(is_claimed)
    }
}

/// RFC 6749 §3.3.
fn is_of_scopes(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

#[cfg(test)]
mod tests;
