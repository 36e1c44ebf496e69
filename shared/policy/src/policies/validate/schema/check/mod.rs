//! Checks a value against a schema, within a budget.

use tollgate_model::Issue;

use super::{Bound, Node, NodeId, Numbers, Schemas, Texts, Types};
use crate::policies::validate::json::{Json, Number, weight_of};

/// Schemas of the same value: `allOf`, `anyOf`, `if`, …
mod applied;
/// Items of lists and members of objects.
mod children;

/// How many steps a message may take: about one for each schema that a value is checked with.
pub(crate) const MAX_STEPS: u64 = 2_000_000;

/// How deep schemas may be applied in each other while a value is checked. It bounds the stack.
const MAX_NESTED: u32 = 320;

/// How many faults are named.
const MAX_FAULTS: usize = 20;

/// How much of a name of the caller's stands in a pointer.
const MAX_TOKEN: usize = 64;

/// Where a value stands in a message; rendered as a JSON pointer only where something is wrong.
#[derive(Clone, Copy)]
pub(crate) enum At<'a> {
    /// A part of the message, such as `/body`.
    Part(&'a str),
    /// A member of an object, a parameter of a part.
    Member(&'a At<'a>, &'a str),
    /// An item of a list.
    Item(&'a At<'a>, usize),
}

impl At<'_> {
    pub(crate) fn pointer(&self) -> String {
        match self {
            Self::Part(part) => (*part).to_owned(),
            Self::Member(of, name) => {
                let short: String = name.chars().take(MAX_TOKEN).collect();
                format!("{}/{}", of.pointer(), tollgate_model::issue::escape(&short))
            }
            Self::Item(of, index) => format!("{}/{index}", of.pointer()),
        }
    }
}

/// What came of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it must be.
    Valid,
    /// Not, because of these.
    Faults(Vec<Issue>),
    /// It was given up: it would have taken too long.
    TooComplex,
}

/// Checks the values of one message.
pub(crate) struct Checker<'s> {
    schemas: &'s Schemas,
    steps_left: u64,
    nested: u32,
    is_given_up: bool,
    /// While it is tried whether a schema holds: its faults are none of the message's.
    is_trying: bool,
    faults: Vec<Issue>,
}

/// Which items or members have been looked at, by their place.
struct Seen(Vec<bool>);

impl Seen {
    fn of(value: &Json) -> Self {
        Self(vec![false; children(value)])
    }

    fn add(&mut self, other: &Self) {
        for (flag, more) in self.0.iter_mut().zip(&other.0) {
            *flag |= more;
        }
    }

    fn mark(&mut self, place: usize) {
        if let Some(flag) = self.0.get_mut(place) {
            *flag = true;
        }
    }

    fn has(&self, place: usize) -> bool {
        self.0.get(place).copied().unwrap_or(false)
    }
}

