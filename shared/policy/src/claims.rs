//! What a policy has verified of who calls, beside the application: the claims of a token, the
//! subject of a certificate.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};
use tollgate_model::certificate::Facts;

/// Statements about the caller whose origin is proven. Texts of the caller's own making never
/// stand here.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Whom they are about.
    pub subject: Option<Box<str>>,
    /// What the caller may do on the subject's behalf.
    pub scopes: Box<[Box<str>]>,
    /// Whose member the subject is.
    pub groups: Box<[Box<str>]>,
    /// All of them by name, as they were stated.
    pub all: Map<String, Value>,
}

impl Claims {
    /// A claim by its name; where none has that name, along its dots, as in `realm_access.roles`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        find(&self.all, name)
    }

    /// A claim as one text: a text, a number or a truth as it is, a list of such with commas between.
    /// None for all else, also for a list with a text that has a comma in it: whoever reads it would
    /// see more entries than were stated.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.get(name)? {
            Value::Array(items) => {
                let items: Option<Vec<Cow<'_, str>>> = items.iter().map(scalar).collect();
                let items = items.filter(|items| !items.iter().any(|item| item.contains(',')))?;
                Some(Cow::Owned(items.join(",")))
            }
            value @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_)) => scalar(value),
        }
    }
}

/// Looks a claim up, as [`Claims::get`] does.
pub(crate) fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let mut steps = name.split('.');
        let first = claims.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.as_object()?.get(step))
    })
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A client's certificate that an authority vouches for.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// What it says.
    pub facts: Facts,
    /// The same as claims; made once a connection.
    pub claims: Arc<Claims>,
}

impl ClientCertificate {
    /// A certificate with its claims.
    #[must_use]
    pub fn new(facts: Facts) -> Self {
        let all = [
            ("subject", Value::from(facts.subject.as_str())),
            ("names", Value::from(facts.alternative_names.clone())),
            ("fingerprint", Value::from(facts.fingerprint_text())),
        ];
        let claims = Claims {
            subject: Some(Box::from(facts.subject.as_str())),
            all: all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Claims::default()
        };
        Self { facts, claims: Arc::new(claims) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims() -> Claims {
        let all = json!({
            "sub": "ada", "n": 7, "yes": true, "list": ["a", 1], "comma": ["a,admin"], "deep": [["a"]],
            "realm_access": {"roles": ["x", "y"]}, "a.b": "whole", "a": {"b": "parts"}, "none": null,
        });
        let all = all.as_object().unwrap().clone();
        Claims { all, ..Claims::default() }
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_along_its_dots() {
        let claims = claims();
        assert_eq!(claims.get("realm_access.roles"), Some(&json!(["x", "y"])));
        assert_eq!(claims.get("a.b"), Some(&json!("whole")));
        for name in ["", ".", "a.", "a.b.c", "sub.x", "realm_access.", "other"] {
            assert_eq!(claims.get(name), None, "{name}");
        }
    }

    #[test]
    fn a_claim_is_a_text_where_nobody_can_read_it_in_two_ways() {
        let claims = claims();
        for (name, text) in [
            ("sub", Some("ada")),
            ("n", Some("7")),
            ("yes", Some("true")),
            ("list", Some("a,1")),
            ("realm_access.roles", Some("x,y")),
            ("comma", None),
            ("deep", None),
            ("none", None),
            ("realm_access", None),
        ] {
            assert_eq!(claims.text(name).as_deref(), text, "{name}");
        }
    }
}
