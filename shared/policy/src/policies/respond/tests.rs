use http::Request;
use proptest::prelude::*;

use crate::Body;
use crate::support::{Met, World, chain, name, policy, request};

async fn answer(text: &str, user: &str) -> Met {
    World::default().exchange(&chain(&[text]), request(&[("x-user", user)])).await
}

fn body(met: &Met) -> String {
    match met.response.body() {
        Body::Full(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Body::Empty | Body::Stream(_) => String::new(),
    }
}

#[tokio::test]
async fn an_answer_has_its_status_its_fields_and_its_body() {
    let text = "respond: {status: 201, headers: {x-a: '{query.color}', x-b: b}, body: 'for {header.x-user}'}";
    let met = answer(text, "u<1>").await;
    assert_eq!((met.response.status().as_u16(), body(&met).as_str()), (201, "for u<1>"));
    for (field, value) in [
        ("x-a", "red"),
        ("x-b", "b"),
        ("content-length", "8"),
        ("content-type", "text/plain; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(met.answered(field), [value], "{field}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_has_no_type() {
    let met = answer("respond: {status: 204}", "").await;
    assert_eq!((met.response.status().as_u16(), body(&met).as_str()), (204, ""));
    assert!(met.response.headers().is_empty());
}

#[tokio::test]
async fn the_answer_to_head_says_how_long_it_would_be() {
    let request = Request::head("/x").body(Body::Empty).unwrap();
    let met = World::default().exchange(&chain(&["respond: {body: hello}"]), request).await;
    assert_eq!((met.answered("content-length"), body(&met).as_str()), (vec!["5"], ""));
}

#[tokio::test]
async fn json_is_written_with_its_variables() {
    let text = "respond: {json: {a: ['{header.x-user}', 1, null, true, {}, []], 'q\"': 'x\"{{}}\\', id: '{query.color}!'}}";
    let met = answer(text, "a\"b").await;
    assert_eq!(met.answered("content-type"), ["application/json"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body(&met)).unwrap(),
        serde_json::json!({"a": ["a\"b", 1, null, true, {}, []], "q\"": "x\"{}\\", "id": "red!"})
    );
}

#[tokio::test]
async fn a_value_is_escaped_for_the_media_type() {
    for (content_type, expected) in [
        ("text/html; charset=utf-8", "&lt;b&gt;&quot;"),
        ("image/svg+xml", "&lt;b&gt;&quot;"),
        ("application/problem+json", "<b>\\\""),
        ("text/csv", "<b>\""),
    ] {
        let text =
            format!("respond: {{body: '{{header.x-user}}', content_type: '{content_type}'}}");
        let met = answer(&text, "<b>\"").await;
        assert_eq!(body(&met), expected, "{content_type}");
        assert_eq!(met.answered("content-type"), [content_type]);
    }
}

#[tokio::test]
async fn an_answer_that_becomes_too_large_is_refused() {
    let text = format!("respond: {{body: '{}'}}", "{header.x-user}".repeat(2000));
    let met = answer(&text, &"a".repeat(1000)).await;
    assert_eq!(met.refused(), Some((500, "answer_too_large")));
}

#[tokio::test]
async fn policies_before_it_see_its_answer() {
    let chain = chain(&["headers: {response: {set: {x-after: '1'}}}", "respond: {body: a}"]);
    let met = World::default().exchange(&chain, request(&[])).await;
    assert_eq!(met.answered("x-after"), ["1"]);
}

#[test]
fn its_secrets_are_references() {
    let respond = policy("respond: {headers: {a: '{secret.one}'}, json: ['{secret.two}']}");
    let references: Vec<String> =
        respond.references(&name("shop")).iter().map(ToString::to_string).collect();
    assert_eq!(references, ["Secret shop/two", "Secret shop/one"]);
}

proptest! {
    #[test]
    fn whatever_a_caller_sends_json_stays_json(value in any::<String>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut world = World::default();
        world.parameters.insert("id".to_owned(), value.clone());
        let chain = chain(&["respond: {json: {id: '{path.id}'}}"]);
        let met = runtime.block_on(world.exchange(&chain, request(&[])));
        let json: serde_json::Value = serde_json::from_str(&body(&met)).unwrap();
        prop_assert_eq!(json, serde_json::json!({"id": value}));
    }
}
