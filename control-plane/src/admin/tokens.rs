//! Tokens: of administrators, and those that nodes join with. Each is shown once, when it is made.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use deserr::Deserr;
use http::{StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tollgate_model::credential::Instant;
use tollgate_model::issue::nearest;
use tollgate_model::units::Span;
use tollgate_model::{Issues, Name, ResourceId, parse};

use super::auth::Caller;
use super::input::{At, Query, Sent};
use super::problem::AdminError;
use super::{Admin, BODY_BYTES, answer};
use crate::identity::{Action, AdminToken, JoinToken, NewAdminToken, NewJoinToken, Role};

const JOIN_TTL: Duration = Duration::from_hours(1);
const LIST_LIMIT: usize = 500;
const NAME_CHARS: usize = 128;

#[derive(Debug, Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct NewToken {
    name: String,
    role: String,
    #[deserr(default)]
    tenant: Option<Name>,
    #[deserr(default)]
    expires_at: Option<Instant>,
}

#[derive(Debug, Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct NewJoin {
    #[deserr(default)]
    gateway: Option<Name>,
    #[deserr(default)]
    ttl: Option<Span>,
    #[deserr(default)]
    uses: Option<u64>,
}

/// `GET /api/v1/whoami`
pub(super) async fn whoami(caller: Caller, uri: Uri) -> Result<Response, AdminError> {
    Query::read(&uri, &[])?.finish()?;
    let actor = caller.actor();
    Ok(answer(&json!({ "name": actor.name, "role": actor.role.as_str(), "tenant": actor.tenant })))
}

/// `POST /api/v1/tokens`
pub(super) async fn create(
    State(admin): State<Admin>,
    caller: Caller,
    sent: Sent,
) -> Result<Response, AdminError> {
    Query::read(&sent.uri, &[])?.finish()?;
    caller.may_own(Action::Administer)?;
    let body = sent.json(BODY_BYTES).await?;
    let new: NewToken = parse::value(&body).map_err(AdminError::Faults)?;
    let now = Timestamp::now();
    let new = checked(new, &caller, &admin, now)?;
    let (token, shown) = admin.tokens().create(new, now).await?;
    tracing::info!(token = token.id, role = %token.role, actor = caller.name(), "made a token");
    let body = json!({ "id": token.id, "token": shown.reveal() });
    Ok((StatusCode::CREATED, answer(&body)).into_response())
}

fn checked(
    new: NewToken,
    caller: &Caller,
    admin: &Admin,
    now: Timestamp,
) -> Result<NewAdminToken, AdminError> {
    let mut issues = Issues::default();
    let chars = new.name.chars().count();
    if !(1..=NAME_CHARS).contains(&chars) || new.name.chars().any(char::is_control) {
        issues.add("/name", "invalid_name", "give 1 to 128 characters without control characters");
    }
    let role = Role::from_word(&new.role);
    if role.is_none() {
        let (word, known) = (new.role.escape_debug().to_string(), Role::ALL.map(Role::as_str));
        let problem = format!("`{word}` is not a role; {}", nearest(&word, &known));
        issues.add("/role", "unknown_value", problem);
    }
    // A tenant's administrators make tokens for their tenant alone.
    let tenant = new.tenant.or_else(|| caller.tenant());
    if let Some(tenant) = &tenant {
        let is_there = *tenant == Name::default_name()
            || admin.state().get(&ResourceId::of_tenant(tenant)).is_some();
        if !is_there || !caller.sees(tenant.as_str()) {
            issues.add("/tenant", "unknown_reference", format!("there is no tenant `{tenant}`"));
        }
    }
    let expires_at = moment(new.expires_at, now, &mut issues);
    match role {
        Some(role) if issues.0.is_empty() => Ok(NewAdminToken {
            name: new.name,
            role,
            tenant: tenant.map(|tenant| tenant.to_string()),
            expires_at,
        }),
        _ => Err(AdminError::Faults(issues)),
    }
}

/// A moment that is still to come.
pub(super) fn moment(
    given: Option<Instant>,
    now: Timestamp,
    issues: &mut Issues,
) -> Option<Timestamp> {
    let moment = Timestamp::from_microsecond(given?.unix_micros).ok().filter(|at| *at > now);
    if moment.is_none() {
        issues.add("/expires_at", "out_of_range", "has passed already; give a moment to come");
    }
    moment
}

/// `GET /api/v1/tokens`
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, AdminError> {
    let paging = Paging::read(&uri)?;
    caller.may_own(Action::Administer)?;
    let now = Timestamp::now();
    let mut tokens = admin.tokens().list(caller.scope()).await?;
    tokens.retain(|token| paging.is_all || token.works_at(now));
    Ok(paging.answer(tokens.iter().map(token_json).collect()))
}

fn token_json(token: &AdminToken) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "role": token.role.as_str(),
        "tenant": token.tenant,
        "created_at": token.created_at.to_string(),
        "expires_at": token.expires_at.map(|at| at.to_string()),
        "revoked_at": token.revoked_at.map(|at| at.to_string()),
    })
}

