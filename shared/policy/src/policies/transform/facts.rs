//! What is known of a request beside its body, as one value for programs and templates.

use http::{HeaderMap, Request, header};
use serde_json::{Map, Value, json};
use tollgate_model::Name;

use super::bounds::{MAX_DEPTH, depth};
use super::form;
use crate::body::Body;
use crate::escape::decode;
use crate::policy::Cx;

/// The names are those of the variables of texts, such as `{path.id}`. Secrets are not among them: what is made here
/// goes into bodies.
pub(super) fn facts(cx: &Cx<'_>, request: &Request<Body>, parameters: &[Box<str>]) -> Value {
    let path: Map<String, Value> = parameters
        .iter()
        .filter_map(|name| Some((name.to_string(), decoded(cx.parameters.get(name)?))))
        .collect();
    let (_, query) = cx.onward.path_and_query(request);
    // One that is not UTF-8 says nothing.
    let query = form::read(query.unwrap_or_default().as_bytes());
    let caller = cx.identity.as_deref();
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    json!({
        "path": path,
        "query": query.unwrap_or_else(|_other| json!({})),
        "header": fields(request.headers()),
        "claim": cx.claims.as_ref().map(|claims| shallow(&claims.all)).unwrap_or_default(),
        "application": caller.map(|caller| caller.application.as_str()),
        "credential": caller.map(|caller| caller.credential.as_str()),
        "client": {"ip": &*cx.client.address_text},
        "id": cx.request_id,
        "tenant": cx.route.tenant.as_str(),
        "api": cx.route.api.as_str(),
        "route": cx.route.route.as_ref().map(Name::as_str),
        "method": request.method().as_str(),
        "host": host.or_else(|| request.uri().host()),
    })
}

/// The claims that a body could hold within what is made of it.
fn shallow(claims: &Map<String, Value>) -> Map<String, Value> {
    let is_shallow = |(_, claim): &(&String, &Value)| depth(claim) + 4 <= MAX_DEPTH;
    let claims = claims.iter().filter(is_shallow);
    claims.map(|(name, claim)| (name.clone(), claim.clone())).collect()
}

fn decoded(text: &str) -> Value {
    Value::from(String::from_utf8_lossy(&decode(text)))
}

/// The lines of a field are joined (RFC 9110 §5.3).
fn fields(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in headers.keys() {
        let lines: Option<Vec<&str>> =
            headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
        if let Some(lines) = lines {
            map.insert(name.as_str().to_owned(), Value::from(lines.join(", ")));
        }
    }
    map
}
