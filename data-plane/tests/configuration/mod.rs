//! A configuration of as many routes as are asked for, as a node gets it. For tests and benchmarks.

use serde_json::{Value, json};
use tollgate_data_plane::plan::{Configurator, Update};
use tollgate_model::{Issues, Name};
use tollgate_proto::v1;

pub(crate) fn resource(kind: &str, name: &str, version: u64, spec: &Value) -> v1::Resource {
    v1::Resource {
        kind: kind.to_owned(),
        tenant: "default".to_owned(),
        name: name.to_owned(),
        version,
        spec: serde_json::to_vec(spec).unwrap().into(),
    }
}

/// An API of one route with a policy, on one of a hundred hosts.
pub(crate) fn api(i: usize, version: u64) -> v1::Resource {
    let mark = json!({ "response": { "set": { "x-mark": version.to_string() } } });
    let spec = json!({
        "hosts": [format!("h{}.shop.test", i % 100)],
        "base_path": format!("/api-{i:05}"),
        "upstream": "orders",
        "routes": [{
            "name": "all",
            "match": { "path": { "prefix": "/items" } },
            "policies": [{ "headers": mark }],
        }],
    });
    resource("Api", &format!("api-{i:05}"), version, &spec)
}

/// One upstream, and so many APIs.
pub(crate) fn whole(apis: usize) -> Update {
    let endpoints = json!({ "endpoints": [{ "url": "http://127.0.0.1:9" }] });
    let upstream = resource("Upstream", "orders", 1, &endpoints);
    let upserts = std::iter::once(upstream).chain((0..apis).map(|i| api(i, 1))).collect();
    Update { is_whole: true, revision: 1, upserts, ..Update::default() }
}

/// A node's configurator that runs a configuration.
pub(crate) fn running(whole: Update) -> Configurator {
    let mut node = Configurator::new(Name::default_name(), Box::new(|_, _| Issues::default()));
    node.apply(whole);
    assert_eq!(node.rejections(), []);
    node
}
