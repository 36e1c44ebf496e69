//! Rule by rule.

use http::Method;
use serde_json::json;
use tollgate_data_plane::route::{Because, Found, Verdict};

use crate::published::{Outcome, Published, Request, find, found, table};

#[test]
fn the_more_specific_host_comes_first_and_the_next_one_catches() {
    let table = table(&[
        Published::of("exact", &["api.shop.test"], "/", &[("r", json!({ "path": "/x" }))]),
        Published::of(
            "near",
            &["*.shop.test"],
            "/",
            &[("r", json!({ "path": "/y" })), ("s", json!({ "path": "/x" }))],
        ),
        Published::of("far", &["*.test"], "/", &[]),
        Published::of(
            "any",
            &[],
            "/",
            &[("r", json!({ "path": "/health" })), ("s", json!({ "path": "/x" }))],
        ),
    ]);
    assert_eq!(found(&table, "api.shop.test", "/x"), "exact/r");
    assert_eq!(found(&table, "api.shop.test", "/y"), "near/r");
    assert_eq!(found(&table, "api.shop.test", "/z"), "far/");
    assert_eq!(found(&table, "a.b.shop.test", "/x"), "near/s");
    assert_eq!(found(&table, "shop.test", "/x"), "far/");
    assert_eq!(found(&table, "test", "/x"), "any/s");
    assert_eq!(found(&table, "other.example", "/health"), "any/r");
    assert_eq!(found(&table, "", "/x"), "any/s");
    assert_eq!(found(&table, "other.example", "/y"), "NoRoute");
}

#[test]
fn an_api_on_any_host_answers_where_the_host_has_nothing() {
    let table = table(&[
        Published::of("shop", &["shop.test"], "/", &[("items", json!({ "path": "/items" }))]),
        Published::of("ops", &[], "/", &[("health", json!({ "path": "/health" }))]),
    ]);
    assert_eq!(found(&table, "shop.test", "/health"), "ops/health");
    assert_eq!(found(&table, "shop.test", "/items"), "shop/items");
    assert_eq!(found(&table, "shop.test", "/none"), "NoRoute");
}

#[test]
fn hosts_compare_without_case_port_and_final_dot() {
    let table = table(&[Published::of("a", &["Api.Shop.test", "*.Eu.test"], "/", &[])]);
    for host in ["api.shop.test", "API.SHOP.TEST:8443", "api.shop.test.", "X.eu.test.:80"] {
        assert_eq!(found(&table, host, "/"), "a/", "{host}");
    }
    for host in
        ["shop.test", "xapi.shop.test", "eu.test", ".eu.test", "xeu.test", "api.shop.test.."]
    {
        assert_eq!(found(&table, host, "/"), "NoRoute", "{host}");
    }
}

#[test]
fn the_longest_base_path_comes_first_by_whole_segments() {
    let table = table(&[
        Published::of("root", &[], "/", &[]),
        Published::of(
            "orders",
            &[],
            "/orders",
            &[("all", json!({})), ("self", json!({ "path": "/" }))],
        ),
        Published::of("items", &[], "/orders/items", &[("x", json!({ "path": "/x" }))]),
    ]);
    assert_eq!(found(&table, "h", "/orders"), "orders/self");
    assert_eq!(found(&table, "h", "/orders/"), "orders/self");
    assert_eq!(found(&table, "h", "/orders/1"), "orders/all");
    assert_eq!(found(&table, "h", "/ordersx"), "root/");
    assert_eq!(found(&table, "h", "/orders/items/x"), "items/x");
    assert_eq!(found(&table, "h", "/orders/items/y"), "orders/all");
    assert_eq!(found(&table, "h", "/orders/itemsx"), "orders/all");
    assert_eq!(found(&table, "h", "/"), "root/");
}

#[test]
fn paths_come_exact_then_template_then_expression_then_prefix() {
    let routes = [
        ("everything", json!({})),
        ("prefix", json!({ "path": { "prefix": "/items" } })),
        ("longer-prefix", json!({ "path": { "prefix": "/items/x" } })),
        ("short-regex", json!({ "path": { "regex": "/items/[0-9]+/.*" } })),
        ("long-regex", json!({ "path": { "regex": "/items/[0-9]+/parts/.*" } })),
        ("template", json!({ "path": "/items/{id}" })),
        ("right", json!({ "path": "/{kind}/new/{x}" })),
        ("left", json!({ "path": "/items/{id}/{x}" })),
        ("exact", json!({ "path": "/items/x" })),
        ("slash", json!({ "path": "/items/{id}/" })),
    ];
    let table = table(&[Published::of("a", &[], "/", &routes)]);
    let cases = [
        ("/items/x", "exact"),
        ("/items/x/y/z", "longer-prefix"),
        ("/items/1", "template"),
        ("/items/1/", "slash"),
        ("/items/new/1", "left"),
        ("/other/new/1", "right"),
        ("/items/1/parts/2", "long-regex"),
        ("/items/1/a/2", "short-regex"),
        ("/items", "prefix"),
        ("/items/", "prefix"),
        ("/items/a/b/c", "prefix"),
        ("/itemsx", "everything"),
        ("/", "everything"),
    ];
    for (path, route) in cases {
        assert_eq!(found(&table, "h", path), format!("a/{route}"), "{path}");
    }
}

