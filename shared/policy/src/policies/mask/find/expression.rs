//! Words and expressions of the operator's.

use regex::{Regex, RegexBuilder};
use tollgate_model::parse::Rejected;

use super::{Finds, TooMuch};

/// As much of a text as one search sees from where it begins. An expression such as `.*z|a` reads to the
/// end of what it sees for each `a`; over a whole text that would be quadratic.
pub(super) const WINDOW: usize = 8 << 10;
/// The longest match that is found wherever it stands.
pub(super) const LONGEST: usize = 4 << 10;
/// The longest expression, in bytes.
const MAX_EXPRESSION: usize = 2048;

/// Finds all matches that are not empty. Says how many searches that took, each of a window at most.
///
/// # Errors
///
/// Where one match is as long as a window: more of it may stand behind.
pub(super) fn find(expression: &Regex, text: &str, finds: &mut Finds) -> Result<usize, TooMuch> {
    let (mut from, mut searches) = (0, 0);
    while from < text.len() {
        searches += 1;
        let end = text.ceil_char_boundary(from + WINDOW);
        let is_last = end == text.len();
        let window = text.get(..end).unwrap_or(text);
        let Some(found) = expression.find_at(window, from) else {
            if is_last {
                break;
            }
            from = text.floor_char_boundary(end - LONGEST);
            continue;
        };
        let may_be_cut = !is_last && (found.start() > end - LONGEST || found.end() == end);
        if may_be_cut && found.start() > from {
            from = found.start();
            continue;
        }
        if found.end() == end && !is_last {
            return Err(TooMuch);
        }
        if found.is_empty() {
            from = text.ceil_char_boundary(found.end() + 1);
            continue;
        }
        finds.add(found.range())?;
        from = found.end();
    }
    Ok(searches)
}

/// An expression as it is written.
///
/// # Errors
///
/// Where it is none, is too large, or matches nothing at all.
pub(in super::super) fn expression(text: &str) -> Result<Regex, Rejected> {
    if text.len() > MAX_EXPRESSION {
        let problem = format!("is longer than {MAX_EXPRESSION} bytes");
        return Err(Rejected::new("too_long", problem));
    }
    let expression = build(text)?;
    if expression.is_match("") {
        let problem =
            "matches a text without characters, and so finds nothing; give `+` in place of `*`";
        return Err(Rejected::new("empty_match", problem));
    }
    Ok(expression)
}

/// An expression that matches any of these words, whatever their case, where they stand as whole words.
///
/// # Errors
///
/// Where they are too many for one expression.
pub(in super::super) fn words(words: &[String]) -> Result<Regex, Rejected> {
    // Of two that begin alike, the longer one is tried first.
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let any: Vec<String> = words.into_iter().map(regex::escape).collect();
    build(&format!(r"(?i)\b{{start-half}}(?:{})\b{{end-half}}", any.join("|")))
}

fn build(text: &str) -> Result<Regex, Rejected> {
    // The bound on the compiled size keeps one policy from taking the memory of all.
    RegexBuilder::new(text).size_limit(1 << 20).build().map_err(|error| {
        let detail = error.to_string();
        let last = detail.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let problem = format!("is not a regular expression that can be used: {last}");
        Rejected::new("invalid_regex", problem)
    })
}
