//! Which endpoint gets a request.

use std::time::Duration;

use tollgate_model::upstream::Balance;

use super::limit::Limit;
use crate::core::Core;
use crate::plan::{Endpoint, Endpoints, UpstreamPlan};

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
    endpoints: &'a Endpoints,
    /// What decides where the same request goes to the same endpoint; see [`affinity`].
    key: u64,
    /// Where the upstream's turn stands.
    turn: usize,
}

/// Picks an endpoint: of those that are well, have room and were not tried for this request, one of the smallest
/// priority. Where there is none, one that has room and was not tried; where there is none of those, any that has room.
pub(super) fn pick<'a>(
    core: &'a Core,
    upstream: &'a UpstreamPlan,
    endpoints: &'a Endpoints,
    tried: &[u16],
    key: u64,
) -> Option<(u16, &'a Endpoint)> {
    if let [only] = &*endpoints.all {
        return Some((0, only));
    }
    // One turn a choice, however often it looks around.
    let choice = Choice { core, upstream, endpoints, key, turn: core.pool.next_turn(upstream) };
    let has_room =
        |_: u16, endpoint: &Endpoint| endpoint.limit.as_ref().is_none_or(Limit::has_room);
    let is_untried =
        |index: u16, endpoint: &Endpoint| !tried.contains(&index) && has_room(index, endpoint);
    let is_well = |index: u16, endpoint: &Endpoint| {
        is_untried(index, endpoint) && (!upstream.has_health || endpoint.health.is_well())
    };
    choice
        .first_tier(&is_well)
        .or_else(|| choice.first_tier(&is_untried))
        .or_else(|| choice.first_tier(&has_room))
}

impl<'a> Choice<'a> {
    fn first_tier(
        &self,
        is_usable: &dyn Fn(u16, &Endpoint) -> bool,
    ) -> Option<(u16, &'a Endpoint)> {
        self.endpoints.tiers.iter().find_map(|turns| self.of_tier(turns, is_usable))
    }

    fn of_tier(
        &self,
        turns: &[u16],
        is_usable: &dyn Fn(u16, &Endpoint) -> bool,
    ) -> Option<(u16, &'a Endpoint)> {
        let at = |index: u16| {
            let endpoint = self.endpoints.all.get(usize::from(index))?;
            is_usable(index, endpoint).then_some((index, endpoint))
        };
        if self.upstream.balance == Balance::ConsistentHash {
            return consistent_hash::pick(self.key, turns.iter().copied().filter_map(at));
        }
        let start = self.turn % turns.len().max(1);
        let (before, rest) = turns.split_at_checked(start).unwrap_or_default();
        let usable = rest.iter().chain(before).copied().filter_map(at);
        let Some(slow_start) = self.upstream.slow_start else { return self.in_turn(usable) };
        // Where all of them rise, all are to be had.
        let risen = usable.clone().filter(|(_, endpoint)| self.is_drawn(endpoint, slow_start));
        self.in_turn(risen).or_else(|| self.in_turn(usable))
    }

    /// Whether an endpoint whose share rises is to be had at this turn.
    fn is_drawn(&self, endpoint: &Endpoint, slow_start: Duration) -> bool {
        let share = endpoint.health.share(slow_start);
        share >= 1.0 || {
            let turn = u64::try_from(self.turn).unwrap_or_default();
            consistent_hash::unit(turn ^ endpoint.hash_seed) < share
        }
    }

    fn in_turn(
        &self,
        mut usable: impl Iterator<Item = (u16, &'a Endpoint)>,
    ) -> Option<(u16, &'a Endpoint)> {
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
