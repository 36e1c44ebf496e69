//! `diff` and `validate`.

use crate::support::{FakeAdmin, Tollgate};

#[test]
fn diff_shows_each_resource_as_a_unified_diff_and_ends_with_1() {
    let admin = FakeAdmin::start();
    admin.on(
        "POST /changes",
        200,
        r#"{"revision": null, "dry_run": true, "changes": [
        {"op": "create", "kind": "Application", "tenant": "default", "name": "new"},
        {"op": "update", "kind": "Upstream", "tenant": "default", "name": "orders"},
        {"op": "update", "kind": "Secret", "tenant": "default", "name": "token"},
        {"op": "delete", "kind": "Application", "tenant": "default", "name": "old"}]}"#,
    );
    admin.on(
        "GET /tenants/default/upstreams/orders",
        200,
        r#"{"kind": "Upstream", "tenant": "default", "name": "orders", "version": 2,
        "spec": {"balance": "round_robin", "endpoints": [{"url": "http://127.0.0.1:9000"}]}}"#,
    );
    admin.on("GET /tenants/default/secrets/token", 200, r#"{"kind": "Secret", "tenant": "default", "name": "token", "version": 2, "spec": {"sealed": true}}"#);
    admin.on("GET /tenants/default/applications/old", 200, r#"{"kind": "Application", "tenant": "default", "name": "old", "version": 2, "spec": {"description": "old"}}"#);
    let tollgate = Tollgate::at(&admin);
    tollgate.file("a.yaml", "kind: Application\nname: new\nspec: {description: new}\n---\nkind: Upstream\nname: orders\nspec:\n  endpoints: [{url: http://127.0.0.1:9000}]\n  balance: least_request\n---\nkind: Secret\nname: token\nspec: {value: sk-hidden}\n");
    let run = tollgate.run(&["diff", "-f", "a.yaml", "--prune"]);
    assert!(!run.all().contains("sk-hidden"));
    insta::assert_snapshot!(run.all());
}

#[test]
fn diff_ends_with_0_where_nothing_differs() {
    let admin = FakeAdmin::start();
    admin.on("POST /changes", 200, r#"{"revision": null, "dry_run": true, "changes": [{"op": "unchanged", "kind": "Application", "tenant": "default", "name": "a"}]}"#);
    let tollgate = Tollgate::at(&admin);
    assert_eq!(
        tollgate
            .run_with_input(&["diff", "-f", "-"], "{kind: Application, name: a, spec: {}}")
            .done(),
        ""
    );
}

#[test]
fn two_revisions_are_compared_too() {
    let admin = FakeAdmin::start();
    admin.on(
        "GET /revisions/3/diff/5",
        200,
        r#"{"changes": [{"op": "update", "kind": "Application", "tenant": "default", "name": "a",
        "before": {"description": "one"}, "after": {"description": "two"}}]}"#,
    );
    insta::assert_snapshot!(Tollgate::at(&admin).run(&["diff", "3", "5"]).all());
}

#[test]
fn validate_needs_no_server_and_names_every_fault() {
    let tollgate = Tollgate::new();
    tollgate.file("a.yaml", "kind: Upstream\nname: a\nspec:\n  endpoints: [{url: 127.0.0.1}]\n  balanse: x\n---\nkind: Api\nname: b\nspec:\n  base_path: /b\n  upstream: a\n  routes:\n    - {name: one, match: {path: /x}}\n    - {name: two, match: {path: /x}}\n");
    insta::assert_snapshot!(tollgate.run(&["validate", "-f", "a.yaml"]).all());
}

#[test]
fn validate_tells_what_only_the_control_plane_can_know() {
    let tollgate = Tollgate::new();
    tollgate.file(
        "a.yaml",
        "kind: Credential\nname: a\nspec: {application: shop, api_key: {value: sk-shop-0001}}\n",
    );
    insta::assert_snapshot!(tollgate.run(&["validate", "-f", "a.yaml"]).all());
}
