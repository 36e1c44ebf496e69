//! Paths of requests: what is taken is unambiguous, in normal form, and safe to search for.
#![no_main]

use std::sync::{Arc, LazyLock};

use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tollgate_data_plane::route::{
    ApiRoutes, EncodedSlash, Found, MatchInput, RouteTable, Target, Verdict,
};
use tollgate_model::api::Api;
use tollgate_model::{FromText, Kind, Name, ResourceId, parse};

static TABLE: LazyLock<RouteTable<usize>> = LazyLock::new(|| {
    let mut table = RouteTable::default();
    let matches = [
        json!({ "path": "/a/b" }),
        json!({ "path": "/a/{x}" }),
        json!({ "path": "/{x}/b/{y}/" }),
        json!({ "path": { "prefix": "/a/b" } }),
        json!({ "path": { "regex": "/[ab]+(/%2F.*)?" }, "query": { "q": "1" } }),
        json!({ "path": { "prefix": "/b" }, "methods": ["POST"] }),
    ];
    for (number, base_path) in ["/", "/a", "/a/b", "/a"].into_iter().enumerate() {
        let head = json!({
            "base_path": base_path, "upstream": "u",
        });
        let mut api: Api = parse::value(&head).unwrap();
        let route =
            |(i, matches)| parse::value(&json!({ "name": format!("r{i}"), "match": matches }));
        api.routes =
            matches.iter().enumerate().skip(number).map(|one| route(one).unwrap()).collect();
        let name = Name::from_text(&format!("api{number}")).unwrap();
        let id = ResourceId::new(Kind::Api, Name::default_name(), name);
        let routes = Arc::new(ApiRoutes::build(&api, |_, i| number * 100 + i));
        table.insert(&id, &[], &api.base_path, &routes);
    }
    table
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for encoded_slash in [EncodedSlash::Refuse, EncodedSlash::Allow] {
        let Ok(target) = Target::parse(text, encoded_slash) else { continue };
        let path = target.path();
        assert!(path.starts_with('/') && !path.contains("//"));
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\?#".contains(&byte)));
        assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
        assert!(!path.contains("%00"));
        if encoded_slash == EncodedSlash::Refuse {
            assert!(!path.contains("%2F") && !path.contains("%5C"));
        }
        let again = Target::parse(path, encoded_slash).expect("a normal form is a path");
        assert_eq!(again.path(), path);
        let (method, headers) = (Method::GET, HeaderMap::new());
        let input = MatchInput {
            host: "a.test",
            path,
            query: Some(text),
            method: &method,
            headers: &headers,
        };
        let explained = TABLE.explain(&input);
        let won = explained.iter().find(|one| one.verdict == Verdict::Won).map(|one| *one.payload);
        match TABLE.find(&input) {
            Found::Route(found) => {
                assert_eq!(won, Some(*found.payload()));
                assert!(
                    path.starts_with(found.base_path()) && path.ends_with(found.rest())
                        || found.rest() == "/"
                );
                for (_, value) in found.parameters() {
                    assert!(!value.is_empty() && !value.contains('/'));
                }
            }
            Found::MethodNotAllowed { allow } => assert!(won.is_none() && !allow.is_empty()),
            Found::NoRoute => assert!(won.is_none()),
        }
    }
});
