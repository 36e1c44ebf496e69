#![doc = include_str!("MANUAL.md")]

use std::collections::BTreeMap;

use deserr::Deserr;
use http::{HeaderMap, HeaderName, Request, Response, header};
use schemars::JsonSchema;
use tollgate_model::parse::Mapping;
use tollgate_model::route::{FieldName, ValueMatch};
use tollgate_model::{Issue, Issues, Kind, Name, ResourceId};

use crate::body::Body;
use crate::cookie;
use crate::policy::{Cx, Flow, Phase, Policy, Repeat, Scope};
use crate::share::{ALL, Draw, Percent};
use crate::template::Template;

// A caller's side, kept in a cookie.
mod sticky;

pub use sticky::Sticky;
use sticky::{Kept, Side};

/// The most upstreams of one split.
const MOST: usize = 16;

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Upstreams of the tenant that take calls from the route's own, 1 to 16; what none of them takes goes on as it is.
    pub to: Vec<To>,
    /// A text with variables: calls with the same one go the same way. Where it is empty, and by default, each call is drawn
    /// for itself.
    #[deserr(default)]
    pub by: Option<String>,
    /// Keeps a caller on its side by a cookie. Default: none is set.
    #[deserr(default)]
    pub sticky: Option<Sticky>,
}

/// An upstream that takes calls.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct To {
    /// Its name.
    pub upstream: Name,
    /// How many of a hundred calls: 0, or 0.01 to 100; all of a split together at most 100. Default 0.
    #[deserr(default)]
    #[schemars(with = "Option<f64>")]
    pub percent: Option<Percent>,
    /// Calls that go there whatever the shares. Default: none.
    #[deserr(default)]
    #[deserr(rename = "match")]
    #[schemars(rename = "match")]
    pub matches: Option<Matches>,
}

/// What a call must be. All of it must hold.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Matches {
    /// Header fields, each by its name.
    #[deserr(default, from(Mapping<FieldName, ValueMatch>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, ValueMatch>>")]
    pub headers: BTreeMap<FieldName, ValueMatch>,
    /// Cookies, each by its name.
    #[deserr(default, from(Mapping<String, ValueMatch>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, ValueMatch>>")]
    pub cookies: BTreeMap<String, ValueMatch>,
}

/// Sends a share of the calls to other upstreams.
pub struct Split {
    to: Box<[Compiled]>,
    by: Option<Template>,
    sticky: Option<Kept>,
    draw: Draw,
}

struct Compiled {
    upstream: Name,
    /// Draws below this one, and not below the one before, are its own. In hundredths of a per cent.
    end: u32,
    matches: Option<Conditions>,
}

struct Conditions {
    headers: Box<[(HeaderName, ValueMatch)]>,
    cookies: Box<[(Box<str>, ValueMatch)]>,
}

impl Policy for Split {
    type Config = Config;
    /// The side that the answer's cookie names; none where no cookie is to be set.
    type Carry = Option<Side>;

