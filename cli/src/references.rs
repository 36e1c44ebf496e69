//! Which resources a resource names; `tollgate_policy::check` knows.

use std::collections::BTreeSet;

use serde_json::Value;
use tollgate_model::{Document, Name, ResourceId};
use tollgate_policy::check::check;

use crate::get::written;
use crate::secrets;

/// Every resource that one of the control plane's resources names, in order. None where this
/// version of the program cannot read it.
#[must_use]
pub(crate) fn of(resource: &Value) -> Option<(ResourceId, BTreeSet<ResourceId>)> {
    let mut written = written(resource);
    secrets::unseal(&mut written);
    let document = Document::parse(&written, &Name::default_name()).ok()?;
    let checked = check(&document, 0).ok()?;
    // Every resource needs its tenant; that is told by its name.
    let named = checked.references.into_iter().filter(|reference| reference.at != "/tenant");
    Some((document.id, named.map(|reference| reference.to).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(resource: &Value) -> Vec<String> {
        of(resource).unwrap().1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_api_names_gateway_upstreams_sets_and_secrets() {
        let resource = json!({"kind": "Api", "tenant": "acme", "name": "a", "version": 3, "spec": {
            "gateway": "edge", "upstream": "orders", "base_path": "/",
            "policies": [{"policy_set": "base"}, {"headers": {"request": {"set": {"authorization": "Bearer {secret.token} {{secret.no}}"}}}}],
            "routes": [{"name": "a", "upstream": "items", "policies": [{"policy_set": "strict"}]}],
        }});
        assert_eq!(
            named(&resource),
            [
                "Gateway default/edge",
                "Secret acme/token",
                "Upstream acme/items",
                "Upstream acme/orders",
                "PolicySet acme/base",
                "PolicySet acme/strict"
            ]
        );
    }

    #[test]
    fn what_is_sealed_still_names_what_it_names() {
        let resource = json!({"kind": "Credential", "tenant": "acme", "name": "c", "spec": {"application": "shop", "api_key": {"hint": "sk-s"}}});
        assert_eq!(named(&resource), ["Application acme/shop"]);
    }
}
