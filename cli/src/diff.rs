//! `tollgate diff`: what `apply` would change, or what changed between two revisions.
//!
//! As `diff` does, it ends with 0 where nothing differs and with 1 where something does.

use clap::Args;
use serde_json::{Value, json};
use tollgate_model::{Document, FromText, Kind, Name, ResourceId};

use std::path::PathBuf;

use crate::admin::{Change, Changed};
use crate::apply::Prepared;
use crate::changes;
use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::files::FileArguments;
use crate::session::Session;
use crate::yaml;

/// What stands for a value that is never shown.
const SEALED: &str = "(sealed)";
const SEALED_CHANGED: &str = "(sealed, changed)";

/// What `tollgate diff` takes.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(false)))]
pub(crate) struct Arguments {
    /// Resource files, folders of them, or `-`, against what the control plane holds
    #[arg(short, long = "file", value_name = "FILE", num_args = 1.., group = "what")]
    file: Vec<PathBuf>,
    /// Two revisions, the older one first
    #[arg(value_name = "REVISION", num_args = 2, group = "what")]
    revisions: Vec<u64>,
    /// With files: show what `apply --prune` would delete too
    #[arg(long, conflicts_with = "revisions")]
    prune: bool,
}

/// Carries out `tollgate diff`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    match arguments.revisions.as_slice() {
        [before, after] => between(*before, *after, session).await,
        _ => {
            let files = FileArguments { file: arguments.file };
            against_files(&files, arguments.prune, session).await
        }
    }
}

async fn between(before: u64, after: u64, session: &Session) -> Result<Outcome, Failure> {
    let (before, after) = (before.to_string(), after.to_string());
    let answer = session.client.call(Call::get(&["revisions", &before, "diff", &after])).await?;
    let changed: Changed = session.client.typed(&answer)?;
    if session.out.is_for_people() {
        for change in &changed.changes {
            session.out.diff(&changes::unified(change))?;
        }
    } else {
        session.out.value(&answer)?;
    }
    Ok(if changed.changes.is_empty() { Outcome::Done } else { Outcome::Negative })
}

async fn against_files(
    files: &FileArguments,
    is_pruning: bool,
    session: &Session,
) -> Result<Outcome, Failure> {
    let prepared = Prepared::read(files, is_pruning, session).await?;
    let answer = prepared.send(&prepared.body(true, None), None, session).await?;
    let changed: Changed = session.client.typed(&answer)?;
    let differing: Vec<&Change> =
        changed.changes.iter().filter(|change| change.op != "unchanged").collect();
    if session.out.is_for_people() {
        for change in &differing {
            let wanted = prepared.documents.iter().find(|document| is_of(document, change));
            session.out.diff(&one(change, wanted, session).await?)?;
        }
    } else {
        session.out.value(&answer)?;
    }
    Ok(if differing.is_empty() { Outcome::Done } else { Outcome::Negative })
}

fn is_of(document: &Document, change: &Change) -> bool {
    document.id.kind.name() == change.kind
        && document.id.tenant.as_str() == change.tenant
        && document.id.name.as_str() == change.name
}

/// The unified diff of one resource: as the control plane holds it, and as the file has it.
async fn one(
    change: &Change,
    wanted: Option<&Document>,
    session: &Session,
) -> Result<String, Failure> {
    let held = match (change.op.as_str(), id_of(change)) {
        ("create", _) | (_, None) => None,
        (_, Some(id)) => Some(held(&id, session).await?),
    };
    let wanted = wanted.filter(|_| change.op != "delete");
    Ok(compared(&change.id(), held.as_ref(), wanted))
}

/// The unified diff of a resource as it is held and as it is wanted, without what is never shown.
#[must_use]
pub(crate) fn compared(title: &str, held: Option<&Document>, wanted: Option<&Document>) -> String {
    let before = held.map(|document| sealed(&document.to_json(), SEALED));
    let after = wanted.map(|document| match &before {
        Some(before) => in_order_of(&document.to_json(), before),
        None => document.to_json(),
    });
    let text = |value: Option<&Value>| value.map(yaml::document).unwrap_or_default();
    let masked = after.as_ref().map(|after| sealed(after, SEALED));
    // Where all that can be shown is equal, what differs is what cannot be shown.
    let is_seal_changed = before == masked;
    let masked =
        if is_seal_changed { after.map(|after| sealed(&after, SEALED_CHANGED)) } else { masked };
    changes::unified_texts(title, &text(before.as_ref()), &text(masked.as_ref()))
}

