use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_model::secret::SecretText;
use tollgate_testkit::tokens::{Signer, key_set, part, signed_with_secret};

use crate::chain::Chain;
use crate::jose::{Algorithm, Compact, Generation, KeySet, Unverified};
use crate::support::{Met, NOW, World, caller, chain, name, request};

const SECONDS: u64 = NOW / 1_000_000;
const SECRET: &str = "a secret of more than 32 bytes, as RFC 7518 demands";

/// Claims that are good for a minute, with others put over them.
fn claims(more: Value) -> Value {
    let mut all =
        json!({ "iss": "https://id.test", "aud": "orders", "sub": "ada", "exp": SECONDS + 60 });
    let (Some(all_of), Value::Object(more)) = (all.as_object_mut(), more) else { return all };
    for (name, value) in more {
        if value.is_null() {
            all_of.remove(&name);
        } else {
            all_of.insert(name, value);
        }
    }
    all
}

/// A chain with `jwt` over these keys; `more` are lines of its configuration.
fn checked_with(signers: &[&Signer], more: &str) -> Chain {
    let set = key_set(signers).unwrap();
    chain(&[&format!("jwt: {{jwks: {set}{more}}}")])
}

async fn bearer(world: &World, chain: &Chain, token: &str) -> Met {
    world.exchange(chain, request(&[("authorization", &format!("Bearer {token}"))])).await
}

/// The sentence of the challenge.
fn why(met: &Met) -> &str {
    let challenge = met.answered("www-authenticate")[0];
    challenge.split("error_description=\"").nth(1).unwrap_or(challenge).trim_end_matches('"')
}

#[tokio::test]
async fn a_token_of_every_algorithm_tells_who_calls() {
    let world = World::default();
    let (rsa, p256, ed25519) = (
        Signer::rsa("rsa").unwrap(),
        Signer::p256("p256").unwrap(),
        Signer::ed25519("ed25519").unwrap(),
    );
    let chain = checked_with(&[&rsa, &p256, &ed25519], "");
    for (signer, algorithm) in [
        (&rsa, "RS256"),
        (&rsa, "RS384"),
        (&rsa, "RS512"),
        (&rsa, "PS256"),
        (&rsa, "PS384"),
        (&rsa, "PS512"),
        (&p256, "ES256"),
        (&ed25519, "EdDSA"),
        (&ed25519, "Ed25519"),
    ] {
        let header = json!({ "alg": algorithm, "kid": signer.id });
        let token = signer.token_with(&header, &claims(json!({}))).unwrap();
        let met = bearer(&world, &chain, &token).await;
        assert_eq!(met.refused(), None, "{algorithm}");
        assert_eq!(met.claims.as_ref().unwrap().subject.as_deref(), Some("ada"), "{algorithm}");
        assert!(met.sent("authorization").unwrap().ends_with(&token));
    }
}

#[tokio::test]
async fn keys_in_pem_and_a_secret_check_tokens_as_well() {
    let mut world = World::default();
    world.secrets.insert((name("default"), name("shared")), SecretText::new(SECRET.to_owned()));
    for signer in
        [Signer::rsa("").unwrap(), Signer::p256("").unwrap(), Signer::ed25519("").unwrap()]
    {
        let pem = Value::String(signer.pem().unwrap());
        let chain = chain(&[&format!("jwt: {{public_keys: [{pem}]}}")]);
        let met = bearer(&world, &chain, &signer.token(&claims(json!({}))).unwrap()).await;
        assert_eq!(met.refused(), None);
    }
    let by_secret = chain(&["jwt: {secret: shared}"]);
    let token = signed_with_secret(SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims(json!({})));
    assert_eq!(bearer(&world, &by_secret, &token).await.refused(), None);
    let token = signed_with_secret(
        b"another secret of 32 bytes or so",
        &json!({"alg": "HS256"}),
        &claims(json!({})),
    );
    assert_eq!(why(&bearer(&world, &by_secret, &token).await), "the token's signature is wrong");
    world.secrets.insert((name("default"), name("shared")), SecretText::new("short".to_owned()));
    let token = signed_with_secret(b"short", &json!({"alg": "HS256"}), &claims(json!({})));
    assert_eq!(
        bearer(&world, &by_secret, &token).await.refused(),
        Some((503, "identity_unavailable"))
    );
}

