//! Which endpoint gets a request.

use tollgate_model::upstream::Balance;

use crate::core::Core;
use crate::plan::{Endpoint, UpstreamPlan};

/// Picks an endpoint, one that was not tried for this request where there is one.
pub(super) fn pick<'a>(
    core: &Core,
    upstream: &'a UpstreamPlan,
    tried: &[u16],
) -> Option<(u16, &'a Endpoint)> {
    let at = |index: u16| upstream.endpoints.get(usize::from(index)).map(|endpoint| (index, endpoint));
    if upstream.turns.len() <= 1 {
        return at(upstream.turns.first().copied().unwrap_or(0));
    }
    let first = in_turn(core, upstream, tried)?;
    match upstream.balance {
        Balance::RoundRobin => at(first),
        // Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001. The turns
        // draw by weight; two that follow each other are two different endpoints mostly.
        Balance::LeastRequest => {
            let second = in_turn(core, upstream, tried)?;
            let (a, b) = (at(first)?, at(second)?);
            let is_second_freer = core.pool.active(b.1) < core.pool.active(a.1);
            Some(if is_second_freer { b } else { a })
        }
    }
}

/// The next in turn that was not tried; the next at all where every one was.
fn in_turn(core: &Core, upstream: &UpstreamPlan, tried: &[u16]) -> Option<u16> {
    let turns = &upstream.turns;
    let start = core.pool.next_turn(upstream, turns.len());
    let rotated = turns.iter().cycle().skip(start).take(turns.len());
    rotated.clone().find(|index| !tried.contains(index)).or_else(|| turns.get(start)).copied()
}
