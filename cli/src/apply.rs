//! `tollgate apply`: what resource files say becomes so, all of it in one revision or none of it.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Value, json};
use tollgate_model::{Document, Name};

use crate::admin::{Changed, Rejection};
use crate::changes::{self, ChangeArguments};
use crate::client::Call;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Entry, Envelopes, FileArguments};
use crate::secrets;
use crate::session::Session;
use crate::validate;

/// The mark of what this program manages; `--prune` takes away nothing else.
pub(crate) const MANAGED_BY: &str = "cli";

/// What `tollgate apply` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: FileArguments,
    #[command(flatten)]
    change: ChangeArguments,
    /// Check and show what would change; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete what `apply` made before, in the tenants that the files name, and the files no longer have
    #[arg(long)]
    prune: bool,
    /// Take over what the console, an import or another program manages
    #[arg(long)]
    force: bool,
}

/// Files, checked as far as they show it themselves, with their secrets looked up.
pub(crate) struct Prepared {
    entries: Vec<Entry>,
    /// One for each entry.
    pub(crate) documents: Vec<Document>,
    prune: Option<Value>,
}

/// Carries out `tollgate apply`.
pub(crate) async fn run(arguments: Arguments, session: &Session) -> Result<Outcome, Failure> {
    let prepared = Prepared::read(&arguments.files, arguments.prune, session).await?;
    let mut body = prepared.body(arguments.dry_run, arguments.change.message.as_deref());
    if let (true, Value::Object(body)) = (arguments.force, &mut body) {
        body.insert("force".to_owned(), true.into());
    }
    let wait = arguments.change.wait.filter(|_| !arguments.dry_run);
    let answer = prepared.send(&body, wait, session).await?;
    if !session.out.is_for_people() {
        session.out.value(&answer)?;
    }
    let changed: Changed = session.client.typed(&answer)?;
    changes::report(&changed, |rejection| prepared.place(rejection), &session.out)
}

impl Prepared {
    /// Reads files and looks up their secrets.
    ///
    /// # Errors
    ///
    /// Every fault that the files show themselves, each with its file and line.
    pub(crate) async fn read(
        arguments: &FileArguments,
        is_pruning: bool,
        session: &Session,
    ) -> Result<Self, Failure> {
        let mut entries = files::load(&arguments.file)?;
        // Only the faults of a file are told before the server was asked for anything.
        let named = session.named_tenant().cloned().unwrap_or_else(Name::default_name);
        let Envelopes { documents, faults } = files::envelopes(&entries, &named);
        if !faults.is_empty() {
            return Err(Failure::Faults(validate::check(&mut entries, &named).faults));
        }
        let mut unresolved = Vec::new();
        for entry in &mut entries {
            if let Err(issues) = secrets::resolve(&mut entry.value, &entry.folder.clone()) {
                unresolved.extend(issues.0.iter().map(|issue| entry.describe(issue)));
            }
        }
        if !unresolved.is_empty() {
            return Err(Failure::Faults(unresolved));
        }
        let mut prepared =
            Self { entries, documents: documents.into_iter().flatten().collect(), prune: None };
        prepared.settle_tenants(session).await?;
        if is_pruning {
            let is_tenants = |document: &&Document| !document.id.kind.is_platform();
            let tenants: BTreeSet<&str> = prepared
                .documents
                .iter()
                .filter(is_tenants)
                .map(|document| document.id.tenant.as_str())
                .collect();
            prepared.prune = Some(json!({ "managed_by": MANAGED_BY, "tenants": tenants }));
        }
        Ok(prepared)
    }

    /// The body of the change.
    #[must_use]
    pub(crate) fn body(&self, is_dry_run: bool, message: Option<&str>) -> Value {
        let resources: Vec<&Value> = self.entries.iter().map(|entry| &entry.value).collect();
        let mut body = json!({
            "message": message,
            "managed_by": MANAGED_BY,
            "dry_run": is_dry_run,
            "resources": resources,
            "deletions": [],
        });
        if let (Some(prune), Value::Object(body)) = (&self.prune, &mut body) {
            body.insert("prune".to_owned(), prune.clone());
        }
        body
    }

    /// Sends the change. Faults that the server finds are named by file and line.
    pub(crate) async fn send(
        &self,
        body: &Value,
        wait: Option<std::time::Duration>,
        session: &Session,
    ) -> Result<Value, Failure> {
        match session.client.call(Call::post(&["changes"], body).wait(wait)).await {
            Err(Failure::Problem(problem)) if !problem.issues.is_empty() => {
                Err(Failure::Faults(files::describe_all(&self.entries, &problem.issues)))
            }
            other => other,
        }
    }

    /// Where in the files the reasons of a rejection stand.
    fn place(&self, rejection: &Rejection) -> Option<Vec<String>> {
        let index = self.documents.iter().position(|document| {
            document.id.kind.name() == rejection.kind
                && document.id.tenant.as_str() == rejection.tenant
                && document.id.name.as_str() == rejection.name
        })?;
        let entry = self.entries.get(index)?;
        Some(rejection.issues.iter().map(|issue| entry.describe(issue)).collect())
    }

    /// Writes the tenant into every document that names none and is a tenant's, so that the server
    /// and this program mean the same resource.
    async fn settle_tenants(&mut self, session: &Session) -> Result<(), Failure> {
        let lacks = |entry: &&mut Entry, document: &Document| {
            entry.value.get("tenant").is_none() && !document.id.kind.is_platform()
        };
        let mut pairs: Vec<_> = self
            .entries
            .iter_mut()
            .zip(&mut self.documents)
            .filter(|(entry, document)| lacks(entry, document))
            .collect();
        if pairs.is_empty() {
            return Ok(());
        }
        let tenant = session.tenant().await?;
        for (entry, document) in &mut pairs {
            document.id.tenant = tenant.clone();
            if let Value::Object(object) = &mut entry.value {
                object.insert("tenant".to_owned(), Value::from(tenant.as_str()));
            }
        }
        Ok(())
    }
}
