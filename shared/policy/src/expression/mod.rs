//! Expressions in CEL, the Common Expression Language: read, checked, and worked out in a bounded time.
//!
//! Why not a crate: a gateway that aborts on a panic works these out with what callers send. The parser of
//! `cel` runs out of stack on brackets, and its evaluator can neither be stopped nor counted. This one
//! is as deep as its source is allowed to be, counts its steps, and has no way to panic. What it takes,
//! it works out as `cel` does: a test compares them.
//!
//! Source: the CEL specification, <https://github.com/google/cel-spec>; the subset is in the manual of the policy `authorize`.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an operation takes values of one kind or two; every other, also one to come, is of the wrong type"
)]

// Words and signs.
mod lexer;
// What is written, as a tree, and what can be wrong with it.
mod syntax;
// From words to the tree, no deeper than it may be.
mod parser;
// What is known of a value before there is a request.
mod types;
// What of a request can be named.
mod variables;
// From the tree to what is worked out.
mod check;
// Which functions there are.
mod functions;
// What has been checked.
mod program;
// Moments and spans of time.
mod moment;
// What expressions work with.
mod value;
// Calculating with them.
mod arithmetic;
// A program and a request: a value, or none.
mod evaluate;

use http::Request;
use tollgate_model::Issues;

pub(crate) use self::evaluate::Evaluation;
#[cfg(test)]
pub(crate) use self::evaluate::STEPS;
use self::program::Node;
use self::syntax::{Fault, Literal};
use self::types::Wanted;
use self::variables::Facts;
use crate::body::Body;
use crate::policy::{Cx, Scope};

/// An expression that is true or false of a request.
#[derive(Debug)]
pub(crate) struct Condition(Node);

/// An expression that is a whole number of a request.
#[derive(Debug)]
pub(crate) struct Number(Node);

impl Condition {
    /// Reads and checks an expression.
    ///
    /// # Errors
    ///
    /// Every fault, at the root.
    pub(crate) fn compile(source: &str, scope: Scope<'_>) -> Result<Self, Issues> {
        compile(source, scope, Wanted::Truth).map(Self)
    }

    /// Whether it is true of a request; none where that cannot be said.
    pub(crate) fn holds<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Option<bool> {
        evaluation.truth(&self.0).ok()
    }
}

impl Number {
    /// Reads and checks an expression.
    ///
    /// # Errors
    ///
    /// Every fault, at the root.
    pub(crate) fn compile(source: &str, scope: Scope<'_>) -> Result<Self, Issues> {
        compile(source, scope, Wanted::WholeNumber).map(Self)
    }

    /// The number, where it is written out.
    pub(crate) fn as_constant(&self) -> Option<i64> {
        match self.0 {
            Node::Literal(Literal::Int(number)) => Some(number),
            _ => None,
        }
    }

    /// What it is of a request; none where it has no value.
    pub(crate) fn of<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Option<i64> {
        evaluation.whole_number(&self.0).ok()
    }
}

fn compile(source: &str, scope: Scope<'_>, wanted: Wanted) -> Result<Node, Issues> {
    let checked = match parser::parse(source) {
        Ok(expression) => check::check(&expression, scope, wanted),
        Err(fault) => Err(vec![fault]),
    };
    checked.map_err(|faults| {
        let mut issues = Issues::default();
        for Fault { at, code, problem } in faults {
            let before = source.get(..at).unwrap_or(source);
            let character = 1 + before.chars().count();
            issues.add("", code, format!("at character {character}: {problem}"));
        }
        issues
    })
}

/// The steps that all expressions of a policy share for one request.
pub(crate) fn begin<'a>(cx: &'a Cx<'a>, request: &'a Request<Body>) -> Evaluation<'a> {
    Evaluation::new(Facts { cx, request })
}