#[tokio::test]
async fn a_public_key_never_serves_as_a_secret() {
    let (world, signer) = (World::default(), Signer::rsa("one").unwrap());
    let pem = signer.pem().unwrap();
    let by_pem = chain(&[&format!("jwt: {{public_keys: [{}]}}", Value::String(pem.clone()))]);
    let by_set = checked_with(&[&signer], "");
    for chain in [&by_pem, &by_set] {
        for secret in [pem.as_bytes(), pem.trim().as_bytes(), b""] {
            let token = signed_with_secret(
                secret,
                &json!({"alg": "HS256", "kid": "one"}),
                &claims(json!({})),
            );
            let met = bearer(&world, chain, &token).await;
            assert_eq!(met.refused(), Some((401, "unauthenticated")));
            assert_eq!(why(&met), "the token's algorithm is not accepted");
        }
    }
    assert!(!Algorithm::Rs256.verify_mac(b"x", b"y", b""));
}

#[tokio::test]
async fn a_secret_in_a_key_set_is_never_used() {
    let key = json!({"kty": "oct", "kid": "one", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"});
    assert!(KeySet::from_jwks(json!({"keys": [key]}).to_string().as_bytes()).is_err());
}

#[tokio::test]
async fn what_is_not_signed_is_refused_however_it_says_so() {
    let (world, signer) = (World::default(), Signer::p256("one").unwrap());
    let chain = checked_with(&[&signer], "");
    for algorithm in ["none", "None", "NONE", "nOnE", "", "HS256", "ES384", "RS256", "es256"] {
        let header = json!({"alg": algorithm, "kid": "one"});
        for signature in ["", "AA", "e30"] {
            let token = format!("{}.{}.{signature}", part(&header), part(&claims(json!({}))));
            let met = bearer(&world, &chain, &token).await;
            assert_eq!(met.refused(), Some((401, "unauthenticated")), "{algorithm} {signature}");
        }
    }
}

#[tokio::test]
async fn keys_that_a_token_brings_or_points_to_are_not_followed() {
    let (world, good) = (World::default(), Signer::rsa("one").unwrap());
    let bad = Signer::rsa("evil").unwrap();
    let chain = checked_with(&[&good], "");
    for more in [
        json!({"jwk": bad.jwk().unwrap()}),
        json!({"jku": "http://evil.test/keys"}),
        json!({"x5u": "http://evil.test/chain"}),
        json!({"x5c": ["AAAA"]}),
    ] {
        for kid in ["one", "evil", "../../dev/null", "' or 1=1"] {
            let mut header = json!({"alg": "RS256", "kid": kid});
            header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let met =
                bearer(&world, &chain, &bad.token_with(&header, &claims(json!({}))).unwrap()).await;
            assert_eq!(met.refused(), Some((401, "unauthenticated")), "{header}");
            // And they do not harm a good one.
            header["kid"] = json!("one");
            let met =
                bearer(&world, &chain, &good.token_with(&header, &claims(json!({}))).unwrap())
                    .await;
            assert_eq!(met.refused(), None, "{header}");
        }
    }
}

#[tokio::test]
async fn what_a_token_demands_and_is_not_understood_is_refused() {
    let (world, signer) = (World::default(), Signer::p256("one").unwrap());
    let chain = checked_with(&[&signer], "");
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), Value::Null] {
        let header = json!({"alg": "ES256", "kid": "one", "b64": false, "crit": crit});
        let met =
            bearer(&world, &chain, &signer.token_with(&header, &claims(json!({}))).unwrap()).await;
        assert_eq!(why(&met), "the token needs an extension that is not supported");
    }
}

#[tokio::test]
async fn the_key_that_a_token_names_checks_it_and_no_other() {
    let world = World::default();
    let (one, two, other) = (
        Signer::p256("one").unwrap(),
        Signer::p256("two").unwrap(),
        Signer::p256("three").unwrap(),
    );
    let chain = checked_with(&[&one, &two], "");
    let signed =
        |signer: &Signer, header: Value| signer.token_with(&header, &claims(json!({}))).unwrap();
    for (token, expected) in [
        (signed(&one, json!({"alg": "ES256", "kid": "two"})), "the token's signature is wrong"),
        (
            signed(&one, json!({"alg": "ES256", "kid": "three"})),
            "the token is signed with a key that is not known",
        ),
        (
            signed(&other, json!({"alg": "ES256"})),
            "the token is signed with a key that is not known",
        ),
    ] {
        assert_eq!(why(&bearer(&world, &chain, &token).await), expected);
    }
    for signer in [&one, &two] {
        let token = signed(signer, json!({"alg": "ES256"}));
        assert_eq!(bearer(&world, &chain, &token).await.refused(), None);
    }
}