#[test]
fn an_exact_path_has_no_other_form_and_a_parameter_is_not_empty() {
    let table = table(&[Published::of(
        "a",
        &[],
        "/base",
        &[("items", json!({ "path": "/items" })), ("one", json!({ "path": "/of/{id}" }))],
    )]);
    assert_eq!(found(&table, "h", "/base/items"), "a/items");
    assert_eq!(found(&table, "h", "/base/of/a%20b"), "a/one");
    for path in
        ["/base/items/", "/base/Items", "/items", "/base/of/", "/base/of", "/base/of/a/b", "/base"]
    {
        assert_eq!(found(&table, "h", path), "NoRoute", "{path}");
    }
}

#[test]
fn conditions_then_methods_then_names_decide_within_a_path() {
    let routes = [
        ("a-plain", json!({ "path": "/x" })),
        ("b-get", json!({ "path": "/x", "methods": ["GET"] })),
        ("c-query", json!({ "path": "/x", "query": { "q": "1" } })),
        ("d-header", json!({ "path": "/x", "headers": { "h": "1" } })),
        ("e-both", json!({ "path": "/x", "headers": { "h": "1", "g": { "present": false } } })),
        (
            "f-head",
            json!({ "path": "/x", "methods": ["GET"], "headers": { "h": { "regex": "[0-9]" } } }),
        ),
    ];
    let table = table(&[Published::of("a", &[], "/", &routes)]);
    let mut request = Request::get("h", "/x");
    let winner = |request: &Request| match find(&table, request) {
        Outcome::Route(label) => label,
        other @ (Outcome::MethodNotAllowed(_) | Outcome::NoRoute) => format!("{other:?}"),
    };
    assert_eq!(winner(&request), "a/b-get");
    request.method = Method::HEAD;
    assert_eq!(winner(&request), "a/a-plain");
    request.query = Some("x&%71=1&q=2");
    assert_eq!(winner(&request), "a/c-query");
    request.headers.insert("h", "1".parse().unwrap());
    assert_eq!(winner(&request), "a/e-both");
    request.headers.insert("g", "1".parse().unwrap());
    assert_eq!(winner(&request), "a/d-header");
    request.method = Method::GET;
    assert_eq!(winner(&request), "a/f-head");
    request.headers.insert("h", "2".parse().unwrap());
    request.headers.append("h", "1".parse().unwrap());
    assert_eq!(winner(&request), "a/f-head");
    request.headers.insert("h", "20".parse().unwrap());
    assert_eq!(winner(&request), "a/c-query");
}

#[test]
fn apis_of_one_place_are_ordered_as_one_list_and_then_by_name() {
    let mut table = table(&[
        Published::of(
            "b",
            &[],
            "/",
            &[("r", json!({ "path": "/x" })), ("s", json!({ "path": "/t/{id}" }))],
        ),
        Published::of(
            "a",
            &[],
            "/",
            &[("r", json!({ "path": "/{x}" })), ("z", json!({ "path": "/t/{other}" }))],
        ),
        Published::of("c", &[], "/", &[("r", json!({ "path": "/x", "methods": ["GET"] }))]),
    ]);
    assert_eq!(found(&table, "h", "/x"), "c/r");
    assert_eq!(found(&table, "h", "/y"), "a/r");
    assert_eq!(found(&table, "h", "/t/1"), "a/z");
    Published::of("a", &[], "/", &[]).remove_from(&mut table);
    assert_eq!(found(&table, "h", "/t/1"), "b/s");
    assert_eq!(found(&table, "h", "/y"), "NoRoute");
    Published::of("c", &[], "/", &[]).remove_from(&mut table);
    assert_eq!(found(&table, "h", "/x"), "b/r");
    Published::of("b", &[], "/", &[]).remove_from(&mut table);
    assert_eq!(found(&table, "h", "/x"), "NoRoute");
}

