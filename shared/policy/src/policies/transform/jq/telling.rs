//! What is said of a program that is not run, and where it stands.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{Expect, Term};
use jaq_core::load::span;
use jaq_core::path;
use tollgate_model::issue::nearest;
use tollgate_model::parse::Rejected;

use super::function::Function;
use super::shape::Flaw;

pub(super) fn invalid(problem: String) -> Rejected {
    Rejected::new("invalid_program", problem)
}

/// Where a part of a text stands, counted from 1.
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) fn of(text: &str, part: &str) -> Self {
        let is_part = text.as_bytes().as_ptr_range().contains(&part.as_ptr());
        let at = if is_part { span(text, part).start } else { text.len() };
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
        Self { line, column }
    }
}

/// What to say of a flaw.
pub(super) fn told(text: &str, flaw: &Flaw<'_>) -> Rejected {
    let at = |part: &str| {
        let Place { line, column } = Place::of(text, part);
        format!("line {line}, column {column}")
    };
    match flaw {
        Flaw::Deep => {
            let problem = "goes more than 40 levels in, or more than 24 brackets, or has more than 128 `,`: each \
                           bracket, `if`, operator and `|` is a level for what stands behind or within it; \
                           take it apart";
            Rejected::new("too_deep", problem)
        }
        Flaw::Sign(from) => {
            let sign: String = from.chars().take(1).collect();
            invalid(format!("{}: `{}` is in no program", at(from), sign.escape_debug()))
        }
        Flaw::Unclosed(from) => {
            let sign: String = from.chars().take(1).collect();
            invalid(format!("{}: `{sign}` does not close what is open", at(from)))
        }
        Flaw::Keyword(word) => {
            invalid(format!("{}: a filter such as `.a` is expected, and not `{word}`", at(word)))
        }
        Flaw::Ambiguous(word, problem) => {
            Rejected::new("ambiguous_program", format!("{}: {problem}", at(word)))
        }
    }
}

/// A word of a term, for its place; none where it has none.
pub(super) fn anchor<'a>(term: &Term<&'a str>) -> &'a str {
    match term {
        Term::Num(word)
        | Term::Var(word)
        | Term::Call(word, _)
        | Term::Break(word)
        | Term::Label(word, _)
        | Term::Fold(word, ..) => word,
        Term::Str(_, parts) => parts
            .iter()
            .map(|part| match part {
                StrPart::Str(text) => text,
                StrPart::Term(term) => anchor(term),
                StrPart::Char(_) => "",
            })
            .find(|word| !word.is_empty())
            .unwrap_or_default(),
        Term::Arr(Some(of)) | Term::Neg(of) | Term::TryCatch(of, _) | Term::Def(_, of) => {
            anchor(of)
        }
        Term::Obj(fields) => fields.first().map(|(name, _)| anchor(name)).unwrap_or_default(),
        Term::BinOp(left, _, right) => {
            Some(anchor(left)).filter(|word| !word.is_empty()).unwrap_or_else(|| anchor(right))
        }
        Term::IfThenElse(choices, _) => {
            choices.first().map(|(condition, _)| anchor(condition)).unwrap_or_default()
        }
        Term::Path(of, path) => path_anchor(of, path),
        Term::Id | Term::Recurse | Term::Arr(None) => "",
    }
}

/// The same of a path.
pub(super) fn path_anchor<'a>(of: &Term<&'a str>, path: &path::Path<Term<&'a str>>) -> &'a str {
    let of = Some(anchor(of)).filter(|word| !word.is_empty());
    of.or_else(|| path.0.iter().find_map(|(part, _)| part_anchor(part))).unwrap_or_default()
}

fn part_anchor<'a>(part: &path::Part<Term<&'a str>>) -> Option<&'a str> {
    match part {
        path::Part::Index(index) => Some(anchor(index)),
        path::Part::Range(Some(end), _) | path::Part::Range(None, Some(end)) => Some(anchor(end)),
        path::Part::Range(None, None) => None,
    }
}

/// What the parser would have taken.
pub(super) fn wanted(expected: &Expect<&str>) -> String {
    match expected {
        Expect::Just(word) => format!("`{word}`"),
        Expect::Term => "a filter such as `.a`".to_owned(),
        Expect::Nothing => "the end, or an operator such as `|`,".to_owned(),
        other => format!("a {}", other.as_str()),
    }
}

/// What to say of a name that is not run.
pub(super) fn unknown(name: &str, arguments: usize) -> String {
    let known = Function::arguments_of(name);
    if !known.is_empty() && name != "recurse" {
        let known: Vec<String> = known.iter().map(usize::to_string).collect();
        return format!("`{name}` takes {} arguments, not {arguments}", known.join(" or "));
    }
    let mend = match name {
        "recurse" | "repeat" | "while" | "until" | "recurse_down" | "combinations" => {
            "it has no end that is known before it is run; use `..`, `map` or `reduce`".to_owned()
        }
        "input" | "inputs" | "debug" | "stderr" | "input_filename" | "env" | "now" | "halt"
        | "halt_error" | "getpath" | "paths" | "path" | "input_line_number" => {
            "a body is all that there is; what is known of the request is in `$request`".to_owned()
        }
        "test" | "match" | "capture" | "scan" | "sub" | "gsub" | "splits" => {
            "no regular expression is; use `split`, `startswith` or `endswith`".to_owned()
        }
        _ => nearest(name, &Function::names()),
    };
    format!("`{name}` is not run here; {mend}")
}