#[tokio::test]
async fn a_key_is_used_for_nothing_but_what_it_says() {
    let (world, signer) = (World::default(), Signer::rsa("one").unwrap());
    let mut key = signer.jwk().unwrap();
    key["alg"] = json!("RS512");
    let pinned = chain(&[&format!("jwt: {{jwks: {{keys: [{key}]}}}}")]);
    for (algorithm, is_good) in [("RS512", true), ("RS256", false), ("PS512", false)] {
        let header = json!({"alg": algorithm, "kid": "one"});
        let token = signer.token_with(&header, &claims(json!({}))).unwrap();
        assert_eq!(bearer(&world, &pinned, &token).await.refusal.is_none(), is_good, "{algorithm}");
    }
    for (field, value) in
        [("use", json!("enc")), ("key_ops", json!(["encrypt"])), ("alg", json!("RSA-OAEP"))]
    {
        let mut key = signer.jwk().unwrap();
        key[field] = value;
        assert!(KeySet::from_keys(&[key], Generation::of(b"")).is_err(), "{field}");
    }
    let only = checked_with(&[&signer], ", algorithms: [PS256]");
    let token = signer.token(&claims(json!({}))).unwrap();
    assert_eq!(why(&bearer(&world, &only, &token).await), "the token's algorithm is not accepted");
}

#[tokio::test]
async fn issuer_audience_type_and_required_claims_are_those_of_the_configuration() {
    let (world, signer) = (World::default(), Signer::p256("one").unwrap());
    let chain = checked_with(
        &[&signer],
        ", issuers: ['https://id.test', 'https://id2.test'], audiences: [orders, 'https://api.test'], required: [sub, realm.roles], types: [at+jwt]",
    );
    let good = json!({"realm": {"roles": ["x"]}});
    let with = |more: Value| {
        let mut all = good.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims(all)
    };
    for (typ, more, expected) in [
        ("at+jwt", json!({}), None),
        ("application/AT+JWT", json!({"aud": ["x", "https://api.test"]}), None),
        ("JWT", json!({}), Some("the token's type is not accepted")),
        ("at+jwt", json!({"iss": "https://id.test/"}), Some("the token's issuer is not accepted")),
        ("at+jwt", json!({"iss": ["https://id.test"]}), Some("the token's issuer is not accepted")),
        ("at+jwt", json!({"iss": null}), Some("the token's issuer is not accepted")),
        ("at+jwt", json!({"aud": "order"}), Some("the token is for another audience")),
        ("at+jwt", json!({"aud": []}), Some("the token is for another audience")),
        ("at+jwt", json!({"aud": null}), Some("the token is for another audience")),
        ("at+jwt", json!({"aud": {"orders": 1}}), Some("the token is for another audience")),
        ("at+jwt", json!({"sub": null}), Some("the token lacks a claim, or has a wrong one")),
        ("at+jwt", json!({"sub": 7}), Some("the token lacks a claim, or has a wrong one")),
        ("at+jwt", json!({"realm": {}}), Some("the token lacks a claim, or has a wrong one")),
    ] {
        let header = json!({"alg": "ES256", "kid": "one", "typ": typ});
        let met =
            bearer(&world, &chain, &signer.token_with(&header, &with(more.clone())).unwrap()).await;
        assert_eq!(met.refusal.is_some().then(|| why(&met)), expected, "{typ} {more}");
    }
}

