//! The order of precedence of `docs/guide/routing.md`, rule by rule and against a plain scan.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where something is off"
)]

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, Method};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tollgate_data_plane::route::{ApiRoutes, Because, Found, MatchInput, RouteTable, Verdict};
use tollgate_model::api::Api;
use tollgate_model::path::{PathMatch, Segment};
use tollgate_model::route::{Route, ValueMatch};
use tollgate_model::{FromText, Kind, Name, ResourceId, parse};

/// An API under a name, and its compiled routes; payloads are `api/route`.
#[derive(Clone, Debug)]
struct Published {
    id: ResourceId,
    api: Api,
    routes: Arc<ApiRoutes<String>>,
}

impl Published {
    fn new(name: &str, api: Api) -> Self {
        let id = ResourceId::new(Kind::Api, Name::default_name(), Name::from_text(name).unwrap());
        let routes = Arc::new(ApiRoutes::build(&api, |route, _| label(&id, route)));
        Self { id, api, routes }
    }

    /// From the routes' names and matches, without the checks across routes.
    fn of(name: &str, hosts: &[&str], base_path: &str, routes: &[(&str, Value)]) -> Self {
        let head = json!({ "hosts": hosts, "base_path": base_path, "upstream": "u" });
        let mut api: Api = parse::value(&head).unwrap();
        let route = |(name, matches): &(&str, Value)| {
            parse::value::<Route>(&json!({ "name": name, "match": matches })).unwrap()
        };
        api.routes = routes.iter().map(route).collect();
        Self::new(name, api)
    }

    fn insert_into(&self, table: &mut RouteTable<String>) {
        table.insert(&self.id, &self.api.hosts, &self.api.base_path, &self.routes);
    }

    fn remove_from(&self, table: &mut RouteTable<String>) {
        table.remove(&self.id, &self.api.hosts, &self.api.base_path);
    }
}

fn label(id: &ResourceId, route: Option<&Route>) -> String {
    format!("{}/{}", id.name, route.map_or("", |route| route.name.as_str()))
}

fn table(apis: &[Published]) -> RouteTable<String> {
    let mut table = RouteTable::default();
    for api in apis {
        api.insert_into(&mut table);
    }
    table
}

#[derive(Clone, Debug)]
struct Request {
    host: String,
    path: String,
    query: Option<&'static str>,
    method: Method,
    headers: HeaderMap,
}

impl Request {
    fn get(host: &str, path: &str) -> Self {
        Self {
            host: host.to_owned(),
            path: path.to_owned(),
            query: None,
            method: Method::GET,
            headers: HeaderMap::new(),
        }
    }

    fn input(&self) -> MatchInput<'_> {
        MatchInput {
            host: &self.host,
            path: &self.path,
            query: self.query,
            method: &self.method,
            headers: &self.headers,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Route(String),
    MethodNotAllowed(Vec<String>),
    NoRoute,
}

fn find(table: &RouteTable<String>, request: &Request) -> Outcome {
    match table.find(&request.input()) {
        Found::Route(found) => Outcome::Route(found.payload().clone()),
        Found::MethodNotAllowed { allow } => {
            Outcome::MethodNotAllowed(allow.iter().map(Method::to_string).collect())
        }
        Found::NoRoute => Outcome::NoRoute,
    }
}

fn found(table: &RouteTable<String>, host: &str, path: &str) -> String {
    match find(table, &Request::get(host, path)) {
        Outcome::Route(label) => label,
        other @ (Outcome::MethodNotAllowed(_) | Outcome::NoRoute) => format!("{other:?}"),
    }
}

// ---- rule by rule ----

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

// ---- against a plain scan ----

/// One route of one API where host, base path and path are those of the request.
type Candidate<'a> = (Rank, &'a Published, Option<&'a Route>);
type Rank = (
    (u8, Reverse<usize>),
    Reverse<usize>,
    (u8, Vec<bool>, Reverse<usize>),
    (Reverse<usize>, Reverse<usize>, bool),
    String,
);

/// The order of the guide, written down once more and without any thought of speed.
fn scan<'a>(apis: &'a BTreeMap<String, Published>, request: &Request) -> Vec<Candidate<'a>> {
    let host = request.host.to_lowercase();
    let host = host.split(':').next().unwrap();
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut candidates = Vec::new();
    for published in apis.values() {
        let hosts = &published.api.hosts;
        let host_ranks = hosts.iter().filter_map(|pattern| match pattern.is_wildcard() {
            false => (host == pattern.name()).then_some((0, Reverse(0))),
            true => host
                .ends_with(&format!(".{}", pattern.name()))
                .then(|| (1, Reverse(pattern.name().split('.').count()))),
        });
        let any = hosts.is_empty().then_some((2, Reverse(0)));
        let Some(host_rank) = host_ranks.chain(any).min() else { continue };
        let base = published.api.base_path.as_prefix();
        if !is_below(&request.path, base) {
            continue;
        }
        let rest = match &request.path[base.len()..] {
            "" => "/",
            rest => rest,
        };
        let routes = &published.api.routes;
        let implicit = routes.is_empty().then_some(None);
        for route in routes.iter().map(Some).chain(implicit) {
            let any = PathMatch::any();
            let Some(path_rank) = path_rank(route.map_or(&any, |route| &route.matches.path), rest)
            else {
                continue;
            };
            let conditions = route.map_or((Reverse(0), Reverse(0), true), |route| {
                let matches = &route.matches;
                (
                    Reverse(matches.headers.len()),
                    Reverse(matches.query.len()),
                    matches.methods.is_empty(),
                )
            });
            let name = label(&published.id, route);
            let rank = (host_rank, Reverse(base.len()), path_rank, conditions, name);
            candidates.push((rank, published, route));
        }
    }
    candidates.sort_by(|a, b| a.0.cmp(&b.0));
    candidates
}

