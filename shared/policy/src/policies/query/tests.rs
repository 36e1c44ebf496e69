use proptest::prelude::*;

use crate::Body;
use crate::escape::decode_query;
use crate::support::{Met, World, chain, name, policy};

async fn sent(text: &str, target: &str) -> Met {
    let request = http::Request::get(target).header("x-user", "a&b=c d").body(Body::Empty).unwrap();
    World::default().exchange(&chain(&[text]), request).await
}

#[tokio::test]
async fn parameters_are_removed_renamed_set_and_added_in_that_order() {
    for (query, before, after) in [
        ("remove: [a]", "/x?a=1&b=2&a=3&c", "/x?b=2&c"),
        ("remove: [a]", "/x?a=1", "/x"),
        ("remove: [a]", "/x", "/x"),
        ("remove: [a]", "/x?%61=1&A=2&aa=3", "/x?A=2&aa=3"),
        ("remove: ['a b']", "/x?a+b=1&a%20b=2&c", "/x?c"),
        ("rename: {a: 'b c'}", "/x?a=%7e1+&a&d=1", "/x?b%20c=%7e1+&b%20c&d=1"),
        ("rename: {a: b}", "/x?a=1&b=2", "/x?b=1&b=2"),
        ("set: {a: new}", "/x?b=1&a=1&c=2&a=3", "/x?b=1&a=new&c=2"),
        ("set: {a: new}", "/x", "/x?a=new"),
        ("set: {a: new}", "/x?", "/x?a=new"),
        ("add: {a: new}", "/x?a=1", "/x?a=1&a=new"),
        ("remove: [a], rename: {b: a}, set: {a: '3'}, add: {a: '4'}", "/x?a=1&b=2", "/x?a=3&a=4"),
        ("add: {'a&b': '{header.x-user}'}", "/x", "/x?a%26b=a%26b%3Dc%20d"),
        ("add: {c: '{query.a}'}", "/x?a=1%262+3", "/x?a=1%262+3&c=1%262%203"),
        ("add: {c: 'ü {{}}'}", "/x", "/x?c=%C3%BC%20%7B%7D"),
    ] {
        let met = sent(&format!("query: {{{query}}}"), before).await;
        assert_eq!(met.target, after, "{query} on {before}");
    }
}

#[tokio::test]
async fn what_is_not_touched_stays_byte_for_byte() {
    let target = "/x?&&a=%7e&b=%2F%2f;c==d&=e&+%zz&a";
    assert_eq!(sent("query: {remove: [none], rename: {other: o}}", target).await.target, target);
    let met = sent("query: {remove: [none], add: {z: '1'}}", target).await;
    assert_eq!(met.target, format!("{target}&z=1"));
}

#[tokio::test]
async fn a_query_that_becomes_too_long_is_refused() {
    let target = format!("/x?a={}", "b".repeat(60_000));
    let met = sent("query: {add: {c: '{query.a}'}}", &target).await;
    assert_eq!(met.refused(), Some((414, "target_too_long")));
}

#[test]
fn its_secrets_are_references() {
    let query = policy("query: {set: {a: '{secret.one}'}, add: {b: '{secret.two}'}}");
    let references: Vec<String> =
        query.references(&name("shop")).iter().map(ToString::to_string).collect();
    assert_eq!(references, ["Secret shop/one", "Secret shop/two"]);
}

proptest! {
    #[test]
    fn a_removed_parameter_is_gone_however_it_was_written(query in "[ab%61+&=;;]{0,24}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let met = runtime.block_on(sent("query: {remove: [a]}", &format!("/x?{query}")));
        let left = met.target.split_once('?').map_or("", |(_, left)| left);
        let name = |pair: &str| decode_query(pair.split('=').next().unwrap()).into_owned();
        prop_assert!(left.split('&').all(|pair| name(pair) != b"a"));
        let others = |query: &str| -> Vec<String> {
            let pairs = query.split('&').filter(|pair| !pair.is_empty() && name(pair) != b"a");
            pairs.map(str::to_owned).collect()
        };
        prop_assert_eq!(others(left), others(&query));
    }
}
