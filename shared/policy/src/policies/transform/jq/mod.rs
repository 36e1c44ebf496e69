//! Programs in the language of jq, with an end: what is run here has no recursion and no loop but those over
//! what there is, and each step is counted. The parser is jaq's; its evaluation has no bound, so it is ours.

use serde_json::Value;
use tollgate_model::Issues;

use super::fault::{Fault, Kind};

// What is seen of a program before it is parsed.
mod shape;
// What the parser has found, as it is run.
mod compile;
// What is said of a program that is not run.
mod telling;
// How many values a filter may make.
mod many;
// A program as it is run.
mod filter;
// Filters with names.
mod function;
// Running it.
mod evaluate;
// Texts with values in them.
mod text;
// What stands at paths.
mod path;
// Calculating with values, and comparing them.
mod arithmetic;
// Filters with names, run.
mod call;
// Those over lists and objects.
mod collection;
// Changes at paths.
mod update;
// The order of values, and calculating with them.
mod value;

use compile::Compiled;
use evaluate::{Run, Stop};
use filter::Filter;

/// The longest program, in bytes.
const MAX_PROGRAM: usize = 4 << 10;

/// How far in a program may go: its brackets, `if`s, operators and `|`, each within those before it. The parser
/// goes one step further in with each, and what runs the program too.
const MAX_LEVELS: usize = 40;

/// A program, ready to run.
pub(super) struct Program {
    filter: Filter,
    asks_facts: bool,
}

impl Program {
    /// Makes one, with faults at the field `jq` below `at`.
    pub(super) fn compile(text: &str, at: &str, issues: &mut Issues) -> Option<Self> {
        let at = format!("{at}/jq");
        if text.len() > MAX_PROGRAM {
            issues.add(at, "too_large", "is longer than 4 KiB");
            return None;
        }
        match compile::compile(text) {
            Ok(Compiled { filter, asks_facts }) => Some(Self { filter, asks_facts }),
            Err(faults) => {
                for fault in faults {
                    issues.add(at.as_str(), fault.code, fault.problem);
                }
                None
            }
        }
    }

    /// Whether it asks for more of a request than its body.
    pub(super) fn asks_facts(&self) -> bool {
        self.asks_facts
    }

    /// The one value that it makes of a value.
    ///
    /// # Errors
    ///
    /// Where it fails, makes none or several, or takes too many steps. Nothing of the value is told.
    pub(super) fn run(&self, value: &Value, facts: Option<&Value>) -> Result<Value, Fault> {
        let fault = |why: &'static str| Fault::new(Kind::Untransformable, why);
        let mut run = Run::new(facts.cloned().unwrap_or_default());
        let mut made = Vec::new();
        match run.run(&self.filter, value, &mut made) {
            Ok(()) => {}
            Err(Stop::Error(_)) => return Err(fault("is not what its transformation is for")),
            Err(Stop::Spent) => return Err(fault("takes too many steps to transform")),
            Err(Stop::Deep) => return Err(fault("becomes nested too deeply")),
        }
        match (made.pop(), made.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err(fault("is not made one value by its transformation")),
        }
    }
}

#[cfg(test)]
mod tests;
