//! What is sent again.

use std::time::Duration;

use tollgate_testkit::tokens::Signer;

use super::*;
use crate::ports::Decision;
use crate::rehearsal::{Did, Rehearsal};
use crate::support::NOW;

const ONCE: &str = "hmac: {replay: refuse}";
const REPLAYED: Option<(u16, &str)> = Some((401, "signature_replayed"));

/// What becomes of these requests, one after the other, in one world.
async fn met(policy: &str, requests: Vec<Request<Body>>) -> Vec<Option<(u16, String)>> {
    let (world, chain) = (world(), chain(&[policy]));
    let mut met = Vec::new();
    for request in requests {
        let refused = world.exchange(&chain, request).await;
        met.push(refused.refused().map(|(status, code)| (status, code.to_owned())));
    }
    met
}

fn with_nonce(nonce: &str) -> Request<Body> {
    with_fields(&signed(&LINES, &format!("{NOW_ONE};nonce=\"{nonce}\"")))
}

#[tokio::test]
async fn a_signature_is_good_once() {
    let (world, chain) = (world(), chain(&[ONCE]));
    let fields = signed(&LINES, NOW_ONE);
    assert_eq!(world.exchange(&chain, with_fields(&fields)).await.refused(), None);
    let again = world.exchange(&chain, with_fields(&fields)).await;
    assert_eq!(again.refused(), REPLAYED);
    assert!(again.identity.is_none());
    assert_eq!(again.answered("www-authenticate"), ["Signature"]);
    assert_eq!(again.answered("accept-signature").len(), 1);
    assert!(!again.refusal.unwrap().lacks_credential);
    let later = signed(&LINES, ";created=1700000001;keyid=\"one\"");
    assert_eq!(world.exchange(&chain, with_fields(&later)).await.refused(), None);
}

#[tokio::test]
async fn without_the_guard_it_is_as_good_as_the_first_time() {
    for policy in ["hmac: {}", "hmac: {replay: allow}"] {
        let (world, chain) = (world(), chain(&[policy]));
        for _ in 0..2 {
            let request = with_fields(&signed(&LINES, NOW_ONE));
            assert_eq!(world.exchange(&chain, request).await.refused(), None);
        }
        assert!(world.counters.subjects().is_empty(), "{policy}");
    }
}

#[tokio::test]
async fn nonces_tell_requests_apart_that_are_otherwise_the_same() {
    let requests = ["a", "b", "a", "", ""].map(with_nonce);
    let refused = Some((401, "signature_replayed".to_owned()));
    let expected = [None, None, refused.clone(), None, refused];
    assert_eq!(met(ONCE, requests.into()).await, expected);
}

#[tokio::test]
async fn a_nonce_is_used_once_whatever_is_signed_with_it() {
    let other = [
        ("\"@method\"", "GET"),
        ("\"@authority\"", "api.shop.test"),
        ("\"@path\"", "/items/8"),
        ("\"@query\"", "?"),
    ];
    let mut second = with_fields(&signed(&other, &format!("{NOW_ONE};nonce=\"a\"")));
    *second.uri_mut() = "http://api.shop.test/items/8?".parse().unwrap();
    let met = met(ONCE, vec![with_nonce("a"), second]).await;
    assert_eq!(met, [None, Some((401, "signature_replayed".to_owned()))]);
}

#[tokio::test]
async fn the_same_nonce_of_two_keys_is_two() {
    let world = know(world(), "{key_id: two, secret: signing}", caller("web-shop", "second"));
    let chain = chain(&[ONCE]);
    for key in ["one", "two"] {
        let parameters = format!(";created=1700000000;keyid=\"{key}\";nonce=\"a\"");
        let request = with_fields(&signed(&LINES, &parameters));
        assert_eq!(world.exchange(&chain, request).await.refused(), None, "{key}");
    }
}

#[tokio::test]
async fn a_nonce_that_is_no_text_is_refused_where_it_counts() {
    let fields = signed(&LINES, &format!("{NOW_ONE};nonce=7"));
    assert_eq!(meet(ONCE, with_fields(&fields)).await.refused(), REFUSED);
    assert_eq!(meet("hmac: {}", with_fields(&fields)).await.refused(), None);
}

