//! Expressions in CEL, the Common Expression Language: read, checked, and worked out in a bounded time.
//!
//! Why not a crate: a gateway that aborts on a panic works these out with what callers send. The parser of
//! `cel` runs out of stack on brackets, and its evaluator can neither be stopped nor counted. This one
//! is as deep as its source is allowed to be, counts its steps, and has no way to panic. What it takes,
//! it works out as `cel` does: a test compares them.
//!
//! Source: the CEL specification, <https://github.com/google/cel-spec>; the subset is in MANUAL.md.

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
// A program and a request: true, false, or no answer.
mod evaluate;

use http::Request;
use tollgate_model::Issues;

pub(super) use self::evaluate::Evaluation;
#[cfg(test)]
pub(super) use self::evaluate::STEPS;
use self::program::Node;
use self::syntax::Fault;
use self::variables::Facts;
use crate::body::Body;
use crate::policy::{Cx, Scope};

/// An expression that is true or false of a request.
#[derive(Debug)]
pub(super) struct Condition(Node);

impl Condition {
    /// Reads and checks an expression.
    ///
    /// # Errors
    ///
    /// Every fault, at the root.
    pub(super) fn compile(source: &str, scope: Scope<'_>) -> Result<Self, Issues> {
        let checked = match parser::parse(source) {
            Ok(expression) => check::check(&expression, scope),
            Err(fault) => Err(vec![fault]),
        };
        checked.map(Self).map_err(|faults| {
            let mut issues = Issues::default();
            for Fault { at, code, problem } in faults {
                let before = source.get(..at).unwrap_or(source);
                let character = 1 + before.chars().count();
                issues.add("", code, format!("at character {character}: {problem}"));
            }
            issues
        })
    }

    /// Whether it is true of a request; none where that cannot be said.
    pub(super) fn holds<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Option<bool> {
        evaluation.truth(&self.0).ok()
    }
}

/// The steps that all conditions of a policy share for one request.
pub(super) fn begin<'a>(cx: &'a Cx<'a>, request: &'a Request<Body>) -> Evaluation<'a> {
    Evaluation::new(Facts { cx, request })
}
