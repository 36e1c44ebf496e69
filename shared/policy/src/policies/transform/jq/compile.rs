//! What the parser has found, as it is run: names are resolved, and what has no bound is refused.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Expect, Parser, Pattern, Term};
use jaq_core::load::{Lexer, lex};
use jaq_core::ops::{Cmp, Math};
use jaq_core::path;
use serde_json::Value;
use tollgate_model::issue::nearest;
use tollgate_model::parse::Rejected;

use super::filter::{
    Assignment, Filter, Logic, Notation, Operator, Part, Piece, Reduce, Relation, Step,
};
use super::function::Function;
use super::many::{makes_one, multiply, path_multiplies};
use super::shape::{self, Flaw};
use super::telling::{Place, anchor, invalid, path_anchor, told, unknown, wanted};
use super::update::{is_path, reaches_within};

/// The longest path, in steps.
const MAX_STEPS: usize = 32;

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
    let flawed = |flaw: Flaw<'_>| vec![told(text, &flaw)];
    shape::check_brackets(text).map_err(flawed)?;
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
    shape::check_words(&tokens).map_err(flawed)?;
    let term = Parser::new(&tokens).parse(|parser| parser.term()).map_err(|faults| {
        let problem = |(expected, found): &(Expect<&str>, Option<&lex::Token<&str>>)| {
            let Place { line, column } = place(found.map_or("", |token| token.as_str()));
            invalid(format!("line {line}, column {column}: {} is expected", wanted(expected)))
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
            Term::Str(notation, parts) => {
                let filter = self.text(*notation, parts);
                if let Filter::Text(_, pieces) = &filter {
                    self.check_order(term, pieces.iter().filter_map(Piece::filter));
                }
                filter
            }
            Term::Arr(items) => Filter::List(items.as_ref().map(|items| self.boxed(items))),
            Term::Obj(fields) => {
                let filter = self.object(fields);
                if let Filter::Object(fields) = &filter {
                    self.check_order(term, fields.iter().flat_map(|(name, value)| [name, value]));
                }
                filter
            }
            Term::Neg(of) => Filter::Negate(self.boxed(of)),
            Term::BinOp(_, BinaryOp::Pipe(None), _) => {
                let is_pipe = |operator: &BinaryOp<_>| matches!(operator, BinaryOp::Pipe(None));
                Filter::Pipe(self.chained(term, is_pipe))
            }
            Term::BinOp(_, BinaryOp::Comma, _) => {
                let is_comma = |operator: &BinaryOp<_>| matches!(operator, BinaryOp::Comma);
                Filter::Comma(self.chained(term, is_comma))
            }
            Term::BinOp(left, operator, right) => {
                let filter = self.operation(left, operator, right);
                if let Filter::Calculation(_, left, right) | Filter::Comparison(_, left, right) =
                    &filter
                {
                    self.check_order(term, [&**left, &**right]);
                }
                filter
            }
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

    /// Refuses filters of which several could make several values: which pair comes first is not agreed on.
    fn check_order<'f>(
        &mut self,
        term: &Term<&'a str>,
        filters: impl IntoIterator<Item = &'f Filter>,
    ) {
        if multiply(filters) {
            self.refuse_order(anchor(term));
        }
    }

    fn refuse_order(&mut self, word: &'a str) {
        let problem = "two parts could each make several values, and jq does not say in which order they meet; \
                       bind one of them first, such as `.[] as $x | …`";
        self.refuse(word, problem.into());
    }

    fn boxed(&mut self, term: &Term<&'a str>) -> Box<Filter> {
        Box::new(self.filter(term))
    }

    fn refuse(&mut self, part: &str, problem: String) -> Filter {
        let problem = if part.is_empty() {
            problem
        } else {
            let Place { line, column } = Place::of(self.text, part);
            format!("line {line}, column {column}: {problem}")
        };
        // A name that is the whole of a member is looked at twice.
        if !self.faults.iter().any(|fault| fault.problem == problem) {
            self.faults.push(Rejected::new("unsupported_program", problem));
        }
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
                let problem =
                    "a pattern is not run here; bind one variable before this, such as `as $x`";
                self.refuse(anchor(term), problem.into());
                // What follows may have faults of its own.
                let before = self.bound.len();
                bind_all(pattern, &mut self.bound);
                let filter = self.boxed(term);
                self.bound.truncate(before);
                filter
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
        let (path, value) = (self.filter(left), self.boxed(right));
        self.check_path(&path, left);
        if reaches_within(&path) {
            let problem = "`..` changes a value and those within it at once, and jq and others begin at \
                           different ends; use `walk`, or choose, such as `(.. | numbers)`";
            self.refuse(anchor(left), problem.into());
        }
        if matches!(assignment, Assignment::Update) {
            self.check_update(&value, right, anchor(left));
        }
        Filter::Assignment(assignment, Box::new(path), value)
    }

    fn check_update(&mut self, value: &Filter, term: &Term<&'a str>, before: &'a str) {
        if !makes_one(value) {
            let problem = "what a value becomes could be several, of which jq takes the first and others all; \
                           make one, such as `first(…)`";
            let word = Some(anchor(term)).filter(|word| !word.is_empty()).unwrap_or(before);
            self.refuse(word, problem.into());
        }
    }

    fn check_path(&mut self, path: &Filter, term: &Term<&'a str>) {
        if !is_path(path) {
            let problem = "what is assigned to or deleted must be paths such as `.a[].b`, also \
                           with `select`, `|` and `,`";
            self.refuse(anchor(term), problem.into());
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
        let begin = anchor(step);
        let step = *self.with_bound(pattern, step);
        if !makes_one(&step) {
            let problem = "the step of `reduce` could make several values, and jq keeps the last of them, others \
                           all; make one, such as `[…]`";
            self.refuse(begin, problem.into());
        }
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
        for (filter, term) in compiled.iter().zip(arguments) {
            match function {
                Function::Delete => self.check_path(filter, term),
                Function::MapValues => self.check_update(filter, term, name),
                _ => {}
            }
        }
        if matches!(function, Function::RangeFrom) && multiply(&compiled) {
            self.refuse_order(name);
        }
        Filter::Call(function, compiled)
    }

    fn path(&mut self, of: &Term<&'a str>, path: &path::Path<Term<&'a str>>) -> Filter {
        let begin = path_anchor(of, path);
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
        if path_multiplies(&of, &steps) {
            self.refuse_order(begin);
        }
        if steps.len() > MAX_STEPS {
            let problem = "a path has more than 32 steps; put a `|` into it";
            self.refuse(begin, problem.into());
        }
        Filter::Path(of, steps)
    }
}

/// Adds the variables of a pattern.
fn bind_all<'a>(pattern: &Pattern<&'a str>, bound: &mut Vec<&'a str>) {
    match pattern {
        Pattern::Var(name) => bound.push(name),
        Pattern::Arr(patterns) => patterns.iter().for_each(|pattern| bind_all(pattern, bound)),
        Pattern::Obj(fields) => fields.iter().for_each(|(_, pattern)| bind_all(pattern, bound)),
    }
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