fn is_below(path: &str, prefix: &str) -> bool {
    path == prefix || path.starts_with(&format!("{prefix}/"))
}

fn path_rank(pattern: &PathMatch, rest: &str) -> Option<(u8, Vec<bool>, Reverse<usize>)> {
    match pattern {
        PathMatch::Exact(path) => (**path == *rest).then_some((0, vec![], Reverse(0))),
        PathMatch::Template(segments) => {
            let parts: Vec<&str> = rest.split('/').skip(1).collect();
            let fits = |(segment, part): (&Segment, &&str)| match segment {
                Segment::Literal(text) => **text == **part,
                Segment::Parameter(_) => !part.is_empty(),
            };
            let is_match = parts.len() == segments.len() && segments.iter().zip(&parts).all(fits);
            let shape = segments.iter().map(|segment| matches!(segment, Segment::Parameter(_)));
            is_match.then(|| (1, shape.collect(), Reverse(0)))
        }
        PathMatch::Regex(expression) => {
            expression.regex.is_match(rest).then_some((2, vec![], Reverse(expression.source.len())))
        }
        PathMatch::Prefix(prefix) => {
            is_below(rest, prefix).then_some((3, vec![], Reverse(prefix.len())))
        }
    }
}

fn holds_but_method(route: Option<&Route>, request: &Request) -> bool {
    let Some(route) = route else { return true };
    let header = |name: &str| request.headers.get(name).map(|value| value.as_bytes().to_vec());
    let parameter = |name: &str| {
        let pairs = request.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| decoded(key) == name)
            .map(|(_, value)| decoded(value).into_bytes())
    };
    let holds = |value: Option<Vec<u8>>, wanted: &ValueMatch| wanted.accepts(value.as_deref());
    route.matches.headers.iter().all(|(name, wanted)| holds(header(name.as_str()), wanted))
        && route.matches.query.iter().all(|(name, wanted)| holds(parameter(name), wanted))
}

/// Of the few encodings that the requests below have.
fn decoded(text: &str) -> String {
    text.replace('+', " ").replace("%71", "q").replace("%31", "1")
}

