//! Rules over one text: what each finds in it as it came, and the text with all of that replaced.

use std::ops::Range;

use aws_lc_rs::hmac;
use regex::Regex;

use super::config::Kind;
use super::find::{self, Finds, TooMuch};
use super::path::JsonPath;
use super::replace::{Found, NoKey, Replacement};
use crate::escape::Escape;
use crate::policy::{Holder, RouteFacts};
use crate::ports::Ports;

/// One rule.
pub(super) struct Rule {
    pub(super) find: Find,
    pub(super) replacement: Replacement,
}

/// What a rule finds.
pub(super) enum Find {
    /// Personal data that has a form of its own.
    Kind(Kind),
    /// Words, or what an expression says.
    Expression(Regex),
    /// Values of JSON at a place.
    Path(JsonPath),
}

/// Rules, in the order written.
pub(super) struct Rules {
    rules: Box<[Rule]>,
    /// Whose Secrets they name.
    holder: Holder,
}

impl Rules {
    pub(super) fn new(rules: Vec<Rule>, holder: Holder) -> Self {
        Self { rules: rules.into(), holder }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Those that find places in JSON, each with its number among all.
    pub(super) fn paths(&self) -> impl Iterator<Item = (usize, &JsonPath)> {
        self.rules.iter().enumerate().filter_map(|(number, rule)| match &rule.find {
            Find::Path(path) => Some((number, path)),
            Find::Kind(_) | Find::Expression(_) => None,
        })
    }

    /// Whether one of them finds something in a text that is no JSON.
    pub(super) fn find_in_texts(&self) -> bool {
        self.iter().any(|rule| !matches!(rule.find, Find::Path(_)))
    }

    pub(super) fn removes(&self, number: usize) -> bool {
        self.rules.get(number).is_some_and(|rule| rule.replacement == Replacement::Remove)
    }
}

/// Rules at work on one answer, or one record.
pub(super) struct Masker<'a> {
    rules: &'a Rules,
    /// Of each rule, where it needs one.
    keys: Vec<Option<hmac::Key>>,
    finds: Finds,
    placed: Vec<Placed>,
    /// How long a text may become.
    most_bytes: usize,
}

/// A place in the text, and the rule that replaces it.
#[derive(Debug, PartialEq, Eq)]
struct Placed {
    span: Range<usize>,
    rule: usize,
    /// Whether the rule has found just this.
    is_whole: bool,
}

impl<'a> Masker<'a> {
    /// Rules with their keys.
    ///
    /// # Errors
    ///
    /// Where a key is not there.
    pub(super) fn new(
        rules: &'a Rules,
        route: &RouteFacts,
        ports: &dyn Ports,
        most_bytes: usize,
    ) -> Result<Self, NoKey> {
        let key = |rule: &Rule| rule.replacement.key(rules.holder, route, ports);
        let keys = rules.iter().map(key).collect::<Result<_, _>>()?;
        let (finds, placed) = (Finds::default(), Vec::new());
        Ok(Self { rules, keys, finds, placed, most_bytes })
    }

