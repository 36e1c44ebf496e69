//! Filters with names, run.

use serde_json::{Map, Value};

use super::super::json;
use super::evaluate::{Made, Run, Stop, error};
use super::filter::{Assignment, Filter, Notation, Operator, Part, Step};
use super::function::Function;
use super::path::at;
use super::value::{is_true, number, type_name, weight, weight_of_text, whole};

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
            Function::Error => return Err(Stop::Error(Box::new(self.copy(input)?))),
            Function::Type => Value::from(type_name(input)),
            Function::Length | Function::Utf8Length => self.length(function, input)?,
            Function::Keys | Function::KeysUnsorted => self.keys(function, input)?,
            _ if function.is_of_type() => {
                if is_of(function, input) {
                    made.push(self.copy(input)?);
                }
                return Ok(());
            }
            Function::ToEntries => self.entries(input)?,
            Function::FromEntries => self.of_entries(input)?,
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
                self.spend(weight(input))?;
                let keys = self.list(input)?.into_iter().map(|item| (item.clone(), item)).collect();
                self.ordered(function, keys)?
            }
            Function::ToText => Value::String(self.written(Notation::Text, input)?),
            Function::ToJson => Value::String(self.written(Notation::Json, input)?),
            Function::FromJson => self.parsed(input)?,
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
                stop
            }
            Function::FirstOf | Function::LastOf => {
                let (mut values, stop) = self.attempt(argument, input);
                let is_first = function == Function::FirstOf && !values.is_empty();
                settled(stop, is_first)?;
                if is_first {
                    values.truncate(1);
                }
                made.extend(values.pop());
                Ok(())
            }
            Function::Range => {
                let (ends, stop) = self.attempt(argument, input);
                for end in ends {
                    self.range(&Value::from(0), &end, made)?;
                }
                stop
            }
            Function::MapValues => {
                let step = Step { part: Part::All, is_optional: false };
                let path = Filter::Path(Box::new(Filter::Identity), vec![step]);
                self.assign(Assignment::Update, (&path, argument), input, made)
            }
            Function::ErrorOf => {
                let (values, stop) = self.attempt(argument, input);
                match values.into_iter().next() {
                    Some(value) => Err(Stop::Error(Box::new(value))),
                    None => stop,
                }
            }
            Function::Walk => self.walk(argument, input, made),
            Function::Map
            | Function::WithEntries
            | Function::AddOf
            | Function::AnyOf
            | Function::AllOf
            | Function::IsEmpty
            | Function::SortBy
            | Function::GroupBy
            | Function::UniqueBy
            | Function::MinBy
            | Function::MaxBy
            | Function::Delete => {
                made.push(self.gathered(function, argument, input)?);
                Ok(())
            }
            other => {
                let (arguments, stop) = self.attempt(argument, input);
                for argument in arguments {
                    made.push(self.apply(other, &argument, input)?);
                }
                stop
            }
        }
    }

    /// Those that make one value of all that a filter makes.
    fn gathered(
        &mut self,
        function: Function,
        argument: &Filter,
        input: &Value,
    ) -> Result<Value, Stop> {
        match function {
            Function::Map => {
                let mut list = Vec::new();
                for item in self.items(input)? {
                    self.run(argument, &item, &mut list)?;
                }
                self.checked(Value::Array(list))
            }
            Function::WithEntries => {
                let entries = self.entries(input)?;
                let mut list = Vec::new();
                for entry in entries.as_array().into_iter().flatten() {
                    self.run(argument, entry, &mut list)?;
                }
                self.of_entries(&Value::Array(list))
            }
            Function::AddOf => {
                let values = self.collect(argument, input)?;
                self.sum(values)
            }
            Function::AnyOf | Function::AllOf => {
                // The first that decides is the last that is looked at.
                let wanted = function == Function::AnyOf;
                for item in self.items(input)? {
                    let (truths, stop) = self.attempt(argument, &item);
                    let is_found = truths.iter().any(|truth| is_true(truth) == wanted);
                    settled(stop, is_found)?;
                    if is_found {
                        return Ok(Value::Bool(wanted));
                    }
                }
                Ok(Value::Bool(!wanted))
            }
            Function::IsEmpty => {
                let (values, stop) = self.attempt(argument, input);
                settled(stop, !values.is_empty())?;
                Ok(Value::Bool(values.is_empty()))
            }
            Function::Delete => self.delete(argument, input),
            by => {
                let mut keyed = Vec::new();
                for item in self.list(input)? {
                    keyed.push((Value::Array(self.collect(argument, &item)?), item));
                }
                self.ordered(by, keyed)
            }
        }
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
                    // Whether a list has what is counted from its end, versions do not agree on.
                    match whole(index).map(usize::try_from) {
                        Some(Ok(index)) => Value::Bool(index < items.len()),
                        _ => return error("an index is a whole number from 0"),
                    }
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
        let (ones, stop) = self.attempt(first, input);
        for one in ones {
            if function == Function::Limit {
                let most = one.as_i64().and_then(|most| usize::try_from(most).ok()).unwrap_or(0);
                if most > 0 {
                    let (mut values, stop) = self.attempt(second, input);
                    let has_all = values.len() >= most;
                    values.truncate(most);
                    made.extend(values);
                    settled(stop, has_all)?;
                }
            } else {
                let (others, stop) = self.attempt(second, input);
                for other in others {
                    self.range(&one, &other, made)?;
                }
                stop?;
            }
        }
        stop
    }

    fn range(&mut self, from: &Value, to: &Value, made: &mut Vec<Value>) -> Made {
        let number = |value: &Value| value.as_number().and_then(whole);
        let (Some(from), Some(to)) = (number(from), number(to)) else {
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
        self.enter()?;
        let inside = self.walked_inside(filter, input);
        self.leave();
        let inside = self.checked(inside?)?;
        self.run(filter, &inside, made)
    }

    /// A value with all within it walked already.
    fn walked_inside(&mut self, filter: &Filter, input: &Value) -> Result<Value, Stop> {
        Ok(match input {
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
        })
    }

    /// Copies of what stands in a list or an object.
    pub(super) fn items(&mut self, input: &Value) -> Result<Vec<Value>, Stop> {
        self.spend(weight(input))?;
        match input {
            Value::Array(items) => Ok(items.clone()),
            Value::Object(fields) => Ok(fields.values().cloned().collect()),
            other => error(format!("a {} has nothing in it", type_name(other))),
        }
    }

    pub(super) fn list(&mut self, input: &Value) -> Result<Vec<Value>, Stop> {
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

    fn parsed(&mut self, input: &Value) -> Result<Value, Stop> {
        let text = text_of(input)?;
        // Two bytes are a value at the shortest.
        self.spend(1 + text.len())?;
        match json::read(text.as_bytes()) {
            Ok(value) => Ok(value),
            Err(_) => error("a text is not JSON"),
        }
    }
}

/// Once all is there that was asked for, an error behind it does not matter; bounds always do.
fn settled(stop: Made, is_all: bool) -> Made {
    match stop {
        Err(Stop::Error(_)) if is_all => Ok(()),
        other => other,
    }
}

fn text_of(value: &Value) -> Result<&str, Stop> {
    match value {
        Value::String(text) => Ok(text),
        other => error(format!("a {} is no string", type_name(other))),
    }
}

/// Whether a value is of the type that a filter such as `numbers` lets through.
pub(super) fn is_of(function: Function, value: &Value) -> bool {
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
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Number(number)) => Ok(Value::Number(number)),
            _ => error("a text is no number"),
        },
        other => error(format!("a {} is no number", type_name(other))),
    }
}

pub(super) fn rounded(function: Function, input: &Value) -> Result<Value, Stop> {
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
