//! Places in JSON: a part of RFC 9535 that can be followed while a text is read once.
//!
//! Names, wildcards, indexes from 0 and descendants. Filters, slices and indexes from the end need the whole value
//! at hand, and what evaluates them over a parsed value loses all but one of members with the same name: the
//! others would be shown.

use tollgate_model::parse::Rejected;

/// The longest query, in bytes.
const MAX_BYTES: usize = 512;
/// The most steps of a query, and the most selectors of all of them together.
const MAX_STEPS: usize = 16;
const MAX_SELECTORS: usize = 32;

/// A query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// Whether it looks at all values below, and not at children alone.
    is_descendant: bool,
    selectors: Vec<Selector>,
}

#[derive(Debug, PartialEq, Eq)]
enum Selector {
    Any,
    Name(Box<str>),
    Index(usize),
}

/// What a value is to the one that holds it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Child<'a> {
    Member(&'a str),
    Item(usize),
}

/// How far a query has been followed on the way to a value: bit N says that its first N steps lead there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress(u32);

impl Progress {
    /// At the root.
    pub(super) const START: Self = Self(1);
}

impl JsonPath {
    /// Whether it is the root alone.
    pub(super) fn is_root(&self) -> bool {
        self.steps.is_empty()
    }

    /// How far the query comes with a child.
    pub(super) fn follow(&self, progress: Progress, child: Child<'_>) -> Progress {
        let mut next = 0;
        for (place, step) in self.steps.iter().enumerate() {
            if progress.0 & (1 << place) == 0 {
                continue;
            }
            if step.selectors.iter().any(|selector| selector.selects(child)) {
                next |= 1 << (place + 1);
            }
            if step.is_descendant {
                next |= 1 << place;
            }
        }
        Progress(next)
    }

    /// Whether the value is one that the query finds.
    pub(super) fn finds(&self, progress: Progress) -> bool {
        progress.0 & (1 << self.steps.len()) != 0
    }

    /// Parses a query.
    ///
    /// # Errors
    ///
    /// Where it is none, or is of the part that is not taken here.
    pub(super) fn parse(text: &str) -> Result<Self, Rejected> {
        if text.len() > MAX_BYTES {
            let problem = format!("is longer than {MAX_BYTES} bytes");
            return Err(Rejected::new("too_long", problem));
        }
        let mut rest = text.strip_prefix('$').ok_or_else(|| {
            invalid("does not begin with `$`; write a place such as `$.customer.name`")
        })?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = Step::parse(rest)?;
            steps.push(step);
            rest = after;
        }
        let selectors: usize = steps.iter().map(|step| step.selectors.len()).sum();
        if steps.len() > MAX_STEPS || selectors > MAX_SELECTORS {
            let problem = format!(
                "has more than {MAX_STEPS} steps or {MAX_SELECTORS} selectors; give several rules"
            );
            return Err(Rejected::new("too_long", problem));
        }
        Ok(Self { steps })
    }
}

impl Step {
    fn parse(text: &str) -> Result<(Self, &str), Rejected> {
        let (is_descendant, rest) = match text.strip_prefix("..") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if let Some(inside) = rest.strip_prefix('[') {
            let (selectors, rest) = bracketed(inside)?;
            return Ok((Self { is_descendant, selectors }, rest));
        }
        let rest = if is_descendant { Some(rest) } else { rest.strip_prefix('.') };
        let rest = rest.ok_or_else(|| {
            invalid(format!("has `{}` where a `.` or a `[` must stand", begin(text)))
        })?;
        if let Some(rest) = rest.strip_prefix('*') {
            return Ok((Self { is_descendant, selectors: vec![Selector::Any] }, rest));
        }
        // RFC 9535 §2.5.1: member-name-shorthand.
        let is_of_name = |character: char| {
            character == '_' || character.is_ascii_alphanumeric() || !character.is_ascii()
        };
        let end = rest.find(|character| !is_of_name(character)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            let problem = "has no name behind a `.`; write other names than words as `['a name']`";
            return Err(invalid(problem));
        }
        Ok((Self { is_descendant, selectors: vec![Selector::Name(name.into())] }, rest))
    }
}

/// The selectors of a bracket, and what stands behind it.
fn bracketed(text: &str) -> Result<(Vec<Selector>, &str), Rejected> {
    let (mut selectors, mut rest) = (Vec::new(), text);
    loop {
        let (selector, after) = Selector::parse(rest.trim_start())?;
        selectors.push(selector);
        let after = after.trim_start();
        if let Some(after) = after.strip_prefix(']') {
            return Ok((selectors, after));
        }
        rest = after.strip_prefix(',').ok_or_else(|| {
            if after.starts_with(':') {
                unsupported()
            } else {
                invalid("has a `[` without its `]`")
            }
        })?;
    }
}

