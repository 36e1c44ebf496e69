//! `apply`.

use serde_json::{Value, json};

use crate::ORDERS;
use crate::support::{FakeAdmin, Tollgate};

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
