//! `tollgate key`: API keys of applications, made by the control plane and shown once.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tollgate_model::{Kind, ResourceId};

use crate::changes::ChangeArguments;
use crate::client::Call;
use crate::delete;
use crate::failure::{Failure, Outcome};
use crate::session::{Session, parse_duration, parse_name};
use crate::tokens::parse_moment;

/// What `tollgate key` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Makes a key for an application and prints it, once
    Create {
        /// Whose key it is
        #[arg(long, value_name = "NAME")]
        application: String,
        /// The name of its credential (default: one is made up)
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// When it ends: a time from now such as 30d, or a moment such as 2027-01-31T00:00:00Z (default: never)
        #[arg(long, value_name = "WHEN", value_parser = parse_moment)]
        expires: Option<Timestamp>,
    },
    /// Makes a new key in the place of a credential's, and prints it, once
    Rotate {
        /// The credential
        credential: String,
        /// How long the old key stays good (default: not at all)
        #[arg(long, value_name = "TIME")]
        overlap: Option<String>,
    },
    /// Takes a credential away: its key is refused from now on
    Revoke {
        /// The credential
        credential: String,
        #[command(flatten)]
        change: ChangeArguments,
    },
}

/// Carries out `tollgate key`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let mut body = Map::new();
    match arguments.action {
        Action::Create { application, name, expires } => {
            let application = parse_name(&application)?;
            if let Some(name) = name {
                body.insert("name".to_owned(), parse_name(&name)?.as_str().into());
            }
            if let Some(expires) = expires {
                body.insert("expires_at".to_owned(), expires.to_string().into());
            }
            let tenant = session.tenant().await?;
            let path = ["tenants", tenant.as_str(), "applications", application.as_str(), "keys"];
            print(&path, &Value::Object(body), session).await
        }
        Action::Rotate { credential, overlap } => {
            let credential = parse_name(&credential)?;
            if let Some(overlap) = overlap {
                parse_duration(&overlap)
                    .map_err(|problem| Failure::Usage(format!("--overlap: {problem}")))?;
                body.insert("overlap".to_owned(), overlap.into());
            }
            let tenant = session.tenant().await?;
            let path = ["tenants", tenant.as_str(), "credentials", credential.as_str(), "rotate"];
            print(&path, &Value::Object(body), session).await
        }
        Action::Revoke { credential, change } => {
            let name = parse_name(&credential)?;
            let id = ResourceId::new(Kind::Credential, session.tenant().await?, name);
            delete::delete(&id, None, &change, session).await
        }
    }
}

/// Has a key made and prints it: alone on standard output, so that a script can take it.
async fn print(path: &[&str], body: &Value, session: &Session) -> Result<Outcome, Failure> {
    let answer = session.client.call(Call::post(path, body)).await?;
    if !session.out.is_for_people() {
        session.out.value(&answer)?;
        return Ok(Outcome::Done);
    }
    // The credential is told by its name, or as the resource that it is.
    let credential = answer.get("credential");
    let name = credential
        .and_then(|credential| credential.get("name").or(Some(credential)))
        .and_then(Value::as_str);
    session.out.note(&format!("key of credential {}; it is shown this once:", name.unwrap_or("?")));
    session.out.line(answer.get("key").and_then(Value::as_str).unwrap_or_default())?;
    Ok(Outcome::Done)
}
