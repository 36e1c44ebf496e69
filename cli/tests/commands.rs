//! The built command against a scripted admin server: what it prints, what it sends, how it ends.

mod support;

use serde_json::{Value, json};
use support::{FakeAdmin, Tollgate};

const ORDERS: &str = include_str!("../../examples/orders.yaml");

const API: &str = r#"{"kind": "Api", "tenant": "default", "name": "orders", "labels": {"team": "shop"},
    "spec": {"version": "v1", "hosts": ["api.shop.test"], "base_path": "/orders", "upstream": "orders",
             "policies": [{"api_key": {}}, {"rate_limit": {"limit": 100, "window": "1m"}}],
             "routes": [{"name": "list", "match": {"path": "/items"}}]},
    "version": 12, "created_at": "2026-05-01T10:00:00Z", "updated_at": "2026-05-02T10:00:00Z", "managed_by": "cli"}"#;

fn list(items: &[&str]) -> String {
    format!(r#"{{"items": [{}], "next": null}}"#, items.join(","))
}

// -- get ---------------------------------------------------------------------------------------

#[test]
fn a_kind_is_listed_as_a_table() {
    let admin = FakeAdmin::start();
    admin.on("GET /tenants/default/apis", 200, &list(&[API]));
    insta::assert_snapshot!(Tollgate::at(&admin).run(&["get", "apis"]).done());
}

#[test]
fn an_upstreams_table_names_its_endpoints() {
    let admin = FakeAdmin::start();
    let upstream = r#"{"kind": "Upstream", "tenant": "default", "name": "orders", "version": 3, "managed_by": "console",
        "spec": {"endpoints": [{"url": "http://a:1"}, {"url": "http://b:1"}, {"url": "http://c:1"}, {"url": "http://d:1"}]}}"#;
    admin.on("GET /tenants/default/upstreams", 200, &list(&[upstream]));
    insta::assert_snapshot!(Tollgate::at(&admin).run(&["get", "Upstream"]).done());
}

#[test]
fn what_comes_out_as_yaml_goes_in_again() {
    let admin = FakeAdmin::start();
    admin.on("GET /tenants/default/apis/orders", 200, API);
    let tollgate = Tollgate::at(&admin);
    let yaml = tollgate.run(&["get", "api", "orders", "-o", "yaml"]).done();
    insta::assert_snapshot!(yaml);
    tollgate.file("orders.yaml", &yaml);
    tollgate.run(&["validate", "-f", "orders.yaml"]).done();
}

#[test]
fn a_long_list_is_fetched_page_by_page() {
    let admin = FakeAdmin::start();
    admin.on(
        "GET /tenants/default/applications",
        200,
        r#"{"items": [{"name": "a"}], "next": "p 2"}"#,
    );
    admin.on(
        "GET /tenants/default/applications",
        200,
        r#"{"items": [{"name": "b"}], "next": null}"#,
    );
    let names: Value = serde_json::from_str(
        &Tollgate::at(&admin).run(&["get", "applications", "-o", "json"]).done(),
    )
    .unwrap();
    assert_eq!(names, json!({"items": [{"name": "a"}, {"name": "b"}]}));
    let lines: Vec<String> = admin.received().into_iter().map(|request| request.line).collect();
    assert_eq!(
        lines[1..],
        [
            "GET /api/v1/tenants/default/applications?limit=500".to_owned(),
            "GET /api/v1/tenants/default/applications?limit=500&cursor=p+2".to_owned(),
        ]
    );
}

#[test]
fn tenant_and_filters_go_to_the_server_and_the_platforms_kinds_have_no_tenant() {
    let admin = FakeAdmin::start();
    admin.on("GET /tenants/acme/apis", 200, &list(&[]));
    admin.on("GET /tenants/default/tenants", 200, &list(&[]));
    let tollgate = Tollgate::at(&admin);
    let none =
        tollgate.run(&["get", "apis", "--tenant", "acme", "-l", "team=shop", "-q", "ord"]).done();
    assert_eq!(none, "no apis in tenant acme\n");
    tollgate.run(&["get", "tenants", "--tenant", "acme"]).done();
    let lines: Vec<String> = admin.received().into_iter().map(|request| request.line).collect();
    assert_eq!(
        lines,
        [
            "GET /api/v1/tenants/acme/apis?limit=500&q=ord&label=team%3Dshop",
            "GET /api/v1/tenants/default/tenants?limit=500"
        ]
    );
}

