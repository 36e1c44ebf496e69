//! `describe`, `delete`, `export`, `history`, `show`, `rollback`, `nodes` and `status`.

use serde_json::{Value, json};

use crate::support::{FakeAdmin, Tollgate};
use crate::{API, list};

const REVISIONS: &str = r#"{"items": [
    {"number": 12, "at": "2026-05-02T10:00:00Z", "actor": "root", "message": "raise the limit", "changes": [{"op": "update", "kind": "Api", "tenant": "default", "name": "orders"}]},
    {"number": 11, "at": "2026-05-01T10:00:00Z", "actor": "ci", "message": null, "changes": [
        {"op": "create", "kind": "Api", "tenant": "default", "name": "orders"}, {"op": "create", "kind": "Upstream", "tenant": "default", "name": "orders"},
        {"op": "delete", "kind": "Upstream", "tenant": "default", "name": "older"}]}], "next": null}"#;

const STATUS: &str = r#"{"revision": 12, "epoch": "e", "nodes": {"total": 3, "connected": 3, "current": 3}, "resources": [
    {"kind": "Api", "tenant": "default", "name": "orders", "state": "rejected", "nodes": [
        {"node": "node-c", "state": "rejected", "issues": [{"at": "/spec/policies/1", "code": "unknown_policy", "problem": "`rate_limit` is not a policy here"}]},
        {"node": "node-b", "state": "pending", "issues": []}]}]}"#;

