//! From what is written to what is worked out: names are resolved, types compared, and every fault found,
//! so that a misspelt name is told to its operator and not to his callers.

use http::HeaderName;
use regex::RegexBuilder;
use tollgate_model::issue::nearest;

use super::program::{Loop, LoopKind, MAX_NESTED_LOOPS, Node, Pattern};
use super::syntax::{Expression, Fault, Kind, Literal, Operator};
use super::types::{Type, Wanted};
use super::variables::{PARAMETERS, ROOTS, Variable, alone, family};
use crate::policy::Scope;

/// How many loops one expression may have.
const MAX_LOOPS: usize = 8;

/// The bytes of compiled patterns, from the smallest to the largest that is taken, and what each byte of a
/// text costs such a one. In proportion, for so is the time that it takes at worst.
const PATTERNS: [(usize, usize); 5] =
    [(10 << 10, 2), (16 << 10, 3), (32 << 10, 6), (48 << 10, 9), (64 << 10, 12)];

/// A part that has been checked.
pub(super) struct Checked {
    pub(super) node: Node,
    pub(super) kind: Type,
}

/// What stands for a part with a fault: it fits everywhere, so that one fault is told once.
pub(super) fn faulty() -> Checked {
    Checked { node: Node::Literal(Literal::Null), kind: Type::Any }
}

/// What `of.name` is where `of` names a family.
enum Member {
    Variable(Variable),
    /// It was a fault.
    Faulty,
}

pub(super) struct Checker<'s> {
    scope: Scope<'s>,
    /// The names and types of the items of the loops around, the outermost first.
    items: Vec<(String, Type)>,
    loops: usize,
    faults: Vec<Fault>,
}

/// Checks an expression that must be of a type.
///
/// # Errors
///
/// Every fault.
pub(super) fn check(
    expression: &Expression,
    scope: Scope<'_>,
    wanted: Wanted,
) -> Result<Node, Vec<Fault>> {
    let mut checker = Checker { scope, items: Vec::new(), loops: 0, faults: Vec::new() };
    let Checked { node, kind } = checker.check(expression);
    if !kind.may_be(&wanted.kind()) {
        let problem = format!("is {kind}; {}", wanted.mend(&kind));
        checker.faults.push(Fault::new(expression.at, "wrong_type", problem));
    }
    if checker.faults.is_empty() { Ok(node) } else { Err(checker.faults) }
}

