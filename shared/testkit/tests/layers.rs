//! The rules of the tree that no compiler checks: who may depend on whom, what is pure, how long a
//! file may be, and that ARCHITECTURE.md names what there is.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot look")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate with those of ours that it may depend on. Tests may use what the crate itself may, and
/// the testkit.
const LAYERS: [(&str, &[&str]); 9] = [
    ("tollgate-proto", &[]),
    ("tollgate-llm", &[]),
    ("tollgate-model", &["tollgate-proto"]),
    ("tollgate-policy", &["tollgate-model", "tollgate-llm"]),
    ("tollgate-telemetry", &[]),
    (
        "tollgate-control-plane",
        &[
            "tollgate-policy",
            "tollgate-model",
            "tollgate-llm",
            "tollgate-proto",
            "tollgate-telemetry",
        ],
    ),
    (
        "tollgate-data-plane",
        &[
            "tollgate-policy",
            "tollgate-model",
            "tollgate-llm",
            "tollgate-proto",
            "tollgate-telemetry",
        ],
    ),
    (
        "tollgate-cli",
        &[
            "tollgate-control-plane",
            "tollgate-data-plane",
            "tollgate-policy",
            "tollgate-model",
            "tollgate-llm",
            "tollgate-proto",
            "tollgate-telemetry",
        ],
    ),
    (TESTKIT, &["tollgate-proto", "tollgate-model", "tollgate-policy"]),
];
const TESTKIT: &str = "tollgate-testkit";

const PURE: [&str; 4] = ["tollgate-proto", "tollgate-model", "tollgate-policy", "tollgate-llm"];
/// What a pure crate's normal dependencies never bring, at any depth.
const IMPURE_CRATES: [&str; 10] = [
    "tokio",
    "hyper",
    "hyper-util",
    "sqlx",
    "redis",
    "tonic",
    "reqwest",
    "rustls",
    "socket2",
    "mio",
];
/// What a pure crate's own code never names.
const IMPURE_PATHS: [&str; 12] = [
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "std::env",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "File::open",
    "thread::sleep",
];

const MAX_FILE_LINES: usize = 500;
const MAX_SCRIPT_LINES: usize = 60;

struct Package {
    name: String,
    /// Below the root, as in `shared/model`.
    folder: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    is_dev: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {}:\n{problem}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// The crates of the workspace, with their dependencies on each other and on others.
fn packages() -> Vec<Package> {
    // Without dependencies it needs none of them on this machine, for no platform.
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let package = |package: &Value| {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let folder = manifest.parent().unwrap().canonicalize().unwrap();
        let dependency = |dependency: &Value| Dependency {
            name: text(&dependency["name"]),
            is_dev: dependency["kind"] == "dev",
        };
        Package {
            name: text(&package["name"]),
            folder: folder.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
            dependencies: package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .map(dependency)
                .collect(),
        }
    };
    metadata.get("packages").and_then(Value::as_array).unwrap().iter().map(package).collect()
}

/// Every file below a folder whose name ends so; not what is built, and not what fuzzers keep.
fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !["target", "node_modules", ".git"].contains(&name.as_ref()) {
                found.extend(files_below(&path, ending));
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// A file without the tests at its end.
fn without_tests(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod tests {").map_or(text, |(code, _)| code)
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

/// The crates' own sources, without tests; each with its text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let files = files_below(&folder.join("src"), ".rs").into_iter().filter(|path| !is_test(path));
    files
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path, without_tests(&text).to_owned())
        })
        .collect()
}

fn nothing(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_crate_depends_only_on_those_below_it() {
    let mut faults = Vec::new();
    for package in packages() {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
            faults.push(format!("{} is not in LAYERS of {}", package.name, file!()));
            continue;
        };
        let named = format!("tollgate-{}", package.folder.rsplit('/').next().unwrap_or_default());
        if named != package.name {
            faults.push(format!("{} stands in {}/", package.name, package.folder));
        }
        for Dependency { name, is_dev } in &package.dependencies {
            let is_allowed = allowed.contains(&name.as_str()) || (*is_dev && name == TESTKIT);
            if name.starts_with("tollgate-") && !is_allowed {
                faults.push(format!("{} must not depend on {name}", package.name));
            }
        }
    }
    nothing(&faults);
}

#[test]
fn a_pure_crate_brings_no_runtime_socket_or_database() {
    let mut faults = Vec::new();
    for package in packages().into_iter().filter(|package| PURE.contains(&package.name.as_str())) {
        // With the package alone, so that no other crate's choice of features counts.
        let tree = cargo(&[
            "tree",
            "--offline",
            "--edges",
            "normal",
            "--package",
            &package.name,
            "--no-default-features",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]);
        let brought: BTreeSet<&str> =
            tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(brought.contains(package.name.as_str()), "{tree}");
        let impure = IMPURE_CRATES.iter().filter(|name| brought.contains(*name));
        faults.extend(impure.map(|name| format!("{} brings {name}", package.name)));
    }
    nothing(&faults);
}

#[test]
fn a_pure_crate_opens_no_socket_or_file_and_reads_no_clock() {
    let mut faults = Vec::new();
    for package in packages().into_iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for (path, text) in sources(&root().join(&package.folder)) {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code = code.collect::<Vec<_>>().join("\n");
            let named = IMPURE_PATHS.iter().filter(|impure| code.contains(*impure));
            faults.extend(named.map(|impure| format!("{}: {impure}", shown(&path))));
        }
    }
    nothing(&faults);
}

