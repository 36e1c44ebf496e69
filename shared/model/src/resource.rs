//! One resource: its envelope, and the specification of its kind.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::api::Api;
use crate::application::Application;
use crate::certificate::Certificate;
use crate::credential::Credential;
use crate::gateway::Gateway;
use crate::id::{Kind, Name, ResourceId};
use crate::issue::{Issues, escape, nearest};
use crate::parse::{self, FromText};
use crate::policy_set::PolicySet;
use crate::secret::Secret;
use crate::tenant::Tenant;
use crate::upstream::Upstream;

/// A resource as it was written: its envelope is parsed, its specification is not.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Which resource it is.
    pub id: ResourceId,
    /// Marks for finding it; they change nothing about what it does.
    pub labels: BTreeMap<String, String>,
    /// The specification, always a JSON object.
    pub spec: Value,
}

impl Document {
    /// Reads an envelope: `{kind, tenant?, name, labels?, spec}`.
    ///
    /// # Errors
    ///
    /// Every fault of the envelope and, where there is one, those of `spec`. Without a fault of the
    /// envelope those of `spec` are for [`Spec::parse`] to find.
    pub fn parse(value: &Value, default_tenant: &Name) -> Result<Self, Issues> {
        const FIELDS: [&str; 5] = ["kind", "tenant", "name", "labels", "spec"];
        let mut issues = Issues::default();
        let Value::Object(object) = value else {
            issues.add("", "wrong_type", "a resource is a mapping with `kind`, `name` and `spec`");
            return Err(issues);
        };
        for key in object.keys().filter(|key| !FIELDS.contains(&key.as_str())) {
            let problem = format!("`{key}` is not a field here; {}", nearest(key, &FIELDS));
            issues.add(format!("/{}", escape(key)), "unknown_field", problem);
        }
        let kind = read_kind(object, &mut issues);
        let name = read_name(object, "name", &mut issues);
        let tenant = match object.get("tenant") {
            Some(_) => read_name(object, "tenant", &mut issues),
            None if kind.is_some_and(Kind::is_platform) => Some(Name::default_name()),
            None => Some(default_tenant.clone()),
        };
        if let (Some(kind), Some(tenant)) = (kind, &tenant)
            && kind.is_platform()
            && *tenant != Name::default_name()
        {
            issues.add(
                "/tenant",
                "not_a_tenants",
                format!("a {kind} belongs to the platform; leave `tenant` out"),
            );
        }
        let labels = read_labels(object, &mut issues);
        let spec = match object.get("spec") {
            Some(spec @ Value::Object(_)) => Some(spec.clone()),
            // `spec:` with nothing behind it is the kind with all of its defaults.
            Some(Value::Null) => Some(Value::Object(Map::new())),
            Some(_) => {
                issues.add("/spec", "wrong_type", "`spec` is not a mapping; give one");
                None
            }
            None => {
                issues.add("", "missing_field", "`spec` is missing; add it");
                None
            }
        };
        if let (false, Some(kind), Some(spec)) = (issues.0.is_empty(), kind, &spec) {
            issues
                .0
                .extend(Spec::parse(kind, spec).err().into_iter().flat_map(|of_spec| of_spec.0));
        }
        match (kind, tenant, name, spec) {
            (Some(kind), Some(tenant), Some(name), Some(spec)) => {
                issues.into_result(Self { id: ResourceId::new(kind, tenant, name), labels, spec })
            }
            _ => Err(issues),
        }
    }

    /// The document as it is printed: the envelope around the specification.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("kind".to_owned(), self.id.kind.name().into());
        if !self.id.kind.is_platform() {
            object.insert("tenant".to_owned(), self.id.tenant.as_str().into());
        }
        object.insert("name".to_owned(), self.id.name.as_str().into());
        if !self.labels.is_empty() {
            let labels =
                self.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
            object.insert("labels".to_owned(), Value::Object(labels.collect()));
        }
        object.insert("spec".to_owned(), self.spec.clone());
        Value::Object(object)
    }
}

fn read_kind(object: &Map<String, Value>, issues: &mut Issues) -> Option<Kind> {
    match object.get("kind") {
        Some(Value::String(text)) => {
            let kind = Kind::from_name(text);
            if kind.is_none() {
                let known = Kind::ALL.map(Kind::name);
                issues.add(
                    "/kind",
                    "unknown_kind",
                    format!("`{text}` is not a kind; {}", nearest(text, &known)),
                );
            }
            kind
        }
        Some(_) => {
            issues.add("/kind", "wrong_type", "`kind` is not a string; give one such as Api");
            None
        }
        None => {
            issues.add("", "missing_field", "`kind` is missing; add it");
            None
        }
    }
}

