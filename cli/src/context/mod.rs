//! Contexts: control planes under a name, with the token and the tenant to use there.
//!
//! One TOML file that only its owner can read. Every change of it is written beside it and then
//! takes its place, so that it is never there by half.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::settings;

/// The verb `context`.
pub(crate) mod verb;

/// Why the contexts could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    /// Neither `XDG_CONFIG_HOME` nor `HOME` is set.
    #[error("contexts have no place: set HOME or XDG_CONFIG_HOME")]
    NoHome,
    /// The file is there and cannot be read.
    #[error("read the contexts in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file is not what this program writes.
    #[error("{}:{line}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The file cannot be written.
    #[error("write the contexts to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// No context has that name.
    #[error("there is no context `{name}`; {}", if known.is_empty() { "make one with `tollgate login` or `tollgate context add`".to_owned() } else { format!("known: {known}") })]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
}

/// A control plane and how to speak to it. Has no `Debug`: it holds a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// The admin API's address.
    pub(crate) server: String,
    /// An administrator's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// The tenant of resources that name none; none: the token's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
}

/// All contexts of the user.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

/// The file of contexts, read.
pub(crate) struct Contexts {
    path: PathBuf,
    written: Written,
}

impl Contexts {
    /// Reads the user's file; no file is a file without contexts.
    pub(crate) fn read() -> Result<Self, ContextError> {
        Self::read_from(settings::contexts_path().ok_or(ContextError::NoHome)?)
    }

    fn read_from(path: PathBuf) -> Result<Self, ContextError> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, written: Written::default() });
            }
            Err(source) => return Err(ContextError::Read { path, source }),
        };
        match toml::from_str(&text) {
            Ok(written) => Ok(Self { path, written }),
            Err(error) => {
                // The error's own text quotes the line, and the line may hold a token.
                let start = error.span().map_or(0, |span| span.start);
                let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
                Err(ContextError::Malformed { path, line, problem: error.message().to_owned() })
            }
        }
    }

    /// The context of that name.
    pub(crate) fn get(&self, name: &str) -> Result<&Context, ContextError> {
        self.written.contexts.get(name).ok_or_else(|| self.unknown(name))
    }

    /// The name of the current context, where there is one.
    #[must_use]
    pub(crate) fn current(&self) -> Option<&str> {
        self.written.current.as_deref()
    }

    /// All contexts by their names, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Context)> {
        self.written.contexts.iter().map(|(name, context)| (name.as_str(), context))
    }

    /// Puts a context in the place of any other of that name.
    pub(crate) fn set(&mut self, name: &str, context: Context) {
        self.written.contexts.insert(name.to_owned(), context);
    }

    /// Makes a context the current one.
    pub(crate) fn make_current(&mut self, name: &str) -> Result<(), ContextError> {
        self.get(name)?;
        self.written.current = Some(name.to_owned());
        Ok(())
    }

    /// Takes a context away; there is no current one after it was the current one.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), ContextError> {
        if self.written.contexts.remove(name).is_none() {
            return Err(self.unknown(name));
        }
        if self.written.current.as_deref() == Some(name) {
            self.written.current = None;
        }
        Ok(())
    }

    /// Writes the file, mode 0600, in one step.
    pub(crate) fn write(&self) -> Result<(), ContextError> {
        let failed = |source| ContextError::Write { path: self.path.clone(), source };
        let text =
            toml::to_string(&self.written).map_err(|error| failed(io::Error::other(error)))?;
        replace(&self.path, text.as_bytes()).map_err(failed)
    }

    fn unknown(&self, name: &str) -> ContextError {
        let known: Vec<&str> = self.written.contexts.keys().map(String::as_str).collect();
        ContextError::Unknown { name: name.to_owned(), known: known.join(", ") }
    }
}

/// Writes a file that only its owner can read, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Through a symbolic link the file that it points to is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_not_there_yet| path.to_owned());
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = folder.join(format!(".config.toml.{}", std::process::id()));
    // What a run of the same number left behind is in the way.
    let _ = fs::remove_file(&beside);
    let written =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(
            |mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            },
        );
    let result = written.and_then(|()| fs::rename(&beside, &path));
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn contexts_in(folder: &Path) -> Contexts {
        Contexts::read_from(folder.join("tollgate/config.toml")).unwrap()
    }

    fn context(token: &str) -> Context {
        Context { server: "http://a.test".to_owned(), token: Some(token.to_owned()), tenant: None }
    }

    #[test]
    fn what_was_written_is_read_back_and_is_only_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let mut contexts = contexts_in(folder.path());
        contexts.set("local", context("tga_1"));
        contexts.make_current("local").unwrap();
        contexts.write().unwrap();
        let file = folder.path().join("tollgate/config.toml");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let contexts = contexts_in(folder.path());
        assert!(contexts.get("local").unwrap() == &context("tga_1"));
        assert_eq!(contexts.current(), Some("local"));
    }

    #[test]
    fn a_file_that_others_could_read_is_closed_to_them_when_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tollgate/config.toml");
        fs::create_dir(folder.path().join("tollgate")).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        contexts_in(folder.path()).write().unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("tollgate")).unwrap().count(), 1);
    }

    #[test]
    fn a_malformed_file_is_named_with_its_line_and_without_its_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        fs::write(&file, "[contexts.a]\nserver = \"http://a.test\"\ntoken = \"tga_secret\" x\n")
            .unwrap();
        let error = Contexts::read_from(file).err().unwrap().to_string();
        assert!(error.contains("config.toml:3:") && !error.contains("tga_secret"), "{error}");
    }

    #[test]
    fn the_current_context_goes_with_its_removal() {
        let folder = tempfile::tempdir().unwrap();
        let mut contexts = contexts_in(folder.path());
        contexts.set("a", context("tga_1"));
        contexts.make_current("a").unwrap();
        contexts.remove("a").unwrap();
        assert_eq!(contexts.current(), None);
        let error = contexts.remove("a").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no context `a`; make one with `tollgate login` or `tollgate context add`"
        );
    }
}
