//! One resource: its specification parsed and its policies compiled, with every fault named.
//!
//! What only the whole configuration shows (references, ownership, ties) is in [`crate::set`].

use std::sync::Arc;

use serde_json::Value;
use tollgate_model::api::Api;
use tollgate_model::attachment::Attachment;
use tollgate_model::parse;
use tollgate_model::path::PathMatch;
use tollgate_model::upstream::{Credentials, Protocol};
use tollgate_model::{Document, Issue, Issues, Kind, Name, ResourceId, Spec};

use crate::chain::runs_after_authentication;
use crate::policies::{self, AnyPolicy, Shared};
use crate::policy::Scope;

/// A resource that a node can run.
pub struct Checked {
    /// Which it is.
    pub id: ResourceId,
    /// The revision that last changed it; 0 before it is committed.
    pub version: u64,
    /// Its specification.
    pub spec: Spec,
    /// Its policies, compiled.
    pub policies: Attached,
    /// Policies of an API's routes, in the order of the routes.
    pub route_policies: Vec<Attached>,
    /// Resources that must be there.
    pub references: Vec<Reference>,
}

/// A compiled `policies` list.
pub type Attached = Vec<Item>;

/// One entry of a compiled `policies` list.
pub enum Item {
    /// A policy.
    Policy(Shared),
    /// The policies of a set.
    Set(ResourceId),
}

impl Item {
    fn own_name(&self) -> Option<&str> {
        match self {
            Self::Policy(policy) => policy.own_name(),
            Self::Set(_) => None,
        }
    }
}

/// A resource that another one needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// JSON pointer to the place that names it.
    pub at: String,
    /// What is named.
    pub to: ResourceId,
    /// Whether a list of policies names it: a policy of it, or the list itself where it is a set.
    pub is_of_policies: bool,
    /// What it must speak, where it is an upstream; none: anything.
    pub protocol: Option<Protocol>,
    /// How many bytes its value must have, where it is a secret; 0: any will do.
    pub least_bytes: usize,
}

impl Reference {
    fn new(at: impl Into<String>, to: ResourceId) -> Self {
        Self { at: at.into(), to, is_of_policies: false, protocol: None, least_bytes: 0 }
    }

    fn of_policies(at: &str, to: ResourceId) -> Self {
        Self { is_of_policies: true, ..Self::new(at, to) }
    }
}

/// Parses and compiles one resource.
///
/// # Errors
///
/// Every fault, with pointers that begin with `/spec`.
pub fn check(document: &Document, version: u64) -> Result<Checked, Issues> {
    let mut compiler =
        Compiler { id: &document.id, references: Vec::new(), issues: Issues::default() };
    let spec = match Spec::parse(document.id.kind, &document.spec) {
        Ok(spec) => spec,
        Err(mut issues) => {
            compiler.policies_of_unread(&document.spec);
            issues.0.append(&mut compiler.issues.0);
            return Err(issues);
        }
    };
    compiler.own_references(&spec);
    let (policies, route_policies) = compiler.all_policies(&spec);
    let references = compiler.references;
    let id = document.id.clone();
    compiler.issues.into_result(Checked { id, version, spec, policies, route_policies, references })
}

struct Compiler<'a> {
    id: &'a ResourceId,
    references: Vec<Reference>,
    issues: Issues,
}

