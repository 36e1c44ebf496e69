//! The table of each kind: what people look for in a list.

use serde_json::Value;
use tollgate_model::Kind;
use tollgate_model::certificate::{Facts, certificates_of_pem};

/// How many of many are named before the rest is counted.
const NAMED: usize = 3;

/// The header of a kind's table.
#[must_use]
pub(crate) fn header(kind: Kind) -> Vec<&'static str> {
    let own: &[&str] = match kind {
        Kind::Tenant => &["HOSTS", "POLICIES", "DESCRIPTION"],
        Kind::Gateway => &["LISTENERS", "POLICIES", "DESCRIPTION"],
        Kind::Certificate => &["HOSTS", "EXPIRES", "DESCRIPTION"],
        Kind::Secret => &["VALUE", "DESCRIPTION"],
        Kind::Upstream => &["ENDPOINTS", "BALANCE", "PROTOCOL"],
        Kind::PolicySet => &["POLICIES", "DESCRIPTION"],
        Kind::Api => &["VERSION", "HOSTS", "BASE PATH", "UPSTREAM", "ROUTES", "POLICIES"],
        Kind::Application => &["STATE", "POLICIES", "DESCRIPTION"],
        Kind::Credential => &["APPLICATION", "KEY", "EXPIRES", "STATE"],
    };
    let mut header = vec!["NAME"];
    header.extend(own);
    header.extend(["REVISION", "MANAGED BY"]);
    header
}

/// A resource as a row of its kind's table.
#[must_use]
pub(crate) fn row(kind: Kind, resource: &Value) -> Vec<String> {
    let spec = resource.get("spec").unwrap_or(&Value::Null);
    let text = |pointer: &str, default: &str| {
        text(spec.pointer(pointer)).unwrap_or_else(|| default.to_owned())
    };
    let state = || {
        if spec.get("disabled") == Some(&Value::Bool(true)) { "disabled" } else { "active" }
            .to_owned()
    };
    let policies = || named(spec.get("policies"), policy_name);
    let description = || text("/description", "");
    let own = match kind {
        Kind::Tenant => {
            vec![named(spec.get("hosts"), |host| self::text(Some(host))), policies(), description()]
        }
        Kind::Gateway => {
            vec![
                named(spec.get("listeners"), |item| self::text(item.get("address"))),
                policies(),
                description(),
            ]
        }
        Kind::Certificate => {
            let (hosts, expires) = certificate(spec).unwrap_or_default();
            vec![hosts, expires, description()]
        }
        Kind::Secret => vec!["sealed".to_owned(), description()],
        Kind::Upstream => vec![
            named(spec.get("endpoints"), |item| {
                self::text(item.get("url").or_else(|| item.get("srv")))
            }),
            text("/balance", "round_robin"),
            text("/protocol", "http1"),
        ],
        Kind::PolicySet => vec![policies(), description()],
        Kind::Api => {
            let hosts = named(spec.get("hosts"), |host| self::text(Some(host)));
            let routes = spec.get("routes").and_then(Value::as_array).map_or(0, Vec::len);
            vec![
                text("/version", ""),
                if hosts.is_empty() { "all".to_owned() } else { hosts },
                text("/base_path", "/"),
                text("/upstream", ""),
                routes.to_string(),
                policies(),
            ]
        }
        Kind::Application => vec![state(), policies(), description()],
        Kind::Credential => {
            let hint = text("/api_key/hint", &text("/basic/username", ""));
            let key_id = text("/signature/key_id", "");
            let key = if spec.get("certificate").is_some() {
                "certificate".to_owned()
            } else if !key_id.is_empty() {
                key_id
            } else if spec.get("basic").is_some() {
                hint
            } else if hint.is_empty() {
                "sealed".to_owned()
            } else {
                format!("{hint}…")
            };
            vec![text("/application", ""), key, text("/expires_at", "never"), state()]
        }
    };
    let field = |name: &str| self::text(resource.get(name)).unwrap_or_default();
    let mut row = vec![field("name")];
    row.extend(own);
    row.extend([field("version"), field("managed_by")]);
    row
}

/// For which hosts a certificate is, and until when.
fn certificate(spec: &Value) -> Option<(String, String)> {
    let chain = certificates_of_pem(spec.get("chain")?.as_str()?).ok()?;
    let facts = Facts::of(chain.first()?)?;
    let bare = |name: &String| {
        name.strip_prefix("dns:").or_else(|| name.strip_prefix("ip:")).map(str::to_owned)
    };
    let hosts: Vec<Value> =
        facts.alternative_names.iter().filter_map(bare).map(Value::from).collect();
    let end = jiff::Timestamp::from_second(facts.not_after).ok()?;
    Some((named(Some(&Value::Array(hosts)), |host| text(Some(host))), end.to_string()))
}

/// The name of one entry of a `policies` list; a set's is `@NAME`.
#[must_use]
fn policy_name(attachment: &Value) -> Option<String> {
    let (name, config) = attachment.as_object()?.iter().next()?;
    match (name.as_str(), config) {
        ("policy_set", Value::String(set)) => Some(format!("@{set}")),
        _ => Some(name.clone()),
    }
}

/// The first few of a list by their names, and how many more there are.
fn named(list: Option<&Value>, name: impl Fn(&Value) -> Option<String>) -> String {
    let Some(Value::Array(items)) = list else { return String::new() };
    let mut text = items.iter().take(NAMED).filter_map(name).collect::<Vec<_>>().join(", ");
    if items.len() > NAMED {
        text.push_str(&format!(" +{}", items.len() - NAMED));
    }
    text
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.lines().next().unwrap_or_default().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_has_as_many_cells_as_headings() {
        for kind in Kind::ALL {
            assert_eq!(
                row(kind, &json!({"name": "a", "spec": {}})).len(),
                header(kind).len(),
                "{kind}"
            );
        }
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let resource = json!({"name": "a", "spec": {"policies": [{"api_key": {}}, {"policy_set": "base"}, {"headers": {}}, {"rate_limit": {}}]}});
        assert_eq!(row(Kind::PolicySet, &resource)[1], "api_key, @base, headers +1");
    }
}