#[tokio::test]
async fn times_are_those_of_the_clock_within_the_leeway() {
    let (world, signer) = (World::default(), Signer::p256("one").unwrap());
    let chain = checked_with(&[&signer], ", leeway: 10s, max_age: 1h");
    let bad = Some("the token lacks a claim, or has a wrong one");
    let (expired, early, old) = (
        Some("the token has expired"),
        Some("the token is not valid yet"),
        Some("the token is too old"),
    );
    for (more, expected) in [
        (json!({}), None),
        (json!({"exp": SECONDS - 9}), None),
        (json!({"exp": SECONDS - 10}), expired),
        (json!({"exp": 0}), expired),
        (json!({"exp": -1}), expired),
        (json!({"exp": 1e300}), None),
        (json!({"exp": u64::MAX}), None),
        (json!({"exp": 1_699_999_990.5}), None),
        (json!({"exp": (SECONDS + 60).to_string()}), bad),
        (json!({"exp": true}), bad),
        (json!({"exp": null}), bad),
        (json!({"nbf": SECONDS + 10}), None),
        (json!({"nbf": SECONDS + 11}), early),
        (json!({"iat": SECONDS + 11}), early),
        (json!({"iat": SECONDS - 3609}), None),
        (json!({"iat": SECONDS - 3610}), old),
        (json!({"iat": null}), bad),
        (json!({"nbf": "soon"}), bad),
    ] {
        let mut all = json!({"iat": SECONDS});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let met = bearer(&world, &chain, &signer.token(&claims(all)).unwrap()).await;
        assert_eq!(met.refusal.is_some().then(|| why(&met)), expected, "{more}");
    }
    let forever = checked_with(&[&signer], ", required: []");
    let token = signer.token(&claims(json!({"exp": null}))).unwrap();
    assert_eq!(bearer(&world, &forever, &token).await.refused(), None);
}

#[tokio::test]
async fn a_call_without_a_token_is_refused_unless_that_is_allowed() {
    let (world, signer) = (World::default(), Signer::p256("one").unwrap());
    let chain = checked_with(&[&signer], "");
    for fields in [
        &[][..],
        &[("authorization", "Basic abc")],
        &[("authorization", "Bearer ")],
        &[("x-token", "x")],
    ] {
        let met = world.exchange(&chain, request(fields)).await;
        assert_eq!(met.refused(), Some((401, "unauthenticated")));
        assert_eq!(met.answered("www-authenticate"), ["Bearer"]);
    }
    let optional = checked_with(&[&signer], ", optional: true, claims_to_headers: {x-user: sub}");
    let met = world.exchange(&optional, request(&[("x-user", "root")])).await;
    assert!(met.refusal.is_none() && met.claims.is_none() && met.sent("x-user").is_none());
    assert_eq!(bearer(&world, &optional, "a.b.c").await.refused(), Some((401, "unauthenticated")));
}

#[tokio::test]
async fn a_token_is_found_where_it_is_looked_for_and_only_once() {
    let (world, signer) = (World::default(), Signer::p256("one").unwrap());
    let token = signer.token(&claims(json!({}))).unwrap();
    let chain = checked_with(
        &[&signer],
        ", headers: [authorization, x-token], cookies: [session], forward: false",
    );
    let (bearer, cookie) = (format!("bEaReR   {token}"), format!("a=b; session={token}; c=d"));
    for (field, value, left) in [
        ("authorization", bearer.as_str(), None),
        ("x-token", token.as_str(), None),
        ("x-token", bearer.as_str(), None),
        ("cookie", cookie.as_str(), Some("a=b; c=d")),
    ] {
        let met = world.exchange(&chain, request(&[(field, value)])).await;
        assert_eq!((met.refused(), met.sent(field)), (None, left), "{field}");
    }
    for fields in [
        [("authorization", bearer.as_str()), ("x-token", "other")],
        [("authorization", bearer.as_str()), ("authorization", bearer.as_str())],
        [("authorization", bearer.as_str()), ("cookie", cookie.as_str())],
        [("cookie", "session=1"), ("cookie", "session=2")],
    ] {
        let met = world.exchange(&chain, request(&fields)).await;
        assert_eq!(met.refused(), Some((400, "ambiguous_token")), "{fields:?}");
    }
    let mixed = [("authorization", "Basic abc"), ("authorization", bearer.as_str())];
    assert_eq!(
        world.exchange(&chain, request(&mixed)).await.sent("authorization"),
        Some("Basic abc")
    );
}

#[tokio::test]
async fn a_token_in_the_query_counts_where_it_is_named() {
    let (world, signer) = (World::default(), Signer::p256("one").unwrap());
    let token = signer.token(&claims(json!({}))).unwrap();
    let chain = checked_with(&[&signer], ", query: [access_token]");
    let mut request = request(&[]);
    *request.uri_mut() = format!("/items?a=1&access_token={token}").parse().unwrap();
    assert_eq!(world.exchange(&chain, request).await.refused(), None);
    assert_eq!(bearer(&world, &chain, &token).await.refused(), Some((401, "unauthenticated")));
}

