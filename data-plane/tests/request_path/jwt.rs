//! Tokens on real calls, with keys that a provider publishes.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_testkit::tokens::{Signer, key_set, signed_with_secret};
use tollgate_testkit::upstream::Upstream;

use crate::support::{Answer, TestNode, eventually, published};

fn claims(more: &Value) -> Value {
    let now = tollgate_data_plane::clock::unix_micros() / 1_000_000;
    let mut all =
        json!({ "iss": "https://id.test", "aud": "orders", "sub": "ada", "exp": now + 60 });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

/// An upstream, a provider with the keys of these signers, and a node that asks it by `query`.
struct Setting {
    backend: Upstream,
    provider: Upstream,
    node: TestNode,
}

impl Setting {
    fn new(signers: &[&Signer], query: &str, more: &str) -> Self {
        let (backend, provider) = (Upstream::start("a").unwrap(), Upstream::start("id").unwrap());
        provider.set_document(key_set(signers).unwrap().to_string());
        let url = format!("http://{}/keys?{query}", provider.address());
        let policy = format!(
            "policies: [{{jwt: {{jwks: {{url: '{url}', allow_private: true, wait: 1s}}{more}}}}}]"
        );
        let node = TestNode::with(&published(backend.address(), "", &policy));
        Self { backend, provider, node }
    }

    async fn call(&self, token: &str) -> Answer {
        self.node.call("GET /", &[&format!("authorization: Bearer {token}")], "").await
    }
}

#[tokio::test]
async fn a_token_tells_the_upstream_who_calls() {
    let signer = Signer::rsa("one").unwrap();
    let more =
        ", issuers: ['https://id.test'], audiences: [orders], claims_to_headers: {x-user: sub}";
    let setting = Setting::new(&[&signer], "document", more);
    let token = signer.token(&claims(&json!({}))).unwrap();
    for _ in 0..3 {
        let field = format!("authorization: Bearer {token}");
        let answer = setting.node.call("GET /", &[field.as_str(), "x-user: root"], "").await;
        assert_eq!((answer.status, answer.seen("x-user").as_str()), (200, "ada"), "{answer:?}");
        assert_eq!(answer.seen("authorization"), format!("Bearer {token}"));
    }
    let other = signer.token(&claims(&json!({ "aud": "others" }))).unwrap();
    for (token, why) in [(other.as_str(), "audience"), ("abc", "not a signed token")] {
        let answer = setting.call(token).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
        let challenge = answer.field("www-authenticate");
        assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{challenge}");
        assert!(challenge.contains(why), "{challenge}");
    }
    assert_eq!(setting.node.get("/").await.field("www-authenticate"), "Bearer");
    assert_eq!((setting.backend.requests(), setting.provider.requests()), (3, 1));
}

#[tokio::test]
async fn an_issuer_says_where_its_keys_are_and_only_for_itself() {
    let (signer, backend) = (Signer::p256("one").unwrap(), Upstream::start("a").unwrap());
    let (keys, issuer) = (Upstream::start("keys").unwrap(), Upstream::start("id").unwrap());
    keys.set_document(key_set(&[&signer]).unwrap().to_string());
    let id = format!("http://{}", issuer.address());
    let policy = format!("policies: [{{jwt: {{jwks: {{issuer: '{id}', allow_private: true}}}}}}]");
    let token = |iss: &str| signer.token(&claims(&json!({ "iss": iss }))).unwrap();
    for (stated, expected) in [(id.as_str(), [200, 401]), ("https://id.test", [503, 503])] {
        let jwks_uri = format!("http://{}/keys?document", keys.address());
        issuer.set_document(json!({ "issuer": stated, "jwks_uri": jwks_uri }).to_string());
        let node = TestNode::with(&published(backend.address(), "", &policy));
        for (iss, status) in [id.as_str(), "https://id.test"].into_iter().zip(expected) {
            let field = format!("authorization: Bearer {}", token(iss));
            assert_eq!(node.call("GET /", &[&field], "").await.status, status, "{stated} {iss}");
        }
    }
    assert_eq!((keys.requests(), issuer.requests()), (1, 2));
}

#[tokio::test]
async fn keys_are_fetched_before_the_first_call() {
    let signer = Signer::p256("one").unwrap();
    let setting = Setting::new(&[&signer], "document", "");
    eventually(|| (setting.provider.requests() == 1).then_some(())).await;
    assert_eq!(setting.call(&signer.token(&claims(&json!({}))).unwrap()).await.status, 200);
    assert_eq!(setting.provider.requests(), 1);
}

#[tokio::test]
async fn calls_that_come_first_wait_for_one_fetch_together() {
    let signer = Signer::p256("one").unwrap();
    let setting = Setting::new(&[&signer], "document&delay_ms=300", "");
    let token = signer.token(&claims(&json!({}))).unwrap();
    let calls = (0..20).map(|_| setting.call(&token));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(setting.provider.requests(), 1);
}

#[tokio::test]
async fn new_keys_are_fetched_when_a_token_names_one_and_old_ones_are_forgotten() {
    let (one, two, stranger) = (
        Signer::p256("one").unwrap(),
        Signer::p256("two").unwrap(),
        Signer::p256("three").unwrap(),
    );
    let setting = Setting::new(&[&one], "document", "");
    let (first, second) =
        (one.token(&claims(&json!({}))).unwrap(), two.token(&claims(&json!({}))).unwrap());
    assert_eq!(setting.call(&first).await.status, 200);
    setting.provider.set_document(key_set(&[&two]).unwrap().to_string());
    assert_eq!(setting.call(&first).await.status, 200);
    let calls = (0..10).map(|_| setting.call(&second));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(setting.provider.requests(), 2);
    // On every thread, whatever it had remembered.
    for _ in 0..10 {
        assert_eq!(setting.call(&first).await.status, 401);
        let forged = stranger.token(&claims(&json!({}))).unwrap();
        assert_eq!(setting.call(&forged).await.status, 401);
    }
    assert_eq!(setting.provider.requests(), 2);
}

#[tokio::test]
async fn keys_that_are_held_go_on_while_the_provider_is_away() {
    let signer = Signer::p256("one").unwrap();
    let setting = Setting::new(&[&signer], "document", "");
    assert_eq!(setting.call(&signer.token(&claims(&json!({}))).unwrap()).await.status, 200);
    let Setting { provider, node, .. } = setting;
    drop(provider);
    let stranger = Signer::p256("two").unwrap().token(&claims(&json!({}))).unwrap();
    assert_eq!(
        node.call("GET /", &[&format!("authorization: Bearer {stranger}")], "").await.status,
        401
    );
    let other = signer.token(&claims(&json!({ "sub": "bob" }))).unwrap();
    assert_eq!(
        node.call("GET /", &[&format!("authorization: Bearer {other}")], "").await.status,
        200
    );
}

#[tokio::test]
async fn a_provider_that_gives_no_keys_makes_calls_wait_no_longer_than_told() {
    let signer = Signer::p256("one").unwrap();
    let token = signer.token(&claims(&json!({}))).unwrap();
    for query in [
        "hang",
        "status=500",
        "status=302&set=location:/keys?document",
        "size=300000",
        "garbage",
        "document&abort",
        "document&cut",
    ] {
        let setting = Setting::new(&[&signer], query, "");
        let began = std::time::Instant::now();
        let answer = setting.call(&token).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "identity_unavailable"),
            "{query}"
        );
        assert_eq!(answer.field("retry-after"), "1");
        assert!(began.elapsed() < Duration::from_secs(8), "{query}");
        assert_eq!(setting.backend.requests(), 0);
    }
    let open = Setting::new(&[&signer], "status=500", ", on_failure: open");
    let answer = open.call(&token).await;
    assert_eq!((answer.status, answer.seen("authorization").as_str()), (200, ""));
}

