//! What a template may hold. The engine counts its steps and what they make, but not what it takes to compare
//! or to copy what is nested; so that is not let through, and neither is what could make more of it.

use minijinja::Error;
use minijinja::machinery::ast::{
    BinOp, BinOpKind, CallArg, Compare, CompareOpKind, Expr, ForLoop, IfCond, Stmt,
};
use minijinja::machinery::{Span, Token, parse, tokenize};
use minijinja::syntax::SyntaxConfig;
use tollgate_model::issue::nearest;
use tollgate_model::parse::Rejected;

/// How many words and signs a tag may have, and how many tags a template: with each, parser and engine may go
/// a step further in.
const MAX_WORDS: usize = 100;
const MAX_TAGS: usize = 256;

/// How many brackets and how many tags may stand within each other: with each it goes many steps further in.
const MAX_BRACKETS: usize = 16;
const MAX_OPEN: usize = 24;

pub(super) const FILTERS: [&str; 19] = [
    "abs",
    "capitalize",
    "default",
    "first",
    "float",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lower",
    "replace",
    "reverse",
    "round",
    "split",
    "title",
    "tojson",
    "trim",
    "upper",
];

pub(super) const TESTS: [&str; 11] = [
    "defined",
    "undefined",
    "none",
    "boolean",
    "number",
    "integer",
    "string",
    "sequence",
    "mapping",
    "odd",
    "even",
];

/// What is known of a template that may be rendered.
#[derive(Debug)]
pub(super) struct Checked {
    /// Whether it names `request`.
    pub(super) asks_facts: bool,
}

/// Looks at a template.
///
/// # Errors
///
/// All that it must not hold.
pub(super) fn check(text: &str) -> Result<Checked, Vec<Rejected>> {
    check_size(text).map_err(|rejected| vec![rejected])?;
    let tree = parse(text, "template", SyntaxConfig::default())
        .map_err(|error| vec![Rejected::new("invalid_template", told(&error))])?;
    let mut checking = Checking::default();
    checking.statement(&tree);
    if checking.faults.is_empty() {
        Ok(Checked { asks_facts: checking.asks_facts })
    } else {
        Err(checking.faults)
    }
}

/// What is wrong with a template that is none.
pub(super) fn told(error: &Error) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    match error.detail() {
        Some(detail) if detail.starts_with("unknown statement") => {
            format!("{line}{detail}; `for`, `if`, `set` and `with` are all that can be done here")
        }
        Some(detail) => format!("{line}{detail}"),
        None => format!("{line}{}", error.kind()),
    }
}

fn check_size(text: &str) -> Result<(), Rejected> {
    let mut size = Size::default();
    for token in tokenize(text, false, SyntaxConfig::default()) {
        let (token, span) =
            token.map_err(|error| Rejected::new("invalid_template", told(&error)))?;
        size.count(&token);
        if size.is_too_much() {
            let problem = format!(
                "line {}: has more than 100 words and signs in a tag, more than 16 brackets within each other, \
                 more than 256 tags, or more than 24 within each other, with each `elif`; take it apart",
                span.start_line
            );
            return Err(Rejected::new("too_deep", problem));
        }
    }
    Ok(())
}

/// How far in a template goes.
#[derive(Default)]
struct Size {
    words: usize,
    brackets: usize,
    tags: usize,
    /// The tags that are open, each with its own `elif`s.
    open: Vec<usize>,
    /// Whether the next word is the name of a tag.
    is_tag: bool,
}

impl Size {
    fn count(&mut self, token: &Token<'_>) {
        self.words += 1;
        let is_name = std::mem::take(&mut self.is_tag);
        match token {
            Token::VariableStart | Token::TemplateData(_) => (self.words, self.brackets) = (0, 0),
            Token::BlockStart => {
                (self.words, self.brackets) = (0, 0);
                self.tags += 1;
                self.is_tag = true;
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => self.brackets += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                self.brackets = self.brackets.saturating_sub(1);
            }
            Token::Ident(name) if is_name => self.tag(name),
            // This one is not open: it gives a value to a name.
            Token::Assign if self.words > 1 && self.is_set() => drop(self.open.pop()),
            _ => {}
        }
    }

