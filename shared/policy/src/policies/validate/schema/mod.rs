//! Schemas as they are run: compiled once, checked within a budget.
//!
//! The evaluation is our own. What it costs must be bounded while it runs, on any schema and any body, and a
//! library that walks schemas by itself cannot be stopped, nor be kept from listing a fault for every value.

use std::sync::Arc;

use regex::Regex;

use super::json::{Json, Number};

/// Turns a document's schemas into [`Schemas`].
mod build;
/// Which keywords there are, and what they may be.
mod keywords;
/// The schema that a `$ref` names.
mod reference;
/// Schemas that would take too long, or for ever.
mod expansion;
/// Expressions of ECMA-262.
mod pattern;
/// What `format` asserts.
mod format;
/// What a schema makes of a text that has no type.
mod shape;
/// Checks a value.
mod check;

pub(super) use build::{Builder, Dialect, Direction, Faults};
pub(super) use check::{At, Checker, Outcome};
use format::Format;
pub(super) use shape::{Scalar, Shape};

/// All schemas of one direction.
#[derive(Default)]
pub(crate) struct Schemas {
    nodes: Box<[Node]>,
}

impl Schemas {
    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id.0).unwrap_or(usize::MAX))
    }
}

/// One schema among [`Schemas`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// One schema. What is not given asks for nothing.
#[derive(Default)]
struct Node {
    /// Written as `false`.
    is_never: bool,
    types: Types,
    /// `enum` and `const`: one of each list, in order.
    values: Box<[Box<[Json]>]>,
    numbers: Option<Box<Numbers>>,
    texts: Option<Box<Texts>>,
    lists: Option<Box<Lists>>,
    objects: Option<Box<Objects>>,
    applied: Option<Box<Applied>>,
    unevaluated: Option<Box<Unevaluated>>,
}

/// A set of the types of JSON. `integer` is a number without a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Types(u8);

impl Default for Types {
    fn default() -> Self {
        Self::ANY
    }
}

impl Types {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const NULL: Self = Self(1);
    pub(crate) const BOOLEAN: Self = Self(2);
    pub(crate) const INTEGER: Self = Self(4);
    /// Numbers that are not whole.
    const FRACTION: Self = Self(8);
    /// Every number.
    pub(crate) const NUMBER: Self = Self(4 | 8);
    pub(crate) const STRING: Self = Self(16);
    pub(crate) const ARRAY: Self = Self(32);
    pub(crate) const OBJECT: Self = Self(64);
    pub(crate) const ANY: Self = Self(127);

    /// As they are written.
    const NAMES: [(&'static str, Self); 7] = [
        ("null", Self::NULL),
        ("boolean", Self::BOOLEAN),
        ("number", Self::NUMBER),
        ("integer", Self::INTEGER),
        ("string", Self::STRING),
        ("array", Self::ARRAY),
        ("object", Self::OBJECT),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, types)| *types)
    }

    /// The least set that this value is of.
    pub(crate) fn of(value: &Json) -> Self {
        match value {
            Json::Null => Self::NULL,
            Json::Bool(_) => Self::BOOLEAN,
            Json::Number(number) if number.is_whole() => Self::INTEGER,
            Json::Number(_) => Self::FRACTION,
            Json::Text(_) => Self::STRING,
            Json::List(_) => Self::ARRAY,
            Json::Object(_) => Self::OBJECT,
        }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// For people: `a string or null`.
    fn text(self) -> String {
        let article = |name: &str| match name {
            "null" => "null",
            "boolean" => "true or false",
            "number" => "a number",
            "integer" => "a whole number",
            "string" => "a string",
            "array" => "a list",
            _ => "an object",
        };
        let is_fraction = self.0 & Self::FRACTION.0 != 0;
        let names = Self::NAMES.iter().filter(|(name, types)| match *name {
            "number" => is_fraction,
            "integer" => self.has(*types) && !is_fraction,
            _ => self.has(*types),
        });
        let names: Vec<&str> = names.map(|(name, _)| article(name)).collect();
        names.join(" or ")
    }
}

/// What a number must be.
#[derive(Default)]
struct Numbers {
    bounds: Vec<(Bound, Number)>,
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    AtLeast,
    Above,
    AtMost,
    Below,
    MultipleOf,
}

/// What a string must be.
#[derive(Default)]
struct Texts {
    min_length: u64,
    max_length: Option<u64>,
    pattern: Option<Arc<Regex>>,
    format: Option<Format>,
}

/// What a list must be.
#[derive(Default)]
struct Lists {
    min: u64,
    max: Option<u64>,
    is_unique: bool,
    first: Box<[NodeId]>,
    rest: Option<NodeId>,
    contains: Option<Contains>,
}

struct Contains {
    node: NodeId,
    min: u64,
    max: Option<u64>,
    /// Since 2020-12, what it finds counts as evaluated.
    evaluates: bool,
}

/// Names of properties.
type Names = Box<[Box<str>]>;

/// What an object must be.
#[derive(Default)]
struct Objects {
    min: u64,
    max: Option<u64>,
    required: Box<[Box<str>]>,
    /// In the order of their names.
    properties: Box<[(Box<str>, NodeId)]>,
    patterns: Box<[(Arc<Regex>, NodeId)]>,
    additional: Option<NodeId>,
    names: Option<NodeId>,
    dependent: Box<[(Box<str>, Names)]>,
    /// Properties that are not for this direction, in order; and what is said of them.
    forbidden: Option<(Forbidden, Names)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forbidden {
    ReadOnly,
    WriteOnly,
}

/// Schemas of the same value.
#[derive(Default)]
struct Applied {
    /// `$ref` and `allOf`.
    all: Vec<NodeId>,
    any: Option<Box<[NodeId]>>,
    one: Option<Box<[NodeId]>>,
    not: Option<NodeId>,
    condition: Option<Condition>,
    dependent: Box<[(Box<str>, NodeId)]>,
}

struct Condition {
    condition: NodeId,
    then: Option<NodeId>,
    otherwise: Option<NodeId>,
}

/// Schemas of what no other schema of the same value has looked at.
#[derive(Default)]
struct Unevaluated {
    items: Option<NodeId>,
    properties: Option<NodeId>,
}

impl Node {
    /// The schemas that the same value is checked with.
    fn in_place(&self) -> impl Iterator<Item = NodeId> {
        self.applied.iter().flat_map(|applied| {
            let condition = applied.condition.iter().flat_map(|condition| {
                [Some(condition.condition), condition.then, condition.otherwise]
            });
            let lists = [&applied.any, &applied.one].into_iter().flatten();
            applied
                .all
                .iter()
                .copied()
                .chain(lists.flat_map(|list| list.iter().copied()))
                .chain(applied.not)
                .chain(condition.flatten())
                .chain(applied.dependent.iter().map(|(_, node)| *node))
        })
    }
}

#[cfg(test)]
mod tests;
