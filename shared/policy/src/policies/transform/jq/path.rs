//! What stands at paths.

use serde_json::{Number, Value};

use super::evaluate::{Made, Run, Stop, error};
use super::filter::{Filter, Part, Step};
use super::value::{type_name, weight_of_text, whole};

impl Run {
    /// What stands at a path in what a filter makes.
    pub(super) fn path(
        &mut self,
        of: &Filter,
        steps: &[Step],
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        // What stands in the input needs no copy but of what is found.
        if let Filter::Identity = of {
            return self.follow(steps, (input, input), made);
        }
        let (values, stop) = self.attempt(of, input);
        for value in &values {
            self.follow(steps, (value, input), made)?;
        }
        stop
    }

    /// What stands in a value at the end of some steps. Indices are made of the input.
    fn follow(
        &mut self,
        steps: &[Step],
        (value, input): (&Value, &Value),
        made: &mut Vec<Value>,
    ) -> Made {
        self.spend(1)?;
        let Some((step, rest)) = steps.split_first() else {
            made.push(self.copy(value)?);
            return Ok(());
        };
        let done = match &step.part {
            Part::All => match value {
                Value::Array(items) => {
                    return items
                        .iter()
                        .try_for_each(|item| self.follow(rest, (item, input), made));
                }
                Value::Object(fields) => {
                    return fields
                        .values()
                        .try_for_each(|field| self.follow(rest, (field, input), made));
                }
                other => error(format!("a {} has nothing in it", type_name(other))),
            },
            Part::At(index) => {
                let (indices, stop) = self.attempt(index, input);
                for index in indices {
                    match at(value, &index) {
                        Ok(found) => {
                            let found = found.unwrap_or(&Value::Null);
                            self.follow(rest, (found, input), made)?;
                        }
                        Err(_) if step.is_optional => {}
                        Err(stop) => return Err(stop),
                    }
                }
                return stop;
            }
            Part::Slice(from, to) => {
                for (from, to) in self.ends(from.as_ref(), to.as_ref(), input)? {
                    match self.slice(value, &from, &to) {
                        Ok(slice) => self.follow(rest, (&slice, input), made)?,
                        Err(Stop::Error(_)) if step.is_optional => {}
                        Err(stop) => return Err(stop),
                    }
                }
                return Ok(());
            }
        };
        if step.is_optional { Ok(()) } else { done }
    }

    fn ends(
        &mut self,
        from: Option<&Filter>,
        to: Option<&Filter>,
        input: &Value,
    ) -> Result<Vec<(Value, Value)>, Stop> {
        let mut end = |filter: Option<&Filter>| match filter {
            Some(filter) => self.collect(filter, input),
            None => Ok(vec![Value::Null]),
        };
        let (froms, tos) = (end(from)?, end(to)?);
        self.spend(froms.len().saturating_mul(tos.len()))?;
        let pairs = froms.iter().flat_map(|from| tos.iter().map(|to| (from.clone(), to.clone())));
        Ok(pairs.collect())
    }

    fn slice(&mut self, value: &Value, from: &Value, to: &Value) -> Result<Value, Stop> {
        let range = |length: usize| {
            let end = |index: &Value, default: usize| match index {
                Value::Null => Ok(default),
                // Further back than the beginning is the beginning.
                Value::Number(number) => match whole(number) {
                    None => error("an end of a part is a whole number"),
                    Some(index) if index < 0 => {
                        Ok(Some(place(number, length)?).filter(|at| *at <= length).unwrap_or(0))
                    }
                    Some(_) => Ok(place(number, length)?.min(length)),
                },
                other => error(format!("a {} cannot be an index", type_name(other))),
            };
            let (from, to) = (end(from, 0)?, end(to, length)?);
            Ok((from, to.saturating_sub(from)))
        };
        match value {
            Value::Null => Ok(Value::Null),
            Value::Array(items) => {
                let (skipped, taken) = range(items.len())?;
                let items: Vec<&Value> = items.iter().skip(skipped).take(taken).collect();
                let copies: Result<Vec<Value>, Stop> =
                    items.into_iter().map(|item| self.copy(item)).collect();
                Ok(Value::Array(copies?))
            }
            Value::String(text) => {
                self.spend(weight_of_text(text))?;
                let (skipped, taken) = range(text.chars().count())?;
                Ok(Value::String(text.chars().skip(skipped).take(taken).collect()))
            }
            other => error(format!("a {} cannot be sliced", type_name(other))),
        }
    }
}

/// What stands at an index or under a name; none where nothing does.
pub(super) fn at<'v>(value: &'v Value, index: &Value) -> Result<Option<&'v Value>, Stop> {
    match (value, index) {
        (Value::Null, Value::String(_) | Value::Number(_) | Value::Null) => Ok(None),
        (Value::Object(fields), Value::String(name)) => Ok(fields.get(name)),
        (Value::Array(items), Value::Number(number)) => Ok(items.get(place(number, items.len())?)),
        (value, index) => error(format!(
            "a {} cannot be looked into with a {}",
            type_name(value),
            type_name(index)
        )),
    }
}

/// Where an index points in a list of this length; beyond it where it points nowhere. Below zero it counts
/// from the end.
pub(super) fn place(number: &Number, length: usize) -> Result<usize, Stop> {
    let Some(index) = whole(number) else { return error("an index is a whole number") };
    Ok(match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => {
            let back = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
            length.checked_sub(back).unwrap_or(usize::MAX)
        }
    })
}
