//! Values that a resource file names and does not hold: `from_env` and `from_file` of a Secret, and
//! those of a Certificate's chain and key.
//!
//! They are read where the command runs and sent as what they hold. Nothing here prints them.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use tollgate_model::Issues;

use crate::settings;

/// What stands for a value that is not looked up, where a file is only checked: long enough for a key, also as
/// base64.
const PLACEHOLDER: &str = "notLookedUpNotLookedUpNotLookedUpNotLookedUp";
/// The largest value, as in the model.
const MAX_BYTES: u64 = 65_536;

/// A field that holds a value, and those that say where it is.
type Sources = [&'static str; 3];

const SECRET: [Sources; 1] = [["value", "from_env", "from_file"]];
const CERTIFICATE: [Sources; 2] =
    [["chain", "chain_from_env", "chain_from_file"], ["key", "key_from_env", "key_from_file"]];

/// The values of a kind that may stand elsewhere.
fn values_of(document: &Value) -> &'static [Sources] {
    match document.get("kind").and_then(Value::as_str) {
        Some("Secret") => &SECRET,
        Some("Certificate") => &CERTIFICATE,
        _ => &[],
    }
}

/// Whether a document came out of `export` without what it seals: a Secret without its value, a
/// Certificate or a Credential without its key. It says nothing new about them.
#[must_use]
pub(crate) fn is_sealed(document: &Value) -> bool {
    let spec = document.get("spec");
    let field = |name: &str| spec.and_then(|spec| spec.get(name));
    match document.get("kind").and_then(Value::as_str) {
        // The sealed value is the last of its kind's.
        Some("Secret" | "Certificate") => {
            let sources = values_of(document).last().into_iter().flatten();
            field("sealed") == Some(&Value::Bool(true))
                && sources.into_iter().all(|source| field(source).is_none())
        }
        Some("Credential") => {
            let is_marked = |proof: Option<&Value>, mark: &str| {
                proof.and_then(Value::as_object).is_some_and(|proof| {
                    proof.contains_key(mark)
                        && !proof.contains_key("value")
                        && !proof.contains_key("hash")
                })
            };
            let password = field("basic").and_then(|basic| basic.get("password"));
            is_marked(field("api_key"), "hint") || is_marked(password, "sealed")
        }
        _ => false,
    }
}

/// Puts a placeholder in the place of what is sealed, for checks that do not need the value.
pub(crate) fn unseal(document: &mut Value) {
    if !is_sealed(document) {
        return;
    }
    if values_of(document).len() == CERTIFICATE.len() {
        return unseal_certificate(document);
    }
    if let Some(Value::Object(spec)) = document.get_mut("spec") {
        let placeholder = json!({ "value": PLACEHOLDER });
        let password = spec.get_mut("basic").and_then(|basic| basic.get_mut("password"));
        if let Some(password) = password {
            *password = placeholder;
            return;
        }
        match spec.get_mut("api_key") {
            Some(key) => *key = placeholder,
            None => {
                spec.shift_remove("sealed");
                spec.insert("value".to_owned(), PLACEHOLDER.into());
            }
        }
    }
}

/// No other key belongs to the chain that is shown, and so both are replaced.
fn unseal_certificate(document: &mut Value) {
    let Ok(made) = rcgen::generate_simple_self_signed(["not-looked-up.invalid".to_owned()]) else {
        return;
    };
    if let Some(Value::Object(spec)) = document.get_mut("spec") {
        for source in CERTIFICATE.iter().flatten().chain(&["sealed"]) {
            spec.shift_remove(*source);
        }
        spec.insert("chain".to_owned(), made.cert.pem().into());
        spec.insert("key".to_owned(), made.signing_key.serialize_pem().into());
    }
}

/// Puts the value in the place of `from_env` or `from_file`. `folder` is where paths start from.
pub(crate) fn resolve(document: &mut Value, folder: &Path) -> Result<(), Issues> {
    replace(document, |source, name| match source {
        _ if source.ends_with("from_env") => settings::secret_variable(name).ok_or_else(|| {
            (
                "variable_not_set",
                format!(
                    "the variable `{}` is not set here; set it, or give `value`",
                    name.escape_debug()
                ),
            )
        }),
        _ => read_file(&folder.join(name))
            .map_err(|problem| ("file_not_read", format!("`{}` {problem}", name.escape_debug()))),
    })
}

/// Puts a placeholder in the place of every value that is not there, for checks that look nothing up.
pub(crate) fn placehold(document: &mut Value) -> Result<(), Issues> {
    unseal(document);
    replace(document, |_, _| Ok(PLACEHOLDER.to_owned()))?;
    let is_elsewhere = CERTIFICATE.iter().any(|[field, ..]| {
        let at = format!("/spec/{field}");
        document.pointer(&at).and_then(Value::as_str) == Some(PLACEHOLDER)
    });
    if is_elsewhere && values_of(document).len() == CERTIFICATE.len() {
        unseal_certificate(document);
    }
    Ok(())
}