    pub(super) fn rules(&self) -> &'a Rules {
        self.rules
    }

    pub(super) fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    /// A text with what was found in it replaced; none where nothing was. `of_place` is the rule that has found the
    /// whole text by its place in JSON.
    ///
    /// # Errors
    ///
    /// Where there is too much to replace.
    pub(super) fn mask(
        &mut self,
        text: &str,
        of_place: Option<usize>,
    ) -> Result<Option<String>, TooMuch> {
        for rule in 0..self.rules.len() {
            if self.look(text, rule, of_place)? {
                break;
            }
        }
        self.take(text, Escape::Nothing)
    }

    /// Lets one rule look at a text; whether nothing is left for those behind it.
    ///
    /// # Errors
    ///
    /// Where there is too much to replace.
    pub(super) fn look(
        &mut self,
        text: &str,
        rule: usize,
        of_place: Option<usize>,
    ) -> Result<bool, TooMuch> {
        self.finds.clear();
        match self.rules.rules.get(rule).map(|rule| &rule.find) {
            Some(Find::Kind(kind)) => find::of_kind(*kind, text, &mut self.finds)?,
            Some(Find::Expression(expression)) => {
                find::of_expression(expression, text, &mut self.finds)?;
            }
            Some(Find::Path(_)) if of_place == Some(rule) && !text.is_empty() => {
                self.finds.add(0..text.len())?;
            }
            Some(Find::Path(_)) | None => {}
        }
        place(&mut self.placed, self.finds.spans(), rule);
        Ok(of_place == Some(rule))
    }

    /// The text with everything replaced that rules have found since the last time.
    ///
    /// # Errors
    ///
    /// Where it becomes too long.
    pub(super) fn take(&mut self, text: &str, escape: Escape) -> Result<Option<String>, TooMuch> {
        if self.placed.is_empty() {
            return Ok(None);
        }
        let (mut masked, mut from) = (String::with_capacity(text.len()), 0);
        for Placed { span, rule, is_whole } in self.placed.drain(..) {
            masked.push_str(text.get(from..span.start).unwrap_or_default());
            let found = text.get(span.clone()).unwrap_or_default();
            from = span.end;
            let Some(Rule { find, replacement }) = self.rules.rules.get(rule) else { continue };
            let kind = match find {
                Find::Kind(kind) => Some(*kind),
                Find::Expression(_) | Find::Path(_) => None,
            };
            let key = self.keys.get(rule).and_then(Option::as_ref);
            let found = Found { text: found, kind, is_whole };
            found.replace(replacement, key, escape, &mut masked);
            if masked.len() > self.most_bytes {
                return Err(TooMuch);
            }
        }
        masked.push_str(text.get(from..).unwrap_or_default());
        Ok(Some(masked))
    }
}

/// Adds what a rule has found to what those before it have; of what both have, the earlier rule keeps its own, and
/// the later one replaces all that is left.
fn place(placed: &mut Vec<Placed>, spans: &[Range<usize>], rule: usize) {
    if spans.is_empty() {
        return;
    }
    let mut earlier = std::mem::take(placed).into_iter().peekable();
    placed.reserve(earlier.len() + spans.len());
    let mut covered = 0;
    for span in spans {
        while let Some(taken) = earlier.next_if(|taken| taken.span.end <= span.start) {
            covered = taken.span.end;
            placed.push(taken);
        }
        let mut from = covered.max(span.start);
        while let Some(taken) = earlier.next_if(|taken| taken.span.start < span.end) {
            if from < taken.span.start {
                placed.push(Placed { span: from..taken.span.start, rule, is_whole: false });
            }
            from = taken.span.end;
            covered = taken.span.end;
            placed.push(taken);
        }
        if from < span.end {
            let is_whole = from == span.start;
            placed.push(Placed { span: from..span.end, rule, is_whole });
        }
    }
    placed.extend(earlier);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_rule_replaces_what_earlier_ones_have_left() {
        let mut placed = Vec::new();
        place(&mut placed, &[2..4, 6..9], 0);
        place(&mut placed, &[0..3, 5..7, 8..12, 13..14], 1);
        let whole = 0..20;
        place(&mut placed, std::slice::from_ref(&whole), 2);
        let found: Vec<_> =
            placed.iter().map(|p| (p.span.start, p.span.end, p.rule, p.is_whole)).collect();
        let expected = [
            (0, 2, 1, false),
            (2, 4, 0, true),
            (4, 5, 2, false),
            (5, 6, 1, false),
            (6, 9, 0, true),
            (9, 12, 1, false),
            (12, 13, 2, false),
            (13, 14, 1, true),
            (14, 20, 2, false),
        ];
        assert_eq!(found, expected);
    }
}
