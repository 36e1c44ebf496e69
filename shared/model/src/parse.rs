//! How a text becomes a value that cannot be wrong: one trait, and its bridge to deserr.

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
    match value {
        Value::String(text) => T::from_text(&text).map_err(|rejected| {
            Issues::one(Issue::new(pointer(location), rejected.code, rejected.problem))
        }),
        // YAML reads `8080` or `1.5` as numbers where a text was meant: the text they were written as.
        Value::Integer(number) => text(Value::<V>::String(number.to_string()), location),
        other => Err(expected(T::EXPECTED, &other, location)),
    }
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
