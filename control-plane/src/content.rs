//! The four forms of a resource's content, and the only file that knows all of them:
//!
//! | form | a Secret's value, a Certificate's key | a Credential's key | a Credential's password | where |
//! | --- | --- | --- | --- | --- |
//! | given | in clear | in clear, or its hash | in clear, or its hash | what an operator sends |
//! | run | in clear | hash and hint | hash | in memory and on the stream |
//! | kept | sealed | hash and hint | hash | the store: resources and change log |
//! | shown | `sealed: true` | hint | `sealed: true` | every answer of the admin API |
//!
//! A Credential's certificate or signature is the same in all of them: nothing of it is secret.
//!
//! A content in the store is `{"labels"?: {…}, "spec": {…}}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tollgate_model::certificate::Certificate;
use tollgate_model::credential::{Credential, KeyHash};
use tollgate_model::{Document, Issue, Issues, Kind, ResourceId, Spec};
use tollgate_policy::Checked;
use tollgate_policy::check::check;

use crate::live::Entry;
use crate::seal::{ClusterKeys, SealError, Sealer};
use crate::store::StoreError;

/// The most bytes of one specification.
pub const SPEC_BYTES: usize = 1 << 20;
/// The most characters of a key that are shown, and the largest part of it.
const HINT_CHARS: usize = 7;
const HINT_PART: usize = 4;

/// Marks for finding a resource.
pub type Labels = BTreeMap<String, String>;

/// A resource that is fit to run, not yet committed.
pub(crate) struct Candidate {
    pub(crate) id: ResourceId,
    pub(crate) labels: Labels,
    /// Its version is 0 before it is committed.
    pub(crate) checked: Checked,
    /// The specification as nodes get it.
    pub(crate) sent: Arc<str>,
    /// The specification as the store keeps it.
    pub(crate) kept: Arc<str>,
}

