//! Many resources in one change; history, the difference between two revisions, roll back to one.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use deserr::Deserr;
use http::Uri;
use serde_json::{Map, Value, json};
use tollgate_model::issue::nearest;
use tollgate_model::{Issue, Issues, Kind, Name, ResourceId, parse};

use super::answers::{self, Wait};
use super::auth::Caller;
use super::input::{self, At, Query, Sent};
use super::problem::AdminError;
use super::resources::{MANAGERS, parse_document};
use super::{Admin, BODY_BYTES, answer};
use crate::change::{
    self, CHANGE_RESOURCES, Change, ChangeError, Expect, Manager, Operation, Prune, RollBack,
};
use crate::content::shown_by_name;
use crate::identity::Action;
use crate::store::{Content, Difference, Filter, Scope, Store, StoreError};

/// The most bytes of a change.
const CHANGE_BYTES: usize = 64 << 20;
const LIST_LIMIT: usize = 50;
const LIST_MOST: usize = 500;
/// How often two looks at the log are taken again because it moved in between.
const LOOKS: usize = 5;

/// What stands beside `resources` in a change.
#[derive(Debug, Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct Frame {
    #[deserr(default)]
    message: Option<String>,
    #[deserr(default)]
    managed_by: Option<String>,
    #[deserr(default)]
    dry_run: Option<bool>,
    #[deserr(default)]
    force: Option<bool>,
    #[deserr(default)]
    deletions: Option<Vec<Deletion>>,
    #[deserr(default)]
    prune: Option<PruneBody>,
}

#[derive(Debug, Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct Deletion {
    kind: String,
    #[deserr(default)]
    tenant: Option<Name>,
    name: Name,
}

#[derive(Debug, Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct PruneBody {
    managed_by: String,
    tenants: Vec<Name>,
}

#[derive(Debug, Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct RollBackBody {
    #[deserr(default)]
    message: Option<String>,
    #[deserr(default)]
    dry_run: Option<bool>,
}

/// `POST /api/v1/changes`
pub(super) async fn apply(
    State(admin): State<Admin>,
    caller: Caller,
    sent: Sent,
) -> Result<Response, AdminError> {
    let mut query = Query::read(&sent.uri, &["wait", "timeout"])?;
    let wait = Wait::read(&mut query);
    query.finish()?;
    caller.may_own(Action::Write)?;
    let turn = admin.turn().await?;
    let body = sent.json(CHANGE_BYTES).await?;
    let reading = caller.clone();
    let read = tokio::task::spawn_blocking(move || read_change(&reading, body)).await;
    let change = read.map_err(|_stopped| AdminError::Internal("read a change"))??;
    let outcome = admin.changes().apply(caller.name(), change).await?;
    drop(turn);
    Ok(answer(&answers::changed(&admin, outcome, wait).await?))
}

fn read_change(caller: &Caller, body: Value) -> Result<Change, AdminError> {
    let Value::Object(mut body) = body else {
        return Err(AdminError::issue(
            "",
            "wrong_type",
            "the body is not a mapping; send `{resources: […]}`",
        ));
    };
    let mut issues = Issues::default();
    let documents = match body.shift_remove("resources") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(documents)) => documents,
        Some(_) => {
            issues.add("/resources", "wrong_type", "`resources` is not a list; give one");
            Vec::new()
        }
    };
    let frame: Frame = match parse::value(&Value::Object(body)) {
        Ok(frame) => frame,
        Err(more) => {
            issues.0.extend(more.0);
            return Err(AdminError::Faults(issues));
        }
    };
    let deletions = frame.deletions.unwrap_or_default();
    if documents.len().saturating_add(deletions.len()) > CHANGE_RESOURCES {
        return Err(ChangeError::TooMany.into());
    }
    let managed_by =
        manager("/managed_by", frame.managed_by.as_deref().unwrap_or("api"), &mut issues);
    let prune = read_prune(caller, frame.prune, &mut issues)?;
    let default = caller.tenant().unwrap_or_else(Name::default_name);
    let mut operations = Vec::with_capacity(documents.len() + deletions.len());
    for (i, document) in documents.into_iter().enumerate() {
        operations.extend(read_put(
            caller,
            format!("/resources/{i}"),
            document,
            &default,
            &mut issues,
        )?);
    }
    for (i, deletion) in deletions.into_iter().enumerate() {
        operations.extend(read_deletion(
            caller,
            format!("/deletions/{i}"),
            deletion,
            &default,
            &mut issues,
        )?);
    }
    Ok(Change {
        operations,
        manager: Manager {
            name: managed_by.map(Into::into),
            is_forced: frame.force.unwrap_or(false),
        },
        prune,
        message: answers::message(frame.message.as_deref())?,
        is_dry_run: frame.dry_run.unwrap_or(false),
        faults: issues,
    })
}

