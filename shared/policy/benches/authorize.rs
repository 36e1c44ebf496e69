//! What an expression costs a request: `cargo bench --profile micro -p tollgate-policy --bench authorize`.
//!
//! The fastest of many batches, which a busy machine disturbs least.

#![expect(clippy::print_stdout, reason = "a program whose output is a table")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench stops where something is off")]
#![expect(clippy::as_conversions, reason = "nanoseconds as a fraction")]

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use serde_json::json;
use tollgate_policy::chain::{Carries, Chain};
use tollgate_policy::policy::Caller;
use tollgate_policy::{Claims, Flow};
use tollgate_testkit::allocations::{self, Counting};

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod support;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCHES: u32 = 40;

fn main() {
    let groups = ["staff", "europe", "admin"].map(support::name);
    let identity = Caller { groups: groups.into(), ..support::caller("web-shop", "first") };
    let many: Vec<String> = (0..20_000).map(|i| format!("role-{i}")).collect();
    let hard = hard_text();
    let all = json!({"sub": "ada", "level": 4, "roles": ["editor", "reader"], "many": many, "hard": hard});
    let claims = Claims { all: all.as_object().unwrap().clone(), ..Claims::default() };
    let world = support::World {
        identity: Some(Arc::new(identity)),
        claims: Some(Arc::new(claims)),
        ..support::World::default()
    };
    println!("{:<78} {:>10} {:>12}", "expression", "ns/request", "allocations");
    for expression in [
        "true",
        "request.method == 'GET' || 'admin' in identity.groups",
        "request.method == 'PUT' || 'admin' in identity.groups",
        "request.path.startsWith('/items/') && claims.level >= 3",
        "request.headers['x-a'] == '1' && cidr('192.0.2.0/24').containsIP(client.ip)",
        "claims.roles.exists(r, r in ['admin', 'editor']) && time.getHours('Europe/Berlin') >= 0",
        "'red' in request.query.color",
        "request.path.matches('^/items/[0-9]+$')",
        // What takes all steps there are, and patterns: the last one is slow on purpose.
        "claims.many.all(a, claims.many.all(b, true)) || true",
        "claims.hard.matches('^[a-z]+$')",
        "claims.hard.matches('(?i)[a-z]*a[a-z]{150}[0-9]') || true",
        "claims.hard.matches('([ab]*a(a|b|aa|ab|ba){50}){3}[^ab]') || true",
    ] {
        let chain = support::chain(&[&format!("authorize: {{allow_when: [\"{expression}\"]}}")]);
        measure(expression, &chain, &world);
    }
}

/// As long as a pattern reads; `a` and `b` in no order, so that no state of an automaton comes back.
fn hard_text() -> String {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        if state & 1 == 0 { 'a' } else { 'b' }
    };
    (0..4_096).map(|_| next()).collect()
}

fn measure(expression: &str, chain: &Chain, world: &support::World) {
    let (mut fastest, mut least) = (f64::INFINITY, u64::MAX);
    for _ in 0..BATCHES {
        let mut request = support::request(&[("x-a", "1")]);
        let mut requests = 0_u32;
        let began = Instant::now();
        while began.elapsed().as_millis() < 5 {
            for _ in 0..100_u32.min(1 + requests) {
                let (mut carries, mut cx) = (Carries::default(), world.cx());
                let run = || now(chain.on_request(&mut cx, &mut request, &mut carries));
                let (flow, allocated) = allocations::during(run);
                least = least.min(allocated);
                black_box(matches!(flow, Flow::Next(())));
                requests += 1;
            }
        }
        let elapsed = began.elapsed().as_nanos() as f64 / f64::from(requests);
        fastest = fastest.min(elapsed);
    }
    println!("{expression:<78} {fastest:>10.0} {least:>12}");
}

/// Runs a future that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}
