#![doc = include_str!("MANUAL.md")]

use std::collections::BTreeMap;
use std::future::Future;

use deserr::Deserr;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use schemars::JsonSchema;
use tollgate_model::issue::escape;
use tollgate_model::parse::Mapping;
use tollgate_model::route::{FieldName, OF_CONNECTION};
use tollgate_model::{Issues, Name, ResourceId};

use crate::body::Body;
use crate::policy::{Cx, Flow, Phase, Policy, Repeat, Scope};
use crate::template::Template;

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// On the way to the upstream.
    #[deserr(default)]
    #[schemars(with = "Option<Edits>")]
    pub request: Edits,
    /// On the way to the client.
    #[deserr(default)]
    #[schemars(with = "Option<Edits>")]
    pub response: Edits,
}

/// Changes to header fields: first `remove`, then `set`, then `add`.
#[derive(Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Edits {
    /// Taken off.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<FieldName>>")]
    pub remove: Vec<FieldName>,
    /// Written in place of what is there. Values are texts with variables.
    #[deserr(default, from(Mapping<FieldName, String>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub set: BTreeMap<FieldName, String>,
    /// Written beside what is there. Values are texts with variables.
    #[deserr(default, from(Mapping<FieldName, String>) = Mapping::into_inner)]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub add: BTreeMap<FieldName, String>,
}

/// Changes header fields of requests and responses.
pub struct Headers {
    request: Compiled,
    response: Compiled,
}

struct Compiled {
    remove: Box<[HeaderName]>,
    write: Box<[Write]>,
}

struct Write {
    name: HeaderName,
    value: Value,
    is_added: bool,
}

/// The value of a field.
pub(super) enum Value {
    /// The same for every request.
    Constant(HeaderValue),
    /// A text with variables.
    Template(Template),
}

impl Value {
    /// The value for one request; none where it cannot stand in a field.
    pub(super) fn render(&self, cx: &Cx<'_>, request: &Request<Body>) -> Option<HeaderValue> {
        match self {
            Self::Constant(value) => Some(value.clone()),
            Self::Template(template) => {
                HeaderValue::from_bytes(template.render(cx, request).as_bytes()).ok()
            }
        }
    }

    /// The secrets that it names.
    pub(super) fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        match self {
            Self::Template(template) => template.references(tenant),
            Self::Constant(_) => Vec::new(),
        }
    }
}

impl Policy for Headers {
    type Config = Config;
    /// The values of response fields that depend on the request, which is gone by then.
    type Carry = Box<[Option<HeaderValue>]>;

    const NAME: &'static str = "headers";
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        let request = compile_edits(config.request, "/request", scope, &mut issues);
        let response = compile_edits(config.response, "/response", scope, &mut issues);
        issues.into_result(Self { request, response })
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        let writes = self.request.write.iter().chain(&self.response.write);
        writes.flat_map(|write| write.value.references(tenant)).collect()
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<Self::Carry>> {
        // Rendered before the request changes, so that the order of the edits does not matter.
        let carry = if self.response.has_templates() {
            self.response.render(cx, request)
        } else {
            Box::default()
        };
        let rendered = if self.request.has_templates() {
            self.request.render(cx, request)
        } else {
            Box::default()
        };
        self.request.apply(request.headers_mut(), &rendered);
        std::future::ready(Flow::Next(carry))
    }

    fn on_response(
        &self,
        carry: &mut Self::Carry,
        _cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) -> impl Future<Output = ()> {
        self.response.apply(response.headers_mut(), carry);
        std::future::ready(())
    }
}

impl Compiled {
    fn has_templates(&self) -> bool {
        self.write.iter().any(|write| matches!(write.value, Value::Template(_)))
    }

    /// One value a write; none for constants, and for what cannot stand in a field.
    fn render(&self, cx: &Cx<'_>, request: &Request<Body>) -> Box<[Option<HeaderValue>]> {
        let render = |write: &Write| match &write.value {
            Value::Constant(_) => None,
            value @ Value::Template(_) => value.render(cx, request),
        };
        self.write.iter().map(render).collect()
    }

    fn apply(&self, headers: &mut HeaderMap, rendered: &[Option<HeaderValue>]) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (i, write) in self.write.iter().enumerate() {
            let value = match &write.value {
                Value::Constant(value) => Some(value.clone()),
                Value::Template(_) => rendered.get(i).cloned().flatten(),
            };
            let Some(value) = value else { continue };
            if write.is_added {
                headers.append(write.name.clone(), value);
            } else {
                headers.insert(write.name.clone(), value);
            }
        }
    }
}

fn compile_edits(edits: Edits, at: &str, scope: Scope<'_>, issues: &mut Issues) -> Compiled {
    for (i, name) in edits.remove.iter().enumerate() {
        check_name(name, || format!("{at}/remove/{i}"), issues);
    }
    let mut write = Vec::new();
    for (field, entries, is_added) in [("set", edits.set, false), ("add", edits.add, true)] {
        let entries = compile_entries(entries, &format!("{at}/{field}"), scope, issues);
        let writes = entries.into_iter().map(|(name, value)| Write { name, value, is_added });
        write.extend(writes);
    }
    Compiled {
        remove: edits.remove.iter().map(|name| name.as_http().clone()).collect(),
        write: write.into(),
    }
}

fn check_name(name: &FieldName, place: impl Fn() -> String, issues: &mut Issues) {
    if OF_CONNECTION.contains(&name.as_str()) {
        issues.add(
            place(),
            "reserved_header",
            format!("`{}` belongs to the connection; it cannot be changed", name.as_str()),
        );
    }
}

/// Fields with values that are texts with variables. Faults stand below `at`.
pub(super) fn compile_entries(
    entries: BTreeMap<FieldName, String>,
    at: &str,
    scope: Scope<'_>,
    issues: &mut Issues,
) -> Vec<(HeaderName, Value)> {
    let mut compiled = Vec::new();
    for (name, text) in entries {
        let place = format!("{at}/{}", escape(name.as_str()));
        check_name(&name, || place.clone(), issues);
        match compile_value(&text, scope) {
            Ok(value) => compiled.push((name.as_http().clone(), value)),
            Err(rejected) => issues.add(place, rejected.code, rejected.problem),
        }
    }
    compiled
}

fn compile_value(text: &str, scope: Scope<'_>) -> Result<Value, tollgate_model::parse::Rejected> {
    let template = Template::parse(text, scope)?;
    match template.as_constant() {
        None => Ok(Value::Template(template)),
        Some(constant) => {
            HeaderValue::from_str(constant).map(Value::Constant).map_err(|_not_visible| {
                tollgate_model::parse::Rejected::new(
                    "invalid_header_value",
                    "has characters that cannot stand in a header field",
                )
            })
        }
    }
}

#[cfg(test)]
mod tests;
