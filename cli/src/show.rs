//! `tollgate show`: one revision, with what it changed in each resource.

use clap::Args;

use crate::admin::Revision;
use crate::changes;
use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::session::Session;

/// What `tollgate show` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Its number
    #[arg(value_name = "REVISION")]
    revision: u64,
}

/// Carries out `tollgate show`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let out = &session.out;
    let number = arguments.revision.to_string();
    let answer = session.client.call(Call::get(&["revisions", &number])).await?;
    if !out.is_for_people() {
        out.value(&answer)?;
        return Ok(Outcome::Done);
    }
    let revision: Revision = session.client.typed(&answer)?;
    out.line(&format!("revision {} by {} at {}", revision.number, revision.actor, revision.at))?;
    if let Some(message) = revision.message.filter(|message| !message.is_empty()) {
        out.line(&format!("\n    {}", message.replace('\n', "\n    ")))?;
    }
    for change in &revision.changes {
        out.line(&format!("\n{} {}", change.op, change.id()))?;
        if !change.before.is_null() || !change.after.is_null() || change.diff.is_some() {
            out.diff(&changes::unified(change))?;
        }
    }
    Ok(Outcome::Done)
}
