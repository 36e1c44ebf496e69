//! `tollgate delete`: takes one resource away, in a revision of its own.

use clap::Args;
use tollgate_model::ResourceId;

use crate::admin::Changed;
use crate::changes::{self, ChangeArguments};
use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::session::{Named, Session};

/// What `tollgate delete` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    resource: Named,
    /// Only where this revision is the last that changed it
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
    #[command(flatten)]
    change: ChangeArguments,
}

/// Carries out `tollgate delete`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let id = arguments.resource.id(session).await?;
    delete(&id, arguments.if_revision, &arguments.change, session).await
}

/// Takes a resource away and says so.
pub(crate) async fn delete(
    id: &ResourceId,
    if_revision: Option<u64>,
    change: &ChangeArguments,
    session: &Session,
) -> Result<Outcome, Failure> {
    let path = ["tenants", id.tenant.as_str(), id.kind.plural(), id.name.as_str()];
    let call = Call::delete(&path)
        .if_match(if_revision)
        .query("message", change.message.as_ref())
        .wait(change.wait);
    let answer = session.client.call(call).await?;
    // An answer without a body says that it is done, and no more.
    let changed: Changed =
        if answer.is_null() { Changed::default() } else { session.client.typed(&answer)? };
    if session.out.is_for_people() {
        let revision = changed.revision.map(|revision| format!(" in revision {revision}"));
        session.out.line(&format!("deleted {id}{}", revision.unwrap_or_default()))?;
    } else {
        session.out.value(&answer)?;
    }
    match &changed.applied {
        Some(applied) => changes::report_applied(applied, |_| None, &session.out),
        None => Ok(Outcome::Done),
    }
}
