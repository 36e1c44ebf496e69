//! Running a program. Every step and every value that is made is counted, and where too many were there is no
//! way on: no `try` catches that.

use serde_json::{Map, Value};

use super::super::bounds::{MAX_DEPTH, depth};
use super::arithmetic::holds;
use super::filter::{Filter, Logic, Notation, Operator, Piece, Reduce};
use super::value::{is_true, type_name, weight, weight_of_text};
use crate::escape::{Escape, push_component};

/// How much a run may do: about so many values looked at or made. It takes some 20 ms at the most.
const MOST_STEPS: usize = 500_000;

/// How often a filter may be run within a filter, and a value looked into within that: each takes some of the
/// thread's stack. No program is nested as deep as that, but it can walk a value within a walk.
const MOST_LEVELS: usize = 256;

/// Why a run has stopped.
#[derive(Debug, PartialEq)]
pub(super) enum Stop {
    /// The program or what it was run on is at fault; `try` catches it, with this value.
    Error(Value),
    /// It took too many steps.
    Spent,
    /// A value became nested too deeply, or was walked within too many others.
    Deep,
}

/// What is made of a value so far; also where it ends with a fault.
pub(super) type Made = Result<(), Stop>;

/// One run of a program.
pub(super) struct Run {
    left: usize,
    level: usize,
    variables: Vec<Value>,
}

/// An error of a program.
pub(super) fn error<T>(text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Error(Value::String(text.into())))
}

impl Run {
    /// A run with one variable: what is known of the request.
    pub(super) fn new(facts: Value) -> Self {
        Self { left: MOST_STEPS, level: 0, variables: vec![facts] }
    }