impl Compiler<'_> {
    fn refer(&mut self, at: impl Into<String>, kind: Kind, name: &Name) {
        let to = ResourceId::new(kind, self.id.tenant.clone(), name.clone());
        self.references.push(Reference::new(at, to));
    }

    /// What a specification names by itself. `default` tenant and gateway are there without being written.
    fn own_references(&mut self, spec: &Spec) {
        let default_name = Name::default_name();
        if self.id.tenant != default_name {
            let to = ResourceId::of_tenant(&self.id.tenant);
            self.references.push(Reference::new("/tenant", to));
        }
        match spec {
            Spec::Api(api) => {
                if api.gateway != default_name {
                    let to = ResourceId::of_gateway(&api.gateway);
                    self.references.push(Reference::new("/spec/gateway", to));
                }
                if let Some(upstream) = &api.upstream {
                    self.refer("/spec/upstream", Kind::Upstream, upstream);
                }
                for (i, route) in api.routes.iter().enumerate() {
                    if let Some(upstream) = &route.upstream {
                        self.refer(format!("/spec/routes/{i}/upstream"), Kind::Upstream, upstream);
                    }
                }
            }
            Spec::Credential(credential) => {
                self.refer("/spec/application", Kind::Application, &credential.application);
                if let Some(secret) = credential.signature.as_ref().and_then(|of| of.key.secret()) {
                    self.refer("/spec/signature/secret", Kind::Secret, secret);
                }
            }
            Spec::Gateway(gateway) => {
                for (i, listener) in gateway.listeners.iter().enumerate() {
                    let names = listener.tls.iter().flat_map(|tls| &tls.certificates);
                    for (j, name) in names.flatten().enumerate() {
                        let at = format!("/spec/listeners/{i}/tls/certificates/{j}");
                        self.refer(at, Kind::Certificate, name);
                    }
                }
            }
            Spec::Upstream(upstream) => {
                if let Some(name) = &upstream.tls.certificate {
                    self.refer("/spec/tls/certificate", Kind::Certificate, name);
                }
                for (at, name) in upstream.credentials.iter().flat_map(Credentials::secrets) {
                    self.refer(format!("/spec/credentials{at}"), Kind::Secret, name);
                }
            }
            Spec::Tenant(_)
            | Spec::Certificate(_)
            | Spec::Secret(_)
            | Spec::PolicySet(_)
            | Spec::Application(_) => {}
        }
    }

    fn all_policies(&mut self, spec: &Spec) -> (Attached, Vec<Attached>) {
        match spec {
            Spec::Tenant(tenant) => {
                (self.policies(&tenant.policies, "/spec", "", None), Vec::new())
            }
            Spec::Gateway(gateway) => {
                (self.policies(&gateway.policies, "/spec", "", None), Vec::new())
            }
            Spec::PolicySet(set) => (self.policies(&set.policies, "/spec", "", None), Vec::new()),
            Spec::Application(application) => {
                (self.policies(&application.policies, "/spec", "", None), Vec::new())
            }
            Spec::Api(api) => self.api_policies(api),
            Spec::Certificate(_) | Spec::Secret(_) | Spec::Upstream(_) | Spec::Credential(_) => {
                (Vec::new(), Vec::new())
            }
        }
    }

    fn api_policies(&mut self, api: &Api) -> (Attached, Vec<Attached>) {
        let own = self.policies(&api.policies, "/spec", "", None);
        let of_route = |(i, route): (usize, &tollgate_model::route::Route)| {
            let parameters = route.matches.path.parameters();
            let at = format!("/spec/routes/{i}");
            self.policies(&route.policies, &at, &format!("/{}", route.name), Some(&parameters))
        };
        let routes = api.routes.iter().enumerate().map(of_route).collect();
        (own, routes)
    }

    /// Compiles a list. `at` is the pointer of what holds it, `below` names that within the resource.
    fn policies(
        &mut self,
        list: &[Attachment],
        at: &str,
        below: &str,
        parameters: Option<&[&str]>,
    ) -> Attached {
        let mut attached: Attached = Vec::with_capacity(list.len());
        for (i, attachment) in list.iter().enumerate() {
            let at = format!("{at}/policies/{i}");
            match attachment {
                Attachment::Set(name) => attached.extend(self.set(name, &at)),
                Attachment::Policy { name, config } => {
                    let place = format!(
                        "{}/{}/{}{below}/{name}",
                        self.id.kind, self.id.tenant, self.id.name
                    );
                    let scope = Scope { place: &place, parameters };
                    let policy = self.policy(name, config, &at, scope);
                    if let Some(own_name) = policy.as_ref().and_then(Item::own_name)
                        && attached.iter().any(|other| other.own_name() == Some(own_name))
                    {
                        let place = format!("{at}/{}/name", tollgate_model::issue::escape(name));
                        let problem = format!(
                            "another `{name}` of this list has this name; give each a `name` of its own"
                        );
                        self.issues.add(place, "duplicate_name", problem);
                    }
                    attached.extend(policy);
                }
            }
        }
        attached
    }

    /// Finds the faults of the policies in a specification that has other faults, so that all are
    /// named at once. What is not shaped like a policy has been named already.
    fn policies_of_unread(&mut self, spec: &Value) {
        self.unread_list(spec, "/spec", None);
        let routes = spec.get("routes").and_then(Value::as_array);
        for (i, route) in routes.into_iter().flatten().enumerate() {
            let path = route.pointer("/match/path").map(parse::value::<PathMatch>);
            // Without the path it is not known which parameters there are.
            let Some(Ok(path)) = path.or_else(|| Some(Ok(PathMatch::any()))) else { continue };
            self.unread_list(route, &format!("/spec/routes/{i}"), Some(&path.parameters()));
        }
    }

    fn unread_list(&mut self, holder: &Value, at: &str, parameters: Option<&[&str]>) {
        let list = holder.get("policies").and_then(Value::as_array);
        for (i, attachment) in list.into_iter().flatten().enumerate() {
            if let Ok(Attachment::Policy { name, config }) = parse::value(attachment) {
                let scope = Scope { place: at, parameters };
                self.policy(&name, &config, &format!("{at}/policies/{i}"), scope);
            }
        }
    }

    fn set(&mut self, name: &Name, at: &str) -> Option<Item> {
        let at = format!("{at}/policy_set");
        // A gateway is the platform's and serves every tenant: whose set it meant could not be told.
        if matches!(self.id.kind, Kind::PolicySet | Kind::Gateway) {
            let problem = format!("a {} cannot hold sets; write the policies out", self.id.kind);
            self.issues.add(at, "nested_policy_set", problem);
            return None;
        }
        // A tenant's own resource lives in `default`, its sets in the tenant.
        let tenant = if self.id.kind == Kind::Tenant { &self.id.name } else { &self.id.tenant };
        let to = ResourceId::new(Kind::PolicySet, tenant.clone(), name.clone());
        self.references.push(Reference::of_policies(&at, to.clone()));
        Some(Item::Set(to))
    }

    fn policy(&mut self, name: &str, config: &Value, at: &str, scope: Scope<'_>) -> Option<Item> {
        let place = format!("{at}/{}", tollgate_model::issue::escape(name));
        let policy = match AnyPolicy::compile(name, config, scope) {
            Ok(policy) => policy,
            Err(issues) => {
                self.issues.extend_under(&place, issues);
                return None;
            }
        };
        if self.id.kind == Kind::Application && !runs_after_authentication(policy.phase()) {
            self.issues.0.push(Issue::new(
                place,
                "wrong_place",
                format!("`{name}` runs before it is known who calls; attach it to the API"),
            ));
            return None;
        }
        let tenant = if self.id.kind == Kind::Tenant { &self.id.name } else { &self.id.tenant };
        for to in policy.references(tenant) {
            let protocol = policy.upstream_protocol().filter(|_| to.kind == Kind::Upstream);
            let is_secret = to.kind == Kind::Secret;
            let least_bytes = if is_secret { policy.least_bytes(&to) } else { 0 };
            let reference = Reference::of_policies(&place, to);
            self.references.push(Reference { protocol, least_bytes, ..reference });
        }
        Some(Item::Policy(Arc::new(policy)))
    }
}