fn replace(
    document: &mut Value,
    look_up: impl Fn(&str, &str) -> Result<String, (&'static str, String)>,
) -> Result<(), Issues> {
    let values = values_of(document);
    let Some(Value::Object(spec)) = document.get_mut("spec") else { return Ok(()) };
    let mut issues = Issues::default();
    for sources in values {
        let [field, ..] = sources;
        let given: Vec<&str> =
            sources.iter().copied().filter(|source| spec.contains_key(*source)).collect();
        match given.as_slice() {
            [source] if source != field => put_value(spec, field, source, (&look_up, &mut issues)),
            [first, second, ..] => issues.add(
                format!("/spec/{second}"),
                "two_sources",
                format!("`{first}` says what it is already; give one of {}", sources.join(", ")),
            ),
            _ => {}
        }
    }
    issues.into_result(())
}

fn put_value<F>(
    spec: &mut Map<String, Value>,
    field: &str,
    source: &str,
    (look_up, issues): (&F, &mut Issues),
) where
    F: Fn(&str, &str) -> Result<String, (&'static str, String)>,
{
    let at = format!("/spec/{source}");
    let Some(Value::String(name)) = spec.get(source) else {
        return issues.add(at, "wrong_type", "is not a text; give a name");
    };
    // The system takes neither in a name, and asking for one would end the program.
    if name.is_empty() || name.contains(['=', '\0']) {
        return issues.add(at, "invalid_name", "is not the name of a variable or file; give one");
    }
    match look_up(source, name) {
        Ok(value) if value.is_empty() => {
            issues.add(at, "empty_secret", format!("`{}` is empty", name.escape_debug()));
        }
        Ok(value) => {
            spec.shift_remove(source);
            spec.insert(field.to_owned(), Value::String(value));
        }
        Err((code, problem)) => issues.add(at, code, problem),
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !size.is_file() {
        return Err("is not a file".to_owned());
    }
    if size.len() > MAX_BYTES + 2 {
        return Err("is larger than 65,536 bytes".to_owned());
    }
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let bare = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
    Ok(bare.unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(spec: Value) -> Value {
        json!({"kind": "Secret", "name": "s", "spec": spec})
    }

    #[test]
    fn a_file_is_read_beside_the_resource_file_and_loses_one_line_end() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "sk-1\n\r\n").unwrap();
        let mut document = secret(json!({"from_file": "key"}));
        resolve(&mut document, folder.path()).unwrap();
        assert_eq!(document["spec"], json!({"value": "sk-1\n"}));
    }

    #[test]
    fn chain_and_key_of_a_certificate_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("c"), "CHAIN\n").unwrap();
        fs::write(folder.path().join("k"), "KEY\n").unwrap();
        let of = |spec: Value| json!({"kind": "Certificate", "name": "c", "spec": spec});
        let mut document = of(json!({"chain_from_file": "c", "key_from_file": "k"}));
        resolve(&mut document, folder.path()).unwrap();
        assert_eq!(document["spec"], json!({"chain": "CHAIN", "key": "KEY"}));
        let mut document = of(json!({"chain": "C", "chain_from_env": "C", "key": "K"}));
        let issues = resolve(&mut document, folder.path()).unwrap_err();
        assert_eq!(
            (issues.0[0].at.as_str(), issues.0[0].code.as_str()),
            ("/spec/chain_from_env", "two_sources")
        );
        let mut document = of(json!({"chain_from_file": "nowhere", "key_from_env": "NOTHING"}));
        placehold(&mut document).unwrap();
        tollgate_model::Spec::parse(tollgate_model::Kind::Certificate, &document["spec"]).unwrap();
        assert!(is_sealed(&of(json!({"chain": "C", "sealed": true}))));
        assert!(!is_sealed(&of(json!({"chain": "C", "key": "K", "sealed": true}))));
    }

    #[test]
    fn what_cannot_be_looked_up_is_an_issue_at_its_place() {
        for (spec, at, code) in [
            (json!({"from_env": "TOLLGATE_TEST_NOT_SET"}), "/spec/from_env", "variable_not_set"),
            (json!({"from_env": "A=B"}), "/spec/from_env", "invalid_name"),
            (json!({"from_env": 1}), "/spec/from_env", "wrong_type"),
            (json!({"from_file": "/nowhere/key"}), "/spec/from_file", "file_not_read"),
            (json!({"from_file": "."}), "/spec/from_file", "file_not_read"),
            (json!({"value": "x", "from_env": "HOME"}), "/spec/from_env", "two_sources"),
        ] {
            let mut document = secret(spec);
            let issues = resolve(&mut document, Path::new("/")).unwrap_err();
            assert_eq!((issues.0[0].at.as_str(), issues.0[0].code.as_str()), (at, code));
        }
    }

    #[test]
    fn only_what_export_sealed_is_sealed() {
        assert!(is_sealed(&secret(json!({"sealed": true, "description": "d"}))));
        assert!(!is_sealed(&secret(json!({"sealed": true, "value": "v"}))));
        assert!(!is_sealed(&secret(json!({}))));
        let credential = |key: Value| json!({"kind": "Credential", "spec": {"application": "a", "api_key": key}});
        assert!(is_sealed(&credential(json!({"hint": "sk-s"}))));
        assert!(!is_sealed(&credential(json!({"value": "sk-shop-0001"}))));
        let basic = |password: Value| json!({"kind": "Credential", "spec": {"application": "a", "basic": {"username": "web", "password": password}}});
        assert!(is_sealed(&basic(json!({"sealed": true}))));
        assert!(!is_sealed(&basic(json!({"value": "correct horse"}))));
        let mut document = basic(json!({"sealed": true}));
        unseal(&mut document);
        assert_eq!(document, basic(json!({"value": PLACEHOLDER})));
    }
}
