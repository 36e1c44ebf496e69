//! One resource: every fault at once, each at its place.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use tollgate_model::file::{describe, documents};
use tollgate_model::{Document, Issues, Kind, Name};
use tollgate_policy::check::{self, Checked, Item};

fn check(text: &str) -> Result<Checked, Issues> {
    let located = documents(text).unwrap().remove(0);
    let document = Document::parse(&located.value, &Name::default_name()).unwrap();
    check::check(&document, 7)
}

/// The faults as an operator sees them: with the line of the file.
fn faults(text: &str) -> String {
    let located = documents(text).unwrap().remove(0);
    let document = Document::parse(&located.value, &Name::default_name()).unwrap();
    let issues = check::check(&document, 0).err().unwrap();
    let lines: Vec<String> =
        issues.0.iter().map(|issue| describe("orders.yaml", &located, issue)).collect();
    lines.join("\n")
}

#[test]
fn every_fault_of_every_policy_is_named_at_once() {
    insta::assert_snapshot!(faults(
        "
kind: Api
name: orders
spec:
  base_path: /orders
  upstream: orders
  policies:
    - api_key: {optional: maybe}
    - rate_limit: {limit: 0, window: 1m, by: nobody}
    - rate_limits: {}
    - headers: {request: {set: {host: x}}}
  routes:
    - name: item
      match: {path: '/items/{id}'}
      policies:
        - headers: {response: {set: {x-item: '{path.name}'}}}
        - policy_set: Not A Name
    - name: list
      policies:
        - headers: {response: {set: {x-item: '{path.id}'}}}
"
    ));
}

#[test]
fn faults_of_the_specification_do_not_hide_those_of_its_policies() {
    insta::assert_snapshot!(faults(
        "
kind: Api
name: orders
spec:
  base_path: orders
  upstreams: orders
  policies:
    - {api_key: {}, headers: {}}
    - api_key: {optional: 1}
  routes:
    - name: item
      match: {path: '/items/{id}', methods: [get]}
      policies:
        - headers: {response: {set: {x-item: '{path.id}', x-other: '{path.other}'}}}
"
    ));
}

#[test]
fn two_limits_of_one_list_need_names_of_their_own() {
    insta::assert_snapshot!(faults(
        "
kind: Api
name: orders
spec:
  base_path: /orders
  upstream: orders
  policies:
    - rate_limit: {limit: 10, window: 1s}
    - rate_limit: {limit: 100, window: 1m}
    - rate_limit: {limit: 1000, window: 1h, name: hour}
"
    ));
}

#[test]
fn what_runs_before_it_is_known_who_calls_cannot_stand_at_an_application() {
    insta::assert_snapshot!(faults(
        "
kind: Application
name: web-shop
spec:
  policies:
    - api_key: {}
    - rate_limit: {limit: 10, window: 1s}
"
    ));
}

#[test]
fn sets_do_not_hold_sets_and_gateways_hold_none() {
    for kind in ["PolicySet", "Gateway"] {
        let text = format!("{{kind: {kind}, name: a, spec: {{policies: [{{policy_set: b}}]}}}}");
        let issues = check(&text).err().unwrap();
        let [issue] = &issues.0[..] else { panic!("{issues}") };
        assert_eq!(
            (issue.at.as_str(), issue.code.as_str()),
            ("/spec/policies/0/policy_set", "nested_policy_set")
        );
    }
}

#[test]
fn what_is_named_becomes_a_reference_with_its_place() {
    let checked = check(
        "
kind: Api
tenant: shop
name: orders
spec:
  gateway: edge
  base_path: /orders
  upstream: orders
  policies:
    - policy_set: standard
    - headers: {request: {set: {authorization: 'Bearer {secret.token}'}}}
  routes:
    - {name: item, upstream: items, policies: [{policy_set: strict}]}
",
    )
    .ok()
    .unwrap();
    let references: Vec<String> = checked
        .references
        .iter()
        .map(|reference| format!("{} -> {}", reference.at, reference.to))
        .collect();
    assert_eq!(
        references,
        [
            "/tenant -> Tenant default/shop",
            "/spec/gateway -> Gateway default/edge",
            "/spec/upstream -> Upstream shop/orders",
            "/spec/routes/0/upstream -> Upstream shop/items",
            "/spec/policies/0/policy_set -> PolicySet shop/standard",
            "/spec/policies/1/headers -> Secret shop/token",
            "/spec/routes/0/policies/0/policy_set -> PolicySet shop/strict",
        ]
    );
    assert_eq!((checked.version, checked.policies.len(), checked.route_policies.len()), (7, 2, 1));
}

#[test]
fn a_tenants_sets_and_secrets_are_those_of_the_tenant_itself() {
    let checked = check("{kind: Tenant, name: shop, spec: {policies: [{policy_set: standard}]}}")
        .ok()
        .unwrap();
    let [reference] = &checked.references[..] else { panic!("one reference") };
    assert_eq!(reference.to.to_string(), "PolicySet shop/standard");
    assert!(matches!(&checked.policies[..], [Item::Set(_)]));
}

#[test]
fn a_counter_is_named_after_its_place_and_not_after_its_numbers() {
    let id_of = |limit: u64| {
        let text = format!(
            "{{kind: Api, name: orders, spec: {{base_path: /, upstream: u, routes: [{{name: item, policies: [{{rate_limit: {{limit: {limit}, window: 1m}}}}]}}]}}}}"
        );
        let checked = check(&text).ok().unwrap();
        let Item::Policy(policy) = &checked.route_policies[0][0] else { panic!("a policy") };
        policy.own_name().unwrap().to_owned()
    };
    assert_eq!(id_of(1), id_of(2));
    assert_eq!(id_of(1), "Api/default/orders/item/rate_limit/default");
}

#[test]
fn the_schema_of_every_kind_is_a_schema() {
    for kind in Kind::ALL {
        let schema = check::schema(kind);
        assert!(jsonschema::meta::is_valid(&schema), "{kind}");
        assert!(jsonschema::validator_for(&schema).is_ok(), "{kind}");
    }
}
