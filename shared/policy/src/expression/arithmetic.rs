//! Calculating with one kind of value, or with moments and spans.

use jiff::{SignedDuration, Timestamp};

use super::syntax::Operator;
use super::value::{Failure, Value};

type Result<T> = std::result::Result<T, Failure>;

/// The same number with the other sign.
pub(super) fn negated(value: Value<'_>) -> Result<Value<'_>> {
    if let Value::Int(number) = value {
        return number.checked_neg().map(Value::Int).ok_or(Failure::OutOfRange);
    }
    if let Value::Double(number) = value {
        Ok(Value::Double(-number))
    } else {
        Err(Failure::WrongType)
    }
}

/// Sums and differences of moments and spans.
pub(super) fn of_time<'a>(
    operator: Operator,
    one: Value<'a>,
    other: Value<'a>,
) -> Result<Value<'a>> {
    let is_sum = match operator {
        Operator::Add => true,
        Operator::Subtract => false,
        _ => return Err(Failure::WrongType),
    };
    let moved = |moment: Timestamp, span: SignedDuration| {
        let moved = if is_sum { moment.checked_add(span) } else { moment.checked_sub(span) };
        moved.map(Value::Time).map_err(|_too_far| Failure::OutOfRange)
    };
    match (one, other) {
        (Value::Time(moment), Value::Span(span)) => moved(moment, span),
        (Value::Span(span), Value::Time(moment)) if is_sum => moved(moment, span),
        (Value::Time(one), Value::Time(other)) if !is_sum => {
            Ok(Value::Span(one.duration_since(other)))
        }
        (Value::Span(one), Value::Span(other)) => {
            let span = if is_sum { one.checked_add(other) } else { one.checked_sub(other) };
            span.map(Value::Span).ok_or(Failure::OutOfRange)
        }
        _ => Err(Failure::WrongType),
    }
}
