//! Any APIs, changes and requests, near enough to each other that they meet.

use http::{HeaderMap, Method};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::published::{Published, Request};

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

pub(crate) fn any_apis() -> impl Strategy<Value = Vec<Published>> {
    (any_spread(), 0..14_usize)
        .prop_flat_map(|(spread, count)| (0..count).map(|i| any_api(spread, i)).collect::<Vec<_>>())
}

/// Two versions each of nine APIs.
pub(crate) fn any_versions() -> impl Strategy<Value = Vec<Vec<Published>>> {
    any_spread().prop_flat_map(|spread| {
        (0..9).map(|i| prop::collection::vec(any_api(spread, i), 2)).collect::<Vec<_>>()
    })
}

pub(crate) fn any_request() -> impl Strategy<Value = Request> {
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
