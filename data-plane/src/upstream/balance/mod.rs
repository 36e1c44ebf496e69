//! Which endpoint gets a request.

use tollgate_model::upstream::Balance;

use crate::core::Core;
use crate::plan::{Endpoint, UpstreamPlan};

// The same endpoint for the same request.
mod consistent_hash;
// How fast an endpoint answers.
mod ewma;

pub use consistent_hash::affinity;
pub(super) use ewma::Ewma;

/// One choice of an endpoint.
struct Choice<'a> {
    core: &'a Core,
    upstream: &'a UpstreamPlan,
    /// What decides where the same request goes to the same endpoint; see [`affinity`].
    key: u64,
    /// Where the upstream's turn stands.
    turn: usize,
}

/// Picks an endpoint: of those that are well and were not tried for this request, one of the smallest priority.
/// Where there is none, one that was not tried; where there is none of those, any.
pub(super) fn pick<'a>(
    core: &'a Core,
    upstream: &'a UpstreamPlan,
    tried: &[u16],
    key: u64,
) -> Option<(u16, &'a Endpoint)> {
    if let [only] = &*upstream.endpoints {
        return Some((0, only));
    }
    // One turn a choice, however often it looks around.
    let choice = Choice { core, upstream, key, turn: core.pool.next_turn(upstream) };
    let is_untried = |index: u16, _: &Endpoint| !tried.contains(&index);
    let is_well = |index: u16, endpoint: &Endpoint| {
        is_untried(index, endpoint) && (!upstream.has_health || endpoint.health.is_well())
    };
    choice
        .first_tier(&is_well)
        .or_else(|| choice.first_tier(&is_untried))
        .or_else(|| choice.first_tier(&|_, _| true))
}

impl<'a> Choice<'a> {
    fn first_tier(
        &self,
        is_usable: &dyn Fn(u16, &Endpoint) -> bool,
    ) -> Option<(u16, &'a Endpoint)> {
        self.upstream.tiers.iter().find_map(|turns| self.of_tier(turns, is_usable))
    }

    fn of_tier(
        &self,
        turns: &[u16],
        is_usable: &dyn Fn(u16, &Endpoint) -> bool,
    ) -> Option<(u16, &'a Endpoint)> {
        let at = |index: u16| {
            let endpoint = self.upstream.endpoints.get(usize::from(index))?;
            is_usable(index, endpoint).then_some((index, endpoint))
        };
        if self.upstream.balance == Balance::ConsistentHash {
            return consistent_hash::pick(self.key, turns.iter().copied().filter_map(at));
        }
        let start = self.turn % turns.len().max(1);
        let (before, rest) = turns.split_at_checked(start).unwrap_or_default();
        let mut usable = rest.iter().chain(before).copied().filter_map(at);
        let first = usable.next()?;
        // Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001. The turns
        // draw by weight; the second is the next in turn that is another one.
        let mut second = || usable.find(|(index, _)| *index != first.0);
        let pool = |endpoint: &Endpoint| self.core.pool.endpoint(endpoint);
        Some(match self.upstream.balance {
            Balance::RoundRobin | Balance::ConsistentHash => first,
            Balance::LeastRequest => second()
                .filter(|(_, second)| pool(second).active() < pool(first.1).active())
                .unwrap_or(first),
            Balance::Ewma => second()
                .filter(|(_, second)| pool(second).load() < pool(first.1).load())
                .unwrap_or(first),
        })
    }
}
