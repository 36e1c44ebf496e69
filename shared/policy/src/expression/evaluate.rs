//! Works an expression out for a request, in a counted number of steps.
//!
//! The depth of the recursion is that of the expression, which the parser bounds. What depends on the
//! request (the length of a list or a text) is paid for with steps.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use jiff::Timestamp;

use super::arithmetic::{negated, of_time};
use super::moment::moment;
use super::program::{Conversion, Loop, LoopKind, MAX_NESTED_LOOPS, Node, Search};
use super::syntax::{Literal, Operator};
use super::value::{Failure, List, Map, Value, as_double, field};
use super::variables::{Facts, Variable};

/// The steps of one request, for all expressions of a policy together. A step is some 12 ns, and up to 400 ns
/// where a pattern is built to be slow.
pub(crate) const STEPS: u32 = 50_000;

/// How many bytes of a text are one step.
const BYTES_A_STEP: usize = 64;

/// The longest text that an expression makes, in bytes.
const MADE_BYTES: usize = 16 << 10;

/// The longest text that a pattern is looked for in, in bytes: the time that takes grows with both.
const MATCHED_BYTES: usize = 4 << 10;

type Result<T> = std::result::Result<T, Failure>;

/// Expressions worked out for one request.
pub(crate) struct Evaluation<'a> {
    facts: Facts<'a>,
    items: [Value<'a>; MAX_NESTED_LOOPS],
    /// What is left.
    steps: u32,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(facts: Facts<'a>) -> Self {
        Self { facts, items: [Value::Null, Value::Null], steps: STEPS }
    }

    /// The steps that are left.
    #[cfg(test)]
    pub(crate) fn steps_left(&self) -> u32 {
        self.steps
    }

    /// Whether it is true.
    ///
    /// # Errors
    ///
    /// Where it has no value, or one that is neither true nor false.
    pub(super) fn truth(&mut self, node: &'a Node) -> Result<bool> {
        match self.value(node)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(Failure::WrongType),
        }
    }

    /// What whole number it is.
    ///
    /// # Errors
    ///
    /// Where it has no value, or one that is no whole number.
    pub(super) fn whole_number(&mut self, node: &'a Node) -> Result<i64> {
        match self.value(node)? {
            Value::Int(number) => Ok(number),
            _ => Err(Failure::WrongType),
        }
    }

    fn spend(&mut self, steps: usize) -> Result<()> {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        match self.steps.checked_sub(steps) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => {
                self.steps = 0;
                Err(Failure::TooCostly)
            }
        }
    }

    fn read(&mut self, text: &str) -> Result<()> {
        self.spend(text.len() / BYTES_A_STEP)
    }

    pub(super) fn value(&mut self, node: &'a Node) -> Result<Value<'a>> {
        self.spend(1)?;
        match node {
            Node::Literal(literal) => Ok(literal_value(literal)),
            Node::Moment(moment) => Ok(Value::Time(*moment)),
            Node::Span(span) => Ok(Value::Span(*span)),
            Node::Variable(variable) => self.variable(variable),
            Node::Item(number) => self.item(*number),
            Node::Header(name) => {
                let value = field(self.facts.headers(), name)?.ok_or(Failure::Missing)?;
                self.made(value)
            }
            Node::Field(of, name) => {
                let of = self.value(of)?;
                self.field(&of, name)
            }
            Node::HasVariable(variable) => match self.variable(variable) {
                Ok(_) => Ok(Value::Bool(true)),
                Err(Failure::Missing) => Ok(Value::Bool(false)),
                Err(failure) => Err(failure),
            },
            Node::HasField(of, name) => match self.value(of)? {
                Value::Map(map) => {
                    self.spend(map.weight())?;
                    Ok(Value::Bool(map.has(name)))
                }
                _ => Err(Failure::WrongType),
            },
            Node::Index(parts) => self.index(parts),
            Node::Not(of) => Ok(Value::Bool(!self.truth(of)?)),
            Node::Negate(of) => negated(self.value(of)?),
            Node::All(parts) => self.joined(parts, false),
            Node::Any(parts) => self.joined(parts, true),
            Node::Choice(parts) => {
                let [condition, then, otherwise] = &**parts;
                if self.truth(condition)? { self.value(then) } else { self.value(otherwise) }
            }
            Node::Equal(parts) => {
                let [one, other] = self.both(parts)?;
                self.equal(&one, &other).map(Value::Bool)
            }
            Node::Compare(operator, parts) => self.compare(*operator, parts),
            Node::In(parts) => self.is_in(parts).map(Value::Bool),
            Node::Arithmetic(operator, parts) => self.arithmetic(*operator, parts),
            Node::List(parts) => {
                let items: Result<Vec<_>> = parts.iter().map(|part| self.value(part)).collect();
                items.map(Value::made)
            }
            Node::Search(search, parts) => self.search(*search, parts),
            Node::Matches(of, pattern) => {
                let text = text_of(self.value(of)?)?;
                if text.len() > MATCHED_BYTES {
                    return Err(Failure::OutOfRange);
                }
                self.spend(text.len() * pattern.steps_a_byte)?;
                Ok(Value::Bool(pattern.regex.is_match(&text)))
            }
            Node::Within(of, network) => {
                let address = self.address(of)?;
                Ok(Value::Bool(network.0.contains(&address)))
            }
            Node::Convert(conversion, of) => self.convert(*conversion, of),
            Node::Part(part, zone, of) => match self.value(of)? {
                Value::Time(moment) => Ok(Value::Int(part.of(moment, zone))),
                _ => Err(Failure::WrongType),
            },
            Node::Loop(each) => self.run(each),
        }
    }

    fn both(&mut self, parts: &'a [Node; 2]) -> Result<[Value<'a>; 2]> {
        let [one, other] = parts;
        Ok([self.value(one)?, self.value(other)?])
    }

    fn variable(&mut self, variable: &Variable) -> Result<Value<'a>> {
        let value = self.facts.value(variable)?;
        self.made(value)
    }

    /// Pays for the bytes of a text that had to be copied.
    fn made(&mut self, value: Value<'a>) -> Result<Value<'a>> {
        if let Value::Text(Cow::Owned(text)) = &value {
            self.spend(text.len() / BYTES_A_STEP)?;
        }
        Ok(value)
    }

    fn item(&mut self, number: usize) -> Result<Value<'a>> {
        // The check gives out only numbers of loops around.
        let item = self.items.get(number).cloned().ok_or(Failure::Missing)?;
        self.made(item)
    }

    fn field(&mut self, of: &Value<'a>, name: &str) -> Result<Value<'a>> {
        let Value::Map(map) = of else { return Err(Failure::WrongType) };
        self.spend(map.weight())?;
        let value = map.get(name)?.ok_or(Failure::Missing)?;
        self.made(value)
    }

    fn index(&mut self, parts: &'a [Node; 2]) -> Result<Value<'a>> {
        match self.both(parts)? {
            [Value::List(list), Value::Int(index)] => {
                let index = usize::try_from(index).map_err(|_below_zero| Failure::Missing)?;
                let item = list.get(index).ok_or(Failure::Missing)?;
                self.made(item)
            }
            [of @ Value::Map(_), Value::Text(name)] => {
                self.read(&name)?;
                self.field(&of, &name)
            }
            _ => Err(Failure::WrongType),
        }
    }

    /// `&&` and `||`: the first part that decides does, also where others have no value. CEL lets
    /// a part that decides win over failures on either side of it.
    fn joined(&mut self, parts: &'a [Node], deciding: bool) -> Result<Value<'a>> {
        let mut failed = None;
        for part in parts {
            match self.truth(part) {
                Ok(truth) if truth == deciding => return Ok(Value::Bool(deciding)),
                Ok(_) => {}
                Err(Failure::TooCostly) => return Err(Failure::TooCostly),
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        failed.map_or(Ok(Value::Bool(!deciding)), Err)
    }

    fn compare(&mut self, operator: Operator, parts: &'a [Node; 2]) -> Result<Value<'a>> {
        let [one, other] = self.both(parts)?;
        if let (Value::Text(one), Value::Text(_)) = (&one, &other) {
            self.read(one)?;
        }
        let order = match one.order(&other) {
            Some(order) => Some(order),
            // What is not a number is neither less nor greater than one.
            None if is_number(&one) && is_number(&other) => None,
            None => return Err(Failure::WrongType),
        };
        Ok(Value::Bool(match operator {
            Operator::Less => order == Some(Ordering::Less),
            Operator::LessEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Operator::Greater => order == Some(Ordering::Greater),
            _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }))
    }

    /// Values of different types are not equal; numbers are compared by their value.
    fn equal(&mut self, one: &Value<'a>, other: &Value<'a>) -> Result<bool> {
        self.spend(1)?;
        match (one, other) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Text(one), Value::Text(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                self.read(one)?;
                Ok(one == other)
            }
            (Value::List(one), Value::List(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for index in 0..one.len() {
                    let (Some(one), Some(other)) = (one.get(index), other.get(index)) else {
                        return Ok(false);
                    };
                    if !self.equal(&one, &other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Map(one), Value::Map(other)) => self.equal_maps(one, other),
            (one, other) => Ok(one.order(other) == Some(Ordering::Equal)),
        }
    }

    fn equal_maps(&mut self, one: &Map<'a>, other: &Map<'a>) -> Result<bool> {
        self.spend(one.weight() + other.weight())?;
        let keys = one.keys()?;
        if keys.len() != other.keys()?.len() {
            return Ok(false);
        }
        for key in keys {
            let Value::Text(key) = key else { return Ok(false) };
            self.spend(one.weight() + other.weight())?;
            let (Some(one), Some(other)) = (one.get(&key)?, other.get(&key)?) else {
                return Ok(false);
            };
            if !self.equal(&one, &other)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_in(&mut self, parts: &'a [Node; 2]) -> Result<bool> {
        let [item, container] = parts;
        let item = self.value(item)?;
        // A list of constants is looked through as it stands, and need not be made first.
        if let Node::List(constants) = container
            && constants.iter().all(|part| matches!(part, Node::Literal(_)))
        {
            for constant in constants {
                let constant = self.value(constant)?;
                if self.equal(&item, &constant)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        match self.value(container)? {
            Value::List(list) => {
                for index in 0..list.len() {
                    let Some(known) = list.get(index) else { break };
                    if self.equal(&item, &known)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::Map(map) => {
                self.spend(map.weight())?;
                match item {
                    Value::Text(key) => Ok(map.has(&key)),
                    // These can be keys in CEL, but never are.
                    Value::Bool(_) | Value::Int(_) | Value::Double(_) => Ok(false),
                    _ => Err(Failure::WrongType),
                }
            }
            _ => Err(Failure::WrongType),
        }
    }

    fn arithmetic(&mut self, operator: Operator, parts: &'a [Node; 2]) -> Result<Value<'a>> {
        match self.both(parts)? {
            [Value::Int(one), Value::Int(other)] => {
                let number = match operator {
                    Operator::Add => one.checked_add(other),
                    Operator::Subtract => one.checked_sub(other),
                    Operator::Multiply => one.checked_mul(other),
                    Operator::Divide => one.checked_div(other),
                    _ => one.checked_rem(other),
                };
                number.map(Value::Int).ok_or(Failure::OutOfRange)
            }
            [Value::Double(one), Value::Double(other)] => match operator {
                Operator::Add => Ok(Value::Double(one + other)),
                Operator::Subtract => Ok(Value::Double(one - other)),
                Operator::Multiply => Ok(Value::Double(one * other)),
                Operator::Divide => Ok(Value::Double(one / other)),
                _ => Err(Failure::WrongType),
            },
            [Value::Text(one), Value::Text(other)] if operator == Operator::Add => {
                if one.len() + other.len() > MADE_BYTES {
                    return Err(Failure::OutOfRange);
                }
                self.made(Value::Text(Cow::Owned([one, other].concat())))
            }
            [one, other] => of_time(operator, one, other),
        }
    }

    fn search(&mut self, search: Search, parts: &'a [Node; 2]) -> Result<Value<'a>> {
        let [text, part] = self.both(parts)?;
        let (text, part) = (text_of(text)?, text_of(part)?);
        self.read(&text)?;
        self.read(&part)?;
        Ok(Value::Bool(match search {
            Search::Anywhere => text.contains(&*part),
            Search::AtStart => text.starts_with(&*part),
            Search::AtEnd => text.ends_with(&*part),
        }))
    }

    fn address(&mut self, node: &'a Node) -> Result<IpAddr> {
        if let Node::Variable(Variable::Address) = node {
            return Ok(self.facts.address());
        }
        let text = text_of(self.value(node)?)?;
        let address: IpAddr = text.parse().map_err(|_no_address| Failure::Unreadable)?;
        Ok(address.to_canonical())
    }

    fn convert(&mut self, conversion: Conversion, of: &'a Node) -> Result<Value<'a>> {
        let value = self.value(of)?;
        if let Value::Text(text) = &value {
            self.read(text)?;
        }
        match (conversion, value) {
            (Conversion::Size, Value::Text(text)) => size(text.chars().count()),
            (Conversion::Size, Value::List(list)) => size(list.len()),
            (Conversion::Size, Value::Map(map)) => {
                self.spend(map.weight())?;
                size(map.keys()?.len())
            }
            (Conversion::Text, text @ Value::Text(_)) => Ok(text),
            (Conversion::Text, Value::Int(number)) => {
                Ok(Value::Text(Cow::Owned(number.to_string())))
            }
            (Conversion::Text, Value::Bool(truth)) => {
                Ok(Value::text(if truth { "true" } else { "false" }))
            }
            (Conversion::Int, number @ Value::Int(_)) => Ok(number),
            (Conversion::Int, Value::Text(text)) => {
                text.parse().map(Value::Int).map_err(|_no_number| Failure::Unreadable)
            }
            (Conversion::Int, Value::Time(moment)) => Ok(Value::Int(moment.as_second())),
            (Conversion::Double, number @ Value::Double(_)) => Ok(number),
            (Conversion::Double, Value::Int(number)) => Ok(Value::Double(as_double(number))),
            (Conversion::Double, Value::Text(text)) => {
                text.parse().map(Value::Double).map_err(|_no_number| Failure::Unreadable)
            }
            (Conversion::Time, moment @ Value::Time(_)) => Ok(moment),
            (Conversion::Time, Value::Int(seconds)) => {
                let moment = Timestamp::from_second(seconds);
                moment.map(Value::Time).map_err(|_too_far| Failure::OutOfRange)
            }
            (Conversion::Time, Value::Text(text)) => {
                moment(&text).map(Value::Time).ok_or(Failure::Unreadable)
            }
            (Conversion::LowerCase, Value::Text(text)) => {
                let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
                let lower = if is_lower { text } else { Cow::Owned(text.to_ascii_lowercase()) };
                self.made(Value::Text(lower))
            }
            _ => Err(Failure::WrongType),
        }
    }

    fn run(&mut self, each: &'a Loop) -> Result<Value<'a>> {
        let list = match self.value(&each.range)? {
            Value::List(list) => list,
            Value::Map(map) => {
                self.spend(map.weight())?;
                List::Made(map.keys()?.into())
            }
            _ => return Err(Failure::WrongType),
        };
        let (mut failed, mut found, mut made) = (None, 0_usize, Vec::new());
        for index in 0..list.len() {
            let Some(item) = list.get(index) else { break };
            let item = self.made(item)?;
            if let Some(place) = self.items.get_mut(each.number) {
                *place = item.clone();
            }
            self.spend(1)?;
            if each.kind == LoopKind::Map {
                made.push(self.value(&each.body)?);
                continue;
            }
            match (each.kind, self.truth(&each.body)) {
                (_, Err(Failure::TooCostly)) => return Err(Failure::TooCostly),
                (LoopKind::All, Ok(false)) => return Ok(Value::Bool(false)),
                (LoopKind::Exists, Ok(true)) => return Ok(Value::Bool(true)),
                // As of `&&` and `||`, an item that decides wins over one that has no value.
                (LoopKind::All | LoopKind::Exists, Err(failure)) => {
                    failed = failed.or(Some(failure));
                }
                (_, Err(failure)) => return Err(failure),
                (LoopKind::Filter, Ok(true)) => made.push(item),
                (LoopKind::ExistsOne, Ok(true)) => found += 1,
                (_, Ok(_)) => {}
            }
        }
        match (each.kind, failed) {
            (_, Some(failure)) => Err(failure),
            (LoopKind::All, None) => Ok(Value::Bool(true)),
            (LoopKind::Exists, None) => Ok(Value::Bool(false)),
            (LoopKind::ExistsOne, None) => Ok(Value::Bool(found == 1)),
            (LoopKind::Filter | LoopKind::Map, None) => Ok(Value::made(made)),
        }
    }
}

fn literal_value(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(truth) => Value::Bool(*truth),
        Literal::Int(number) => Value::Int(*number),
        Literal::Double(number) => Value::Double(*number),
        Literal::Text(text) => Value::text(text),
    }
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Double(_))
}

fn text_of(value: Value<'_>) -> Result<Cow<'_, str>> {
    if let Value::Text(text) = value { Ok(text) } else { Err(Failure::WrongType) }
}

fn size(size: usize) -> Result<Value<'static>> {
    i64::try_from(size).map(Value::Int).map_err(|_too_large| Failure::OutOfRange)
}
