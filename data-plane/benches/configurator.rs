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

use tollgate_data_plane::plan::Update;
use tollgate_testkit::allocations::{Counting, during, held_bytes};

/// What the node runs.
#[path = "../tests/configuration/mod.rs"]
mod configuration;

use configuration::{api, running, whole};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const STARTS: usize = 5;
const CHANGES: usize = 201;

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
        let mut held = running(whole(0));
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            let update = whole(routes);
            drop(held);
            let start = Instant::now();
            held = running(update);
            starts.push(start.elapsed());
        }
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
