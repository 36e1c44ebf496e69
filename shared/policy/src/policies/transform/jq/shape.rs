//! What is seen of a program before it is parsed: how far the parser would go in, and where jq would read
//! it otherwise than the parser does.

use jaq_core::load::lex::{StrPart, Tok, Token};

use super::MAX_LEVELS;

/// How many brackets may stand within each other: reading words goes one step further in with each.
const MAX_BRACKETS: usize = 24;

/// How many `,` may stand outside of objects: what is parsed is let go of one by one.
const MAX_COMMAS: usize = 128;

/// What is wrong with a program, and the rest of its text from where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw<'a> {
    /// It goes too far in.
    Deep,
    /// A sign that no program has.
    Sign(&'a str),
    /// Something else closes what was opened.
    Unclosed(&'a str),
    /// A word of `if` where a filter is to stand.
    Keyword(&'a str),
    /// jq and the parser read it differently.
    Ambiguous(&'a str, &'static str),
}

/// Looks at the brackets of a text, as its words are read: with texts, what is calculated in them, and comments.
pub(super) fn check_brackets(text: &str) -> Result<(), Flaw<'_>> {
    // The brackets and quotes that are open.
    let mut open = Vec::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        let from = || text.get(at..).unwrap_or_default();
        if open.last() == Some(&'"') {
            match character {
                '"' => drop(open.pop()),
                '\\' if characters.next().is_some_and(|(_, next)| next == '(') => open.push(')'),
                _ => {}
            }
        } else {
            match character {
                '"' => open.push('"'),
                '(' => open.push(')'),
                '[' => open.push(']'),
                '{' => open.push('}'),
                ')' | ']' | '}' if open.pop() != Some(character) => {
                    return Err(Flaw::Unclosed(from()));
                }
                '#' => skip_comment(&mut characters),
                other if is_of_a_program(other) => {}
                _ => return Err(Flaw::Sign(from())),
            }
        }
        if open.len() > MAX_BRACKETS {
            return Err(Flaw::Deep);
        }
    }
    Ok(())
}

fn is_of_a_program(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || character.is_whitespace()
        || ")]}_$@.:;,?|=!<>+-*/%".contains(character)
}

/// A comment ends with its line, unless that ends with an odd number of backslashes.
fn skip_comment(characters: &mut std::str::CharIndices<'_>) {
    let mut is_continued = false;
    for (_, character) in characters {
        match character {
            '\n' if !is_continued => return,
            '\n' => is_continued = false,
            '\\' => is_continued = !is_continued,
            '\r' => {}
            _ => is_continued = false,
        }
    }
}

/// Looks at the words of a program.
pub(super) fn check_words<'a>(tokens: &[Token<&'a str>]) -> Result<(), Flaw<'a>> {
    let mut looking = Looking { commas: 0 };
    looking.block(tokens, 0, Kind::Plain)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Object,
}

/// What the parser takes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The name of a member of an object, which may be any word.
    Name,
    /// A filter. A word such as `end` would be the name of one.
    Filter,
    /// What stands behind a filter.
    Operator,
}

/// How far in it is, and what stood since the last `|` or `,`.
#[derive(Clone, Copy, Default)]
struct Place {
    level: usize,
    /// An operator of any kind.
    has_operator: bool,
    has_assignment: bool,
    has_alternative: bool,
    has_product: bool,
    has_remainder: bool,
    /// `reduce`, whose own the next `as` is.
    is_folding: bool,
}

impl Place {
    fn at(level: usize) -> Self {
        Self { level, ..Self::default() }
    }
}

struct Looking {
    commas: usize,
}

const ALTERNATIVE: &str = "`//` beside an assignment is read in two ways; put one of them in parentheses and \
                           the other behind a `|`, such as `(.b // 1) as $x | .a = $x`";
const REMAINDER: &str = "`%` beside `*` or `/` is read in two ways; bind one of them first, such as `(.a % 2) as $x | …`";
const BINDING: &str = "what stands before `as` is read in two ways; put it behind a `|`, such as `1 + 2 | . as $x | …`";