/// The JSON schema of a resource of one kind, with the schemas of all policies in it: for editors.
#[must_use]
pub fn schema(kind: Kind) -> Value {
    let mut generator = schemars::SchemaGenerator::default();
    let spec = Spec::schema(kind, &mut generator);
    let mut definitions = generator.take_definitions(true);
    if definitions.contains_key("Attachment") {
        let attachment = attachment_schema(&mut definitions);
        definitions.insert("Attachment".to_owned(), attachment);
    }
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.name(),
        "type": "object",
        "required": ["kind", "name", "spec"],
        "additionalProperties": false,
        "properties": {
            "kind": { "const": kind.name() },
            "tenant": { "type": "string", "description": "Who owns it; none: the tenant of who writes it." },
            "name": { "type": "string", "pattern": "^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$" },
            "labels": { "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": 64 },
            "spec": spec,
        },
        "$defs": definitions,
    })
}

/// The schema of an entry of `policies`; what the policies' own schemas refer to goes into `definitions`.
fn attachment_schema(definitions: &mut serde_json::Map<String, Value>) -> Value {
    let mut properties = serde_json::Map::new();
    for entry in policies::CATALOG {
        let mut schema = (entry.schema)().to_value();
        if let Some(object) = schema.as_object_mut() {
            object.remove("$schema");
            if let Some(Value::Object(own)) = object.remove("$defs") {
                definitions.extend(own);
            }
        }
        properties.insert(
            entry.name.to_owned(),
            serde_json::json!({ "anyOf": [schema, { "type": "null" }] }),
        );
    }
    properties.insert("policy_set".to_owned(), serde_json::json!({ "type": "string" }));
    serde_json::json!({
        "type": "object", "minProperties": 1, "maxProperties": 1,
        "additionalProperties": false, "properties": properties,
    })
}
