//! A look-up that hits allocates nothing: counted, in a program of its own.

#![expect(clippy::unwrap_used, reason = "a test stops where something is off")]

use std::sync::Arc;

use http::{HeaderMap, Method};
use serde_json::json;
use tollgate_data_plane::route::{ApiRoutes, EncodedSlash, Found, MatchInput, RouteTable, Target};
use tollgate_model::api::Api;
use tollgate_model::{FromText, Kind, Name, ResourceId, parse};
use tollgate_testkit::allocations::{self, Counting};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn insert(
    table: &mut RouteTable<u32>,
    name: &str,
    head: serde_json::Value,
    routes: &[(&str, serde_json::Value)],
) {
    let mut api: Api = parse::value(&head).unwrap();
    let route = |(name, matches): &(&str, serde_json::Value)| {
        parse::value(&json!({ "name": name, "match": matches })).unwrap()
    };
    api.routes = routes.iter().map(route).collect();
    let id = ResourceId::new(Kind::Api, Name::default_name(), Name::from_text(name).unwrap());
    let routes = Arc::new(ApiRoutes::build(&api, |_, i| u32::try_from(i).unwrap()));
    table.insert(&id, &api.hosts, &api.base_path, &routes);
}

#[test]
fn a_hit_allocates_nothing() {
    let mut table = RouteTable::default();
    let head = |hosts: &[&str]| json!({ "hosts": hosts, "base_path": "/v1", "upstream": "u" });
    let routes = [
        ("exact", json!({ "path": "/exact" })),
        ("template", json!({ "path": "/t/{a}/{b}" })),
        ("expression", json!({ "path": { "regex": "/e/[a-z]+" } })),
        ("prefix", json!({ "path": { "prefix": "/p" } })),
        (
            "query",
            json!({ "path": "/q", "query": { "a b": { "regex": "x y" } }, "headers": { "h": "1" } }),
        ),
        ("post", json!({ "path": "/m", "methods": ["POST", "PUT", "PATCH"] })),
        ("get", json!({ "path": "/m", "methods": ["GET"] })),
    ];
    insert(&mut table, "a", head(&["a.test", "*.a.test"]), &routes);
    insert(&mut table, "b", head(&[]), &[("crowd", json!({ "path": "/crowd/{x}" }))]);
    insert(&mut table, "c", head(&[]), &[]);
    let mut headers = HeaderMap::new();
    headers.insert("h", "1".parse().unwrap());
    let paths = [
        "/v1/exact",
        "/v1/t/1/2",
        "/v1/e/abc",
        "/v1/p/x/y",
        "/v1/q",
        "/v1/m",
        "/v1/crowd/1",
        "/v1/other",
    ];
    for path in paths {
        for host in ["a.test", "X.Y.a.Test:8080"] {
            let search = || {
                let target = Target::parse(path, EncodedSlash::Refuse).unwrap();
                let input = MatchInput {
                    host,
                    path: target.path(),
                    query: Some("z=1&a+b=x%20y"),
                    method: &Method::GET,
                    headers: &headers,
                };
                matches!(table.find(&input), Found::Route(_))
            };
            // An expression makes its scratch space the first time.
            assert!(search(), "{path}");
            assert_eq!(allocations::during(search), (true, 0), "{host}{path}");
        }
    }
}