#[tokio::test]
async fn a_private_address_is_asked_only_where_that_is_allowed() {
    let (signer, provider) = (Signer::p256("one").unwrap(), Upstream::start("id").unwrap());
    let backend = Upstream::start("a").unwrap();
    let port = provider.address().port();
    for host in ["localhost", "0x7f.1", "2130706433"] {
        let policy = format!(
            "policies: [{{jwt: {{jwks: {{url: 'https://{host}:{port}/keys?document'}}}}}}]"
        );
        let node = TestNode::with(&published(backend.address(), "", &policy));
        let token = signer.token(&claims(&json!({}))).unwrap();
        let answer = node.call("GET /", &[&format!("authorization: Bearer {token}")], "").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "identity_unavailable"),
            "{host}"
        );
    }
    assert_eq!(provider.connections(), 0);
}

#[tokio::test]
async fn a_token_counts_for_the_application_that_it_names() {
    let signer = Signer::ed25519("one").unwrap();
    let mut setting = Setting::new(&[&signer], "document", ", application: {claim: azp}");
    let limited = "kind: Application\nname: web-shop\nspec: {policies: [{rate_limit: {limit: 1, window: 1h, mode: local}}]}";
    setting.node.apply(limited);
    let token = |azp: &str| signer.token(&claims(&json!({ "azp": azp }))).unwrap();
    assert_eq!(setting.call(&token("web-shop")).await.status, 200);
    assert_eq!(setting.call(&token("web-shop")).await.code(), "rate_limited");
    assert_eq!(setting.call(&token("other")).await.code(), "forbidden");
    let record = &setting.node.records(1).await[0];
    assert_eq!(record["application"], "web-shop");
    setting.node.apply("kind: Application\nname: web-shop\nspec: {disabled: true}");
    assert_eq!(setting.call(&token("web-shop")).await.code(), "forbidden");
    setting.node.apply("kind: Application\nname: web-shop\nspec: {}");
    assert_eq!(setting.call(&token("web-shop")).await.status, 200);
    setting.node.remove(&[("Application", "web-shop")]);
    assert_eq!(setting.call(&token("web-shop")).await.code(), "forbidden");
}

#[tokio::test]
async fn a_secret_that_changes_is_in_force_at_once() {
    const SECRET: &str = "a secret of more than 32 bytes, as RFC 7518 demands";
    let backend = Upstream::start("a").unwrap();
    let secret = |value: &str| format!("kind: Secret\nname: shared\nspec: {{value: '{value}'}}");
    let api = published(backend.address(), "", "policies: [{jwt: {secret: shared}}]");
    let mut node = TestNode::with(&format!("{api}---\n{}", secret(SECRET)));
    let token =
        signed_with_secret(SECRET.as_bytes(), &json!({ "alg": "HS256" }), &claims(&json!({})));
    let field = format!("authorization: Bearer {token}");
    assert_eq!(node.call("GET /", &[&field], "").await.status, 200);
    node.apply(&secret("another secret of more than thirty-two bytes"));
    assert_eq!(node.call("GET /", &[&field], "").await.status, 401);
}
