//! `tollgate rollback`: a new revision whose content is that of an old one.

use clap::Args;
use serde_json::json;

use crate::admin::Changed;
use crate::changes::{self, ChangeArguments};
use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::session::Session;

/// What `tollgate rollback` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The revision to go back to
    #[arg(value_name = "REVISION")]
    revision: u64,
    #[command(flatten)]
    change: ChangeArguments,
}

/// Carries out `tollgate rollback`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let number = arguments.revision.to_string();
    let body =
        arguments.change.message.map_or_else(|| json!({}), |message| json!({ "message": message }));
    let path = ["revisions", number.as_str(), "rollback"];
    let answer = session.client.call(Call::post(&path, &body).wait(arguments.change.wait)).await?;
    if !session.out.is_for_people() {
        session.out.value(&answer)?;
    }
    let changed: Changed = session.client.typed(&answer)?;
    changes::report(&changed, |_| None, &session.out)
}
