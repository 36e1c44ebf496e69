//! `tollgate edit`: one resource in the user's editor, written back where nobody else has changed it
//! meanwhile.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempPath;
use tollgate_model::{Document, ResourceId};

use crate::admin::{Change, Changed};
use crate::apply::MANAGED_BY;
use crate::changes::{self, ChangeArguments};
use crate::client::Call;
use crate::diff;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Entry};
use crate::get::written;
use crate::output::{self, Output};
use crate::secrets;
use crate::session::{Named, Session};
use crate::settings;
use crate::validate;
use crate::yaml;

/// What a shell ends with that finds no such program.
const NOT_FOUND: i32 = 127;

/// What `tollgate edit` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    resource: Named,
    /// Take over what the console, an import or another program manages
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    change: ChangeArguments,
}

/// Why a resource could not be given to the editor, or taken from it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    /// There is no room for a file, or no right to make one.
    #[error("write the resource into a file for the editor")]
    Write(#[source] io::Error),
    /// There is no shell.
    #[error("run `sh`, which starts the editor")]
    Shell(#[source] io::Error),
    /// There is no such program.
    #[error("there is no editor `{editor}`; VISUAL or EDITOR names another one")]
    NoEditor {
        /// As the user named it.
        editor: String,
    },
    /// The editor says that something went wrong, or that the user gave up.
    #[error("nothing is sent, for the editor `{editor}` ended with {status}")]
    Ended {
        /// As the user named it.
        editor: String,
        /// How it ended.
        status: ExitStatus,
    },
}

/// A resource as it was when it was fetched.
struct Fetched {
    id: ResourceId,
    /// As a file has it.
    document: Value,
    version: u64,
    managed_by: String,
}

/// The resource as a file, for the editor. It goes with this value, unless it is kept.
struct Draft {
    path: TempPath,
    /// What was written into it first.
    text: String,
}

/// Carries out `tollgate edit`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let fetched = Fetched::get(arguments.resource.id(session).await?, session).await?;
    if fetched.managed_by != MANAGED_BY && !arguments.force {
        // Said before the work, not after it.
        return Err(Failure::Refused(format!(
            "{} is managed by `{}`; change it there, or take it over with --force",
            fetched.id, fetched.managed_by
        )));
    }
    let draft = Draft::new(&fetched).map_err(EditError::Write)?;
    loop {
        let done = match draft.open_in_editor() {
            Ok(()) => arguments.send(&draft.path, &fetched, session).await,
            Err(error) => Err(error.into()),
        };
        let failure = match done {
            Ok(outcome) => return Ok(outcome),
            Err(failure) => failure,
        };
        output::failure(&failure);
        let is_mended_there = matches!(failure, Failure::Faults(_));
        if is_mended_there && session.out.confirms("edit it again?") {
            continue;
        }
        if matches!(&failure, Failure::Problem(problem) if problem.is_of_another_version()) {
            session.out.note("`tollgate edit` once more begins with what is there now");
        }
        draft.keep_what_was_written(&session.out);
        return Ok(Outcome::Negative);
    }
}

impl Arguments {
    /// Sends what stands in the file now, unless it says what it said before.
    async fn send(
        &self,
        file: &Path,
        fetched: &Fetched,
        session: &Session,
    ) -> Result<Outcome, Failure> {
        let out = &session.out;
        let (mut entry, document) = read(file, &fetched.id)?;
        if entry.value == fetched.document {
            if out.is_for_people() {
                out.line(&format!("{} is as it was; nothing is sent", fetched.id))?;
            } else {
                out.value(&json!({ "revision": null, "result": "unchanged", "dry_run": false }))?;
            }
            return Ok(Outcome::Done);
        }
        // Paths start from where the command runs: the file is nowhere that anybody chose.
        secrets::resolve(&mut entry.value, Path::new(""))
            .map_err(|issues| Failure::Faults(files::describe_one(&entry, &issues.0)))?;
        let path = address(&fetched.id);
        let call = Call::put(&path, &entry.value)
            .if_match(Some(fetched.version))
            .query("managed_by", Some(MANAGED_BY))
            .query("force", self.force.then_some(true))
            .query("message", self.change.message.as_ref())
            .wait(self.change.wait);
        let answer = match session.client.call(call).await {
            Err(Failure::Problem(problem)) if problem.status == 422 => {
                return Err(Failure::Faults(files::describe_one(&entry, &problem.issues)));
            }
            other => other?,
        };
        let changed = changed(&answer, &fetched.id, session)?;
        if !out.is_for_people() {
            out.value(&answer)?;
        } else if changed.revision.is_some() {
            let held = diff::as_document(&fetched.document, &fetched.id);
            out.diff(&diff::compared(&fetched.id.to_string(), Some(&held), Some(&document)))?;
        }
        changes::report(&changed, |_| None, out)
    }
}

