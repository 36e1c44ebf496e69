//! `tollgate get`: resources of a kind in a table, or one of them as a file has it.

use clap::Args;
use serde_json::{Map, Value, json};
use tollgate_model::Kind;

use crate::client::Call;
use crate::columns;
use crate::failure::{Failure, Outcome};
use crate::output::Format;
use crate::session::{Session, parse_kind, parse_name};

/// The fields of a document that a file has; the others are the control plane's.
const WRITTEN: [&str; 5] = ["kind", "tenant", "name", "labels", "spec"];

/// What `tollgate get` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The kind, singular or plural: apis, upstreams, applications, credentials, policy-sets, certificates, secrets, tenants, gateways
    #[arg(value_name = "KIND", value_parser = parse_kind)]
    kind: Kind,
    /// One of them
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Only those with this label
    #[arg(short, long, value_name = "KEY=VALUE", conflicts_with = "name")]
    label: Option<String>,
    /// Only those whose name or text has this
    #[arg(short, long, value_name = "TEXT", conflicts_with = "name")]
    query: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 1000, conflicts_with = "name")]
    limit: usize,
}

/// Carries out `tollgate get`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let kind = arguments.kind;
    let name = arguments.name.as_deref().map(parse_name).transpose()?;
    let tenant = session.tenant_for(kind).await?;
    let out = &session.out;
    if let Some(name) = name {
        let path = ["tenants", tenant.as_str(), kind.plural(), name.as_str()];
        let value = session.client.call(Call::get(&path)).await?;
        match out.format() {
            Format::Table => {
                out.table(&columns::header(kind), vec![columns::row(kind, &value)], "")?;
            }
            Format::Json => out.value(&value)?,
            Format::Yaml => out.documents(&[written(&value)])?,
        }
        return Ok(Outcome::Done);
    }
    let path = ["tenants", tenant.as_str(), kind.plural()];
    let query = [("q", arguments.query), ("label", arguments.label)];
    let items = session.client.list(&path, &query, arguments.limit).await?;
    match out.format() {
        Format::Table => {
            let rows = items.iter().map(|item| columns::row(kind, item)).collect();
            out.table(
                &columns::header(kind),
                rows,
                &format!("no {} in tenant {tenant}", kind.plural()),
            )?;
        }
        Format::Json => out.value(&json!({ "items": items }))?,
        Format::Yaml => out.documents(&items.iter().map(written).collect::<Vec<_>>())?,
    }
    Ok(Outcome::Done)
}

/// A resource as `apply` takes it back: without what the control plane knows about it.
#[must_use]
pub(crate) fn written(resource: &Value) -> Value {
    let is_platform = resource
        .get("kind")
        .and_then(Value::as_str)
        .and_then(Kind::from_name)
        .is_some_and(Kind::is_platform);
    let field = |name: &&str| -> Option<(String, Value)> {
        let value = resource.get(*name)?;
        let is_empty = *name == "labels" && value.as_object().is_none_or(Map::is_empty);
        let is_implied = *name == "tenant" && is_platform;
        (!is_empty && !is_implied).then(|| ((*name).to_owned(), value.clone()))
    };
    Value::Object(WRITTEN.iter().filter_map(field).collect())
}