/// `DELETE /api/v1/tokens/{id}`
pub(super) async fn revoke(
    State(admin): State<Admin>,
    caller: Caller,
    At(id): At<String>,
    uri: Uri,
) -> Result<Response, AdminError> {
    Query::read(&uri, &[])?.finish()?;
    caller.may_own(Action::Administer)?;
    if !admin.tokens().revoke(caller.scope(), &id, Timestamp::now()).await? {
        return Err(AdminError::no_resource(format_args!(
            "token `{}` that works",
            id.escape_debug()
        )));
    }
    tracing::info!(token = id, actor = caller.name(), "revoked a token");
    Ok(answer(&json!({ "id": id, "result": "revoked" })))
}

/// `POST /api/v1/join-tokens`
pub(super) async fn create_join(
    State(admin): State<Admin>,
    caller: Caller,
    sent: Sent,
) -> Result<Response, AdminError> {
    Query::read(&sent.uri, &[])?.finish()?;
    caller.may_platform(Action::Administer)?;
    let body = sent.json(BODY_BYTES).await?;
    let new: NewJoin = parse::value(&body).map_err(AdminError::Faults)?;
    let mut issues = Issues::default();
    let gateway = new.gateway.unwrap_or_else(Name::default_name);
    let is_there = gateway == Name::default_name()
        || admin.state().get(&ResourceId::of_gateway(&gateway)).is_some();
    if !is_there {
        issues.add("/gateway", "unknown_reference", format!("there is no gateway `{gateway}`"));
    }
    if new.uses == Some(0) {
        issues.add("/uses", "out_of_range", "is 0; give 1 or more, or leave it out");
    }
    let now = Timestamp::now();
    let ttl = SignedDuration::try_from(new.ttl.map_or(JOIN_TTL, Span::get)).unwrap_or_default();
    let expires_at = now.checked_add(ttl).unwrap_or(now);
    issues.into_result(()).map_err(AdminError::Faults)?;
    let new = NewJoinToken {
        gateway: gateway.to_string(),
        created_by: caller.name().to_owned(),
        expires_at,
        use_limit: new.uses,
    };
    let (token, shown) = admin.join_tokens().create(new, now).await?;
    tracing::info!(
        token = token.id,
        gateway = token.gateway,
        actor = caller.name(),
        "made a join token"
    );
    let body = json!({
        "id": token.id,
        "token": shown.reveal(),
        "expires_at": token.expires_at.to_string(),
    });
    Ok((StatusCode::CREATED, answer(&body)).into_response())
}

/// `GET /api/v1/join-tokens`
pub(super) async fn list_join(
    State(admin): State<Admin>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, AdminError> {
    let paging = Paging::read(&uri)?;
    caller.may_platform(Action::Administer)?;
    let now = Timestamp::now();
    let mut tokens = admin.join_tokens().list().await?;
    let works = |token: &JoinToken| {
        token.revoked_at.is_none()
            && token.expires_at > now
            && token.use_limit.is_none_or(|limit| token.uses < limit)
    };
    tokens.retain(|token| paging.is_all || works(token));
    Ok(paging.answer(tokens.iter().map(join_json).collect()))
}

fn join_json(token: &JoinToken) -> Value {
    json!({
        "id": token.id,
        "gateway": token.gateway,
        "created_by": token.created_by,
        "created_at": token.created_at.to_string(),
        "expires_at": token.expires_at.to_string(),
        "revoked_at": token.revoked_at.map(|at| at.to_string()),
        "uses": token.uses,
        "use_limit": token.use_limit,
    })
}

/// `DELETE /api/v1/join-tokens/{id}`
pub(super) async fn revoke_join(
    State(admin): State<Admin>,
    caller: Caller,
    At(id): At<String>,
    uri: Uri,
) -> Result<Response, AdminError> {
    Query::read(&uri, &[])?.finish()?;
    caller.may_platform(Action::Administer)?;
    if !admin.join_tokens().revoke(&id, Timestamp::now()).await? {
        return Err(AdminError::no_resource(format_args!(
            "join token `{}` that works",
            id.escape_debug()
        )));
    }
    tracing::info!(token = id, actor = caller.name(), "revoked a join token");
    Ok(answer(&json!({ "id": id, "result": "revoked" })))
}

/// A page of a short list.
struct Paging {
    limit: usize,
    skipped: usize,
    /// Whether what works no longer is listed, too.
    is_all: bool,
}

impl Paging {
    fn read(uri: &Uri) -> Result<Self, AdminError> {
        let mut query = Query::read(uri, &["limit", "cursor", "all"])?;
        let limit = query.number("limit", LIST_LIMIT, LIST_LIMIT);
        let skipped = query.number("cursor", 0, usize::MAX);
        let is_all = query.flag("all");
        query.finish()?;
        Ok(Self { limit, skipped, is_all })
    }

    fn answer(&self, items: Vec<Value>) -> Response {
        let total = items.len();
        let page: Vec<Value> = items.into_iter().skip(self.skipped).take(self.limit).collect();
        let end = self.skipped.saturating_add(page.len());
        answer(&json!({ "items": page, "next": (end < total).then(|| end.to_string()) }))
    }
}