/// The answer to one resource, as that to a change of many.
fn changed(answer: &Value, id: &ResourceId, session: &Session) -> Result<Changed, Failure> {
    let mut changed: Changed = session.client.typed(answer)?;
    changed.changes.push(Change {
        op: if changed.revision.is_some() { "update" } else { "unchanged" }.to_owned(),
        kind: id.kind.name().to_owned(),
        tenant: id.tenant.to_string(),
        name: id.name.to_string(),
        ..Change::default()
    });
    Ok(changed)
}

impl Fetched {
    async fn get(id: ResourceId, session: &Session) -> Result<Self, Failure> {
        /// What the control plane knows about a resource.
        #[derive(Deserialize)]
        struct Known {
            version: u64,
            managed_by: String,
        }

        let resource = session.client.call(Call::get(&address(&id))).await?;
        let Known { version, managed_by } = session.client.typed(&resource)?;
        Ok(Self { id, document: written(&resource), version, managed_by })
    }
}

impl Draft {
    /// Readable by its owner alone: a secret may be written into it.
    fn new(fetched: &Fetched) -> io::Result<Self> {
        let text = format!(
            "# {} at version {}. What you save is applied; leave it as it is to change nothing.\n{}",
            fetched.id,
            fetched.version,
            yaml::document(&fetched.document)
        );
        let mut file = tempfile::Builder::new()
            .prefix(&format!("tollgate-{}-", fetched.id.name))
            .suffix(".yaml")
            .tempfile()?;
        file.write_all(text.as_bytes())?;
        Ok(Self { path: file.into_temp_path(), text })
    }

    /// Waits until the editor has ended.
    fn open_in_editor(&self) -> Result<(), EditError> {
        let editor = settings::editor();
        // By a shell, as every program does that opens it: there may be arguments in it.
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&self.path);
        match tokio::task::block_in_place(|| command.status()) {
            Ok(status) if status.success() => Ok(()),
            Ok(status) if status.code() == Some(NOT_FOUND) => Err(EditError::NoEditor { editor }),
            Ok(status) => Err(EditError::Ended { editor, status }),
            Err(error) => Err(EditError::Shell(error)),
        }
    }

    /// Leaves the file where it is, and says where, if there is anything of the user's in it.
    fn keep_what_was_written(self, out: &Output) {
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            return;
        }
        let path: PathBuf = self.path.to_path_buf();
        match self.path.keep() {
            Ok(_) => out.note(&format!("what you wrote is kept in {}", path.display())),
            Err(error) => out.note(&format!("what you wrote could not be kept: {error}")),
        }
    }
}

/// The one document of a file, with its envelope read; every fault that shows itself here.
fn read(file: &Path, id: &ResourceId) -> Result<(Entry, Document), Failure> {
    let mut entries = files::load(&[file.to_owned()])?;
    let parsed = files::envelopes(&entries, &id.tenant);
    if !parsed.faults.is_empty() {
        return Err(Failure::Faults(validate::check(&mut entries, &id.tenant).faults));
    }
    let document = parsed.documents.into_iter().flatten().next();
    match (entries.pop(), document, entries.first()) {
        (Some(entry), Some(document), None) => Ok((entry, document)),
        (last, _, _) => {
            let place = last.map(|entry| format!("{}: ", entry.place())).unwrap_or_default();
            Err(Failure::Faults(vec![format!("{place}one resource is edited at a time")]))
        }
    }
}

fn address(id: &ResourceId) -> [&str; 4] {
    ["tenants", id.tenant.as_str(), id.kind.plural(), id.name.as_str()]
}