/// Of an ECDSA signature (r, s), (r, n - s) is as good: whoever has seen the one has the other.
#[tokio::test]
async fn another_signature_over_the_same_is_the_same() {
    let signer = Signer::p256("one").unwrap();
    let pem = serde_json::Value::from(signer.pem().unwrap());
    let text = format!("{{key_id: one, public_key: {pem}}}");
    let world = know(World::default(), &text, caller("web-shop", "first"));
    let (input, base) = base("sig1", &LINES, NOW_ONE);
    // Its signatures differ each time.
    let sign = || bytes_of("sig1", &signer.sign("ES256", base.as_bytes()).unwrap());
    let (first, second) = (sign(), sign());
    assert_ne!(first, second);
    let chain = chain(&[ONCE]);
    for (signature, expected) in [(first, None), (second, REPLAYED)] {
        let fields = [("signature-input", input.clone()), ("signature", signature)];
        assert_eq!(world.exchange(&chain, with_fields(&fields)).await.refused(), expected);
    }
}

#[tokio::test]
async fn it_is_remembered_as_long_as_it_is_good() {
    let mut world = world();
    let chain = chain(&["hmac: {replay: refuse, max_age: 10s, leeway: 5s}"]);
    // Made five seconds ahead.
    let fields = signed(&LINES, ";created=1700000005;keyid=\"one\"");
    assert_eq!(world.exchange(&chain, with_fields(&fields)).await.refused(), None);
    for millis in [0, 1_000, 7_500, 14_999] {
        world.now_unix_micros = NOW + millis * 1_000;
        let met = world.exchange(&chain, with_fields(&fields)).await;
        assert_eq!(met.refused(), REPLAYED, "{millis}");
    }
    world.now_unix_micros = NOW + 15_000_000;
    assert_eq!(world.exchange(&chain, with_fields(&fields)).await.refused(), REFUSED);
}

#[tokio::test]
async fn what_is_refused_has_not_used_its_signature_up() {
    let digest = sha256(b"body");
    let lines = [("\"content-digest\"", digest.as_str())];
    let send = |body| posted(full(body), &digest, &lines);
    let met = met(ONCE, vec![send("bodY"), send("body"), send("body")]).await;
    let code = |code: &str| Some((401, code.to_owned()));
    assert_eq!(met, [code("unauthenticated"), None, code("signature_replayed")]);
}

#[tokio::test]
async fn a_signature_that_is_not_good_is_not_remembered() {
    let (world, chain) = (world(), chain(&[ONCE]));
    let [input, _] = signed(&LINES, NOW_ONE);
    let wrong = [input, ("signature", bytes_of("sig1", &[7; 32]))];
    let unknown = signed(&LINES, ";created=1700000000;keyid=\"two\"");
    for fields in [wrong, unknown] {
        assert_eq!(world.exchange(&chain, with_fields(&fields)).await.refused(), REFUSED);
    }
    assert!(world.counters.subjects().is_empty());
}

#[tokio::test]
async fn counters_that_are_elsewhere_are_waited_for() {
    let mut world = world();
    world.counters.are_elsewhere = true;
    let chain = chain(&[ONCE]);
    for expected in [None, REPLAYED] {
        let request = with_fields(&signed(&LINES, NOW_ONE));
        assert_eq!(world.exchange(&chain, request).await.refused(), expected);
    }
}

#[tokio::test]
async fn a_rehearsal_uses_nothing_up_and_says_what_would_be() {
    let mut world = world();
    let reset = Duration::from_secs(1);
    for (is_admitted, expected) in [(true, None), (false, REPLAYED)] {
        world.counters.fixed = Some(Decision { is_admitted, remaining: 0, reset, booked: None });
        let rehearsal = Rehearsal::of(&world);
        let mut cx = world.cx();
        cx.ports = &rehearsal;
        let mut request = with_fields(&signed(&LINES, NOW_ONE));
        let steps = chain(&[ONCE]).rehearse(&mut cx, &mut request).await;
        let refused = if let Did::Refused(refusal) = &steps[0].did {
            Some((refusal.status.as_u16(), refusal.code))
        } else {
            None
        };
        assert_eq!(refused, expected);
    }
}
