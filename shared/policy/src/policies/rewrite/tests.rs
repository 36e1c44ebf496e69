use proptest::prelude::*;

use crate::onward::Onward;
use crate::policy::Flow;
use crate::support::{World, chain, name, policy, request};
use crate::target::{EncodedSlash, Target};

#[tokio::test]
async fn the_path_changes_and_the_query_stays() {
    let query = "?color=red&color=blue";
    for (rewrite, path) in [
        ("prefix: {from: /items, to: /v2/things}", "/v2/things/7"),
        ("prefix: {from: /, to: /v2}", "/v2/items/7"),
        ("prefix: {from: /items/7, to: /}", "/"),
        ("prefix: {from: /item, to: /x}", "/items/7"),
        ("template: /fixed", "/fixed"),
        ("template: '/{query.color}/{header.x-user}'", "/red/a%20b"),
        ("regex: {pattern: 'items/([0-9]+)', substitution: 'i/$1/x'}", "/i/7/x"),
        ("regex: {pattern: '[a-z]', substitution: 'X'}", "/Xtems/7"),
        ("regex: {pattern: none, substitution: ''}", "/items/7"),
    ] {
        let chain = chain(&[&format!("rewrite: {{{rewrite}}}")]);
        let met = World::default().exchange(&chain, request(&[("x-user", "a b")])).await;
        assert_eq!(met.target, [path, query].concat(), "{rewrite}");
        assert_eq!(met.request.uri().path(), "/items/7");
    }
}

#[tokio::test]
async fn several_see_what_the_one_before_left_and_variables_stay_the_clients() {
    let chain = chain(&[
        "rewrite: {prefix: {from: /items, to: /a}}",
        "rewrite: {regex: {pattern: '^/a', substitution: '/b'}, host: new.test}",
        "headers: {request: {set: {x-host: '{host}'}}}",
    ]);
    let met = World::default().exchange(&chain, request(&[])).await;
    assert_eq!(met.target, "/b/7?color=red&color=blue");
    assert_eq!(
        (met.host.as_deref(), met.sent("x-host")),
        (Some("new.test"), Some("api.shop.test"))
    );
}

#[tokio::test]
async fn the_target_is_the_one_that_would_be_sent() {
    let (world, mut request) = (World::default(), request(&[]));
    let mut cx = world.cx();
    cx.onward = Onward::to(Some("/7?color=red".parse().unwrap()));
    let rewrite = policy("rewrite: {prefix: {from: /, to: /v2}}");
    assert!(matches!(rewrite.on_request(&mut cx, &mut request).await, Flow::Next(_)));
    assert_eq!(cx.onward.target(&request), "/v2/7?color=red");
}

#[tokio::test]
async fn what_values_smuggle_in_is_encoded_or_refused() {
    let chain = chain(&["rewrite: {template: '/x/{header.x-user}/y'}"]);
    for (user, expected) in [
        ("a/b", Err("ambiguous_path")),
        ("..", Err("ambiguous_path")),
        (".", Err("ambiguous_path")),
        ("", Err("ambiguous_path")),
        ("..;x", Ok("/x/..%3Bx/y")),
        ("%2e%2e", Ok("/x/%252e%252e/y")),
        ("a?b#c", Ok("/x/a%3Fb%23c/y")),
    ] {
        let met = World::default().exchange(&chain, request(&[("x-user", user)])).await;
        match expected {
            Ok(path) if Target::parse(path, EncodedSlash::Refuse).is_ok() => {
                assert_eq!(met.target, [path, "?color=red&color=blue"].concat());
            }
            _ => assert_eq!(met.refused(), Some((400, "ambiguous_path")), "{user}"),
        }
    }
}

#[tokio::test]
async fn a_host_of_values_is_a_host_or_the_call_is_refused() {
    let chain = chain(&["rewrite: {host: '{header.x-tenant}.internal.test:81'}"]);
    for (value, expected) in [
        ("shop", Some("shop.internal.test:81")),
        ("a@b", None),
        ("a/b", None),
        ("a b", None),
        ("a:1", None),
        ("%41", None),
    ] {
        let met = World::default().exchange(&chain, request(&[("x-tenant", value)])).await;
        match expected {
            Some(host) => assert_eq!(met.host.as_deref(), Some(host)),
            None => assert_eq!(met.refused(), Some((400, "invalid_host")), "{value}"),
        }
    }
    let long = "a".repeat(300);
    let met = World::default().exchange(&chain, request(&[("x-tenant", &long)])).await;
    assert_eq!(met.refused(), Some((400, "invalid_host")));
}

#[tokio::test]
async fn a_substitution_that_grows_beyond_all_bounds_is_refused() {
    let text =
        format!("rewrite: {{regex: {{pattern: '.+', substitution: '/{}'}}}}", "$0".repeat(900));
    let met = World::default()
        .exchange(
            &chain(&[&text]),
            http::Request::get(format!("/{}", "a".repeat(4000))).body(crate::Body::Empty).unwrap(),
        )
        .await;
    assert_eq!(met.refused(), Some((414, "target_too_long")));
}

#[test]
fn its_secrets_are_references() {
    let rewrite = policy("rewrite: {template: '/{secret.one}', host: '{secret.two}.test'}");
    let references: Vec<String> =
        rewrite.references(&name("shop")).iter().map(ToString::to_string).collect();
    assert_eq!(references, ["Secret shop/one", "Secret shop/two"]);
}

proptest! {
    #[test]
    fn whatever_the_values_what_is_sent_is_one_path_in_its_form(value in any::<String>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let chain = chain(&["rewrite: {template: '/x/{path.id}/y'}"]);
        let mut world = World::default();
        world.parameters.insert("id".to_owned(), value);
        let met = runtime.block_on(world.exchange(&chain, request(&[])));
        if met.refusal.is_none() {
            let path = met.target.strip_suffix("?color=red&color=blue").unwrap();
            prop_assert_eq!(path.matches('/').count(), 3);
            let parsed = Target::parse(path, EncodedSlash::Refuse).unwrap();
            prop_assert_eq!(parsed.path(), path);
        }
    }
}
