//! What goes wrong.

use crate::support::{FakeAdmin, Tollgate};

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
