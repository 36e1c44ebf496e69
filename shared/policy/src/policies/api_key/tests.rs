use crate::support::{NOW, World, caller, chain, name, request};

const KEY: &str = "sk-shop-0001";

fn world() -> World {
    World::default().with_caller(KEY, caller("web-shop", "first"))
}

#[tokio::test]
async fn a_key_in_any_of_the_known_fields_tells_who_calls() {
    let chain = chain(&["api_key: {}"]);
    for (field, value) in [
        ("authorization", "Bearer sk-shop-0001"),
        ("authorization", "bEaReR   sk-shop-0001"),
        ("x-api-key", KEY),
        ("api-key", KEY),
        ("x-goog-api-key", KEY),
    ] {
        let met = world().exchange(&chain, request(&[(field, value)])).await;
        assert_eq!(met.identity.as_ref().unwrap().application, name("web-shop"), "{field}");
        assert_eq!(met.sent(field), None, "{field}");
    }
}

#[tokio::test]
async fn the_first_field_that_holds_a_key_counts() {
    let chain = chain(&["api_key: {}"]);
    let met =
        world().exchange(&chain, request(&[("x-api-key", "wrong-key"), ("api-key", KEY)])).await;
    assert_eq!(met.refused(), Some((401, "unauthenticated")));
    let met = world().exchange(&chain, request(&[("x-api-key", KEY), ("api-key", "other")])).await;
    assert_eq!((met.refused(), met.sent("api-key")), (None, Some("other")));
}

#[tokio::test]
async fn a_key_that_is_sent_twice_goes_upstream_in_neither_field() {
    let chain = chain(&["api_key: {}"]);
    let fields = [("authorization", "Bearer sk-shop-0001"), ("x-api-key", "a"), ("x-api-key", KEY)];
    let met = world().exchange(&chain, request(&fields)).await;
    assert_eq!(
        (met.refused(), met.sent("authorization"), met.sent("x-api-key")),
        (None, None, None)
    );
}

#[tokio::test]
async fn authorization_of_another_scheme_is_the_upstreams() {
    let chain = chain(&["api_key: {}"]);
    let fields = [("authorization", "Basic dXNlcjpwYXNz"), ("x-api-key", KEY)];
    let met = world().exchange(&chain, request(&fields)).await;
    assert_eq!((met.refused(), met.sent("authorization")), (None, Some("Basic dXNlcjpwYXNz")));
}

#[tokio::test]
async fn a_call_without_a_key_is_refused_and_told_how_to_send_one() {
    let chain = chain(&["api_key: {}"]);
    for fields in
        [&[][..], &[("x-api-key", "")], &[("x-api-key", "  ")], &[("authorization", "Bearer ")]]
    {
        let met = world().exchange(&chain, request(fields)).await;
        assert_eq!(met.refused(), Some((401, "unauthenticated")), "{fields:?}");
        assert_eq!(met.answered("www-authenticate"), ["Bearer"]);
    }
}

#[tokio::test]
async fn a_key_of_another_tenant_is_not_known() {
    let mut world = world();
    world.route.tenant = name("other");
    let met = world.exchange(&chain(&["api_key: {}"]), request(&[("x-api-key", KEY)])).await;
    assert_eq!(met.refused(), Some((401, "unauthenticated")));
}

#[tokio::test]
async fn a_key_is_refused_from_the_moment_it_expires() {
    let now = i64::try_from(NOW).unwrap();
    for (end, expected) in [(now, Some((401, "unauthenticated"))), (now + 1, None)] {
        let mut caller = caller("web-shop", "first");
        caller.expires_at_unix_micros = Some(end);
        let world = World::default().with_caller(KEY, caller);
        let met = world.exchange(&chain(&["api_key: {}"]), request(&[("x-api-key", KEY)])).await;
        assert_eq!(met.refused(), expected);
    }
}

#[tokio::test]
async fn a_key_that_is_switched_off_is_refused() {
    let mut caller = caller("web-shop", "first");
    caller.is_disabled = true;
    let world = World::default().with_caller(KEY, caller);
    let met = world.exchange(&chain(&["api_key: {}"]), request(&[("x-api-key", KEY)])).await;
    assert_eq!(met.refused(), Some((401, "unauthenticated")));
}

#[tokio::test]
async fn named_fields_are_looked_at_alone() {
    let chain = chain(&["api_key: {headers: [x-shop-key]}"]);
    let met =
        world().exchange(&chain, request(&[("x-shop-key", KEY), ("x-api-key", "other")])).await;
    assert_eq!(
        (met.refused(), met.sent("x-shop-key"), met.sent("x-api-key")),
        (None, None, Some("other"))
    );
    let met = world().exchange(&chain, request(&[("x-api-key", KEY)])).await;
    assert_eq!(met.refused(), Some((401, "unauthenticated")));
}

#[tokio::test]
async fn where_it_is_optional_no_key_goes_on_and_a_wrong_one_does_not() {
    let chain = chain(&["api_key: {optional: true}"]);
    let met = world().exchange(&chain, request(&[])).await;
    assert!(met.refusal.is_none() && met.identity.is_none());
    let met = world().exchange(&chain, request(&[("x-api-key", "wrong-key")])).await;
    assert_eq!(met.refused(), Some((401, "unauthenticated")));
}
