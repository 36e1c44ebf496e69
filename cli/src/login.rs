//! `tollgate login`: tries a token and keeps it in a context.

use std::fs;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::client::Call;
use crate::context::{Context, Contexts};
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::settings::Global;

/// The longest token that is read.
const MAX_TOKEN_BYTES: u64 = 4096;

/// What `tollgate login` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The context to keep it in
    #[arg(value_name = "CONTEXT", default_value = "default")]
    name: String,
    /// Read the token from a file (default: --token, else standard input)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Carries out `tollgate login`.
pub(crate) async fn run(arguments: Arguments, global: Global) -> Result<Outcome, Failure> {
    let token = match &global.token {
        Some(token) if arguments.token_file.is_none() => token.clone(),
        _ => read_token(&arguments)?,
    };
    let global = Global { token: Some(token.clone()), ..global };
    let mut contexts = Contexts::read()?;
    // Who logs in again stays at the same server.
    let session = Session::open_in(contexts.get(&arguments.name).ok(), &global)?;
    let caller = session.client.call(Call::get(&["whoami"])).await?;
    let text = |field: &str| caller.get(field).and_then(Value::as_str);
    let own_tenant = text("tenant").map(str::to_owned);
    let context = Context {
        server: session.client.server(),
        token: Some(token),
        tenant: session.named_tenant().map(ToString::to_string).or(own_tenant),
    };
    contexts.set(&arguments.name, context);
    contexts.make_current(&arguments.name)?;
    contexts.write()?;
    if session.out.is_for_people() {
        let whose = text("name").unwrap_or("?");
        let role = text("role").unwrap_or("?");
        let scope = text("tenant")
            .map_or_else(|| "all tenants".to_owned(), |tenant| format!("tenant {tenant}"));
        session.out.line(&format!(
            "logged in at {} as {whose} ({role}, {scope}); kept as context {}",
            session.client.server(),
            arguments.name
        ))?;
    } else {
        session.out.value(&caller)?;
    }
    Ok(Outcome::Done)
}

fn read_token(arguments: &Arguments) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match &arguments.token_file {
        Some(path) => fs::File::open(path)
            .and_then(|file| file.take(MAX_TOKEN_BYTES).read_to_string(&mut text))
            .map_err(|error| {
                Failure::Refused(format!("read the token in {}: {error}", path.display()))
            }),
        None if std::io::stdin().is_terminal() => {
            // Typed here it would stand on the screen.
            return Err(Failure::Usage("give the token with --token-file FILE, TOLLGATE_TOKEN or on standard input; `tollgate up` keeps its first one in DATA/admin-token".to_owned()));
        }
        None => std::io::stdin().take(MAX_TOKEN_BYTES).read_to_string(&mut text).map_err(|error| {
            Failure::Refused(format!("read the token on standard input: {error}"))
        }),
    };
    read?;
    let token = text.trim();
    let is_token = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if is_token {
        Ok(token.to_owned())
    } else {
        Err(Failure::Refused("what was read is not a token".to_owned()))
    }
}
