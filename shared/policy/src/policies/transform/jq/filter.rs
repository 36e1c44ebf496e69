//! A program as it is run.

use serde_json::Value;

use super::function::Function;

/// From one value to any number of values.
#[derive(Debug)]
pub(super) enum Filter {
    /// `.`
    Identity,
    /// `..`
    Everything,
    /// A value that stands in the program.
    Literal(Value),
    /// `$x`, by its place among those that are bound around it.
    Variable(usize),
    /// A text with values in it.
    Text(Notation, Vec<Piece>),
    /// `[…]`
    List(Option<Box<Self>>),
    /// `{…}`
    Object(Vec<(Self, Self)>),
    /// `-…`
    Negate(Box<Self>),
    /// `… | …`
    Pipe(Vec<Self>),
    /// `…, …`
    Comma(Vec<Self>),
    /// `… as $x | …`
    Bind(Box<Self>, Box<Self>),
    /// `reduce … as $x (…; …)`
    Reduce(Box<Reduce>),
    /// `try … catch …`
    Try(Box<Self>, Option<Box<Self>>),
    /// `if … then … elif … then … else … end`
    Choice(Vec<(Self, Self)>, Option<Box<Self>>),
    /// `… // …`
    Alternative(Box<Self>, Box<Self>),
    /// `… and …`, `… or …`
    Logic(Logic, Box<Self>, Box<Self>),
    /// `… + …`
    Calculation(Operator, Box<Self>, Box<Self>),
    /// `… < …`
    Comparison(Relation, Box<Self>, Box<Self>),
    /// `….a[0][]`
    Path(Box<Self>, Vec<Step>),
    /// `… |= …`
    Assignment(Assignment, Box<Self>, Box<Self>),
    /// A filter with a name.
    Call(Function, Vec<Self>),
}

/// `reduce`, with one more variable in `step`.
#[derive(Debug)]
pub(super) struct Reduce {
    pub(super) source: Filter,
    pub(super) start: Filter,
    pub(super) step: Filter,
}

/// A part of a path.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) part: Part,
    /// Whether there is a `?` behind it.
    pub(super) is_optional: bool,
}

/// Which values of a value.
#[derive(Debug)]
pub(super) enum Part {
    /// The one at an index or under a name.
    At(Filter),
    /// All.
    All,
    /// Those from one index to before another.
    Slice(Option<Filter>, Option<Filter>),
}

/// A part of a text.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Value(Filter),
}

impl Piece {
    /// What makes the value.
    pub(super) fn filter(&self) -> Option<&Filter> {
        match self {
            Self::Text(_) => None,
            Self::Value(filter) => Some(filter),
        }
    }
}

/// How values are written into a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    /// `@text`
    Text,
    /// `@json`
    Json,
    /// `@uri`
    Uri,
    /// `@html`
    Html,
    /// `@base64`
    Base64,
    /// `@base64d`
    Base64Decoded,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Logic {
    And,
    Or,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Assignment {
    /// `=`
    Set,
    /// `|=`
    Update,
    /// `+=` and the like
    Calculate(Operator),
    /// `//=`
    Alternative,
}
