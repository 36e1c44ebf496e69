//! `get`.

use serde_json::{Value, json};

use crate::support::{FakeAdmin, Tollgate};
use crate::{API, list};

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
        "spec": {"endpoints": [{"url": "http://a:1"}, {"srv": "_http._tcp.b"}, {"url": "http://c:1"}, {"url": "http://d:1"}]}}"#;
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
