//! Resource files: found, read, and named again where something in them is wrong.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::Value;
use tollgate_model::file::{self, Located};
use tollgate_model::{Document, Issue, Issues, Name, ResourceId};

use crate::failure::Failure;

/// The deepest nesting of folders that is looked into, so that a circle of links ends.
const MAX_DEPTH: usize = 16;

/// The flag `-f`, as every verb that reads files has it.
#[derive(Args)]
pub(crate) struct FileArguments {
    /// Resource files, folders of them (*.yaml, *.yml, *.json, with all folders below), or `-` for standard input
    #[arg(short, long = "file", value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) file: Vec<PathBuf>,
}

/// One document of a file.
pub(crate) struct Entry {
    /// The file as the user named it; shared by its documents.
    file_name: Arc<str>,
    /// The folder that paths in the document start from.
    pub(crate) folder: Arc<Path>,
    located: Located,
    /// The document as it is sent: secrets resolved, tenant added.
    pub(crate) value: Value,
}

impl Entry {
    /// `FILE:LINE: spec.routes[1]…: what (code)`.
    #[must_use]
    pub(crate) fn describe(&self, issue: &Issue) -> String {
        file::describe(&self.file_name, &self.located, issue)
    }

    /// `FILE:LINE` of the document's first line.
    #[must_use]
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file_name, self.located.line_of(""))
    }
}

