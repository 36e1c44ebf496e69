//! Nanoseconds and allocations a request: `cargo bench --profile micro -p tollgate-policy`.
//!
//! The fastest of many batches, which a busy machine disturbs least. Ratios within one run mean
//! something; figures of two machines do not compare.

#![expect(unsafe_code, reason = "counting allocations takes a global allocator")]
#![expect(clippy::print_stdout, reason = "a program whose output is a table")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench stops where something is off")]
#![expect(clippy::as_conversions, reason = "nanoseconds as a fraction")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};
use tollgate_policy::chain::{Carries, Chain};
use tollgate_policy::ports::Decision;
use tollgate_policy::{Body, Flow};

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod support;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise about `pointer` and `layout` is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCHES: u32 = 4_000;
/// So few that they stay in the processor's caches, as the one does that a thread is at.
const REQUESTS: u32 = 128;

fn main() {
    let governed = support::chain(&[
        "api_key: {}",
        "rate_limit: {limit: 1000000000, window: 1m}",
        "headers: {response: {set: {cache-control: no-store}}}",
    ]);
    let idle = "api_key: {optional: true}";
    let edits = "headers: {request: {remove: [x-none]}}";
    let eight = support::chain(&[idle, edits, edits, edits, edits, edits, edits, edits]);
    let denied: Vec<String> =
        (0..5_000).map(|i| format!("10.{}.{}.0/25", i / 256, i % 256)).collect();
    let denied = format!("ip_access: {{deny: [{}]}}", denied.join(", "));
    println!("{:<44} {:>10} {:>12}", "chain", "ns/request", "allocations");
    measure("none", &Chain::default(), &[]);
    measure("api_key, rate_limit, headers", &governed, &[("x-api-key", "sk-shop-0001")]);
    measure("ip_access, 5,000 networks", &support::chain(&[&denied]), &[]);
    measure("basic_auth, nothing sent", &support::chain(&["basic_auth: {optional: true}"]), &[]);
    let cors = support::chain(&["cors: {allow_origins: ['https://*.shop.test']}"]);
    measure("cors, no page", &cors, &[]);
    measure("cors, a page", &cors, &[("origin", "https://www.shop.test")]);
    let acl = support::chain(&["api_key: {}", "acl: {allow: {applications: [web-shop]}}"]);
    measure("api_key, acl", &acl, &[("x-api-key", "sk-shop-0001")]);
    let ways = ["any_of: [{api_key: {headers: [x-api-key]}}, {basic_auth: {}}]"];
    measure("any_of, a key", &support::chain(&ways), &[("x-api-key", "sk-shop-0001")]);
    let split = "split: {to: [{upstream: next, percent: 0, match: {headers: {x-canary: always}}}], by: '{cookie.visitor}'}";
    measure("split, not its share", &support::chain(&[split]), &[("cookie", "a=1; visitor=77")]);
    measure(
        "mirror, not its share",
        &support::chain(&["mirror: {upstream: lab, percent: 0}"]),
        &[],
    );
    let fault = "fault: {delay: {time: 1s, percent: 0}, abort: {status: 503, percent: 0}}";
    measure("fault, not its share", &support::chain(&[fault]), &[]);
    measure("eight that have nothing to do", &eight, &[]);
}

/// Both halves and the end, without what it takes to make the messages.
fn measure(name: &str, chain: &Chain, fields: &[(&str, &str)]) {
    let mut world =
        support::World::default().with_caller("sk-shop-0001", support::caller("web-shop", "first"));
    // The counters themselves are measured where they are.
    let reset = Duration::from_secs(60);
    world.counters.fixed = Some(Decision { is_admitted: true, remaining: 99, reset, booked: None });
    let (mut fastest, mut allocations) = (f64::INFINITY, 0.0);
    for _ in 0..BATCHES {
        let messages: Vec<(Request<Body>, Response<Body>)> =
            (0..REQUESTS).map(|_| (support::request(fields), answer())).collect();
        let mut done = Vec::with_capacity(messages.len());
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let began = Instant::now();
        for (mut request, mut response) in messages {
            now(exchange(chain, &world, &mut request, &mut response));
            done.push((request, response));
        }
        let elapsed = began.elapsed().as_nanos() as f64 / f64::from(REQUESTS);
        allocations = (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / f64::from(REQUESTS);
        fastest = fastest.min(elapsed);
        black_box(done);
    }
    println!("{name:<44} {fastest:>10.0} {allocations:>12.2}");
}

/// An answer as they usually are: with some fields, and room for more.
fn answer() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    response.headers_mut().reserve(16);
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("server", "nginx"),
        ("etag", "\"33a64df5\""),
        ("x-request-id", "request-1"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn exchange(
    chain: &Chain,
    world: &support::World,
    request: &mut Request<Body>,
    response: &mut Response<Body>,
) {
    let (mut carries, mut cx) = (Carries::default(), world.cx());
    let flow = chain.on_request(&mut cx, request, &mut carries).await;
    assert!(matches!(flow, Flow::Next(())), "nothing is refused");
    chain.on_response(&mut carries, &mut cx, response).await;
    let end = tollgate_policy::End { status: response.status(), is_complete: true };
    chain.on_end(carries, &end);
}

/// Runs a future that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}