fn scan_outcome(candidates: &[Candidate<'_>], request: &Request) -> Outcome {
    let mut allow = Vec::new();
    for (_, published, route) in candidates {
        if !holds_but_method(*route, request) {
            continue;
        }
        let methods = route.map_or(&[][..], |route| &route.matches.methods);
        if methods.is_empty() || methods.iter().any(|one| *one.as_http() == request.method) {
            return Outcome::Route(label(&published.id, *route));
        }
        allow.extend(methods.iter().map(|method| method.as_str().to_owned()));
    }
    allow.sort();
    allow.dedup();
    if allow.is_empty() { Outcome::NoRoute } else { Outcome::MethodNotAllowed(allow) }
}

const HOSTS: [&str; 6] = ["a.test", "b.a.test", "*.a.test", "*.test", "*.b.a.test", "c.example"];
const BASES: [&str; 6] = ["/", "/", "/x", "/x/y", "/y", "/x/y/z"];
const EXPRESSIONS: [&str; 6] = ["/x.*", ".*/y", "/[xy]/.*", ".*", "/x/[^/]+", "/(?<n>[a-z]+)"];

fn any_path() -> impl Strategy<Value = Value> {
    let literal = || select(vec!["x", "y", "z"]);
    let plain = prop::collection::vec(literal(), 0..4).prop_map(|parts| parts.join("/"));
    let exact = (plain.clone(), any::<bool>()).prop_map(|(path, has_slash)| {
        let end = if has_slash && !path.is_empty() { "/" } else { "" };
        json!({ "path": format!("/{path}{end}") })
    });
    let part = select(vec!["x", "y", "{p}", "{p}"]);
    let template =
        (prop::collection::vec(part, 1..4), any::<bool>()).prop_map(|(parts, has_slash)| {
            let named =
                parts.iter().enumerate().map(|(i, part)| part.replace('p', &format!("p{i}")));
            let end = if has_slash { "/" } else { "" };
            json!({ "path": format!("/{}{end}", named.collect::<Vec<_>>().join("/")) })
        });
    let prefix = plain.prop_map(|path| json!({ "path": { "prefix": format!("/{path}") } }));
    let expression =
        select(EXPRESSIONS.to_vec()).prop_map(|text| json!({ "path": { "regex": text } }));
    prop_oneof![3 => exact, 4 => template, 2 => prefix, 2 => expression, 1 => Just(json!({}))]
}

fn any_match() -> impl Strategy<Value = Value> {
    let methods =
        select(vec![json!([]), json!([]), json!(["GET"]), json!(["PUT", "GET"]), json!(["POST"])]);
    let headers = select(vec![
        json!({}),
        json!({}),
        json!({ "h": "1" }),
        json!({ "h": { "present": true } }),
        json!({ "g": { "present": false } }),
        json!({ "h": { "regex": "[12]" }, "g": "1" }),
    ]);
    let query = select(vec![
        json!({}),
        json!({}),
        json!({ "q": "1" }),
        json!({ "q": { "regex": "[ 1]" } }),
        json!({ "q": { "present": false } }),
        json!({ "q": { "present": true }, "r": "" }),
    ]);
    (any_path(), methods, headers, query).prop_map(|(mut matches, methods, headers, query)| {
        matches["methods"] = methods;
        matches["headers"] = headers;
        matches["query"] = query;
        matches
    })
}

/// Where APIs lie: on all hosts and base paths, or all on one.
#[derive(Clone, Copy, Debug)]
enum Spread {
    Wide,
    Crowded,
}

fn any_spread() -> impl Strategy<Value = Spread> {
    select(vec![Spread::Wide, Spread::Crowded])
}

fn any_api(spread: Spread, number: usize) -> impl Strategy<Value = Published> {
    let (hosts, bases) = match spread {
        Spread::Wide => (0..3, BASES.to_vec()),
        Spread::Crowded => (0..1, vec!["/"]),
    };
    let hosts = prop::collection::vec(select(HOSTS.to_vec()), hosts);
    let routes = prop::collection::vec(any_match(), 0..7);
    (hosts, select(bases), routes).prop_map(move |(hosts, base, routes)| {
        let names = ["r0", "r1", "r2", "r3", "r4", "r5", "r6"];
        let routes: Vec<(&str, Value)> = names.into_iter().zip(routes).collect();
        Published::of(&format!("api{number}"), &hosts, base, &routes)
    })
}

fn any_apis() -> impl Strategy<Value = Vec<Published>> {
    (any_spread(), 0..14_usize)
        .prop_flat_map(|(spread, count)| (0..count).map(|i| any_api(spread, i)).collect::<Vec<_>>())
}

/// Two versions each of nine APIs.
fn any_versions() -> impl Strategy<Value = Vec<Vec<Published>>> {
    any_spread().prop_flat_map(|spread| {
        (0..9).map(|i| prop::collection::vec(any_api(spread, i), 2)).collect::<Vec<_>>()
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let host = select(vec![
        "a.test",
        "A.test:80",
        "b.a.test",
        "c.b.A.test.",
        "z.test",
        "test",
        "c.example",
        "none.example",
        "",
    ]);
    let part = select(vec!["x", "x", "y", "z", "x%20"]);
    let path = (prop::collection::vec(part, 0..6), any::<bool>()).prop_map(|(parts, has_slash)| {
        let end = if has_slash && !parts.is_empty() { "/" } else { "" };
        format!("/{}{end}", parts.join("/"))
    });
    let query = select(vec![
        None,
        None,
        Some(""),
        Some("q=1"),
        Some("%71=%31&r"),
        Some("q=2&q=1"),
        Some("&r=&q=+"),
        Some("q"),
    ]);
    let method = select(vec![Method::GET, Method::GET, Method::POST, Method::HEAD]);
    let value = || select(vec![None, None, Some("1"), Some("2")]);
    (host, path, query, method, (value(), value())).prop_map(
        |(host, path, query, method, (h, g))| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("h", h), ("g", g)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            Request { host: host.to_owned(), path, query, method, headers }
        },
    )
}

fn by_name(apis: &[Published]) -> BTreeMap<String, Published> {
    apis.iter().map(|api| (api.id.name.to_string(), api.clone())).collect()
}

/// Whether the table finds, and explains, what the scan does.
fn check(
    table: &RouteTable<String>,
    apis: &BTreeMap<String, Published>,
    request: &Request,
) -> Result<(), TestCaseError> {
    let candidates = scan(apis, request);
    let expected = scan_outcome(&candidates, request);
    let actual = find(table, request);
    prop_assert_eq!(&actual, &expected);
    let explained = table.explain(&request.input());
    let on_path: Vec<&String> = explained
        .iter()
        .filter(|one| one.verdict != Verdict::Lost { because: Because::Path })
        .map(|one| one.payload)
        .collect();
    // An API on two of the request's hosts is explained for both; it counts for the first.
    let mut first_of_each: Vec<&String> = Vec::new();
    for payload in on_path {
        if !first_of_each.contains(&payload) {
            first_of_each.push(payload);
        }
    }
    let ranked: Vec<String> =
        candidates.iter().map(|(_, published, route)| label(&published.id, *route)).collect();
    prop_assert_eq!(first_of_each, ranked.iter().collect::<Vec<_>>());
    let won = explained.iter().find(|one| one.verdict == Verdict::Won).map(|one| one.payload);
    match expected {
        Outcome::Route(label) => prop_assert_eq!(won, Some(&label)),
        Outcome::MethodNotAllowed(_) | Outcome::NoRoute => prop_assert_eq!(won, None),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_equals_a_plain_scan(
        apis in any_apis(),
        requests in prop::collection::vec(any_request(), 40),
    ) {
        let table = table(&apis);
        let apis = by_name(&apis);
        for request in &requests {
            check(&table, &apis, request)?;
        }
    }

    #[test]
    fn changes_in_any_order_equal_a_fresh_table_and_leave_clones_alone(
        changes in prop::collection::vec((0..9_usize, prop::bool::weighted(0.7)), 1..40),
        versions in prop::collection::vec(any::<prop::sample::Index>(), 40),
        pool in any_versions(),
        requests in prop::collection::vec(any_request(), 10),
    ) {
        let mut live = RouteTable::default();
        let mut expected: BTreeMap<String, Published> = BTreeMap::new();
        let mut clones = Vec::new();
        for ((api, is_insert), version) in changes.into_iter().zip(versions) {
            let next = version.get(&pool[api]);
            let name = next.id.name.to_string();
            if let Some(current) = expected.remove(&name) {
                current.remove_from(&mut live);
            }
            if is_insert {
                next.insert_into(&mut live);
                // Once more changes nothing.
                next.insert_into(&mut live);
                expected.insert(name, next.clone());
            }
            clones.push((live.clone(), expected.clone()));
        }
        for (table, apis) in &clones {
            for request in &requests {
                check(table, apis, request)?;
            }
        }
        for api in expected.values() {
            api.remove_from(&mut live);
        }
        for request in &requests {
            prop_assert_eq!(find(&live, request), Outcome::NoRoute);
            prop_assert!(live.explain(&request.input()).is_empty());
        }
    }
}
