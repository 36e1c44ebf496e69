//! What a change costs a node follows what it touches, not how much there is: counted in
//! allocations, which no busy machine disturbs.

#![expect(clippy::unwrap_used, reason = "tests stop at the first fault")]

use serde_json::json;
use tollgate_data_plane::plan::{Configurator, Update};
use tollgate_proto::v1;
use tollgate_testkit::allocations::{Counting, during};

/// What the node runs.
mod configuration;

use configuration::{api, resource, running, whole};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations for one change, of the middle one of several.
fn work(node: &mut Configurator, changes: impl Iterator<Item = v1::Resource>) -> u64 {
    let mut counts: Vec<u64> = changes
        .enumerate()
        .map(|(i, resource)| {
            let revision = 2 + u64::try_from(i).unwrap();
            let update = Update { revision, upserts: vec![resource], ..Update::default() };
            during(|| node.apply(update)).1
        })
        .collect();
    counts.sort_unstable();
    *counts.get(counts.len() / 2).unwrap()
}

#[test]
fn a_change_of_one_route_costs_hardly_more_among_many() {
    let change = |i: usize, routes: usize| api(i * 7919 % routes, 2 + u64::try_from(i).unwrap());
    let [few, many] = [100, 10_000]
        .map(|routes| work(&mut running(whole(routes)), (0..21).map(|i| change(i, routes))));
    assert!(few > 50, "{few}: nothing was applied");
    assert!(many <= 2 * few, "{few} allocations among 100 routes, {many} among 10,000");
}

#[test]
fn a_gateways_listeners_and_limits_touch_no_route() {
    let gateway = |i: u64| {
        let spec = json!({ "limits": { "headers": 50 + i } });
        resource("Gateway", "default", 2 + i, &spec)
    };
    let [few, many] =
        [10, 5_000].map(|routes| work(&mut running(whole(routes)), (0..5).map(gateway)));
    assert!(many <= 2 * few, "{few} allocations among 10 routes, {many} among 5,000");
}

#[test]
fn a_gateways_policies_reach_every_route() {
    let mut node = running(whole(3));
    let policies = json!({ "policies": [{ "api_key": {} }] });
    let upserts = vec![resource("Gateway", "default", 2, &policies)];
    node.apply(Update { revision: 2, upserts, ..Update::default() });
    let plan = node.plan().load_full();
    let governed = (0..3).filter(|slot| !plan.entry(*slot).unwrap().chain.is_empty());
    assert_eq!(governed.count(), 3);
}
