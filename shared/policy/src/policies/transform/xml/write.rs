//! A value as a body.

use serde_json::{Map, Value};
use tollgate_model::issue::escape;

use super::super::bounds::{MAX_DEPTH, Output};
use super::super::fault::{Fault, Kind, Place};
use super::super::form::scalar;
use super::{ATTRIBUTE, TEXT, is_character, is_name};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Writes a document. Its root is an element `root` around the whole value; without one, the value's only
/// member.
pub(in super::super) fn write(
    value: &Value,
    root: Option<&str>,
    output: &mut Output,
) -> Result<(), Fault> {
    let (name, content, pointer) = match root {
        Some(name) => (name, value, String::new()),
        None => {
            let mut members = value.as_object().into_iter().flatten();
            match (members.next(), members.next()) {
                (Some((name, content)), None) => {
                    (name.as_str(), content, format!("/{}", escape(name)))
                }
                _ => return Err(unwritable("", "it has no single member to be the root")),
            }
        }
    };
    if content.is_array() {
        return Err(unwritable(&pointer, "a list cannot be the root"));
    }
    output.push(DECLARATION)?;
    Writing { output, pointer, depth: 0 }.element(name, content)
}

struct Writing<'a> {
    output: &'a mut Output,
    /// Where the value is that is being written.
    pointer: String,
    depth: usize,
}

impl Writing<'_> {
    fn element(&mut self, name: &str, content: &Value) -> Result<(), Fault> {
        if !is_name(name) {
            return Err(self.refuse("a name cannot be that of an element"));
        }
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse("it is nested too deeply"));
        }
        self.output.push("<")?;
        self.output.push(name)?;
        match content {
            Value::Object(members) => self.members(members)?,
            Value::Array(_) => return Err(self.refuse("a list is within a list")),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let text = scalar(content).unwrap_or_default();
                if text.is_empty() {
                    return self.output.push("/>");
                }
                self.output.push(">")?;
                self.text(&text, push_text)?;
            }
        }
        self.output.push("</")?;
        self.output.push(name)?;
        self.output.push(">")
    }

    /// All of an element behind its name, up to its end tag.
    fn members(&mut self, members: &Map<String, Value>) -> Result<(), Fault> {
        for (name, value) in members {
            let Some(attribute) = name.strip_prefix(ATTRIBUTE) else { continue };
            self.inside(name, |writing| writing.attribute(attribute, value))?;
        }
        self.output.push(">")?;
        for (name, value) in members.iter().filter(|(name, _)| !name.starts_with(ATTRIBUTE)) {
            self.inside(name, |writing| writing.member(name, value))?;
        }
        Ok(())
    }

    fn member(&mut self, name: &str, value: &Value) -> Result<(), Fault> {
        if name == TEXT {
            return match scalar(value) {
                Some(text) => self.text(&text, push_text),
                None => Err(self.refuse("a text is no text")),
            };
        }
        let Value::Array(items) = value else { return self.element(name, value) };
        for (i, item) in items.iter().enumerate() {
            self.inside(&i.to_string(), |writing| writing.element(name, item))?;
        }
        Ok(())
    }

    fn attribute(&mut self, name: &str, value: &Value) -> Result<(), Fault> {
        if !is_name(name) {
            return Err(self.refuse("a name cannot be that of an attribute"));
        }
        let Some(text) = scalar(value) else {
            return Err(self.refuse("an attribute is no text"));
        };
        self.output.push(" ")?;
        self.output.push(name)?;
        self.output.push("=\"")?;
        self.text(&text, push_attribute)?;
        self.output.push("\"")
    }

    fn text(&mut self, text: &str, push: fn(&mut String, char)) -> Result<(), Fault> {
        let mut escaped = String::with_capacity(text.len());
        for character in text.chars() {
            if !is_character(character) {
                return Err(self.refuse("a text has a character that XML cannot hold"));
            }
            push(&mut escaped, character);
        }
        self.output.push(&escaped)
    }

    /// Goes on with a member.
    fn inside(
        &mut self,
        token: &str,
        then: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&escape(token));
        self.depth += 1;
        let done = then(self);
        self.depth -= 1;
        self.pointer.truncate(length);
        done
    }

    fn refuse(&self, why: &'static str) -> Fault {
        unwritable(&self.pointer, why)
    }
}

fn unwritable(pointer: &str, why: &'static str) -> Fault {
    let why = format!("cannot be written as XML: {why}");
    Fault::new(Kind::Untransformable, why).at(Place::Member(pointer.to_owned()))
}

fn push_text(text: &mut String, character: char) {
    match character {
        '&' => text.push_str("&amp;"),
        '<' => text.push_str("&lt;"),
        '>' => text.push_str("&gt;"),
        // XML 1.0 §2.11: as it is, it would be read as a line feed.
        '\r' => text.push_str("&#13;"),
        other => text.push(other),
    }
}

fn push_attribute(text: &mut String, character: char) {
    match character {
        '"' => text.push_str("&quot;"),
        // XML 1.0 §3.3.3: as they are, they would be read as spaces.
        '\t' => text.push_str("&#9;"),
        '\n' => text.push_str("&#10;"),
        other => push_text(text, other),
    }
}
