//! What a token costs, checked and remembered: `cargo bench --profile micro -p tollgate-policy --bench jwt`.
//!
//! The fastest of many batches, which a busy machine disturbs least.

#![expect(clippy::print_stdout, reason = "a program whose output is a table")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench stops where something is off")]
#![expect(clippy::as_conversions, reason = "nanoseconds as a fraction")]

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use serde_json::json;
use tollgate_policy::Flow;
use tollgate_policy::chain::{Carries, Chain};
use tollgate_policy::jose::Remembered;
use tollgate_testkit::tokens::{Signer, key_set};

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod support;

const BATCHES: u32 = 40;
const REQUESTS: u32 = 500;

fn main() {
    println!("{:<12} {:>12} {:>12} {:>12}", "token", "bytes", "cold ns", "warm ns");
    for (name, signer) in [
        ("RS256", Signer::rsa("one").unwrap()),
        ("ES256", Signer::p256("one").unwrap()),
        ("EdDSA", Signer::ed25519("one").unwrap()),
    ] {
        let claims = json!({
            "iss": "https://id.shop.test/", "aud": "orders", "sub": "auth0|64a1f0c2b7e3d90012345678",
            "iat": 1_700_000_000, "exp": 1_700_003_600, "azp": "web-shop", "scope": "read:orders write:orders",
            "jti": "5b0f4e5c-6a55-4a55-9d36-0a7c9a3c8a11", "groups": ["staff", "europe"],
        });
        let token = signer.token(&claims).unwrap();
        let set = key_set(&[&signer]).unwrap();
        let chain = support::chain(&[&format!(
            "jwt: {{issuers: ['https://id.shop.test/'], audiences: [orders], jwks: {set}, claims_to_headers: {{x-user: sub}}}}"
        )]);
        let (cold, warm) = (measure(&chain, &token, false), measure(&chain, &token, true));
        println!("{name:<12} {:>12} {cold:>12.0} {warm:>12.0}", token.len());
    }
}

fn measure(chain: &Chain, token: &str, is_remembered: bool) -> f64 {
    let mut world = support::World::default();
    let field = format!("Bearer {token}");
    let mut fastest = f64::INFINITY;
    for _ in 0..BATCHES {
        let mut elapsed = 0.0;
        for _ in 0..REQUESTS {
            if !is_remembered {
                world.remembered = Remembered::new([3; 32]);
            }
            let mut request = support::request(&[("authorization", &field)]);
            let (mut carries, mut cx) = (Carries::default(), world.cx());
            let began = Instant::now();
            let flow = now(chain.on_request(&mut cx, &mut request, &mut carries));
            elapsed += began.elapsed().as_nanos() as f64;
            assert!(matches!(flow, Flow::Next(())), "the token is good");
            drop(black_box(cx));
            black_box(request);
        }
        fastest = fastest.min(elapsed / f64::from(REQUESTS));
    }
    fastest
}

/// Runs a future that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}