fn read_name(object: &Map<String, Value>, field: &str, issues: &mut Issues) -> Option<Name> {
    match object.get(field) {
        Some(Value::String(text)) => match Name::from_text(text) {
            Ok(name) => Some(name),
            Err(rejected) => {
                issues.add(format!("/{field}"), rejected.code, rejected.problem);
                None
            }
        },
        Some(_) => {
            issues.add(
                format!("/{field}"),
                "wrong_type",
                format!("`{field}` is not a string; give a name"),
            );
            None
        }
        None => {
            issues.add("", "missing_field", format!("`{field}` is missing; add it"));
            None
        }
    }
}

fn read_labels(object: &Map<String, Value>, issues: &mut Issues) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    match object.get("labels") {
        None | Some(Value::Null) => {}
        Some(Value::Object(map)) if map.len() <= 64 => {
            for (key, value) in map {
                match value.as_str() {
                    Some(text) if key.len() <= 128 && text.len() <= 256 => {
                        labels.insert(key.clone(), text.to_owned());
                    }
                    _ => issues.add(
                        format!("/labels/{}", escape(key)),
                        "invalid_label",
                        "give a text of at most 256 bytes under a key of at most 128",
                    ),
                }
            }
        }
        Some(_) => issues.add(
            "/labels",
            "wrong_type",
            "`labels` is not a mapping of at most 64 texts; give one",
        ),
    }
    labels
}

/// The specification of a resource, by its kind.
#[derive(Clone, Debug)]
pub enum Spec {
    /// Of a tenant.
    Tenant(Tenant),
    /// Of a certificate.
    Certificate(Box<Certificate>),
    /// Of a gateway.
    Gateway(Gateway),
    /// Of a secret.
    Secret(Secret),
    /// Of an upstream.
    Upstream(Box<Upstream>),
    /// Of a policy set.
    PolicySet(PolicySet),
    /// Of an API.
    Api(Box<Api>),
    /// Of an application.
    Application(Application),
    /// Of a credential.
    Credential(Credential),
}

impl Spec {
    /// Parses a specification. The configurations of policies inside stay as they are written.
    ///
    /// # Errors
    ///
    /// Every fault, with pointers that begin with `/spec`.
    pub fn parse(kind: Kind, spec: &Value) -> Result<Self, Issues> {
        let parsed = match kind {
            Kind::Tenant => parse::value(spec).map(Self::Tenant),
            Kind::Certificate => {
                parse::value(spec).map(|certificate| Self::Certificate(Box::new(certificate)))
            }
            Kind::Gateway => parse::value(spec).map(Self::Gateway),
            Kind::Secret => parse::value(spec).map(Self::Secret),
            Kind::Upstream => parse::value(spec).map(|upstream| Self::Upstream(Box::new(upstream))),
            Kind::PolicySet => parse::value(spec).map(Self::PolicySet),
            Kind::Api => parse::value(spec).map(|api| Self::Api(Box::new(api))),
            Kind::Application => parse::value(spec).map(Self::Application),
            Kind::Credential => parse::value(spec).map(Self::Credential),
        };
        parsed.map_err(|issues| {
            let mut under = Issues::default();
            under.extend_under("/spec", issues);
            under
        })
    }

    /// The JSON schema of a kind's specification, draft 2020-12, with the policies' left open.
    #[must_use]
    pub fn schema(kind: Kind, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        match kind {
            Kind::Tenant => generator.subschema_for::<Tenant>(),
            Kind::Certificate => generator.subschema_for::<Certificate>(),
            Kind::Gateway => generator.subschema_for::<Gateway>(),
            Kind::Secret => generator.subschema_for::<Secret>(),
            Kind::Upstream => generator.subschema_for::<Upstream>(),
            Kind::PolicySet => generator.subschema_for::<PolicySet>(),
            Kind::Api => generator.subschema_for::<Api>(),
            Kind::Application => generator.subschema_for::<Application>(),
            Kind::Credential => generator.subschema_for::<Credential>(),
        }
    }
}
