//! JSON (RFC 8259), read within bounds.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Deserializer, Map, Number, Value};

use super::bounds::{MAX_DEPTH, MAX_VALUES, Output};
use super::fault::{Fault, Kind, Place};

/// What of a body is beyond its bounds, though it is JSON.
type Beyond = Cell<Option<&'static str>>;

/// Reads a body. A name that stands twice in an object is refused: others may read the other value of it.
pub(super) fn read(bytes: &[u8]) -> Result<Value, Fault> {
    let (beyond, count) = (Beyond::default(), Cell::new(0));
    let mut deserializer = Deserializer::from_slice(bytes);
    let seed = Reading { beyond: &beyond, count: &count, depth: 0 };
    let read = seed.deserialize(&mut deserializer);
    read.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| {
        let place = Place::Line { line: error.line(), column: error.column() };
        Fault::new(Kind::Malformed, beyond.get().unwrap_or("is not JSON")).at(place)
    })
}

/// Writes a value.
pub(super) fn write(value: &Value, output: &mut Output) -> Result<(), Fault> {
    // What is written has no fault of its own: the one that is left is room.
    serde_json::to_writer(output, value)
        .map_err(|_no_room| Fault::new(Kind::TooLarge, "becomes larger than is passed on here"))
}

#[derive(Clone, Copy)]
struct Reading<'a> {
    beyond: &'a Beyond,
    count: &'a Cell<usize>,
    depth: usize,
}

impl Reading<'_> {
    fn refuse<E: serde::de::Error>(self, why: &'static str) -> E {
        self.beyond.set(Some(why));
        E::custom(why)
    }

    /// One level further in.
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse("is nested too deeply"));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count.set(self.count.get() + 1);
        if self.count.get() > MAX_VALUES {
            return Err(self.refuse("has too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        let number = Number::from_f64(number);
        number.map(Value::Number).ok_or_else(|| self.refuse("has a number that is out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(self.refuse("has a name twice in one object"));
            }
            let value = fields.next_value_seed(inside)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
