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
    let at =
        |index: u16| upstream.endpoints.get(usize::from(index)).map(|endpoint| (index, endpoint));
    if upstream.turns.len() <= 1 {
        return at(upstream.turns.first().copied().unwrap_or(0));
    }
    let start = core.pool.next_turn(upstream, upstream.turns.len());
    let (before, rest) = upstream.turns.split_at_checked(start).unwrap_or_default();
    let mut untried = rest.iter().chain(before).copied().filter(|index| !tried.contains(index));
    // Where every one was tried, whoever is next.
    let first = at(untried.next().or_else(|| rest.first().copied())?)?;
    match upstream.balance {
        Balance::RoundRobin => Some(first),
        // Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001. The turns
        // draw by weight; the second is the next in turn that is another one.
        Balance::LeastRequest => {
            let second = untried.find(|index| *index != first.0).and_then(at);
            let active = |endpoint: &Endpoint| core.pool.endpoint(endpoint).active();
            Some(second.filter(|(_, second)| active(second) < active(first.1)).unwrap_or(first))
        }
    }
}
