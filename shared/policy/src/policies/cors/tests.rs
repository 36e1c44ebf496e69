use http::{Method, Request};
use proptest::prelude::*;
use tollgate_model::FromText as _;

use super::Origin;
use crate::body::Body;
use crate::support::{Met, World, chain, request};

async fn met(config: &str, request: Request<Body>) -> Met {
    World::default().exchange(&chain(&[config]), request).await
}

fn preflight(origin: &str, method: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut all = vec![("origin", origin), ("access-control-request-method", method)];
    all.extend(fields);
    let mut request = request(&all);
    *request.method_mut() = Method::OPTIONS;
    request
}

const SHOP: &str = "cors: {allow_origins: ['https://shop.test', 'https://*.shop.test']}";
const PREFLIGHT_VARY: &str = "origin, access-control-request-method, \
    access-control-request-headers, access-control-request-private-network";

#[tokio::test]
async fn a_page_of_a_named_origin_may_read_and_vary_says_on_what_it_depends() {
    for (fields, allowed) in [
        (&[("origin", "https://shop.test")][..], Some("https://shop.test")),
        (&[("origin", "https://a.b.shop.test")], Some("https://a.b.shop.test")),
        (&[("origin", "http://shop.test")], None),
        (&[("origin", "https://shop.test:444")], None),
        (&[("origin", "https://shop.test.evil.test")], None),
        (&[("origin", "null")], None),
        (&[("origin", "https://shop.test"), ("origin", "https://shop.test")], None),
        (&[], None),
    ] {
        let met = met(SHOP, request(fields)).await;
        assert_eq!(met.refused(), None, "{fields:?}");
        assert_eq!(met.answered("access-control-allow-origin").first().copied(), allowed);
        assert_eq!(met.answered("vary"), ["origin"], "{fields:?}");
        assert!(met.answered("access-control-allow-credentials").is_empty());
    }
}

#[tokio::test]
async fn what_every_page_may_read_depends_on_no_origin() {
    let config = "cors: {allow_origins: ['*'], expose_headers: [x-a, x-b]}";
    for fields in [&[][..], &[("origin", "https://any.test")]] {
        let met = met(config, request(fields)).await;
        assert_eq!(met.answered("access-control-allow-origin"), ["*"]);
        assert_eq!(met.answered("access-control-expose-headers"), ["x-a, x-b"]);
        assert!(met.answered("vary").is_empty());
    }
}

#[tokio::test]
async fn what_the_upstream_says_is_replaced_and_vary_is_said_once() {
    // `headers` stands further in, where the upstream is.
    let upstream = "headers: {response: {set: {access-control-allow-origin: '*', access-control-allow-credentials: 'true', \
        access-control-max-age: '5', vary: 'accept-encoding, Origin'}}}";
    let chain = chain(&[SHOP, upstream]);
    for origin in ["https://shop.test", "https://evil.test"] {
        let met = World::default().exchange(&chain, request(&[("origin", origin)])).await;
        let expected: &[&str] = if origin == "https://shop.test" { &[origin] } else { &[] };
        assert_eq!(met.answered("access-control-allow-origin"), expected);
        assert!(met.answered("access-control-allow-credentials").is_empty());
        assert!(met.answered("access-control-max-age").is_empty());
        assert_eq!(met.answered("vary"), ["accept-encoding, Origin"]);
    }
}

#[tokio::test]
async fn each_field_that_is_said_here_is_taken_off_where_it_stands_alone() {
    for field in [
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-expose-headers",
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-max-age",
        "access-control-allow-private-network",
    ] {
        let upstream =
            format!("headers: {{response: {{set: {{x-a: '1', {field}: '1', x-b: '1'}}}}}}");
        let met = World::default().exchange(&chain(&[SHOP, &upstream]), request(&[])).await;
        assert!(met.answered(field).is_empty(), "{field}");
        assert_eq!((met.answered("x-a"), met.answered("x-b")), (vec!["1"], vec!["1"]));
    }
}

#[tokio::test]
async fn an_answer_varies_by_origin_also_where_nobody_sends_one() {
    for (vary, expected) in [
        ("accept", vec!["accept", "origin"]),
        ("x-origin", vec!["x-origin", "origin"]),
        ("accept, ORIGIN", vec!["accept, ORIGIN"]),
        ("*", vec!["*"]),
    ] {
        let upstream = format!("headers: {{response: {{set: {{vary: '{vary}', x-b: '1'}}}}}}");
        let met = World::default().exchange(&chain(&[SHOP, &upstream]), request(&[])).await;
        assert_eq!(met.answered("vary"), expected);
    }
}

