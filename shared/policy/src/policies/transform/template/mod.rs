//! Texts with values in them, in the syntax of Jinja, within bounds: an engine that counts what it does, and a
//! language without what it does not count.

use std::fmt;

use http::HeaderValue;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, filters, tests as conditions};
use serde_json::Value;
use tollgate_model::Issues;

use super::super::respond::escape_of;
use super::bounds::Output;
use super::fault::{Fault, Kind};
use crate::escape::Escape;

// What a template may hold.
mod check;

use check::Checked;

/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 64 << 10;

/// How much a rendering may do: about so many steps, and for each 64 bytes that it makes one more.
const FUEL: u64 = 500_000;

const NAME: &str = "template";

/// A text with values in it, ready to be rendered.
pub(super) struct Template {
    environment: Environment<'static>,
    asks_facts: bool,
}

impl Template {
    /// Makes one, with faults at the field `template` below `at`.
    pub(super) fn compile(
        text: &str,
        content_type: Option<&HeaderValue>,
        at: &str,
        issues: &mut Issues,
    ) -> Option<Self> {
        let at = format!("{at}/template");
        if text.len() > MAX_TEMPLATE {
            issues.add(at, "too_large", "is larger than 64 KiB");
            return None;
        }
        let asks_facts = match check::check(text) {
            Ok(Checked { asks_facts }) => asks_facts,
            Err(faults) => {
                for fault in faults {
                    issues.add(at.as_str(), fault.code, fault.problem);
                }
                return None;
            }
        };
        let mut environment = environment(escape_of(content_type));
        match environment.add_template_owned(NAME, text.to_owned()) {
            Ok(()) => Some(Self { environment, asks_facts }),
            Err(error) => {
                issues.add(at, "invalid_template", check::told(&error));
                None
            }
        }
    }

    /// Whether it asks for more of a request than its body.
    pub(super) fn asks_facts(&self) -> bool {
        self.asks_facts
    }

    /// Writes it with a body's value in it.
    ///
    /// # Errors
    ///
    /// Where it asks for what is not there, becomes too large, or takes too many steps. Nothing of the values
    /// is told.
    pub(super) fn render(
        &self,
        body: Value,
        facts: Option<&Value>,
        output: &mut Output,
    ) -> Result<(), Fault> {
        let values = minijinja::Value::from_pairs([
            ("body", minijinja::Value::from(Serde(body))),
            ("request", minijinja::Value::from(Serde(facts))),
        ]);
        let template = self.environment.get_template(NAME);
        let rendered =
            template.and_then(|template| template.render_captured_to(values, output).map(drop));
        rendered.map_err(|error| fault_of(error.kind()))
    }
}

fn fault_of(kind: ErrorKind) -> Fault {
    let (kind, why) = match kind {
        ErrorKind::WriteFailure => (Kind::TooLarge, "becomes larger than is passed on here"),
        ErrorKind::OutOfFuel => (Kind::Untransformable, "takes too many steps to transform"),
        ErrorKind::UndefinedError => {
            (Kind::Untransformable, "lacks a value that its transformation asks for")
        }
        _ => (Kind::Untransformable, "is not what its transformation is for"),
    };
    Fault::new(kind, why)
}

fn environment(escape: Escape) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(FUEL));
    // What is missing can be asked for with `if` and `default`; where it is to be written it is a fault.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_formatter(move |output, _state, value| write(output, escape, value));
    add_filters(&mut environment);
    environment.add_test("defined", conditions::is_defined);
    environment.add_test("undefined", conditions::is_undefined);
    environment.add_test("none", conditions::is_none);
    environment.add_test("boolean", conditions::is_boolean);
    environment.add_test("number", conditions::is_number);
    environment.add_test("integer", conditions::is_integer);
    environment.add_test("string", conditions::is_string);
    environment.add_test("sequence", conditions::is_sequence);
    environment.add_test("mapping", conditions::is_mapping);
    environment.add_test("odd", conditions::is_odd);
    environment.add_test("even", conditions::is_even);
    environment
}

/// Those whose work is counted, or is little. The list of names is in [`check`].
fn add_filters(environment: &mut Environment<'static>) {
    environment.add_filter("abs", filters::abs);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("float", filters::float);
    environment.add_filter("int", filters::int);
    environment.add_filter("items", filters::items);
    environment.add_filter("join", filters::join);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("replace", filters::replace);
    environment.add_filter("reverse", filters::reverse);
    environment.add_filter("round", filters::round);
    environment.add_filter("split", filters::split);
    environment.add_filter("title", filters::title);
    environment.add_filter("tojson", filters::tojson);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("upper", filters::upper);
}

/// Writes a value so that it stays a value: as JSON into JSON, else as its text, escaped for what is around it.
fn write(
    output: &mut minijinja::Output<'_>,
    escape: Escape,
    value: &minijinja::Value,
) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    if value.is_safe() {
        return Ok(output.write_str(value.as_str().unwrap_or_default())?);
    }
    if escape == Escape::Json {
        return json(output, value);
    }
    let text = match value.kind() {
        ValueKind::None => return Ok(()),
        ValueKind::String => value.as_str().unwrap_or_default().to_owned(),
        // Jinja's own is Python's `True`; beside JSON it is JSON's.
        ValueKind::Bool => value.is_true().to_string(),
        ValueKind::Number => value.to_string(),
        _ => {
            let mut text = String::new();
            json(&mut text, value)?;
            text
        }
    };
    let mut escaped = String::with_capacity(text.len());
    escape.push(&mut escaped, &text);
    Ok(output.write_str(&escaped)?)
}

fn json(output: &mut dyn fmt::Write, value: &minijinja::Value) -> Result<(), Error> {
    serde_json::to_writer(Writer(output), value).map_err(|error| {
        let kind =
            if error.is_io() { ErrorKind::WriteFailure } else { ErrorKind::BadSerialization };
        kind.into()
    })
}

/// What takes bytes in front of what takes texts.
struct Writer<'a>(&'a mut dyn fmt::Write);

impl std::io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // serde_json writes whole characters.
        let text = std::str::from_utf8(bytes)
            .map_err(|_broken| std::io::Error::from(std::io::ErrorKind::InvalidData))?;
        self.0
            .write_str(text)
            .map_err(|_no_room| std::io::Error::from(std::io::ErrorKind::FileTooLarge))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
