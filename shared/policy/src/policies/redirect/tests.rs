use proptest::prelude::*;

use crate::support::{World, chain, name, policy, request};

/// Status and location of the answer to `GET /items/7?color=red&color=blue` at `api.shop.test`.
async fn redirected(text: &str) -> (u16, String) {
    let met = World::default().exchange(&chain(&[text]), request(&[])).await;
    assert!(met.refusal.is_none(), "{text}: {:?}", met.refusal);
    (met.response.status().as_u16(), met.answered("location").concat())
}

#[tokio::test]
async fn parts_of_the_requests_url_change_and_the_rest_stays() {
    let rest = "/items/7?color=red&color=blue";
    for (to, location) in [
        ("{scheme: https}", format!("https://api.shop.test{rest}")),
        ("{scheme: https, port: 8443}", format!("https://api.shop.test:8443{rest}")),
        ("{host: new.test}", format!("//new.test{rest}")),
        ("{scheme: http, host: new.test, port: 81}", format!("http://new.test:81{rest}")),
        ("{port: 81}", format!("//api.shop.test:81{rest}")),
        ("{path: '/v2/{query.color}'}", "/v2/red?color=red&color=blue".to_owned()),
        (
            "{prefix: {from: /items, to: /v2/things}}",
            "/v2/things/7?color=red&color=blue".to_owned(),
        ),
        ("{prefix: {from: /other, to: /x}}", rest.to_owned()),
        (
            "{regex: {pattern: '^/items/([0-9]+)$', substitution: '/i/$1/'}}",
            "/i/7/?color=red&color=blue".to_owned(),
        ),
    ] {
        let met = redirected(&format!("redirect: {{to: {to}}}")).await;
        assert_eq!(met, (302, location), "{to}");
    }
}

#[tokio::test]
async fn a_text_is_the_whole_url_and_the_query_stands_before_its_fragment() {
    for (rest, location) in [
        ("to: 'https://new.test/x'", "https://new.test/x?color=red&color=blue"),
        ("to: 'https://new.test', keep_query: false", "https://new.test"),
        ("to: 'https://new.test:81?a=1#top'", "https://new.test:81?a=1&color=red&color=blue#top"),
        ("to: '/x?to={host}', keep_query: false", "/x?to=api.shop.test"),
        ("to: /x, status: 308, keep_query: false", "/x"),
    ] {
        let (status, found) = redirected(&format!("redirect: {{{rest}}}")).await;
        assert_eq!(
            (status, found.as_str()),
            (if rest.contains("308") { 308 } else { 302 }, location)
        );
    }
}

#[tokio::test]
async fn a_value_stays_within_its_segment() {
    let chain = chain(&["redirect: {to: '/x/{header.x-user}/{path.id}', keep_query: false}"]);
    for (user, id, expected) in [
        ("a b", "7", Ok("/x/a%20b/7")),
        ("?q#f", "%C3%BC", Ok("/x/%3Fq%23f/%C3%BC")),
        ("a%2fb", "7", Ok("/x/a%252fb/7")),
        ("//evil.test", "7", Err(400)),
        ("..", "7", Err(400)),
        ("", "7", Err(400)),
        ("a", "%2Fevil", Err(400)),
    ] {
        let mut world = World::default();
        world.parameters.insert("id".to_owned(), id.to_owned());
        let met = world.exchange(&chain, request(&[("x-user", user)])).await;
        match expected {
            Ok(location) => assert_eq!(met.answered("location"), [location]),
            Err(status) => assert_eq!(met.refused(), Some((status, "ambiguous_path")), "{user}"),
        }
    }
}

#[tokio::test]
async fn an_empty_first_segment_does_not_become_a_host() {
    let chain = chain(&["redirect: {to: '/{query.none}/evil.test'}"]);
    let met = World::default().exchange(&chain, request(&[])).await;
    assert_eq!(met.refused(), Some((400, "ambiguous_path")));
}

#[test]
fn its_secrets_are_references() {
    let redirect = policy("redirect: {to: {path: '/{secret.one}'}}");
    let references: Vec<String> =
        redirect.references(&name("shop")).iter().map(ToString::to_string).collect();
    assert_eq!(references, ["Secret shop/one"]);
}

proptest! {
    #[test]
    fn whatever_a_caller_sends_the_host_is_the_operators(value in any::<String>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let chain = chain(&["redirect: {to: 'https://new.test/{path.id}?x={path.id}', keep_query: false}"]);
        let mut world = World::default();
        world.parameters.insert("id".to_owned(), value);
        let met = runtime.block_on(world.exchange(&chain, request(&[])));
        if met.refusal.is_none() {
            let location: http::Uri = met.answered("location").concat().parse().unwrap();
            prop_assert_eq!(location.authority().unwrap().as_str(), "new.test");
            prop_assert_eq!(location.path().matches('/').count(), 1);
        }
    }
}
