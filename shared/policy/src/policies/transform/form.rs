//! Forms: `application/x-www-form-urlencoded` (WHATWG URL §5).

use serde_json::{Map, Value};
use tollgate_model::issue::escape;

use super::bounds::{MAX_VALUES, Output};
use super::fault::{Fault, Kind, Place};
use crate::escape::{decode_query, push_component};

/// Reads a body as an object: texts by their names, lists of texts where a name stands several times.
pub(super) fn read(bytes: &[u8]) -> Result<Value, Fault> {
    let text =
        std::str::from_utf8(bytes).map_err(|_other| Fault::new(Kind::Malformed, "is not UTF-8"))?;
    let mut map = Map::new();
    let fields = text.split('&').enumerate().filter(|(_, field)| !field.is_empty());
    for (count, (i, field)) in fields.enumerate() {
        if count >= MAX_VALUES {
            return Err(Fault::new(Kind::Malformed, "has too many values"));
        }
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
            let fault = Fault::new(Kind::Malformed, "is not UTF-8");
            return Err(fault.at(Place::Field(i + 1)));
        };
        match map.get_mut(&name) {
            None => {
                map.insert(name, Value::String(value));
            }
            Some(Value::Array(values)) => values.push(Value::String(value)),
            Some(first) => *first = Value::Array(vec![first.take(), Value::String(value)]),
        }
    }
    Ok(Value::Object(map))
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(decode_query(text).into_owned()).ok()
}

/// Writes an object of texts, numbers, truths and lists of these; null is an empty text.
pub(super) fn write(value: &Value, output: &mut Output) -> Result<(), Fault> {
    let fault = |pointer: String, why: &'static str| {
        Fault::new(Kind::Untransformable, why).at(Place::Member(pointer))
    };
    let Value::Object(fields) = value else {
        return Err(fault(String::new(), "cannot be written as a form: it is no object"));
    };
    let mut is_first = true;
    let mut push = |name: &str, value: &Value| {
        let Some(text) = scalar(value) else { return Ok(false) };
        let mut field = String::new();
        if !std::mem::replace(&mut is_first, false) {
            field.push('&');
        }
        push_component(&mut field, name.as_bytes());
        field.push('=');
        push_component(&mut field, text.as_bytes());
        output.push(&field).map(|()| true)
    };
    const NESTED: &str = "cannot be written as a form: it is nested";
    for (name, value) in fields {
        if let Value::Array(items) = value {
            for (i, item) in items.iter().enumerate() {
                if !push(name, item)? {
                    return Err(fault(format!("/{}/{i}", escape(name)), NESTED));
                }
            }
        } else if !push(name, value)? {
            return Err(fault(format!("/{}", escape(name)), NESTED));
        }
    }
    Ok(())
}

/// A value as a text; none for objects and lists.
pub(super) fn scalar(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    use std::borrow::Cow;
    match value {
        Value::Null => Some(Cow::Borrowed("")),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Array(_) | Value::Object(_) => None,
    }
}
