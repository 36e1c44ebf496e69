//! The description of the admin API (OpenAPI 3.1), put together from the endpoints below and the schemas
//! that the resources are checked by; and a page that shows it.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Map, Value, json};
use tollgate_model::Kind;
use tollgate_policy::check::schema;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(whole().to_string()));
const PAGE: &str = include_str!("docs.html");

/// `GET /api/v1/openapi.json`
pub(super) async fn document() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("max-age=60")),
    ];
    (headers, Body::from(DOCUMENT.clone())).into_response()
}

/// `GET /docs`
pub(super) async fn page() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
    ];
    (headers, PAGE).into_response()
}

/// One endpoint: method, path, what it does, query, body, answer (both by the name of their schema).
type Endpoint = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    Option<&'static str>,
    &'static str,
);

const WRITE: &[&str] = &["dry_run", "wait", "timeout", "message", "managed_by", "force"];
const WAIT: &[&str] = &["wait", "timeout"];
const PAGED: &[&str] = &["limit", "cursor"];
const ALL_PAGED: &[&str] = &["limit", "cursor", "all"];

/// Every endpoint below `/api/v1`.
#[rustfmt::skip]
const ENDPOINTS: &[Endpoint] = &[
    ("get", "/tenants/{tenant}/{kind}", "List resources of a kind, by name", &["limit", "cursor", "q", "label"], None, "DocumentList"),
    ("get", "/tenants/{tenant}/{kind}/{name}", "Get a resource; its version is in ETag", &[], None, "Document"),
    ("put", "/tenants/{tenant}/{kind}/{name}", "Write a resource; If-Match and If-None-Match are heeded", WRITE, Some("Document"), "Written"),
    ("delete", "/tenants/{tenant}/{kind}/{name}", "Take a resource away; If-Match is heeded", WRITE, None, "Written"),
    ("post", "/tenants/{tenant}/applications/{application}/keys", "Make an API key; it is shown this once", &[], Some("NewKey"), "MadeKey"),
    ("post", "/tenants/{tenant}/credentials/{name}/rotate", "Make a new key in the place of a credential's", &[], Some("Rotation"), "MadeKey"),
    ("get", "/tenants/{tenant}/purges", "List what was purged from the nodes' caches, newest first", PAGED, None, "PurgeList"),
    ("post", "/tenants/{tenant}/purges", "Purge a URL, all of an API, or all with a tag from the nodes' caches", WAIT, Some("NewPurge"), "MadePurge"),
    ("get", "/export", "Everything, or all of a tenant, without sealed values", &["tenant"], None, "Export"),
    ("post", "/changes", "Change many resources in one revision, or none of them", WAIT, Some("Change"), "Changed"),
    ("get", "/revisions", "List revisions, newest first", &["limit", "cursor", "kind", "tenant", "name"], None, "RevisionList"),
    ("get", "/revisions/{number}", "Get a revision with what it changed", &[], None, "Revision"),
    ("get", "/revisions/{number}/diff/{other}", "What differs between two revisions", &[], None, "Differences"),
    ("post", "/revisions/{number}/rollback", "Put the content of a revision in force again", WAIT, Some("RollBack"), "Changed"),
    ("post", "/explain", "Ask a node what would become of a request; nothing comes of it", &[], Some("Question"), "Explanation"),
    ("get", "/nodes", "List the nodes that have joined", PAGED, None, "NodeList"),
    ("delete", "/nodes/{gateway}/{name}", "Forget a node: its certificate is refused from now on", &[], None, "Result"),
    ("get", "/status", "How far the configuration has come", &[], None, "Status"),
    ("get", "/join-tokens", "List the tokens that nodes can join with", ALL_PAGED, None, "JoinTokenList"),
    ("post", "/join-tokens", "Make a join token; it is shown this once", &[], Some("NewJoinToken"), "MadeJoinToken"),
    ("delete", "/join-tokens/{id}", "Revoke a join token; nodes that have joined stay", &[], None, "Result"),
    ("get", "/tokens", "List the tokens of administrators and programs", ALL_PAGED, None, "TokenList"),
    ("post", "/tokens", "Make a token; it is shown this once", &[], Some("NewToken"), "MadeToken"),
    ("delete", "/tokens/{id}", "Revoke a token", &[], None, "Result"),
    ("get", "/whoami", "Whose token this is", &[], None, "Caller"),
];

