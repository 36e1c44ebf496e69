//! What the admin API answers, as far as tables need it. A field that a server of another version
//! leaves out is empty, and one that it adds is not looked at.

use serde::Deserialize;
use serde_json::Value;
use tollgate_model::Issue;

use crate::failure::Outcome;

/// What became of a change.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Changed {
    /// None where nothing changed, or was only tried.
    pub(crate) revision: Option<u64>,
    /// Whether it was only tried.
    pub(crate) dry_run: bool,
    /// One for each resource.
    pub(crate) changes: Vec<Change>,
    /// Where the nodes stand, if that was waited for.
    pub(crate) applied: Option<Applied>,
}

/// What became of one resource, or what a revision did to it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Change {
    /// `create`, `update`, `delete`, `unchanged`.
    pub(crate) op: String,
    pub(crate) kind: String,
    pub(crate) tenant: String,
    pub(crate) name: String,
    /// What differs, field by field; not every answer has it.
    pub(crate) diff: Option<Vec<FieldChange>>,
    /// As it was; null where it was not there.
    pub(crate) before: Value,
    /// As it is; null where it is gone.
    pub(crate) after: Value,
}

impl Change {
    /// `Upstream default/orders`.
    #[must_use]
    pub(crate) fn id(&self) -> String {
        format!("{} {}/{}", self.kind, self.tenant, self.name)
    }
}

/// What differs at one place of a resource.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FieldChange {
    /// A JSON pointer.
    pub(crate) at: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

/// Where the nodes stand with a revision.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Applied {
    pub(crate) revision: u64,
    pub(crate) nodes_total: u64,
    pub(crate) nodes_applied: u64,
    /// Nodes that have not answered in time.
    pub(crate) pending: Vec<String>,
    /// What nodes cannot run.
    pub(crate) rejected: Vec<Rejection>,
}

impl Applied {
    /// Whether every node runs all of it.
    #[must_use]
    pub(crate) fn outcome(&self) -> Outcome {
        let is_applied = self.pending.is_empty() && self.rejected.is_empty();
        if is_applied { Outcome::Done } else { Outcome::Negative }
    }
}

/// A resource that a node cannot run, and why.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Rejection {
    pub(crate) node: String,
    pub(crate) kind: String,
    pub(crate) tenant: String,
    pub(crate) name: String,
    pub(crate) issues: Vec<Issue>,
}

/// One committed change of configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Revision {
    pub(crate) number: u64,
    pub(crate) at: String,
    pub(crate) actor: String,
    pub(crate) message: Option<String>,
    pub(crate) changes: Vec<Change>,
    /// Whether the list of changes was cut.
    pub(crate) has_more_changes: bool,
}

/// One data-plane process.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) gateway: String,
    pub(crate) build: Option<String>,
    pub(crate) connected: bool,
    pub(crate) revision: Option<u64>,
    /// Revisions behind the control plane.
    pub(crate) lag: Option<u64>,
    pub(crate) last_seen_at: Option<String>,
    pub(crate) open_connections: Option<u64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) rejected: Vec<Rejection>,
}

/// Where the whole cluster stands.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) revision: u64,
    pub(crate) nodes: NodeCounts,
    /// Only those that some node does not run as they are.
    pub(crate) resources: Vec<ResourceStatus>,
}

impl Status {
    /// Whether every connected node runs the current revision, all of it.
    #[must_use]
    pub(crate) fn is_applied(&self) -> bool {
        self.resources.is_empty() && self.nodes.current >= self.nodes.connected
    }

    /// Whether some node cannot run something; waiting will not mend that.
    #[must_use]
    pub(crate) fn has_rejected(&self) -> bool {
        self.resources.iter().any(|resource| resource.state == "rejected")
    }
}

/// How many nodes there are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeCounts {
    pub(crate) total: u64,
    pub(crate) connected: u64,
    /// Those that run the current revision.
    pub(crate) current: u64,
}

/// Where one resource stands.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ResourceStatus {
    pub(crate) kind: String,
    pub(crate) tenant: String,
    pub(crate) name: String,
    /// `applied`, `pending`, `rejected`.
    pub(crate) state: String,
    pub(crate) nodes: Vec<NodeState>,
}

/// Where one resource stands on one node.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeState {
    pub(crate) node: String,
    pub(crate) state: String,
    pub(crate) issues: Vec<Issue>,
}
