//! Get, list, put and delete for every kind, one generic handler each; and the export of all of them.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Map, Value, json};
use tollgate_model::{Document, Issue, Issues, Kind, Name, ResourceId};

use super::answers::{self, Wait};
use super::auth::Caller;
use super::input::{self, At, Query, Sent};
use super::problem::AdminError;
use super::{Admin, answer};
use crate::change::{Action, Change, Done, Manager, Operation, Outcome};
use crate::content::{SPEC_BYTES, shown, to_store};
use crate::identity;
use crate::live::{Entry, LiveState};
use crate::store::StoreError;

/// Room for a specification, its labels and its indentation.
const DOCUMENT_BYTES: usize = 2 * SPEC_BYTES;
const LIST_LIMIT: usize = 100;
const LIST_MOST: usize = 500;
/// Who may look after a resource.
pub(super) const MANAGERS: [&str; 4] = ["console", "cli", "import", "api"];
/// What the control plane adds to a document when it shows it; read again, they say nothing.
const ADDED: [&str; 4] = ["version", "created_at", "updated_at", "managed_by"];

/// `GET /api/v1/tenants/{tenant}/{kind}/{name}`
pub(super) async fn get(
    State(admin): State<Admin>,
    caller: Caller,
    At((tenant, kind, name)): At<(String, String, String)>,
    uri: Uri,
) -> Result<Response, AdminError> {
    Query::read(&uri, &[])?.finish()?;
    let state = admin.state();
    let id = address(&tenant, &kind, &name)?;
    caller.may(identity::Action::Read, id.kind, &id.tenant, &state)?;
    let entry = state.get(&id).ok_or_else(|| AdminError::no_resource(&id))?;
    Ok(with_etag(answer(&document(entry)?), entry.checked.version))
}

/// `GET /api/v1/tenants/{tenant}/{kind}`
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    At((tenant, kind)): At<(String, String)>,
    uri: Uri,
) -> Result<Response, AdminError> {
    let mut query = Query::read(&uri, &["limit", "cursor", "q", "label"])?;
    let limit = query.number("limit", LIST_LIMIT, LIST_MOST);
    let cursor = query.value::<Name>("cursor");
    let text = query.text("q").map(str::to_lowercase);
    let labels: Vec<(String, Option<String>)> = query.texts("label").map(label).collect();
    query.finish()?;
    let state = admin.state();
    let (tenant, kind) = (input::name(&tenant)?, input::kind(&kind)?);
    caller.may(identity::Action::Read, kind, &tenant, &state)?;
    let is_asked_for = |entry: &&std::sync::Arc<Entry>| {
        text.as_deref().is_none_or(|text| has_text(entry, text))
            && labels.iter().all(|(key, value)| {
                entry
                    .labels
                    .get(key)
                    .is_some_and(|own| value.as_ref().is_none_or(|value| own == value))
            })
    };
    let mut found = state.of_tenant(kind, &tenant, cursor.as_ref()).filter(is_asked_for).peekable();
    let mut items = Vec::new();
    let mut last = None;
    while let Some(entry) = found.next_if(|_| items.len() < limit) {
        items.push(document(entry)?);
        last = Some(entry.checked.id.name.as_str());
    }
    let next = last.filter(|_| found.peek().is_some());
    Ok(answer(&json!({ "items": items, "next": next })))
}