#[tokio::test]
async fn claims_become_fields_variables_scopes_and_groups() {
    let (world, signer) = (World::default(), Signer::p256("one").unwrap());
    let set = key_set(&[&signer]).unwrap();
    let chain = chain(&[
        &format!(
            "jwt: {{jwks: {set}, groups: realm_access.roles, claims_to_headers: {{x-user: sub, x-level: level, x-roles: realm_access.roles, x-odd: odd, x-none: none, x-name: name}}}}"
        ),
        "headers: {request: {set: {x-seen: '{claim.sub}/{claim.level}/{claim.realm_access.roles}/{claim.none}'}}}",
        "rate_limit: {limit: 5, window: 1s, by: 'user {claim.sub}'}",
    ]);
    let token = signer
        .token(&claims(json!({
            "level": 7, "realm_access": {"roles": ["a", "b"]}, "odd": "a\r\nx-evil: 1", "scope": "read write", "name": "Zoë"
        })))
        .unwrap();
    let fields = [
        ("authorization", format!("Bearer {token}")),
        ("x-user", "root".to_owned()),
        ("x-odd", "mine".to_owned()),
        ("x-none", "mine".to_owned()),
    ];
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let met = world.exchange(&chain, request(&fields)).await;
    assert_eq!(met.refused(), None);
    for (field, value) in [
        ("x-user", Some("ada")),
        ("x-level", Some("7")),
        ("x-roles", Some("a,b")),
        ("x-odd", None),
        ("x-none", None),
        ("x-seen", Some("ada/7/a,b/")),
    ] {
        assert_eq!(met.sent(field), value, "{field}");
    }
    assert_eq!(met.request.headers()["x-name"].as_bytes(), "Zoë".as_bytes());
    let claims = met.claims.as_ref().unwrap();
    assert_eq!(*claims.scopes, ["read".into(), "write".into()]);
    assert_eq!(*claims.groups, ["a".into(), "b".into()]);
    assert!(world.counters.subjects()[0].ends_with("user ada"), "{:?}", world.counters.subjects());
}

#[tokio::test]
async fn scopes_are_a_list_or_words() {
    let (world, signer) = (World::default(), Signer::p256("one").unwrap());
    let chain = checked_with(&[&signer], "");
    for (more, scopes) in [
        (json!({"scp": ["a", "b"]}), "a b"),
        (json!({"scp": "a b"}), "a b"),
        (json!({"scope": "a  b", "scp": "c"}), "a b"),
        (json!({"scope": 7}), ""),
        (json!({}), ""),
    ] {
        let met = bearer(&world, &chain, &signer.token(&claims(more)).unwrap()).await;
        assert_eq!(met.claims.unwrap().scopes.join(" "), scopes);
    }
}

#[tokio::test]
async fn a_claim_names_the_application_that_calls() {
    let (mut world, signer) = (World::default(), Signer::p256("one").unwrap());
    let mut disabled = caller("off", "off");
    disabled.is_disabled = true;
    for (application, caller) in [("web-shop", caller("web-shop", "web-shop")), ("off", disabled)] {
        world.applications.insert((name("default"), name(application)), Arc::new(caller));
    }
    let refusing = checked_with(&[&signer], ", application: {claim: azp}");
    let allowing = checked_with(&[&signer], ", application: {claim: azp, unknown: allow}");
    for (azp, refused, application) in [
        (json!("web-shop"), [None, None], Some("web-shop")),
        (json!("off"), [Some((403, "forbidden")); 2], None),
        (json!("other"), [Some((403, "forbidden")), None], None),
        (json!("Not A Name"), [Some((403, "forbidden")), None], None),
        (json!(null), [Some((403, "forbidden")), None], None),
    ] {
        let token = signer.token(&claims(json!({"azp": azp}))).unwrap();
        for (chain, refused) in [&refusing, &allowing].into_iter().zip(refused) {
            let met = bearer(&world, chain, &token).await;
            assert_eq!(met.refused(), refused, "{azp}");
            let of = met.identity.as_ref().map(|caller| caller.application.as_str());
            assert_eq!(of, application, "{azp}");
        }
    }
    world.route.tenant = name("other");
    let token = signer.token(&claims(json!({"azp": "web-shop"}))).unwrap();
    assert_eq!(bearer(&world, &refusing, &token).await.refused(), Some((403, "forbidden")));
}

