//! What a schema makes of texts that have no type: parameters, and forms.

use serde_json::Value;

use super::Types;
use super::build::Builder;
use crate::policies::validate::json::{Json, Number};

/// How many schemas are looked at for the types of one. It bounds the depth as well.
const MAX_LOOKS: usize = 200;

/// Schemas that have been looked at.
type Looks = Vec<String>;

/// What a text may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalar(Types);

/// What several texts may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Scalar(Scalar),
    /// A list of these.
    List(Scalar),
    /// Members of these names; others are texts. A member is no object.
    Object(Box<[(Box<str>, Shape)]>),
}

impl Scalar {
    pub(crate) const TEXT: Self = Self(Types::STRING);

    /// The value that a text stands for: a number where numbers are taken and it is one, and so on; else the text.
    pub(crate) fn read(self, text: &str) -> Json {
        if self.0.has(Types::INTEGER)
            && let Some(number) = Number::parse(text)
        {
            return Json::Number(number);
        }
        match text {
            "true" if self.0.has(Types::BOOLEAN) => Json::Bool(true),
            "false" if self.0.has(Types::BOOLEAN) => Json::Bool(false),
            "" if self.0.has(Types::NULL) && !self.0.has(Types::STRING) => Json::Null,
            text => Json::Text(text.into()),
        }
    }

    /// Whether a text may stand for itself as well as for something else.
    pub(crate) fn is_ambiguous(self) -> bool {
        self.0.has(Types::STRING) && self.0 != Types::STRING
    }
}

impl<'d> Builder<'d, '_> {
    /// What texts stand for that are checked with the schema at a place.
    pub(crate) fn shape(&mut self, pointer: &str) -> Shape {
        let mut looks = Looks::new();
        let types = self.types_at(pointer, &mut looks);
        if types.has(Types::ARRAY) {
            let items = self.keyword_at(pointer, "items", &mut Looks::new());
            return Shape::List(items.map_or(Scalar::TEXT, |items| self.scalar(&items)));
        }
        if types.has(Types::OBJECT) {
            return Shape::Object(self.members_at(pointer));
        }
        Shape::Scalar(Scalar(types))
    }

    fn scalar(&mut self, pointer: &str) -> Scalar {
        Scalar(self.types_at(pointer, &mut Looks::new()))
    }

    fn members_at(&mut self, pointer: &str) -> Box<[(Box<str>, Shape)]> {
        let mut shapes = Vec::new();
        let Some((pointer, Value::Object(members))) = self.resolve(pointer) else {
            return shapes.into();
        };
        for (name, at) in self.entries(&pointer, members, "properties") {
            let types = self.types_at(&at, &mut Looks::new());
            let shape = if types.has(Types::ARRAY) {
                let items = self.keyword_at(&at, "items", &mut Looks::new());
                Shape::List(items.map_or(Scalar::TEXT, |items| self.scalar(&items)))
            } else {
                Shape::Scalar(Scalar(types))
            };
            shapes.push((name.into(), shape));
        }
        shapes.into()
    }

    /// The types that a schema asks for, by itself or by those of the same value. Where none is told, a text.
    fn types_at(&mut self, pointer: &str, looks: &mut Looks) -> Types {
        let types = self.told_types(pointer, looks);
        if types.is_empty() { Types::STRING } else { types }
    }

    fn told_types(&mut self, pointer: &str, looks: &mut Looks) -> Types {
        let Some((pointer, Value::Object(members))) = self.look(pointer, looks) else {
            return Types::NONE;
        };
        let named = |value: &Value| value.as_str().and_then(Types::named);
        let told = match members.get("type") {
            Some(Value::Array(names)) => {
                names.iter().filter_map(named).fold(Types::NONE, Types::or)
            }
            Some(name) => named(name).unwrap_or(Types::NONE),
            None => Types::NONE,
        };
        if !told.is_empty() {
            let is_nullable = members.get("nullable") == Some(&Value::Bool(true));
            return if is_nullable { told.or(Types::NULL) } else { told };
        }
        if let Some(Value::String(reference)) = members.get("$ref")
            && let Some(target) = self.target(&pointer, reference)
        {
            return self.told_types(&target, looks);
        }
        let mut told = Types::NONE;
        for key in ["allOf", "anyOf", "oneOf"] {
            let list = members.get(key).and_then(Value::as_array).map_or(0, Vec::len);
            for place in 0..list {
                told = told.or(self.told_types(&format!("{pointer}/{key}/{place}"), looks));
            }
        }
        let values = members.get("enum").and_then(Value::as_array).into_iter().flatten();
        let values = values.chain(members.get("const"));
        values.fold(told, |told, value| told.or(Types::of(&Json::of(value))))
    }

    /// Where a keyword of a schema stands that has it by itself or by reference.
    fn keyword_at(&mut self, pointer: &str, key: &str, looks: &mut Looks) -> Option<String> {
        let (pointer, schema) = self.look(pointer, looks)?;
        if schema.get(key).is_some_and(Value::is_object) {
            return Some(format!("{pointer}/{key}"));
        }
        let reference = schema.get("$ref").and_then(Value::as_str)?;
        let target = self.target(&pointer, reference)?;
        self.keyword_at(&target, key, looks)
    }

    fn look(&mut self, pointer: &str, looks: &mut Looks) -> Option<(String, &'d Value)> {
        let (pointer, schema) = self.resolve(pointer)?;
        if looks.len() >= MAX_LOOKS || looks.contains(&pointer) {
            return None;
        }
        looks.push(pointer.clone());
        Some((pointer, schema))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policies::validate::schema::{Dialect, build::Faults};

    fn read(schema: &Value, text: &str) -> Json {
        let mut faults = Faults::below("");
        let mut builder = Builder::new(schema, Dialect::Draft2020, None, &mut faults);
        match builder.shape("") {
            Shape::Scalar(scalar) | Shape::List(scalar) => scalar.read(text),
            Shape::Object(_) => panic!("{schema}"),
        }
    }

    #[test]
    fn a_text_is_what_the_schema_takes_it_for() {
        let number = Json::Number(Number::Integer(7));
        for schema in [
            json!({"type": "integer"}),
            json!({"type": ["string", "number"]}),
            json!({"allOf": [{"minimum": 1}, {"$ref": "#/$defs/n"}], "$defs": {"n": {"type": "number"}}}),
            json!({"oneOf": [{"type": "boolean"}, {"enum": [7, 8]}]}),
            json!({"type": "array", "items": {"type": "integer"}}),
        ] {
            assert_eq!(read(&schema, "7"), number, "{schema}");
            assert_eq!(read(&schema, "x"), Json::Text("x".into()), "{schema}");
        }
        for schema in [json!({}), json!({"minimum": 3}), json!({"type": "string"})] {
            assert_eq!(read(&schema, "7"), Json::Text("7".into()), "{schema}");
        }
        assert_eq!(read(&json!({"type": "boolean"}), "true"), Json::Bool(true));
        assert_eq!(read(&json!({"type": ["integer", "null"]}), ""), Json::Null);
    }

    #[test]
    fn schemas_that_lead_back_to_themselves_are_looked_at_for_a_while() {
        let schema = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"type": "integer"}]});
        assert_eq!(read(&schema, "7"), Json::Number(Number::Integer(7)));
    }
}