    /// Counts steps, before what they are for is done.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Stop::Spent)
            }
        }
    }

    /// A copy of a value.
    pub(super) fn copy(&mut self, value: &Value) -> Result<Value, Stop> {
        self.spend(weight(value))?;
        Ok(value.clone())
    }

    /// What a filter makes of a value, behind what is made already. Where it stops, what it made before stays.
    pub(super) fn run(&mut self, filter: &Filter, input: &Value, made: &mut Vec<Value>) -> Made {
        self.spend(1)?;
        self.enter()?;
        let done = self.run_one(filter, input, made);
        self.leave();
        done
    }

    /// Goes one level further in.
    pub(super) fn enter(&mut self) -> Made {
        if self.level >= MOST_LEVELS {
            return Err(Stop::Deep);
        }
        self.level += 1;
        Ok(())
    }

    /// Comes back from one level.
    pub(super) fn leave(&mut self) {
        self.level = self.level.saturating_sub(1);
    }

    fn run_one(&mut self, filter: &Filter, input: &Value, made: &mut Vec<Value>) -> Made {
        match filter {
            Filter::Identity => made.push(self.copy(input)?),
            Filter::Everything => self.everything(input, made)?,
            Filter::Literal(value) => made.push(self.copy(value)?),
            Filter::Variable(place) => {
                let value = self.variables.get(*place).cloned().unwrap_or_default();
                self.spend(weight(&value))?;
                made.push(value);
            }
            Filter::Text(notation, pieces) => self.text(*notation, pieces, input, made)?,
            Filter::List(items) => self.listed(items.as_deref(), input, made)?,
            Filter::Object(fields) => self.object(fields, input, made)?,
            Filter::Negate(of) => self.negate(of, input, made)?,
            Filter::Pipe(filters) => self.pipe(filters, input, made)?,
            Filter::Comma(filters) => {
                for filter in filters {
                    self.run(filter, input, made)?;
                }
            }
            Filter::Bind(source, body) => self.bind((source, body), input, made)?,
            Filter::Reduce(reduce) => self.reduce(reduce, input, made)?,
            Filter::Try(tried, caught) => match self.run(tried, input, made) {
                Err(Stop::Error(value)) => {
                    if let Some(caught) = caught {
                        self.run(caught, &value, made)?;
                    }
                }
                other => other?,
            },
            Filter::Choice(choices, otherwise) => {
                self.choose(choices, otherwise.as_deref(), input, made)?;
            }
            Filter::Alternative(left, right) => self.alternative(left, right, input, made)?,
            Filter::Logic(logic, left, right) => self.logic(*logic, (left, right), input, made)?,
            Filter::Calculation(operator, left, right) => {
                self.both((left, right), input, |run, left, right| {
                    made.push(run.calculate(*operator, left, right)?);
                    Ok(())
                })?;
            }
            Filter::Comparison(relation, left, right) => {
                self.both((left, right), input, |run, left, right| {
                    run.spend(weight(&left).min(weight(&right)))?;
                    made.push(Value::Bool(holds(*relation, &left, &right)));
                    Ok(())
                })?;
            }
            Filter::Path(of, steps) => self.path(of, steps, input, made)?,
            Filter::Assignment(assignment, path, value) => {
                self.assign(*assignment, (path, value), input, made)?;
            }
            Filter::Call(function, arguments) => self.call(*function, arguments, input, made)?,
        }
        Ok(())
    }

    /// All that a filter makes of a value.
    pub(super) fn collect(&mut self, filter: &Filter, input: &Value) -> Result<Vec<Value>, Stop> {
        let mut made = Vec::new();
        self.run(filter, input, &mut made)?;
        Ok(made)
    }

    /// What a filter makes of a value, and how it ended.
    pub(super) fn attempt(&mut self, filter: &Filter, input: &Value) -> (Vec<Value>, Made) {
        let mut made = Vec::new();
        let stop = self.run(filter, input, &mut made);
        (made, stop)
    }

    fn negate(&mut self, of: &Filter, input: &Value, made: &mut Vec<Value>) -> Made {
        for value in self.collect(of, input)? {
            made.push(self.calculate(Operator::Subtract, Value::from(0), value)?);
        }
        Ok(())
    }

    fn listed(&mut self, items: Option<&Filter>, input: &Value, made: &mut Vec<Value>) -> Made {
        let mut list = Vec::new();
        if let Some(items) = items {
            self.run(items, input, &mut list)?;
        }
        made.push(checked(Value::Array(list))?);
        Ok(())
    }

    fn bind(
        &mut self,
        (source, body): (&Filter, &Filter),
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        let (values, stop) = self.attempt(source, input);
        for value in values {
            self.with(value, |run| run.run(body, input, made))?;
        }
        stop
    }

    fn with(&mut self, value: Value, then: impl FnOnce(&mut Self) -> Made) -> Made {
        self.variables.push(value);
        let done = then(self);
        self.variables.pop();
        done
    }

    fn pipe(&mut self, filters: &[Filter], input: &Value, made: &mut Vec<Value>) -> Made {
        let Some((last, before)) = filters.split_last() else { return Ok(()) };
        let Some((first, between)) = before.split_first() else {
            return self.run(last, input, made);
        };
        let (mut values, mut stop) = self.attempt(first, input);
        for filter in between {
            let mut next = Vec::new();
            for value in &values {
                if let Err(earlier) = self.run(filter, value, &mut next) {
                    stop = Err(earlier);
                    break;
                }
            }
            values = next;
        }
        for value in &values {
            self.run(last, value, made)?;
        }
        stop
    }

    fn reduce(&mut self, reduce: &Reduce, input: &Value, made: &mut Vec<Value>) -> Made {
        let sources = self.collect(&reduce.source, input)?;
        for mut state in self.collect(&reduce.start, input)? {
            for source in &sources {
                let source = self.copy(source)?;
                let mut next = Vec::new();
                self.with(source, |run| run.run(&reduce.step, &state, &mut next))?;
                state = next.pop().unwrap_or_default();
            }
            made.push(state);
        }
        Ok(())
    }

    fn choose(
        &mut self,
        choices: &[(Filter, Filter)],
        otherwise: Option<&Filter>,
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        let Some(((condition, then), rest)) = choices.split_first() else {
            return match otherwise {
                Some(filter) => self.run(filter, input, made),
                None => self.run(&Filter::Identity, input, made),
            };
        };
        let (conditions, stop) = self.attempt(condition, input);
        for condition in conditions {
            if is_true(&condition) {
                self.run(then, input, made)?;
            } else {
                self.choose(rest, otherwise, input, made)?;
            }
        }
        stop
    }

    fn alternative(
        &mut self,
        left: &Filter,
        right: &Filter,
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        let (values, stop) = self.attempt(left, input);
        match stop {
            Ok(()) | Err(Stop::Error(_)) => {}
            Err(stop) => return Err(stop),
        }
        let before = made.len();
        made.extend(values.into_iter().filter(is_true));
        if made.len() == before { self.run(right, input, made) } else { Ok(()) }
    }

    fn logic(
        &mut self,
        logic: Logic,
        (left, right): (&Filter, &Filter),
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        let (lefts, stop) = self.attempt(left, input);
        for left in lefts {
            match (logic, is_true(&left)) {
                (Logic::And, false) => made.push(Value::Bool(false)),
                (Logic::Or, true) => made.push(Value::Bool(true)),
                (Logic::And, true) | (Logic::Or, false) => {
                    let (rights, stop) = self.attempt(right, input);
                    made.extend(rights.iter().map(|right| Value::Bool(is_true(right))));
                    stop?;
                }
            }
        }
        stop
    }

    /// Each value of the one with each of the other.
    fn both(
        &mut self,
        (left, right): (&Filter, &Filter),
        input: &Value,
        mut then: impl FnMut(&mut Self, Value, Value) -> Made,
    ) -> Made {
        let (lefts, stop) = self.attempt(left, input);
        for left in lefts {
            let (rights, stop) = self.attempt(right, input);
            for right in rights {
                let left = self.copy(&left)?;
                then(self, left, right)?;
            }
            stop?;
        }
        stop
    }

    fn object(
        &mut self,
        fields: &[(Filter, Filter)],
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        let mut objects = vec![Map::new()];
        for (name, value) in fields {
            let names = self.collect(name, input)?;
            let values = self.collect(value, input)?;
            let mut next = Vec::new();
            for object in &objects {
                for name in &names {
                    let Value::String(name) = name else {
                        return error(format!("a {} cannot be a name", type_name(name)));
                    };
                    for value in &values {
                        // The copy of the object, and its growth.
                        self.spend(4 + object.len() + weight_of_text(name))?;
                        let mut object = object.clone();
                        for value in object.values() {
                            self.spend(weight(value))?;
                        }
                        object.insert(name.clone(), self.copy(value)?);
                        next.push(object);
                    }
                }
            }
            objects = next;
        }
        for object in objects {
            made.push(checked(Value::Object(object))?);
        }
        Ok(())
    }

    fn everything(&mut self, input: &Value, made: &mut Vec<Value>) -> Made {
        made.push(self.copy(input)?);
        match input {
            Value::Array(items) => items.iter().try_for_each(|item| self.everything(item, made)),
            Value::Object(fields) => {
                fields.values().try_for_each(|field| self.everything(field, made))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn text(
        &mut self,
        notation: Notation,
        pieces: &[Piece],
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        let mut texts = vec![String::new()];
        for piece in pieces {
            match piece {
                Piece::Text(text) => {
                    for before in &mut texts {
                        self.spend(weight_of_text(text))?;
                        before.push_str(text);
                    }
                }
                Piece::Value(filter) => {
                    let mut values = Vec::new();
                    for value in self.collect(filter, input)? {
                        values.push(self.written(notation, &value)?);
                    }
                    let mut next = Vec::new();
                    for before in &texts {
                        for value in &values {
                            self.spend(weight_of_text(before) + weight_of_text(value))?;
                            next.push(format!("{before}{value}"));
                        }
                    }
                    texts = next;
                }
            }
        }
        made.extend(texts.into_iter().map(Value::String));
        Ok(())
    }

    /// A value as a text.
    pub(super) fn written(&mut self, notation: Notation, value: &Value) -> Result<String, Stop> {
        // What is escaped becomes up to six times as long.
        self.spend(weight(value).saturating_mul(6))?;
        let plain = match (notation, value) {
            (Notation::Json, value) => return Ok(value.to_string()),
            (_, Value::String(text)) => text.clone(),
            (_, value) => value.to_string(),
        };
        let mut text = String::new();
        match notation {
            Notation::Text | Notation::Json => return Ok(plain),
            Notation::Uri => push_component(&mut text, plain.as_bytes()),
            Notation::Html => Escape::Markup.push(&mut text, &plain),
            Notation::Base64 => {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode_string(plain, &mut text);
            }
            Notation::Base64Decoded => return decoded(&plain),
        }
        Ok(text)
    }
}

fn decoded(text: &str) -> Result<String, Stop> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    match bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Ok(text),
        None => error("a text is not base64 of a text"),
    }
}

/// A value that is not nested too deeply.
pub(super) fn checked(value: Value) -> Result<Value, Stop> {
    if depth(&value) > MAX_DEPTH { Err(Stop::Deep) } else { Ok(value) }
}
