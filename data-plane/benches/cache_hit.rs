//! What an answer from the response cache costs: `cargo bench --profile micro -p tollgate-data-plane --bench cache_hit`.
//!
//! The fastest of many batches, which a busy machine disturbs least. `callgrind` counts the same work by instructions, which
//! nothing disturbs: `valgrind --tool=callgrind --toggle-collect='*hits*' PROGRAM hit`; with a name, only that is run, and once.

#![expect(clippy::print_stdout, reason = "a program whose output is a table")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench stops where something is off")]
#![expect(clippy::as_conversions, reason = "nanoseconds as a fraction")]

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use tollgate_data_plane::clock::unix_micros;
use tollgate_data_plane::ports::cache::MemoryCache;
use tollgate_model::units::Size;
use tollgate_policy::chain::{Carries, Chain};
use tollgate_policy::ports::Cache as _;
use tollgate_policy::stored::{Address, Key, Rules, Stored, api_group};
use tollgate_policy::{Body, Flow};
use tollgate_testkit::allocations::{self, Counting};

#[path = "../../shared/policy/tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests of the policies use the rest of it")]
mod support;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCHES: u32 = 2_000;
const HITS: u32 = 1_000;
const HOUR_MICROS: u64 = 3_600_000_000;

fn main() {
    let only = std::env::args().nth(1).filter(|name| !name.starts_with('-'));
    let cache = Arc::new(MemoryCache::with_room(Size::from_kib(256 * 1024)).unwrap());
    cache.store(&key(), response());
    let world = support::World {
        now_unix_micros: unix_micros(),
        cache: Some(cache.clone()),
        ..support::World::default()
    };
    let chain = support::chain(&["cache: {}"]);
    println!("{:<28} {:>10} {:>12}", "what", "ns", "allocations");
    let found = || {
        black_box(cache.lookup(black_box(&key())).unwrap());
    };
    let named = || {
        black_box(key());
    };
    let hit = || {
        black_box(answer(&chain, &world));
    };
    let asked = || {
        black_box(request());
    };
    let all: [(&str, &dyn Fn()); 4] = [
        ("request, to subtract", &asked),
        ("key", &named),
        ("key, look-up", &found),
        ("hit", &hit),
    ];
    for (name, work) in all {
        match &only {
            None => measure(name, work),
            Some(wanted) if wanted == name => hits(work),
            Some(_) => {}
        }
    }
}

fn measure(name: &str, work: &dyn Fn()) {
    let mut fastest = f64::INFINITY;
    hits(work);
    for _ in 0..BATCHES {
        let began = Instant::now();
        hits(work);
        fastest = fastest.min(began.elapsed().as_nanos() as f64 / f64::from(HITS));
    }
    let ((), allocations) = allocations::during(|| hits(work));
    println!("{name:<28} {fastest:>10.0} {:>12.2}", allocations as f64 / f64::from(HITS));
}

#[inline(never)]
fn hits(work: &dyn Fn()) {
    for _ in 0..HITS {
        work();
    }
}

fn key() -> Key {
    let (tenant, api, scheme) = ("default", "orders", "http");
    let (host, target) = ("api.shop.test", "/items/7?color=red&color=blue");
    Key::new(Address { tenant, api, scheme, host, target }.digest(), None)
}

fn request() -> Request<Body> {
    support::request(&[("host", "api.shop.test"), ("user-agent", "wrk/4.1.0"), ("accept", "*/*")])
}

/// 1 KiB of JSON with the fields that an origin usually sends.
fn response() -> Stored {
    let now = unix_micros();
    let fields = [
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("server", "nginx"),
        ("etag", "\"33a64df5\""),
        ("cache-control", "max-age=3600"),
        ("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        // As they come from the network: parts of one buffer.
        let value = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(value.as_bytes()));
        headers.insert(HeaderName::from_static(name), value.unwrap());
    }
    Stored {
        status: StatusCode::OK,
        headers,
        body: Bytes::from(vec![b'x'; 1024]),
        requested_unix_micros: now,
        received_unix_micros: now,
        initial_age_micros: 0,
        rules: Rules { lifetime_micros: HOUR_MICROS, ..Rules::default() },
        selecting: Box::default(),
        groups: Box::new([api_group("default", "orders")]),
    }
}

/// Both halves and the end.
fn answer(chain: &Chain, world: &support::World) -> Response<Body> {
    let (mut carries, mut cx, mut request) = (Carries::default(), world.cx(), request());
    let Flow::Answer(answer) = now(chain.on_request(&mut cx, &mut request, &mut carries)) else {
        panic!("it is stored");
    };
    let mut answer = *answer;
    now(chain.on_response(&mut carries, &mut cx, &mut answer));
    assert_eq!(answer.status(), StatusCode::OK);
    chain.on_end(carries, &tollgate_policy::End { status: answer.status(), is_complete: true });
    answer
}

/// Runs a future that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}
