//! From tokens to a tree that is as deep as [`MAX_DEPTH`] at most.
//!
//! The depth is bounded while the tree is built: neither the parser nor what reads the tree later can
//! run out of stack, whatever is written.

use super::lexer::{Token, tokens};
use super::syntax::{Expression, Fault, Kind, Literal, Operator};

/// How many parts may stand in one another.
pub(super) const MAX_DEPTH: usize = 32;

/// The longest expression, in bytes.
pub(super) const MAX_BYTES: usize = 4_096;

/// Words that CEL keeps for itself.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

struct Parser {
    tokens: std::vec::IntoIter<(Token, usize)>,
    token: Token,
    at: usize,
    /// How many of the parser's own calls stand in one another.
    nesting: usize,
}

/// Reads an expression.
///
/// # Errors
///
/// The first thing that is not as it must be.
pub(super) fn parse(source: &str) -> Result<Expression, Fault> {
    if source.len() > MAX_BYTES {
        let problem = format!("has {} bytes; give at most 4,096, or several rules", source.len());
        return Err(Fault::too_complex(0, problem));
    }
    let mut tokens = tokens(source)?.into_iter();
    let (token, at) = tokens.next().unwrap_or((Token::End, 0));
    let mut parser = Parser { tokens, token, at, nesting: 0 };
    if parser.token == Token::End {
        return Err(Fault::syntax(
            0,
            "is empty; give an expression such as request.method == \"GET\"",
        ));
    }
    let expression = parser.expression()?;
    if parser.token == Token::End { Ok(expression) } else { Err(parser.unexpected("an operator")) }
}

impl Parser {
    fn advance(&mut self) -> Token {
        let (token, at) = self.tokens.next().unwrap_or((Token::End, self.at));
        self.at = at;
        std::mem::replace(&mut self.token, token)
    }

