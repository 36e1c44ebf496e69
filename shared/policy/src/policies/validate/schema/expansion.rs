//! Schemas that would take too long, or for ever: what is applied to one and the same value, with every
//! reference written out.
//!
//! What recurses into items and members is bounded by the value, and by the budget of [`super::Checker`].

use super::{Node, NodeId};

/// How many schemas one value may be checked with at one schema.
const MAX_EXPANSION: u64 = 10_000;

/// How deep they may stand in each other.
const MAX_DEPTH: u32 = 64;

/// What is wrong with a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// It leads back to itself without going into the value.
    Endless,
    /// It is checked with too many, or too deep.
    TooLarge,
}

#[derive(Clone, Copy)]
enum State {
    New,
    UnderWay,
    Done { size: u64, depth: u32 },
}

/// The schemas that are too much, the innermost of them alone.
pub(super) fn excesses(nodes: &[Node]) -> Vec<(usize, Excess)> {
    let mut states = vec![State::New; nodes.len()];
    let mut found = Vec::new();
    for start in 0..nodes.len() {
        // A stack of our own: what is nested in configurations may be deeper than that of the thread.
        let mut stack = vec![start];
        while let Some(place) = stack.last().copied() {
            let Some(node) = nodes.get(place) else { break };
            let children: Vec<usize> = node.in_place().map(place_of).collect();
            match states.get(place).copied().unwrap_or(State::New) {
                State::Done { .. } => {
                    stack.pop();
                }
                State::New => {
                    set(&mut states, place, State::UnderWay);
                    for child in children {
                        match states.get(child) {
                            Some(State::New) => stack.push(child),
                            Some(State::UnderWay) => found.push((place, Excess::Endless)),
                            Some(State::Done { .. }) | None => {}
                        }
                    }
                }
                State::UnderWay => {
                    stack.pop();
                    let (size, depth) = measure(&children, &states);
                    let is_too_much = size > MAX_EXPANSION || depth > MAX_DEPTH;
                    if is_too_much {
                        found.push((place, Excess::TooLarge));
                    }
                    // Told once; what is around it is not to be told as well.
                    let (size, depth) = if is_too_much { (1, 1) } else { (size, depth) };
                    set(&mut states, place, State::Done { size, depth });
                }
            }
        }
    }
    found.sort_by_key(|(place, _)| *place);
    found.dedup();
    found
}

fn place_of(id: NodeId) -> usize {
    usize::try_from(id.0).unwrap_or(usize::MAX)
}

fn set(states: &mut [State], place: usize, state: State) {
    if let Some(known) = states.get_mut(place) {
        *known = state;
    }
}

fn measure(children: &[usize], states: &[State]) -> (u64, u32) {
    let done = children.iter().filter_map(|child| match states.get(*child) {
        Some(State::Done { size, depth }) => Some((*size, *depth)),
        _ => None,
    });
    done.fold((1, 1), |(size, depth), (child_size, child_depth)| {
        (size.saturating_add(child_size), depth.max(child_depth + 1))
    })
}
