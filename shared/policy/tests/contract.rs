//! What every policy promises, over the catalogue.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod golden;
#[expect(dead_code, reason = "the tests of the single policies use the rest of it")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate_model::{Issues, Kind};
use tollgate_policy::policies::{AnyPolicy, CATALOG, Entry, entry};
use tollgate_policy::{Scope, check};

use crate::golden::{cases, matches_file, matches_snapshot, root};
use crate::support::{chain, policy, request, yaml};

const SCOPE: Scope<'_> = Scope { place: "Api/default/orders/item", parameters: Some(&["id"]) };

fn folder(entry: &Entry) -> PathBuf {
    root().join("shared/policy/src/policies").join(entry.name)
}

/// The configuration of one policy in a text like `name: {…}`.
fn config(entry: &Entry, text: &str) -> Value {
    let value = yaml(text);
    let config =
        value.get(entry.name).unwrap_or_else(|| panic!("not about {}: {text}", entry.name));
    if config.is_null() { json!({}) } else { config.clone() }
}

fn compile(entry: &Entry, config: &Value) -> Result<AnyPolicy, Issues> {
    AnyPolicy::compile(entry.name, config, SCOPE)
}

fn schema(entry: &Entry) -> Value {
    (entry.schema)().to_value()
}

#[test]
fn every_folder_is_registered_under_its_own_name() {
    let folders = fs::read_dir(root().join("shared/policy/src/policies")).unwrap();
    let mut folders: Vec<String> = folders
        .map(Result::unwrap)
        .filter(|folder| folder.path().is_dir())
        .map(|folder| folder.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut names: Vec<&str> = CATALOG.iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    assert_eq!(folders, names);
    assert!(names.iter().all(|name| entry(name).is_some()));
}

#[test]
fn every_manual_has_examples_and_all_of_them_compile() {
    for entry in CATALOG {
        assert!(entry.manual.starts_with(&format!("# {}\n", entry.name)), "{}", entry.name);
        let examples: Vec<&str> = entry
            .manual
            .split("```yaml\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap())
            .collect();
        assert!(!examples.is_empty(), "{} has no example", entry.name);
        for example in examples {
            let result = compile(entry, &config(entry, example));
            assert!(result.is_ok(), "{example}: {:?}", result.err());
        }
    }
}

#[test]
fn an_unknown_field_is_refused_by_name() {
    for entry in CATALOG {
        let accepted = cases(&folder(entry).join("testdata/accept"));
        let mut config = config(entry, &fs::read_to_string(&accepted[0]).unwrap());
        // A list has no fields; what stands in it has its own.
        let Some(fields) = config.as_object_mut() else { continue };
        fields.insert("no_such_field".to_owned(), json!(1));
        let issues = compile(entry, &config).err().unwrap();
        let issue = issues.0.iter().find(|issue| issue.at == "/no_such_field").unwrap();
        assert_eq!(issue.code, "unknown_field", "{}", entry.name);
    }
}

#[test]
fn what_is_to_be_accepted_is_and_agrees_with_the_schema() {
    for entry in CATALOG {
        let validator = jsonschema::validator_for(&schema(entry)).unwrap();
        for case in cases(&folder(entry).join("testdata/accept")) {
            let config = config(entry, &fs::read_to_string(&case).unwrap());
            let result = compile(entry, &config);
            assert!(result.is_ok(), "{}: {:?}", case.display(), result.err());
            let faults: Vec<String> =
                validator.iter_errors(&config).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{}: {faults:?}", case.display());
        }
    }
}

#[test]
fn what_is_to_be_rejected_is_with_these_issues() {
    for entry in CATALOG {
        for case in cases(&folder(entry).join("testdata/reject")) {
            let config = config(entry, &fs::read_to_string(&case).unwrap());
            let issues = compile(entry, &config)
                .err()
                .unwrap_or_else(|| panic!("{} is accepted", case.display()));
            matches_snapshot(&case, &lines(&issues));
        }
    }
}

fn lines(issues: &Issues) -> String {
    issues.0.iter().map(|issue| format!("{issue}\n")).collect()
}

#[test]
fn the_operators_format_is_that_of_the_snapshot() {
    for entry in CATALOG {
        let text = serde_json::to_string_pretty(&schema(entry)).unwrap();
        matches_snapshot(&folder(entry).join("testdata/schema.json"), &text);
    }
}

#[test]
fn the_schemas_for_editors_are_those_of_the_code() {
    for kind in Kind::ALL {
        let text = format!("{}\n", serde_json::to_string_pretty(&check::schema(kind)).unwrap());
        matches_file(
            &root().join("docs/reference/schemas").join(format!("{}.json", kind.name())),
            &text,
        );
    }
}

#[test]
fn no_policy_redefines_what_another_calls_by_the_same_name() {
    // The schema of a resource has the definitions of all policies in one mapping.
    let mut all = serde_json::Map::new();
    for entry in CATALOG {
        for (name, definition) in schema(entry)["$defs"].as_object().into_iter().flatten() {
            let other = all.insert(name.clone(), definition.clone());
            assert!(other.is_none_or(|other| other == *definition), "{}: {name}", entry.name);
        }
    }
}

#[test]
fn the_reference_of_policies_is_what_the_catalogue_says() {
    matches_file(&root().join("docs/reference/policies.md"), &reference());
}

#[test]
fn the_future_of_a_chain_is_small() {
    let every: Vec<String> = CATALOG
        .iter()
        .map(|entry| fs::read_to_string(&cases(&folder(entry).join("testdata/accept"))[0]).unwrap())
        .collect();
    assert_eq!(
        every.iter().map(|text| policy(text).name()).collect::<Vec<_>>().len(),
        CATALOG.len()
    );
    let chain = chain(&every.iter().map(String::as_str).collect::<Vec<_>>());
    let world = support::World::default();
    let (mut cx, mut request) = (world.cx(), request(&[]));
    let (mut carries, mut response) = (Default::default(), http::Response::default());
    let size = size_of_val(&chain.on_request(&mut cx, &mut request, &mut carries));
    assert!(size <= 512, "the request half takes {size} bytes");
    let size = size_of_val(&chain.on_response(&mut carries, &mut cx, &mut response));
    assert!(size <= 512, "the response half takes {size} bytes");
}

/// `docs/reference/policies.md`.
fn reference() -> String {
    let mut text = String::from(
        "# Policies\n\nWritten by `scripts/golden` from the catalogue; a test fails where it is not what the code says.\n\n\
         Policies run in the order of their phases, within a phase from the outermost level (gateway, tenant, API, route,\n\
         application) to the innermost, within a level as written.\n\n\
         | policy | phase | at several levels |\n| --- | --- | --- |\n",
    );
    let mut entries: Vec<&Entry> = CATALOG.iter().collect();
    entries.sort_by_key(|entry| entry.phase);
    for entry in &entries {
        let repeat = match entry.repeat {
            tollgate_policy::policy::Repeat::All => "all run",
            tollgate_policy::policy::Repeat::Innermost => "the innermost runs",
        };
        text.push_str(&format!(
            "| [`{0}`](#{0}) | {1} | {repeat} |\n",
            entry.name,
            phase_name(entry.phase)
        ));
    }
    for entry in entries {
        text.push('\n');
        // One level down, for the document has a title of its own.
        for line in entry.manual.lines() {
            text.push_str(&format!("{}{line}\n", if line.starts_with('#') { "#" } else { "" }));
        }
        text.push_str(&fields(&schema(entry)));
    }
    text
}

fn phase_name(phase: tollgate_policy::Phase) -> &'static str {
    use tollgate_policy::Phase;
    match phase {
        Phase::Guard => "guard",
        Phase::Authn => "authentication",
        Phase::Authz => "authorization",
        Phase::RateLimit => "rate limit",
        Phase::Target => "target",
        Phase::Cache => "cache",
        Phase::Transform => "transform",
    }
}

/// A table of the fields of a schema, those of nested objects by their whole path.
fn fields(schema: &Value) -> String {
    let mut rows = Vec::new();
    collect_fields(schema, schema, "", &mut rows);
    if rows.is_empty() {
        return String::new();
    }
    format!("\n| field | meaning |\n| --- | --- |\n{}", rows.concat())
}

fn collect_fields(root: &Value, schema: &Value, prefix: &str, rows: &mut Vec<String>) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let description = field["description"].as_str().unwrap_or_default().replace('\n', " ");
        let needed = if required.contains(&name.as_str()) { " Required." } else { "" };
        rows.push(format!("| `{prefix}{name}` | {description}{needed} |\n"));
        let target = std::iter::once(field)
            .chain(field["anyOf"].as_array().into_iter().flatten())
            .find_map(|field| field["$ref"].as_str())
            .and_then(|reference| root.pointer(reference.trim_start_matches('#')));
        if let Some(target) = target {
            collect_fields(root, target, &format!("{prefix}{name}."), rows);
        }
    }
}

#[test]
fn every_case_is_a_yaml_file() {
    for entry in CATALOG {
        for verdict in ["accept", "reject"] {
            let files = fs::read_dir(folder(entry).join("testdata").join(verdict)).unwrap();
            let is_case =
                |path: &Path| path.extension().is_some_and(|end| end == "yaml" || end == "snap");
            assert!(files.map(Result::unwrap).all(|file| is_case(&file.path())), "{}", entry.name);
        }
    }
}
