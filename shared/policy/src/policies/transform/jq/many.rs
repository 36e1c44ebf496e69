//! How many values a filter may make. Where two within one could make several, the order of their pairs is one
//! thing to jq and another to jaq.

use super::filter::{Filter, Part, Piece, Step};
use super::function::Function;

/// Whether a filter makes at most one value of each.
pub(super) fn makes_one(filter: &Filter) -> bool {
    match filter {
        Filter::Identity | Filter::Literal(_) | Filter::Variable(_) | Filter::List(_) => true,
        Filter::Everything => false,
        Filter::Text(_, pieces) => pieces.iter().all(|piece| match piece {
            Piece::Text(_) => true,
            Piece::Value(filter) => makes_one(filter),
        }),
        Filter::Object(fields) => {
            fields.iter().all(|(name, value)| makes_one(name) && makes_one(value))
        }
        Filter::Negate(of) => makes_one(of),
        Filter::Pipe(filters) => filters.iter().all(makes_one),
        Filter::Comma(filters) => filters.len() < 2 && filters.iter().all(makes_one),
        Filter::Bind(source, body) => makes_one(source) && makes_one(body),
        Filter::Reduce(reduce) => makes_one(&reduce.start),
        // What was made before a fault stays, and what is caught comes behind it.
        Filter::Try(tried, caught) => makes_one(tried) && caught.as_deref().is_none_or(makes_one),
        Filter::Choice(choices, otherwise) => {
            choices.iter().all(|(condition, then)| makes_one(condition) && makes_one(then))
                && otherwise.as_deref().is_none_or(makes_one)
        }
        Filter::Alternative(left, right)
        | Filter::Logic(_, left, right)
        | Filter::Calculation(_, left, right)
        | Filter::Comparison(_, left, right) => makes_one(left) && makes_one(right),
        Filter::Path(of, steps) => makes_one(of) && steps.iter().all(steps_to_one),
        Filter::Assignment(super::filter::Assignment::Update, _, _) => true,
        Filter::Assignment(_, _, value) => makes_one(value),
        Filter::Call(function, arguments) => calls_one(*function, arguments),
    }
}

fn steps_to_one(step: &Step) -> bool {
    match &step.part {
        Part::All => false,
        part => indices(part).all(makes_one),
    }
}

/// What a part of a path is made with.
fn indices(part: &Part) -> impl Iterator<Item = &Filter> {
    let (one, other) = match part {
        Part::All => (None, None),
        Part::At(index) => (Some(index), None),
        Part::Slice(from, to) => (from.as_ref(), to.as_ref()),
    };
    one.into_iter().chain(other)
}

fn calls_one(function: Function, arguments: &[Filter]) -> bool {
    match function {
        Function::Recurse | Function::Range | Function::RangeFrom => false,
        Function::Limit => {
            matches!(arguments, [_, of] if makes_one(of)) && makes_all_one(arguments)
        }
        Function::Select => makes_all_one(arguments),
        Function::Walk => makes_all_one(arguments),
        _ if function.takes_filter() => true,
        _ => makes_all_one(arguments),
    }
}

fn makes_all_one(filters: &[Filter]) -> bool {
    filters.iter().all(makes_one)
}

/// Whether more than one of some filters could make several values.
pub(super) fn multiply<'f>(filters: impl IntoIterator<Item = &'f Filter>) -> bool {
    filters.into_iter().filter(|filter| !makes_one(filter)).count() > 1
}

/// The same of a path: an index that could make several values, behind something else that could.
pub(super) fn path_multiplies(of: &Filter, steps: &[Step]) -> bool {
    let mut is_many = !makes_one(of);
    for step in steps {
        let many = indices(&step.part).filter(|index| !makes_one(index)).count();
        if many > 1 || (many == 1 && is_many) {
            return true;
        }
        is_many |= !steps_to_one(step);
    }
    false
}
