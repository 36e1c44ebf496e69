//! `tollgate history`: revisions, newest first, of everything or of one resource.

use clap::Args;
use serde_json::json;
use tollgate_model::Kind;

use crate::admin::Revision;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::session::{Session, parse_kind, parse_name};

/// What `tollgate history` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only revisions of one resource of this kind
    #[arg(value_name = "KIND", value_parser = parse_kind, requires = "name")]
    kind: Option<Kind>,
    /// Which one
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
}

/// Carries out `tollgate history`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let mut query = Vec::new();
    if let (Some(kind), Some(name)) = (arguments.kind, &arguments.name) {
        let name = parse_name(name)?;
        let tenant = session.tenant_for(kind).await?;
        query.push(("kind", Some(kind.name().to_owned())));
        query.push(("tenant", Some(tenant.to_string())));
        query.push(("name", Some(name.to_string())));
    }
    let items = session.client.list(&["revisions"], &query, arguments.limit).await?;
    if session.out.is_for_people() {
        let revisions = items.iter().map(|item| session.client.typed(item));
        print(&revisions.collect::<Result<Vec<Revision>, _>>()?, &session.out)?;
    } else {
        session.out.value(&json!({ "items": items }))?;
    }
    Ok(Outcome::Done)
}

/// Prints revisions as a table.
pub(crate) fn print(revisions: &[Revision], out: &Output) -> Result<(), Failure> {
    let rows = revisions
        .iter()
        .map(|revision| {
            vec![
                revision.number.to_string(),
                revision.at.clone(),
                revision.actor.clone(),
                changes(revision),
                revision.message.clone().unwrap_or_default(),
            ]
        })
        .collect();
    out.table(&["REVISION", "AT", "ACTOR", "CHANGES", "MESSAGE"], rows, "no revisions")
}

/// The one change by its name, several by their counts.
fn changes(revision: &Revision) -> String {
    if revision.has_more_changes {
        return format!("more than {}", revision.changes.len());
    }
    if let [change] = revision.changes.as_slice() {
        return format!("{} {}", change.op, change.id());
    }
    let count = |op: &str| revision.changes.iter().filter(|change| change.op == op).count();
    ["create", "update", "delete"]
        .into_iter()
        .map(|op| (count(op), op))
        .filter(|(count, _)| *count > 0)
        .map(|(count, op)| format!("{count} {op}"))
        .collect::<Vec<_>>()
        .join(", ")
}
