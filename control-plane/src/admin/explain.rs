//! What would become of a request, as a node says.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::State;
use axum::response::Response;
use deserr::Deserr;
use http::{HeaderName, HeaderValue, Method, Uri};
use serde_json::{Value, json};
use tollgate_model::{Issues, Name, parse};
use tollgate_proto::v1;

use super::auth::Caller;
use super::input::{Query, Sent};
use super::problem::AdminError;
use super::{Admin, BODY_BYTES, answer};
use crate::identity::Action;

const FIELDS: usize = 100;

#[derive(Debug, Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct Body {
    #[deserr(default)]
    gateway: Option<Name>,
    method: String,
    url: String,
    #[deserr(default)]
    headers: Vec<Field>,
    #[deserr(default)]
    client_address: Option<String>,
}

#[derive(Debug, Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct Field {
    name: String,
    value: String,
}

/// `POST /api/v1/explain`
pub(super) async fn explain(
    State(admin): State<Admin>,
    caller: Caller,
    sent: Sent,
) -> Result<Response, AdminError> {
    Query::read(&sent.uri, &[])?.finish()?;
    caller.may_own(Action::Read)?;
    let body: Body = parse::value(&sent.json(BODY_BYTES).await?).map_err(AdminError::Faults)?;
    let gateway = body.gateway.clone().unwrap_or_else(Name::default_name);
    let question = question(body).map_err(AdminError::Faults)?;
    let (node, mut explained) = admin.0.shared.questions.ask(gateway.as_str(), question).await?;
    if let Some(error) = explained.get("error").and_then(Value::as_str) {
        return Err(AdminError::issue("", "not_a_request", error));
    }
    keep_own(&mut explained, &caller);
    if let Value::Object(explained) = &mut explained {
        explained.insert("node".to_owned(), node.into());
    }
    Ok(answer(&explained))
}

fn question(body: Body) -> Result<v1::Explain, Issues> {
    let mut issues = Issues::default();
    if Method::from_bytes(body.method.as_bytes()).is_err() {
        issues.add("/method", "invalid_method", "give a method such as GET");
    }
    let is_whole = body.url.parse::<Uri>().is_ok_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some()
    });
    if !is_whole {
        issues.add("/url", "invalid_url", "give it as http://HOST/PATH");
    }
    let address = body.client_address.map(|text| text.parse::<IpAddr>());
    let address = address.unwrap_or_else(|| Ok(Ipv4Addr::LOCALHOST.into()));
    if address.is_err() {
        issues.add("/client_address", "invalid_address", "give an address such as 203.0.113.7");
    }
    if body.headers.len() > FIELDS {
        issues.add("/headers", "invalid_count", "give at most 100 fields");
    }
    for (i, field) in body.headers.iter().enumerate() {
        if HeaderName::from_bytes(field.name.as_bytes()).is_err() {
            let problem = "give the name of a header field";
            issues.add(format!("/headers/{i}/name"), "invalid_field", problem);
        }
        if HeaderValue::from_str(&field.value).is_err() {
            let problem = "has a character that a header field cannot hold";
            issues.add(format!("/headers/{i}/value"), "invalid_field", problem);
        }
    }
    let fields = body
        .headers
        .into_iter()
        .map(|field| v1::Field { name: field.name, value: field.value.into_bytes().into() });
    let fields = fields.collect();
    match address {
        Ok(address) if issues.0.is_empty() => Ok(v1::Explain {
            id: 0,
            method: body.method,
            url: body.url,
            fields,
            client_address: address.to_string(),
        }),
        _ => Err(issues),
    }
}

/// Takes out what belongs to tenants that the caller does not see.
fn keep_own(explained: &mut Value, caller: &Caller) {
    let is_seen = |row: &Value| {
        row.get("tenant").and_then(Value::as_str).is_some_and(|tenant| caller.sees(tenant))
    };
    let rows = explained.get_mut("routes").and_then(Value::as_array_mut);
    let rows = rows.map(std::mem::take).unwrap_or_default();
    let is_won = |row: &Value| row.get("won") == Some(&Value::Bool(true));
    let is_anothers = rows.iter().any(|row| is_won(row) && !is_seen(row));
    let own: Vec<Value> = rows.into_iter().filter(is_seen).collect();
    if let Value::Object(explained) = explained {
        explained.insert("routes".to_owned(), own.into());
        if is_anothers {
            explained.insert("ends".to_owned(), json!({ "as": "another tenant's" }));
        }
    }
}