fn read_put(
    caller: &Caller,
    place: String,
    document: Value,
    default: &Name,
    issues: &mut Issues,
) -> Result<Option<Operation>, AdminError> {
    match parse_document(document, default) {
        Ok(document) => {
            caller.may_write(&document.id)?;
            let action = change::Action::Put(document);
            Ok(Some(Operation { place, expect: Expect::Anything, action }))
        }
        Err(found) => {
            issues.extend_under(&place, found);
            Ok(None)
        }
    }
}

fn read_deletion(
    caller: &Caller,
    place: String,
    deletion: Deletion,
    default: &Name,
    issues: &mut Issues,
) -> Result<Option<Operation>, AdminError> {
    let Some(kind) = Kind::from_name(&deletion.kind) else {
        let known = Kind::ALL.map(Kind::name);
        let text = deletion.kind.escape_debug().to_string();
        let problem = format!("`{text}` is not a kind; {}", nearest(&text, &known));
        issues.add(format!("{place}/kind"), "unknown_kind", problem);
        return Ok(None);
    };
    let tenant = deletion
        .tenant
        .unwrap_or_else(|| if kind.is_platform() { Name::default_name() } else { default.clone() });
    let id = ResourceId::new(kind, tenant, deletion.name);
    caller.may_write(&id)?;
    Ok(Some(Operation { place, expect: Expect::Anything, action: change::Action::Delete(id) }))
}

fn read_prune(
    caller: &Caller,
    prune: Option<PruneBody>,
    issues: &mut Issues,
) -> Result<Option<Prune>, AdminError> {
    let Some(prune) = prune else { return Ok(None) };
    for tenant in &prune.tenants {
        // Any kind of a tenant's own does for the question.
        caller.may_write(&ResourceId::new(Kind::Api, tenant.clone(), tenant.clone()))?;
    }
    let managed_by = manager("/prune/managed_by", &prune.managed_by, issues);
    Ok(managed_by.map(|managed_by| Prune { managed_by: managed_by.into(), tenants: prune.tenants }))
}

fn manager(at: &str, word: &str, issues: &mut Issues) -> Option<&'static str> {
    let known = MANAGERS.into_iter().find(|known| *known == word);
    if known.is_none() {
        let word = word.escape_debug().to_string();
        let problem = format!("`{word}` is not a value here; {}", nearest(&word, &MANAGERS));
        issues.0.push(Issue::new(at, "unknown_value", problem));
    }
    known
}

/// `GET /api/v1/revisions`
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, AdminError> {
    let mut query = Query::read(&uri, &["limit", "cursor", "kind", "tenant", "name"])?;
    let limit = query.number("limit", LIST_LIMIT, LIST_MOST);
    let before = query.number("cursor", usize::MAX, usize::MAX);
    let tenant = query.value::<Name>("tenant");
    let name = query.value::<Name>("name");
    let kind = query.word("kind", &Kind::ALL.map(Kind::name));
    query.finish()?;
    caller.may_own(Action::Read)?;
    let scope = match &tenant {
        None => caller.scope(),
        Some(tenant) if caller.sees(tenant.as_str()) => Scope::Tenant(tenant.as_str()),
        Some(tenant) => return Err(AdminError::no_resource(format_args!("tenant `{tenant}`"))),
    };
    let filter = Filter {
        kind: kind.map(str::to_owned),
        name: name.map(|name| name.to_string()),
        before: u64::try_from(before).ok(),
    };
    let asked = u32::try_from(limit).unwrap_or(u32::MAX);
    let revisions = admin.store().revisions(scope, &filter, asked).await?;
    let next =
        revisions.last().filter(|_| revisions.len() == limit).map(|last| last.number.to_string());
    let items = revisions.into_iter().filter_map(|revision| {
        let seen =
            revision.changes.iter().filter(|change| caller.sees_kind(&change.kind, &change.tenant));
        let changes: Vec<Value> = seen
            .map(|change| {
                json!({
                    "op": change.operation.as_str(),
                    "kind": change.kind,
                    "tenant": change.tenant,
                    "name": change.name,
                })
            })
            .collect();
        let is_seen = !changes.is_empty() || revision.changes.is_empty();
        let number = revision.number;
        let mut item = head(number, revision.at, &revision.actor, &revision.message);
        item.insert("changes".to_owned(), changes.into());
        if revision.has_more_changes {
            item.insert("has_more_changes".to_owned(), true.into());
        }
        is_seen.then_some(Value::Object(item))
    });
    let items: Vec<Value> = items.collect();
    Ok(answer(&json!({ "items": items, "next": next })))
}

