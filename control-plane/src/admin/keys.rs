//! API keys of applications: made here, shown once, kept as credentials.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use deserr::Deserr;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use tollgate_model::credential::Instant;
use tollgate_model::units::Span;
use tollgate_model::{Document, FromText, Issues, Kind, Name, ResourceId, Spec, parse};

use super::auth::Caller;
use super::input::{self, At, Query, Sent};
use super::problem::AdminError;
use super::tokens::moment;
use super::{Admin, BODY_BYTES, answer};
use crate::change::{Action, Change, Expect, Operation, now};
use crate::content::Labels;
use crate::identity::{self, Shown, draw_api_key};
use crate::live::{Entry, LiveState};

/// The most characters of a name.
const NAME_CHARS: usize = 63;
/// Successors of a credential that are looked for.
const SUCCESSORS: u32 = 10_000;

#[derive(Debug, Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct NewKey {
    #[deserr(default)]
    name: Option<Name>,
    #[deserr(default)]
    expires_at: Option<Instant>,
}

#[derive(Debug, Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct Rotation {
    #[deserr(default)]
    overlap: Option<Span>,
}

/// `POST /api/v1/tenants/{tenant}/applications/{application}/keys`
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    At((tenant, application)): At<(String, String)>,
    sent: Sent,
) -> Result<Response, AdminError> {
    Query::read(&sent.uri, &[])?.finish()?;
    let state = admin.state();
    let (tenant, application) = (input::name(&tenant)?, input::name(&application)?);
    caller.may(identity::Action::Write, Kind::Credential, &tenant, &state)?;
    let application = ResourceId::new(Kind::Application, tenant.clone(), application);
    if state.get(&application).is_none() {
        return Err(AdminError::no_resource(application));
    }
    let body = sent.json(BODY_BYTES).await?;
    let new: NewKey = parse::value(&body).map_err(AdminError::Faults)?;
    let mut issues = Issues::default();
    let expires_at = moment(new.expires_at, now(), &mut issues);
    issues.into_result(()).map_err(AdminError::Faults)?;
    let (key_id, key) = draw().map_err(|_no_randomness| AdminError::Internal("draw a key"))?;
    let name = match new.name {
        Some(name) => name,
        None => fitting(application.name.as_str(), &format!("-{}", key_id.to_lowercase()))?,
    };
    let spec = credential(&application.name, &key, expires_at);
    let document = Document {
        id: ResourceId::new(Kind::Credential, tenant, name),
        labels: Labels::new(),
        spec,
    };
    let message = format!("make a key for {application}");
    let made = vec![made(document)];
    made_answer(&admin, &caller, made, message, &key).await
}

/// `POST /api/v1/tenants/{tenant}/credentials/{name}/rotate`
pub(super) async fn rotate(
    State(admin): State<Admin>,
    caller: Caller,
    At((tenant, name)): At<(String, String)>,
    sent: Sent,
) -> Result<Response, AdminError> {
    Query::read(&sent.uri, &[])?.finish()?;
    let state = admin.state();
    let (tenant, name) = (input::name(&tenant)?, input::name(&name)?);
    caller.may(identity::Action::Write, Kind::Credential, &tenant, &state)?;
    let id = ResourceId::new(Kind::Credential, tenant, name);
    let entry = state.get(&id).ok_or_else(|| AdminError::no_resource(&id))?;
    let Spec::Credential(old) = &entry.checked.spec else {
        return Err(AdminError::Internal("a credential that is none"));
    };
    if old.api_key.is_none() {
        let problem = match &old.basic {
            Some(_) => {
                format!("{id} has a password and no key; write a new `basic.password.value`")
            }
            None => format!("{id} has no API key; write a Credential that takes its place"),
        };
        return Err(AdminError::issue("", "no_key", problem));
    }
    let body = sent.json(BODY_BYTES).await?;
    let rotation: Rotation = parse::value(&body).map_err(AdminError::Faults)?;
    let (_, key) = draw().map_err(|_no_randomness| AdminError::Internal("draw a key"))?;
    let successor = Document {
        id: ResourceId { name: successor(&state, &id)?, ..id.clone() },
        labels: (*entry.labels).clone(),
        spec: credential(&old.application, &key, None),
    };
    let overlap = rotation.overlap.map(Span::get);
    let operations = vec![made(successor), retire(&id, entry, overlap)?];
    let message = format!("rotate the key of {id}");
    made_answer(&admin, &caller, operations, message, &key).await
}