impl Selector {
    fn parse(text: &str) -> Result<(Self, &str), Rejected> {
        if let Some(rest) = text.strip_prefix('*') {
            return Ok((Self::Any, rest));
        }
        if let Some(quote @ ('\'' | '"')) = text.chars().next() {
            let (name, rest) = quoted(text.get(1..).unwrap_or_default(), quote)?;
            return Ok((Self::Name(name.into()), rest));
        }
        if text.starts_with(['?', '-', ':']) {
            return Err(unsupported());
        }
        let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        let is_plain = digits == "0" || !digits.starts_with('0');
        match digits.parse() {
            Ok(index) if is_plain => Ok((Self::Index(index), rest)),
            _ => Err(invalid(format!(
                "has `{}` within `[]`; write `*`, a name in quotes, or an index from 0",
                begin(text)
            ))),
        }
    }

    fn selects(&self, child: Child<'_>) -> bool {
        match (self, child) {
            (Self::Any, _) => true,
            (Self::Name(name), Child::Member(member)) => **name == *member,
            (Self::Index(index), Child::Item(item)) => *index == item,
            (Self::Name(_), Child::Item(_)) | (Self::Index(_), Child::Member(_)) => false,
        }
    }
}

/// A name in quotes, and what stands behind it. RFC 9535 §2.3.1.1, without `\u`: such characters can be written
/// as they are.
fn quoted(text: &str, quote: char) -> Result<(String, &str), Rejected> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Ok((name, text.get(at + 1..).unwrap_or_default()));
        }
        if character != '\\' {
            name.push(character);
            continue;
        }
        name.push(match characters.next() {
            Some((_, escaped @ ('\\' | '/' | '\'' | '"'))) => escaped,
            Some((_, 'n')) => '\n',
            Some((_, 't')) => '\t',
            Some((_, 'r')) => '\r',
            _ => {
                return Err(invalid(
                    "has a `\\` in a name that stands before none of \\ / ' \" n r t",
                ));
            }
        });
    }
    Err(invalid("has a quotation mark without its partner"))
}

fn begin(text: &str) -> String {
    text.chars().take(12).flat_map(char::escape_debug).collect()
}

fn invalid(problem: impl Into<String>) -> Rejected {
    Rejected::new("invalid_json_path", problem)
}

fn unsupported() -> Rejected {
    Rejected::new(
        "unsupported_json_path",
        "has a filter, a slice or an index from the end, which are not taken here; write names, `*`, indexes from 0 and `..`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a query finds a value.
    fn finds(query: &str, way: &[Child<'_>]) -> bool {
        let path = JsonPath::parse(query).unwrap();
        let end = way.iter().fold(Progress::START, |at, child| path.follow(at, *child));
        path.finds(end)
    }

    #[test]
    fn a_query_finds_what_rfc_9535_says() {
        use Child::{Item, Member};
        let way = [Member("a"), Item(1), Member("b c"), Member("d")];
        for (query, found) in [
            ("$.a[1]['b c'].d", true),
            ("$['a'][1][\"b c\"]['d']", true),
            ("$.a[0]['b c'].d", false),
            ("$.*.*.*.*", true),
            ("$.*.*.*", false),
            ("$..d", true),
            ("$..*", true),
            ("$..a..d", true),
            ("$..d..a", false),
            ("$.a..[0, 'd']", true),
            ("$..[1]['b c'].d", true),
            ("$..[1].d", false),
            ("$[0,'a'][ 1 , 2 ][*].d", true),
            ("$.a", false),
            ("$", false),
            ("$.d", false),
        ] {
            assert_eq!(finds(query, &way), found, "{query}");
        }
        assert!(finds("$", &[]) && finds(r"$['\'\\/']", &[Member(r"'\/")]));
        assert!(finds("$.größe_1", &[Member("größe_1")]));
    }

    #[test]
    fn what_is_none_and_what_is_not_taken_is_refused() {
        for (query, code) in [
            ("", "invalid_json_path"),
            ("a.b", "invalid_json_path"),
            ("$a", "invalid_json_path"),
            ("$.", "invalid_json_path"),
            ("$..", "invalid_json_path"),
            ("$.a b", "invalid_json_path"),
            ("$.1", "invalid_json_path"),
            ("$[", "invalid_json_path"),
            ("$[]", "invalid_json_path"),
            ("$[01]", "invalid_json_path"),
            ("$['a]", "invalid_json_path"),
            ("$['\\x']", "invalid_json_path"),
            ("$[99999999999999999999999]", "invalid_json_path"),
            ("$[1", "invalid_json_path"),
            ("$[-1]", "unsupported_json_path"),
            ("$[0:2]", "unsupported_json_path"),
            ("$[::2]", "unsupported_json_path"),
            ("$[?@.a=='b']", "unsupported_json_path"),
        ] {
            assert_eq!(JsonPath::parse(query).unwrap_err().code, code, "{query}");
        }
        for query in [
            format!("${}", ".a".repeat(17)),
            format!("$[{}0]", "0,".repeat(32)),
            format!("$.{}", "a".repeat(600)),
        ] {
            assert_eq!(JsonPath::parse(&query).unwrap_err().code, "too_long");
        }
    }
}
