//! `login`, `context`, and whose server and token is taken.

use crate::list;
use crate::support::{FakeAdmin, Tollgate};

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
