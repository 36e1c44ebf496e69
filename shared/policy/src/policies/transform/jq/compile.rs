//! What the parser has found, as it is run: names are resolved, and what has no bound is refused.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Parser, Pattern, Term};
use jaq_core::load::{Lexer, lex, span};
use jaq_core::ops::{Cmp, Math};
use jaq_core::path;
use serde_json::Value;
use tollgate_model::issue::nearest;
use tollgate_model::parse::Rejected;

use super::filter::{
    Assignment, Filter, Logic, Notation, Operator, Part, Piece, Reduce, Relation, Step,
};
use super::function::Function;
use super::update::is_path;

/// How deep a program may be nested: the parser, and what runs it, go one step further in with each.
const MAX_NESTING: usize = 32;

/// How many words and signs may stand that go further in: each is a step of those that run a program.
const MAX_OPERATORS: usize = 100;

/// How many signs may stand between what is run in turn: each is a step of the parser alone.
const MAX_SEPARATORS: usize = 400;

/// The variable that holds what is known of a request.
const FACTS: &str = "$request";

/// A program, and what it asks for.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) filter: Filter,
    pub(super) asks_facts: bool,
}

/// Parses a program.
///
/// # Errors
///
/// All that cannot be parsed, or else all that is not run here.
pub(super) fn compile(text: &str) -> Result<Compiled, Vec<Rejected>> {
    if !is_shallow(text) {
        let problem = "is nested more than 32 deep, or has more than 100 operators or 400 `|` and `,`; \
                       take it apart";
        return Err(vec![Rejected::new("too_deep", problem)]);
    }
    let place = |part: &str| Place::of(text, part);
    let tokens = Lexer::new(text).lex().map_err(|faults| {
        let problem = |(expected, found): &lex::Error<&str>| {
            let Place { line, column } = place(found);
            // The parser has a name for what it expects, but not for every closing sign.
            let expected = match expected {
                lex::Expect::Delim(open) => format!("what closes `{open}`"),
                expected => expected.as_str().to_owned(),
            };
            invalid(format!("line {line}, column {column}: {expected} is expected"))
        };
        faults.iter().map(problem).collect::<Vec<_>>()
    })?;
    let term = Parser::new(&tokens).parse(|parser| parser.term()).map_err(|faults| {
        let problem = |(expected, found): &(_, Option<&lex::Token<&str>>)| {
            let expected: &jaq_core::load::parse::Expect<&str> = expected;
            let Place { line, column } = place(found.map_or("", |token| token.as_str()));
            invalid(format!("line {line}, column {column}: `{}` is expected", expected.as_str()))
        };
        faults.iter().map(problem).collect::<Vec<_>>()
    })?;
    let mut compiling = Compiling { text, bound: vec![FACTS], ..Compiling::default() };
    let filter = compiling.filter(&term);
    if compiling.faults.is_empty() {
        Ok(Compiled { filter, asks_facts: compiling.asks_facts })
    } else {
        Err(compiling.faults)
    }
}

fn invalid(problem: String) -> Rejected {
    Rejected::new("invalid_program", problem)
}

/// Where a part of a text stands, counted from 1.
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    fn of(text: &str, part: &str) -> Self {
        let is_part = text.as_bytes().as_ptr_range().contains(&part.as_ptr());
        let at = if is_part { span(text, part).start } else { text.len() };
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
        Self { line, column }
    }
}

/// Whether the parser, which calls itself for each step further in, gets along with a text. Texts and comments
/// are counted with the rest: better too much than too little.
fn is_shallow(text: &str) -> bool {
    const WORDS: [&str; 11] =
        ["def", "if", "elif", "try", "catch", "reduce", "foreach", "label", "as", "and", "or"];
    let is_sign = |character: char| "|=!<>+-*/%".contains(character);
    let mut nesting = 0_usize;
    for character in text.chars() {
        match character {
            '(' | '[' | '{' => nesting += 1,
            ')' | ']' | '}' => nesting = nesting.saturating_sub(1),
            _ => {}
        }
        if nesting > MAX_NESTING {
            return false;
        }
    }
    // What stands together is one sign to the parser too.
    let signs = text.split(|character| !is_sign(character)).filter(|sign| !sign.is_empty());
    let (pipes, operators): (Vec<&str>, Vec<&str>) = signs.partition(|sign| *sign == "|");
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    let words = words.filter(|word| WORDS.contains(word)).count();
    let separators = pipes.len() + text.matches(',').count();
    operators.len() + words <= MAX_OPERATORS && separators <= MAX_SEPARATORS
}

