//! What a configuration costs a node: to take it over whole, as at a start from disk; to change one
//! route of it; to hold it. By how many routes there are.
//!
//! `cargo bench --profile micro -p tollgate-data-plane --bench configurator -- [ROUTES …]`

#![expect(clippy::print_stdout, reason = "a program that prints its figures")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a benchmark stops where something is off"
)]

use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_data_plane::plan::{Configurator, Update};
use tollgate_model::{Issues, Name};
use tollgate_proto::v1;
use tollgate_testkit::allocations::{Counting, during, held_bytes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const STARTS: usize = 5;
const CHANGES: usize = 201;

fn resource(kind: &str, name: &str, version: u64, spec: &serde_json::Value) -> v1::Resource {
    v1::Resource {
        kind: kind.to_owned(),
        tenant: "default".to_owned(),
        name: name.to_owned(),
        version,
        spec: serde_json::to_vec(spec).unwrap().into(),
    }
}

/// An API of one route with a policy, on one of a hundred hosts.
fn api(i: usize, version: u64) -> v1::Resource {
    let spec = json!({
        "hosts": [format!("h{}.bench.test", i % 100)],
        "base_path": format!("/api-{i:05}"),
        "upstream": "echo",
        "routes": [{
            "name": "all",
            "match": { "path": { "prefix": "/items" } },
            "policies": [{ "headers": { "response": { "set": { "x-mark": version.to_string() } } } }],
        }],
    });
    resource("Api", &format!("api-{i:05}"), version, &spec)
}

fn configuration(routes: usize) -> Vec<v1::Resource> {
    let upstream = json!({ "endpoints": [{ "url": "http://127.0.0.1:1" }] });
    let upstream = resource("Upstream", "echo", 1, &upstream);
    std::iter::once(upstream).chain((0..routes).map(|i| api(i, 1))).collect()
}

fn configurator() -> Configurator {
    Configurator::new(Name::default_name(), Box::new(|_| Issues::default()))
}

fn whole(upserts: Vec<v1::Resource>) -> Update {
    Update { is_whole: true, revision: 1, upserts, ..Update::default() }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![100, 5_000, 10_000, 50_000] } else { asked };
    println!(
        "{:>8} {:>12} {:>12} {:>14} {:>12}",
        "routes", "whole ms", "change us", "allocations", "held KiB"
    );
    for routes in sizes {
        let before = held_bytes();
        let upserts = configuration(routes);
        let mut held = configurator();
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            held = configurator();
            let update = whole(upserts.clone());
            let start = Instant::now();
            held.apply(update);
            starts.push(start.elapsed());
        }
        assert_eq!(held.rejections(), []);
        drop(upserts);
        let bytes = held_bytes() - before;
        let (mut changes, mut counted) = (Vec::new(), 0);
        for change in 0..CHANGES {
            let upserts = vec![api(change * 7919 % routes, 2 + change as u64)];
            let update = Update { revision: 2 + change as u64, upserts, ..Update::default() };
            let start = Instant::now();
            let ((), allocated) = during(|| held.apply(update));
            counted += allocated;
            changes.push(start.elapsed());
        }
        println!(
            "{routes:>8} {:>12.1} {:>12.1} {:>14} {:>12}",
            median(starts).as_secs_f64() * 1e3,
            median(changes).as_secs_f64() * 1e6,
            counted / CHANGES as u64,
            bytes / 1024,
        );
    }
}
