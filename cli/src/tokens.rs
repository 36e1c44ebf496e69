//! `tollgate token`: the tokens of administrators and programs.

use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::session::{Session, parse_duration, parse_name};

/// How many are listed.
const LIMIT: usize = 10_000;

/// What `tollgate token` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Makes a token and prints it, once
    Create {
        /// Whose it is, or what for
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: Role,
        /// The one tenant that it is good for (default: the whole platform)
        #[arg(long, value_name = "TENANT")]
        only: Option<String>,
        /// When it ends: a time from now such as 30d, or a moment such as 2027-01-31T00:00:00Z (default: never)
        #[arg(long, value_name = "WHEN", value_parser = parse_moment)]
        expires: Option<Timestamp>,
    },
    /// Lists all tokens, without the tokens themselves
    List,
    /// Takes a token away at once
    Revoke {
        /// Its id, as `list` shows it
        id: String,
    },
}

/// What the bearer of a token may do.
#[derive(Clone, Copy, ValueEnum)]
enum Role {
    /// Everything, tokens too.
    Admin,
    /// Read and change resources.
    Editor,
    /// Read.
    Viewer,
}

/// Carries out `tollgate token`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    match arguments.action {
        Action::Create { name, role, only, expires } => {
            let mut body = Map::new();
            body.insert("name".to_owned(), name.into());
            let role = role.to_possible_value().map(|value| value.get_name().to_owned());
            body.insert("role".to_owned(), role.into());
            if let Some(tenant) = only {
                body.insert("tenant".to_owned(), parse_name(&tenant)?.as_str().into());
            }
            if let Some(expires) = expires {
                body.insert("expires_at".to_owned(), expires.to_string().into());
            }
            create(&Value::Object(body), session).await?;
        }
        Action::List => list(session).await?,
        Action::Revoke { id } => {
            let answer = session.client.call(Call::delete(&["tokens", &id])).await?;
            if session.out.is_for_people() {
                session.out.line(&format!("token {id} is revoked"))?;
            } else {
                session.out.value(&answer)?;
            }
        }
    }
    Ok(Outcome::Done)
}

async fn create(body: &Value, session: &Session) -> Result<(), Failure> {
    let answer = session.client.call(Call::post(&["tokens"], body)).await?;
    if !session.out.is_for_people() {
        return session.out.value(&answer);
    }
    let text = |field: &str| answer.get(field).and_then(Value::as_str).unwrap_or_default();
    session.out.note(&format!("token {}; it is shown this once:", text("id")));
    session.out.line(text("token"))
}

async fn list(session: &Session) -> Result<(), Failure> {
    let items = session.client.list(&["tokens"], &[], LIMIT).await?;
    if !session.out.is_for_people() {
        return session.out.value(&json!({ "items": items }));
    }
    let rows = items
        .iter()
        .map(|item| {
            let text = |field: &str, default: &str| {
                item.get(field).and_then(Value::as_str).unwrap_or(default).to_owned()
            };
            vec![
                text("id", ""),
                text("name", ""),
                text("role", ""),
                text("tenant", "all"),
                text("expires_at", "never"),
            ]
        })
        .collect();
    session.out.table(&["ID", "NAME", "ROLE", "TENANT", "EXPIRES"], rows, "no tokens")
}

/// Reads a moment, or a time from now; the parser of command-line arguments.
pub(crate) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let from_now = parse_duration(text).map_err(|_neither| {
        "give a time from now such as 30d, or a moment such as 2027-01-31T00:00:00Z".to_owned()
    })?;
    let from_now = SignedDuration::try_from(from_now).map_err(|error| error.to_string())?;
    Timestamp::now().checked_add(from_now).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_or_counted_from_now() {
        assert_eq!(
            parse_moment("2027-01-31T00:00:00Z").unwrap().to_string(),
            "2027-01-31T00:00:00Z"
        );
        let in_a_day = parse_moment("1d").unwrap().duration_since(Timestamp::now());
        assert!((86_390..=86_400).contains(&in_a_day.as_secs()), "{in_a_day:?}");
        assert!(parse_moment("tomorrow").is_err());
    }
}