#[test]
fn only_the_method_missing_is_405_with_the_methods_that_would_do() {
    let table = table(&[
        Published::of(
            "a",
            &["a.test"],
            "/",
            &[("r", json!({ "path": "/x", "methods": ["PUT", "GET"] }))],
        ),
        Published::of(
            "b",
            &[],
            "/",
            &[
                ("r", json!({ "path": "/{x}", "methods": ["PATCH", "GET"] })),
                ("s", json!({ "path": "/x", "methods": ["DELETE"], "headers": { "h": "1" } })),
            ],
        ),
    ]);
    let mut request = Request::get("a.test", "/x");
    request.method = Method::POST;
    let allow = |methods: &[&str]| {
        Outcome::MethodNotAllowed(methods.iter().map(|&method| method.to_owned()).collect())
    };
    assert_eq!(find(&table, &request), allow(&["GET", "PATCH", "PUT"]));
    request.headers.insert("h", "1".parse().unwrap());
    assert_eq!(find(&table, &request), allow(&["DELETE", "GET", "PATCH", "PUT"]));
    request.path = "/x/y".to_owned();
    assert_eq!(find(&table, &request), Outcome::NoRoute);
    request.path = "/x".to_owned();
    request.method = Method::PATCH;
    assert_eq!(find(&table, &request), Outcome::Route("b/r".to_owned()));
}

#[test]
fn a_match_tells_its_parameters_and_what_is_below_the_base_path() {
    let table = table(&[Published::of(
        "a",
        &[],
        "/shop",
        &[
            ("t", json!({ "path": "/items/{id}/parts/{part}" })),
            ("e", json!({ "path": { "regex": "/v(?<major>[0-9]+)(?:/(?<below>.*))?" } })),
            ("p", json!({ "path": { "prefix": "/p" } })),
        ],
    )]);
    let parameters = |path: &str| {
        let request = Request::get("h", path);
        let Found::Route(found) = table.find(&request.input()) else { panic!("{path}") };
        assert_eq!(found.base_path(), "/shop");
        assert_eq!(format!("/shop{}", found.rest()), path);
        let pairs = found.parameters();
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(parameters("/shop/items/1/parts/a%20b"), "id=1 part=a%20b");
    assert_eq!(parameters("/shop/v12/x/y"), "major=12 below=x/y");
    assert_eq!(parameters("/shop/v12"), "major=12");
    assert_eq!(parameters("/shop/p/q"), "");
    let request = Request::get("h", "/shop");
    assert!(matches!(table.find(&request.input()), Found::NoRoute));
}

#[test]
fn explain_gives_every_route_in_order_and_the_first_reason() {
    let table = table(&[
        Published::of(
            "a",
            &["*.shop.test"],
            "/v1",
            &[
                (
                    "post",
                    json!({ "path": "/x", "methods": ["POST"], "headers": { "h": "1", "g": "1" } }),
                ),
                ("header", json!({ "path": "/x", "headers": { "h": "1" } })),
                ("query", json!({ "path": "/x", "query": { "q": "1" } })),
                ("other", json!({ "path": "/y" })),
            ],
        ),
        Published::of("b", &[], "/", &[]),
        Published::of("c", &[], "/", &[("later", json!({}))]),
        Published::of("d", &["other.test"], "/", &[]),
    ]);
    let request = Request::get("api.shop.test:80", "/v1/x");
    let told: Vec<String> = table
        .explain(&request.input())
        .iter()
        .map(|one| {
            format!("{} {} {} {} {:?}", one.payload, one.host, one.base_path, one.path, one.verdict)
        })
        .collect();
    let lost = |because: Because<'_>| format!("{:?}", Verdict::Lost { because });
    assert_eq!(
        told,
        [
            format!("a/post *.shop.test /v1 /x {}", lost(Because::Method)),
            format!("a/header *.shop.test /v1 /x {}", lost(Because::Header("h"))),
            format!("a/query *.shop.test /v1 /x {}", lost(Because::Query("q"))),
            format!("a/other *.shop.test /v1 /y {}", lost(Because::Path)),
            "b/ * / /… Won".to_owned(),
            format!("c/later * / /… {}", lost(Because::Preceded)),
        ]
    );
}

#[test]
fn a_path_as_deep_as_can_be_is_searched_without_overflow() {
    let deep = "/a".repeat(1000);
    let template = format!("{deep}/{{id}}");
    let table = table(&[
        Published::of(
            "t",
            &[],
            "/",
            &[("r", json!({ "path": template })), ("p", json!({ "path": { "prefix": "/a/a" } }))],
        ),
        Published::of("b", &[], &deep, &[("r", json!({ "path": "/b" }))]),
    ]);
    assert_eq!(found(&table, "h", &format!("{deep}/1")), "t/r");
    assert_eq!(found(&table, "h", &format!("{deep}/b")), "b/r");
    assert_eq!(found(&table, "h", &"/a".repeat(30_000)), "t/p");
    assert_eq!(found(&table, &"a.".repeat(100_000), &"/b".repeat(30_000)), "NoRoute");
}
