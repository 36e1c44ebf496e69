//! Whose secrets and upstreams a policy takes: at a gateway those of the tenant `default`, anywhere else those of the
//! tenant whose API is called, whatever else has the same name.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

#[expect(dead_code, reason = "the tests of the single policies use the rest of it")]
mod support;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http::Request;
use http_body::Body as _;
use serde_json::json;
use tollgate_model::secret::SecretText;
use tollgate_policy::Body;
use tollgate_policy::chain::Chain;
use tollgate_policy::ports::CallAnswer;
use tollgate_testkit::tokens::signed_with_secret;

use crate::support::{Met, NOW, World, name, policy_at, request};

const OPERATORS: &str = "the operators' secret of 32 bytes.";
const ACMES: &str = "the secret of acme, of 32 bytes as well";

/// A call of an API of the tenant `acme`, which has a secret of the same name as the tenant `default`.
fn world() -> World {
    let mut world = World::default();
    world.route.tenant = name("acme");
    for (tenant, value) in [("default", OPERATORS), ("acme", ACMES)] {
        let value = SecretText::new(value.to_owned());
        world.secrets.insert((name(tenant), name("token")), value);
    }
    world
}

async fn met_at(place: &str, text: &str, world: &World, request: Request<Body>) -> Met {
    let policies = [policy_at(place, text)];
    world.exchange(&Chain::assemble([policies.as_slice()]), request).await
}

const PLACES: [(&str, &str, &str); 5] = [
    ("Gateway/default/default/x", "default", OPERATORS),
    ("Tenant/default/acme/x", "acme", ACMES),
    ("Api/acme/orders/x", "acme", ACMES),
    ("PolicySet/acme/common/x", "acme", ACMES),
    ("Application/acme/shop/x", "acme", ACMES),
];

#[tokio::test]
async fn texts_have_the_secrets_of_the_place_where_they_are_written() {
    for (place, _, secret) in PLACES {
        let text = "headers: {request: {set: {x-token: 'Bearer {secret.token}'}}, response: {set: {x-token: '{secret.token}'}}}";
        let met = met_at(place, text, &world(), request(&[])).await;
        assert_eq!(met.sent("x-token").unwrap(), format!("Bearer {secret}"), "{place}");
        assert_eq!(met.answered("x-token"), [secret], "{place}");
        let text = "respond: {status: 200, headers: {x-token: '{secret.token}'}}";
        let met = met_at(place, text, &world(), request(&[])).await;
        assert_eq!(met.answered("x-token"), [secret], "{place}");
        let text = "query: {set: {token: '{secret.token}'}}";
        let met = met_at(place, text, &world(), request(&[])).await;
        let written = secret.replace('\'', "%27").replace(' ', "%20").replace(',', "%2C");
        assert!(met.target.ends_with(&format!("token={written}")), "{place}: {}", met.target);
    }
}

#[tokio::test]
async fn tokens_are_checked_with_the_secret_of_the_place() {
    let header = json!({"alg": "HS256"});
    let claims = json!({"sub": "ada", "exp": NOW / 1_000_000 + 60});
    for (place, _, secret) in PLACES.into_iter().take(4) {
        for signed_by in [OPERATORS, ACMES] {
            let token = signed_with_secret(signed_by.as_bytes(), &header, &claims);
            let fields = format!("Bearer {token}");
            let world = world();
            // Twice: the second time from memory.
            for _ in 0..2 {
                let request = request(&[("authorization", &fields)]);
                let met = met_at(place, "jwt: {secret: token}", &world, request).await;
                assert_eq!(met.refused().is_none(), signed_by == secret, "{place} {signed_by}");
            }
        }
    }
}

#[tokio::test]
async fn a_service_is_the_upstream_of_the_place_and_is_shown_its_secrets() {
    for (place, tenant, secret) in PLACES {
        let world = world();
        world.calls.answers.borrow_mut().push_back(Some(CallAnswer::default()));
        let text = "external_auth: {upstream: auth, http: {headers: {x-token: '{secret.token}'}}}";
        assert_eq!(met_at(place, text, &world, request(&[])).await.refused(), None);
        let asked = world.calls.asked.borrow();
        let (of, upstream, question) = asked.first().unwrap();
        assert_eq!((of.as_str(), upstream.as_str()), (tenant, "auth"), "{place}");
        assert_eq!(question.headers().get("x-token").unwrap(), secret, "{place}");
    }
}

#[tokio::test]
async fn answers_are_masked_with_the_key_of_the_place() {
    // It answers in the upstream's place, after what masks.
    let answer = "respond: {status: 200, json: {name: Ada}}";
    let text = "mask: {rules: [{json_path: $.name, hash: {key: {secret: token}}}]}";
    let masked = async |place: &str, world: &World| {
        let policies = [policy_at(place, text), policy_at(place, answer)];
        let met = world.exchange(&Chain::assemble([policies.as_slice()]), request(&[])).await;
        assert_eq!(met.refused(), None);
        let (mut body, mut text) = (met.response.into_body(), String::new());
        let mut next = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        while let Poll::Ready(Some(frame)) = next() {
            text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
        assert!(text.starts_with("{\"name\":\"") && !text.contains("Ada"), "{text}");
        text
    };
    let of_operators = masked("Gateway/default/default/mask", &world()).await;
    let of_acme = masked("Api/acme/orders/mask", &world()).await;
    assert_ne!(of_operators, of_acme);
    // A call of the operators' own tenant is masked alike, wherever that is written.
    let mut own = world();
    own.route.tenant = name("default");
    assert_eq!(masked("Api/default/orders/mask", &own).await, of_operators);
}