/// Why a content is not fit to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error(transparent)]
    Faults(#[from] Issues),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Turns contents from one form into another.
#[derive(Clone)]
pub(crate) struct Contents {
    sealer: Arc<Sealer>,
    keys: Arc<ClusterKeys>,
}

impl Contents {
    pub(crate) fn new(sealer: Arc<Sealer>, keys: Arc<ClusterKeys>) -> Self {
        Self { sealer, keys }
    }

    /// From what an operator gave. `held` fills in what was shown sealed and came back so.
    pub(crate) fn given(
        &self,
        mut document: Document,
        held: Option<&Entry>,
    ) -> Result<Candidate, ContentError> {
        fill_in(&mut document, held);
        let mut checked = check(&document, 0)?;
        let mut kept = None;
        let id = document.id.clone();
        match &checked.spec {
            Spec::Secret(secret) => {
                let value = secret.value.expose();
                let sealed = self.sealer.seal(&seal_context(&id), value.as_bytes())?;
                kept = Some(with_field(&document.spec, "value", "sealed", sealed.into()));
                // A number was taken for the text that it was written as: nodes get the text.
                let run = with_field(&document.spec, "value", "value", value.into());
                if run != document.spec {
                    document.spec = run;
                    checked = check(&document, 0)?;
                }
            }
            Spec::Certificate(certificate) => {
                refuse_expired(certificate, held)?;
                let key = certificate.key.expose();
                let sealed = self.sealer.seal(&seal_context(&id), key.as_bytes())?;
                kept = Some(with_field(&document.spec, "key", "sealed", sealed.into()));
            }
            Spec::Credential(credential) => {
                if let Some(hashed) = self.hashed(&document, credential)? {
                    document.spec = hashed;
                    checked = check(&document, 0)?;
                }
            }
            Spec::Tenant(_)
            | Spec::Gateway(_)
            | Spec::Upstream(_)
            | Spec::PolicySet(_)
            | Spec::Api(_)
            | Spec::Application(_) => {}
        }
        let sent: Arc<str> = Arc::from(document.spec.to_string());
        if sent.len() > SPEC_BYTES {
            let problem =
                format!("is {} bytes; a specification has at most {SPEC_BYTES}", sent.len());
            return Err(Issues::one(Issue::new("/spec", "too_large", problem)).into());
        }
        let kept = kept.map_or_else(|| Arc::clone(&sent), |kept| Arc::from(kept.to_string()));
        Ok(Candidate { id, labels: document.labels, checked, sent, kept })
    }

    /// The specification of a credential with hashes in the place of what was given in clear; none
    /// where nothing was.
    fn hashed(
        &self,
        document: &Document,
        credential: &Credential,
    ) -> Result<Option<Value>, ContentError> {
        if let Some(value) = credential.api_key.as_ref().and_then(|key| key.value.as_ref()) {
            let key = value.expose();
            let hash = KeyHash(self.keys.hash_api_key(key)).to_string();
            let hashed = json!({ "hash": hash, "hint": hint(key) });
            return Ok(Some(with_field(&document.spec, "api_key", "api_key", hashed)));
        }
        let Some(basic) = &credential.basic else { return Ok(None) };
        let Some(value) = &basic.password.value else { return Ok(None) };
        let hash = self.keys.hash_password(&document.id.to_string(), value.expose())?;
        let password = json!({ "hash": hash.to_string() });
        Ok(Some(with_password(&document.spec, password)))
    }

    /// From a content as the store keeps it.
    pub(crate) fn kept(&self, id: ResourceId, content: &Value) -> Result<Candidate, ContentError> {
        let damaged = |why: &'static str| StoreError::corrupt(id.to_string(), why);
        let spec = content.get("spec").ok_or_else(|| damaged("it has no specification"))?;
        let labels: Labels = match content.get("labels") {
            None => Labels::new(),
            Some(labels) => serde_json::from_value(labels.clone())
                .map_err(|error| StoreError::corrupt(format!("labels of {id}"), error))?,
        };
        let run = match (sealed_field(id.kind), spec.get("sealed").and_then(Value::as_str)) {
            (Some(field), Some(sealed)) => {
                let opened = self.sealer.open(&seal_context(&id), sealed)?;
                let text = str::from_utf8(&opened)
                    .map_err(|error| StoreError::corrupt(id.to_string(), error))?;
                with_field(spec, "sealed", field, text.into())
            }
            _ => spec.clone(),
        };
        let kept: Arc<str> = Arc::from(spec.to_string());
        let sent = if run == *spec { Arc::clone(&kept) } else { Arc::from(run.to_string()) };
        let document = Document { id: id.clone(), labels, spec: run };
        let checked = check(&document, 0)?;
        Ok(Candidate { id, labels: document.labels, checked, sent, kept })
    }
}

/// The content as the store keeps it.
pub(crate) fn to_store(labels: &Labels, kept_spec: &str) -> Result<Value, StoreError> {
    let spec: Value = serde_json::from_str(kept_spec)
        .map_err(|error| StoreError::corrupt("a specification in memory", error))?;
    let mut content = Map::new();
    if !labels.is_empty() {
        content.insert("labels".to_owned(), json!(labels));
    }
    content.insert("spec".to_owned(), spec);
    Ok(Value::Object(content))
}

/// The document that people see of a content as the store keeps it.
pub(crate) fn shown(id: &ResourceId, content: &Value) -> Value {
    shown_by_name(id.kind.name(), id.tenant.as_str(), id.name.as_str(), content)
}

/// As [`shown`], for a kind that this version may not know.
pub(crate) fn shown_by_name(kind: &str, tenant: &str, name: &str, content: &Value) -> Value {
    let mut document = Map::new();
    document.insert("kind".to_owned(), kind.into());
    if !Kind::from_name(kind).is_some_and(Kind::is_platform) {
        document.insert("tenant".to_owned(), tenant.into());
    }
    document.insert("name".to_owned(), name.into());
    if let Some(labels) = content.get("labels") {
        document.insert("labels".to_owned(), labels.clone());
    }
    let spec = content.get("spec").unwrap_or(&Value::Null);
    document.insert("spec".to_owned(), shown_spec(kind, spec));
    Value::Object(document)
}

fn shown_spec(kind: &str, spec: &Value) -> Value {
    match Kind::from_name(kind) {
        Some(Kind::Secret | Kind::Certificate) => with_field(spec, "sealed", "sealed", true.into()),
        Some(Kind::Credential) if spec.get("basic").is_some() => {
            with_password(spec, json!({ "sealed": true }))
        }
        Some(Kind::Credential) => {
            let hint = spec.pointer("/api_key/hint").cloned().unwrap_or(Value::Null);
            with_field(spec, "api_key", "api_key", json!({ "hint": hint }))
        }
        _ => spec.clone(),
    }
}

/// Whether a document holds a sealed place in the stead of a value, as it was shown.
pub(crate) fn needs_held(document: &Document) -> bool {
    let spec = &document.spec;
    if let Some(field) = sealed_field(document.id.kind) {
        return spec.get("sealed") == Some(&Value::Bool(true)) && spec.get(field).is_none();
    }
    match document.id.kind {
        Kind::Credential => {
            is_sealed(spec.get("api_key"), "hint")
                || is_sealed(spec.pointer("/basic/password"), "sealed")
        }
        Kind::Tenant
        | Kind::Certificate
        | Kind::Gateway
        | Kind::Secret
        | Kind::Upstream
        | Kind::PolicySet
        | Kind::Api
        | Kind::Application => false,
    }
}

/// Whether a proof is there by its mark alone.
fn is_sealed(proof: Option<&Value>, mark: &str) -> bool {
    proof.and_then(Value::as_object).is_some_and(|proof| {
        proof.contains_key(mark) && !proof.contains_key("value") && !proof.contains_key("hash")
    })
}

fn fill_in(document: &mut Document, held: Option<&Entry>) {
    if !needs_held(document) {
        return;
    }
    let Some(held) = held.and_then(|held| serde_json::from_str::<Value>(&held.sent).ok()) else {
        return;
    };
    if let Some(password) = held.pointer("/basic/password")
        && is_sealed(document.spec.pointer("/basic/password"), "sealed")
    {
        document.spec = with_password(&document.spec, password.clone());
        return;
    }
    let (from, field) = match sealed_field(document.id.kind) {
        Some(field) => ("sealed", field),
        None => ("api_key", "api_key"),
    };
    if let Some(value) = held.get(field) {
        document.spec = with_field(&document.spec, from, field, value.clone());
    }
}

/// The object with the field `from`, where it has one, replaced by `to` in the same place: the order of
/// fields is part of what digests are made of.
fn with_field(object: &Value, from: &str, to: &str, value: Value) -> Value {
    let Value::Object(object) = object else { return object.clone() };
    let replaced = object.iter().map(|(name, old)| {
        if name == from { (to.to_owned(), value.clone()) } else { (name.clone(), old.clone()) }
    });
    Value::Object(replaced.collect())
}

/// The specification of a credential with another password.
fn with_password(spec: &Value, password: Value) -> Value {
    let basic = spec.get("basic").unwrap_or(&Value::Null);
    let basic = with_field(basic, "password", "password", password);
    with_field(spec, "basic", "basic", basic)
}

/// The field of a kind that is sealed where it is kept.
fn sealed_field(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Secret => Some("value"),
        Kind::Certificate => Some("key"),
        Kind::Tenant
        | Kind::Gateway
        | Kind::Upstream
        | Kind::PolicySet
        | Kind::Api
        | Kind::Application
        | Kind::Credential => None,
    }
}

