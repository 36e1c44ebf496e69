//! JSON as it is read here: no name twice in one object, whose second reading somebody else may prefer; and objects from
//! which known fields are taken until only the unknown are left.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::LlmError;

/// Parses a text. Its depth is bounded by `serde_json`: 128.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, LlmError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader);
    let value = value.and_then(|value| reader.end().map(|()| value));
    value.map_err(|source| LlmError::Json { source })
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Self)?;
            if all.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice in one object"));
            }
        }
        Ok(Value::Object(all))
    }
}

/// Where something stands, as a JSON pointer that is only written when somebody wants to see it.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Name(&'a str),
    Item(usize),
}

impl<'a> At<'a> {
    /// The whole.
    pub(crate) const ROOT: At<'static> = At { parent: None, step: Step::Root };

    /// A field of what stands here.
    pub(crate) fn name(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Name(name) }
    }

    /// An item of what stands here.
    pub(crate) fn item(&'a self, item: usize) -> Self {
        Self { parent: Some(self), step: Step::Item(item) }
    }

    /// It is not as it must be.
    pub(crate) fn malformed(&self, problem: &'static str) -> LlmError {
        LlmError::Malformed { at: self.to_string(), problem }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(formatter)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Name(name) => write!(formatter, "/{name}"),
            Step::Item(item) => write!(formatter, "/{item}"),
        }
    }
}

/// An object from which what is known is taken. What is null counts as not there, and stays.
pub(crate) struct Fields<'a> {
    map: Map<String, Value>,
    at: &'a At<'a>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(value: Value, at: &'a At<'a>) -> Result<Self, LlmError> {
        match value {
            Value::Object(map) => Ok(Self { map, at }),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(at.malformed("an object is expected here")),
        }
    }

    pub(crate) fn at(&self) -> &'a At<'a> {
        self.at
    }

    /// What is left of it.
    pub(crate) fn left(self) -> Map<String, Value> {
        self.map
    }

    /// Puts something there again, or something that was not there.
    pub(crate) fn put(&mut self, name: &str, value: Value) {
        self.map.insert(name.to_owned(), value);
    }

    /// Looks at a field and leaves it.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Looks at a text and leaves it.
    pub(crate) fn look(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.get(name)?;
        self.map.shift_remove(name)
    }

    /// Takes a field away where it says what it always says.
    pub(crate) fn drop_constant(&mut self, name: &str, constant: &str) {
        if self.look(name) == Some(constant) {
            self.map.shift_remove(name);
        }
    }

    pub(crate) fn malformed(&self, name: &str, problem: &'static str) -> LlmError {
        self.at.name(name).malformed(problem)
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, LlmError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.malformed(name, "a text is expected here")),
        }
    }

    pub(crate) fn required_text(&mut self, name: &str) -> Result<String, LlmError> {
        self.text(name)?.ok_or_else(|| self.malformed(name, "this is required"))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, LlmError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.malformed(name, "true or false is expected here")),
        }
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<Number>, LlmError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(_) => Err(self.malformed(name, "a number is expected here")),
        }
    }

    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, LlmError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let problem = "a whole number from 0 is expected here";
        value.as_u64().map(Some).ok_or_else(|| self.malformed(name, problem))
    }

    pub(crate) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, LlmError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.malformed(name, "a list is expected here")),
        }
    }
}

/// An object of these fields.
pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Writes a value. Values of ours have texts as names, so nothing can go wrong.
pub(crate) fn bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// As [`bytes`], as a text.
pub(crate) fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
