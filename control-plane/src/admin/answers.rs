//! What became of a change, as it is answered; with the nodes' word, where it is waited for.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tollgate_model::ResourceId;

use super::Admin;
use super::input::Query;
use super::problem::AdminError;
use crate::change::{Line, Outcome};
use crate::content::Difference;
use crate::nodes::{Applied, Rejected};

const WAIT: Duration = Duration::from_secs(10);
const WAIT_MOST: Duration = Duration::from_mins(5);
/// The most characters of what is said about a revision.
const MESSAGE_CHARS: usize = 2_000;

/// How long to wait for the nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait(Duration);

impl Wait {
    /// Reads `wait=applied&timeout=5s`.
    pub(super) fn read(query: &mut Query) -> Option<Self> {
        let limit = query.span("timeout", WAIT, WAIT_MOST);
        query.word("wait", &["applied"]).map(|_| Self(limit))
    }

    /// The longest wait.
    pub(super) fn limit(self) -> Duration {
        self.0
    }
}

/// What is said about a revision.
pub(super) fn message(text: Option<&str>) -> Result<String, AdminError> {
    let text = text.unwrap_or_default();
    if text.chars().count() > MESSAGE_CHARS {
        let problem = format!("is longer than {MESSAGE_CHARS} characters; say it in fewer");
        return Err(AdminError::issue("/message", "too_long", problem));
    }
    Ok(text.to_owned())
}

/// What became of a change: `{revision, dry_run, changes, applied?}`.
pub(super) async fn changed(
    admin: &Admin,
    outcome: Outcome,
    wait: Option<Wait>,
) -> Result<Value, AdminError> {
    let mut body = Map::new();
    body.insert("revision".to_owned(), json!(outcome.revision));
    body.insert("dry_run".to_owned(), outcome.is_dry_run.into());
    body.insert("changes".to_owned(), outcome.lines.iter().map(line).collect());
    if let Some(applied) = applied(admin, &outcome, wait).await? {
        body.insert("applied".to_owned(), applied);
    }
    Ok(Value::Object(body))
}

/// Where the nodes stand with what a change was to bring about, once they have it or time is up.
pub(super) async fn applied(
    admin: &Admin,
    outcome: &Outcome,
    wait: Option<Wait>,
) -> Result<Option<Value>, AdminError> {
    let Some(Wait(limit)) = wait.filter(|_| !outcome.is_dry_run) else { return Ok(None) };
    let resources: HashSet<ResourceId> = outcome.lines.iter().map(|line| line.id.clone()).collect();
    let applied = admin.nodes().wait_applied(outcome.in_force, &resources, limit).await?;
    Ok(Some(applied_json(&applied)))
}

fn applied_json(applied: &Applied) -> Value {
    let rejected = applied.rejected.iter().map(|(node, rejected)| {
        json!({
            "node": node,
            "kind": rejected.kind,
            "tenant": rejected.tenant,
            "name": rejected.name,
            "issues": rejected.issues,
        })
    });
    json!({
        "revision": applied.revision,
        "nodes_total": applied.nodes_total,
        "nodes_applied": applied.nodes_applied,
        "pending": applied.pending,
        "rejected": rejected.collect::<Vec<_>>(),
    })
}

/// A resource that a node refuses, as `/nodes` tells it.
pub(super) fn rejected_json(rejected: &Rejected) -> Value {
    json!({
        "kind": rejected.kind,
        "tenant": rejected.tenant,
        "name": rejected.name,
        "version": rejected.version,
        "issues": rejected.issues,
    })
}

fn line(line: &Line) -> Value {
    let mut object = Map::new();
    object.insert("op".to_owned(), line.done.as_str().into());
    object.insert("kind".to_owned(), line.id.kind.name().into());
    object.insert("tenant".to_owned(), line.id.tenant.as_str().into());
    object.insert("name".to_owned(), line.id.name.as_str().into());
    if !line.diff.is_empty() {
        object.insert("diff".to_owned(), line.diff.iter().map(difference).collect());
    }
    Value::Object(object)
}

fn difference(difference: &Difference) -> Value {
    let mut object = Map::new();
    object.insert("at".to_owned(), difference.at.as_str().into());
    for (side, value) in [("before", &difference.before), ("after", &difference.after)] {
        if let Some(value) = value {
            object.insert(side.to_owned(), value.clone());
        }
    }
    Value::Object(object)
}
