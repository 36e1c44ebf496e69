//! `tollgate describe`: one resource with all there is to know about it.

use clap::Args;
use serde_json::{Value, json};
use tollgate_model::ResourceId;

use crate::admin::{ResourceStatus, Revision, Status};
use crate::changes::reasons;
use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::get::written;
use crate::history;
use crate::references;
use crate::session::{Named, Session};
use crate::yaml;

/// How many revisions are shown.
const REVISIONS: usize = 5;

/// What `tollgate describe` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    resource: Named,
}

/// What is known about a resource.
struct Described {
    resource: Value,
    refers_to: Vec<ResourceId>,
    referred_to_by: Vec<ResourceId>,
    revisions: Vec<Value>,
    state: Option<ResourceStatus>,
    nodes: u64,
}

/// Carries out `tollgate describe`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let id = arguments.resource.id(session).await?;
    let described = gather(&id, session).await?;
    if session.out.is_for_people() {
        print(&id, &described, session)?;
    } else {
        session.out.value(&as_json(&described))?;
    }
    Ok(Outcome::Done)
}

async fn gather(id: &ResourceId, session: &Session) -> Result<Described, Failure> {
    let client = &session.client;
    let path = ["tenants", id.tenant.as_str(), id.kind.plural(), id.name.as_str()];
    let resource = client.call(Call::get(&path)).await?;
    let refers_to = references::of(&resource).into_iter().flat_map(|(_, named)| named).collect();
    // What belongs to the platform may be named by any tenant's resources.
    let scope = (!id.kind.is_platform()).then(|| id.tenant.as_str());
    let export = client.call(Call::get(&["export"]).query("tenant", scope)).await?;
    let query = [
        ("kind", Some(id.kind.name().to_owned())),
        ("tenant", Some(id.tenant.to_string())),
        ("name", Some(id.name.to_string())),
    ];
    let revisions = client.list(&["revisions"], &query, REVISIONS).await?;
    let status: Status = client.call_for(Call::get(&["status"])).await?;
    let state = status.resources.into_iter().find(|resource| {
        resource.kind == id.kind.name()
            && resource.tenant == id.tenant.as_str()
            && resource.name == id.name.as_str()
    });
    let referred_to_by = referrers(id, &export);
    let nodes = status.nodes.connected;
    Ok(Described { resource, refers_to, referred_to_by, revisions, state, nodes })
}

fn referrers(id: &ResourceId, export: &Value) -> Vec<ResourceId> {
    let items = export.get("items").and_then(Value::as_array).into_iter().flatten();
    items
        .filter_map(references::of)
        .filter_map(|(referrer, named)| named.contains(id).then_some(referrer))
        .collect()
}

fn as_json(described: &Described) -> Value {
    let ids = |ids: &[ResourceId]| -> Vec<Value> {
        ids.iter()
            .map(|id| json!({ "kind": id.kind, "tenant": id.tenant, "name": id.name }))
            .collect()
    };
    let state = described.state.as_ref();
    json!({
        "resource": described.resource,
        "refers_to": ids(&described.refers_to),
        "referred_to_by": ids(&described.referred_to_by),
        "revisions": described.revisions,
        "state": state.map_or("applied", |state| state.state.as_str()),
        "nodes": state.map(|state| &state.nodes).into_iter().flatten().map(|node| {
            json!({ "node": node.node, "state": node.state, "issues": node.issues })
        }).collect::<Vec<_>>(),
    })
}

fn print(id: &ResourceId, described: &Described, session: &Session) -> Result<(), Failure> {
    let out = &session.out;
    let field = |name: &str| match described.resource.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    };
    out.line(&id.to_string())?;
    out.line(&format!(
        "revision {}, managed by {}, created {}, updated {}",
        field("version"),
        field("managed_by"),
        field("created_at"),
        field("updated_at")
    ))?;
    out.line("")?;
    out.text(&yaml::document(&written(&described.resource)))?;
    section("REFERS TO", &described.refers_to, session)?;
    section("REFERRED TO BY", &described.referred_to_by, session)?;
    out.line("\nREVISIONS")?;
    let revisions = described.revisions.iter().map(|value| session.client.typed(value));
    history::print(&revisions.collect::<Result<Vec<Revision>, _>>()?, &session.out)?;
    out.line("\nNODES")?;
    let Some(state) = &described.state else {
        return out.line(&if described.nodes == 0 {
            "no node is connected".to_owned()
        } else {
            format!("applied on all {} connected nodes", described.nodes)
        });
    };
    for node in &state.nodes {
        out.line(&format!("{}: {}", node.node, node.state))?;
        for reason in reasons(&node.issues) {
            out.line(&format!("  {reason}"))?;
        }
    }
    Ok(())
}

fn section(title: &str, ids: &[ResourceId], session: &Session) -> Result<(), Failure> {
    if ids.is_empty() {
        return Ok(());
    }
    session.out.line(&format!("\n{title}"))?;
    ids.iter().try_for_each(|id| session.out.line(&id.to_string()))
}
