//! A body as a value.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use super::super::bounds::{MAX_DEPTH, MAX_VALUES, depth};
use super::super::fault::{Fault, Kind, Place};
use super::{ATTRIBUTE, TEXT, is_character, is_name};

/// Reads a document as an object with its root as the only member. Elements that are named in `lists` are
/// lists also where they stand once.
pub(in super::super) fn read(bytes: &[u8], lists: &[Box<str>]) -> Result<Value, Fault> {
    let text =
        std::str::from_utf8(bytes).map_err(|_other| Fault::new(Kind::Malformed, "is not UTF-8"))?;
    let text = with_line_feeds(text.strip_prefix('\u{FEFF}').unwrap_or(text));
    let mut reader = Reader::from_str(&text);
    let config = reader.config_mut();
    config.check_comments = true;
    config.expand_empty_elements = true;
    let mut reading = Reading { lists, ..Reading::default() };
    loop {
        let begin = offset(reader.buffer_position());
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(_syntax) => {
                let at = offset(reader.error_position());
                return Err(malformed("is not XML").at(line_at(&text, at)));
            }
        };
        match reading.take(event, begin == 0) {
            Ok(None) => {}
            Ok(Some(value)) => return Ok(value),
            Err(fault) => return Err(fault.at(line_at(&text, begin))),
        }
    }
}

/// XML 1.0 §2.11.
fn with_line_feeds(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        return Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"));
    }
    Cow::Borrowed(text)
}

fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn line_at(text: &str, at: usize) -> Place {
    let before = text.as_bytes().get(..at.min(text.len())).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    Place::Line { line, column }
}

fn malformed(why: &'static str) -> Fault {
    Fault::new(Kind::Malformed, why)
}

/// An element that has begun.
#[derive(Default)]
struct Open {
    name: String,
    members: Map<String, Value>,
    text: String,
    has_elements: bool,
}

#[derive(Default)]
struct Reading<'a> {
    lists: &'a [Box<str>],
    open: Vec<Open>,
    root: Option<Map<String, Value>>,
    count: usize,
}

impl Reading<'_> {
    /// The whole value, once the document has ended.
    fn take(&mut self, event: Event<'_>, is_first: bool) -> Result<Option<Value>, Fault> {
        match event {
            Event::Start(tag) => self.begin(&tag)?,
            Event::End(_) => self.end(),
            // Never comes: it is made two.
            Event::Empty(tag) => {
                self.begin(&tag)?;
                self.end();
            }
            Event::Text(text) => {
                let text = text.into_inner();
                if text.contains("]]>") {
                    return Err(malformed("is not XML"));
                }
                self.text(&text)?;
            }
            Event::CData(text) => {
                if self.open.is_empty() {
                    return Err(malformed("is not XML"));
                }
                self.text(&text.into_inner())?;
            }
            Event::GeneralRef(reference) => {
                let character = resolved(&reference.into_inner())?;
                if self.open.is_empty() {
                    return Err(malformed("is not XML"));
                }
                self.text(character.encode_utf8(&mut [0; 4]))?;
            }
            Event::Decl(declaration) => {
                let encoding = declaration.encoding().transpose();
                let encoding = encoding.map_err(|_syntax| malformed("is not XML"))?;
                if !is_first {
                    return Err(malformed("is not XML"));
                }
                if encoding.is_some_and(|name| !name.eq_ignore_ascii_case("utf-8")) {
                    return Err(malformed("is XML in another encoding than UTF-8"));
                }
            }
            Event::DocType(_) => return Err(malformed("is XML with a document type")),
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => {
                let root = self.root.take().filter(|_| self.open.is_empty());
                let value = root.map(Value::Object).ok_or_else(|| malformed("is not XML"))?;
                // Lists of elements are levels of their own.
                if depth(&value) > MAX_DEPTH {
                    return Err(malformed("is nested too deeply"));
                }
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn begin(&mut self, tag: &BytesStart<'_>) -> Result<(), Fault> {
        let name = tag.name().as_ref().to_owned();
        if !is_name(&name) || (self.open.is_empty() && self.root.is_some()) {
            return Err(malformed("is not XML"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(malformed("is nested too deeply"));
        }
        self.count()?;
        let mut members = Map::new();
        for attribute in tag.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_syntax| malformed("is not XML"))?;
            let name = attribute.key.as_ref();
            if !is_name(name) {
                return Err(malformed("is not XML"));
            }
            self.count()?;
            let value = attribute_value(&attribute.value)?;
            if members.insert(format!("{ATTRIBUTE}{name}"), Value::String(value)).is_some() {
                return Err(malformed("has an attribute twice in one element"));
            }
        }
        if let Some(parent) = self.open.last_mut() {
            parent.has_elements = true;
        }
        self.open.push(Open { name, members, ..Open::default() });
        Ok(())
    }

    fn end(&mut self) {
        // The parser has seen to it that the two fit.
        let Some(Open { name, mut members, text, has_elements }) = self.open.pop() else { return };
        let value = if members.is_empty() {
            Value::String(text)
        } else {
            let text = if has_elements { text.trim() } else { &text };
            if !text.is_empty() {
                members.insert(TEXT.to_owned(), Value::from(text));
            }
            Value::Object(members)
        };
        match self.open.last_mut() {
            None => self.root = Some(Map::from_iter([(name, value)])),
            Some(parent) => {
                let is_list = self.lists.iter().any(|list| **list == *name);
                add(&mut parent.members, name, value, is_list);
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        if !text.chars().all(is_character) {
            return Err(malformed("is not XML"));
        }
        match self.open.last_mut() {
            Some(open) => open.text.push_str(text),
            None if text.trim_matches([' ', '\t', '\n']).is_empty() => {}
            None => return Err(malformed("is not XML")),
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.count += 1;
        if self.count > MAX_VALUES { Err(malformed("has too many values")) } else { Ok(()) }
    }
}

fn add(members: &mut Map<String, Value>, name: String, value: Value, is_list: bool) {
    match members.get_mut(&name) {
        None => {
            members.insert(name, if is_list { Value::Array(vec![value]) } else { value });
        }
        // An element is never a list of its own.
        Some(Value::Array(items)) => items.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// XML 1.0 §3.3.3: white space as it stands is spaces, and references are what they stand for.
fn attribute_value(raw: &str) -> Result<String, Fault> {
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find(['&', '<', '\t', '\n']) {
        let (before, from) = rest.split_at(at);
        value.push_str(before);
        if let Some(after) = from.strip_prefix('&') {
            let (name, after) = after.split_once(';').ok_or_else(|| malformed("is not XML"))?;
            value.push(resolved(name)?);
            rest = after;
        } else if let Some(after) = from.strip_prefix(['\t', '\n']) {
            value.push(' ');
            rest = after;
        } else {
            return Err(malformed("is not XML"));
        }
    }
    value.push_str(rest);
    if value.chars().all(is_character) { Ok(value) } else { Err(malformed("is not XML")) }
}

/// What a reference stands for: one of the five that XML knows by itself, or a character's number.
fn resolved(name: &str) -> Result<char, Fault> {
    let number = match name {
        "amp" => return Ok('&'),
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "quot" => return Ok('"'),
        "apos" => return Ok('\''),
        name => name
            .strip_prefix('#')
            .ok_or_else(|| malformed("has an entity that is not XML's own"))?,
    };
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
    let is_number = digits.chars().all(|digit| digit.is_digit(radix));
    let character = u32::from_str_radix(digits, radix).ok().filter(|_| is_number);
    let character = character.and_then(char::from_u32).filter(|known| is_character(*known));
    character.ok_or_else(|| malformed("is not XML"))
}
