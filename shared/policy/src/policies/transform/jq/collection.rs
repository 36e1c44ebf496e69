//! Filters with names over lists and objects.

use serde_json::{Map, Value};

use super::call::rounded;
use super::evaluate::{Run, Stop, error};
use super::filter::Notation;
use super::function::Function;
use super::value::{sorted_names, type_name, weight, weight_of_text};

/// A value behind what it is ordered by.
type Keyed = (Value, Value);

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

    pub(super) fn entries(&mut self, input: &Value) -> Result<Value, Stop> {
        let Value::Object(fields) = input else {
            return error(format!("a {} has no entries", type_name(input)));
        };
        self.spend(weight(input).saturating_add(fields.len().saturating_mul(8)))?;
        let entry = |(name, value): (&String, &Value)| {
            let entry = [("key", Value::from(name.as_str())), ("value", value.clone())];
            Value::Object(entry.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        };
        self.checked(Value::Array(fields.iter().map(entry).collect()))
    }

    pub(super) fn of_entries(&mut self, input: &Value) -> Result<Value, Stop> {
        let mut map = Map::new();
        for entry in self.items(input)? {
            let field = |names: [&str; 3]| names.iter().find_map(|name| entry.get(*name));
            let name = match field(["key", "k", "name"]) {
                Some(Value::String(name)) => name.clone(),
                // What becomes of others, versions of jq do not agree on.
                Some(_) | None => return error("the key of an entry is no string"),
            };
            self.spend(3 + weight_of_text(&name))?;
            let value = match field(["value", "v", "Value"]) {
                Some(value) => self.copy(value)?,
                None => Value::Null,
            };
            map.insert(name, value);
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
    pub(super) fn ordered(&mut self, function: Function, keyed: Vec<Keyed>) -> Result<Value, Stop> {
        let sorted = self.sorted(keyed)?;
        let items = |keyed: Vec<Keyed>| keyed.into_iter().map(|(_, item)| item);
        Ok(match function {
            Function::Unique | Function::UniqueBy => self
                .groups(sorted)?
                .into_iter()
                .filter_map(|group| group.into_iter().next())
                .collect(),
            Function::GroupBy => {
                let groups = self.groups(sorted)?.into_iter().map(Value::Array).collect();
                self.checked(groups)?
            }
            Function::Min | Function::MinBy => items(sorted).next().unwrap_or_default(),
            Function::Max | Function::MaxBy => items(sorted).next_back().unwrap_or_default(),
            _ => items(sorted).collect(),
        })
    }

    /// Sorted by their keys; what is equal stays in its order. Each comparison is counted, and may be the last:
    /// the standard library's sorting cannot be ended.
    fn sorted(&mut self, mut keyed: Vec<Keyed>) -> Result<Vec<Keyed>, Stop> {
        if keyed.len() < 2 {
            return Ok(keyed);
        }
        let mut sorted = Vec::with_capacity(keyed.len());
        let right = keyed.split_off(keyed.len() / 2);
        let mut left = self.sorted(keyed)?.into_iter().peekable();
        let mut right = self.sorted(right)?.into_iter().peekable();
        while let (Some((first, _)), Some((second, _))) = (left.peek(), right.peek()) {
            let is_first = self.compare(first, second)?.is_le();
            sorted.extend(if is_first { left.next() } else { right.next() });
        }
        sorted.extend(left);
        sorted.extend(right);
        Ok(sorted)
    }

    /// Those of one key together.
    fn groups(&mut self, sorted: Vec<Keyed>) -> Result<Vec<Vec<Value>>, Stop> {
        let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
        for (key, item) in sorted {
            match groups.last_mut() {
                Some((last, group)) if self.compare(last, &key)?.is_eq() => group.push(item),
                _ => groups.push((key, vec![item])),
            }
        }
        Ok(groups.into_iter().map(|(_, group)| group).collect())
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
