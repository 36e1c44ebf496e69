//! Filters with names, run.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::super::json;
use super::evaluate::{Made, Run, Stop, at, checked, error};
use super::filter::{Assignment, Filter, Notation, Operator, Part, Step};
use super::function::Function;
use super::value::{
    compare, is_true, number, sorted_names, type_name, weight, weight_of_text, whole,
};

impl Run {
    /// What a filter with a name makes of a value.
    pub(super) fn call(
        &mut self,
        function: Function,
        arguments: &[Filter],
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        match arguments {
            [] => self.call_plain(function, input, made),
            [argument] => self.call_with(function, argument, input, made),
            [first, second, ..] => self.call_with_two(function, (first, second), input, made),
        }
    }

    fn call_plain(&mut self, function: Function, input: &Value, made: &mut Vec<Value>) -> Made {
        let value = match function {
            Function::True => Value::Bool(true),
            Function::False => Value::Bool(false),
            Function::Null => Value::Null,
            Function::Not => Value::Bool(!is_true(input)),
            Function::Empty => return Ok(()),
            Function::Recurse => return self.run(&Filter::Everything, input, made),
            Function::Error => return Err(Stop::Error(self.copy(input)?)),
            Function::Type => Value::from(type_name(input)),
            Function::Length | Function::Utf8Length => self.length(function, input)?,
            Function::Keys | Function::KeysUnsorted => self.keys(function, input)?,
            Function::Values
            | Function::Nulls
            | Function::Booleans
            | Function::Numbers
            | Function::Strings
            | Function::Arrays
            | Function::Objects
            | Function::Scalars
            | Function::Iterables => {
                if is_of(function, input) {
                    made.push(self.copy(input)?);
                }
                return Ok(());
            }
            Function::ToEntries => self.to_entries(input)?,
            Function::FromEntries => self.from_entries(input)?,
            Function::Add => {
                let values = self.items(input)?;
                self.sum(values)?
            }
            Function::Any => Value::Bool(self.items(input)?.iter().any(is_true)),
            Function::All => Value::Bool(self.items(input)?.iter().all(is_true)),
            Function::First => self.item(input, 0)?,
            Function::Last => self.item(input, -1)?,
            Function::Flatten => self.flattened(input, i64::MAX)?,
            Function::Reverse => self.reversed(input)?,
            Function::Sort | Function::Unique | Function::Min | Function::Max => {
                let keys = self.list(input)?.into_iter().map(|item| (item.clone(), item)).collect();
                self.ordered(function, keys)?
            }
            Function::ToText => Value::String(self.written(Notation::Text, input)?),
            Function::ToJson => Value::String(self.written(Notation::Json, input)?),
            Function::FromJson => self.from_json(input)?,
            Function::ToNumber => to_number(input)?,
            Function::Floor | Function::Ceiling | Function::Round | Function::Absolute => {
                rounded(function, input)?
            }
            other => {
                let text = text_of(input)?;
                self.spend(weight_of_text(text))?;
                Value::String(match other {
                    Function::Lowercase => text.to_ascii_lowercase(),
                    Function::Uppercase => text.to_ascii_uppercase(),
                    Function::TrimStart => text.trim_start().to_owned(),
                    Function::TrimEnd => text.trim_end().to_owned(),
                    // `trim` is what is left of those without arguments.
                    _ => text.trim().to_owned(),
                })
            }
        };
        made.push(value);
        Ok(())
    }

    fn call_with(
        &mut self,
        function: Function,
        argument: &Filter,
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        match function {
            Function::Select => {
                let (truths, stop) = self.attempt(argument, input);
                for _true in truths.iter().filter(|truth| is_true(truth)) {
                    made.push(self.copy(input)?);
                }
                return stop;
            }
            Function::FirstOf | Function::LastOf => {
                let (mut values, stop) = self.attempt(argument, input);
                let value = match function {
                    Function::FirstOf if !values.is_empty() => {
                        unless_error(stop)?;
                        Some(values.swap_remove(0))
                    }
                    _ => {
                        stop?;
                        values.pop()
                    }
                };
                made.extend(value);
                return Ok(());
            }
            Function::Range => {
                for end in self.collect(argument, input)? {
                    self.range(&Value::from(0), &end, made)?;
                }
                return Ok(());
            }
            Function::MapValues => {
                let step = Step { part: Part::All, is_optional: false };
                let path = Filter::Path(Box::new(Filter::Identity), vec![step]);
                return self.assign(Assignment::Update, (&path, argument), input, made);
            }
            Function::ErrorOf => {
                return match self.collect(argument, input)?.into_iter().next() {
                    Some(value) => Err(Stop::Error(value)),
                    None => Ok(()),
                };
            }
            _ => {}
        }
        let value = match function {
            Function::Map => {
                let mut list = Vec::new();
                for item in self.items(input)? {
                    self.run(argument, &item, &mut list)?;
                }
                checked(Value::Array(list))?
            }
            Function::WithEntries => {
                let entries = self.to_entries(input)?;
                let mut list = Vec::new();
                for entry in entries.as_array().into_iter().flatten() {
                    self.run(argument, entry, &mut list)?;
                }
                let entries = Value::Array(list);
                self.from_entries(&entries)?
            }
            Function::AddOf => {
                let values = self.collect(argument, input)?;
                self.sum(values)?
            }
            Function::AnyOf | Function::AllOf => {
                let wanted = function == Function::AnyOf;
                let mut is_found = false;
                for item in self.items(input)? {
                    let truths = self.collect(argument, &item)?;
                    is_found |= truths.iter().any(|truth| is_true(truth) == wanted);
                }
                Value::Bool(is_found == wanted)
            }
            Function::IsEmpty => {
                let (values, stop) = self.attempt(argument, input);
                if values.is_empty() {
                    stop?;
                } else {
                    unless_error(stop)?;
                }
                Value::Bool(values.is_empty())
            }
            Function::SortBy
            | Function::GroupBy
            | Function::UniqueBy
            | Function::MinBy
            | Function::MaxBy => {
                let mut keyed = Vec::new();
                for item in self.list(input)? {
                    keyed.push((Value::Array(self.collect(argument, &item)?), item));
                }
                self.ordered(function, keyed)?
            }
            Function::Delete => self.delete(argument, input)?,
            Function::Walk => return self.walk(argument, input, made),
            other => {
                for argument in self.collect(argument, input)? {
                    made.push(self.apply(other, &argument, input)?);
                }
                return Ok(());
            }
        };
        made.push(value);
        Ok(())
    }

