//! `tollgate purge`: takes responses out of the nodes' caches, or lists who did.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::session::{Session, parse_duration};

/// So many are listed.
const LIMIT: usize = 500;

/// What `tollgate purge` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What is stored for one URL, whoever it is for
    Url(Target),
    /// Everything of an API
    Api(Target),
    /// Everything that upstreams gave this tag, in `surrogate-key`, `cache-tag` or `cache-groups`
    Tag(Target),
    /// Lists the newest purges
    List,
}

#[derive(Args)]
struct Target {
    /// Such as <http://api.shop.test/orders?page=1>, `orders` or `item-7`
    value: String,
    /// Wait until every connected node has done it, at most so long (10s where no time is given)
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "10s", value_parser = parse_duration)]
    wait: Option<Duration>,
}

/// Carries out `tollgate purge`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    match arguments.what {
        What::Url(target) => purge("url", target, session).await,
        What::Api(target) => purge("api", target, session).await,
        What::Tag(target) => purge("tag", target, session).await,
        What::List => list(session).await,
    }
}

async fn purge(what: &str, target: Target, session: &Session) -> Result<Outcome, Failure> {
    let tenant = session.tenant().await?;
    let body = json!({ what: target.value });
    let path = ["tenants", tenant.as_str(), "purges"];
    let answer = session.client.call(Call::post(&path, &body).wait(target.wait)).await?;
    let pending = pending(&answer);
    if !session.out.is_for_people() {
        session.out.value(&answer)?;
    } else if let Some(purged) = answer.get("purged") {
        let count = |field: &str| purged.get(field).and_then(Value::as_u64).unwrap_or_default();
        let (done, total) = (count("nodes_purged"), count("nodes_total"));
        session.out.line(&format!("{done} of {total} nodes have purged it"))?;
        if !pending.is_empty() {
            session.out.line(&format!("not yet: {}", pending.join(", ")))?;
        }
    } else {
        session.out.line("the nodes are told to purge it")?;
    }
    Ok(if pending.is_empty() { Outcome::Done } else { Outcome::Negative })
}

/// The nodes that have not done it yet.
fn pending(answer: &Value) -> Vec<&str> {
    let pending = answer.pointer("/purged/pending").and_then(Value::as_array);
    pending.into_iter().flatten().filter_map(Value::as_str).collect()
}

async fn list(session: &Session) -> Result<Outcome, Failure> {
    let tenant = session.tenant().await?;
    let items = session.client.list(&["tenants", tenant.as_str(), "purges"], &[], LIMIT).await?;
    if !session.out.is_for_people() {
        session.out.value(&json!({ "items": items }))?;
        return Ok(Outcome::Done);
    }
    let rows = items.iter().map(row).collect();
    let header = ["NUMBER", "AT", "ACTOR", "WHAT", "VALUE"];
    session.out.table(&header, rows, "nothing was purged yet")?;
    Ok(Outcome::Done)
}

fn row(item: &Value) -> Vec<String> {
    let text = |field: &str| item.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = item.get("number").and_then(Value::as_u64).unwrap_or_default();
    let what = ["url", "api", "tag"].into_iter().find(|what| item.get(what).is_some());
    let what = what.unwrap_or_default();
    vec![number.to_string(), text("at"), text("actor"), what.to_owned(), text(what)]
}
