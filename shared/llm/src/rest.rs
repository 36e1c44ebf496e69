//! What the hub has no place for: kept with the wire format that it came from.

use serde_json::{Map, Value};

/// A format that requests and answers are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// Chat completions of OpenAI, which many others speak as well.
    OpenAiChat,
    /// Messages of Anthropic.
    AnthropicMessages,
}

/// Fields of one object that the hub has no place for.
///
/// Also those that say in their own way what the hub knows as well, such as two spellings of one limit. They are written
/// back where the format is the same, and judged where it is another. Takes one word where there is nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rest(Option<Box<Left>>);

#[derive(Clone, Debug, PartialEq)]
struct Left {
    wire: Wire,
    fields: Map<String, Value>,
}

impl Rest {
    /// Keeps these fields; none of them is nothing.
    #[must_use]
    pub fn new(wire: Wire, fields: Map<String, Value>) -> Self {
        if fields.is_empty() { Self(None) } else { Self(Some(Box::new(Left { wire, fields }))) }
    }

    /// The format that they came in; nothing where there are none.
    #[must_use]
    pub fn wire(&self) -> Option<Wire> {
        self.0.as_ref().map(|left| left.wire)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Each with its name, in the order that they came in.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        let fields = self.0.iter().flat_map(|left| left.fields.iter());
        fields.map(|(name, value)| (name.as_str(), value))
    }

    /// One of them, where they came in this format.
    #[must_use]
    pub fn get(&self, wire: Wire, name: &str) -> Option<&Value> {
        self.0.as_ref().filter(|left| left.wire == wire)?.fields.get(name)
    }

    /// All of them, where they came in this format.
    #[must_use]
    pub fn object(&self, wire: Wire) -> Option<&Map<String, Value>> {
        self.0.as_ref().filter(|left| left.wire == wire).map(|left| &left.fields)
    }

    /// Adds to an object of this format what it does not have yet. An object within is completed in the same way.
    pub fn complete(&self, wire: Wire, object: &mut Map<String, Value>) {
        if let Some(fields) = self.object(wire) {
            complete(object, fields);
        }
    }
}

/// The depth is that of what was parsed, which is bounded.
fn complete(object: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, value) in more {
        match (object.get_mut(name), value) {
            (None, _) => {
                object.insert(name.clone(), value.clone());
            }
            (Some(Value::Object(inner)), Value::Object(more)) => complete(inner, more),
            (Some(_), _) => {}
        }
    }
}
