//! The cost of a look-up and of a change, by how many routes there are and how they lie.
//!
//! Each look-up figure is the fastest of many short batches, at least 30. *Hot* asks for eight
//! routes in turn, *random* for all of them in random order, so that each comes from memory that
//! no look-up has just touched; what one such read costs on this machine is printed first. Prints
//! ratios to the same layout at 10 routes, and allocations.

#![expect(clippy::print_stdout, reason = "a program that prints its figures")]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a benchmark stops where something is off"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method};
use serde_json::json;
use tollgate_data_plane::route::{ApiRoutes, EncodedSlash, Found, MatchInput, RouteTable, Target};
use tollgate_model::api::Api;
use tollgate_model::{FromText, Kind, Name, ResourceId, parse};
use tollgate_testkit::allocations::{self, Counting};

const BATCHES: usize = 100;
/// Of one batch: short, so that some batch is not interrupted.
const LOOK_UPS: usize = 2_000;
const CHANGES: usize = 200;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How `count` routes lie: the API of the `i`-th, and a request for it.
struct Shape {
    name: &'static str,
    largest: usize,
    routes_per_api: usize,
    host: fn(usize) -> Option<String>,
    base_path: fn(usize) -> String,
    /// The match of the route that is `i`-th of all, and a path below the base path for it.
    route: fn(usize) -> (serde_json::Value, String),
}

fn everything(_: usize) -> (serde_json::Value, String) {
    (json!({}), "/items/42".to_owned())
}

fn shapes() -> Vec<Shape> {
    let one_host = |_| Some("api.shop.test".to_owned());
    let own_base = |api: usize| format!("/team-{}/service-{api}", api % 97);
    vec![
        Shape {
            name: "one route an API, 1 host",
            largest: 50_000,
            routes_per_api: 1,
            host: one_host,
            base_path: own_base,
            route: everything,
        },
        Shape {
            name: "one route an API, 1,000 hosts",
            largest: 50_000,
            routes_per_api: 1,
            host: |api| Some(format!("h{}.shop.test", api % 1_000)),
            base_path: own_base,
            route: everything,
        },
        Shape {
            name: "one route an API, any host",
            largest: 50_000,
            routes_per_api: 1,
            host: |_| None,
            base_path: own_base,
            route: everything,
        },
        Shape {
            name: "one route an API, all on `/`, 1 host",
            largest: 50_000,
            routes_per_api: 1,
            host: one_host,
            base_path: |_| "/".to_owned(),
            route: |i| {
                (
                    json!({ "path": { "prefix": format!("/v1/service-{i}") } }),
                    format!("/v1/service-{i}/items/42"),
                )
            },
        },
        Shape {
            name: "ten templates an API, 1 host",
            largest: 50_000,
            routes_per_api: 10,
            host: one_host,
            base_path: own_base,
            route: |i| {
                (
                    json!({ "path": format!("/kind-{i}/{{id}}/parts"), "methods": ["GET"] }),
                    format!("/kind-{i}/42/parts"),
                )
            },
        },
        Shape {
            name: "one API, prefixes",
            largest: 10_000,
            routes_per_api: 10_000,
            host: one_host,
            base_path: |_| "/".to_owned(),
            route: |i| {
                (
                    json!({ "path": { "prefix": format!("/v1/service-{i}") } }),
                    format!("/v1/service-{i}/items/42"),
                )
            },
        },
    ]
}

struct Built {
    id: ResourceId,
    api: Api,
    routes: Arc<ApiRoutes<usize>>,
}

/// The API that holds the routes from `first` on, and the paths of requests for them.
fn build_api(shape: &Shape, number: usize, first: usize, count: usize) -> (Built, Vec<String>) {
    let base_path = (shape.base_path)(number);
    let head = json!({
        "hosts": (shape.host)(number).into_iter().collect::<Vec<_>>(), "base_path": base_path,
        "upstream": "u",
    });
    let mut api: Api = parse::value(&head).unwrap();
    let mut paths = Vec::new();
    for i in first..first + count {
        let (matches, path) = (shape.route)(i);
        let route = json!({ "name": format!("r{i}"), "match": matches });
        api.routes.push(parse::value(&route).unwrap());
        paths.push(format!("{}{path}", base_path.trim_end_matches('/')));
    }
    let name = Name::from_text(&format!("api-{number}")).unwrap();
    let id = ResourceId::new(Kind::Api, Name::default_name(), name);
    let routes = Arc::new(ApiRoutes::build(&api, |_, i| first + i));
    (Built { id, api, routes }, paths)
}

fn build(shape: &Shape, count: usize) -> (RouteTable<usize>, Vec<(String, String)>) {
    let mut table = RouteTable::default();
    let mut requests = Vec::new();
    let per_api = shape.routes_per_api.min(count);
    for number in 0..count / per_api {
        let (built, paths) = build_api(shape, number, number * per_api, per_api);
        table.insert(&built.id, &built.api.hosts, &built.api.base_path, &built.routes);
        let host = (shape.host)(number).unwrap_or_else(|| "any.test".to_owned());
        requests.extend(paths.into_iter().map(|path| (host.clone(), path)));
    }
    (table, requests)
}

/// A pseudo-random order of `0..count`: xorshift, Fisher and Yates.
fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for i in (1..count).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(i, state as usize % (i + 1));
    }
    order
}

/// Requests that are asked for again and again, and what that cost.
struct Run<'t> {
    table: &'t RouteTable<usize>,
    requests: Vec<(String, String)>,
    next: usize,
    fastest: f64,
    allocations: u64,
}

