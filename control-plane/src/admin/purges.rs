//! Purges of the nodes' caches: by URL, by API, by tag.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use deserr::Deserr;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde_json::{Value, json};
use tollgate_model::{Issues, Kind, Name, ResourceId, parse};

use super::answers::Wait;
use super::auth::Caller;
use super::input::{self, At, Query, Sent};
use super::problem::AdminError;
use super::{Admin, BODY_BYTES, answer};
use crate::identity::Action;
use crate::purges::{Subject, Wanted};
use crate::store::{PurgeRow, Scope};

const LIST_LIMIT: usize = 50;
const LIST_MOST: usize = 500;
const URL_BYTES: usize = 8 * 1024;
const TAG_BYTES: usize = 1024;

#[derive(Debug, Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct Body {
    #[deserr(default)]
    url: Option<String>,
    #[deserr(default)]
    api: Option<Name>,
    #[deserr(default)]
    tag: Option<String>,
}

/// `POST /api/v1/tenants/{tenant}/purges`
pub(super) async fn make(
    State(admin): State<Admin>,
    caller: Caller,
    At(tenant): At<String>,
    sent: Sent,
) -> Result<Response, AdminError> {
    let mut query = Query::read(&sent.uri, &["wait", "timeout"])?;
    let wait = Wait::read(&mut query);
    query.finish()?;
    let tenant = input::name(&tenant)?;
    caller.may(Action::Write, Kind::Api, &tenant, &admin.state())?;
    let body: Body = parse::value(&sent.json(BODY_BYTES).await?).map_err(AdminError::Faults)?;
    let subject = subject(body, &admin, &tenant).map_err(AdminError::Faults)?;
    let actor = caller.name().to_owned();
    let wanted = Wanted { tenant: tenant.to_string(), subject, actor };
    let purges = &admin.0.shared.purges;
    let number = purges.make(wanted, Timestamp::now()).await?;
    let mut made = json!({ "number": number });
    if let (Some(wait), Value::Object(made)) = (wait, &mut made) {
        let purged = admin.nodes().wait_purged(number, wait.limit()).await?;
        let purged = json!({
            "nodes_total": purged.nodes_total,
            "nodes_purged": purged.nodes_purged,
            "pending": purged.pending,
        });
        made.insert("purged".to_owned(), purged);
    }
    Ok((StatusCode::CREATED, answer(&made)).into_response())
}

fn subject(body: Body, admin: &Admin, tenant: &Name) -> Result<Subject, Issues> {
    let mut issues = Issues::default();
    if let Some(url) = &body.url {
        let is_whole = url.parse::<Uri>().is_ok_and(|parsed| {
            matches!(parsed.scheme_str(), Some("http" | "https"))
                && parsed.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        if !is_whole || url.len() > URL_BYTES {
            let problem =
                "give the URL as clients ask for it, such as http://api.shop.test/orders?page=1";
            issues.add("/url", "invalid_url", problem);
        }
    }
    if let Some(api) = &body.api {
        let id = ResourceId::new(Kind::Api, tenant.clone(), api.clone());
        if admin.state().get(&id).is_none() {
            issues.add("/api", "unknown_reference", format!("there is no API `{api}`"));
        }
    }
    if let Some(tag) = &body.tag
        && (!(1..=TAG_BYTES).contains(&tag.len()) || tag.chars().any(char::is_control))
    {
        let problem = "give 1 to 1024 bytes without control characters";
        issues.add("/tag", "invalid_tag", problem);
    }
    let subject = match (body.url, body.api, body.tag) {
        (Some(url), None, None) => Some(Subject::Url(url)),
        (None, Some(api), None) => Some(Subject::Api(api.to_string())),
        (None, None, Some(tag)) => Some(Subject::Tag(tag)),
        _ => {
            issues.add("", "invalid_count", "give one of `url`, `api` and `tag`");
            None
        }
    };
    match subject {
        Some(subject) if issues.0.is_empty() => Ok(subject),
        _ => Err(issues),
    }
}

/// `GET /api/v1/tenants/{tenant}/purges`
pub(super) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    At(tenant): At<String>,
    uri: Uri,
) -> Result<Response, AdminError> {
    let mut query = Query::read(&uri, &["limit", "cursor"])?;
    let limit = query.number("limit", LIST_LIMIT, LIST_MOST);
    let before = query.number("cursor", usize::MAX, usize::MAX);
    query.finish()?;
    let tenant = input::name(&tenant)?;
    caller.may(Action::Read, Kind::Api, &tenant, &admin.state())?;
    let asked = u32::try_from(limit).unwrap_or(u32::MAX);
    let before = u64::try_from(before).ok();
    let rows = admin.store().purges(Scope::Tenant(tenant.as_str()), before, asked).await?;
    let next = rows.last().filter(|_| rows.len() == limit).map(|last| last.number.to_string());
    let items: Vec<Value> = rows.iter().map(item).collect();
    Ok(answer(&json!({ "items": items, "next": next })))
}

fn item(row: &PurgeRow) -> Value {
    let purge = &row.purge;
    let mut item = json!({
        "number": row.number,
        "at": purge.at.to_string(),
        "actor": purge.actor,
    });
    if let Value::Object(item) = &mut item {
        item.insert(purge.what.clone(), purge.value.as_str().into());
    }
    item
}
