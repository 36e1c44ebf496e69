//! Running a program. Every step and every value that is made is counted, and where too many were there is no
//! way on: no `try` catches that.

use serde_json::{Map, Number, Value};

use super::super::bounds::{MAX_DEPTH, depth};
use super::filter::{Filter, Logic, Notation, Operator, Part, Piece, Reduce, Relation, Step};
use super::value::{calculate, compare, is_true, merge, type_name, weight, weight_of_text, whole};
use crate::escape::{Escape, push_component};

/// How much a run may do: about so many values looked at or made. It takes some 20 ms at the most.
const MOST_STEPS: usize = 500_000;

/// Why a run has stopped.
#[derive(Debug, PartialEq)]
pub(super) enum Stop {
    /// The program or what it was run on is at fault; `try` catches it, with this value.
    Error(Value),
    /// It took too many steps.
    Spent,
    /// A value became nested too deeply.
    Deep,
}

/// What is made of a value so far; also where it ends with a fault.
pub(super) type Made = Result<(), Stop>;

/// One run of a program.
pub(super) struct Run {
    left: usize,
    variables: Vec<Value>,
}

/// An error of a program.
pub(super) fn error<T>(text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Error(Value::String(text.into())))
}

impl Run {
    /// A run with one variable: what is known of the request.
    pub(super) fn new(facts: Value) -> Self {
        Self { left: MOST_STEPS, variables: vec![facts] }
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
            Filter::List(items) => {
                let mut list = Vec::new();
                if let Some(items) = items {
                    self.run(items, input, &mut list)?;
                }
                made.push(checked(Value::Array(list))?);
            }
            Filter::Object(fields) => self.object(fields, input, made)?,
            Filter::Negate(of) => {
                for value in self.collect(of, input)? {
                    made.push(self.calculate(Operator::Subtract, Value::from(0), value)?);
                }
            }
            Filter::Pipe(filters) => self.pipe(filters, input, made)?,
            Filter::Comma(filters) => {
                for filter in filters {
                    self.run(filter, input, made)?;
                }
            }
            Filter::Bind(source, body) => {
                let (values, stop) = self.attempt(source, input);
                for value in values {
                    self.with(value, |run| run.run(body, input, made))?;
                }
                stop?;
            }
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

    fn path(&mut self, of: &Filter, steps: &[Step], input: &Value, made: &mut Vec<Value>) -> Made {
        // What stands in the input needs no copy but of what is found.
        if let Filter::Identity = of {
            return self.follow(steps, (input, input), made);
        }
        let (values, stop) = self.attempt(of, input);
        for value in &values {
            self.follow(steps, (value, input), made)?;
        }
        stop
    }

    /// What stands in a value at the end of some steps. Indices are made of the input.
    fn follow(
        &mut self,
        steps: &[Step],
        (value, input): (&Value, &Value),
        made: &mut Vec<Value>,
    ) -> Made {
        self.spend(1)?;
        let Some((step, rest)) = steps.split_first() else {
            made.push(self.copy(value)?);
            return Ok(());
        };
        let done = match &step.part {
            Part::All => match value {
                Value::Array(items) => {
                    return items
                        .iter()
                        .try_for_each(|item| self.follow(rest, (item, input), made));
                }
                Value::Object(fields) => {
                    return fields
                        .values()
                        .try_for_each(|field| self.follow(rest, (field, input), made));
                }
                other => error(format!("a {} has nothing in it", type_name(other))),
            },
            Part::At(index) => {
                for index in self.collect(index, input)? {
                    match at(value, &index) {
                        Ok(found) => {
                            let found = found.unwrap_or(&Value::Null);
                            self.follow(rest, (found, input), made)?;
                        }
                        Err(_) if step.is_optional => {}
                        Err(stop) => return Err(stop),
                    }
                }
                return Ok(());
            }
            Part::Slice(from, to) => {
                for (from, to) in self.ends(from.as_ref(), to.as_ref(), input)? {
                    match self.slice(value, &from, &to) {
                        Ok(slice) => self.follow(rest, (&slice, input), made)?,
                        Err(Stop::Error(_)) if step.is_optional => {}
                        Err(stop) => return Err(stop),
                    }
                }
                return Ok(());
            }
        };
        if step.is_optional { Ok(()) } else { done }
    }

    fn ends(
        &mut self,
        from: Option<&Filter>,
        to: Option<&Filter>,
        input: &Value,
    ) -> Result<Vec<(Value, Value)>, Stop> {
        let mut end = |filter: Option<&Filter>| match filter {
            Some(filter) => self.collect(filter, input),
            None => Ok(vec![Value::Null]),
        };
        let (froms, tos) = (end(from)?, end(to)?);
        self.spend(froms.len().saturating_mul(tos.len()))?;
        let pairs = froms.iter().flat_map(|from| tos.iter().map(|to| (from.clone(), to.clone())));
        Ok(pairs.collect())
    }

    fn slice(&mut self, value: &Value, from: &Value, to: &Value) -> Result<Value, Stop> {
        let range = |length: usize| {
            let end = |index: &Value, default: usize| match index {
                Value::Null => Ok(default),
                // Further back than the beginning is the beginning.
                Value::Number(number) => match whole(number) {
                    Some(index) if index < 0 => {
                        Ok(Some(place(number, length)).filter(|at| *at <= length).unwrap_or(0))
                    }
                    _ => Ok(place(number, length).min(length)),
                },
                other => error(format!("a {} cannot be an index", type_name(other))),
            };
            let (from, to) = (end(from, 0)?, end(to, length)?);
            Ok((from, to.saturating_sub(from)))
        };
        match value {
            Value::Null => Ok(Value::Null),
            Value::Array(items) => {
                let (skipped, taken) = range(items.len())?;
                let items: Vec<&Value> = items.iter().skip(skipped).take(taken).collect();
                let copies: Result<Vec<Value>, Stop> =
                    items.into_iter().map(|item| self.copy(item)).collect();
                Ok(Value::Array(copies?))
            }
            Value::String(text) => {
                self.spend(weight_of_text(text))?;
                let (skipped, taken) = range(text.chars().count())?;
                Ok(Value::String(text.chars().skip(skipped).take(taken).collect()))
            }
            other => error(format!("a {} cannot be sliced", type_name(other))),
        }
    }

    /// One value of two.
    pub(super) fn calculate(
        &mut self,
        operator: Operator,
        left: Value,
        right: Value,
    ) -> Result<Value, Stop> {
        let number = |number: Option<Value>| match number {
            Some(number) => Ok(number),
            None => error("a number is out of range"),
        };
        match (operator, left, right) {
            (_, Value::Number(left), Value::Number(right)) => {
                number(numbers(operator, &left, &right)?)
            }
            (Operator::Add, Value::Null, other) | (Operator::Add, other, Value::Null) => Ok(other),
            (Operator::Add, Value::String(mut left), Value::String(right)) => {
                self.spend(weight_of_text(&left) + weight_of_text(&right))?;
                left.push_str(&right);
                Ok(Value::String(left))
            }
            (Operator::Add, Value::Array(mut left), Value::Array(right)) => {
                left.extend(right);
                Ok(Value::Array(left))
            }
            (Operator::Add, Value::Object(mut left), Value::Object(right)) => {
                left.extend(right);
                Ok(Value::Object(left))
            }
            (Operator::Subtract, Value::Array(mut left), Value::Array(right)) => {
                for other in &right {
                    self.spend(left.iter().map(weight).sum::<usize>())?;
                    left.retain(|item| compare(item, other).is_ne());
                }
                Ok(Value::Array(left))
            }
            (Operator::Multiply, Value::Object(mut left), Value::Object(right)) => {
                merge(&mut left, right);
                Ok(Value::Object(left))
            }
            (Operator::Divide, Value::String(text), Value::String(separator)) => {
                self.split(&text, &separator)
            }
            (_, left, right) => error(format!(
                "a {} and a {} cannot be calculated with in this way",
                type_name(&left),
                type_name(&right)
            )),
        }
    }

    /// The parts of a text between separators; its characters where the separator is empty.
    pub(super) fn split(&mut self, text: &str, separator: &str) -> Result<Value, Stop> {
        self.spend(1 + text.len())?;
        let parts: Vec<Value> = match separator {
            "" => text.chars().map(|character| Value::String(character.to_string())).collect(),
            _ if text.is_empty() => Vec::new(),
            separator => text.split(separator).map(Value::from).collect(),
        };
        Ok(Value::Array(parts))
    }
}

fn holds(relation: Relation, left: &Value, right: &Value) -> bool {
    let order = compare(left, right);
    match relation {
        Relation::Equal => order.is_eq(),
        Relation::NotEqual => order.is_ne(),
        Relation::Less => order.is_lt(),
        Relation::LessOrEqual => order.is_le(),
        Relation::Greater => order.is_gt(),
        Relation::GreaterOrEqual => order.is_ge(),
    }
}

fn numbers(operator: Operator, left: &Number, right: &Number) -> Result<Option<Value>, Stop> {
    let is_zero = right.as_f64() == Some(0.0);
    if is_zero && matches!(operator, Operator::Divide | Operator::Remainder) {
        return error("a number cannot be divided by zero");
    }
    let exact_division = |left: i64, right: i64| match left.checked_rem(right) {
        Some(0) => left.checked_div(right),
        _ => None,
    };
    Ok(match operator {
        Operator::Add => calculate(left, right, (i64::checked_add, |left, right| left + right)),
        Operator::Subtract => {
            calculate(left, right, (i64::checked_sub, |left, right| left - right))
        }
        Operator::Multiply => {
            calculate(left, right, (i64::checked_mul, |left, right| left * right))
        }
        Operator::Divide => calculate(left, right, (exact_division, |left, right| left / right)),
        Operator::Remainder => {
            calculate(left, right, (i64::checked_rem, |left, right| left % right))
        }
    })
}

fn decoded(text: &str) -> Result<String, Stop> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    match bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Ok(text),
        None => error("a text is not base64 of a text"),
    }
}

/// What stands at an index or under a name; none where nothing does.
pub(super) fn at<'v>(value: &'v Value, index: &Value) -> Result<Option<&'v Value>, Stop> {
    match (value, index) {
        (Value::Null, Value::String(_) | Value::Number(_) | Value::Null) => Ok(None),
        (Value::Object(fields), Value::String(name)) => Ok(fields.get(name)),
        (Value::Array(items), Value::Number(number)) => Ok(items.get(place(number, items.len()))),
        (value, index) => error(format!(
            "a {} cannot be looked into with a {}",
            type_name(value),
            type_name(index)
        )),
    }
}

/// Where an index points in a list of this length; beyond it where it points nowhere. Below zero it counts
/// from the end.
pub(super) fn place(number: &Number, length: usize) -> usize {
    let Some(index) = whole(number) else { return usize::MAX };
    match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => {
            let back = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
            length.checked_sub(back).unwrap_or(usize::MAX)
        }
    }
}

/// A value that is not nested too deeply.
pub(super) fn checked(value: Value) -> Result<Value, Stop> {
    if depth(&value) > MAX_DEPTH { Err(Stop::Deep) } else { Ok(value) }
}
