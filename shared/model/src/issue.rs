//! Faults in what an operator wrote: every one of them, each with its place, a stable code and a mend.

use std::fmt;
use std::ops::ControlFlow;

use deserr::{DeserializeError, ErrorKind, IntoValue, MergeWithError, ValueKind, ValuePointerRef};
use serde::{Deserialize, Serialize};

/// One fault, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Where: a JSON pointer (RFC 6901) into the resource, such as `/spec/routes/1/match/path`.
    pub at: String,
    /// A stable name for programs, such as `unknown_field`.
    pub code: String,
    /// What is wrong and how to mend it: one sentence, lower case, no full stop.
    pub problem: String,
}

impl Issue {
    /// A fault at a JSON pointer.
    pub fn new(at: impl Into<String>, code: &str, problem: impl Into<String>) -> Self {
        Self { at: at.into(), code: code.to_owned(), problem: problem.into() }
    }

    /// The same fault, seen from outside: its pointer begins with `prefix`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.at.insert_str(0, prefix);
        self
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} ({})", self.at, self.problem, self.code)
    }
}

/// All faults that were found; empty only while they are being collected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Issues(pub Vec<Issue>);

impl Issues {
    /// The list with one fault.
    #[must_use]
    pub fn one(issue: Issue) -> Self {
        Self(vec![issue])
    }

    /// Adds a fault at a JSON pointer.
    pub fn add(&mut self, at: impl Into<String>, code: &str, problem: impl Into<String>) {
        self.0.push(Issue::new(at, code, problem));
    }

    /// Adds faults found further inside, below `prefix`.
    pub fn extend_under(&mut self, prefix: &str, issues: Self) {
        self.0.extend(issues.0.into_iter().map(|issue| issue.under(prefix)));
    }

    /// `Ok` where nothing was found.
    ///
    /// # Errors
    ///
    /// All that was found.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Issues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, issue) in self.0.iter().enumerate() {
            if i > 0 {
                formatter.write_str("; ")?;
            }
            issue.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for Issues {}

impl FromIterator<Issue> for Issues {
    fn from_iter<I: IntoIterator<Item = Issue>>(issues: I) -> Self {
        Self(issues.into_iter().collect())
    }
}

impl MergeWithError<Self> for Issues {
    fn merge(
        found: Option<Self>,
        other: Self,
        _at: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let mut all = found.unwrap_or_default();
        all.0.extend(other.0);
        ControlFlow::Continue(all)
    }
}

impl DeserializeError for Issues {
    fn error<V: IntoValue>(
        found: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let at = pointer(location);
        let issue = match error {
            ErrorKind::IncorrectValueKind { actual, accepted } => Issue::new(
                at,
                "wrong_type",
                format!("is {}; give {}", kind_name(actual.kind()), kind_names(accepted)),
            ),
            ErrorKind::MissingField { field } => {
                Issue::new(at, "missing_field", format!("`{field}` is missing; add it"))
            }
            ErrorKind::UnknownKey { key, accepted } => Issue::new(
                format!("{at}/{}", escape(key)),
                "unknown_field",
                format!("`{key}` is not a field here; {}", nearest(key, accepted)),
            ),
            ErrorKind::UnknownValue { value, accepted } => Issue::new(
                at,
                "unknown_value",
                format!("`{value}` is not a value here; {}", nearest(value, accepted)),
            ),
            ErrorKind::BadSequenceLen { expected, .. } => {
                Issue::new(at, "wrong_length", format!("give exactly {expected} items"))
            }
            ErrorKind::Unexpected { msg } => Issue::new(at, "invalid", msg),
        };
        Self::merge(found, Self::one(issue), location)
    }
}

/// The JSON pointer (RFC 6901) of a place that deserr names.
#[must_use]
pub fn pointer(location: ValuePointerRef<'_>) -> String {
    match location {
        ValuePointerRef::Origin => String::new(),
        ValuePointerRef::Key { key, prev } => format!("{}/{}", pointer(*prev), escape(key)),
        ValuePointerRef::Index { index, prev } => format!("{}/{index}", pointer(*prev)),
    }
}

/// One reference token of a JSON pointer: `~` and `/` escaped (RFC 6901 §3).
#[must_use]
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// Names what was probably meant: the nearest of the known names, or all of them.
#[must_use]
pub fn nearest(word: &str, known: &[&str]) -> String {
    let best = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
        .min();
    match best {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "take it out".to_owned(),
        None => format!("known: {}", known.join(", ")),
    }
}

fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Null => "null",
        ValueKind::Boolean => "true or false",
        ValueKind::Integer => "a whole number",
        ValueKind::NegativeInteger => "a negative number",
        ValueKind::Float => "a number",
        ValueKind::String => "a string",
        ValueKind::Sequence => "a list",
        ValueKind::Map => "a mapping",
    }
}

fn kind_names(kinds: &[ValueKind]) -> String {
    // A place that takes a fraction takes a whole number, one that takes those below zero those above.
    let wider = |kind: &ValueKind| {
        let is_whole = matches!(kind, ValueKind::Integer | ValueKind::NegativeInteger);
        match is_whole {
            true if kinds.contains(&ValueKind::Float) => ValueKind::Float,
            true => ValueKind::Integer,
            false => *kind,
        }
    };
    let mut names: Vec<&str> = kinds.iter().map(|kind| kind_name(wider(kind))).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" or ")
}