fn children(value: &Json) -> usize {
    match value {
        Json::List(items) => items.len(),
        Json::Object(members) => members.len(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => 0,
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX / 2)
}

impl<'s> Checker<'s> {
    pub(crate) fn new(schemas: &'s Schemas) -> Self {
        Self::with_steps(schemas, MAX_STEPS)
    }

    pub(crate) fn with_steps(schemas: &'s Schemas, steps: u64) -> Self {
        Self {
            schemas,
            steps_left: steps,
            nested: 0,
            is_given_up: false,
            is_trying: false,
            faults: Vec::new(),
        }
    }

    /// Checks one value. The faults are kept.
    pub(crate) fn check(&mut self, node: NodeId, value: &Json, at: At<'_>) {
        self.apply(node, value, &at, None);
    }

    /// Whether a value would have no fault.
    pub(crate) fn tries(&mut self, node: NodeId, value: &Json, at: At<'_>) -> bool {
        self.attempt(node, value, &at, None)
    }

    /// Adds a fault that no schema found.
    pub(crate) fn fault(
        &mut self,
        at: At<'_>,
        code: &'static str,
        problem: impl FnOnce() -> String,
    ) {
        self.fail(&at, code, problem);
    }

    pub(crate) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self { is_given_up: true, .. } => Outcome::TooComplex,
            Self { faults, .. } if faults.is_empty() => Outcome::Valid,
            Self { faults, .. } => Outcome::Faults(faults),
        }
    }

    /// How many steps it has taken.
    #[cfg(test)]
    pub(crate) fn steps(&self, of: u64) -> u64 {
        of - self.steps_left
    }

    fn spend(&mut self, steps: u64) {
        match self.steps_left.checked_sub(steps) {
            Some(left) => self.steps_left = left,
            None => {
                self.steps_left = 0;
                self.is_given_up = true;
            }
        }
    }

    /// Whether nothing more is to be found out.
    fn is_over(&self) -> bool {
        self.is_given_up || self.faults.len() >= MAX_FAULTS
    }

    /// Adds a fault, and is false.
    fn fail(&mut self, at: &At<'_>, code: &str, problem: impl FnOnce() -> String) -> bool {
        if !self.is_trying && !self.is_over() {
            self.faults.push(Issue::new(at.pointer(), code, problem()));
        }
        false
    }

    fn apply(&mut self, id: NodeId, value: &Json, at: &At<'_>, seen: Option<&mut Seen>) -> bool {
        let schemas = self.schemas;
        let Some(node) = schemas.node(id) else { return true };
        self.spend(1);
        if self.nested >= MAX_NESTED {
            self.is_given_up = true;
        }
        if self.is_over() {
            return false;
        }
        self.nested += 1;
        let is_valid = match &node.unevaluated {
            None => self.keywords(node, value, at, seen),
            Some(unevaluated) => {
                self.spend(count(children(value)) / 16);
                let mut own = Seen::of(value);
                let is_valid = self.keywords(node, value, at, Some(&mut own))
                    && self.rest(unevaluated, value, at, &mut own);
                if let Some(seen) = seen {
                    seen.add(&own);
                }
                is_valid
            }
        };
        self.nested -= 1;
        is_valid
    }

    /// Whether a schema holds, without a word where it does not.
    fn attempt(&mut self, id: NodeId, value: &Json, at: &At<'_>, seen: Option<&mut Seen>) -> bool {
        let was_trying = std::mem::replace(&mut self.is_trying, true);
        let is_valid = match seen {
            None => self.apply(id, value, at, None),
            Some(seen) => {
                self.spend(count(children(value)) / 16);
                let mut own = Seen::of(value);
                let is_valid = self.apply(id, value, at, Some(&mut own));
                if is_valid {
                    seen.add(&own);
                }
                is_valid
            }
        };
        self.is_trying = was_trying;
        is_valid
    }

    fn keywords(
        &mut self,
        node: &Node,
        value: &Json,
        at: &At<'_>,
        mut seen: Option<&mut Seen>,
    ) -> bool {
        if node.is_never {
            return self.fail(at, "not_allowed", || "is not allowed here".to_owned());
        }
        if !node.types.has(Types::of(value)) {
            return self.fail(at, "type", || {
                format!("is {}; give {}", Types::of(value).text(), node.types.text())
            });
        }
        let mut is_valid = self.is_listed(node, value, at);
        is_valid &= match value {
            Json::Number(number) => {
                node.numbers.as_ref().is_none_or(|rules| self.number(rules, *number, at))
            }
            Json::Text(text) => node.texts.as_ref().is_none_or(|rules| self.text(rules, text, at)),
            Json::Null | Json::Bool(_) | Json::List(_) | Json::Object(_) => true,
        };
        if self.is_trying && !is_valid {
            return false;
        }
        is_valid &= match (value, &node.lists, &node.objects) {
            (Json::List(items), Some(rules), _) => self.list(rules, items, at, seen.as_deref_mut()),
            (Json::Object(members), _, Some(rules)) => {
                self.object(rules, members, at, seen.as_deref_mut())
            }
            _ => true,
        };
        match &node.applied {
            Some(_) if self.is_trying && !is_valid => false,
            Some(applied) => self.applied(applied, value, at, seen) && is_valid,
            None => is_valid,
        }
    }

    fn is_listed(&mut self, node: &Node, value: &Json, at: &At<'_>) -> bool {
        for list in &node.values {
            self.spend(value.weight().saturating_mul(u64::from(list.len().max(1).ilog2()) + 1));
            if list.binary_search_by(|known| known.compare(value)).is_err() {
                return self.fail(at, "enum", || match &**list {
                    [_] => "is not the one value that is taken here".to_owned(),
                    _ => "is none of the values that are taken here".to_owned(),
                });
            }
        }
        true
    }

    fn number(&mut self, rules: &Numbers, number: Number, at: &At<'_>) -> bool {
        let mut is_valid = true;
        for (bound, limit) in &rules.bounds {
            self.spend(1);
            let order = number.compare(*limit);
            let (is_within, code, wanted) = match bound {
                Bound::AtLeast => (order.is_ge(), "minimum", "at least"),
                Bound::Above => (order.is_gt(), "exclusive_minimum", "above"),
                Bound::AtMost => (order.is_le(), "maximum", "at most"),
                Bound::Below => (order.is_lt(), "exclusive_maximum", "below"),
                Bound::MultipleOf => {
                    (number.is_multiple_of(*limit), "multiple_of", "a multiple of")
                }
            };
            if !is_within {
                is_valid = self.fail(at, code, || format!("give a number {wanted} {limit}"));
            }
        }
        if let Some(format) = rules.format
            && !format.takes_number(number)
        {
            return self.fail(at, "format", || format!("is not {}", format.wanted()));
        }
        is_valid
    }

    fn text(&mut self, rules: &Texts, text: &str, at: &At<'_>) -> bool {
        self.spend(weight_of(text));
        let mut is_valid = true;
        if rules.min_length > 0 || rules.max_length.is_some() {
            let length = count(text.chars().count());
            if length < rules.min_length {
                is_valid = self.fail(at, "min_length", || {
                    format!("is too short; give at least {} characters", rules.min_length)
                });
            }
            if let Some(max) = rules.max_length
                && length > max
            {
                is_valid = self.fail(at, "max_length", || {
                    format!("is too long; give at most {max} characters")
                });
            }
        }
        if let Some(pattern) = &rules.pattern {
            self.spend(weight_of(text));
            if !pattern.is_match(text) {
                is_valid = self
                    .fail(at, "pattern", || "does not have the form that is asked for".to_owned());
            }
        }
        if let Some(format) = rules.format
            && !format.takes_text(text)
        {
            return self.fail(at, "format", || format!("is not {}", format.wanted()));
        }
        is_valid
    }
}
