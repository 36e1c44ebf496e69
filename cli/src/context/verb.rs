//! `tollgate context`: lists, shows, adds, picks and removes contexts.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Context, Contexts};
use crate::client::parse_server;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::session::parse_name;
use crate::settings::Global;

/// What `tollgate context` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Lists all contexts
    List,
    /// Makes a context the current one
    Use {
        /// Its name
        name: String,
    },
    /// Adds or replaces a context from --server, --token and --tenant, without asking the server
    Add {
        /// Its name
        name: String,
    },
    /// Removes a context
    Remove {
        /// Its name
        name: String,
    },
    /// Shows a context, the current one unless named; never its token
    Show {
        /// Its name
        name: Option<String>,
    },
}

/// Carries out `tollgate context`.
pub(crate) fn run(arguments: Arguments, global: &Global, out: &Output) -> Result<Outcome, Failure> {
    let mut contexts = Contexts::read()?;
    match arguments.action {
        Action::List => list(&contexts, out)?,
        Action::Show { name } => show(&contexts, name.or_else(|| global.context.clone()), out)?,
        Action::Use { name } => {
            contexts.make_current(&name)?;
            contexts.write()?;
            out.note(&format!("the current context is {name}"));
        }
        Action::Add { name } => {
            contexts.set(&name, from_flags(global)?);
            if contexts.current().is_none() {
                contexts.make_current(&name)?;
            }
            contexts.write()?;
            out.note(&format!("context {name} is there"));
        }
        Action::Remove { name } => {
            contexts.remove(&name)?;
            contexts.write()?;
            out.note(&format!("context {name} is gone"));
        }
    }
    Ok(Outcome::Done)
}

fn from_flags(global: &Global) -> Result<Context, Failure> {
    let Some(server) = &global.server else {
        return Err(Failure::Usage("a context needs an address; give --server URL".to_owned()));
    };
    let server = parse_server(server)?;
    let tenant = global.tenant.as_deref().map(parse_name).transpose()?;
    Ok(Context {
        server: server.as_str().trim_end_matches('/').to_owned(),
        token: global.token.clone(),
        tenant: tenant.map(|tenant| tenant.as_str().to_owned()),
    })
}

fn list(contexts: &Contexts, out: &Output) -> Result<(), Failure> {
    let is_current = |name: &str| contexts.current() == Some(name);
    if !out.is_for_people() {
        let items: Vec<_> = contexts
            .iter()
            .map(|(name, context)| described(name, context, is_current(name)))
            .collect();
        return out.value(&json!({ "items": items }));
    }
    let rows = contexts
        .iter()
        .map(|(name, context)| {
            let mark = if is_current(name) { "*" } else { "" };
            let tenant = context.tenant.clone().unwrap_or_default();
            vec![mark.to_owned(), name.to_owned(), context.server.clone(), tenant]
        })
        .collect();
    out.table(
        &["", "NAME", "SERVER", "TENANT"],
        rows,
        "no contexts; make one with `tollgate login`",
    )
}

fn show(contexts: &Contexts, name: Option<String>, out: &Output) -> Result<(), Failure> {
    let name = name.or_else(|| contexts.current().map(str::to_owned)).ok_or_else(|| {
        Failure::Refused(
            "there is no current context; pick one with `tollgate context use NAME`".to_owned(),
        )
    })?;
    let context = contexts.get(&name)?;
    let is_current = contexts.current() == Some(name.as_str());
    if !out.is_for_people() {
        return out.value(&described(&name, context, is_current));
    }
    let token = if context.token.is_some() { "kept" } else { "none" };
    let tenant = context.tenant.as_deref().unwrap_or("the token's");
    out.line(&format!("{name}{}", if is_current { " (current)" } else { "" }))?;
    out.line(&format!("server  {}\ntoken   {token}\ntenant  {tenant}", context.server))
}

/// A context without its token.
fn described(name: &str, context: &Context, is_current: bool) -> serde_json::Value {
    json!({
        "name": name,
        "current": is_current,
        "server": context.server,
        "tenant": context.tenant,
        "has_token": context.token.is_some(),
    })
}
