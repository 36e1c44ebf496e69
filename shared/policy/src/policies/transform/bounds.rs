//! How much a body may be, and how much may become of it.

use std::io;

use serde_json::Value;

use super::fault::{Fault, Kind};

/// How deep values may be nested.
pub(super) const MAX_DEPTH: usize = 64;

/// How many values a body may have: each takes up to some hundred bytes while it is changed, however short
/// it is written.
pub(super) const MAX_VALUES: usize = 50_000;

/// What is made, up to a number of bytes.
pub(super) struct Output {
    bytes: Vec<u8>,
    most: usize,
}

impl Output {
    /// Nothing yet, with room for `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most }
    }

    /// Appends a text.
    pub(super) fn push(&mut self, text: &str) -> Result<(), Fault> {
        if self.bytes.len().saturating_add(text.len()) > self.most {
            return Err(Fault::new(Kind::TooLarge, "becomes larger than is passed on here"));
        }
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// What was made.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How deep a value is nested: 0 for what has nothing in it. Stops counting beyond the bound.
pub(super) fn depth(value: &Value) -> usize {
    fn below(value: &Value, left: usize) -> usize {
        let Some(left) = left.checked_sub(1) else { return 0 };
        let deepest = match value {
            Value::Array(items) => items.iter().map(|item| below(item, left)).max(),
            Value::Object(fields) => fields.values().map(|field| below(field, left)).max(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
        };
        deepest.unwrap_or(0) + 1
    }
    below(value, MAX_DEPTH + 2)
}
