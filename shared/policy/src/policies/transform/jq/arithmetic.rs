//! Calculating with values, and comparing them.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::evaluate::{Run, Stop, error};
use super::filter::{Operator, Relation};
use super::value::{
    calculate, compare_numbers, merge, rank, sorted_names, type_name, weight_of_text, whole,
};

impl Run {
    /// One value of two.
    pub(super) fn calculate(
        &mut self,
        operator: Operator,
        left: Value,
        right: Value,
    ) -> Result<Value, Stop> {
        let number = |number: Option<Value>| match number {
            Some(number) => Ok(number),
            None => error("a number is out of range"),
        };
        match (operator, left, right) {
            (_, Value::Number(left), Value::Number(right)) => {
                number(numbers(operator, &left, &right)?)
            }
            (Operator::Add, Value::Null, other) | (Operator::Add, other, Value::Null) => Ok(other),
            (Operator::Add, Value::String(mut left), Value::String(right)) => {
                self.spend(weight_of_text(&left) + weight_of_text(&right))?;
                left.push_str(&right);
                Ok(Value::String(left))
            }
            (Operator::Add, Value::Array(mut left), Value::Array(right)) => {
                left.extend(right);
                Ok(Value::Array(left))
            }
            (Operator::Add, Value::Object(mut left), Value::Object(right)) => {
                left.extend(right);
                Ok(Value::Object(left))
            }
            (Operator::Subtract, Value::Array(left), Value::Array(right)) => {
                let mut kept = Vec::new();
                for item in left {
                    if !self.has_equal(&right, &item)? {
                        kept.push(item);
                    }
                }
                Ok(Value::Array(kept))
            }
            (Operator::Multiply, Value::String(text), Value::Number(times))
            | (Operator::Multiply, Value::Number(times), Value::String(text)) => {
                self.repeat(&text, &times)
            }
            (Operator::Multiply, Value::Object(mut left), Value::Object(right)) => {
                merge(&mut left, right);
                Ok(Value::Object(left))
            }
            (Operator::Divide, Value::String(text), Value::String(separator)) => {
                self.split(&text, &separator)
            }
            (_, left, right) => error(format!(
                "a {} and a {} cannot be calculated with in this way",
                type_name(&left),
                type_name(&right)
            )),
        }
    }

    fn has_equal(&mut self, items: &[Value], wanted: &Value) -> Result<bool, Stop> {
        for item in items {
            if self.compare(item, wanted)?.is_eq() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The order of jq: null, false, true, numbers, texts, lists, objects. Objects first by their names.
    pub(super) fn compare(&mut self, left: &Value, right: &Value) -> Result<Ordering, Stop> {
        self.spend(1)?;
        match (left, right) {
            (Value::Number(left), Value::Number(right)) => Ok(compare_numbers(left, right)),
            (Value::String(left), Value::String(right)) => {
                self.spend(left.len().min(right.len()) / 32)?;
                Ok(left.cmp(right))
            }
            (Value::Array(left), Value::Array(right)) => {
                for (left, right) in left.iter().zip(right) {
                    let order = self.compare(left, right)?;
                    if order.is_ne() {
                        return Ok(order);
                    }
                }
                Ok(left.len().cmp(&right.len()))
            }
            (Value::Object(left), Value::Object(right)) => self.compare_objects(left, right),
            (left, right) => Ok(rank(left).cmp(&rank(right))),
        }
    }

    fn compare_objects(
        &mut self,
        left: &Map<String, Value>,
        right: &Map<String, Value>,
    ) -> Result<Ordering, Stop> {
        for fields in [left, right] {
            self.spend(fields.keys().map(|name| weight_of_text(name)).sum())?;
        }
        let (names, others) = (sorted_names(left), sorted_names(right));
        let order = names.cmp(&others);
        if order.is_ne() {
            return Ok(order);
        }
        for name in names {
            if let (Some(left), Some(right)) = (left.get(name), right.get(name)) {
                let order = self.compare(left, right)?;
                if order.is_ne() {
                    return Ok(order);
                }
            }
        }
        Ok(Ordering::Equal)
    }

    /// A text so many times.
    fn repeat(&mut self, text: &str, times: &Number) -> Result<Value, Stop> {
        // What less than once is, versions of jq do not agree on.
        let times = whole(times).and_then(|times| usize::try_from(times).ok());
        let Some(times @ 1..) = times else { return error("a text is repeated once or more") };
        self.spend(1 + text.len().saturating_mul(times) / 32)?;
        Ok(Value::String(text.repeat(times)))
    }

    /// The parts of a text between separators; its characters where the separator is empty.
    pub(super) fn split(&mut self, text: &str, separator: &str) -> Result<Value, Stop> {
        self.spend(1 + text.len())?;
        let parts: Vec<Value> = match separator {
            "" => text.chars().map(|character| Value::String(character.to_string())).collect(),
            _ if text.is_empty() => Vec::new(),
            separator => text.split(separator).map(Value::from).collect(),
        };
        Ok(Value::Array(parts))
    }
}

/// Whether two values of this order stand in a relation.
pub(super) fn holds(relation: Relation, order: Ordering) -> bool {
    match relation {
        Relation::Equal => order.is_eq(),
        Relation::NotEqual => order.is_ne(),
        Relation::Less => order.is_lt(),
        Relation::LessOrEqual => order.is_le(),
        Relation::Greater => order.is_gt(),
        Relation::GreaterOrEqual => order.is_ge(),
    }
}

fn numbers(operator: Operator, left: &Number, right: &Number) -> Result<Option<Value>, Stop> {
    let is_zero = right.as_f64() == Some(0.0);
    if is_zero && matches!(operator, Operator::Divide | Operator::Remainder) {
        return error("a number cannot be divided by zero");
    }
    let exact_division = |left: i64, right: i64| match left.checked_rem(right) {
        Some(0) => left.checked_div(right),
        _ => None,
    };
    Ok(match operator {
        Operator::Add => calculate(left, right, (i64::checked_add, |left, right| left + right)),
        Operator::Subtract => {
            calculate(left, right, (i64::checked_sub, |left, right| left - right))
        }
        Operator::Multiply => {
            calculate(left, right, (i64::checked_mul, |left, right| left * right))
        }
        Operator::Divide => calculate(left, right, (exact_division, |left, right| left / right)),
        // Of fractions, jq cuts them off and others do not.
        Operator::Remainder => match (whole(left), whole(right)) {
            (Some(left), Some(right)) => Some(Value::from(left.checked_rem(right).unwrap_or(0))),
            _ => return error("a remainder is of whole numbers"),
        },
    })
}