#[test]
fn a_resource_is_described_with_references_revisions_and_nodes() {
    let admin = FakeAdmin::start();
    admin.on("GET /tenants/default/apis/orders", 200, API);
    admin.on("GET /export", 200, &format!(r#"{{"revision": 12, "items": [{API}]}}"#));
    admin.on("GET /revisions", 200, REVISIONS);
    admin.on("GET /status", 200, STATUS);
    let tollgate = Tollgate::at(&admin);
    insta::assert_snapshot!(tollgate.run(&["describe", "api", "orders"]).done());
    assert!(admin.received().iter().any(|request| request.line
        == "GET /api/v1/revisions?limit=5&kind=Api&tenant=default&name=orders"));
}

#[test]
fn who_refers_to_a_resource_is_described() {
    let admin = FakeAdmin::start();
    admin.on("GET /tenants/default/upstreams/orders", 200, r#"{"kind": "Upstream", "tenant": "default", "name": "orders", "spec": {"endpoints": [{"url": "http://a"}]}}"#);
    admin.on("GET /export", 200, &format!(r#"{{"revision": 12, "items": [{API}]}}"#));
    admin.on("GET /revisions", 200, &list(&[]));
    admin.on(
        "GET /status",
        200,
        r#"{"revision": 12, "nodes": {"total": 1, "connected": 1, "current": 1}, "resources": []}"#,
    );
    let described: Value = serde_json::from_str(
        &Tollgate::at(&admin).run(&["describe", "upstream", "orders", "-o", "json"]).done(),
    )
    .unwrap();
    assert_eq!(
        described["referred_to_by"],
        json!([{"kind": "Api", "tenant": "default", "name": "orders"}])
    );
    assert_eq!(described["state"], "applied");
}

#[test]
fn revisions_are_listed_newest_first() {
    let admin = FakeAdmin::start();
    admin.on("GET /revisions", 200, REVISIONS);
    insta::assert_snapshot!(Tollgate::at(&admin).run(&["history"]).done());
}

#[test]
fn a_revision_is_shown_with_its_changes() {
    let admin = FakeAdmin::start();
    admin.on("GET /revisions/12", 200, r#"{"number": 12, "at": "2026-05-02T10:00:00Z", "actor": "root", "message": "raise the limit", "changes": [
        {"op": "update", "kind": "Api", "tenant": "default", "name": "orders", "before": {"spec": {"limit": 1}}, "after": {"spec": {"limit": 2}}},
        {"op": "create", "kind": "Application", "tenant": "default", "name": "a", "before": null, "after": {"spec": {}}}]}"#);
    insta::assert_snapshot!(Tollgate::at(&admin).run(&["show", "12"]).done());
}

#[test]
fn rolling_back_makes_a_revision() {
    let admin = FakeAdmin::start();
    admin.on("POST /revisions/11/rollback", 200, r#"{"revision": 13, "changes": [{"op": "update", "kind": "Api", "tenant": "default", "name": "orders"}]}"#);
    insta::assert_snapshot!(Tollgate::at(&admin).run(&["rollback", "11", "-m", "too many"]).done());
    assert_eq!(admin.posted("/revisions/11/rollback"), [json!({"message": "too many"})]);
}

#[test]
fn deleting_can_be_bound_to_a_revision() {
    let admin = FakeAdmin::start();
    admin.on(
        "DELETE /tenants/default/apis/orders",
        200,
        r#"{"revision": 14, "result": "deleted"}"#,
    );
    let out = Tollgate::at(&admin)
        .run(&["delete", "api", "orders", "--if-revision", "12", "-m", "away"])
        .done();
    assert_eq!(out, "deleted Api default/orders in revision 14\n");
    let sent = admin.received().pop().unwrap();
    assert_eq!(
        (sent.line.as_str(), sent.headers["if-match"].as_str()),
        ("DELETE /api/v1/tenants/default/apis/orders?message=away", "\"12\"")
    );
}

#[test]
fn export_is_one_resource_file_that_validates() {
    let admin = FakeAdmin::start();
    let secret = r#"{"kind": "Secret", "tenant": "acme", "name": "s", "spec": {"sealed": true}, "version": 1}"#;
    let tenant = r#"{"kind": "Tenant", "tenant": "default", "name": "acme", "spec": {"hosts": ["a.test"]}, "version": 1}"#;
    admin.on(
        "GET /export",
        200,
        &format!(r#"{{"revision": 12, "items": [{tenant}, {secret}, {API}]}}"#),
    );
    let tollgate = Tollgate::at(&admin);
    let yaml = tollgate.run(&["export"]).done();
    insta::assert_snapshot!(yaml);
    tollgate.file("all.yaml", &yaml);
    tollgate.run(&["validate", "-f", "all.yaml"]).done();
}

#[test]
fn nodes_are_listed_with_what_they_run() {
    let admin = FakeAdmin::start();
    admin.on("GET /nodes", 200, &list(&[
        r#"{"name": "node-a", "gateway": "default", "build": "0.0.0", "connected": true, "revision": 12, "lag": 0, "last_seen_at": "2026-05-02T10:00:00Z", "open_connections": 7, "resident_bytes": 20000000, "rejected": []}"#,
        r#"{"name": "node-b", "gateway": "default", "build": "0.0.0", "connected": true, "revision": 11, "lag": 1, "last_seen_at": "2026-05-02T10:00:00Z", "rejected": []}"#,
        r#"{"name": "node-c", "gateway": "edge", "connected": false, "rejected": []}"#,
    ]));
    insta::assert_snapshot!(Tollgate::at(&admin).run(&["nodes"]).done());
}

#[test]
fn status_says_which_node_refuses_what_and_why() {
    let admin = FakeAdmin::start();
    admin.on("GET /status", 200, STATUS);
    let tollgate = Tollgate::at(&admin);
    insta::assert_snapshot!(tollgate.run(&["status"]).done());
    assert_eq!(tollgate.run(&["status", "--wait"]).status, 1);
}

#[test]
fn status_waits_until_every_node_is_current() {
    let admin = FakeAdmin::start();
    admin.on(
        "GET /status",
        200,
        r#"{"revision": 12, "nodes": {"total": 2, "connected": 2, "current": 1}, "resources": []}"#,
    );
    admin.on(
        "GET /status",
        200,
        r#"{"revision": 12, "nodes": {"total": 2, "connected": 2, "current": 2}, "resources": []}"#,
    );
    let out = Tollgate::at(&admin).run(&["status", "--wait=30s"]).done();
    assert_eq!(
        out,
        "revision 12: 2 nodes, 2 connected, 2 current\nevery resource is applied on every connected node\n"
    );
}

#[test]
fn purging_says_which_nodes_have_done_it() {
    let admin = FakeAdmin::start();
    admin.on("GET /whoami", 200, r#"{"name": "root", "role": "admin", "tenant": null}"#);
    admin.on("POST /tenants/default/purges", 201, r#"{"number": 7}"#);
    let tollgate = Tollgate::at(&admin);
    let told = tollgate.run(&["purge", "tag", "item-7"]).done();
    assert_eq!(told, "the nodes are told to purge it\n");
    let behind =
        r#"{"number": 8, "purged": {"nodes_total": 3, "nodes_purged": 2, "pending": ["node-c"]}}"#;
    admin.on("POST /tenants/default/purges", 201, behind);
    let waited = tollgate.run(&["purge", "url", "http://api.shop.test/a", "--wait=1s"]);
    insta::assert_snapshot!(waited.all());
    let sent = admin.posted("/tenants/default/purges");
    assert_eq!(sent, [json!({"tag": "item-7"}), json!({"url": "http://api.shop.test/a"})]);
    admin.on("GET /tenants/default/purges", 200, r#"{"items": [
        {"number": 8, "at": "2026-05-02T10:00:00Z", "actor": "root", "url": "http://api.shop.test/a"},
        {"number": 7, "at": "2026-05-01T10:00:00Z", "actor": "ci", "tag": "item-7"}], "next": null}"#);
    insta::assert_snapshot!(tollgate.run(&["purge", "list"]).done());
}
