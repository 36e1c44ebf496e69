//! Resources of any content: what is refused is named, what is accepted runs, and nothing of it can
//! bring the node down or change what the others do.
#![no_main]

use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tollgate_data_plane::plan::{Configurator, Update};
use tollgate_data_plane::route::{EncodedSlash, Found, MatchInput, Target};
use tollgate_model::{Issues, Name};
use tollgate_proto::v1;

const KINDS: [&str; 10] = [
    "Api",
    "Upstream",
    "PolicySet",
    "Gateway",
    "Tenant",
    "Application",
    "Credential",
    "Secret",
    "Other",
    "Certificate",
];

fn resource(kind: &str, name: &str, version: u64, spec: &[u8]) -> v1::Resource {
    v1::Resource {
        kind: kind.to_owned(),
        tenant: "default".to_owned(),
        name: name.to_owned(),
        version,
        spec: spec.to_vec().into(),
    }
}

/// Whether the API that every node here holds still answers.
fn answers(node: &Configurator) -> bool {
    let target = Target::parse("/known/x", EncodedSlash::Refuse).unwrap();
    let input = MatchInput {
        host: "known.test",
        path: target.path(),
        query: None,
        method: &Method::GET,
        headers: &HeaderMap::new(),
    };
    matches!(node.plan().load().routes.find(&input), Found::Route(_))
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, spec)) = data.split_first() else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let upstream = json!({ "endpoints": [{ "url": "http://127.0.0.1:9" }] }).to_string();
    let api =
        json!({ "hosts": ["known.test"], "base_path": "/known", "upstream": "u" }).to_string();
    let mut node = Configurator::new(Name::default_name(), Box::new(|_, _| Issues::default()));
    let upserts = vec![
        resource("Upstream", "u", 1, upstream.as_bytes()),
        resource("Api", "known", 1, api.as_bytes()),
    ];
    node.apply(Update { is_whole: true, revision: 1, upserts, ..Update::default() });
    assert!(answers(&node));

    let upserts = vec![resource(kind, "fuzzed", 2, spec)];
    node.apply(Update { revision: 2, upserts, ..Update::default() });
    for rejection in node.rejections() {
        let id = rejection.id.unwrap();
        assert_eq!((id.kind.as_str(), id.name.as_str()), (kind, "fuzzed"));
        assert!(!rejection.issues.is_empty());
    }
    // An API may take a narrower place, or the same one; nothing else may touch what others answer.
    assert!(kind == "Api" || answers(&node));

    let removals = vec![v1::ResourceId {
        kind: kind.to_owned(),
        tenant: "default".to_owned(),
        name: "fuzzed".to_owned(),
    }];
    node.apply(Update { revision: 3, removals, ..Update::default() });
    assert!(node.rejections().is_empty() && answers(&node));
});
