//! Policies where they are attached: a name and what the operator wrote for it, or a set by reference.

use std::borrow::Cow;

use deserr::{Deserr, IntoValue, Map, Value, ValuePointerRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::id::Name;
use crate::issue::Issues;
use crate::parse::{self, expected};

/// One entry of a `policies` list: `api_key: {…}`, or `policy_set: NAME`.
#[derive(Clone, Debug, PartialEq)]
pub enum Attachment {
    /// A policy and its configuration, which `tollgate_policy` reads.
    Policy {
        /// The policy's name, such as `rate_limit`.
        name: String,
        /// What the operator wrote for it.
        config: serde_json::Value,
    },
    /// All policies of a set of the same tenant.
    Set(Name),
}

impl Deserr<Issues> for Attachment {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        const ONE_ENTRY: &str = "a mapping with one entry: the policy's name and its configuration";
        let Value::Map(map) = value else {
            return Err(expected(ONE_ENTRY, &value, location));
        };
        let mut entries = map.into_iter();
        let (Some((name, inner)), None) = (entries.next(), entries.next()) else {
            return Err(parse::reject(location, format!("give {ONE_ENTRY}")));
        };
        let inner = inner.into_value();
        if name == "policy_set" {
            return parse::text(inner, location.push_key(&name)).map(Self::Set);
        }
        // `- api_key:` with nothing behind it is the policy with its defaults.
        let config = if let Value::Null = inner {
            serde_json::Value::Object(serde_json::Map::new())
        } else {
            inner.into()
        };
        Ok(Self::Policy { name, config })
    }
}

impl JsonSchema for Attachment {
    fn schema_name() -> Cow<'static, str> {
        "Attachment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object", "minProperties": 1, "maxProperties": 1,
            "description": "One policy by its name with its configuration, or `policy_set: NAME`.",
            "properties": { "policy_set": { "type": "string" } }
        })
    }
}
