//! `tollgate export`: everything as one resource file, which `apply` takes back.

use clap::Args;
use serde_json::Value;

use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::get::written;
use crate::output::Format;
use crate::session::Session;

/// What `tollgate export` takes.
#[derive(Args)]
pub(crate) struct Arguments {}

/// Carries out `tollgate export`.
pub(crate) async fn run(_: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let tenant = session.named_tenant().map(ToString::to_string);
    let answer = session.client.call(Call::get(&["export"]).query("tenant", tenant)).await?;
    match session.out.format() {
        Format::Json => session.out.value(&answer)?,
        Format::Table | Format::Yaml => {
            let items = answer.get("items").and_then(Value::as_array).into_iter().flatten();
            let items: Vec<Value> = items.map(written).collect();
            if let Some(revision) = answer.get("revision").and_then(Value::as_u64) {
                session.out.line(&format!("# revision {revision}; sealed values are not in it"))?;
            }
            session.out.documents(&items)?;
        }
    }
    Ok(Outcome::Done)
}