/// No client takes an expired certificate. One that expired where it stands is another matter: what
/// it is part of can still be changed.
fn refuse_expired(certificate: &Certificate, held: Option<&Entry>) -> Result<(), Issues> {
    let is_held = held.is_some_and(|held| {
        matches!(&held.checked.spec, Spec::Certificate(held) if held.chain == certificate.chain)
    });
    let end = certificate.facts.not_after;
    if is_held || end > Timestamp::now().as_second() {
        return Ok(());
    }
    let end = Timestamp::from_second(end).map_or_else(|_| end.to_string(), |end| end.to_string());
    let problem = format!("the first certificate expired at {end}; renew it");
    Err(Issues::one(Issue::new("/spec/chain", "expired", problem)))
}

fn seal_context(id: &ResourceId) -> String {
    let kind = if id.kind == Kind::Certificate { "certificate" } else { "secret" };
    format!("{kind}/{}/{}", id.tenant, id.name)
}

/// The first characters of a key, so that people recognise it; never enough of it to guess the rest.
fn hint(key: &str) -> &str {
    key.get(..HINT_CHARS.min(key.len() / HINT_PART)).unwrap_or_default()
}

/// One place where two documents differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// JSON pointer to the place.
    pub at: String,
    /// What was there; none: nothing.
    pub before: Option<Value>,
    /// What is there; none: nothing.
    pub after: Option<Value>,
}