fn draw() -> Result<(String, Shown), impl std::error::Error> {
    draw_api_key()
}

fn credential(application: &Name, key: &Shown, expires_at: Option<Timestamp>) -> Value {
    let mut spec = Map::new();
    spec.insert("application".to_owned(), application.as_str().into());
    spec.insert("api_key".to_owned(), json!({ "value": key.reveal() }));
    if let Some(expires_at) = expires_at {
        spec.insert("expires_at".to_owned(), expires_at.to_string().into());
    }
    Value::Object(spec)
}

fn made(document: Document) -> Operation {
    Operation { place: String::new(), expect: Expect::Absent, action: Action::Put(document) }
}

/// What becomes of the credential that has a successor: it goes at once, or after a while.
fn retire(
    id: &ResourceId,
    entry: &Entry,
    overlap: Option<Duration>,
) -> Result<Operation, AdminError> {
    let action = match overlap {
        None => Action::Delete(id.clone()),
        Some(overlap) => {
            let spec = serde_json::from_str(&entry.sent);
            let Ok(Value::Object(mut spec)) = spec else {
                return Err(AdminError::Internal("a specification that is no object"));
            };
            let ends = SignedDuration::try_from(overlap).unwrap_or_default();
            let ends = now().checked_add(ends).unwrap_or(Timestamp::MAX);
            spec.insert("expires_at".to_owned(), ends.to_string().into());
            let labels = (*entry.labels).clone();
            Action::Put(Document { id: id.clone(), labels, spec: Value::Object(spec) })
        }
    };
    // Whoever changed it meanwhile is not overwritten.
    let expect = Expect::Version(entry.checked.version);
    Ok(Operation { place: String::new(), expect, action })
}

/// `web` is followed by `web-2`, that by `web-3`; by the first of them that is free.
fn successor(state: &LiveState, id: &ResourceId) -> Result<Name, AdminError> {
    let own = id.name.as_str();
    let counted = own.rsplit_once('-').and_then(|(base, count)| {
        let count = count.parse::<u32>().ok().filter(|count| (2..SUCCESSORS).contains(count))?;
        Some((base, count))
    });
    let (base, count) = counted.unwrap_or((own, 1));
    for next in count + 1..=SUCCESSORS {
        let name = fitting(base, &format!("-{next}"))?;
        if state.get(&ResourceId { name: name.clone(), ..id.clone() }).is_none() {
            return Ok(name);
        }
    }
    Err(AdminError::issue("", "too_many", format!("{id} has too many successors; delete some")))
}

/// The two together, the first cut where they would be too long.
fn fitting(base: &str, end: &str) -> Result<Name, AdminError> {
    let base = base.get(..NAME_CHARS.saturating_sub(end.len()).min(base.len())).unwrap_or(base);
    let base = base.trim_end_matches(['-', '.', '_']);
    Name::from_text(&format!("{base}{end}"))
        .map_err(|_rejected| AdminError::Internal("make up a name"))
}

async fn made_answer(
    admin: &Admin,
    caller: &Caller,
    operations: Vec<Operation>,
    message: String,
    key: &Shown,
) -> Result<Response, AdminError> {
    let change = Change { operations, message, ..Change::default() };
    let outcome = admin.changes().apply(caller.name(), change).await?;
    let made = outcome.lines.first().ok_or(AdminError::Internal("a change without a line"))?;
    let body = json!({
        "credential": made.id.name.as_str(),
        "key": key.reveal(),
        "revision": outcome.revision,
    });
    Ok((StatusCode::CREATED, answer(&body)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_name_is_one_however_long_the_first_part_is() {
        assert_eq!(fitting("web", "-2").unwrap().as_str(), "web-2");
        let long = format!("{}-x", "a".repeat(59));
        assert_eq!(fitting(&long, "-22").unwrap().as_str(), format!("{}-22", "a".repeat(59)));
    }

    #[test]
    fn successors_are_counted() {
        let state = LiveState::default();
        let next = |name: &str| {
            let name = Name::from_text(name).unwrap();
            successor(&state, &ResourceId::new(Kind::Credential, Name::default_name(), name))
                .unwrap()
                .to_string()
        };
        assert_eq!(
            (next("web"), next("web-2"), next("web-2024x")),
            ("web-2".into(), "web-3".into(), "web-2024x-2".into())
        );
    }
}
