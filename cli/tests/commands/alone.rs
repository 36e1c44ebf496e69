//! Verbs that need no server.

use crate::support::Tollgate;

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
        "edit",
        "delete",
        "history",
        "show",
        "rollback",
        "nodes",
        "node",
        "status",
        "key",
        "token",
        "model",
        "provider",
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
