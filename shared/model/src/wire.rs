//! The wire's messages and the model's types; the only file that knows both.

use serde_json::Value;
use tollgate_proto::v1;

use crate::id::{Kind, Name, ResourceId};
use crate::issue::{Issue, Issues};
use crate::parse::FromText;

/// Reads the id of a resource.
///
/// # Errors
///
/// What this program does not know, a kind of a newer version for one.
pub fn id_from_wire(id: &v1::ResourceId) -> Result<ResourceId, Issues> {
    let mut issues = Issues::default();
    let kind = Kind::from_name(&id.kind);
    if kind.is_none() {
        issues.add(
            "/kind",
            "unknown_kind",
            format!("`{}` is a kind that this version does not know", id.kind),
        );
    }
    let tenant = Name::from_text(&id.tenant)
        .map_err(|rejected| issues.add("/tenant", rejected.code, rejected.problem));
    let name = Name::from_text(&id.name)
        .map_err(|rejected| issues.add("/name", rejected.code, rejected.problem));
    match (kind, tenant, name) {
        (Some(kind), Ok(tenant), Ok(name)) => Ok(ResourceId::new(kind, tenant, name)),
        _ => Err(issues),
    }
}

/// Writes the id of a resource.
#[must_use]
pub fn id_to_wire(id: &ResourceId) -> v1::ResourceId {
    v1::ResourceId {
        kind: id.kind.name().to_owned(),
        tenant: id.tenant.as_str().to_owned(),
        name: id.name.as_str().to_owned(),
    }
}

/// The id that a resource message carries, as a message.
#[must_use]
pub fn id_of(resource: &v1::Resource) -> v1::ResourceId {
    v1::ResourceId {
        kind: resource.kind.clone(),
        tenant: resource.tenant.clone(),
        name: resource.name.clone(),
    }
}

/// Reads the specification of a resource.
///
/// # Errors
///
/// Where it is not JSON.
pub fn spec_from_wire(resource: &v1::Resource) -> Result<Value, Issues> {
    serde_json::from_slice(&resource.spec).map_err(|error| {
        Issues::one(Issue::new("/spec", "invalid_json", format!("is not JSON: {error}")))
    })
}

/// Writes a resource.
///
/// `spec` is the JSON text of the specification.
#[must_use]
pub fn resource_to_wire(id: &ResourceId, version: u64, spec: &str) -> v1::Resource {
    v1::Resource {
        kind: id.kind.name().to_owned(),
        tenant: id.tenant.as_str().to_owned(),
        name: id.name.as_str().to_owned(),
        version,
        spec: spec.as_bytes().to_vec().into(),
    }
}

/// Writes issues.
#[must_use]
pub fn issues_to_wire(issues: &Issues) -> Vec<v1::Issue> {
    let message = |issue: &Issue| v1::Issue {
        pointer: issue.at.clone(),
        code: issue.code.clone(),
        message: issue.problem.clone(),
    };
    issues.0.iter().map(message).collect()
}

/// Reads issues.
#[must_use]
pub fn issues_from_wire(issues: &[v1::Issue]) -> Issues {
    issues
        .iter()
        .map(|issue| Issue::new(issue.pointer.clone(), &issue.code, issue.message.clone()))
        .collect()
}

/// The XOR of the hashes of all resources of a set: equal sets have equal digests, and a change
/// costs only what it touches (see `Delta.digest` in `proto/`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Adds a resource, or takes it away again: the operation is its own inverse.
    pub fn toggle(&mut self, resource: &v1::Resource) {
        let mut hasher = blake3::Hasher::new();
        for text in [&resource.kind, &resource.tenant, &resource.name] {
            hasher.update(text.as_bytes());
            hasher.update(&[0]);
        }
        hasher.update(&resource.version.to_le_bytes());
        hasher.update(&resource.spec);
        for (byte, other) in self.0.iter_mut().zip(hasher.finalize().as_bytes()) {
            *byte ^= other;
        }
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads a digest off the wire; none where it has another length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}
