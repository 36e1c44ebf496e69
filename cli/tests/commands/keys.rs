//! Keys and tokens.

use serde_json::json;

use crate::list;
use crate::support::{FakeAdmin, Tollgate};

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