    fn is_at(&self, sign: &str) -> bool {
        matches!(&self.token, Token::Sign(found) if *found == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let is_there = self.is_at(sign);
        if is_there {
            self.advance();
        }
        is_there
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let found = match &self.token {
            Token::Word(word) => format!("`{word}`"),
            Token::Int(_) | Token::Double(_) => "a number".to_owned(),
            Token::Text(_) => "a text".to_owned(),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "nothing more".to_owned(),
        };
        Fault::syntax(self.at, format!("has {found} where {wanted} must stand"))
    }

    /// Goes one call deeper, as far as that is allowed.
    fn nested(
        &mut self,
        parse: fn(&mut Self) -> Result<Expression, Fault>,
    ) -> Result<Expression, Fault> {
        if self.nesting >= MAX_DEPTH {
            return Err(too_deep(self.at));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn expression(&mut self) -> Result<Expression, Fault> {
        self.nested(|parser| {
            let at = parser.at;
            let condition = parser.any()?;
            if !parser.take("?") {
                return Ok(condition);
            }
            let then = parser.any()?;
            parser.expect(":")?;
            let otherwise = parser.expression()?;
            node(at, Kind::Choice(Box::new([condition, then, otherwise])))
        })
    }

    fn any(&mut self) -> Result<Expression, Fault> {
        self.chain("||", Self::all, Kind::Any)
    }

    fn all(&mut self) -> Result<Expression, Fault> {
        self.chain("&&", |parser| parser.binary(0), Kind::All)
    }

    /// Parts with one operator between them.
    fn chain(
        &mut self,
        sign: &str,
        part: fn(&mut Self) -> Result<Expression, Fault>,
        kind: fn(Vec<Expression>) -> Kind,
    ) -> Result<Expression, Fault> {
        let at = self.at;
        let first = part(self)?;
        if !self.is_at(sign) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take(sign) {
            parts.push(part(self)?);
        }
        node(at, kind(parts))
    }

    /// Operators of one precedence, which bind to the left: comparisons, sums, products.
    fn binary(&mut self, level: usize) -> Result<Expression, Fault> {
        let at = self.at;
        if level > 2 {
            return self.unary();
        }
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.operator(level) {
            self.advance();
            let right = self.binary(level + 1)?;
            left = node(at, Kind::Binary(operator, Box::new([left, right])))?;
        }
        Ok(left)
    }

    fn operator(&self, level: usize) -> Option<Operator> {
        let sign = match &self.token {
            Token::Sign(sign) => sign,
            Token::Word(word) if word == "in" => "in",
            Token::Word(_) | Token::Int(_) | Token::Double(_) | Token::Text(_) | Token::End => {
                return None;
            }
        };
        match (level, sign) {
            (0, "==") => Some(Operator::Equal),
            (0, "!=") => Some(Operator::NotEqual),
            (0, "<") => Some(Operator::Less),
            (0, "<=") => Some(Operator::LessEqual),
            (0, ">") => Some(Operator::Greater),
            (0, ">=") => Some(Operator::GreaterEqual),
            (0, "in") => Some(Operator::In),
            (1, "+") => Some(Operator::Add),
            (1, "-") => Some(Operator::Subtract),
            (2, "*") => Some(Operator::Multiply),
            (2, "/") => Some(Operator::Divide),
            (2, "%") => Some(Operator::Remainder),
            _ => None,
        }
    }

    fn unary(&mut self) -> Result<Expression, Fault> {
        let at = self.at;
        if self.take("!") {
            let of = self.nested(Self::unary)?;
            return node(at, Kind::Not(Box::new(of)));
        }
        if !self.is_at("-") {
            return self.member();
        }
        self.advance();
        // The sign is part of a number: the lowest has no positive of its own.
        if let Token::Int(number) = self.token {
            let number = 0_i64.checked_sub_unsigned(number).ok_or_else(|| too_low(at))?;
            self.advance();
            let literal = node(at, Kind::Literal(Literal::Int(number)))?;
            return self.members_of(literal);
        }
        if let Token::Double(number) = self.token {
            self.advance();
            let literal = node(at, Kind::Literal(Literal::Double(-number)))?;
            return self.members_of(literal);
        }
        let of = self.nested(Self::unary)?;
        node(at, Kind::Negate(Box::new(of)))
    }

    fn member(&mut self) -> Result<Expression, Fault> {
        let primary = self.primary()?;
        self.members_of(primary)
    }

    /// What follows a value: `.name`, `.name(…)`, `[…]`.
    fn members_of(&mut self, mut of: Expression) -> Result<Expression, Fault> {
        loop {
            let at = of.at;
            if self.take(".") {
                if self.is_at("?") {
                    return Err(Fault::unsupported(self.at, "`.?` is not taken; ask with has()"));
                }
                let Token::Word(name) = self.token.clone() else {
                    return Err(self.unexpected("a name"));
                };
                self.advance();
                let kind = if self.take("(") {
                    let arguments = self.list_until(")")?;
                    Kind::Call { name, target: Some(Box::new(of)), arguments }
                } else {
                    Kind::Select(Box::new(of), name)
                };
                of = node(at, kind)?;
            } else if self.take("[") {
                let index = self.expression()?;
                self.expect("]")?;
                of = node(at, Kind::Index(Box::new(of), Box::new(index)))?;
            } else {
                return Ok(of);
            }
        }
    }

    fn primary(&mut self) -> Result<Expression, Fault> {
        let at = self.at;
        if self.is_at("{") {
            return Err(Fault::unsupported(at, "maps are not taken; compare with `==` and `in`"));
        }
        if !matches!(self.token, Token::Sign("(" | "[") | Token::Word(_))
            && matches!(self.token, Token::Sign(_) | Token::End)
        {
            return Err(self.unexpected("a value"));
        }
        match self.advance() {
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign(_) => {
                let items = self.list_until("]")?;
                node(at, Kind::List(items))
            }
            Token::Int(number) => {
                let number = i64::try_from(number).map_err(|_too_large| {
                    Fault::syntax(
                        at,
                        "is larger than a number can be: give at most 9223372036854775807",
                    )
                })?;
                node(at, Kind::Literal(Literal::Int(number)))
            }
            Token::Double(number) => node(at, Kind::Literal(Literal::Double(number))),
            Token::Text(text) => node(at, Kind::Literal(Literal::Text(text.into()))),
            Token::Word(word) => self.word(at, word),
            Token::End => Err(self.unexpected("a value")),
        }
    }

    fn word(&mut self, at: usize, word: String) -> Result<Expression, Fault> {
        let kind = match word.as_str() {
            "null" => Kind::Literal(Literal::Null),
            "true" => Kind::Literal(Literal::Bool(true)),
            "false" => Kind::Literal(Literal::Bool(false)),
            "in" => return Err(Fault::syntax(at, "has `in` where a value must stand")),
            reserved if RESERVED.contains(&reserved) => {
                return Err(Fault::syntax(
                    at,
                    format!("`{word}` is a word that CEL keeps for itself"),
                ));
            }
            _ if self.take("(") => {
                let arguments = self.list_until(")")?;
                Kind::Call { name: word, target: None, arguments }
            }
            _ => Kind::Name(word),
        };
        node(at, kind)
    }

    /// Expressions with commas between them, and the bracket that closes them.
    fn list_until(&mut self, close: &str) -> Result<Vec<Expression>, Fault> {
        let mut items = Vec::new();
        while !self.take(close) {
            if !items.is_empty() {
                self.expect(",")?;
                // CEL allows a comma after the last item of a list.
                if close == "]" && self.take(close) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }
}

fn node(at: usize, kind: Kind) -> Result<Expression, Fault> {
    let deepest =
        |parts: &[Expression]| parts.iter().map(|part| part.depth).max().unwrap_or_default();
    let below = match &kind {
        Kind::Literal(_) | Kind::Name(_) => 0,
        Kind::Select(of, _) | Kind::Not(of) | Kind::Negate(of) => of.depth,
        Kind::Index(of, index) => of.depth.max(index.depth),
        Kind::Call { target, arguments, .. } => {
            target.as_ref().map_or(0, |target| target.depth).max(deepest(arguments))
        }
        Kind::List(parts) | Kind::All(parts) | Kind::Any(parts) => deepest(parts),
        Kind::Choice(parts) => deepest(parts.as_slice()),
        Kind::Binary(_, parts) => deepest(parts.as_slice()),
    };
    if below >= MAX_DEPTH {
        Err(too_deep(at))
    } else {
        Ok(Expression { at, depth: below + 1, kind })
    }
}

fn too_deep(at: usize) -> Fault {
    Fault::too_complex(
        at,
        "has more than 32 parts that stand in one another; join conditions with `&&` and `||`, or give several rules",
    )
}

fn too_low(at: usize) -> Fault {
    Fault::syntax(at, "is lower than a number can be: give at least -9223372036854775808")
}