fn set_of(signers: &[&Signer]) -> Option<Arc<KeySet>> {
    let document = key_set(signers).unwrap().to_string();
    Some(Arc::new(KeySet::from_jwks(document.as_bytes()).unwrap()))
}

const REMOTE: &str = "jwt: {jwks: {url: 'https://id.test/keys'}}";

#[tokio::test]
async fn keys_that_are_elsewhere_are_asked_for_again_when_a_key_is_not_known() {
    let (world, chain) = (World::default(), chain(&[REMOTE]));
    let (one, two) = (Signer::p256("one").unwrap(), Signer::p256("two").unwrap());
    *world.key_sets.held.borrow_mut() = set_of(&[&one]);
    *world.key_sets.newer.borrow_mut() = set_of(&[&two]);
    let (first, second) =
        (one.token(&claims(json!({}))).unwrap(), two.token(&claims(json!({}))).unwrap());
    assert_eq!(bearer(&world, &chain, &first).await.refused(), None);
    // A wrong signature of a key that is known is no reason to ask.
    let forged =
        two.token_with(&json!({"alg": "ES256", "kid": "one"}), &claims(json!({}))).unwrap();
    assert_eq!(why(&bearer(&world, &chain, &forged).await), "the token's signature is wrong");
    assert_eq!((world.key_sets.asked.get(), world.remembered.len()), (0, 1));
    assert_eq!(bearer(&world, &chain, &second).await.refused(), None);
    // What the old keys verified is forgotten with them.
    let met = bearer(&world, &chain, &first).await;
    assert_eq!(why(&met), "the token is signed with a key that is not known");
    assert_eq!((world.key_sets.asked.get(), world.remembered.len()), (2, 1));
}

#[tokio::test]
async fn while_keys_cannot_be_had_it_does_as_it_is_told() {
    let (world, signer) = (World::default(), Signer::p256("one").unwrap());
    let token = signer.token(&claims(json!({}))).unwrap();
    let closed = bearer(&world, &chain(&[REMOTE]), &token).await;
    assert_eq!(closed.refused(), Some((503, "identity_unavailable")));
    assert_eq!(closed.answered("retry-after"), ["1"]);
    let open = chain(&[
        "jwt: {jwks: {url: 'https://id.test/keys'}, on_failure: open, claims_to_headers: {x-user: sub}}",
    ]);
    let fields = [("authorization", format!("Bearer {token}")), ("x-user", "root".to_owned())];
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let met = world.exchange(&open, request(&fields)).await;
    assert!(met.refusal.is_none() && met.claims.is_none() && met.sent("x-user").is_none());
    assert_eq!(met.sent("authorization"), None);
    // It is about keys alone.
    assert_eq!(world.exchange(&open, request(&[])).await.refused(), Some((401, "unauthenticated")));
    assert_eq!(bearer(&world, &open, "a.b.c").await.refused(), Some((401, "unauthenticated")));
}

#[tokio::test]
async fn a_verified_token_is_remembered_by_its_own_policy_until_it_expires() {
    let (mut world, signer) = (World::default(), Signer::p256("one").unwrap());
    let token = signer.token(&claims(json!({}))).unwrap();
    let (orders, others) = (
        checked_with(&[&signer], ", audiences: [orders]"),
        checked_with(&[&signer], ", audiences: [others]"),
    );
    for _ in 0..3 {
        assert_eq!(bearer(&world, &orders, &token).await.refused(), None);
    }
    assert_eq!(world.remembered.len(), 1);
    assert_eq!(why(&bearer(&world, &others, &token).await), "the token is for another audience");
    // Another spelling of it is another token.
    let longer = format!("{token}=");
    assert_eq!(why(&bearer(&world, &orders, &longer).await), "this is not a signed token");
    world.now_unix_micros += 119_999_999;
    assert_eq!(bearer(&world, &orders, &token).await.refused(), None);
    world.now_unix_micros += 1;
    assert_eq!(why(&bearer(&world, &orders, &token).await), "the token has expired");
    assert!(world.remembered.is_empty());
}

