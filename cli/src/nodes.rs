//! `tollgate nodes` and `tollgate node token`: which nodes there are, and how more of them join.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::admin::Node;
use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::session::{Session, parse_duration, parse_name};

/// How many are listed.
const LIMIT: usize = 10_000;

/// What `tollgate nodes` takes.
#[derive(Args)]
pub(crate) struct Arguments {}

/// What `tollgate node` takes.
#[derive(Args)]
pub(crate) struct NodeArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The tokens that nodes join with
    #[command(subcommand)]
    Token(TokenAction),
}

#[derive(Subcommand)]
enum TokenAction {
    /// Makes a join token and prints it, once
    Create {
        /// The gateway that its nodes belong to
        #[arg(long, value_name = "NAME", default_value = "default")]
        gateway: String,
        /// How long it can be used
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = checked_duration)]
        ttl: String,
        /// How many nodes may join with it (default: any number)
        #[arg(long, value_name = "COUNT")]
        uses: Option<u32>,
    },
    /// Lists the join tokens that can still be used
    List,
    /// Takes a join token away; nodes that joined with it stay
    Revoke {
        /// Its id, as `list` shows it
        id: String,
    },
}

/// Keeps a duration in the user's words, once it is one.
fn checked_duration(text: &str) -> Result<String, String> {
    parse_duration(text).map(|_| text.to_owned())
}

/// Carries out `tollgate nodes`.
pub(crate) async fn run(_: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let items = session.client.list(&["nodes"], &[], LIMIT).await?;
    if !session.out.is_for_people() {
        session.out.value(&json!({ "items": items }))?;
        return Ok(Outcome::Done);
    }
    let nodes: Vec<Node> =
        items.iter().map(|item| session.client.typed(item)).collect::<Result<_, _>>()?;
    let count = |count: Option<u64>| count.map(|count| count.to_string()).unwrap_or_default();
    let rows = nodes
        .iter()
        .map(|node| {
            vec![
                node.name.clone(),
                node.gateway.clone(),
                state(node).to_owned(),
                count(node.revision),
                count(node.lag),
                count(node.open_connections),
                node.resident_bytes.map(megabytes).unwrap_or_default(),
                node.build.clone().unwrap_or_default(),
                node.last_seen_at.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let header = [
        "NAME",
        "GATEWAY",
        "STATE",
        "REVISION",
        "LAG",
        "CONNECTIONS",
        "MEMORY",
        "BUILD",
        "LAST SEEN",
    ];
    session.out.table(
        &header,
        rows,
        "no nodes; `tollgate node token create` makes a token to join with",
    )?;
    Ok(Outcome::Done)
}

/// Carries out `tollgate node`.
pub(crate) async fn run_node(
    arguments: NodeArguments,
    session: &Session,
) -> Result<Outcome, Failure> {
    let What::Token(action) = arguments.what;
    match action {
        TokenAction::Create { gateway, ttl, uses } => create(&gateway, &ttl, uses, session).await?,
        TokenAction::List => list(session).await?,
        TokenAction::Revoke { id } => {
            let answer = session.client.call(Call::delete(&["join-tokens", &id])).await?;
            if session.out.is_for_people() {
                session.out.line(&format!("join token {id} is revoked"))?;
            } else {
                session.out.value(&answer)?;
            }
        }
    }
    Ok(Outcome::Done)
}

async fn create(
    gateway: &str,
    ttl: &str,
    uses: Option<u32>,
    session: &Session,
) -> Result<(), Failure> {
    let gateway = parse_name(gateway)?;
    let mut body = json!({ "gateway": gateway, "ttl": ttl });
    if let (Some(uses), Value::Object(body)) = (uses, &mut body) {
        body.insert("uses".to_owned(), uses.into());
    }
    let answer = session.client.call(Call::post(&["join-tokens"], &body)).await?;
    if !session.out.is_for_people() {
        return session.out.value(&answer);
    }
    let text = |field: &str| answer.get(field).and_then(Value::as_str).unwrap_or_default();
    session.out.note(&format!(
        "join token {} for gateway {gateway}, good until {}; it is shown this once:",
        text("id"),
        text("expires_at")
    ));
    session.out.line(text("token"))?;
    session.out.note(
        "a node joins with `tollgate data-plane --control-plane https://HOST:9081 --join TOKEN`",
    );
    Ok(())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let items = session.client.list(&["join-tokens"], &[], LIMIT).await?;
    if !session.out.is_for_people() {
        return session.out.value(&json!({ "items": items }));
    }
    let rows = items
        .iter()
        .map(|item| {
            let text = |field: &str| match item.get(field) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                _ => String::new(),
            };
            let limit = item.get("use_limit").and_then(Value::as_u64);
            let of = limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
            vec![text("id"), text("gateway"), text("expires_at"), format!("{}{of}", text("uses"))]
        })
        .collect();
    session.out.table(&["ID", "GATEWAY", "EXPIRES", "USES"], rows, "no join tokens")
}

fn state(node: &Node) -> &'static str {
    match node {
        Node { connected: false, .. } => "away",
        Node { rejected, .. } if !rejected.is_empty() => "refuses some",
        Node { lag: Some(1..), .. } => "behind",
        _ => "current",
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