fn id_of(change: &Change) -> Option<ResourceId> {
    let kind = Kind::from_name(&change.kind)?;
    let tenant = Name::from_text(&change.tenant).ok()?;
    Some(ResourceId::new(kind, tenant, Name::from_text(&change.name).ok()?))
}

/// A resource as the control plane holds it.
pub(crate) async fn held(id: &ResourceId, session: &Session) -> Result<Document, Failure> {
    let path = ["tenants", id.tenant.as_str(), id.kind.plural(), id.name.as_str()];
    let value = session.client.call(Call::get(&path)).await?;
    Ok(as_document(&value, id))
}

/// What a file would say of a resource that the control plane answered with.
#[must_use]
pub(crate) fn as_document(value: &Value, id: &ResourceId) -> Document {
    let labels = value.get("labels").and_then(Value::as_object).into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let spec = value.get("spec").cloned().unwrap_or_else(|| json!({}));
    Document { id: id.clone(), labels: labels.collect(), spec }
}

/// A document with `mark` in the place of what is never shown, however it is written.
fn sealed(document: &Value, mark: &str) -> Value {
    let mut document = document.clone();
    let kind = document.get("kind").and_then(Value::as_str).map(str::to_owned);
    let Some(Value::Object(spec)) = document.get_mut("spec") else { return document };
    match kind.as_deref() {
        Some("Secret") => {
            for field in ["sealed", "value", "from_env", "from_file"] {
                spec.shift_remove(field);
            }
            spec.insert("value".to_owned(), Value::from(mark));
        }
        Some("Certificate") => {
            for field in ["sealed", "key", "key_from_env", "key_from_file"] {
                spec.shift_remove(field);
            }
            spec.insert("key".to_owned(), Value::from(mark));
        }
        Some("Credential") if spec.contains_key("api_key") => {
            spec.insert("api_key".to_owned(), Value::from(mark));
        }
        Some("Credential") => {
            if let Some(Value::Object(basic)) = spec.get_mut("basic") {
                basic.insert("password".to_owned(), Value::from(mark));
            }
        }
        _ => {}
    }
    document
}

/// The same value with the fields of its maps in the order of `model`: their order says nothing,
/// so no difference is to be seen in it.
fn in_order_of(value: &Value, model: &Value) -> Value {
    match (value, model) {
        (Value::Object(map), Value::Object(model)) => {
            let known = model.keys().filter(|key| map.contains_key(*key));
            let new = map.keys().filter(|key| !model.contains_key(*key));
            let entry = |key: &String| {
                let below = in_order_of(map.get(key)?, model.get(key).unwrap_or(&Value::Null));
                Some((key.clone(), below))
            };
            Value::Object(known.chain(new).filter_map(entry).collect())
        }
        (Value::Array(items), Value::Array(model)) => {
            let nothing = std::iter::repeat(&Value::Null);
            items
                .iter()
                .zip(model.iter().chain(nothing))
                .map(|(item, model)| in_order_of(item, model))
                .collect()
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_fields_makes_no_difference() {
        let value = json!({"new": 1, "b": [{"y": 1, "x": 2}, 3], "a": {"d": 1, "c": 2}});
        let model = json!({"a": {"c": 0, "d": 0}, "gone": 1, "b": [{"x": 0, "y": 0}]});
        let ordered = in_order_of(&value, &model);
        assert_eq!(ordered, value);
        assert_eq!(ordered.to_string(), r#"{"a":{"c":2,"d":1},"b":[{"x":2,"y":1},3],"new":1}"#);
    }

    #[test]
    fn what_is_sealed_is_shown_neither_from_the_file_nor_from_the_server() {
        let written = json!({"kind": "Secret", "name": "s", "spec": {"value": "sk-1"}});
        let looked_up = json!({"kind": "Secret", "name": "s", "spec": {"from_env": "TOKEN"}});
        let held = json!({"kind": "Secret", "name": "s", "spec": {"sealed": true}});
        assert_eq!(sealed(&written, SEALED), sealed(&held, SEALED));
        assert_eq!(sealed(&looked_up, SEALED), sealed(&held, SEALED));
        let written = json!({"kind": "Credential", "spec": {"application": "a", "api_key": {"value": "sk-shop-0001"}}});
        assert!(!sealed(&written, SEALED).to_string().contains("sk-shop"));
        let basic = |password: Value| json!({"kind": "Credential", "spec": {"application": "a", "basic": {"username": "web", "password": password}}});
        let written = sealed(&basic(json!({"value": "correct horse"})), SEALED);
        assert_eq!(written, sealed(&basic(json!({"sealed": true})), SEALED));
        assert!(!written.to_string().contains("correct"));
    }
}