impl<'t> Run<'t> {
    fn new(table: &'t RouteTable<usize>, requests: Vec<(String, String)>) -> Self {
        Self { table, requests, next: 0, fastest: f64::MAX, allocations: 0 }
    }

    fn batch(&mut self) {
        let headers = HeaderMap::new();
        let from = self.requests[self.next..].iter().chain(self.requests.iter().cycle());
        let (elapsed, allocations) = allocations::during(|| {
            let started = Instant::now();
            for (host, path) in from.take(LOOK_UPS) {
                let input =
                    MatchInput { host, path, query: None, method: &Method::GET, headers: &headers };
                let Found::Route(found) = self.table.find(black_box(&input)) else { continue };
                black_box(*found.payload());
            }
            started.elapsed()
        });
        self.fastest = self.fastest.min(elapsed.as_nanos() as f64 / LOOK_UPS as f64);
        self.allocations += allocations;
        self.next = (self.next + LOOK_UPS) % self.requests.len();
    }
}

fn check(table: &RouteTable<usize>, requests: &[(String, String)]) {
    let headers = HeaderMap::new();
    for (i, (host, path)) in requests.iter().enumerate() {
        let input = MatchInput { host, path, query: None, method: &Method::GET, headers: &headers };
        let Found::Route(found) = table.find(&input) else { panic!("{host}{path} is not found") };
        assert_eq!(*found.payload(), i, "{host}{path}");
    }
}

fn look_ups(shape: &Shape) {
    let counts = [10, 1_000, shape.largest];
    let built = counts.map(|count| build(shape, count));
    let mut runs: Vec<(Run<'_>, Run<'_>)> = Vec::new();
    for (table, requests) in &built {
        check(table, requests);
        let step = (requests.len() / 8).max(1);
        let spread = requests.iter().step_by(step).take(8).cloned().collect();
        let random = shuffled(requests.len()).into_iter().map(|i| requests[i].clone()).collect();
        runs.push((Run::new(table, spread), Run::new(table, random)));
    }
    // In turn, so that all see the same of what else the machine does.
    for _ in 0..BATCHES {
        for (hot, random) in &mut runs {
            hot.batch();
            random.batch();
        }
    }
    let at_ten = (runs[0].0.fastest, runs[0].1.fastest);
    for (count, (hot, random)) in counts.into_iter().zip(&runs) {
        println!(
            "{:38} {count:6} routes: hot {:4.0} ns ({:.2}x), random {:4.0} ns ({:.2}x), {} allocations",
            shape.name,
            hot.fastest,
            hot.fastest / at_ten.0,
            random.fastest,
            random.fastest / at_ten.1,
            hot.allocations + random.allocations,
        );
    }
}

/// The fastest of the batches that each take a clone, put one API more into it, and drop the old.
fn changes(shape: &Shape) {
    let mut at_hundred = None;
    for count in [100, shape.largest] {
        let (table, _) = build(shape, count);
        let extra: Vec<Built> = (0..CHANGES)
            .map(|i| build_api(shape, count + i, count + i * 10, shape.routes_per_api.min(10)).0)
            .collect();
        let mut fastest = f64::MAX;
        let mut allocations = u64::MAX;
        for _ in 0..BATCHES {
            let mut live = table.clone();
            let (elapsed, count) = allocations::during(|| {
                let started = Instant::now();
                for built in &extra {
                    let mut next = live.clone();
                    next.insert(&built.id, &built.api.hosts, &built.api.base_path, &built.routes);
                    live = black_box(next);
                }
                started.elapsed()
            });
            fastest = fastest.min(elapsed.as_nanos() as f64 / CHANGES as f64);
            allocations = allocations.min(count);
        }
        let hundred = *at_hundred.get_or_insert(fastest);
        println!(
            "{:38} {count:6} routes: insert {fastest:5.0} ns ({:.2}x), {:.1} allocations",
            shape.name,
            fastest / hundred,
            allocations as f64 / CHANGES as f64,
        );
    }
}

fn targets() {
    for path in ["/orders/v1/items/42/parts/7", "/orders/v1/items/%34%32/parts/7%20b"] {
        let mut fastest = f64::MAX;
        for _ in 0..BATCHES {
            let started = Instant::now();
            for _ in 0..LOOK_UPS {
                black_box(Target::parse(black_box(path), EncodedSlash::Refuse)).unwrap();
            }
            fastest = fastest.min(started.elapsed().as_nanos() as f64 / LOOK_UPS as f64);
        }
        println!("parse {path}: {fastest:.0} ns");
    }
}

/// One read of memory that depends on the one before, anywhere within 64 MiB.
fn memory() {
    let order = shuffled(1 << 20);
    let mut lines = vec![[0_usize; 8]; order.len()];
    for pair in order.windows(2) {
        lines[pair[0]][0] = pair[1];
    }
    let (mut fastest, mut at) = (f64::MAX, order[0]);
    for _ in 0..BATCHES {
        let started = Instant::now();
        for _ in 0..LOOK_UPS {
            at = black_box(&lines)[at][0];
        }
        fastest = fastest.min(started.elapsed().as_nanos() as f64 / LOOK_UPS as f64);
    }
    println!("one random read of 64 MiB: {fastest:.0} ns ({at})");
}

fn main() {
    memory();
    targets();
    for shape in shapes() {
        look_ups(&shape);
    }
    for shape in shapes() {
        changes(&shape);
    }
}