#[tokio::test]
async fn a_preflight_is_answered_with_what_it_asks_for() {
    let fields = [("access-control-request-headers", "content-type,x-trace")];
    let met = met(SHOP, preflight("https://shop.test", "PUT", &fields)).await;
    assert_eq!((met.refused(), met.response.status().as_u16()), (None, 204));
    assert_eq!(met.answered("access-control-allow-origin"), ["https://shop.test"]);
    assert_eq!(met.answered("access-control-allow-methods"), ["PUT"]);
    assert_eq!(met.answered("access-control-allow-headers"), ["content-type,x-trace"]);
    assert_eq!(met.answered("vary"), [PREFLIGHT_VARY]);
    for absent in ["access-control-max-age", "access-control-allow-private-network"] {
        assert!(met.answered(absent).is_empty(), "{absent}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_with_what_is_written() {
    let config = "cors: {allow_origins: ['https://shop.test'], allow_methods: [GET, PUT], allow_headers: [x-a, x-b], \
        credentials: true, max_age: 10m, private_network: true}";
    let private = ("access-control-request-private-network", "true");
    let asked = ("access-control-request-headers", "x-other");
    let met = met(config, preflight("https://shop.test", "DELETE", &[asked, private])).await;
    assert_eq!(met.answered("access-control-allow-credentials"), ["true"]);
    assert_eq!(met.answered("access-control-allow-methods"), ["GET, PUT"]);
    assert_eq!(met.answered("access-control-allow-headers"), ["x-a, x-b"]);
    assert_eq!(met.answered("access-control-max-age"), ["600"]);
    assert_eq!(met.answered("access-control-allow-private-network"), ["true"]);
}

#[tokio::test]
async fn a_preflight_of_another_origin_is_refused() {
    let met = met(SHOP, preflight("https://evil.test", "GET", &[])).await;
    assert_eq!(met.refused(), Some((403, "forbidden")));
    assert_eq!(met.answered("vary"), [PREFLIGHT_VARY]);
    assert!(met.answered("access-control-allow-origin").is_empty());
}

#[tokio::test]
async fn a_preflight_is_answered_before_anybody_asks_who_calls() {
    let chain = chain(&["api_key: {}", SHOP]);
    let met = World::default().exchange(&chain, preflight("https://shop.test", "GET", &[])).await;
    assert_eq!((met.refused(), met.response.status().as_u16()), (None, 204));
}

#[tokio::test]
async fn options_that_is_no_preflight_goes_on() {
    for fields in
        [&[("origin", "https://shop.test")][..], &[("access-control-request-method", "GET")]]
    {
        let mut request = request(fields);
        *request.method_mut() = Method::OPTIONS;
        let met = met(SHOP, request).await;
        assert_eq!((met.refused(), met.response.status().as_u16()), (None, 200));
    }
}

#[test]
fn origins_are_compared_as_browsers_write_them() {
    let accepts = |pattern: &str, origin: &str| Origin::from_text(pattern).unwrap().accepts(origin);
    for (pattern, origin, expected) in [
        ("HTTPS://Shop.Test", "https://shop.test", true),
        ("https://shop.test:443", "https://shop.test", true),
        ("http://shop.test:443", "http://shop.test:443", true),
        ("http://[::1]:3000", "http://[::1]:3000", true),
        ("https://*.shop.test", "https://shop.test", false),
        ("https://*.shop.test", "https://.shop.test", false),
        ("https://*.shop.test", "https://evil.test/.shop.test", false),
        ("https://*.shop.test", "https://evil.test:80.shop.test", false),
        ("https://*.shop.test", "https://evilshop.test", false),
        ("https://*.shop.test:8443", "https://a.shop.test:8443", true),
        ("https://*.shop.test:8443", "https://a.shop.test", false),
        ("null", "null", true),
    ] {
        assert_eq!(accepts(pattern, origin), expected, "{pattern} {origin}");
    }
}

#[tokio::test]
async fn an_expression_matches_a_whole_origin_and_never_null() {
    let config = "cors: {allow_origins: [{regex: 'https://[a-z]+[.]test|nul+'}]}";
    for (origin, expected) in [
        ("https://shop.test", true),
        ("https://shop.test.evil", false),
        ("xhttps://shop.test", false),
        ("null", false),
    ] {
        let met = met(config, request(&[("origin", origin)])).await;
        assert_eq!(!met.answered("access-control-allow-origin").is_empty(), expected, "{origin}");
    }
}

proptest! {
    #[test]
    fn a_wildcard_accepts_hosts_below_its_domain_alone(text in "[a-z0-9:/@.*?#\\\\-]{0,24}") {
        let pattern = Origin::from_text("https://*.shop.test").unwrap();
        let origin = format!("https://{text}.shop.test");
        let is_host = !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b));
        prop_assert_eq!(pattern.accepts(&origin), is_host);
    }

    #[test]
    fn any_text_is_an_origin_or_a_fault(text in "\\PC{0,40}|https?://[*a-z0-9.:\\[\\]]{0,20}") {
        if let Ok(Origin::Exact(origin)) = Origin::from_text(&text) {
            prop_assert!(Origin::from_text(&origin).unwrap().accepts(&origin));
        }
    }
}