#[derive(Default)]
struct Compiling<'a> {
    text: &'a str,
    /// The variables that are bound, the outermost first.
    bound: Vec<&'a str>,
    asks_facts: bool,
    faults: Vec<Rejected>,
}

impl<'a> Compiling<'a> {
    fn filter(&mut self, term: &Term<&'a str>) -> Filter {
        match term {
            Term::Id => Filter::Identity,
            Term::Recurse => Filter::Everything,
            Term::Num(digits) => self.number(digits),
            Term::Str(notation, parts) => self.text(*notation, parts),
            Term::Arr(items) => Filter::List(items.as_ref().map(|items| self.boxed(items))),
            Term::Obj(fields) => self.object(fields),
            Term::Neg(of) => Filter::Negate(self.boxed(of)),
            Term::BinOp(_, BinaryOp::Pipe(None), _) => {
                let is_pipe = |operator: &BinaryOp<_>| matches!(operator, BinaryOp::Pipe(None));
                Filter::Pipe(self.chained(term, is_pipe))
            }
            Term::BinOp(_, BinaryOp::Comma, _) => {
                let is_comma = |operator: &BinaryOp<_>| matches!(operator, BinaryOp::Comma);
                Filter::Comma(self.chained(term, is_comma))
            }
            Term::BinOp(left, operator, right) => self.operation(left, operator, right),
            Term::Fold(word, source, pattern, arguments) => {
                self.fold(word, source, pattern, arguments)
            }
            Term::TryCatch(tried, caught) => {
                let tried = self.boxed(tried);
                Filter::Try(tried, caught.as_ref().map(|caught| self.boxed(caught)))
            }
            Term::IfThenElse(choices, otherwise) => {
                let choices = choices
                    .iter()
                    .map(|(condition, then)| (self.filter(condition), self.filter(then)))
                    .collect();
                Filter::Choice(choices, otherwise.as_ref().map(|term| self.boxed(term)))
            }
            Term::Def(definitions, _) => {
                let name = definitions.first().map_or("def", |definition| definition.name);
                self.refuse(name, "`def` is not run here; write it out where it is used".into())
            }
            Term::Label(name, _) | Term::Break(name) => {
                self.refuse(name, "`label` and `break` are not run here; take them out".into())
            }
            Term::Call(name, arguments) => self.call(name, arguments),
            Term::Var(name) => self.variable(name),
            Term::Path(of, path) => self.path(of, path),
        }
    }

    fn boxed(&mut self, term: &Term<&'a str>) -> Box<Filter> {
        Box::new(self.filter(term))
    }

    fn refuse(&mut self, part: &str, problem: String) -> Filter {
        let Place { line, column } = Place::of(self.text, part);
        let problem = format!("line {line}, column {column}: {problem}");
        self.faults.push(Rejected::new("unsupported_program", problem));
        Filter::Identity
    }

    fn number(&mut self, digits: &'a str) -> Filter {
        match serde_json::from_str::<serde_json::Number>(digits) {
            Ok(number) => Filter::Literal(Value::Number(number)),
            // Such as `1.`, which JSON does not know.
            Err(_) => match digits.parse().ok().and_then(super::value::number) {
                Some(number) => Filter::Literal(number),
                None => self.refuse(digits, "the number is out of range".into()),
            },
        }
    }