#[test]
fn what_would_steer_the_terminal_is_made_visible() {
    let admin = FakeAdmin::start();
    admin.on(
        "GET /tenants/default/applications",
        200,
        &list(&[r#"{"name": "a", "spec": {"description": "\u001b[2Jgone"}}"#]),
    );
    let table = Tollgate::at(&admin).run(&["get", "applications"]).done();
    assert!(table.contains("\\u{1b}[2Jgone") && !table.contains('\u{1b}'), "{table}");
}

// -- apply -------------------------------------------------------------------------------------

const APPLIED: &str = r#"{"revision": 7, "dry_run": false, "changes": [
    {"op": "create", "kind": "Upstream", "tenant": "default", "name": "orders"},
    {"op": "update", "kind": "Api", "tenant": "default", "name": "orders"},
    {"op": "unchanged", "kind": "Application", "tenant": "default", "name": "web-shop"},
    {"op": "delete", "kind": "Credential", "tenant": "default", "name": "old"}],
    "applied": {"revision": 7, "nodes_total": 3, "nodes_applied": 3, "pending": [], "rejected": []}}"#;

#[test]
fn apply_sends_all_documents_in_one_change_and_says_what_became_of_them() {
    let admin = FakeAdmin::start();
    admin.on("POST /changes", 200, APPLIED);
    let tollgate = Tollgate::at(&admin);
    tollgate.file("orders.yaml", ORDERS);
    insta::assert_snapshot!(
        tollgate.run(&["apply", "-f", "orders.yaml", "--wait", "-m", "first", "--prune"]).all()
    );
    let sent = admin.received().pop().unwrap();
    assert_eq!(sent.line, "POST /api/v1/changes?wait=applied&timeout=10000ms");
    assert_eq!(sent.headers["authorization"], "Bearer tga_test");
    assert_eq!(sent.body["message"], "first");
    assert_eq!(sent.body["managed_by"], "cli");
    assert_eq!(sent.body["dry_run"], false);
    assert_eq!(sent.body["prune"], json!({"managed_by": "cli", "tenants": ["default"]}));
    let names: Vec<&str> = sent.body["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Upstream", "Api", "Application", "Credential"]);
    assert!(
        sent.body["resources"].as_array().unwrap().iter().all(|one| one["tenant"] == "default")
    );
}

