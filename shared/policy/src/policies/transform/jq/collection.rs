//! Filters with names over lists and objects.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::call::rounded;
use super::evaluate::{Run, Stop, checked, error};
use super::filter::Notation;
use super::function::Function;
use super::value::{compare, sorted_names, type_name, weight, weight_of_text};

impl Run {
    pub(super) fn length(&mut self, function: Function, input: &Value) -> Result<Value, Stop> {
        Ok(match (function, input) {
            (_, Value::String(text)) => {
                self.spend(weight_of_text(text))?;
                match function {
                    Function::Utf8Length => Value::from(text.len()),
                    _ => Value::from(text.chars().count()),
                }
            }
            (Function::Length, Value::Null) => Value::from(0),
            (Function::Length, Value::Array(items)) => Value::from(items.len()),
            (Function::Length, Value::Object(fields)) => Value::from(fields.len()),
            (Function::Length, Value::Number(_)) => rounded(Function::Absolute, input)?,
            (_, other) => return error(format!("a {} has no length", type_name(other))),
        })
    }

    pub(super) fn keys(&mut self, function: Function, input: &Value) -> Result<Value, Stop> {
        match input {
            Value::Array(items) => {
                self.spend(items.len())?;
                Ok((0..items.len()).map(Value::from).collect())
            }
            Value::Object(fields) => {
                let texts: usize = fields.keys().map(|name| weight_of_text(name)).sum();
                self.spend(texts.saturating_mul(logarithm(fields.len())))?;
                Ok(match function {
                    Function::Keys => {
                        sorted_names(fields).into_iter().map(|name| name.as_str()).collect()
                    }
                    _ => fields.keys().map(String::as_str).collect(),
                })
            }
            other => error(format!("a {} has no keys", type_name(other))),
        }
    }

    pub(super) fn to_entries(&mut self, input: &Value) -> Result<Value, Stop> {
        let Value::Object(fields) = input else {
            return error(format!("a {} has no entries", type_name(input)));
        };
        self.spend(weight(input).saturating_add(fields.len().saturating_mul(8)))?;
        let entry = |(name, value): (&String, &Value)| {
            let entry = [("key", Value::from(name.as_str())), ("value", value.clone())];
            Value::Object(entry.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        };
        checked(Value::Array(fields.iter().map(entry).collect()))
    }

    pub(super) fn from_entries(&mut self, input: &Value) -> Result<Value, Stop> {
        let mut map = Map::new();
        for entry in self.items(input)? {
            let field = |names: [&str; 3]| names.iter().find_map(|name| entry.get(*name));
            let name = match field(["key", "k", "name"]) {
                Some(Value::String(name)) => name.clone(),
                Some(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => {
                    value.to_string()
                }
                Some(_) | None => return error("an entry has no key"),
            };
            self.spend(3)?;
            map.insert(name, field(["value", "v", "Value"]).cloned().unwrap_or_default());
        }
        Ok(Value::Object(map))
    }

    pub(super) fn flattened(&mut self, input: &Value, most: i64) -> Result<Value, Stop> {
        fn flatten(items: Vec<Value>, most: i64, flat: &mut Vec<Value>) {
            for item in items {
                match item {
                    Value::Array(items) if most > 0 => flatten(items, most - 1, flat),
                    other => flat.push(other),
                }
            }
        }
        let mut flat = Vec::new();
        flatten(self.list(input)?, most, &mut flat);
        Ok(Value::Array(flat))
    }

    pub(super) fn reversed(&mut self, input: &Value) -> Result<Value, Stop> {
        self.spend(weight(input))?;
        match input {
            Value::Null => Ok(Value::Array(Vec::new())),
            Value::Array(items) => Ok(items.iter().rev().cloned().collect()),
            Value::String(text) => Ok(Value::String(text.chars().rev().collect())),
            other => error(format!("a {} cannot be reversed", type_name(other))),
        }
    }

    /// All that depends on an order of keys.
    pub(super) fn ordered(
        &mut self,
        function: Function,
        mut keyed: Vec<(Value, Value)>,
    ) -> Result<Value, Stop> {
        let keys: usize = keyed.iter().map(|(key, _)| weight(key)).sum();
        self.spend(keys.saturating_mul(2 * logarithm(keyed.len())))?;
        // Stable: what is equal stays in its order.
        keyed.sort_by(|(left, _), (right, _)| compare(left, right));
        let is_same = |left: &(Value, Value), right: &(Value, Value)| {
            compare(&left.0, &right.0) == Ordering::Equal
        };
        let items = |keyed: Vec<(Value, Value)>| keyed.into_iter().map(|(_, item)| item);
        Ok(match function {
            Function::Unique | Function::UniqueBy => {
                keyed.dedup_by(|right, left| is_same(left, right));
                items(keyed).collect()
            }
            Function::Min | Function::MinBy => items(keyed).next().unwrap_or_default(),
            Function::Max | Function::MaxBy => items(keyed).next_back().unwrap_or_default(),
            Function::GroupBy => {
                let groups = keyed.chunk_by(is_same);
                let group = |group: &[(Value, Value)]| {
                    Value::Array(group.iter().map(|(_, item)| item.clone()).collect())
                };
                checked(groups.map(group).collect())?
            }
            _ => items(keyed).collect(),
        })
    }

    pub(super) fn joined(&mut self, input: &Value, separator: &str) -> Result<Value, Stop> {
        let items = self.list(input)?;
        self.spend(items.len().saturating_mul(weight_of_text(separator)))?;
        let mut texts = Vec::new();
        for item in items {
            texts.push(match item {
                Value::Null => String::new(),
                Value::Array(_) | Value::Object(_) => {
                    return error("an array or an object cannot be joined");
                }
                scalar => self.written(Notation::Text, &scalar)?,
            });
        }
        Ok(Value::String(texts.join(separator)))
    }
}

fn logarithm(number: usize) -> usize {
    usize::try_from(number.checked_ilog2().unwrap_or(0)).unwrap_or(0) + 1
}