    fn text(
        &mut self,
        notation: Option<&'a str>,
        parts: &[StrPart<&'a str, Term<&'a str>>],
    ) -> Filter {
        let notation = notation.map_or(Some(Notation::Text), |name| self.notation(name));
        let pieces: Vec<Piece> = parts
            .iter()
            .map(|part| match part {
                StrPart::Str(text) => Piece::Text((*text).to_owned()),
                StrPart::Char(character) => Piece::Text(character.to_string()),
                StrPart::Term(term) => Piece::Value(self.filter(term)),
            })
            .collect();
        if pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) {
            let texts = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Value(_) => "",
            });
            return Filter::Literal(Value::String(texts.collect()));
        }
        Filter::Text(notation.unwrap_or(Notation::Text), pieces)
    }

    fn notation(&mut self, name: &'a str) -> Option<Notation> {
        const KNOWN: [&str; 6] = ["@text", "@json", "@uri", "@html", "@base64", "@base64d"];
        Some(match name {
            "@text" => Notation::Text,
            "@json" => Notation::Json,
            "@uri" => Notation::Uri,
            "@html" => Notation::Html,
            "@base64" => Notation::Base64,
            "@base64d" => Notation::Base64Decoded,
            _ => {
                self.refuse(name, format!("`{name}` is not run here; {}", nearest(name, &KNOWN)));
                return None;
            }
        })
    }

    fn object(&mut self, fields: &[(Term<&'a str>, Option<Term<&'a str>>)]) -> Filter {
        let mut compiled = Vec::new();
        for (name, value) in fields {
            let entry = match (name, value) {
                // `{$x}`: the variable under its name.
                (Term::Var(variable), None) => {
                    let bare = variable.trim_start_matches('$');
                    (Filter::Literal(Value::from(bare)), self.variable(variable))
                }
                (name, Some(value)) => (self.filter(name), self.filter(value)),
                // `{a}`: what stands under the name.
                (name, None) => {
                    let part = Part::At(self.filter(name));
                    let step = Step { part, is_optional: false };
                    (self.filter(name), Filter::Path(Box::new(Filter::Identity), vec![step]))
                }
            };
            compiled.push(entry);
        }
        Filter::Object(compiled)
    }

    fn variable(&mut self, name: &'a str) -> Filter {
        self.asks_facts |= name == FACTS;
        match self.bound.iter().rposition(|bound| *bound == name) {
            Some(place) => Filter::Variable(place),
            None => {
                let known = nearest(name, &self.bound);
                self.refuse(name, format!("`{name}` is not a variable here; {known}"))
            }
        }
    }

    /// Compiles what follows where one more variable is bound.
    fn with_bound(&mut self, pattern: &Pattern<&'a str>, term: &Term<&'a str>) -> Box<Filter> {
        match pattern {
            Pattern::Var(name) => {
                self.bound.push(name);
                let filter = self.boxed(term);
                self.bound.pop();
                filter
            }
            Pattern::Arr(_) | Pattern::Obj(_) => {
                let problem = "a pattern is not run here; bind one variable, such as `as $x`";
                Box::new(self.refuse("", problem.into()))
            }
        }
    }

    /// What is run in turn. A chain is long, and this does not call itself for each of its links.
    fn chained(
        &mut self,
        chain: &Term<&'a str>,
        is_link: impl Fn(&BinaryOp<&'a str>) -> bool,
    ) -> Vec<Filter> {
        let (mut filters, mut left_over) = (Vec::new(), vec![chain]);
        while let Some(term) = left_over.pop() {
            match term {
                Term::BinOp(left, operator, right) if is_link(operator) => {
                    left_over.extend([&**right, &**left]);
                }
                other => filters.push(self.filter(other)),
            }
        }
        filters
    }

    fn operation(
        &mut self,
        left: &Term<&'a str>,
        operator: &BinaryOp<&'a str>,
        right: &Term<&'a str>,
    ) -> Filter {
        match operator {
            // These two have been taken as chains.
            BinaryOp::Pipe(None) | BinaryOp::Comma => Filter::Identity,
            BinaryOp::Pipe(Some(pattern)) => {
                let source = self.boxed(left);
                Filter::Bind(source, self.with_bound(pattern, right))
            }
            BinaryOp::Alt => Filter::Alternative(self.boxed(left), self.boxed(right)),
            BinaryOp::Or => Filter::Logic(Logic::Or, self.boxed(left), self.boxed(right)),
            BinaryOp::And => Filter::Logic(Logic::And, self.boxed(left), self.boxed(right)),
            BinaryOp::Math(math) => {
                Filter::Calculation(operator_of(*math), self.boxed(left), self.boxed(right))
            }
            BinaryOp::Cmp(relation) => {
                Filter::Comparison(relation_of(*relation), self.boxed(left), self.boxed(right))
            }
            BinaryOp::Assign => self.assignment(Assignment::Set, left, right),
            BinaryOp::Update => self.assignment(Assignment::Update, left, right),
            BinaryOp::UpdateMath(math) => {
                self.assignment(Assignment::Calculate(operator_of(*math)), left, right)
            }
            BinaryOp::UpdateAlt => self.assignment(Assignment::Alternative, left, right),
        }
    }

    fn assignment(
        &mut self,
        assignment: Assignment,
        left: &Term<&'a str>,
        right: &Term<&'a str>,
    ) -> Filter {
        let path = self.filter(left);
        self.check_path(&path);
        Filter::Assignment(assignment, Box::new(path), self.boxed(right))
    }

    fn check_path(&mut self, path: &Filter) {
        if !is_path(path) {
            let problem = "what is assigned to or deleted must be paths such as `.a[].b`, also \
                           with `select`, `|` and `,`";
            self.refuse("", problem.into());
        }
    }

    fn fold(
        &mut self,
        word: &'a str,
        source: &Term<&'a str>,
        pattern: &Pattern<&'a str>,
        arguments: &[Term<&'a str>],
    ) -> Filter {
        let ("reduce", [start, step]) = (word, arguments) else {
            let problem = format!("`{word}` is not run here in this form; use `reduce` or `map`");
            return self.refuse(word, problem);
        };
        let (source, start) = (self.filter(source), self.filter(start));
        let step = *self.with_bound(pattern, step);
        Filter::Reduce(Box::new(Reduce { source, start, step }))
    }

    fn call(&mut self, name: &'a str, arguments: &[Term<&'a str>]) -> Filter {
        if name.starts_with('@') {
            let notation = self.notation(name).unwrap_or(Notation::Text);
            return Filter::Text(notation, vec![Piece::Value(Filter::Identity)]);
        }
        let compiled: Vec<Filter> = arguments.iter().map(|term| self.filter(term)).collect();
        let Some(function) = Function::named(name, arguments.len()) else {
            return self.refuse(name, unknown(name, arguments.len()));
        };
        if function == Function::Delete {
            compiled.iter().for_each(|path| self.check_path(path));
        }
        Filter::Call(function, compiled)
    }

    fn path(&mut self, of: &Term<&'a str>, path: &path::Path<Term<&'a str>>) -> Filter {
        let of = self.boxed(of);
        let mut steps = Vec::new();
        for (part, optional) in &path.0 {
            let part = match part {
                path::Part::Index(index) => Part::At(self.filter(index)),
                path::Part::Range(None, None) => Part::All,
                path::Part::Range(from, to) => {
                    let from = from.as_ref().map(|from| self.filter(from));
                    Part::Slice(from, to.as_ref().map(|to| self.filter(to)))
                }
            };
            steps.push(Step { part, is_optional: matches!(optional, path::Opt::Optional) });
        }
        Filter::Path(of, steps)
    }
}

/// What to say of a name that is not run.
fn unknown(name: &str, arguments: usize) -> String {
    let known = Function::arguments_of(name);
    if !known.is_empty() {
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
            "regular expressions are not run here; use `split`, `startswith` or `endswith`"
                .to_owned()
        }
        _ => nearest(name, &Function::names()),
    };
    format!("`{name}` is not run here; {mend}")
}

fn operator_of(math: Math) -> Operator {
    match math {
        Math::Add => Operator::Add,
        Math::Sub => Operator::Subtract,
        Math::Mul => Operator::Multiply,
        Math::Div => Operator::Divide,
        Math::Rem => Operator::Remainder,
    }
}

fn relation_of(relation: Cmp) -> Relation {
    match relation {
        Cmp::Lt => Relation::Less,
        Cmp::Le => Relation::LessOrEqual,
        Cmp::Gt => Relation::Greater,
        Cmp::Ge => Relation::GreaterOrEqual,
        Cmp::Eq => Relation::Equal,
        Cmp::Ne => Relation::NotEqual,
    }
}