/// `GET /api/v1/revisions/{number}`
pub(super) async fn get(
    State(admin): State<Admin>,
    caller: Caller,
    At(number): At<String>,
    uri: Uri,
) -> Result<Response, AdminError> {
    Query::read(&uri, &[])?.finish()?;
    caller.may_own(Action::Read)?;
    let number = input::revision(&number)?;
    let absent = || AdminError::no_resource(format_args!("revision {number}"));
    let revision = admin.store().revision(caller.scope(), number).await?.ok_or_else(absent)?;
    let seen =
        revision.changes.iter().filter(|change| caller.sees_kind(&change.kind, &change.tenant));
    let changes: Vec<Value> = seen
        .map(|change| {
            let op = change.content.operation().as_str();
            let (before, after) = match &change.content {
                Content::Create { after } => (None, Some(after)),
                Content::Update { before, after } => (Some(before), Some(after)),
                Content::Delete { before } => (Some(before), None),
            };
            sides(op, (&change.kind, &change.tenant, &change.name), before, after)
        })
        .collect();
    if changes.is_empty() && !revision.changes.is_empty() {
        return Err(absent());
    }
    let mut item = head(number, revision.at, &revision.actor, &revision.message);
    item.insert("changes".to_owned(), changes.into());
    Ok(answer(&Value::Object(item)))
}

/// `GET /api/v1/revisions/{a}/diff/{b}`
pub(super) async fn diff(
    State(admin): State<Admin>,
    caller: Caller,
    At((a, b)): At<(String, String)>,
    uri: Uri,
) -> Result<Response, AdminError> {
    Query::read(&uri, &[])?.finish()?;
    caller.may_own(Action::Read)?;
    let (a, b) = (input::revision(&a)?, input::revision(&b)?);
    let newest = admin.store().newest_revision().await?;
    if let Some(absent) = [a, b].into_iter().find(|number| *number > newest) {
        return Err(AdminError::no_resource(format_args!("revision {absent}")));
    }
    let contents = contents_at(admin.store(), caller.scope(), a, b).await?;
    let mut changes = Vec::new();
    for ((kind, tenant, name), (before, after)) in &contents {
        if before == after || !caller.sees_kind(kind, tenant) {
            continue;
        }
        let op = match (before, after) {
            (None, _) => "create",
            (_, None) => "delete",
            _ => "update",
        };
        changes.push(sides(op, (kind, tenant, name), before.as_ref(), after.as_ref()));
    }
    Ok(answer(&json!({ "changes": changes })))
}

type Sides = BTreeMap<(String, String, String), (Option<Value>, Option<Value>)>;

/// What says something else now than at one of two revisions: what it said at both.
async fn contents_at(store: &Store, scope: Scope<'_>, a: u64, b: u64) -> Result<Sides, AdminError> {
    for _ in 0..LOOKS {
        let newest = store.newest_revision().await?;
        let at_a = store.changed_since(a, scope).await?;
        let at_b = store.changed_since(b, scope).await?;
        // Both must speak of the same "now".
        if store.newest_revision().await? == newest {
            return Ok(both(at_a, at_b));
        }
    }
    Err(StoreError::Unavailable { doing: "compare two revisions", source: None }.into())
}

fn both(at_a: Vec<Difference>, at_b: Vec<Difference>) -> Sides {
    let id = |found: &Difference| (found.kind.clone(), found.tenant.clone(), found.name.clone());
    // What did not change since a revision says now what it said then.
    let mut sides: Sides =
        at_a.into_iter().map(|found| (id(&found), (found.then, found.now))).collect();
    for found in at_b {
        let id = id(&found);
        let (then, now) = (found.then, found.now);
        sides.entry(id).and_modify(|both| both.1 = then.clone()).or_insert((now, then));
    }
    sides
}

/// `POST /api/v1/revisions/{number}/rollback`
pub(super) async fn roll_back(
    State(admin): State<Admin>,
    caller: Caller,
    At(number): At<String>,
    sent: Sent,
) -> Result<Response, AdminError> {
    let mut query = Query::read(&sent.uri, &["wait", "timeout"])?;
    let wait = Wait::read(&mut query);
    query.finish()?;
    match caller.tenant() {
        // Gateways and tenants go back, too.
        None => caller.may_platform(Action::Administer)?,
        Some(_) => caller.may_own(Action::Write)?,
    }
    let revision = input::revision(&number)?;
    let body = sent.json(BODY_BYTES).await?;
    let body: RollBackBody = parse::value(&body).map_err(AdminError::Faults)?;
    let back = RollBack {
        revision,
        tenant: caller.tenant(),
        message: answers::message(body.message.as_deref())?,
        is_dry_run: body.dry_run.unwrap_or(false),
    };
    let outcome = admin.changes().roll_back(caller.name(), back).await?;
    Ok(answer(&answers::changed(&admin, outcome, wait).await?))
}

fn head(number: u64, at: jiff::Timestamp, actor: &str, message: &str) -> Map<String, Value> {
    let mut head = Map::new();
    head.insert("number".to_owned(), number.into());
    head.insert("at".to_owned(), at.to_string().into());
    head.insert("actor".to_owned(), actor.into());
    head.insert("message".to_owned(), message.into());
    head
}

fn sides(
    op: &str,
    (kind, tenant, name): (&str, &str, &str),
    before: Option<&Value>,
    after: Option<&Value>,
) -> Value {
    let shown = |content: &Value| shown_by_name(kind, tenant, name, content);
    json!({
        "op": op,
        "kind": kind,
        "tenant": tenant,
        "name": name,
        "before": before.map(shown),
        "after": after.map(shown),
    })
}
