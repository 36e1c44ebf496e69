//! Every file in `examples/`, and every fenced example in `docs/`, is valid.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn validate(path: &Path) -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["validate", "-f"])
        .arg(path)
        .env_clear()
        .output()
        .unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn files_below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|known| known == extension) {
            found.push(path);
        }
    }
}

/// The texts between ```` ```yaml ```` and ```` ``` ````, each with the line that it begins after.
fn fenced(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (i, line) in text.lines().enumerate() {
        match &mut open {
            Some((_, block)) if line.trim_end() != "```" => {
                block.push_str(line);
                block.push('\n');
            }
            Some(_) => blocks.extend(open.take()),
            None if line.trim_end() == "```yaml" => open = Some((i + 1, String::new())),
            None => {}
        }
    }
    blocks
}

#[test]
fn every_example_is_valid() {
    let mut files = Vec::new();
    files_below(&root().join("examples"), "yaml", &mut files);
    files.push(root().join("docker/orders.yaml"));
    assert!(files.len() >= 7, "{files:?}");
    let faults: Vec<String> = files.iter().filter_map(|file| validate(file).err()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// So that the folder can be applied whole: no two files name the same resource.
#[test]
fn all_examples_are_valid_together() {
    validate(&root().join("examples")).unwrap();
}

#[test]
fn every_resource_in_the_documents_is_valid() {
    let mut files = Vec::new();
    files_below(&root().join("docs"), "md", &mut files);
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        files.extend(Some(root().join(name)).filter(|path| path.exists()));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (line, block) in
            fenced(&text).into_iter().filter(|(_, block)| block.starts_with("kind:"))
        {
            let path = folder.path().join("block.yaml");
            fs::write(&path, block).unwrap();
            if let Err(problem) = validate(&path) {
                faults.push(format!("{} after line {line}:\n{problem}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_block_that_is_a_resource_is_found_among_others() {
    let blocks =
        fenced("a\n```yaml\nkind: Api\n```\n```rust\nkind: no\n```\n```yaml\napi_key: {}\n```\n");
    assert_eq!(blocks, [(2, "kind: Api\n".to_owned()), (8, "api_key: {}\n".to_owned())]);
}
