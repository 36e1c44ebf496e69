//! Calculating with values, and comparing them.

use serde_json::{Number, Value};

use super::evaluate::{Run, Stop, error};
use super::filter::{Operator, Relation};
use super::value::{calculate, compare, merge, type_name, weight, weight_of_text, whole};

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
            (Operator::Subtract, Value::Array(mut left), Value::Array(right)) => {
                for other in &right {
                    self.spend(left.iter().map(weight).sum::<usize>())?;
                    left.retain(|item| compare(item, other).is_ne());
                }
                Ok(Value::Array(left))
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

    /// A text so many times; null for less than once.
    fn repeat(&mut self, text: &str, times: &Number) -> Result<Value, Stop> {
        let Some(times) = whole(times) else { return error("a number is out of range") };
        let Ok(times @ 1..) = usize::try_from(times) else { return Ok(Value::Null) };
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

/// Whether two values stand in a relation.
pub(super) fn holds(relation: Relation, left: &Value, right: &Value) -> bool {
    let order = compare(left, right);
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
        Operator::Remainder => {
            calculate(left, right, (i64::checked_rem, |left, right| left % right))
        }
    })
}
