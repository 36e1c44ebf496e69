//! `edit`, with shell scripts for an editor.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::API;
use crate::support::{FakeAdmin, Received, Run, Tollgate};

const UPDATED: &str = r#"{"revision": 13, "result": "updated", "dry_run": false}"#;

/// What the editor does to the file, which is its first argument.
const RAISE: &str = r#"sed -i 's/limit: 100/limit: 200/' "$1""#;

fn admin() -> FakeAdmin {
    let admin = FakeAdmin::start();
    admin.on("GET /tenants/default/apis/orders", 200, API);
    admin
}

/// The command with a script for an editor, which has an argument of its own.
fn command(tollgate: &Tollgate, arguments: &[&str], script: &str) -> Command {
    tollgate.file("editor", script);
    let mut command = tollgate.command(arguments);
    command.env("EDITOR", "sh ./editor").env("TMPDIR", tollgate.home.path());
    command
}

fn edit(tollgate: &Tollgate, arguments: &[&str], script: &str) -> Run {
    let verb: Vec<&str> = ["edit"].iter().chain(arguments).copied().collect();
    tollgate.finish(command(tollgate, &verb, script).output().unwrap())
}

fn sent(admin: &FakeAdmin) -> Vec<Received> {
    admin.received().into_iter().filter(|request| request.line.starts_with("PUT ")).collect()
}

