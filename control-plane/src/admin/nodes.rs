//! Node status, read only but for nodes that are gone for good; and how far the configuration has come.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use serde_json::{Map, Value, json};
use tollgate_model::Issues;

use super::answers::rejected_json;
use super::auth::Caller;
use super::input::{At, Query};
use super::problem::AdminError;
use super::{Admin, answer};
use crate::identity::Action;
use crate::live::LiveState;
use crate::nodes::NodeStatus;

/// So many resources that are under way are named.
const LISTED: usize = 500;
const LIST_LIMIT: usize = 500;

/// `GET /api/v1/nodes`
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, AdminError> {
    let mut query = Query::read(&uri, &["limit", "cursor"])?;
    let limit = query.number("limit", LIST_LIMIT, LIST_LIMIT);
    let skipped = query.number("cursor", 0, usize::MAX);
    query.finish()?;
    caller.may_platform(Action::Read)?;
    let revision = admin.state().revision();
    let nodes = admin.nodes().all().await?;
    let items: Vec<Value> =
        nodes.iter().skip(skipped).take(limit).map(|node| item(node, revision)).collect();
    let end = skipped.saturating_add(items.len());
    let next = (end < nodes.len()).then(|| end.to_string());
    Ok(answer(&json!({ "items": items, "next": next })))
}

fn item(node: &NodeStatus, revision: u64) -> Value {
    let mut item = Map::new();
    let mut put = |name: &str, value: Value| item.insert(name.to_owned(), value);
    put("name", node.name.as_str().into());
    put("gateway", node.gateway.as_str().into());
    put("build", node.build.as_str().into());
    put("labels", json!(node.labels));
    put("connected", node.is_connected.into());
    put("revision", json!(node.revision));
    put("lag", json!(node.revision.map(|own| revision.saturating_sub(own))));
    put("last_seen_at", node.last_seen_at.to_string().into());
    put("open_connections", node.open_connections.into());
    put("requests_total", node.requests_total.into());
    put("uptime_seconds", node.uptime_seconds.into());
    put("resident_bytes", node.resident_bytes.into());
    put("rejected", node.rejected.iter().map(rejected_json).collect());
    Value::Object(item)
}

/// `DELETE /api/v1/nodes/{gateway}/{name}`
pub(super) async fn forget(
    State(admin): State<Admin>,
    caller: Caller,
    At((gateway, name)): At<(String, String)>,
    uri: Uri,
) -> Result<Response, AdminError> {
    Query::read(&uri, &[])?.finish()?;
    caller.may_platform(Action::Administer)?;
    let is_known = admin.store().forget_node(&gateway, &name).await?;
    admin.store().forget_node_report(&gateway, &name).await?;
    admin.nodes().expel(&gateway, &name);
    if !is_known {
        return Err(AdminError::no_resource(format_args!("node {gateway}/{name}")));
    }
    Ok(answer(&json!({ "gateway": gateway, "name": name, "result": "forgotten" })))
}

/// `GET /api/v1/status`
pub(super) async fn status(
    State(admin): State<Admin>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, AdminError> {
    Query::read(&uri, &[])?.finish()?;
    caller.may_own(Action::Read)?;
    let state = admin.state();
    let nodes = admin.nodes().all().await?;
    let connected: Vec<&NodeStatus> = nodes.iter().filter(|node| node.is_connected).collect();
    let current = connected.iter().filter(|node| node.runs(state.revision())).count();
    let resources = unsettled(&state, &connected, &caller);
    Ok(answer(&json!({
        "revision": state.revision(),
        "epoch": admin.store().epoch(),
        "nodes": { "total": nodes.len(), "connected": connected.len(), "current": current },
        "resources": resources,
    })))
}

#[derive(Default)]
struct Unsettled<'a> {
    is_rejected: bool,
    nodes: Vec<(&'a str, &'static str, Issues)>,
}

/// The resources that some connected node does not run as they are.
fn unsettled(state: &LiveState, connected: &[&NodeStatus], caller: &Caller) -> Vec<Value> {
    let mut found: BTreeMap<(String, String, String), Unsettled<'_>> = BTreeMap::new();
    for node in connected {
        for rejected in &node.rejected {
            let id = (rejected.kind.clone(), rejected.tenant.clone(), rejected.name.clone());
            let entry = found.entry(id).or_default();
            entry.is_rejected = true;
            entry.nodes.push((&node.name, "rejected", rejected.issues.clone()));
        }
    }
    let oldest = connected.iter().map(|node| node.revision.unwrap_or(0)).min();
    let behind = oldest.filter(|oldest| *oldest < state.revision());
    let newer = behind
        .into_iter()
        .flat_map(|oldest| state.iter().filter(move |entry| entry.checked.version > oldest));
    for entry in newer.take(LISTED) {
        let id = &entry.checked.id;
        let key = (id.kind.name().to_owned(), id.tenant.to_string(), id.name.to_string());
        let unsettled = found.entry(key).or_default();
        for node in connected.iter().filter(|node| !node.runs(entry.checked.version)) {
            unsettled.nodes.push((&node.name, "pending", Issues::default()));
        }
    }
    let seen = found.into_iter().filter(|((kind, tenant, _), _)| caller.sees_kind(kind, tenant));
    seen.map(|((kind, tenant, name), unsettled)| {
        let nodes = unsettled
            .nodes
            .iter()
            .map(|(node, state, issues)| json!({ "node": node, "state": state, "issues": issues }));
        json!({
            "kind": kind,
            "tenant": tenant,
            "name": name,
            "state": if unsettled.is_rejected { "rejected" } else { "pending" },
            "nodes": nodes.collect::<Vec<_>>(),
        })
    })
    .collect()
}
