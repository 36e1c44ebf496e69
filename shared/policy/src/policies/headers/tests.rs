use std::sync::Arc;

use tollgate_model::secret::SecretText;

use crate::support::{World, caller, chain, name, policy, request};

#[tokio::test]
async fn fields_of_the_request_are_removed_set_and_added_in_that_order() {
    let chain = chain(&[
        "headers: {request: {remove: [x-old, x-again], set: {x-set: new, x-again: back}, add: {x-add: two}}}",
    ]);
    let fields =
        [("x-old", "1"), ("x-again", "1"), ("x-set", "1"), ("x-set", "2"), ("x-add", "one")];
    let met = World::default().exchange(&chain, request(&fields)).await;
    assert_eq!((met.sent("x-old"), met.sent("x-again")), (None, Some("back")));
    let all = |field| {
        met.request
            .headers()
            .get_all(field)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!((all("x-set"), all("x-add")), (vec!["new"], vec!["one", "two"]));
}

#[tokio::test]
async fn variables_are_those_of_the_clients_request() {
    let mut world =
        World { identity: Some(Arc::new(caller("web-shop", "first"))), ..World::default() };
    world.parameters.insert("id".to_owned(), "7".to_owned());
    world.secrets.insert((name("default"), name("token")), SecretText::new("s3cret".to_owned()));
    let expected = [
        ("{path.id}", "7"),
        ("{query.color}", "red"),
        ("{query.none}", ""),
        ("{header.x-user}", "u1"),
        ("{header.x-none}", ""),
        ("Bearer {secret.token}", "Bearer s3cret"),
        ("{application}/{credential}", "web-shop/first"),
        ("{client.ip}", "192.0.2.7"),
        ("{request.id}", "request-1"),
        ("{method}", "GET"),
        ("{host}", "api.shop.test"),
        ("{tenant}.{api}.{route}", "default.orders.item"),
        ("{{id}}", "{id}"),
    ];
    for (template, value) in expected {
        let text = format!(
            "headers: {{request: {{set: {{x-out: '{template}'}}}}, response: {{set: {{x-out: '{template}'}}}}}}"
        );
        let met = world.exchange(&chain(&[&text]), request(&[("x-user", "u1")])).await;
        assert_eq!(met.sent("x-out"), Some(value), "{template}");
        assert_eq!(met.answered("x-out"), [value], "{template}");
    }
}

#[tokio::test]
async fn a_value_is_that_of_before_the_edits() {
    let chain = chain(&[
        "headers: {request: {remove: [x-user], set: {x-out: '{header.x-user}'}}, response: {set: {x-out: '{header.x-user}'}}}",
    ]);
    let met = World::default().exchange(&chain, request(&[("x-user", "u1")])).await;
    assert_eq!((met.sent("x-user"), met.sent("x-out")), (None, Some("u1")));
    assert_eq!(met.answered("x-out"), ["u1"]);
}

#[tokio::test]
async fn the_secret_is_that_of_the_apis_tenant() {
    let mut world = World::default();
    world.route.tenant = name("other");
    world.secrets.insert((name("default"), name("token")), SecretText::new("s3cret".to_owned()));
    let chain = chain(&["headers: {request: {set: {x-out: '{secret.token}'}}}"]);
    assert_eq!(world.exchange(&chain, request(&[])).await.sent("x-out"), Some(""));
}

#[tokio::test]
async fn a_value_that_cannot_stand_in_a_field_is_left_out() {
    let mut world = World::default();
    world.parameters.insert("id".to_owned(), "a\r\nx-evil: 1".to_owned());
    let chain = chain(&[
        "headers: {request: {set: {x-out: '{path.id}', x-next: ok}}, response: {set: {x-out: '{path.id}', x-next: ok}}}",
    ]);
    let met = world.exchange(&chain, request(&[])).await;
    assert_eq!(
        (met.sent("x-out"), met.sent("x-next"), met.sent("x-evil")),
        (None, Some("ok"), None)
    );
    assert_eq!((met.answered("x-out").len(), met.answered("x-next")), (0, vec!["ok"]));
}

#[test]
fn secrets_are_references() {
    let policy = policy(
        "headers: {request: {set: {a: '{secret.one}'}}, response: {add: {b: '{secret.two}'}}}",
    );
    let references: Vec<String> =
        policy.references(&name("shop")).iter().map(ToString::to_string).collect();
    assert_eq!(references, ["Secret shop/one", "Secret shop/two"]);
}