    /// Those that take a value, and not a filter.
    fn apply(
        &mut self,
        function: Function,
        argument: &Value,
        input: &Value,
    ) -> Result<Value, Stop> {
        self.spend(weight(argument))?;
        Ok(match function {
            Function::Has => match (input, argument) {
                (Value::Object(fields), Value::String(name)) => {
                    Value::Bool(fields.contains_key(name))
                }
                (Value::Array(items), Value::Number(index)) => {
                    let index = whole(index).and_then(|index| usize::try_from(index).ok());
                    Value::Bool(index.is_some_and(|index| index < items.len()))
                }
                _ => return error("this cannot have that"),
            },
            Function::FlattenTo => match argument.as_i64() {
                Some(most) if most >= 0 => self.flattened(input, most)?,
                _ => return error("a depth is a number from 0"),
            },
            Function::Join => self.joined(input, text_of(argument)?)?,
            Function::Split => self.split(text_of(input)?, text_of(argument)?)?,
            Function::StartsWith => Value::Bool(text_of(input)?.starts_with(text_of(argument)?)),
            Function::EndsWith => Value::Bool(text_of(input)?.ends_with(text_of(argument)?)),
            Function::TrimPrefix | Function::TrimSuffix => {
                let (Value::String(text), Value::String(edge)) = (input, argument) else {
                    return self.copy(input);
                };
                let rest = match function {
                    Function::TrimPrefix => text.strip_prefix(edge.as_str()),
                    _ => text.strip_suffix(edge.as_str()),
                };
                self.spend(weight_of_text(text))?;
                Value::from(rest.unwrap_or(text))
            }
            _ => return error("this is not run here"),
        })
    }

    fn call_with_two(
        &mut self,
        function: Function,
        (first, second): (&Filter, &Filter),
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        for one in self.collect(first, input)? {
            if function == Function::Limit {
                let most = one.as_i64().and_then(|most| usize::try_from(most).ok()).unwrap_or(0);
                if most > 0 {
                    let (mut values, stop) = self.attempt(second, input);
                    let has_all = values.len() >= most;
                    values.truncate(most);
                    made.extend(values);
                    if has_all { unless_error(stop)? } else { stop? }
                }
            } else {
                for other in self.collect(second, input)? {
                    self.range(&one, &other, made)?;
                }
            }
        }
        Ok(())
    }

    fn range(&mut self, from: &Value, to: &Value, made: &mut Vec<Value>) -> Made {
        let (Some(from), Some(to)) = (from.as_i64(), to.as_i64()) else {
            return error("a range is from a whole number to another");
        };
        for number in from..to {
            self.spend(1)?;
            made.push(Value::from(number));
        }
        Ok(())
    }

    fn walk(&mut self, filter: &Filter, input: &Value, made: &mut Vec<Value>) -> Made {
        self.spend(1)?;
        let inside = match input {
            Value::Array(items) => {
                let mut list = Vec::new();
                for item in items {
                    self.walk(filter, item, &mut list)?;
                }
                Value::Array(list)
            }
            Value::Object(fields) => {
                let mut map = Map::new();
                for (name, field) in fields {
                    let mut values = Vec::new();
                    self.walk(filter, field, &mut values)?;
                    self.spend(3 + weight_of_text(name))?;
                    if let Some(value) = values.into_iter().next() {
                        map.insert(name.clone(), value);
                    }
                }
                Value::Object(map)
            }
            other => self.copy(other)?,
        };
        self.spend(weight(&inside))?;
        self.run(filter, &checked(inside)?, made)
    }