fn whole() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate admin API",
            "version": "v1",
            "description": "Everything an operator can say is a resource. What changes together is one revision.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/api/v1" }],
        "security": [{ "bearer": [] }],
        "paths": paths(),
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "description": "A token `tga_…`." } },
            "parameters": parameters(),
            "responses": { "Problem": {
                "description": "Refused, or failed (RFC 9457); `issues` has every fault.",
                "content": { "application/problem+json": { "schema": reference("Problem") } },
            } },
            "schemas": schemas(),
        },
    })
}

fn paths() -> Value {
    let mut paths = Map::new();
    for (method, path, summary, query, body, answer) in ENDPOINTS {
        let mut parameters: Vec<Value> = path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": path_schema(name) }))
            .collect();
        let query = query.iter();
        parameters
            .extend(query.map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })));
        let success = if answer.starts_with("Made") { "201" } else { "200" };
        let mut operation = json!({
            "operationId": operation_id(method, path),
            "summary": summary,
            "parameters": parameters,
            "responses": {
                success: { "description": "Done.", "content": { "application/json": { "schema": reference(answer) } } },
                "default": { "$ref": "#/components/responses/Problem" },
            },
        });
        if let (Some(body), Value::Object(operation)) = (body, &mut operation) {
            let content =
                json!({ "content": { "application/json": { "schema": reference(body) } } });
            operation.insert("requestBody".to_owned(), content);
        }
        let entry = paths.entry(*path).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(entry) = entry {
            entry.insert((*method).to_owned(), operation);
        }
    }
    Value::Object(paths)
}

/// `get_tenants_kind_name`: method and segments, each endpoint's own.
fn operation_id(method: &str, path: &str) -> String {
    let plain = path.replace(['{', '}'], "").replace(['/', '-'], "_");
    format!("{method}{plain}")
}