    fn tag(&mut self, name: &str) {
        match name {
            "else" => {}
            "elif" => {
                if let Some(open) = self.open.last_mut() {
                    *open += 1;
                }
            }
            name if name.starts_with("end") => drop(self.open.pop()),
            "set" => self.open.push(SET),
            _ => self.open.push(1),
        }
    }

    /// Whether the tag is `set`, and had no `=` yet.
    fn is_set(&self) -> bool {
        self.open.last() == Some(&SET)
    }

    fn is_too_much(&self) -> bool {
        let open: usize = self.open.iter().map(|elifs| *elifs % SET + *elifs / SET).sum();
        self.words > MAX_WORDS
            || self.brackets > MAX_BRACKETS
            || self.tags > MAX_TAGS
            || open > MAX_OPEN
    }
}

/// More than there are `elif`s.
const SET: usize = 1_000_000;

#[derive(Default)]
struct Checking {
    asks_facts: bool,
    faults: Vec<Rejected>,
}

impl Checking {
    fn refuse(&mut self, span: Span, problem: &str) {
        let Span { start_line, start_col, .. } = span;
        let problem = format!("line {start_line}, column {}: {problem}", start_col + 1);
        self.faults.push(Rejected::new("unsupported_template", problem));
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitExpr(written) => self.expression(&written.expr),
            Stmt::EmitRaw(_) => {}
            Stmt::ForLoop(each) => self.each(each, each.span()),
            Stmt::IfCond(choice) => self.choice(choice),
            Stmt::Set(set) => {
                self.target(&set.target);
                self.expression(&set.expr);
            }
            Stmt::WithBlock(with) => {
                for (target, value) in &with.assignments {
                    self.target(target);
                    self.expression(value);
                }
                self.statements(&with.body);
            }
            Stmt::SetBlock(set) => {
                self.refuse(
                    set.span(),
                    "a block cannot be kept in a variable here; write it where it is used",
                );
            }
            Stmt::AutoEscape(escape) => {
                self.refuse(escape.span(), "values are always escaped here; take `autoescape` out");
            }
            Stmt::FilterBlock(block) => {
                self.refuse(
                    block.span(),
                    "a filter cannot be put on a block here; put it on values",
                );
            }
            // Calls, and what only other features bring.
            _ => {
                let problem = "`for`, `if`, `set` and `with` are all that can be done here";
                self.faults.push(Rejected::new("unsupported_template", problem));
            }
        }
    }

    fn each(&mut self, each: &ForLoop<'_>, span: Span) {
        if each.recursive {
            self.refuse(span, "a loop cannot call itself here; take `recursive` out");
        }
        self.target(&each.target);
        self.expression(&each.iter);
        if let Some(filter) = &each.filter_expr {
            self.expression(filter);
        }
        self.statements(&each.body);
        self.statements(&each.else_body);
    }

    fn choice(&mut self, choice: &IfCond<'_>) {
        self.expression(&choice.expr);
        self.statements(&choice.true_body);
        self.statements(&choice.false_body);
    }

    fn target(&mut self, target: &Expr<'_>) {
        match target {
            Expr::Var(_) => {}
            Expr::List(list) => list.items.iter().for_each(|item| self.target(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.target(item)),
            other => self.refuse(other.span(), "only a name can be given a value here"),
        }
    }

    fn expression(&mut self, expression: &Expr<'_>) {
        match expression {
            Expr::Var(variable) => self.asks_facts |= variable.id == "request",
            Expr::Const(_) => {}
            Expr::UnaryOp(of) => self.expression(&of.expr),
            Expr::BinOp(of) => self.operation(of, of.span()),
            Expr::Compare(chain) => self.comparison(chain, chain.span()),
            Expr::IfExpr(choice) => {
                self.expression(&choice.test_expr);
                self.expression(&choice.true_expr);
                if let Some(otherwise) = &choice.false_expr {
                    self.expression(otherwise);
                }
            }
            Expr::Filter(filter) => {
                self.name("filter", filter.name, &FILTERS, filter.span());
                if let Some(of) = &filter.expr {
                    self.expression(of);
                }
                self.arguments(&filter.args, filter.span());
            }
            Expr::Test(test) => {
                self.name("test", test.name, &TESTS, test.span());
                self.expression(&test.expr);
                self.arguments(&test.args, test.span());
            }
            Expr::GetAttr(of) => self.expression(&of.expr),
            Expr::GetItem(of) => {
                self.expression(&of.expr);
                self.expression(&of.subscript_expr);
            }
            Expr::Slice(slice) => {
                self.refuse(slice.span(), "a part cannot be cut out here; use `jq` before");
            }
            Expr::Call(call) => {
                self.refuse(call.span(), "nothing can be called here; use a filter");
            }
            Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => {
                if expression.as_const().is_none() {
                    let problem =
                        "a list or a mapping can hold constants alone here; use `jq` before";
                    self.refuse(expression.span(), problem);
                }
            }
        }
    }

    fn operation(&mut self, of: &BinOp<'_>, span: Span) {
        match of.op {
            BinOpKind::Pow => self.refuse(span, "`**` cannot be used here"),
            BinOpKind::In => self.compared(&[&of.left], Some(&of.right), span),
            BinOpKind::Eq
            | BinOpKind::Ne
            | BinOpKind::Lt
            | BinOpKind::Lte
            | BinOpKind::Gt
            | BinOpKind::Gte => self.compared(&[&of.left, &of.right], None, span),
            BinOpKind::ScAnd
            | BinOpKind::ScOr
            | BinOpKind::Add
            | BinOpKind::Sub
            | BinOpKind::Mul
            | BinOpKind::Div
            | BinOpKind::FloorDiv
            | BinOpKind::Rem
            | BinOpKind::Concat => {}
        }
        self.expression(&of.left);
        self.expression(&of.right);
    }

    fn comparison(&mut self, chain: &Compare<'_>, span: Span) {
        let mut left = &chain.expr;
        self.expression(left);
        for step in &chain.ops {
            match step.op {
                CompareOpKind::In | CompareOpKind::NotIn => {
                    self.compared(&[left], Some(&step.expr), span);
                }
                CompareOpKind::Eq
                | CompareOpKind::Ne
                | CompareOpKind::Lt
                | CompareOpKind::Lte
                | CompareOpKind::Gt
                | CompareOpKind::Gte => self.compared(&[left, &step.expr], None, span),
            }
            self.expression(&step.expr);
            left = &step.expr;
        }
    }

    /// Of what is compared, one at least must be short: the engine does not count how far it looks into both.
    fn compared(&mut self, values: &[&Expr<'_>], within: Option<&Expr<'_>>, span: Span) {
        let is_constant = |expression: &Expr<'_>| expression.as_const().is_some();
        let is_short = match within {
            Some(container) => is_constant(container),
            None => values.iter().any(|value| is_constant(value)),
        };
        if !is_short {
            let problem = "one side must be a constant, for `in` the right one; use `jq` before";
            self.refuse(span, problem);
        }
    }

    fn name(&mut self, what: &str, name: &str, known: &[&str], span: Span) {
        if !known.contains(&name) {
            let problem = format!("there is no {what} `{name}` here; {}", nearest(name, known));
            self.refuse(span, &problem);
        }
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>], span: Span) {
        for argument in arguments {
            match argument {
                CallArg::Pos(value) | CallArg::Kwarg(_, value) => self.expression(value),
                CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                    self.refuse(span, "arguments are written one by one here");
                }
            }
        }
    }
}