#[test]
fn every_crate_keeps_the_lints_of_the_workspace() {
    let has_lints = |package: &Package| {
        let manifest = fs::read_to_string(root().join(&package.folder).join("Cargo.toml")).unwrap();
        manifest.contains("[lints]\nworkspace = true\n")
    };
    let without = packages().into_iter().filter(|package| !has_lints(package));
    nothing(
        &without
            .map(|package| format!("{} has lints of its own", package.name))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_crate_begins_with_what_it_never_does() {
    let mut faults = Vec::new();
    for package in packages() {
        let source = root().join(&package.folder).join("src");
        let path = ["lib.rs", "main.rs"]
            .map(|name| source.join(name))
            .into_iter()
            .find(|path| path.exists());
        let text = fs::read_to_string(path.unwrap()).unwrap();
        let paragraph: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .take_while(|line| !line.trim().is_empty())
            .collect();
        if !paragraph.join(" ").to_lowercase().contains("never") {
            faults.push(format!(
                "{}: the first paragraph says nothing that it never does",
                package.name
            ));
        }
    }
    nothing(&faults);
}

#[test]
fn no_file_is_longer_than_500_lines_without_its_tests() {
    let mut faults = Vec::new();
    for package in packages() {
        for (path, text) in sources(&root().join(&package.folder)) {
            let lines = text.lines().count();
            if lines > MAX_FILE_LINES {
                faults.push(format!("{}: {lines} lines", shown(&path)));
            }
        }
    }
    for script in fs::read_dir(root().join("scripts")).unwrap() {
        let path = script.unwrap().path();
        if path.is_file() {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines >= MAX_SCRIPT_LINES {
                faults.push(format!("{}: {lines} lines", shown(&path)));
            }
        }
    }
    nothing(&faults);
}

#[test]
fn the_environment_is_read_in_settings_alone() {
    let mut faults = Vec::new();
    for package in packages().into_iter().filter(|package| package.name != TESTKIT) {
        for (path, text) in sources(&root().join(&package.folder)) {
            let is_settings = path.iter().any(|part| part == "settings" || part == "settings.rs");
            if !is_settings && text.contains("env::var") {
                faults.push(format!("{} reads the environment", shown(&path)));
            }
        }
    }
    nothing(&faults);
}

#[test]
fn no_test_is_left_out() {
    let attribute = concat!("#[", "ignore");
    let is_left_out = |path: &PathBuf| fs::read_to_string(path).unwrap().contains(attribute);
    let files = files_below(&root(), ".rs").into_iter().filter(is_left_out);
    nothing(&files.map(|path| shown(&path)).collect::<Vec<_>>());
}

#[test]
fn every_script_can_be_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let scripts = fs::read_dir(root().join("scripts")).unwrap().map(|entry| entry.unwrap().path());
    let scripts: Vec<PathBuf> = scripts.filter(|path| path.is_file()).collect();
    assert!(scripts.len() > 5, "{scripts:?}");
    let cannot =
        |path: &&PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o111 != 0o111;
    nothing(&scripts.iter().filter(cannot).map(|path| shown(path)).collect::<Vec<_>>());
}

/// The modules of a crate's `src`, without what is there for tests.
fn top_modules(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder.join("src")).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.join("mod.rs").exists() || path.extension().is_some_and(|e| e == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| !["lib", "main", "tests"].contains(&name.as_str()))
        .collect()
}

/// What ARCHITECTURE.md says below the heading that names a folder: the text up to the next heading.
fn section<'a>(architecture: &'a str, folder: &str) -> Option<&'a str> {
    let heading = format!("### `{folder}/`");
    let (_, rest) = architecture.split_once(&heading)?;
    Some(rest.split_once("\n#").map_or(rest, |(section, _)| section))
}

/// The names that the lines of a list begin with: ``- `a`, `b`: …``.
fn listed(section: &str) -> BTreeSet<String> {
    let heads = section.lines().filter_map(|line| line.strip_prefix("- `"));
    let heads = heads.filter_map(|line| line.split_once("`:").map(|(names, _)| names));
    heads.flat_map(|names| names.split("`, `")).map(str::to_owned).collect()
}

#[test]
fn the_codemap_names_every_crate_and_top_module_and_no_other() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut faults = Vec::new();
    for package in packages() {
        let Some(section) = section(&architecture, &package.folder) else {
            faults.push(format!("no heading for `{}/`", package.folder));
            continue;
        };
        let (there, named) = (top_modules(&root().join(&package.folder)), listed(section));
        let path = |name: &String| format!("{}/src/{name}", package.folder);
        faults.extend(there.difference(&named).map(|name| format!("not named: {}", path(name))));
        faults.extend(named.difference(&there).map(|name| format!("not there: {}", path(name))));
    }
    nothing(&faults);
}

#[test]
fn a_list_of_the_codemap_is_read_as_it_is_written() {
    let text = "### `a/b/` does\n\n- `one`: `x`\n- `two`, `three`: y\n- no name\n\n### `a/c/`\n- `four`: z\n";
    let names = listed(section(text, "a/b").unwrap());
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["one", "three", "two"]);
    assert!(section(text, "a").is_none());
}