/// `PUT /api/v1/tenants/{tenant}/{kind}/{name}`
pub(super) async fn put(
    State(admin): State<Admin>,
    caller: Caller,
    At((tenant, kind, name)): At<(String, String, String)>,
    sent: Sent,
) -> Result<Response, AdminError> {
    let options = Options::read(&sent.uri)?;
    let id = address(&tenant, &kind, &name)?;
    caller.may(identity::Action::Write, id.kind, &id.tenant, &admin.state())?;
    let expect = input::expectation(&sent.headers)?;
    let body = sent.json(DOCUMENT_BYTES).await?;
    let document = addressed(&id, body)?;
    let manager = Manager {
        name: Some(options.managed_by.unwrap_or("api").into()),
        is_forced: options.is_forced,
    };
    let operations =
        vec![Operation { place: String::new(), expect, action: Action::Put(document) }];
    let change = Change {
        operations,
        manager,
        message: options.message,
        is_dry_run: options.is_dry_run,
        ..Change::default()
    };
    let outcome = admin.changes().apply(caller.name(), change).await?;
    one(&admin, outcome, options.wait).await
}

/// `DELETE /api/v1/tenants/{tenant}/{kind}/{name}`
pub(super) async fn delete(
    State(admin): State<Admin>,
    caller: Caller,
    At((tenant, kind, name)): At<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, AdminError> {
    let options = Options::read(&uri)?;
    let id = address(&tenant, &kind, &name)?;
    caller.may(identity::Action::Write, id.kind, &id.tenant, &admin.state())?;
    let expect = input::expectation(&headers)?;
    // Who says nothing about managers takes it away whoever looks after it.
    let manager =
        Manager { name: options.managed_by.map(Into::into), is_forced: options.is_forced };
    let action = Action::Delete(id.clone());
    let change = Change {
        operations: vec![Operation { place: String::new(), expect, action }],
        manager,
        message: options.message,
        is_dry_run: options.is_dry_run,
        ..Change::default()
    };
    let outcome = admin.changes().apply(caller.name(), change).await?;
    if outcome.lines.iter().all(|line| line.done == Done::Unchanged) {
        return Err(AdminError::no_resource(id));
    }
    one(&admin, outcome, options.wait).await
}

/// `GET /api/v1/export`
pub(super) async fn export(
    State(admin): State<Admin>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, AdminError> {
    let mut query = Query::read(&uri, &["tenant"])?;
    let tenant = query.value::<Name>("tenant");
    query.finish()?;
    caller.may_own(identity::Action::Read)?;
    let state = admin.state();
    if let Some(tenant) = &tenant {
        // Any kind of a tenant's own does for the question.
        caller.may(identity::Action::Read, Kind::Api, tenant, &state)?;
    }
    let work = move || exported(&state, tenant.or_else(|| caller.tenant()).as_ref());
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_stopped| AdminError::Internal("export"))?
}

/// What a tenant owns, or everything, as one answer.
fn exported(state: &LiveState, tenant: Option<&Name>) -> Result<Response, AdminError> {
    let is_within = |entry: &&std::sync::Arc<Entry>| {
        let id = &entry.checked.id;
        tenant.is_none_or(|tenant| id.tenant == *tenant && !id.kind.is_platform())
    };
    let items: Result<Vec<Value>, StoreError> =
        state.iter().filter(is_within).map(|entry| shown_entry(entry)).collect();
    Ok(answer(&json!({ "revision": state.revision(), "items": items? })))
}

/// The parameters of a write.
struct Options {
    is_dry_run: bool,
    is_forced: bool,
    managed_by: Option<&'static str>,
    message: String,
    wait: Option<Wait>,
}

impl Options {
    fn read(uri: &Uri) -> Result<Self, AdminError> {
        let known = ["dry_run", "wait", "timeout", "message", "managed_by", "force"];
        let mut query = Query::read(uri, &known)?;
        let options = Self {
            is_dry_run: query.flag("dry_run"),
            is_forced: query.flag("force"),
            managed_by: query.word("managed_by", &MANAGERS),
            message: answers::message(query.text("message"))?,
            wait: Wait::read(&mut query),
        };
        query.finish()?;
        Ok(options)
    }
}

fn address(tenant: &str, kind: &str, name: &str) -> Result<ResourceId, AdminError> {
    Ok(ResourceId::new(input::kind(kind)?, input::name(tenant)?, input::name(name)?))
}

/// The document of a body whose envelope may be left out, for the address says it all.
fn addressed(id: &ResourceId, body: Value) -> Result<Document, AdminError> {
    let Value::Object(mut object) = body else {
        return Err(AdminError::issue(
            "",
            "wrong_type",
            "the body is not a mapping; send the document",
        ));
    };
    let mut issues = Issues::default();
    let envelope =
        [("kind", id.kind.name()), ("tenant", id.tenant.as_str()), ("name", id.name.as_str())];
    for (field, expected) in envelope {
        let given = object.entry(field).or_insert_with(|| expected.into());
        if given.as_str().is_some_and(|given| given != expected) {
            let problem =
                format!("is not `{expected}` as in the address; leave it out, or let both agree");
            issues.add(format!("/{field}"), "address_differs", problem);
        }
    }
    strip_added(&mut object);
    match Document::parse(&Value::Object(object), &id.tenant) {
        Ok(document) if issues.0.is_empty() => Ok(document),
        Ok(_) => Err(AdminError::Faults(issues)),
        Err(more) => {
            issues.0.extend(more.0);
            Err(AdminError::Faults(issues))
        }
    }
}

/// Takes out what the control plane itself adds to a document that it shows.
pub(super) fn strip_added(object: &mut Map<String, Value>) {
    for field in ADDED {
        object.shift_remove(field);
    }
}

/// A document as it is sent: `tenant` is the caller's where it is left out.
pub(super) fn parse_document(value: Value, default: &Name) -> Result<Document, Issues> {
    let Value::Object(mut object) = value else {
        return Err(Issues::one(Issue::new("", "wrong_type", "a resource is a mapping; give one")));
    };
    strip_added(&mut object);
    Document::parse(&Value::Object(object), default)
}

fn label(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

fn has_text(entry: &Entry, text: &str) -> bool {
    entry.checked.id.name.as_str().contains(text)
        || entry.labels.values().any(|value| value.to_lowercase().contains(text))
}

fn shown_entry(entry: &Entry) -> Result<Value, StoreError> {
    Ok(shown(&entry.checked.id, &to_store(&entry.labels, &entry.kept)?))
}

/// A document with what the control plane knows about it.
fn document(entry: &Entry) -> Result<Value, StoreError> {
    let mut document = shown_entry(entry)?;
    if let Value::Object(object) = &mut document {
        object.insert("version".to_owned(), entry.checked.version.into());
        object.insert("created_at".to_owned(), entry.created_at.to_string().into());
        object.insert("updated_at".to_owned(), entry.updated_at.to_string().into());
        object.insert("managed_by".to_owned(), (*entry.managed_by).into());
    }
    Ok(document)
}

/// The answer to a write of one resource.
async fn one(admin: &Admin, outcome: Outcome, wait: Option<Wait>) -> Result<Response, AdminError> {
    let line = outcome.lines.first().ok_or(AdminError::Internal("a change without a line"))?;
    let (result, status) = match line.done {
        Done::Create => ("created", StatusCode::CREATED),
        Done::Update => ("updated", StatusCode::OK),
        Done::Delete => ("deleted", StatusCode::OK),
        Done::Unchanged => ("unchanged", StatusCode::OK),
    };
    let status = if outcome.is_dry_run { StatusCode::OK } else { status };
    let version = line.version;
    let mut body = Map::new();
    body.insert("revision".to_owned(), json!(outcome.revision));
    body.insert("result".to_owned(), result.into());
    body.insert("dry_run".to_owned(), outcome.is_dry_run.into());
    if let Some(applied) = answers::applied(admin, &outcome, wait).await? {
        body.insert("applied".to_owned(), applied);
    }
    let response = (status, answer(&Value::Object(body))).into_response();
    Ok(if version > 0 && !outcome.is_dry_run { with_etag(response, version) } else { response })
}

fn with_etag(mut response: Response, version: u64) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