/// The places where two shown documents differ, in the order of the documents.
pub(crate) fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    for field in ["labels", "spec"] {
        compare(&format!("/{field}"), before.get(field), after.get(field), &mut found);
    }
    found
}

fn compare(at: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|name| !old.contains_key(*name));
            for name in old.keys().chain(added) {
                let at = format!("{at}/{}", tollgate_model::issue::escape(name));
                compare(&at, old.get(name), new.get(name), found);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for i in 0..old.len().max(new.len()) {
                compare(&format!("{at}/{i}"), old.get(i), new.get(i), found);
            }
        }
        (before, after) => found.push(Difference {
            at: at.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_never_enough_to_guess_the_rest() {
        assert_eq!(hint("tg_abcdefgh_0123456789012345678901234567890"), "tg_abcd");
        assert_eq!(hint("sk-shop-0001"), "sk-");
        assert_eq!(hint("12345678"), "12");
    }

    #[test]
    fn differences_are_named_by_pointer() {
        let before = json!({"spec": {"a": {"x": 1, "y/z": 2}, "list": [1, 2], "gone": true}});
        let after =
            json!({"labels": {"team": "a"}, "spec": {"a": {"x": 1, "y/z": 3}, "list": [1, 2, 3]}});
        let found = differences(&before, &after);
        let places: Vec<&str> = found.iter().map(|difference| difference.at.as_str()).collect();
        assert_eq!(places, ["/labels", "/spec/a/y~1z", "/spec/list/2", "/spec/gone"]);
        assert_eq!(found[2].before, None);
        assert_eq!(found[2].after, Some(json!(3)));
        assert!(differences(&before, &before).is_empty());
    }

    #[test]
    fn what_is_shown_has_neither_value_nor_hash() {
        let secret = json!({"spec": {"description": "d", "sealed": "v1:abc"}});
        let text = shown_by_name("Secret", "default", "s", &secret).to_string();
        assert_eq!(
            text,
            r#"{"kind":"Secret","tenant":"default","name":"s","spec":{"description":"d","sealed":true}}"#
        );
        let credential =
            json!({"spec": {"application": "a", "api_key": {"hash": "00ff", "hint": "sk-"}}});
        let certificate = json!({"spec": {"chain": "PEM", "sealed": "v1:abc"}});
        let text = shown_by_name("Certificate", "default", "c", &certificate).to_string();
        assert!(text.contains(r#""chain":"PEM","sealed":true"#) && !text.contains("v1:abc"));
        let text = shown_by_name("Credential", "default", "c", &credential).to_string();
        assert!(!text.contains("00ff") && text.contains(r#""api_key":{"hint":"sk-"}"#));
        let credential =
            json!({"spec": {"basic": {"username": "web", "password": {"hash": "argon2id$00ff"}}}});
        let text = shown_by_name("Credential", "default", "c", &credential).to_string();
        assert!(!text.contains("00ff"));
        assert!(text.contains(r#""basic":{"username":"web","password":{"sealed":true}}"#));
    }
}