fn path_schema(name: &str) -> Value {
    match name {
        "kind" => json!({ "enum": Kind::ALL.map(Kind::plural) }),
        "number" | "other" => json!({ "type": "integer", "minimum": 0 }),
        _ => json!({ "type": "string" }),
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn parameters() -> Value {
    let text = || json!({ "type": "string" });
    let mut parameters = Map::new();
    for (name, description, schema) in [
        ("dry_run", "Only check, and say what would change.", json!({ "type": "boolean" })),
        (
            "wait",
            "Answer when every connected node runs it, or time is up.",
            json!({ "enum": ["applied"] }),
        ),
        ("timeout", "The longest wait; default 10s, at most 5m.", text()),
        ("message", "Why, for the history.", text()),
        (
            "managed_by",
            "Who looks after it from now on; for a write the default is `api`.",
            json!({ "enum": super::resources::MANAGERS }),
        ),
        ("force", "Take over what another manager looks after.", json!({ "type": "boolean" })),
        ("limit", "At most so many.", json!({ "type": "integer", "minimum": 1, "maximum": 500 })),
        ("cursor", "`next` of the page before.", text()),
        ("q", "Only those whose name or label has this text.", text()),
        (
            "label",
            "Only those with this label: `key=value` or `key`. May be given more than once.",
            text(),
        ),
        ("tenant", "Only this tenant.", text()),
        ("kind", "Only this kind.", json!({ "enum": Kind::ALL.map(Kind::name) })),
        ("name", "Only resources of this name.", text()),
        ("all", "Those that work no longer, too.", json!({ "type": "boolean" })),
    ] {
        let parameter =
            json!({ "name": name, "in": "query", "description": description, "schema": schema });
        parameters.insert(name.to_owned(), parameter);
    }
    Value::Object(parameters)
}

fn schemas() -> Value {
    let mut schemas = Map::new();
    let documents: Vec<Value> = Kind::ALL.map(|kind| document_of(kind, &mut schemas)).into();
    schemas.insert("Document".to_owned(), json!({
        "oneOf": documents,
        "description": "A resource. `version`, `created_at`, `updated_at` and `managed_by` are added to what is read.",
    }));
    for (name, fields) in shapes() {
        schemas.insert(name.to_owned(), shape(&fields));
    }
    Value::Object(schemas)
}

/// Takes the schema of a kind's documents in, under a name of its own; gives a reference to it.
fn document_of(kind: Kind, schemas: &mut Map<String, Value>) -> Value {
    let mut document = schema(kind);
    if let Value::Object(object) = &mut document {
        object.shift_remove("$schema");
        if let Some(Value::Object(definitions)) = object.shift_remove("$defs") {
            schemas.extend(definitions.into_iter().map(|(name, mut definition)| {
                point_to_components(&mut definition);
                (name, definition)
            }));
        }
    }
    point_to_components(&mut document);
    let name = format!("{kind}Document");
    schemas.insert(name.clone(), document);
    reference(&name)
}

fn point_to_components(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, inner) in object.iter_mut() {
                if let (true, Value::String(target)) = (name == "$ref", &mut *inner) {
                    *target = target.replace("#/$defs/", "#/components/schemas/");
                } else {
                    point_to_components(inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(point_to_components),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fields and their sorts: `text`, `number`, `flag`, `moment`, `any`, the name of a schema, or a list of
/// one (`[Name]`); with `?` where a field may be missing or null.
type Shape = (&'static str, Vec<(&'static str, &'static str)>);

#[rustfmt::skip]
fn shapes() -> Vec<Shape> {
    let id = [("kind", "text"), ("tenant", "text"), ("name", "text")];
    let with = |first: &[(&'static str, &'static str)], more: &[(&'static str, &'static str)]| [first, &id, more].concat();
    vec![
        ("Problem", vec![("type", "text"), ("title", "text"), ("status", "number"), ("detail", "text"), ("code", "text"), ("request_id", "text"), ("issues", "[Issue]")]),
        ("Issue", vec![("at", "text"), ("code", "text"), ("problem", "text")]),
        ("DocumentList", vec![("items", "[Document]"), ("next", "text?")]),
        ("Export", vec![("revision", "number"), ("items", "[Document]")]),
        ("Written", vec![("revision", "number?"), ("result", "text"), ("dry_run", "flag"), ("applied", "Applied?")]),
        ("Change", vec![("message", "text?"), ("managed_by", "text?"), ("dry_run", "flag?"), ("force", "flag?"), ("resources", "[Document]?"), ("deletions", "[ResourceId]?"), ("prune", "Prune?")]),
        ("ResourceId", vec![("kind", "text"), ("tenant", "text?"), ("name", "text")]),
        ("Prune", vec![("managed_by", "text"), ("tenants", "[text]")]),
        ("Changed", vec![("revision", "number?"), ("dry_run", "flag"), ("changes", "[ChangedResource]"), ("applied", "Applied?")]),
        ("ChangedResource", with(&[("op", "text")], &[("diff", "[FieldChange]?")])),
        ("FieldChange", vec![("at", "text"), ("before", "any?"), ("after", "any?")]),
        ("Applied", vec![("revision", "number"), ("nodes_total", "number"), ("nodes_applied", "number"), ("pending", "[text]"), ("rejected", "[NodeRejection]")]),
        ("NodeRejection", with(&[("node", "text")], &[("issues", "[Issue]")])),
        ("RevisionList", vec![("items", "[Revision]"), ("next", "text?")]),
        ("Revision", vec![("number", "number"), ("at", "moment"), ("actor", "text"), ("message", "text"), ("changes", "[RevisionChange]"), ("has_more_changes", "flag?")]),
        ("RevisionChange", with(&[("op", "text")], &[("before", "any?"), ("after", "any?")])),
        ("Differences", vec![("changes", "[RevisionChange]")]),
        ("RollBack", vec![("message", "text?"), ("dry_run", "flag?")]),
        ("NodeList", vec![("items", "[Node]"), ("next", "text?")]),
        ("Node", vec![("name", "text"), ("gateway", "text"), ("build", "text"), ("labels", "any"), ("connected", "flag"), ("revision", "number?"), ("lag", "number?"), ("last_seen_at", "moment"), ("open_connections", "number"), ("requests_total", "number"), ("uptime_seconds", "number"), ("resident_bytes", "number"), ("rejected", "[Rejection]")]),
        ("Rejection", with(&[], &[("version", "number"), ("issues", "[Issue]")])),
        ("Status", vec![("revision", "number"), ("epoch", "number"), ("nodes", "NodeCounts"), ("resources", "[ResourceStatus]")]),
        ("NodeCounts", vec![("total", "number"), ("connected", "number"), ("current", "number")]),
        ("ResourceStatus", with(&[], &[("state", "text"), ("nodes", "[NodeState]")])),
        ("NodeState", vec![("node", "text"), ("state", "text"), ("issues", "[Issue]")]),
        ("NewJoinToken", vec![("gateway", "text?"), ("ttl", "text?"), ("uses", "number?")]),
        ("MadeJoinToken", vec![("id", "text"), ("token", "text"), ("expires_at", "moment")]),
        ("JoinTokenList", vec![("items", "[JoinToken]"), ("next", "text?")]),
        ("JoinToken", vec![("id", "text"), ("gateway", "text"), ("created_by", "text"), ("created_at", "moment"), ("expires_at", "moment"), ("revoked_at", "moment?"), ("uses", "number"), ("use_limit", "number?")]),
        ("NewToken", vec![("name", "text"), ("role", "text"), ("tenant", "text?"), ("expires_at", "moment?")]),
        ("MadeToken", vec![("id", "text"), ("token", "text")]),
        ("TokenList", vec![("items", "[Token]"), ("next", "text?")]),
        ("Token", vec![("id", "text"), ("name", "text"), ("role", "text"), ("tenant", "text?"), ("created_at", "moment"), ("expires_at", "moment?"), ("revoked_at", "moment?")]),
        ("NewKey", vec![("name", "text?"), ("expires_at", "moment?")]),
        ("Rotation", vec![("overlap", "text?")]),
        ("MadeKey", vec![("credential", "text"), ("key", "text"), ("revision", "number")]),
        ("Question", vec![("gateway", "text?"), ("method", "text"), ("url", "text"), ("headers", "[Field]?"), ("client_address", "text?")]),
        ("Field", vec![("name", "text"), ("value", "text")]),
        ("Explanation", vec![("node", "text"), ("revision", "number"), ("routes", "[ConsideredRoute]"), ("ends", "End")]),
        ("ConsideredRoute", vec![("won", "flag"), ("because", "text?"), ("tenant", "text"), ("api", "text"), ("route", "text?"), ("place", "text"), ("path", "text"), ("policies", "[text]"), ("steps", "[Step]?")]),
        ("Step", vec![("policy", "text"), ("of", "text"), ("does", "text"), ("status", "number?"), ("code", "text?"), ("detail", "text?"), ("caller", "any?"), ("path", "text?"), ("query", "text?"), ("host", "text?"), ("upstream", "text?"), ("mirrors", "[text]?"), ("sets", "[text]?"), ("removes", "[text]?"), ("cache", "text?")]),
        ("End", vec![("as", "text"), ("by", "text?"), ("status", "number?"), ("code", "text?"), ("detail", "text?"), ("endpoints", "[EndpointState]?")]),
        ("EndpointState", vec![("endpoint", "text"), ("well", "flag")]),
        ("NewPurge", vec![("url", "text?"), ("api", "text?"), ("tag", "text?")]),
        ("MadePurge", vec![("number", "number"), ("purged", "Purged?")]),
        ("Purged", vec![("nodes_total", "number"), ("nodes_purged", "number"), ("pending", "[text]")]),
        ("PurgeList", vec![("items", "[Purge]"), ("next", "text?")]),
        ("Purge", vec![("number", "number"), ("at", "moment"), ("actor", "text"), ("url", "text?"), ("api", "text?"), ("tag", "text?")]),
        ("Result", vec![("result", "text")]),
        ("Caller", vec![("name", "text"), ("role", "text"), ("tenant", "text?")]),
    ]
}

fn shape(fields: &[(&'static str, &'static str)]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, sort) in fields {
        let sort = match sort.strip_suffix('?') {
            Some(sort) => sort,
            None => {
                required.push(*name);
                sort
            }
        };
        properties.insert((*name).to_owned(), sort_schema(sort));
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn sort_schema(sort: &str) -> Value {
    match sort {
        "text" => json!({ "type": "string" }),
        "number" => json!({ "type": "integer", "minimum": 0 }),
        "flag" => json!({ "type": "boolean" }),
        "moment" => json!({ "type": "string", "format": "date-time" }),
        "any" => json!({}),
        _ => match sort.strip_prefix('[').and_then(|sort| sort.strip_suffix(']')) {
            Some(inner) => json!({ "type": "array", "items": sort_schema(inner) }),
            None => reference(sort),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All kinds share one list of schemas, and the answers' shapes stand in it too.
    #[test]
    fn a_name_stands_for_one_schema() {
        let mut known: Map<String, Value> = Map::new();
        for kind in Kind::ALL {
            let Some(Value::Object(definitions)) = schema(kind).get("$defs").cloned() else {
                continue;
            };
            for (name, definition) in definitions {
                if let Some(other) = known.insert(name.clone(), definition.clone()) {
                    assert_eq!(other, definition, "{name} of {kind}");
                }
            }
        }
        assert!(known.len() > 50, "{}", known.len());
        known.extend(Kind::ALL.map(|kind| (format!("{kind}Document"), Value::Null)));
        for (name, _) in shapes() {
            assert!(known.insert(name.to_owned(), Value::Null).is_none(), "{name}");
        }
    }
}
