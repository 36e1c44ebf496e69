//! How a text becomes a value that cannot be wrong: one trait, and its bridge to deserr.

use std::borrow::Cow;
use std::collections::BTreeMap;

use deserr::{DeserializeError, Deserr, ErrorKind, IntoValue, Value, ValueKind, ValuePointerRef};

use crate::issue::{Issue, Issues, pointer};

/// Why a text was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Rejected {
    /// The stable code of the issue.
    pub code: &'static str,
    /// What is wrong and how to mend it.
    pub problem: String,
}

impl Rejected {
    /// A refusal with its code and its sentence.
    pub fn new(code: &'static str, problem: impl Into<String>) -> Self {
        Self { code, problem: problem.into() }
    }
}

/// A value written as one string.
pub trait FromText: Sized {
    /// What to give, for the message on a value of another type: `a name`, `a duration such as 10s`.
    const EXPECTED: &'static str;

    /// Parses the text.
    ///
    /// # Errors
    ///
    /// Why the text is not one.
    fn from_text(text: &str) -> Result<Self, Rejected>;
}

/// Parses a deserr value through [`FromText`]; the body of every `Deserr` of a text type.
///
/// # Errors
///
/// The one issue, at its place.
pub fn text<T: FromText, V: IntoValue>(
    value: Value<V>,
    location: ValuePointerRef<'_>,
) -> Result<T, Issues> {
    // YAML reads `8080` as a number where a text was meant: the text that it was written as.
    let text = match &value {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        Value::Integer(number) => Cow::Owned(number.to_string()),
        Value::Null
        | Value::Boolean(_)
        | Value::NegativeInteger(_)
        | Value::Float(_)
        | Value::Sequence(_)
        | Value::Map(_) => return Err(expected(T::EXPECTED, &value, location)),
    };
    T::from_text(&text).map_err(|rejected| {
        Issues::one(Issue::new(pointer(location), rejected.code, rejected.problem))
    })
}

/// The issue of a value that is of another type than `what`.
pub fn expected<V: IntoValue>(
    what: &str,
    actual: &Value<V>,
    location: ValuePointerRef<'_>,
) -> Issues {
    let is = match actual.kind() {
        ValueKind::Null => "null",
        ValueKind::Boolean => "true or false",
        ValueKind::Integer | ValueKind::NegativeInteger | ValueKind::Float => "a number",
        ValueKind::String => "a string",
        ValueKind::Sequence => "a list",
        ValueKind::Map => "a mapping",
    };
    Issues::one(Issue::new(pointer(location), "wrong_type", format!("is {is}; give {what}")))
}

/// Parses any JSON value into `T`, with every issue at its pointer.
///
/// # Errors
///
/// Every issue that was found.
pub fn value<T: Deserr<Issues>>(json: &serde_json::Value) -> Result<T, Issues> {
    deserr::deserialize::<T, _, Issues>(json.clone())
}

/// Reports a fault where a whole value is wrong, in the manner of deserr.
pub fn reject(location: ValuePointerRef<'_>, message: String) -> Issues {
    deserr::take_cf_content(Issues::error::<serde_json::Value>(
        None,
        ErrorKind::Unexpected { msg: message },
        location,
    ))
}

/// A mapping, with every fault of its keys and values.
///
/// deserr's own reading of a `BTreeMap` forgets the faults that it finds, and the entries with them.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping<K, V>(pub BTreeMap<K, V>);

impl<K, V> Mapping<K, V> {
    /// The map itself.
    #[must_use]
    pub fn into_inner(self) -> BTreeMap<K, V> {
        self.0
    }
}

impl<K: FromText + Ord, T: Deserr<Issues>> Deserr<Issues> for Mapping<K, T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let Value::Map(map) = value else {
            return Err(expected("a mapping", &value, location));
        };
        let (mut entries, mut issues) = (BTreeMap::new(), Issues::default());
        for (name, value) in deserr::Map::into_iter(map) {
            let at = location.push_key(&name);
            let value = T::deserialize_from_value(value.into_value(), at);
            match (K::from_text(&name), value) {
                (Ok(key), Ok(value)) => {
                    if entries.insert(key, value).is_some() {
                        issues.add(
                            pointer(at),
                            "duplicate_key",
                            "stands here in another spelling already; give it once",
                        );
                    }
                }
                (key, value) => {
                    if let Err(rejected) = key {
                        issues.add(pointer(at), rejected.code, rejected.problem);
                    }
                    issues.0.extend(value.err().into_iter().flat_map(|of_value| of_value.0));
                }
            }
        }
        issues.into_result(Self(entries))
    }
}

impl FromText for String {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        Ok(text.to_owned())
    }
}

/// A JSON value as it stands, where the reader of it comes later (the configuration of a policy).
#[derive(Clone, Debug, PartialEq)]
pub struct Raw(pub serde_json::Value);

impl Deserr<Issues> for Raw {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        _location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        Ok(Self(value.into()))
    }
}

/// Implements `Deserr<Issues>` and a string schema for types with [`FromText`].
macro_rules! deserr_text {
    ($($type:ty),+ $(,)?) => {$(
        impl deserr::Deserr<$crate::issue::Issues> for $type {
            fn deserialize_from_value<V: deserr::IntoValue>(
                value: deserr::Value<V>,
                location: deserr::ValuePointerRef<'_>,
            ) -> Result<Self, $crate::issue::Issues> {
                $crate::parse::text(value, location)
            }
        }
    )+};
}
pub(crate) use deserr_text;

/// Gives a text type the JSON schema of a string with a description.
macro_rules! text_schema {
    ($type:ty, $name:literal, $description:literal) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $description })
            }
        }
    };
}
pub(crate) use text_schema;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::route::FieldName;

    #[test]
    fn every_fault_of_a_mapping_is_found_and_none_of_its_entries_is_lost() {
        let mapping: Mapping<FieldName, u8> = value(&json!({"x-a": 1, "X-B": 2})).unwrap();
        assert_eq!(mapping.0.len(), 2);
        let issues =
            value::<Mapping<FieldName, u8>>(&json!({"x-a": "1", "x b": -2, "x-c": 3, "X-C": 4}))
                .unwrap_err();
        let found: Vec<(&str, &str)> =
            issues.0.iter().map(|issue| (issue.at.as_str(), issue.code.as_str())).collect();
        assert_eq!(
            found,
            [
                ("/x-a", "wrong_type"),
                ("/x b", "invalid_header_name"),
                ("/x b", "wrong_type"),
                ("/X-C", "duplicate_key"),
            ]
        );
        assert_eq!(
            value::<Mapping<FieldName, u8>>(&json!([])).unwrap_err().0[0].code,
            "wrong_type"
        );
    }
}
