//! Running a program. Every step and every value that is made is counted, and where too many were there is no
//! way on: no `try` catches that.

use serde_json::{Map, Value};

use super::super::bounds::{MAX_DEPTH, depth};
use super::arithmetic::holds;
use super::filter::{Filter, Logic, Operator, Reduce};
use super::value::{is_true, type_name, weight, weight_of_text};

/// How much a run may do: about so many values looked at or made.
const MOST_STEPS: usize = 500_000;

/// How often a filter may be run within a filter, and a value looked into within that: each takes some of the
/// thread's stack. No program is nested as deep as that, but it can walk a value within a walk.
const MOST_LEVELS: usize = 80;

/// Why a run has stopped.
#[derive(Debug, PartialEq)]
pub(super) enum Stop {
    /// The program or what it was run on is at fault; `try` catches it, with this value.
    Error(Box<Value>),
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
    Err(Stop::Error(Box::new(Value::String(text.into()))))
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

    /// A value that is not nested too deeply.
    pub(super) fn checked(&mut self, value: Value) -> Result<Value, Stop> {
        // To look is little beside what it took to make.
        self.spend(1 + weight(&value) / 8)?;
        if depth(&value) > MAX_DEPTH { Err(Stop::Deep) } else { Ok(value) }
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
                    let order = run.compare(&left, &right)?;
                    made.push(Value::Bool(holds(*relation, order)));
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
        let (values, stop) = self.attempt(of, input);
        for value in values {
            made.push(self.calculate(Operator::Subtract, Value::from(0), value)?);
        }
        stop
    }

    fn listed(&mut self, items: Option<&Filter>, input: &Value, made: &mut Vec<Value>) -> Made {
        let mut list = Vec::new();
        if let Some(items) = items {
            self.run(items, input, &mut list)?;
        }
        made.push(self.checked(Value::Array(list))?);
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
        let (starts, stop) = self.attempt(&reduce.start, input);
        if starts.is_empty() {
            return stop;
        }
        let sources = self.collect(&reduce.source, input)?;
        for mut state in starts {
            for source in &sources {
                let source = self.copy(source)?;
                let mut next = Vec::new();
                self.with(source, |run| run.run(&reduce.step, &state, &mut next))?;
                // jq goes on with null then, others with nothing.
                let Some(next) = next.pop() else { return error("a step of reduce made nothing") };
                state = next;
            }
            made.push(state);
        }
        stop
    }

    fn choose(
        &mut self,
        choices: &[(Filter, Filter)],
        otherwise: Option<&Filter>,
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        let mut left_over = choices;
        while let Some(((condition, then), rest)) = left_over.split_first() {
            let (conditions, stop) = self.attempt(condition, input);
            if let ([condition], Ok(())) = (&*conditions, &stop) {
                if is_true(condition) {
                    return self.run(then, input, made);
                }
                left_over = rest;
                continue;
            }
            for condition in conditions {
                if is_true(&condition) {
                    self.run(then, input, made)?;
                } else {
                    self.enter()?;
                    let chosen = self.choose(rest, otherwise, input, made);
                    self.leave();
                    chosen?;
                }
            }
            return stop;
        }
        self.run(otherwise.unwrap_or(&Filter::Identity), input, made)
    }

    fn alternative(
        &mut self,
        left: &Filter,
        right: &Filter,
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        let (values, stop) = self.attempt(left, input);
        let before = made.len();
        made.extend(values.into_iter().filter(is_true));
        stop?;
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

    /// Each value of the one with each of the other. A fault of one side is none where the other makes nothing.
    fn both(
        &mut self,
        (left, right): (&Filter, &Filter),
        input: &Value,
        mut then: impl FnMut(&mut Self, Value, Value) -> Made,
    ) -> Made {
        let (lefts, left_stop) = self.attempt(left, input);
        if lefts.is_empty() && !matches!(left_stop, Err(Stop::Error(_))) {
            return left_stop;
        }
        let (rights, right_stop) = self.attempt(right, input);
        // Behind the first fault there is nothing.
        let most = if right_stop.is_ok() { lefts.len() } else { 1 };
        for left in lefts.iter().take(most) {
            for right in &rights {
                let (left, right) = (self.copy(left)?, self.copy(right)?);
                then(self, left, right)?;
            }
        }
        right_stop?;
        match left_stop {
            Err(Stop::Error(_)) if rights.is_empty() => Ok(()),
            stop => stop,
        }
    }

    fn object(
        &mut self,
        fields: &[(Filter, Filter)],
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        let (mut objects, mut ended) = (vec![Map::new()], Ok(()));
        for (name, value) in fields {
            let names = self.names(name, input, &mut ended)?;
            let values =
                if names.is_empty() { Vec::new() } else { self.some(value, input, &mut ended)? };
            let mut next = Vec::new();
            for mut object in objects {
                for name in &names {
                    for value in &values {
                        // Its growth; and where there are several, a copy of what is there already.
                        self.spend(4 + weight_of_text(name))?;
                        let mut object = if names.len() * values.len() == 1 {
                            std::mem::take(&mut object)
                        } else {
                            self.spend(object.values().map(|value| 4 + weight(value)).sum())?;
                            object.clone()
                        };
                        object.insert(name.clone(), self.copy(value)?);
                        next.push(object);
                    }
                }
            }
            objects = next;
            if objects.is_empty() {
                break;
            }
        }
        for object in objects {
            made.push(self.checked(Value::Object(object))?);
        }
        ended
    }

    /// What a filter makes. Where that ends with an error, what came before it counts, and the first such end is
    /// kept in `ended`.
    pub(super) fn some(
        &mut self,
        filter: &Filter,
        input: &Value,
        ended: &mut Made,
    ) -> Result<Vec<Value>, Stop> {
        let (values, stop) = self.attempt(filter, input);
        match stop {
            Err(Stop::Error(error)) if ended.is_ok() => *ended = Err(Stop::Error(error)),
            Err(Stop::Error(_)) | Ok(()) => {}
            Err(stop) => return Err(stop),
        }
        Ok(values)
    }

    fn names(
        &mut self,
        filter: &Filter,
        input: &Value,
        ended: &mut Made,
    ) -> Result<Vec<String>, Stop> {
        let mut names = Vec::new();
        for name in self.some(filter, input, ended)? {
            match name {
                Value::String(name) => names.push(name),
                other => return error(format!("a {} cannot be a name", type_name(&other))),
            }
        }
        Ok(names)
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
}