    fn length(&mut self, function: Function, input: &Value) -> Result<Value, Stop> {
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

    fn keys(&mut self, function: Function, input: &Value) -> Result<Value, Stop> {
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

    /// Copies of what stands in a list or an object.
    fn items(&mut self, input: &Value) -> Result<Vec<Value>, Stop> {
        self.spend(weight(input))?;
        match input {
            Value::Array(items) => Ok(items.clone()),
            Value::Object(fields) => Ok(fields.values().cloned().collect()),
            other => error(format!("a {} has nothing in it", type_name(other))),
        }
    }

    fn list(&mut self, input: &Value) -> Result<Vec<Value>, Stop> {
        match input {
            Value::Array(_) => self.items(input),
            other => error(format!("a {} is no array", type_name(other))),
        }
    }

    fn item(&mut self, input: &Value, index: i64) -> Result<Value, Stop> {
        let found = at(input, &Value::from(index))?;
        self.copy(found.unwrap_or(&Value::Null))
    }

    fn sum(&mut self, values: Vec<Value>) -> Result<Value, Stop> {
        let mut sum = Value::Null;
        for value in values {
            // Growing in place, a list or an object costs what is added; a text is copied by nobody.
            self.spend(weight(&value))?;
            sum = self.calculate(Operator::Add, sum, value)?;
        }
        Ok(sum)
    }

    fn to_entries(&mut self, input: &Value) -> Result<Value, Stop> {
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

    fn from_entries(&mut self, input: &Value) -> Result<Value, Stop> {
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

    fn flattened(&mut self, input: &Value, most: i64) -> Result<Value, Stop> {
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

    fn reversed(&mut self, input: &Value) -> Result<Value, Stop> {
        self.spend(weight(input))?;
        match input {
            Value::Null => Ok(Value::Array(Vec::new())),
            Value::Array(items) => Ok(items.iter().rev().cloned().collect()),
            Value::String(text) => Ok(Value::String(text.chars().rev().collect())),
            other => error(format!("a {} cannot be reversed", type_name(other))),
        }
    }

    /// All that depends on an order of keys.
    fn ordered(
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

    fn joined(&mut self, input: &Value, separator: &str) -> Result<Value, Stop> {
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

    fn from_json(&mut self, input: &Value) -> Result<Value, Stop> {
        let text = text_of(input)?;
        // Two bytes are a value at the shortest.
        self.spend(1 + text.len())?;
        match json::read(text.as_bytes()) {
            Ok(value) => Ok(value),
            Err(_) => error("a text is not JSON"),
        }
    }
}

/// What came behind what was asked for does not matter, unless it went beyond the bounds.
fn unless_error(stop: Made) -> Made {
    match stop {
        Err(Stop::Error(_)) => Ok(()),
        other => other,
    }
}

fn logarithm(number: usize) -> usize {
    usize::try_from(number.checked_ilog2().unwrap_or(0)).unwrap_or(0) + 1
}

fn text_of(value: &Value) -> Result<&str, Stop> {
    match value {
        Value::String(text) => Ok(text),
        other => error(format!("a {} is no string", type_name(other))),
    }
}

fn is_of(function: Function, value: &Value) -> bool {
    let is_iterable = value.is_array() || value.is_object();
    match function {
        Function::Nulls => value.is_null(),
        Function::Booleans => value.is_boolean(),
        Function::Numbers => value.is_number(),
        Function::Strings => value.is_string(),
        Function::Arrays => value.is_array(),
        Function::Objects => value.is_object(),
        Function::Iterables => is_iterable,
        Function::Scalars => !is_iterable,
        _ => !value.is_null(),
    }
}

fn to_number(input: &Value) -> Result<Value, Stop> {
    match input {
        Value::Number(_) => Ok(input.clone()),
        Value::String(text) => match serde_json::from_str(text.trim()) {
            Ok(Value::Number(number)) => Ok(Value::Number(number)),
            _ => error("a text is no number"),
        },
        other => error(format!("a {} is no number", type_name(other))),
    }
}

fn rounded(function: Function, input: &Value) -> Result<Value, Stop> {
    let Value::Number(given) = input else {
        return error(format!("a {} is no number", type_name(input)));
    };
    if let Some(exact) = given.as_i64() {
        let absolute = exact.checked_abs().map(Value::from);
        let is_absolute = function == Function::Absolute;
        return Ok(absolute.filter(|_| is_absolute).unwrap_or_else(|| input.clone()));
    }
    let float = given.as_f64().unwrap_or_default();
    let float = match function {
        Function::Floor => float.floor(),
        Function::Ceiling => float.ceil(),
        Function::Round => float.round(),
        _ => float.abs(),
    };
    // A whole number is written as one.
    let exact = Some(float).filter(|float| float.fract() == 0.0 && float.abs() < 9e15);
    let exact = exact.and_then(|float| format!("{float}").parse::<i64>().ok());
    match exact.map(Value::from).or_else(|| number(float)) {
        Some(number) => Ok(number),
        None => error("a number is out of range"),
    }
}
