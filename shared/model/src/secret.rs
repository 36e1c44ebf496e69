//! Values that are written and never read back.

use std::fmt;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use zeroize::Zeroizing;

use crate::issue::Issues;
use crate::parse::{FromText, Rejected, deserr_text};

/// A text that must not be seen: no `Debug` of it, no `Serialize`, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes a text into safekeeping.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Never log what this returns.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretText(…)")
    }
}

impl FromText for SecretText {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        if text.is_empty() || text.len() > 65_536 {
            return Err(Rejected::new("invalid_secret", "give a text of 1 to 65,536 bytes"));
        }
        Ok(Self::new(text.to_owned()))
    }
}

impl JsonSchema for SecretText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true, "minLength": 1, "maxLength": 65536 })
    }
}

/// A secret: `value`, or one of `from_env` and `from_file`, which the CLI reads where it runs and
/// sends as a value.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Secret {
    /// For people.
    pub description: Option<String>,
    /// The secret itself.
    #[schemars(with = "Option<SecretText>")]
    pub value: SecretText,
    /// The CLI's environment variable that holds it.
    #[schemars(with = "Option<String>")]
    from_env: (),
    /// The file, beside the CLI, that holds it; one line end at its end is dropped.
    #[schemars(with = "Option<String>")]
    from_file: (),
}

/// A secret as it may be written.
#[derive(Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct Written {
    #[deserr(default)]
    description: Option<String>,
    #[deserr(default)]
    value: Option<SecretText>,
    #[deserr(default)]
    from_env: Option<String>,
    #[deserr(default)]
    from_file: Option<String>,
}

impl Deserr<Issues> for Secret {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let written = Written::deserialize_from_value(value, location)?;
        let place = crate::issue::pointer(location);
        let mut issues = Issues::default();
        for (field, given) in [("from_env", &written.from_env), ("from_file", &written.from_file)] {
            if given.is_some() {
                issues.add(
                    format!("{place}/{field}"),
                    "unresolved_secret",
                    format!("`{field}` is read by the CLI where it runs; send the `value` itself"),
                );
            }
        }
        match written.value {
            Some(value) => issues.into_result(Self {
                description: written.description,
                value,
                from_env: (),
                from_file: (),
            }),
            None => {
                if issues.0.is_empty() {
                    issues.add(
                        place,
                        "missing_field",
                        "`value` is missing; add it, or `from_env` or `from_file`",
                    );
                }
                Err(issues)
            }
        }
    }
}

deserr_text!(SecretText);