impl Looking {
    fn block<'a>(
        &mut self,
        tokens: &[Token<&'a str>],
        level: usize,
        kind: Kind,
    ) -> Result<(), Flaw<'a>> {
        let (mut place, mut begun) = (Place::at(level), Place::at(level));
        // What was before each `if` that has not ended.
        let mut before = Vec::new();
        // Behind these, everything up to the end of the block goes further in.
        let mut is_open_ended = false;
        let begins = if kind == Kind::Object { Wanted::Name } else { Wanted::Filter };
        let mut wanted = begins;
        for Token(word, token) in tokens {
            match token {
                Tok::Block(inner) => {
                    let kind = if word.starts_with('{') { Kind::Object } else { Kind::Plain };
                    self.block(inner, place.level + 1, kind)?;
                }
                Tok::Str(parts) => self.parts(parts, place.level + 1)?,
                Tok::Word if wanted == Wanted::Name => {}
                Tok::Word | Tok::Sym => match *word {
                    "then" | "elif" | "else" | "end" if wanted == Wanted::Filter => {
                        return Err(Flaw::Keyword(word));
                    }
                    "if" => {
                        before.push((place, begun));
                        begun = Place::at(place.level + 1);
                        place = begun;
                    }
                    "then" | "elif" | "else" => place = begun,
                    "end" => {
                        if let Some(outer) = before.pop() {
                            (place, begun) = outer;
                        }
                    }
                    "," if kind == Kind::Object && before.is_empty() && !is_open_ended => {
                        place = begun;
                    }
                    ";" if !is_open_ended => place = begun,
                    word => {
                        is_open_ended |= matches!(word, "def" | "label");
                        self.word(word, &mut place)?;
                    }
                },
                Tok::Var | Tok::Fmt | Tok::Num => {}
            }
            wanted = match *word {
                "," if before.is_empty() && !is_open_ended => begins,
                word if goes_on(word, token) => Wanted::Filter,
                _ => Wanted::Operator,
            };
            if place.level > MAX_LEVELS || self.commas > MAX_COMMAS {
                return Err(Flaw::Deep);
            }
        }
        Ok(())
    }

    fn parts<'a>(
        &mut self,
        parts: &[StrPart<&'a str, Token<&'a str>>],
        level: usize,
    ) -> Result<(), Flaw<'a>> {
        for part in parts {
            if let StrPart::Term(Token(_, Tok::Block(inner))) = part {
                self.block(inner, level, Kind::Plain)?;
            }
        }
        Ok(())
    }

    fn word<'a>(&mut self, word: &'a str, place: &mut Place) -> Result<(), Flaw<'a>> {
        let level = place.level + 1;
        match word {
            "|" => *place = Place::at(level),
            "," => {
                self.commas += 1;
                *place = Place::at(place.level);
            }
            "as" if std::mem::take(&mut place.is_folding) => {}
            "as" if place.has_operator => return Err(Flaw::Ambiguous(word, BINDING)),
            "reduce" | "foreach" => {
                place.is_folding = true;
                place.level = level;
            }
            "as" | "try" | "catch" | "def" | "label" => place.level = level,
            "and" | "or" => {
                place.has_operator = true;
                place.level = level;
            }
            word if word.starts_with(|sign| "=!<>+-*/%|".contains(sign)) => {
                place.has_operator = true;
                place.level = level;
                place.has_alternative |= word == "//";
                place.has_product |= matches!(word, "*" | "/");
                place.has_remainder |= word == "%";
                place.has_assignment |=
                    word.ends_with('=') && !matches!(word, "==" | "!=" | "<=" | ">=");
                if place.has_alternative && place.has_assignment {
                    return Err(Flaw::Ambiguous(word, ALTERNATIVE));
                }
                if place.has_product && place.has_remainder {
                    return Err(Flaw::Ambiguous(word, REMAINDER));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether a filter follows a word.
fn goes_on(word: &str, token: &Tok<&str>) -> bool {
    const WORDS: [&str; 14] = [
        "if", "then", "elif", "else", "try", "catch", "reduce", "foreach", "and", "or", "def",
        "label", "as", "break",
    ];
    match token {
        Tok::Word => WORDS.contains(&word),
        Tok::Sym => !word.starts_with('.') && word != "?",
        Tok::Var | Tok::Fmt | Tok::Num | Tok::Str(_) | Tok::Block(_) => false,
    }
}