/// Reads every document of files and folders, in the order in which they are named.
///
/// # Errors
///
/// Every file that cannot be read or is not YAML, a line each.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Vec<Entry>, Failure> {
    let mut faults = Vec::new();
    let mut files = Vec::new();
    for path in paths {
        if let Err(error) = find(path, 0, &mut files) {
            faults.push(format!("{}: cannot be read: {error}", path.display()));
        }
    }
    let mut entries = Vec::new();
    for path in &files {
        match read(path) {
            Ok(found) => entries.extend(found),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() && entries.is_empty() {
        faults.push("no resource is in the files; they are *.yaml, *.yml or *.json with `kind`, `name` and `spec`".to_owned());
    }
    if faults.is_empty() { Ok(entries) } else { Err(Failure::Faults(faults)) }
}

/// The envelopes of entries, and what is wrong with them.
pub(crate) struct Envelopes {
    /// One for each entry; none where it is faulty.
    pub(crate) documents: Vec<Option<Document>>,
    /// By the index of the entry.
    pub(crate) faults: Vec<(usize, Issues)>,
}

/// Parses the envelope of every document and refuses a resource that stands twice.
pub(crate) fn envelopes(entries: &[Entry], tenant: &Name) -> Envelopes {
    let mut documents = Vec::with_capacity(entries.len());
    let mut faults = Vec::new();
    let mut seen: HashMap<ResourceId, &Entry> = HashMap::new();
    for (i, entry) in entries.iter().enumerate() {
        let document = Document::parse(&entry.value, tenant);
        documents.push(match document {
            Ok(document) => {
                if let Some(first) = seen.insert(document.id.clone(), entry) {
                    let problem = format!(
                        "{} stands in {} too; keep one of them",
                        document.id,
                        first.place()
                    );
                    faults
                        .push((i, Issues::one(Issue::new("/name", "duplicate_resource", problem))));
                }
                Some(document)
            }
            Err(issues) => {
                faults.push((i, issues));
                None
            }
        });
    }
    Envelopes { documents, faults }
}

/// Every fault of a document that stands alone in its file, and was sent alone.
#[must_use]
pub(crate) fn describe_one(entry: &Entry, issues: &[Issue]) -> Vec<String> {
    let mut lines: Vec<(usize, String)> = issues
        .iter()
        .map(|issue| (entry.located.line_of(&issue.at), entry.describe(issue)))
        .collect();
    lines.sort_by_key(|(line, _)| *line);
    lines.into_iter().map(|(_, text)| text).collect()
}

/// Names the place in a file of every issue whose pointer begins with `/resources/<index>`, in the
/// order of the files; the others come after them as they are.
#[must_use]
pub(crate) fn describe_all(entries: &[Entry], issues: &[Issue]) -> Vec<String> {
    let within = |issue: &Issue| {
        let rest = issue.at.strip_prefix("/resources/")?;
        let (index, pointer) = rest.split_once('/').unwrap_or((rest, ""));
        let index = index.parse::<usize>().ok().filter(|index| *index < entries.len())?;
        let at = if pointer.is_empty() { String::new() } else { format!("/{pointer}") };
        Some((index, Issue { at, ..issue.clone() }))
    };
    let (mut found, mut elsewhere) = (Vec::new(), Vec::new());
    for issue in issues {
        match within(issue) {
            Some(located) => found.push(located),
            None => elsewhere.push(format!(
                "{}: {} ({})",
                file::dotted(&issue.at),
                issue.problem,
                issue.code
            )),
        }
    }
    let mut lines = describe_located(entries, found);
    lines.append(&mut elsewhere);
    lines
}

/// Issues, each with the index of its entry, in the order of files and lines.
#[must_use]
pub(crate) fn describe_located(entries: &[Entry], issues: Vec<(usize, Issue)>) -> Vec<String> {
    let mut lines: Vec<(usize, usize, String)> = issues
        .into_iter()
        .filter_map(|(i, issue)| {
            let entry = entries.get(i)?;
            Some((i, entry.located.line_of(&issue.at), entry.describe(&issue)))
        })
        .collect();
    lines.sort_by_key(|(i, line, _)| (*i, *line));
    lines.into_iter().map(|(_, _, text)| text).collect()
}

/// Finds the files at a path; those of a folder in the order of their names, what is hidden left out.
fn find(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.as_os_str() == "-" || !fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth > MAX_DEPTH {
        return Err(io::Error::other("folders lie deeper than 16 levels"));
    }
    let mut inside = Vec::new();
    for item in fs::read_dir(path)? {
        let item = item?;
        if !item.file_name().as_encoded_bytes().starts_with(b".") {
            inside.push(item.path());
        }
    }
    inside.sort();
    for path in inside {
        let is_resource_file = path.extension().is_some_and(|extension| {
            ["yaml", "yml", "json"].iter().any(|known| extension == *known)
        });
        if is_resource_file || fs::metadata(&path)?.is_dir() {
            find(&path, depth + 1, files)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let is_stdin = path.as_os_str() == "-";
    let file_name = if is_stdin { "<stdin>".to_owned() } else { path.display().to_string() };
    let text = if is_stdin {
        read_text(io::stdin().lock())
    } else {
        fs::File::open(path).and_then(read_text)
    };
    let text = text.map_err(|error| format!("{file_name}: cannot be read: {error}"))?;
    let located = file::documents(&text)
        .map_err(|malformed| format!("{file_name}:{}: {}", malformed.line, malformed.problem))?;
    let parent = if is_stdin { None } else { path.parent() };
    let folder: Arc<Path> = Arc::from(parent.unwrap_or_else(|| Path::new("")));
    let file_name: Arc<str> = Arc::from(file_name);
    let entry = |located: Located| Entry {
        file_name: file_name.clone(),
        folder: folder.clone(),
        value: located.value.clone(),
        located,
    };
    Ok(located.into_iter().map(entry).collect())
}

/// Reads a text of at most the size that `documents` takes; one byte more lets that say so.
fn read_text(reader: impl Read) -> io::Result<String> {
    let limit = u64::try_from(file::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    reader.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.value["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_folder_is_read_in_order_with_all_below_it_and_without_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("c")).unwrap();
        for (file, name) in [
            ("b.yml", "b"),
            ("a.json", "a"),
            ("c/d.yaml", "d"),
            (".x.yaml", "x"),
            ("notes.txt", "n"),
        ] {
            fs::write(folder.path().join(file), format!("{{kind: Tenant, name: {name}}}")).unwrap();
        }
        assert_eq!(names(&load(&[folder.path().to_owned()]).unwrap()), ["a", "b", "d"]);
    }

    #[test]
    fn every_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a.yaml"), "a: [").unwrap();
        fs::write(path("b.yaml"), "a: 1\na: 2\n").unwrap();
        let Err(Failure::Faults(faults)) =
            load(&[path("a.yaml"), path("b.yaml"), path("none.yaml")])
        else {
            panic!("accepted");
        };
        assert_eq!(faults.len(), 3, "{faults:?}");
    }

    #[test]
    fn a_resource_that_stands_twice_is_refused_with_both_places() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        fs::write(&path, "kind: Tenant\nname: a\nspec: {}\n---\nkind: Tenant\nname: a\nspec: {}\n")
            .unwrap();
        let entries = load(&[path]).unwrap();
        let faults = envelopes(&entries, &Name::default_name()).faults;
        let line = entries[1].describe(&faults[0].1.0[0]);
        assert!(line.contains("a.yaml:6: name: ") && line.contains("a.yaml:1 too"), "{line}");
    }
}
