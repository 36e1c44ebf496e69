//! `tollgate status`: whether every node runs what the control plane holds, and if not, why.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::Instant;

use crate::admin::Status;
use crate::changes::reasons;
use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::session::{Session, parse_duration};

/// How often it is asked while waiting.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What `tollgate status` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Wait until every connected node runs the current revision, at most so long (10s where no time is given)
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "10s", value_parser = parse_duration)]
    wait: Option<Duration>,
}

/// Carries out `tollgate status`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let until = arguments.wait.map(|wait| Instant::now() + wait);
    loop {
        let answer = session.client.call(Call::get(&["status"])).await?;
        let status: Status = session.client.typed(&answer)?;
        let is_over = status.is_applied()
            || status.has_rejected()
            || until.is_none_or(|until| Instant::now() + POLL_INTERVAL > until);
        if is_over {
            print(&status, &answer, &session.out)?;
            let is_missed = arguments.wait.is_some() && !status.is_applied();
            return Ok(if is_missed { Outcome::Negative } else { Outcome::Done });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn print(status: &Status, answer: &Value, out: &Output) -> Result<(), Failure> {
    if !out.is_for_people() {
        return out.value(answer);
    }
    let nodes = &status.nodes;
    out.line(&format!(
        "revision {}: {} nodes, {} connected, {} current",
        status.revision, nodes.total, nodes.connected, nodes.current
    ))?;
    if status.resources.is_empty() {
        return out.line("every resource is applied on every connected node");
    }
    let mut rows = Vec::new();
    for resource in &status.resources {
        for node in &resource.nodes {
            let reasons = reasons(&node.issues);
            let first = reasons.first().cloned().unwrap_or_default();
            let name = format!("{}/{}", resource.tenant, resource.name);
            rows.push(vec![
                node.state.clone(),
                resource.kind.clone(),
                name,
                node.node.clone(),
                first,
            ]);
            let more = reasons.into_iter().skip(1);
            rows.extend(more.map(|reason| {
                vec![String::new(), String::new(), String::new(), String::new(), reason]
            }));
        }
        if resource.nodes.is_empty() {
            let name = format!("{}/{}", resource.tenant, resource.name);
            rows.push(vec![
                resource.state.clone(),
                resource.kind.clone(),
                name,
                String::new(),
                String::new(),
            ]);
        }
    }
    out.table(&["STATE", "KIND", "RESOURCE", "NODE", "REASON"], rows, "")
}
