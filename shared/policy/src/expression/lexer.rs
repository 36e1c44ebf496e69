//! Words and signs of an expression.
//!
//! Source: the lexis of the CEL specification, without what this gateway does not take: bytes, unsigned
//! numbers, texts in three quotes, names in backquotes.

use super::syntax::Fault;

/// A word or a sign.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword.
    Word(String),
    /// A whole number without its sign.
    Int(u64),
    Double(f64),
    Text(String),
    Sign(&'static str),
    /// Nothing more.
    End,
}

/// The longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}",
];

struct Lexer<'a> {
    source: &'a str,
    /// The byte that is read next.
    at: usize,
}

/// Every token of a source with the byte that it begins with; the last is [`Token::End`].
///
/// # Errors
///
/// The first thing that is no token.
pub(super) fn tokens(source: &str) -> Result<Vec<(Token, usize)>, Fault> {
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_space();
        let at = lexer.at;
        let token = lexer.token()?;
        let is_last = token == Token::End;
        tokens.push((token, at));
        if is_last {
            return Ok(tokens);
        }
    }
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    /// Takes what stands before the first character that is not of a kind.
    fn take_while(&mut self, is_of_it: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|character| !is_of_it(character)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn take_char(&mut self) -> Option<char> {
        let character = self.rest().chars().next()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn skip_space(&mut self) {
        loop {
            self.take_while(|character| matches!(character, ' ' | '\t' | '\n' | '\r' | '\x0c'));
            if !self.rest().starts_with("//") {
                return;
            }
            self.take_while(|character| character != '\n');
        }
    }

    fn token(&mut self) -> Result<Token, Fault> {
        let at = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        let second = rest.chars().nth(1).unwrap_or_default();
        match first {
            '0'..='9' => return self.number(),
            '.' if second.is_ascii_digit() => return self.number(),
            '"' | '\'' => return self.text(),
            'r' | 'R' if matches!(second, '"' | '\'') => {
                self.at += 1;
                return self.raw_text();
            }
            'b' | 'B' if matches!(second, '"' | '\'') => {
                return Err(Fault::unsupported(at, "bytes are not taken; give a text"));
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let is_of_words =
                    |character: char| character.is_ascii_alphanumeric() || character == '_';
                return Ok(Token::Word(self.take_while(is_of_words).to_owned()));
            }
            _ => {}
        }
        match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => {
                self.at += sign.len();
                Ok(Token::Sign(sign))
            }
            None if first == '=' => Err(Fault::syntax(at, "`=` is no operator; write `==`")),
            None if matches!(first, '&' | '|') => {
                Err(Fault::syntax(at, format!("`{first}` is no operator; write `{first}{first}`")))
            }
            None => Err(Fault::syntax(
                at,
                format!("`{}` does not belong to an expression; take it out", first.escape_debug()),
            )),
        }
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let at = self.at;
        let too_large = || {
            Fault::syntax(at, "is larger than a number can be: give at most 9223372036854775807")
        };
        let is_hexadecimal = self.rest().starts_with("0x") || self.rest().starts_with("0X");
        let number = if is_hexadecimal {
            self.at += 2;
            let digits = self.take_while(|character| character.is_ascii_hexdigit());
            if digits.is_empty() {
                return Err(Fault::syntax(at, "has no digits after `0x`"));
            }
            Token::Int(u64::from_str_radix(digits, 16).map_err(|_too_large| too_large())?)
        } else {
            let text = self.decimal();
            if text.contains(['.', 'e', 'E']) {
                let number: f64 = text.parse().map_err(|_no_digits| {
                    Fault::syntax(at, format!("`{text}` is no number; give digits after the `e`"))
                })?;
                if number.is_infinite() {
                    return Err(Fault::syntax(at, "is larger than a number can be"));
                }
                Token::Double(number)
            } else {
                Token::Int(text.parse().map_err(|_too_large| too_large())?)
            }
        };
        match self.rest().chars().next() {
            Some('u' | 'U') => {
                Err(Fault::unsupported(at, "unsigned numbers are not taken; leave the `u` out"))
            }
            Some(next) if next.is_ascii_alphanumeric() || next == '_' => Err(Fault::syntax(
                at,
                format!("has `{next}` after a number; take it out, or divide them"),
            )),
            _ => Ok(number),
        }
    }

    /// Digits, with a fraction and an exponent where there are such.
    fn decimal(&mut self) -> &'a str {
        let at = self.at;
        let is_digit = |character: char| character.is_ascii_digit();
        self.take_while(is_digit);
        let mut after = self.rest().chars();
        if after.next() == Some('.') && after.next().is_some_and(is_digit) {
            self.at += 1;
            self.take_while(is_digit);
        }
        if self.rest().starts_with(['e', 'E']) {
            self.at += 1;
            if self.rest().starts_with(['+', '-']) {
                self.at += 1;
            }
            self.take_while(is_digit);
        }
        self.source.get(at..self.at).unwrap_or_default()
    }

    fn raw_text(&mut self) -> Result<Token, Fault> {
        let at = self.at;
        let quote = self.take_char().unwrap_or_default();
        let text = self.take_while(|character| character != quote && character != '\n').to_owned();
        if self.take_char() == Some(quote) { Ok(Token::Text(text)) } else { Err(unclosed(at)) }
    }

    fn text(&mut self) -> Result<Token, Fault> {
        let at = self.at;
        let quote = self.take_char().unwrap_or_default();
        let mut text = String::new();
        loop {
            let here = self.at;
            match self.take_char() {
                None | Some('\n' | '\r') => return Err(unclosed(at)),
                Some('\\') => text.push(self.escaped().ok_or_else(|| {
                    Fault::syntax(here, "has a `\\` that escapes nothing; write `\\\\` for one")
                })?),
                Some(end) if end == quote => return Ok(Token::Text(text)),
                Some(other) => text.push(other),
            }
        }
    }

    /// What an escape stands for; none where it stands for nothing.
    fn escaped(&mut self) -> Option<char> {
        let (digits, radix) = match self.take_char()? {
            'a' => return Some('\x07'),
            'b' => return Some('\x08'),
            'f' => return Some('\x0c'),
            'n' => return Some('\n'),
            'r' => return Some('\r'),
            't' => return Some('\t'),
            'v' => return Some('\x0b'),
            itself @ ('\\' | '\'' | '"' | '`' | '?') => return Some(itself),
            'x' | 'X' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='3' => {
                // An octal escape begins with its first digit.
                self.at -= 1;
                (3, 8)
            }
            _ => return None,
        };
        let mut code = 0_u32;
        for _ in 0..digits {
            let digit = self.take_char()?.to_digit(radix)?;
            code = code.checked_mul(radix)?.checked_add(digit)?;
        }
        char::from_u32(code)
    }
}

fn unclosed(at: usize) -> Fault {
    Fault::syntax(at, "is a text without its second quote on the same line")
}
