#![doc = include_str!("MANUAL.md")]

use std::future::Future;

use deserr::Deserr;
use http::uri::Authority;
use http::{HeaderValue, Request, StatusCode};
use schemars::JsonSchema;
use tollgate_model::parse::Rejected;
use tollgate_model::{Issues, Name, ResourceId};

use crate::body::Body;
use crate::escape::Escape;
use crate::path_edit::{Fields, PathEdit, Prefix, Substitution};
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};
use crate::template::Template;

/// What the operator writes. At least one; of `prefix`, `template` and `regex` at most one.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Another prefix of the path.
    #[deserr(default)]
    pub prefix: Option<Prefix>,
    /// A whole path with variables, such as `/v2/{path.id}`.
    #[deserr(default)]
    pub template: Option<String>,
    /// An expression over the path, and what takes the place of its match.
    #[deserr(default)]
    pub regex: Option<Substitution>,
    /// The host that the upstream is told, with variables; with or without a port.
    #[deserr(default)]
    pub host: Option<String>,
}

/// Changes path and host of the request to the upstream.
pub struct Rewrite {
    path: Option<PathEdit>,
    host: Option<Host>,
}

enum Host {
    Constant(HeaderValue),
    Template(Template),
}

/// The longest name that DNS has, and a port.
const MAX_HOST: usize = 260;

impl Policy for Rewrite {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "rewrite";
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        let Config { prefix, template, regex, host } = config;
        if prefix.is_none() && template.is_none() && regex.is_none() && host.is_none() {
            issues.add(
                "",
                "nothing_to_change",
                "changes nothing; give one of `prefix`, `template`, `regex`, or a `host`",
            );
        }
        let fields = Fields { template_at: "/template", template, prefix, regex };
        let path = PathEdit::compile(fields, "", scope, &mut issues);
        let host = host.and_then(|text| match compile_host(&text, scope) {
            Ok(host) => Some(host),
            Err(rejected) => {
                issues.add("/host", rejected.code, rejected.problem);
                None
            }
        });
        issues.into_result(Self { path, host })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        let host = match &self.host {
            Some(Host::Template(template)) => Some(template),
            Some(Host::Constant(_)) | None => None,
        };
        let path = self.path.as_ref().and_then(PathEdit::template);
        path.into_iter().chain(host).flat_map(|template| template.references(tenant)).collect()
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<()>> {
        std::future::ready(match self.rewrite(cx, request) {
            Ok(()) => Flow::Next(()),
            Err(refusal) => Flow::Refuse(refusal),
        })
    }
}

impl Rewrite {
    fn rewrite(&self, cx: &mut Cx<'_>, request: &Request<Body>) -> Result<(), Box<Refusal>> {
        if let Some(edit) = &self.path {
            let (path, _) = cx.onward.path_and_query(request);
            if let Some(path) = edit.apply(path, cx, request)? {
                cx.onward.set_path(request, &path)?;
            }
        }
        match &self.host {
            None => {}
            Some(Host::Constant(host)) => cx.onward.set_host(host.clone()),
            Some(Host::Template(template)) => {
                let rendered = template.render_escaped(cx, request, Escape::Nothing, MAX_HOST);
                let host = rendered.as_deref().and_then(host_value).ok_or_else(|| {
                    Box::new(Refusal::new(
                        StatusCode::BAD_REQUEST,
                        "invalid_host",
                        "the request's values do not make a host name",
                    ))
                })?;
                cx.onward.set_host(host);
            }
        }
        Ok(())
    }
}

/// A host with or without a port; no user before it, and no percent-encoding in it.
fn host_value(text: &str) -> Option<HeaderValue> {
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if text.len() > MAX_HOST || !text.chars().all(is_host) {
        return None;
    }
    let authority = Authority::try_from(text).ok()?;
    if authority.host().is_empty() || authority.as_str().ends_with(':') {
        return None;
    }
    HeaderValue::from_str(text).ok()
}

fn compile_host(text: &str, scope: Scope<'_>) -> Result<Host, Rejected> {
    let template = Template::parse(text, scope)?;
    let Some(value) = host_value(&template.sample("x")) else {
        return Err(Rejected::new(
            "invalid_host",
            format!("`{}` is not a host name such as api.shop.test", text.escape_debug()),
        ));
    };
    let is_constant = template.as_constant().is_some();
    Ok(if is_constant { Host::Constant(value) } else { Host::Template(template) })
}

#[cfg(test)]
mod tests;