impl Checker<'_> {
    pub(super) fn fault(&mut self, fault: Fault) -> Checked {
        self.faults.push(fault);
        faulty()
    }

    pub(super) fn wrong_type(&mut self, at: usize, problem: String) -> Checked {
        self.fault(Fault::new(at, "wrong_type", problem))
    }

    /// Checks a part that must be of a type, or may turn out to be.
    pub(super) fn expect(&mut self, part: &Expression, wanted: &Type, place: &str) -> Node {
        let Checked { node, kind } = self.check(part);
        if !kind.may_be(wanted) {
            self.wrong_type(part.at, format!("{place} takes {wanted}, and this is {kind}"));
        }
        node
    }

    pub(super) fn check(&mut self, expression: &Expression) -> Checked {
        let at = expression.at;
        match &expression.kind {
            Kind::Literal(literal) => {
                let kind = match literal {
                    Literal::Null => Type::Null,
                    Literal::Bool(_) => Type::Bool,
                    Literal::Int(_) => Type::Int,
                    Literal::Double(_) => Type::Double,
                    Literal::Text(_) => Type::Text,
                };
                Checked { node: Node::Literal(literal.clone()), kind }
            }
            Kind::Name(name) => self.name(at, name),
            Kind::Select(of, name) => self.select(at, of, name),
            Kind::Index(of, index) => self.index(of, index),
            Kind::Call { name, target, arguments } => {
                self.call(at, name, target.as_deref(), arguments)
            }
            Kind::List(parts) => self.list(parts),
            Kind::Not(of) => {
                let node = self.expect(of, &Type::Bool, "`!`");
                Checked { node: Node::Not(Box::new(node)), kind: Type::Bool }
            }
            Kind::Negate(of) => {
                let Checked { node, kind } = self.check(of);
                if !kind.may_be(&Type::Int) && !kind.may_be(&Type::Double) {
                    return self
                        .wrong_type(of.at, format!("`-` takes a number, and this is {kind}"));
                }
                Checked { node: Node::Negate(Box::new(node)), kind }
            }
            Kind::All(parts) => {
                let node = Node::All(self.truths(parts, "`&&`"));
                Checked { node, kind: Type::Bool }
            }
            Kind::Any(parts) => {
                let node = Node::Any(self.truths(parts, "`||`"));
                Checked { node, kind: Type::Bool }
            }
            Kind::Choice(parts) => self.choice(parts),
            Kind::Binary(operator, parts) => self.binary(at, *operator, parts),
        }
    }

    fn truths(&mut self, parts: &[Expression], place: &str) -> Box<[Node]> {
        parts.iter().map(|part| self.expect(part, &Type::Bool, place)).collect()
    }

    fn choice(&mut self, parts: &[Expression; 3]) -> Checked {
        let [condition, then, otherwise] = parts;
        let condition = self.expect(condition, &Type::Bool, "`?`");
        let (then, otherwise) = (self.check(then), self.check(otherwise));
        let kind = if then.kind == otherwise.kind { then.kind } else { Type::Any };
        let node = Node::Choice(Box::new([condition, then.node, otherwise.node]));
        Checked { node, kind }
    }

    fn list(&mut self, parts: &[Expression]) -> Checked {
        let items: Vec<Checked> = parts.iter().map(|part| self.check(part)).collect();
        let mut kinds = items.iter().map(|item| &item.kind);
        let of = kinds.next().filter(|first| kinds.all(|kind| kind == *first));
        let kind = Type::list(of.cloned().unwrap_or(Type::Any));
        Checked { node: Node::List(items.into_iter().map(|item| item.node).collect()), kind }
    }

    fn name(&mut self, at: usize, name: &str) -> Checked {
        if let Some(checked) = self.item(name) {
            return checked;
        }
        if let Some(variable) = alone(name) {
            return of_variable(variable);
        }
        let problem = match family(name) {
            Some(members) => {
                let members: Vec<&str> = members.iter().map(|(member, _)| *member).collect();
                format!(
                    "`{name}` has no value of its own; name one of its parts: {}",
                    members.join(", ")
                )
            }
            None if name == PARAMETERS => {
                "name a parameter of the path, such as path.id".to_owned()
            }
            None => {
                let mut known: Vec<&str> =
                    self.items.iter().map(|(item, _)| item.as_str()).collect();
                known.extend(ROOTS);
                format!("`{name}` is not a variable; {}", nearest(name, &known))
            }
        };
        self.fault(Fault::new(at, "unknown_variable", problem))
    }

    /// The item of the innermost loop around that calls it so.
    fn item(&self, name: &str) -> Option<Checked> {
        let number = self.items.iter().rposition(|(item, _)| item == name)?;
        let (_, kind) = self.items.get(number)?;
        Some(Checked { node: Node::Item(number), kind: kind.clone() })
    }

    /// The variable that `of.name` is, where `of` names a family; an item may hide it.
    fn member(&mut self, at: usize, of: &Expression, name: &str) -> Option<Member> {
        let Kind::Name(root) = &of.kind else { return None };
        if self.items.iter().any(|(item, _)| item == root) {
            return None;
        }
        if root == PARAMETERS {
            let known = self.scope.parameters.unwrap_or_default();
            if known.contains(&name) {
                return Some(Member::Variable(Variable::Parameter(name.into())));
            }
            let hint = nearest(name, known);
            let problem = format!("`path.{name}`: the path here has no such parameter; {hint}");
            self.fault(Fault::new(at, "unknown_variable", problem));
            return Some(Member::Faulty);
        }
        let members = family(root)?;
        if let Some((_, variable)) = members.iter().find(|(member, _)| *member == name) {
            return Some(Member::Variable(variable.clone()));
        }
        let known: Vec<&str> = members.iter().map(|(member, _)| *member).collect();
        let problem = format!("`{root}` has no `{name}`; {}", nearest(name, &known));
        self.fault(Fault::new(at, "unknown_variable", problem));
        Some(Member::Faulty)
    }

    fn select(&mut self, at: usize, of: &Expression, name: &str) -> Checked {
        match self.member(at, of, name) {
            Some(Member::Variable(variable)) => return of_variable(variable),
            Some(Member::Faulty) => return faulty(),
            None => {}
        }
        let of = self.check(of);
        match self.field_of(at, &of, name) {
            Some(kind) => Checked { node: field_node(of.node, name), kind },
            None => faulty(),
        }
    }

    /// The type of a field of a value; none after a fault.
    fn field_of(&mut self, at: usize, of: &Checked, name: &str) -> Option<Type> {
        let kind = match &of.kind {
            Type::Any => Type::Any,
            Type::Map(kind) => (**kind).clone(),
            other => {
                self.wrong_type(at, format!("has no `{name}`, for it is {other}"));
                return None;
            }
        };
        if matches!(of.node, Node::Variable(Variable::Headers)) {
            self.header(at, name)?;
        }
        Some(kind)
    }

    /// Whether a name can be that of a header; none after a fault.
    fn header(&mut self, at: usize, name: &str) -> Option<()> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let problem = format!(
                "names of headers are in lower case here; write `{}`",
                name.to_ascii_lowercase().escape_debug()
            );
            self.fault(Fault::new(at, "unknown_variable", problem));
            return None;
        }
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            let problem = format!("`{}` cannot be a header's name", name.escape_debug());
            self.fault(Fault::new(at, "unknown_variable", problem));
            return None;
        }
        Some(())
    }

    /// `has(of.name)`.
    pub(super) fn has(&mut self, at: usize, arguments: &[Expression]) -> Checked {
        let [Expression { kind: Kind::Select(of, name), .. }] = arguments else {
            let problem = "has() takes one field, as in has(claims.role); ask for another key with `in`, as in \"x-a\" in request.headers";
            return self.fault(Fault::new(at, "wrong_type", problem));
        };
        let node = match self.member(at, of, name) {
            Some(Member::Variable(variable)) => Node::HasVariable(variable),
            Some(Member::Faulty) => return faulty(),
            None => {
                let of = self.check(of);
                if self.field_of(at, &of, name).is_none() {
                    return faulty();
                }
                Node::HasField(Box::new(of.node), name.as_str().into())
            }
        };
        Checked { node, kind: Type::Bool }
    }

    fn index(&mut self, of: &Expression, index: &Expression) -> Checked {
        let at = index.at;
        let of = self.check(of);
        if let Kind::Literal(Literal::Text(name)) = &index.kind {
            return match self.field_of(at, &of, name) {
                Some(kind) => Checked { node: field_node(of.node, name), kind },
                None => faulty(),
            };
        }
        let index = self.check(index);
        let (wanted, kind) = match &of.kind {
            Type::Any => (None, Type::Any),
            Type::List(kind) => (Some(Type::Int), (**kind).clone()),
            Type::Map(kind) => (Some(Type::Text), (**kind).clone()),
            other => {
                return self
                    .wrong_type(at, format!("`[…]` takes a list or a map, and this is {other}"));
            }
        };
        if let Some(wanted) = wanted.filter(|wanted| !index.kind.may_be(wanted)) {
            let problem = format!("{} is indexed by {wanted}, and this is {}", of.kind, index.kind);
            return self.wrong_type(at, problem);
        }
        Checked { node: Node::Index(Box::new([of.node, index.node])), kind }
    }

    fn binary(&mut self, at: usize, operator: Operator, parts: &[Expression; 2]) -> Checked {
        let [left, right] = parts;
        let (one, other) = (self.check(left), self.check(right));
        let kinds = (&one.kind, &other.kind);
        let kind = match operator {
            Operator::Equal | Operator::NotEqual => {
                kinds.0.may_equal(kinds.1).then_some(Type::Bool)
            }
            Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual => {
                let are_ordered = kinds.0.has_order() && kinds.1.has_order();
                (are_ordered && kinds.0.may_equal(kinds.1)).then_some(Type::Bool)
            }
            Operator::In => match kinds.1 {
                Type::Any => Some(Type::Bool),
                Type::List(of) => kinds.0.may_equal(of).then_some(Type::Bool),
                Type::Map(_) => kinds.0.may_be(&Type::Text).then_some(Type::Bool),
                _ => None,
            },
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder => arithmetic(operator, kinds.0, kinds.1),
        };
        let Some(kind) = kind else {
            let mend = mend(operator, kinds.0, kinds.1);
            let problem =
                format!("`{}` stands between {} and {}{mend}", operator.symbol(), kinds.0, kinds.1);
            return self.wrong_type(at, problem);
        };
        let nodes = Box::new([one.node, other.node]);
        let node = match operator {
            Operator::Equal => Node::Equal(nodes),
            Operator::NotEqual => Node::Not(Box::new(Node::Equal(nodes))),
            Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual => {
                Node::Compare(operator, nodes)
            }
            Operator::In => Node::In(nodes),
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder => Node::Arithmetic(operator, nodes),
        };
        Checked { node, kind }
    }

    /// `range.all(item, body)` and its kin.
    pub(super) fn each(
        &mut self,
        kind: LoopKind,
        range: &Expression,
        arguments: &[Expression],
    ) -> Checked {
        let at = range.at;
        let [Expression { kind: Kind::Name(item), at: named_at, .. }, body] = arguments else {
            let problem = "takes a name and an expression, as in identity.groups.exists(group, group == \"admin\")";
            return self.fault(Fault::new(at, "wrong_type", problem));
        };
        let checked = self.check(range);
        let of = match &checked.kind {
            Type::Any => Type::Any,
            Type::List(of) => (**of).clone(),
            Type::Map(_) => Type::Text,
            other => {
                return self
                    .wrong_type(at, format!("goes over a list or a map, and this is {other}"));
            }
        };
        if ROOTS.contains(&item.as_str()) {
            let problem = format!("`{item}` is a variable already; call the item something else");
            return self.fault(Fault::new(*named_at, "duplicate_name", problem));
        }
        self.loops += 1;
        if self.loops == MAX_LOOPS + 1 {
            let problem = format!("has more than {MAX_LOOPS} loops; give several rules");
            return self.fault(Fault::too_complex(at, problem));
        }
        let number = self.items.len();
        if number >= MAX_NESTED_LOOPS {
            let problem = format!("has more than {MAX_NESTED_LOOPS} loops in one another");
            return self.fault(Fault::too_complex(at, problem));
        }
        self.items.push((item.clone(), of.clone()));
        let body = if kind == LoopKind::Map {
            self.check(body)
        } else {
            Checked { node: self.expect(body, &Type::Bool, "the loop"), kind: Type::Bool }
        };
        self.items.pop();
        let result = match kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Type::Bool,
            LoopKind::Filter => Type::list(of),
            LoopKind::Map => Type::list(body.kind),
        };
        let node = Loop { kind, number, range: checked.node, body: body.node };
        Checked { node: Node::Loop(Box::new(node)), kind: result }
    }

    /// `text.matches("pattern")`, whose pattern is compiled once.
    pub(super) fn matches(&mut self, target: &Expression, pattern: &Expression) -> Checked {
        let text = self.expect(target, &Type::Text, "matches()");
        let Kind::Literal(Literal::Text(source)) = &pattern.kind else {
            let problem = "matches() takes a pattern that is written out, such as \"^v[0-9]+$\"";
            return self.fault(Fault::unsupported(pattern.at, problem));
        };
        match compiled(source) {
            Ok(pattern) => {
                Checked { node: Node::Matches(Box::new(text), pattern), kind: Type::Bool }
            }
            Err(regex::Error::CompiledTooBig(_)) => {
                let problem = "the pattern takes more than 64 KiB; give a shorter one, with (?-u) where it need not know all of Unicode";
                self.fault(Fault::too_complex(pattern.at, problem))
            }
            Err(error) => {
                let detail = error.to_string();
                let last = detail.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let problem = format!("is not a regular expression that can be used: {last}");
                self.fault(Fault::new(pattern.at, "invalid_regex", problem))
            }
        }
    }
}

