//! Documents as operators write them: those that are taken, and those that are not with what they are told.
//!
//! A case is a file. `INSTA_UPDATE=always`, which `scripts/golden` sets, writes the answers anew.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate_model::file::{describe, documents};
use tollgate_model::{Document, Issues, Kind, Name, Spec};

fn cases(verdict: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(verdict);
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn parse(value: &Value) -> Result<(Document, Spec), Issues> {
    let document = Document::parse(value, &Name::default_name())?;
    let spec = Spec::parse(document.id.kind, &document.spec)?;
    Ok((document, spec))
}

#[test]
fn what_is_to_be_accepted_is_and_comes_out_as_it_went_in() {
    for case in cases("accept") {
        for located in documents(&fs::read_to_string(&case).unwrap()).unwrap() {
            let (document, _) = parse(&located.value)
                .unwrap_or_else(|issues| panic!("{}: {issues}", case.display()));
            let (again, _) = parse(&document.to_json()).unwrap();
            assert_eq!(again, document, "{}", case.display());
        }
    }
}

#[test]
fn what_is_accepted_agrees_with_the_schema_of_its_kind() {
    for case in cases("accept") {
        for located in documents(&fs::read_to_string(&case).unwrap()).unwrap() {
            let (document, _) = parse(&located.value).unwrap();
            let validator = jsonschema::validator_for(&schema(document.id.kind)).unwrap();
            let faults: Vec<String> = validator
                .iter_errors(&document.spec)
                .map(|fault| format!("{}: {fault}", fault.instance_path()))
                .collect();
            assert!(faults.is_empty(), "{}: {}: {faults:?}", case.display(), document.id);
        }
    }
}

/// Of a specification; the policies in it are open, for they are not this crate's.
fn schema(kind: Kind) -> Value {
    let mut generator = schemars::SchemaGenerator::default();
    let mut schema = Spec::schema(kind, &mut generator).to_value();
    schema["$defs"] = json!(generator.take_definitions(true));
    schema
}

#[test]
fn what_is_to_be_rejected_is_with_these_issues() {
    for case in cases("reject") {
        let mut answers = String::new();
        for located in documents(&fs::read_to_string(&case).unwrap()).unwrap() {
            let name = case.file_name().unwrap().to_str().unwrap();
            let issues = parse(&located.value)
                .err()
                .unwrap_or_else(|| panic!("{name}:{} is accepted", located.line));
            for issue in &issues.0 {
                answers.push_str(&describe(name, &located, issue));
                answers.push('\n');
            }
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(case.parent().unwrap());
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings
            .bind(|| insta::assert_snapshot!(case.file_stem().unwrap().to_str().unwrap(), answers));
    }
}

#[test]
fn no_answer_shows_a_secret() {
    for case in cases("reject") {
        let answers = fs::read_to_string(case.with_extension("snap")).unwrap_or_default();
        assert!(!answers.contains("s3cret") && !answers.contains("sk shop"), "{}", case.display());
    }
}
