//! The same endpoint for the same request, as long as it is well; where it is not, each of its requests finds another
//! one of its own, and no other request moves. The same on every node.

use http::request::Parts;
use tollgate_model::upstream::{Balance, HashBy};
use tollgate_policy::cookie;
use tollgate_policy::policy::Client;
use xxhash_rust::xxh3::xxh3_64;

use crate::plan::{Endpoint, UpstreamPlan};

/// What decides a request's endpoint; 0 where nothing of it does.
#[must_use]
pub fn affinity(upstream: &UpstreamPlan, head: &Parts, client: &Client) -> u64 {
    if upstream.balance != Balance::ConsistentHash {
        return 0;
    }
    let found = match &upstream.hash_by {
        HashBy::Ip => None,
        HashBy::Path => Some(head.uri.path().as_bytes()),
        HashBy::Header(name) => head.headers.get(name).map(|value| value.as_bytes()),
        HashBy::Cookie(name) => cookie::find(&head.headers, name).map(str::as_bytes),
    };
    xxh3_64(found.unwrap_or(client.address_text.as_bytes()))
}

/// Picks the endpoint with the greatest score.
///
/// Source: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005 (the logarithmic method); linear
/// in the number of endpoints.
pub(super) fn pick<'a>(
    key: u64,
    endpoints: impl Iterator<Item = (u16, &'a Endpoint)>,
) -> Option<(u16, &'a Endpoint)> {
    endpoints.max_by(|a, b| score(key, a.1).total_cmp(&score(key, b.1)))
}

fn score(key: u64, endpoint: &Endpoint) -> f64 {
    -f64::from(endpoint.weight) / unit(key ^ endpoint.hash_seed).ln()
}

/// A number strictly between 0 and 1, evenly spread over all numbers.
pub(super) fn unit(number: u64) -> f64 {
    let upper = u32::try_from(mixed(number) >> 32).unwrap_or(u32::MAX);
    (f64::from(upper) + 0.5) / (f64::from(u32::MAX) + 1.0)
}

/// Every bit of the result depends on every bit of the number (the finisher of `SplitMix64`).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::plan::{EndpointIds, Own};

    fn endpoints(weights: &[u16]) -> Vec<Endpoint> {
        let upstream = weights
            .iter()
            .enumerate()
            .map(|(i, weight)| format!("{{\"url\": \"http://10.0.0.{i}\", \"weight\": {weight}}}"))
            .collect::<Vec<_>>()
            .join(",");
        let spec = format!("{{\"endpoints\": [{upstream}]}}");
        let spec = tollgate_model::parse::value(&serde_json::from_str(&spec).unwrap()).unwrap();
        let ids = EndpointIds::default();
        let own = Own {
            number: 1,
            name: "default/e".into(),
            ids: ids.clone(),
            shown: None,
            credentials: None,
        };
        let plan = UpstreamPlan::build(&spec, own, None, |_, _| ids.next());
        plan.endpoints.current().all.to_vec()
    }

    fn picked(endpoints: &[Endpoint], key: u64, without: Option<u16>) -> u16 {
        let all = (0..).zip(endpoints).filter(|(index, _)| Some(*index) != without);
        pick(xxh3_64(&key.to_le_bytes()), all).unwrap().0
    }

    #[test]
    fn requests_are_spread_by_weight() {
        let endpoints = endpoints(&[1, 1, 2]);
        let mut counts = HashMap::new();
        for key in 0..40_000 {
            *counts.entry(picked(&endpoints, key, None)).or_insert(0_i32) += 1;
        }
        for (index, expected) in [(0, 10_000), (1, 10_000), (2, 20_000)] {
            assert!((counts[&index] - expected).abs() < 600, "{counts:?}");
        }
    }

    #[test]
    fn only_the_requests_of_the_one_that_is_out_move() {
        let endpoints = endpoints(&[1, 1, 1, 1, 1]);
        let mut moved = HashMap::new();
        for key in 0..2_000 {
            let (before, after) = (picked(&endpoints, key, None), picked(&endpoints, key, Some(2)));
            if before == 2 {
                *moved.entry(after).or_insert(0) += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert_eq!(moved.len(), 4, "{moved:?}");
    }
}
