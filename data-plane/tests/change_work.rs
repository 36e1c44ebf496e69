//! What a change costs a node follows what it touches, not how much there is: counted in
//! allocations, which no busy machine disturbs.

#![expect(clippy::unwrap_used, reason = "tests stop at the first fault")]

use serde_json::{Value, json};
use tollgate_data_plane::plan::{Configurator, Update};
use tollgate_model::{Issues, Name};
use tollgate_proto::v1;
use tollgate_testkit::allocations::{Counting, during};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn resource(kind: &str, name: &str, version: u64, spec: &Value) -> v1::Resource {
    v1::Resource {
        kind: kind.to_owned(),
        tenant: "default".to_owned(),
        name: name.to_owned(),
        version,
        spec: serde_json::to_vec(spec).unwrap().into(),
    }
}

fn api(i: usize, version: u64) -> v1::Resource {
    let policies =
        json!([{ "headers": { "response": { "set": { "x-mark": version.to_string() } } } }]);
    let spec = json!({
        "hosts": [format!("h{}.shop.test", i % 10)],
        "base_path": format!("/api-{i:05}"),
        "upstream": "orders",
        "routes": [{ "name": "all", "policies": policies }],
    });
    resource("Api", &format!("api-{i:05}"), version, &spec)
}

/// A node that runs so many APIs of one route each.
fn node(apis: usize) -> Configurator {
    let endpoints = json!({ "endpoints": [{ "url": "http://127.0.0.1:9" }] });
    let mut upserts = vec![resource("Upstream", "orders", 1, &endpoints)];
    upserts.extend((0..apis).map(|i| api(i, 1)));
    let mut node = Configurator::new(Name::default_name(), Box::new(|_| Issues::default()));
    node.apply(Update { is_whole: true, revision: 1, upserts, ..Update::default() });
    assert_eq!(node.rejections(), []);
    node
}

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
    let [few, many] =
        [100, 10_000].map(|routes| work(&mut node(routes), (0..21).map(|i| change(i, routes))));
    assert!(few > 50, "{few}: nothing was applied");
    assert!(many <= 2 * few, "{few} allocations among 100 routes, {many} among 10,000");
}

#[test]
fn a_gateways_listeners_and_limits_touch_no_route() {
    let gateway = |i: u64| {
        let spec = json!({ "limits": { "headers": 50 + i } });
        resource("Gateway", "default", 2 + i, &spec)
    };
    let [few, many] = [10, 5_000].map(|routes| work(&mut node(routes), (0..5).map(gateway)));
    assert!(many <= 2 * few, "{few} allocations among 10 routes, {many} among 5,000");
}

#[test]
fn a_gateways_policies_reach_every_route() {
    let mut node = node(3);
    let policies = json!({ "policies": [{ "api_key": {} }] });
    let upserts = vec![resource("Gateway", "default", 2, &policies)];
    node.apply(Update { revision: 2, upserts, ..Update::default() });
    let plan = node.plan().load_full();
    let governed = (0..3).filter(|slot| !plan.entry(*slot).unwrap().chain.is_empty());
    assert_eq!(governed.count(), 3);
}