#[tokio::test]
async fn a_new_secret_forgets_what_the_old_one_verified() {
    let (mut world, chain) = (World::default(), chain(&["jwt: {secret: shared}"]));
    let token = signed_with_secret(SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims(json!({})));
    let with = |secret: &str| SecretText::new(secret.to_owned());
    world.secrets.insert((name("default"), name("shared")), with(SECRET));
    assert_eq!(bearer(&world, &chain, &token).await.refused(), None);
    world.secrets.insert((name("default"), name("shared")), with(&SECRET.replace('a', "b")));
    assert_eq!(why(&bearer(&world, &chain, &token).await), "the token's signature is wrong");
}

/// RFC 7515, appendix A.1 to A.4.
#[test]
fn the_examples_of_rfc_7515_are_verified() {
    use base64::Engine as _;
    const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let text = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    let token = Compact::parse(text.as_bytes()).unwrap();
    let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
        .unwrap();
    assert!(Algorithm::Hs256.verify_mac(&secret, token.signed, &token.signature));
    assert!(!Algorithm::Hs256.verify_mac(&secret[1..], token.signed, &token.signature));
    assert_eq!(token.claims().unwrap()["iss"], "joe");

    let rsa = json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"});
    let p256 = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let p521 = json!({"kty": "EC", "crv": "P-521", "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk", "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"});
    for (key, algorithm, text) in [
        (rsa, Algorithm::Rs256, format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw")),
        (p256, Algorithm::Es256, format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")),
        (p521, Algorithm::Es512, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn".to_owned()),
    ] {
        let set = KeySet::from_keys(&[key], Generation::of(b"")).unwrap();
        let token = Compact::parse(text.as_bytes()).unwrap();
        assert_eq!(set.verify(algorithm, &token), Ok(()), "{algorithm:?}");
        let mut changed = Compact::parse(text.as_bytes()).unwrap();
        *changed.signature.last_mut().unwrap() ^= 1;
        assert_eq!(set.verify(algorithm, &changed), Err(Unverified::UnknownKey), "{algorithm:?}");
    }
}

#[test]
fn what_is_too_long_is_not_read() {
    let long = format!("{}.e30.AA", "A".repeat(crate::jose::MAX_TOKEN_BYTES));
    assert_eq!(Compact::parse(long.as_bytes()).err(), Some(crate::jose::Malformed::TooLong));
    let key = Signer::p256("one").unwrap().jwk().unwrap();
    let set = |count: usize| KeySet::from_keys(&vec![key.clone(); count], Generation::of(b""));
    assert!(set(crate::jose::MAX_KEYS).is_ok());
    assert!(set(crate::jose::MAX_KEYS + 1).is_err());
}

#[test]
fn a_point_that_is_not_on_its_curve_and_a_short_modulus_are_no_keys() {
    for key in [
        json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        json!({"kty": "RSA"}),
        json!({"kty": 7}),
        json!("RSA"),
        json!({}),
    ] {
        assert!(
            KeySet::from_keys(std::slice::from_ref(&key), Generation::of(b"")).is_err(),
            "{key}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_that_is_sent_is_more_than_refused(token in "[ -~]{0,80}|([A-Za-z0-9_-]{0,30}\\.){0,5}[A-Za-z0-9_=-]{0,30}") {
        let _ = Compact::parse(token.as_bytes()).map(|token| token.claims());
    }

    #[test]
    fn no_header_or_payload_is_more_than_refused(header in "\\PC{0,40}", payload in "\\PC{0,40}", alg in "[A-Z0-9a-z]{0,6}") {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        for header in [header.clone(), format!("{{\"alg\":\"{alg}\",{header}}}"), format!("{{\"alg\":\"{alg}\"}}")] {
            let text = format!("{}.{}.AA", encode(&header), encode(&payload));
            if let Ok(token) = Compact::parse(text.as_bytes()) {
                let _ = token.claims();
            }
        }
    }

    #[test]
    fn no_document_of_keys_is_more_than_refused(text in "\\PC{0,60}", n in "[A-Za-z0-9_-]{0,20}") {
        let _ = KeySet::from_jwks(text.as_bytes());
        for kty in ["RSA", "EC", "OKP"] {
            for crv in ["P-256", "Ed25519"] {
                let key = json!({"kty": kty, "crv": crv, "n": n, "e": n, "x": n, "y": n});
                prop_assert!(KeySet::from_keys(&[key], Generation::of(b"")).is_err());
            }
        }
    }
}