/// The files that are left of the editor's.
fn kept(tollgate: &Tollgate) -> Vec<PathBuf> {
    let files = fs::read_dir(tollgate.home.path()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

/// All that was printed, with `FILE` for the one file that is kept.
fn all(run: &Run, tollgate: &Tollgate) -> String {
    let kept = kept(tollgate);
    assert_eq!(kept.len(), 1, "{}", run.all());
    run.all().replace(kept[0].to_str().unwrap(), "FILE")
}

#[test]
fn a_resource_is_edited_and_goes_back_at_the_version_that_was_fetched() {
    let (admin, script) = (admin(), format!("stat -c %a \"$1\" >mode; cp \"$1\" seen; {RAISE}"));
    admin.on("PUT /tenants/default/apis/orders", 200, UPDATED);
    let tollgate = Tollgate::at(&admin);
    insta::assert_snapshot!(
        edit(&tollgate, &["api", "orders", "-m", "more", "--wait=2s"], &script).done()
    );
    let sent = sent(&admin).pop().unwrap();
    assert_eq!(
        sent.line,
        "PUT /api/v1/tenants/default/apis/orders?managed_by=cli&message=more&wait=applied&timeout=2000ms"
    );
    assert_eq!(sent.headers["if-match"], "\"12\"");
    assert_eq!(sent.body["spec"]["policies"][1]["rate_limit"]["limit"], 200);
    assert!(sent.body.get("version").is_none(), "{}", sent.body);
    let read = |name: &str| fs::read_to_string(tollgate.home.path().join(name)).unwrap();
    assert_eq!(read("mode"), "600\n");
    insta::assert_snapshot!("what_the_editor_sees", read("seen"));
    assert!(kept(&tollgate).is_empty());
}

#[test]
fn what_says_the_same_as_before_is_not_sent() {
    let admin = admin();
    let tollgate = Tollgate::at(&admin);
    for script in
        ["", r##"echo "# no news" >>"$1""##, r#"sed -i 's/limit: 100/limit:   100/' "$1""#]
    {
        assert_eq!(
            edit(&tollgate, &["api", "orders"], script).done(),
            "Api default/orders is as it was; nothing is sent\n"
        );
    }
    assert!(sent(&admin).is_empty() && kept(&tollgate).is_empty());
}

#[test]
fn programs_get_the_answer_and_nothing_else() {
    let admin = admin();
    admin.on("PUT /tenants/default/apis/orders", 200, UPDATED);
    let tollgate = Tollgate::at(&admin);
    let out = |script| {
        let out = edit(&tollgate, &["api", "orders", "-o", "json"], script).done();
        serde_json::from_str::<serde_json::Value>(&out).unwrap()
    };
    assert_eq!(out(RAISE)["revision"], 13);
    assert_eq!(out(""), json!({"revision": null, "result": "unchanged", "dry_run": false}));
}

#[test]
fn the_editor_is_visual_then_editor_then_vi() {
    let admin = admin();
    let tollgate = Tollgate::at(&admin);
    let vi = tollgate.home.path().join("vi");
    tollgate.file("vi", "#!/bin/sh\necho vi >>ran\n");
    fs::set_permissions(&vi, fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:/usr/bin:/bin", tollgate.home.path().display());
    for (visual, editor) in
        [("echo visual >>ran #", "false"), ("", "echo editor >>ran #"), ("", " ")]
    {
        let mut command = tollgate.command(&["edit", "api", "orders"]);
        command.env("PATH", &path).env("VISUAL", visual).env("EDITOR", editor);
        tollgate.finish(command.output().unwrap()).done();
    }
    let ran = fs::read_to_string(tollgate.home.path().join("ran")).unwrap();
    assert_eq!(ran, "visual\neditor\nvi\n");
    let mut command = tollgate.command(&["edit", "api", "orders"]);
    let run = tollgate.finish(command.env("EDITOR", "no-such-editor").output().unwrap());
    assert_eq!(run.status, 1);
    assert!(
        run.stderr.contains("there is no editor `no-such-editor`; VISUAL or"),
        "{}",
        run.stderr
    );
}

#[test]
fn faults_that_the_server_finds_are_shown_by_line_and_the_file_is_kept() {
    let admin = admin();
    admin.on("PUT /tenants/default/apis/orders", 422, r#"{"title": "Unprocessable", "status": 422, "code": "invalid", "issues": [
        {"at": "/spec/upstream", "code": "unknown_reference", "problem": "there is no Upstream default/other"},
        {"at": "/spec/policies/1/rate_limit/limit", "code": "out_of_range", "problem": "is 0; give 1 or more"}]}"#);
    let tollgate = Tollgate::at(&admin);
    let script = r#"sed -i 's/limit: 100/limit: 0/; s/upstream: orders/upstream: other/' "$1""#;
    insta::assert_snapshot!(all(&edit(&tollgate, &["api", "orders"], script), &tollgate));
    assert!(fs::read_to_string(&kept(&tollgate)[0]).unwrap().contains("upstream: other"));
    let mode = fs::metadata(&kept(&tollgate)[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn faults_that_the_file_shows_itself_are_shown_by_line_and_nothing_is_sent() {
    let admin = admin();
    for script in [
        r#"sed -i 's/kind: Api/kind: Apy/; s/base_path:/base_pth:/' "$1""#,
        r#"printf 'kind: [' >"$1""#,
        r#"printf -- '---\nkind: Application\nname: a\nspec: {}\n' >>"$1""#,
        r#": >"$1""#,
    ] {
        let tollgate = Tollgate::at(&admin);
        insta::assert_snapshot!(all(&edit(&tollgate, &["api", "orders"], script), &tollgate));
    }
    assert!(sent(&admin).is_empty());
}

#[test]
fn what_somebody_else_changed_meanwhile_is_not_overwritten() {
    let admin = admin();
    admin.on(
        "PUT /tenants/default/apis/orders",
        412,
        r#"{"title": "Precondition Failed", "status": 412, "code": "version_conflict",
        "detail": "Api default/orders is at version 13 by now, not 12; read it again"}"#,
    );
    let tollgate = Tollgate::at(&admin);
    insta::assert_snapshot!(all(&edit(&tollgate, &["api", "orders"], RAISE), &tollgate));
}

#[test]
fn an_editor_that_fails_sends_nothing() {
    let admin = admin();
    let tollgate = Tollgate::at(&admin);
    let run = edit(&tollgate, &["api", "orders"], "exit 3");
    assert_eq!((run.status, kept(&tollgate).len()), (1, 0), "{}", run.all());
    assert!(run.stderr.contains("nothing is sent, for the editor"), "{}", run.stderr);
    // What was written before is not lost.
    let run = edit(&tollgate, &["api", "orders"], &format!("{RAISE}; exit 3"));
    assert_eq!((run.status, kept(&tollgate).len()), (1, 1), "{}", run.all());
    assert!(sent(&admin).is_empty());
}

#[test]
fn what_another_manages_is_not_even_opened_but_by_force() {
    let admin = FakeAdmin::start();
    let managed = API.replace(r#""managed_by": "cli""#, r#""managed_by": "console""#);
    admin.on("GET /tenants/default/apis/orders", 200, &managed);
    admin.on("PUT /tenants/default/apis/orders", 200, UPDATED);
    let tollgate = Tollgate::at(&admin);
    let run = edit(&tollgate, &["api", "orders"], &format!("touch opened; {RAISE}"));
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("is managed by `console`"), "{}", run.stderr);
    assert!(!tollgate.home.path().join("opened").exists());
    edit(&tollgate, &["api", "orders", "--force"], RAISE).done();
    let lines: Vec<String> = sent(&admin).into_iter().map(|request| request.line).collect();
    assert_eq!(lines, ["PUT /api/v1/tenants/default/apis/orders?managed_by=cli&force=true"]);
}

#[test]
fn a_secret_is_written_anew_and_never_shown() {
    let admin = FakeAdmin::start();
    let secret = r#"{"kind": "Secret", "tenant": "default", "name": "s", "version": 2, "managed_by": "cli", "spec": {"sealed": true}}"#;
    admin.on("GET /tenants/default/secrets/s", 200, secret);
    admin.on("PUT /tenants/default/secrets/s", 200, UPDATED);
    let tollgate = Tollgate::at(&admin);
    tollgate.file("token", "sk-from-a-file\n");
    let run =
        edit(&tollgate, &["secret", "s"], r#"sed -i 's/sealed: true/from_file: token/' "$1""#);
    assert!(!run.all().contains("sk-from"), "{}", run.all());
    assert!(run.done().contains("(sealed, changed)"));
    assert_eq!(sent(&admin)[0].body["spec"], json!({"value": "sk-from-a-file"}));
}

#[test]
fn on_a_terminal_a_faulty_text_can_be_edited_again() {
    let admin = admin();
    let fault = r#"{"title": "Unprocessable", "status": 422, "code": "invalid", "issues": [
        {"at": "/spec/policies/1/rate_limit/limit", "code": "out_of_range", "problem": "is 0; give 1 or more"}]}"#;
    for (status, body) in [(422, fault), (200, UPDATED), (422, fault)] {
        admin.on("PUT /tenants/default/apis/orders", status, body);
    }
    let tollgate = Tollgate::at(&admin);
    // The second time it finds its own text of the first.
    let script = r#"if grep -q 'limit: 0' "$1"; then sed -i 's/limit: 0/limit: 7/' "$1"
        else sed -i 's/limit: 100/limit: 0/' "$1"; fi"#;
    let on_terminal = |answer: &str| {
        let plain = command(&tollgate, &[], script);
        let line = format!("{} edit api orders", env!("CARGO_BIN_EXE_tollgate"));
        let mut terminal = Command::new("script");
        terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_clear();
        terminal.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        terminal.current_dir(tollgate.home.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = terminal.spawn().unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        tollgate.finish(child.wait_with_output().unwrap())
    };
    let run = on_terminal("y\n");
    assert_eq!(run.status, 0, "{}", run.all());
    assert!(run.stdout.contains("edit it again? [Y/n]") && run.stdout.contains("revision 13"));
    assert_eq!(sent(&admin)[1].body["spec"]["policies"][1]["rate_limit"]["limit"], 7);
    assert!(kept(&tollgate).is_empty());

    let run = on_terminal("n\n");
    assert_eq!((run.status, sent(&admin).len()), (1, 3), "{}", run.all());
    assert!(run.stdout.contains("what you wrote is kept in"), "{}", run.all());
    assert_eq!(kept(&tollgate).len(), 1);
}