/// A pattern with what it costs: how large it is, the smallest bound says that it keeps.
fn compiled(source: &str) -> Result<Pattern, regex::Error> {
    let mut result = Err(regex::Error::CompiledTooBig(0));
    for (size_limit, steps_a_byte) in PATTERNS {
        let regex = RegexBuilder::new(source).size_limit(size_limit).build();
        let is_too_big = matches!(regex, Err(regex::Error::CompiledTooBig(_)));
        result = regex.map(|regex| Pattern { regex, steps_a_byte });
        if !is_too_big {
            break;
        }
    }
    result
}

fn of_variable(variable: Variable) -> Checked {
    Checked { kind: variable.kind(), node: Node::Variable(variable) }
}

fn field_node(of: Node, name: &str) -> Node {
    match (&of, HeaderName::from_bytes(name.as_bytes())) {
        (Node::Variable(Variable::Headers), Ok(name)) => Node::Header(name),
        _ => Node::Field(Box::new(of), name.into()),
    }
}

/// The type of what comes out; none where there is no such sum.
fn arithmetic(operator: Operator, one: &Type, other: &Type) -> Option<Type> {
    let is_sum = operator == Operator::Add;
    let is_sum_or_difference = is_sum || operator == Operator::Subtract;
    match (one, other) {
        (Type::Int, Type::Int) => Some(Type::Int),
        (Type::Double, Type::Double) if operator != Operator::Remainder => Some(Type::Double),
        (Type::Text, Type::Text) if is_sum => Some(Type::Text),
        (Type::Time, Type::Span) if is_sum_or_difference => Some(Type::Time),
        (Type::Span, Type::Time) if is_sum => Some(Type::Time),
        (Type::Time, Type::Time) if !is_sum && is_sum_or_difference => Some(Type::Span),
        (Type::Span, Type::Span) if is_sum_or_difference => Some(Type::Span),
        (Type::Any, kind) | (kind, Type::Any)
            if matches!(
                kind,
                Type::Any | Type::Int | Type::Double | Type::Text | Type::Time | Type::Span
            ) =>
        {
            Some(Type::Any)
        }
        _ => None,
    }
}

/// What to write instead.
fn mend(operator: Operator, one: &Type, other: &Type) -> &'static str {
    match (operator, one, other) {
        (Operator::Equal, Type::List(_), Type::Text) => "; ask with `in` whether it is in the list",
        (Operator::In, _, Type::Text) => "; ask with contains() whether it is part of the string",
        (Operator::In, _, _) => "; `in` takes a list of such, or a map and a string",
        (Operator::Add, Type::List(_), Type::List(_)) => "; lists cannot be joined here",
        (Operator::Remainder, Type::Double, _) => "; `%` takes ints",
        (_, Type::Text, Type::Int | Type::Double) | (_, Type::Int | Type::Double, Type::Text) => {
            "; make a number of the string with int()"
        }
        (_, Type::Int, Type::Double) | (_, Type::Double, Type::Int) => {
            "; make one like the other with double()"
        }
        _ => "; both must be of one type",
    }
}
