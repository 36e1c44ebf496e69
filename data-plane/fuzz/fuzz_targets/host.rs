//! Hosts of requests: one form for each, and the sites that a plain reading of the patterns gives.
#![no_main]

use std::sync::{Arc, LazyLock};

use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tollgate_data_plane::route::{ApiRoutes, Found, HostName, MatchInput, RouteTable};
use tollgate_model::api::Api;
use tollgate_model::{FromText, Kind, Name, ResourceId, parse};

/// In order of precedence.
const PATTERNS: [&str; 6] = ["a", "a.b", "a.b.c", "*.a.b", "*.a", "*.b"];

static TABLE: LazyLock<RouteTable<&'static str>> = LazyLock::new(|| {
    let mut table = RouteTable::default();
    for (i, pattern) in PATTERNS.into_iter().enumerate() {
        let head = json!({
            "hosts": [pattern], "base_path": "/", "upstream": "u",
        });
        let api: Api = parse::value(&head).unwrap();
        let name = Name::from_text(&format!("api{i}")).unwrap();
        let id = ResourceId::new(Kind::Api, Name::default_name(), name);
        let routes = Arc::new(ApiRoutes::build(&api, |_, _| pattern));
        table.insert(&id, &api.hosts, &api.base_path, &routes);
    }
    table
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(authority) = std::str::from_utf8(bytes) else { return };
    let host = HostName::parse(authority);
    let name = host.as_str();
    assert!(name.len() <= 253 && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
    assert!(name.starts_with('[') || !name.contains(':'));
    let (method, headers) = (Method::GET, HeaderMap::new());
    let input =
        MatchInput { host: authority, path: "/", query: None, method: &method, headers: &headers };
    let expected = PATTERNS.into_iter().find(|pattern| match pattern.strip_prefix('*') {
        Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
        None => name == *pattern,
    });
    match TABLE.find(&input) {
        Found::Route(found) => assert_eq!(expected, Some(*found.payload())),
        Found::MethodNotAllowed { .. } => unreachable!("no route names a method"),
        Found::NoRoute => assert_eq!(expected, None),
    }
});
