//! An expression as it is written: the tree that the parser makes and the check reads.

/// A part of an expression and where it begins.
#[derive(Debug)]
pub(super) struct Expression {
    /// The byte of the source that it begins with.
    pub(super) at: usize,
    /// How many parts stand in one another here, this one included.
    pub(super) depth: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Literal(Literal),
    Name(String),
    /// `of.name`.
    Select(Box<Expression>, String),
    /// `of[index]`.
    Index(Box<Expression>, Box<Expression>),
    /// `name(…)` or `target.name(…)`.
    Call {
        name: String,
        target: Option<Box<Expression>>,
        arguments: Vec<Expression>,
    },
    List(Vec<Expression>),
    Not(Box<Expression>),
    Negate(Box<Expression>),
    /// `a && b && …`: one part however many they are, so that a long rule is not a deep one.
    All(Vec<Expression>),
    /// `a || b || …`.
    Any(Vec<Expression>),
    /// `condition ? then : otherwise`.
    Choice(Box<[Expression; 3]>),
    Binary(Operator, Box<[Expression; 2]>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// Why an expression is not taken.
#[derive(Debug)]
pub(super) struct Fault {
    /// The byte of the source that it is about.
    pub(super) at: usize,
    pub(super) code: &'static str,
    pub(super) problem: String,
}

impl Fault {
    pub(super) fn new(at: usize, code: &'static str, problem: impl Into<String>) -> Self {
        Self { at, code, problem: problem.into() }
    }

    /// What is no expression.
    pub(super) fn syntax(at: usize, problem: impl Into<String>) -> Self {
        Self::new(at, "invalid_expression", problem)
    }

    /// What is CEL, but not taken here.
    pub(super) fn unsupported(at: usize, problem: impl Into<String>) -> Self {
        Self::new(at, "unsupported_expression", problem)
    }

    /// What would cost too much.
    pub(super) fn too_complex(at: usize, problem: impl Into<String>) -> Self {
        Self::new(at, "expression_too_complex", problem)
    }
}
