//! The order of values, and calculating with them.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// What a value takes to be copied, compared or written: about its number of values, with long texts as
/// several.
pub(super) fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => weight_of_text(text),
        Value::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, value)| 1 + weight_of_text(name) + weight(value));
            1 + fields.sum::<usize>()
        }
    }
}

/// The same of a text.
pub(super) fn weight_of_text(text: &str) -> usize {
    1 + text.len() / 32
}

/// What is neither false nor null.
pub(super) fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// The name of a value's type.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Where a type stands in the order of jq.
pub(super) fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Number(_) => 3,
        Value::String(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    }
}

/// Whole numbers exactly, others as what is nearest to them.
pub(super) fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    let whole = |number: &Number| {
        number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
    };
    if let (Some(left), Some(right)) = (whole(left), whole(right)) {
        return left.cmp(&right);
    }
    let float = |number: &Number| number.as_f64().unwrap_or_default();
    float(left).partial_cmp(&float(right)).unwrap_or(Ordering::Equal)
}

/// The names of an object's fields, in order.
pub(super) fn sorted_names(fields: &Map<String, Value>) -> Vec<&String> {
    let mut names: Vec<&String> = fields.keys().collect();
    names.sort_unstable();
    names
}

/// A number, whole where it is and no digit is lost; none for what is no number.
pub(super) fn number(float: f64) -> Option<Value> {
    let is_whole = float.fract() == 0.0 && float.abs() < EXACT && !is_negative_zero(float);
    let whole = is_whole.then(|| format!("{float}").parse::<i64>().ok()).flatten();
    whole.map(Value::from).or_else(|| Number::from_f64(float).map(Value::Number))
}

/// Up to here each whole number is a double of its own: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn is_negative_zero(float: f64) -> bool {
    float == 0.0 && float.is_sign_negative()
}

/// How whole numbers are calculated with, where there is a whole result, and how others are.
type Calculation = (fn(i64, i64) -> Option<i64>, fn(f64, f64) -> f64);

/// Calculates with whole numbers where both are and the result is one, else with floating-point numbers.
pub(super) fn calculate(
    left: &Number,
    right: &Number,
    (whole, float): Calculation,
) -> Option<Value> {
    let exact = left.as_i64().zip(right.as_i64()).and_then(|(left, right)| whole(left, right));
    match exact {
        Some(exact) => Some(Value::from(exact)),
        None => number(float(left.as_f64()?, right.as_f64()?)),
    }
}

/// One object with the fields of both, those of both merged in turn where they are objects.
pub(super) fn merge(left: &mut Map<String, Value>, right: Map<String, Value>) {
    for (name, value) in right {
        match (left.get_mut(&name), value) {
            (Some(Value::Object(left)), Value::Object(right)) => merge(left, right),
            (_, value) => {
                left.insert(name, value);
            }
        }
    }
}

/// A whole number, also where it is written as another such as 1.0; none where it has a fraction or is beyond
/// 64 bits.
pub(super) fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
        format!("{float}").parse().ok()
    })
}
