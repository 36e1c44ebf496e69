//! An expression that has been checked: names are resolved, patterns and time zones made.

use http::HeaderName;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use tollgate_model::gateway::Network;

use super::moment::Part;
use super::syntax::{Literal, Operator};
use super::variables::Variable;

/// How many loops may stand in one another.
pub(super) const MAX_NESTED_LOOPS: usize = 2;

/// What is worked out, part by part.
#[derive(Debug)]
pub(super) enum Node {
    Literal(Literal),
    Moment(Timestamp),
    Span(SignedDuration),
    Variable(Variable),
    /// The item that the loop of this number is at, counted from the outermost.
    Item(usize),
    /// `request.headers["name"]`, the commonest.
    Header(HeaderName),
    Field(Box<Node>, Box<str>),
    HasVariable(Variable),
    HasField(Box<Node>, Box<str>),
    Index(Box<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Choice(Box<[Node; 3]>),
    Equal(Box<[Node; 2]>),
    Compare(Operator, Box<[Node; 2]>),
    In(Box<[Node; 2]>),
    Arithmetic(Operator, Box<[Node; 2]>),
    List(Box<[Node]>),
    Search(Search, Box<[Node; 2]>),
    Matches(Box<Node>, Pattern),
    /// Whether an address lies in a network.
    Within(Box<Node>, Network),
    Convert(Conversion, Box<Node>),
    Part(Part, TimeZone, Box<Node>),
    Loop(Box<Loop>),
}

/// A pattern that texts are searched for.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    /// What each byte of a text costs: the larger the pattern, the more it may have to keep in mind.
    pub(super) steps_a_byte: usize,
}

/// Where one text is looked for in another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Search {
    Anywhere,
    AtStart,
    AtEnd,
}

/// One value made of another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Conversion {
    Size,
    Text,
    Int,
    Double,
    Time,
    LowerCase,
}

/// Something done with every item of a list, or every key of a map.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    /// Its number, counted from the outermost.
    pub(super) number: usize,
    pub(super) range: Node,
    pub(super) body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}
