//! What is known of a node, in the forms that it is kept and told in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tollgate_model::{Issues, ResourceId};

use crate::store::NodeRow;

/// A resource that a node cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rejected {
    pub(crate) kind: String,
    pub(crate) tenant: String,
    pub(crate) name: String,
    /// The version that was refused.
    pub(crate) version: u64,
    pub(crate) issues: Issues,
}

/// What is known of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NodeStatus {
    pub(crate) gateway: String,
    pub(crate) name: String,
    pub(crate) build: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) is_connected: bool,
    /// What it runs; none until it has said so.
    pub(crate) revision: Option<u64>,
    /// The newest purge that it has carried out; none until it has said so.
    pub(crate) purge: Option<u64>,
    #[serde(skip)]
    pub(crate) last_seen_at: Timestamp,
    pub(crate) open_connections: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) requests_total: u64,
    pub(crate) uptime_seconds: u64,
    pub(crate) rejected: Vec<Rejected>,
}

impl NodeStatus {
    /// Whether it runs this revision or a later one.
    pub(crate) fn runs(&self, revision: u64) -> bool {
        self.revision.is_some_and(|own| own >= revision)
    }
}

/// Where the nodes stand with a purge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Purged {
    pub(crate) nodes_total: usize,
    pub(crate) nodes_purged: usize,
    pub(crate) pending: Vec<String>,
}

/// Where the nodes stand with a revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Applied {
    pub(crate) revision: u64,
    pub(crate) nodes_total: usize,
    pub(crate) nodes_applied: usize,
    pub(crate) pending: Vec<String>,
    pub(crate) rejected: Vec<(String, Rejected)>,
}

pub(super) fn names(id: &ResourceId, rejected: &Rejected) -> bool {
    id.name.as_str() == rejected.name
        && id.tenant.as_str() == rejected.tenant
        && id.kind.name() == rejected.kind
}

pub(super) fn of_row(row: NodeRow) -> ((String, String), NodeStatus) {
    let status = NodeStatus {
        gateway: row.gateway.clone(),
        name: row.name.clone(),
        build: row.build,
        labels: row.labels,
        last_seen_at: row.last_seen_at,
        ..NodeStatus::default()
    };
    ((row.gateway, row.name), status)
}

pub(super) fn node_row(status: &NodeStatus) -> NodeRow {
    NodeRow {
        gateway: status.gateway.clone(),
        name: status.name.clone(),
        build: status.build.clone(),
        labels: status.labels.clone(),
        // Of a node that is known, both stay as they are.
        certificate_serial: String::new(),
        first_seen_at: status.last_seen_at,
        last_seen_at: status.last_seen_at,
    }
}