#[test]
fn documents_without_a_tenant_go_to_the_tokens_tenant() {
    let admin = FakeAdmin::start();
    admin.belongs_to("acme");
    admin.on("POST /changes", 200, r#"{"revision": null, "changes": []}"#);
    let tollgate = Tollgate::at(&admin);
    tollgate
        .run_with_input(&["apply", "-f", "-"], "{kind: Application, name: a, spec: {}}\n")
        .done();
    assert_eq!(admin.posted("/changes")[0]["resources"][0]["tenant"], "acme");
}

#[test]
fn secrets_are_looked_up_where_the_command_runs_and_never_printed() {
    let admin = FakeAdmin::start();
    admin.on("POST /changes", 200, r#"{"revision": 8, "changes": [{"op": "create", "kind": "Secret", "tenant": "default", "name": "a"}]}"#);
    let tollgate = Tollgate::at(&admin);
    tollgate.file("conf/secrets.yaml", "kind: Secret\nname: a\nspec: {from_env: UPSTREAM_TOKEN}\n---\nkind: Secret\nname: b\nspec: {from_file: token.txt}\n");
    tollgate.file("conf/token.txt", "from-a-file\n");
    let mut command = tollgate.command(&["apply", "-f", "conf"]);
    let run =
        tollgate.finish(command.env("UPSTREAM_TOKEN", "from-the-environment").output().unwrap());
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(!run.all().contains("from-"), "{}", run.all());
    let resources = &admin.posted("/changes")[0]["resources"];
    assert_eq!(resources[0]["spec"], json!({"value": "from-the-environment"}));
    assert_eq!(resources[1]["spec"], json!({"value": "from-a-file"}));
}

#[test]
fn secrets_that_cannot_be_looked_up_are_named_by_line_and_nothing_is_sent() {
    let admin = FakeAdmin::start();
    let tollgate = Tollgate::at(&admin);
    tollgate.file("secrets.yaml", "kind: Secret\nname: a\nspec:\n  from_env: NOT_SET\n---\nkind: Secret\nname: b\nspec: {from_file: none.txt}\n");
    insta::assert_snapshot!(tollgate.run(&["apply", "-f", "secrets.yaml"]).all());
    assert!(admin.posted("/changes").is_empty());
}

#[test]
fn faults_that_the_server_finds_are_named_by_file_and_line() {
    let admin = FakeAdmin::start();
    admin.on("POST /changes", 422, r#"{"type": "about:blank", "title": "Unprocessable", "status": 422, "code": "invalid", "issues": [
        {"at": "/resources/1/spec/routes/1/match/path", "code": "invalid_path", "problem": "`items` does not begin with `/`"},
        {"at": "/resources/1/spec/upstream", "code": "unknown_reference", "problem": "there is no Upstream default/orders"},
        {"at": "/resources/3", "code": "in_use", "problem": "is needed"},
        {"at": "/deletions/0", "code": "in_use", "problem": "is needed"}]}"#);
    let tollgate = Tollgate::at(&admin);
    tollgate.file("orders.yaml", ORDERS);
    insta::assert_snapshot!(tollgate.run(&["apply", "-f", "orders.yaml"]).all());
}

#[test]
fn faults_that_the_files_show_themselves_are_all_named_and_nothing_is_sent() {
    let admin = FakeAdmin::start();
    let tollgate = Tollgate::at(&admin);
    tollgate.file("a.yaml", "kind: Upstraem\nname: a\nspec: {}\n---\nkind: Application\nname: Web Shop\nspec: {}\nlables: {}\n---\nkind: Api\nname: b\nspec:\n  base_path: orders\n  upstream: x\n");
    insta::assert_snapshot!(tollgate.run(&["apply", "-f", "a.yaml"]).all());
    assert!(admin.received().is_empty());
}

#[test]
fn a_file_that_is_not_yaml_is_named_by_line() {
    let tollgate = Tollgate::new();
    tollgate.file("bad.yaml", "kind: Api\nname: [\n");
    tollgate.file("twice.yaml", "kind: Api\nkind: Api\n");
    let run = tollgate.run(&["apply", "-f", "bad.yaml", "twice.yaml", "none.yaml"]);
    insta::assert_snapshot!(run.all());
}

#[test]
fn waiting_ends_with_1_where_a_node_refuses_or_does_not_answer_and_says_why() {
    let admin = FakeAdmin::start();
    admin.on("POST /changes", 200, r#"{"revision": 9, "changes": [{"op": "update", "kind": "Api", "tenant": "default", "name": "orders"}],
        "applied": {"revision": 9, "nodes_total": 3, "nodes_applied": 1, "pending": ["node-b"], "rejected": [
            {"node": "node-c", "kind": "Api", "tenant": "default", "name": "orders", "issues": [
                {"at": "/spec/policies/1/rate_limit/mode", "code": "unknown_value", "problem": "`exact` is not a value here"}]}]}}"#);
    let tollgate = Tollgate::at(&admin);
    tollgate.file("orders.yaml", ORDERS);
    insta::assert_snapshot!(tollgate.run(&["apply", "-f", "orders.yaml", "--wait=2s"]).all());
    assert!(admin.received().pop().unwrap().line.ends_with("timeout=2000ms"));
    let run = tollgate.run(&["apply", "-f", "orders.yaml", "--wait=2s", "-o", "json"]);
    assert_eq!(run.status, 1);
    serde_json::from_str::<Value>(&run.stdout).unwrap();
}

#[test]
fn a_dry_run_changes_nothing_and_says_so() {
    let admin = FakeAdmin::start();
    admin.on("POST /changes", 200, r#"{"revision": null, "dry_run": true, "changes": [{"op": "create", "kind": "Upstream", "tenant": "default", "name": "orders"}]}"#);
    let tollgate = Tollgate::at(&admin);
    tollgate.file("orders.yaml", ORDERS);
    insta::assert_snapshot!(
        tollgate.run(&["apply", "-f", "orders.yaml", "--dry-run", "--wait"]).done()
    );
    assert_eq!(admin.posted("/changes")[0]["dry_run"], true);
    assert_eq!(admin.received().pop().unwrap().line, "POST /api/v1/changes");
}

#[test]
fn what_export_sealed_goes_back_as_it_came_for_the_control_plane_to_fill_in() {
    let admin = FakeAdmin::start();
    admin.on("POST /changes", 200, r#"{"revision": null, "changes": []}"#);
    let tollgate = Tollgate::at(&admin);
    tollgate.file("all.yaml", "kind: Secret\nname: a\nspec: {sealed: true}\n");
    tollgate.run(&["apply", "-f", "all.yaml"]).done();
    assert_eq!(admin.posted("/changes")[0]["resources"][0]["spec"], json!({"sealed": true}));
}

#[test]
fn what_another_manages_is_taken_over_only_by_force() {
    let admin = FakeAdmin::start();
    admin.on(
        "POST /changes",
        409,
        r#"{"title": "Conflict", "status": 409, "code": "managed_elsewhere", "detail": "is managed by `console`", "issues": [
            {"at": "/resources/0", "code": "managed_elsewhere", "problem": "Application default/a is managed by `console`; change it there, or take it over with `force`"}]}"#,
    );
    admin.on("POST /changes", 200, r#"{"revision": 3, "changes": []}"#);
    let tollgate = Tollgate::at(&admin);
    tollgate.file("a.yaml", "{kind: Application, name: a, spec: {}}\n");
    let run = tollgate.run(&["apply", "-f", "a.yaml"]);
    assert_eq!(
        (run.status, run.stderr.starts_with("a.yaml:1: Application default/a is managed")),
        (1, true),
        "{}",
        run.stderr
    );
    tollgate.run(&["apply", "-f", "a.yaml", "--force"]).done();
    let forced: Vec<Value> =
        admin.posted("/changes").into_iter().map(|body| body["force"].clone()).collect();
    assert_eq!(forced, [Value::Null, json!(true)]);
}

// -- diff, validate ----------------------------------------------------------------------------

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

// -- one resource, revisions, nodes ------------------------------------------------------------

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

// -- keys and tokens ---------------------------------------------------------------------------

#[test]
fn a_key_stands_alone_on_standard_output() {
    let admin = FakeAdmin::start();
    admin.on(
        "POST /tenants/default/applications/web-shop/keys",
        201,
        r#"{"credential": "web-shop-1", "key": "tg_abc_def"}"#,
    );
    admin.on(
        "POST /tenants/default/credentials/web-shop-1/rotate",
        200,
        r#"{"credential": {"name": "web-shop-2"}, "key": "tg_ghi_jkl"}"#,
    );
    let tollgate = Tollgate::at(&admin);
    let run = tollgate.run(&[
        "key",
        "create",
        "--application",
        "web-shop",
        "--name",
        "web-shop-1",
        "--expires",
        "2027-01-31T00:00:00Z",
    ]);
    assert_eq!(run.stderr, "key of credential web-shop-1; it is shown this once:\n");
    assert_eq!(run.done(), "tg_abc_def\n");
    assert_eq!(
        admin.posted("/tenants/default/applications")[0],
        json!({"name": "web-shop-1", "expires_at": "2027-01-31T00:00:00Z"})
    );
    let run = tollgate.run(&["key", "rotate", "web-shop-1", "--overlap", "1h"]);
    assert!(run.stderr.contains("web-shop-2"), "{}", run.stderr);
    assert_eq!(run.done(), "tg_ghi_jkl\n");
    assert_eq!(admin.posted("/tenants/default/credentials")[0], json!({"overlap": "1h"}));
}

#[test]
fn revoking_a_key_deletes_its_credential() {
    let admin = FakeAdmin::start();
    admin.on("DELETE /tenants/default/credentials/old", 204, "");
    assert_eq!(
        Tollgate::at(&admin).run(&["key", "revoke", "old"]).done(),
        "deleted Credential default/old\n"
    );
}

#[test]
fn join_tokens_are_made_listed_and_revoked() {
    let admin = FakeAdmin::start();
    admin.on(
        "POST /join-tokens",
        201,
        r#"{"id": "j1", "token": "tgj_secret", "expires_at": "2026-05-02T10:00:00Z"}"#,
    );
    admin.on(
        "GET /join-tokens",
        200,
        &list(&[
            r#"{"id": "j1", "gateway": "edge", "expires_at": "2026-05-02T10:00:00Z", "uses": 1, "use_limit": 3}"#,
        ]),
    );
    admin.on("DELETE /join-tokens/j1", 204, "");
    let tollgate = Tollgate::at(&admin);
    let made = tollgate.run(&[
        "node",
        "token",
        "create",
        "--gateway",
        "edge",
        "--ttl",
        "2h",
        "--uses",
        "3",
    ]);
    assert_eq!(made.done(), "tgj_secret\n");
    assert_eq!(admin.posted("/join-tokens")[0], json!({"gateway": "edge", "ttl": "2h", "uses": 3}));
    insta::assert_snapshot!(tollgate.run(&["node", "token", "list"]).done());
    assert_eq!(
        tollgate.run(&["node", "token", "revoke", "j1"]).done(),
        "join token j1 is revoked\n"
    );
}

#[test]
fn administrators_tokens_are_made_listed_and_revoked() {
    let admin = FakeAdmin::start();
    admin.on("POST /tokens", 201, r#"{"id": "t1", "token": "tga_secret"}"#);
    admin.on(
        "GET /tokens",
        200,
        &list(&[r#"{"id": "t1", "name": "ci", "role": "editor", "tenant": "acme"}"#]),
    );
    admin.on("DELETE /tokens/t1", 204, "");
    let tollgate = Tollgate::at(&admin);
    assert_eq!(
        tollgate.run(&["token", "create", "ci", "--role", "editor", "--only", "acme"]).done(),
        "tga_secret\n"
    );
    assert_eq!(
        admin.posted("/tokens")[0],
        json!({"name": "ci", "role": "editor", "tenant": "acme"})
    );
    insta::assert_snapshot!(tollgate.run(&["token", "list"]).done());
    assert_eq!(tollgate.run(&["token", "revoke", "t1"]).done(), "token t1 is revoked\n");
}

// -- contexts ----------------------------------------------------------------------------------

#[cfg(unix)]
#[test]
fn login_keeps_the_token_where_only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let admin = FakeAdmin::start();
    let tollgate = Tollgate::new();
    let out =
        tollgate.run_with_input(&["login", "prod", "--server", &admin.url()], "tga_kept\n").done();
    assert!(out.contains("as root (admin, all tenants); kept as context prod"), "{out}");
    let file = tollgate.home.path().join("tollgate/config.toml");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    admin.on("GET /nodes", 200, &list(&[]));
    tollgate.run(&["nodes"]).done();
    assert_eq!(admin.received().pop().unwrap().headers["authorization"], "Bearer tga_kept");
}

#[test]
fn a_token_that_is_refused_is_not_kept() {
    let admin = FakeAdmin::start();
    admin.on("GET /whoami", 401, r#"{"title": "Unauthorized", "status": 401, "detail": "the token is not known", "code": "unauthenticated"}"#);
    let tollgate = Tollgate::new();
    tollgate.run_with_input(&["login", "--server", &admin.url()], "tga_good\n").done();
    let run = tollgate.run_with_input(&["login", "other", "--server", &admin.url()], "tga_bad\n");
    assert_eq!(run.status, 1);
    assert!(
        !std::fs::read_to_string(tollgate.home.path().join("tollgate/config.toml"))
            .unwrap()
            .contains("tga_bad")
    );
}

#[test]
fn contexts_are_listed_and_shown_without_their_tokens() {
    let tollgate = Tollgate::new();
    for (name, server) in [("a", "http://a.test:9080"), ("b", "https://b.test/gate")] {
        tollgate
            .run(&[
                "context",
                "add",
                name,
                "--server",
                server,
                "--token",
                "tga_hidden",
                "--tenant",
                "acme",
            ])
            .done();
    }
    tollgate.run(&["context", "use", "b"]).done();
    let mut all = tollgate.run(&["context", "list"]).done();
    all += &tollgate.run(&["context", "show"]).done();
    all += &tollgate.run(&["context", "show", "a", "-o", "json"]).done();
    all += &tollgate.run(&["context", "remove", "b"]).all();
    all += &tollgate.run(&["context", "show"]).all();
    all += &tollgate.run(&["get", "apis", "--context", "c"]).all();
    assert!(!all.contains("tga_hidden"));
    insta::assert_snapshot!(all);
}

#[test]
fn a_flag_comes_before_the_variable_and_the_variable_before_the_context() {
    let (first, second) = (FakeAdmin::start(), FakeAdmin::start());
    for admin in [&first, &second] {
        admin.on("GET /nodes", 200, &list(&[]));
    }
    let tollgate = Tollgate::new();
    tollgate
        .run(&["context", "add", "a", "--server", &first.url(), "--token", "tga_context"])
        .done();
    let token = |admin: &FakeAdmin| {
        admin.received().pop().and_then(|request| request.headers.get("authorization").cloned())
    };
    tollgate.run(&["nodes"]).done();
    assert_eq!(token(&first).as_deref(), Some("Bearer tga_context"));
    tollgate
        .finish(
            tollgate.command(&["nodes"]).env("TOLLGATE_TOKEN", "tga_variable").output().unwrap(),
        )
        .done();
    assert_eq!(token(&first).as_deref(), Some("Bearer tga_variable"));
    let mut command = tollgate.command(&["nodes", "--token", "tga_flag"]);
    tollgate.finish(command.env("TOLLGATE_TOKEN", "tga_variable").output().unwrap()).done();
    assert_eq!(token(&first).as_deref(), Some("Bearer tga_flag"));
    // The context's token is for the context's server.
    tollgate.run(&["nodes", "--server", &second.url()]).done();
    assert_eq!((second.received().len(), token(&second)), (1, None));
}

// -- what goes wrong ---------------------------------------------------------------------------

#[test]
fn refusals_of_the_server_are_told_with_their_codes() {
    let admin = FakeAdmin::start();
    admin.on("GET /nodes", 401, r#"{"title": "Unauthorized", "status": 401, "detail": "the token is not known", "code": "unauthenticated"}"#);
    admin.on("GET /status", 503, r#"{"title": "Service Unavailable", "status": 503, "detail": "the store is away", "code": "store_unavailable", "request_id": "r-1"}"#);
    admin.on("DELETE /tenants/default/apis/orders", 412, r#"{"title": "Precondition Failed", "status": 412, "code": "changed_since",
        "detail": "the resource is at revision 13", "issues": [{"at": "", "code": "changed_since", "problem": "was changed by ci"}]}"#);
    let tollgate = Tollgate::at(&admin);
    let mut all = String::new();
    for verb in [
        ["nodes"].as_slice(),
        &["status"],
        &["delete", "api", "orders", "--if-revision", "12"],
        &["get", "api", "none"],
    ] {
        all += &tollgate.run(verb).all();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn where_nothing_listens_it_is_said_what_to_do() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let run = Tollgate::new().run(&["nodes", "--server", &server]);
    assert_eq!(run.status, 1);
    assert_eq!(
        run.stderr,
        format!(
            "error: no control plane answers at {server}: start one with `tollgate up`, or name another with --server\n"
        )
    );
}

#[test]
fn what_is_no_admin_api_is_told_apart() {
    let admin = FakeAdmin::start();
    admin.on_as("GET /nodes", 404, "text/html", "<html>");
    admin.on_as("GET /status", 200, "text/html", "<html>");
    admin.on_as("GET /revisions", 200, "application/json", r#"{"hello": "world"}"#);
    let tollgate = Tollgate::at(&admin);
    for verb in ["nodes", "status", "history"] {
        let run = tollgate.run(&[verb]);
        assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{verb}");
        assert!(
            run.stderr.contains("http://SERVER answers like no control plane"),
            "{verb}: {}",
            run.stderr
        );
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let tollgate = Tollgate::new();
    for arguments in [
        ["get", "apis", "--colour"].as_slice(),
        &["get", "apiz"],
        &["get", "apis", "Not A Name"],
        &["frobnicate"],
        &["apply"],
        &["apply", "-f", "a.yaml", "--wait=soon"],
        &["diff"],
        &["diff", "1"],
        &["diff", "1", "2", "-f", "a.yaml"],
        &["token", "create", "a", "--role", "king"],
        &["nodes", "--server", "127.0.0.1:9080"],
        &["nodes", "-o", "xml"],
        &["show", "latest"],
        &[],
    ] {
        let run = tollgate.run(arguments);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.is_empty(), "{arguments:?}");
    }
    let run = tollgate.run(&["get", "apiz"]);
    assert!(run.stderr.contains("did you mean `apis`?"), "{}", run.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Tollgate::new()
        .command(&["completion", "bash"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

// -- without a server --------------------------------------------------------------------------

#[test]
fn every_shell_gets_a_completion_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Tollgate::new().run(&["completion", shell]).done();
        assert!(script.contains("rollback"), "{shell}");
    }
}

#[test]
fn help_names_every_verb_and_never_the_token() {
    let tollgate = Tollgate::new();
    let help = tollgate
        .finish(tollgate.command(&["--help"]).env("TOLLGATE_TOKEN", "tga_hidden").output().unwrap())
        .done();
    for verb in [
        "echo",
        "login",
        "context",
        "apply",
        "diff",
        "validate",
        "export",
        "get",
        "describe",
        "delete",
        "history",
        "show",
        "rollback",
        "nodes",
        "node",
        "status",
        "key",
        "token",
        "completion",
        "version",
    ] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}");
    }
    assert!(!help.contains("tga_hidden"));
}

#[test]
fn the_version_is_told_in_every_format() {
    let tollgate = Tollgate::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(tollgate.run(&["version"]).done(), format!("tollgate {version}\n"));
    assert_eq!(
        tollgate.run(&["version", "-o", "yaml"]).done(),
        format!("version: \"{version}\"\n")
    );
}