    const NAME: &'static str = "split";
    const PHASE: Phase = Phase::Target;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let Config { to, by, sticky } = config;
        let mut issues = Issues::default();
        if scope.is_of_gateway() {
            let problem =
                "whose upstreams they are cannot be told at a gateway, which serves every tenant";
            issues.add("", "wrong_place", problem);
        }
        if !(1..=MOST).contains(&to.len()) {
            issues.add("/to", "invalid_count", format!("give 1 to {MOST} upstreams"));
        }
        let sticky = sticky.map(|sticky| Kept::compile(&sticky, &to, &mut issues));
        let by = by.and_then(|text| {
            let parsed = Template::parse(&text, scope);
            parsed.map_err(|bad| issues.add("/by", bad.code, bad.problem)).ok()
        });
        let to = compile_targets(to, &mut issues);
        issues.into_result(Self { to, by, sticky, draw: Draw::of(scope, "split") })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        let of =
            |to: &Compiled| ResourceId::new(Kind::Upstream, tenant.clone(), to.upstream.clone());
        let by = self.by.iter().flat_map(|by| by.references(tenant));
        self.to.iter().map(of).chain(by).collect()
    }

    async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<Option<Side>> {
        let (side, is_to_be_kept) = self.side(cx, request);
        if let Some(to) = side.and_then(|side| self.to.get(side)) {
            cx.onward.choose_upstream(to.upstream.clone());
        }
        Flow::Next(is_to_be_kept.then_some(Side(side)))
    }

    async fn on_response(
        &self,
        carry: &mut Option<Side>,
        cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) {
        if let (Some(side), Some(sticky)) = (carry.take(), &self.sticky)
            && let Some(value) = sticky.set(side, cx.scheme)
        {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
}

impl Split {
    /// Where a call goes, none: to the route's own upstream; and whether a cookie has to say so.
    fn side(&self, cx: &Cx<'_>, request: &Request<Body>) -> (Option<usize>, bool) {
        let headers = request.headers();
        if let Some(matched) = self.to.iter().position(|to| to.is_meant(headers)) {
            return (Some(matched), false);
        }
        if let Some(Side(side)) = self.sticky.as_ref().and_then(|sticky| sticky.of(headers))
            && self.share(side) > 0
        {
            return (side, false);
        }
        let text = self.by.as_ref().map(|by| by.render(cx, request));
        let text = text.as_deref().filter(|text| !text.is_empty()).unwrap_or(cx.request_id);
        let drawn = self.draw.draw(text);
        let side = self.to.iter().position(|to| drawn < to.end);
        (side, self.sticky.is_some())
    }

    /// The share of a side in hundredths of a per cent.
    fn share(&self, side: Option<usize>) -> u32 {
        let end = |index: usize| self.to.get(index).map_or(0, |to| to.end);
        match side {
            Some(index) => end(index) - index.checked_sub(1).map_or(0, end),
            None => ALL - self.to.last().map_or(0, |to| to.end),
        }
    }
}

impl Compiled {
    fn is_meant(&self, headers: &HeaderMap) -> bool {
        let Some(Conditions { headers: fields, cookies }) = &self.matches else { return false };
        fields
            .iter()
            .all(|(name, value)| value.accepts(headers.get(name).map(|value| value.as_bytes())))
            && cookies
                .iter()
                .all(|(name, value)| value.accepts(cookie::find(headers, name).map(str::as_bytes)))
    }
}

fn compile_targets(to: Vec<To>, issues: &mut Issues) -> Box<[Compiled]> {
    let mut end = 0;
    let mut compiled: Vec<Compiled> = Vec::with_capacity(to.len());
    for (i, To { upstream, percent, matches }) in to.into_iter().enumerate() {
        if percent.is_none() && matches.is_none() {
            let problem = "no call goes there; give `percent` or `match`";
            issues.add(format!("/to/{i}"), "missing_field", problem);
        }
        if compiled.iter().any(|other| other.upstream == upstream) {
            let problem = "stands above already; give each upstream once";
            issues.add(format!("/to/{i}/upstream"), "duplicate_name", problem);
        }
        let at = format!("/to/{i}/match");
        let matches = matches.map(|matches| Conditions::compile(matches, &at, issues));
        end += percent.map_or(0, Percent::hundredths);
        compiled.push(Compiled { upstream, end, matches });
    }
    if end > ALL {
        issues.add("/to", "out_of_range", "the shares are more than 100 per cent together");
    }
    compiled.into()
}

impl Conditions {
    fn compile(matches: Matches, at: &str, issues: &mut Issues) -> Self {
        let Matches { headers, cookies } = matches;
        if headers.is_empty() && cookies.is_empty() {
            let problem = "is empty, and would take every call; name `headers` or `cookies`";
            issues.add(at, "invalid_count", problem);
        }
        for name in cookies.keys().filter(|name| !sticky::is_cookie_name(name)) {
            let at = format!("{at}/cookies/{}", tollgate_model::issue::escape(name));
            issues.0.push(Issue::new(at, "invalid_cookie", "is not the name of a cookie"));
        }
        let fields = headers.into_iter().map(|(name, value)| (name.as_http().clone(), value));
        let cookies = cookies.into_iter().map(|(name, value)| (name.into_boxed_str(), value));
        Self { headers: fields.collect(), cookies: cookies.collect() }
    }
}

#[cfg(test)]
mod tests;
