//! `tollgate validate`: checks resource files where they are, without a control plane.
//!
//! It is the control plane's own check. What only the control plane can know, whether a resource
//! is there that the files name and do not hold, is told and is no fault.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;
use tollgate_model::{Issue, Issues, Kind, Name, ResourceId};
use tollgate_policy::Set;
use tollgate_policy::check::check as check_one;

use crate::failure::{Failure, Outcome};
use crate::files::{self, Entry, Envelopes, FileArguments};
use crate::output::Output;
use crate::secrets;
use crate::session::parse_name;
use crate::settings::Global;

/// What a check of files found, each a line with file and line number.
#[derive(Default)]
pub(crate) struct Findings {
    /// What is wrong.
    pub(crate) faults: Vec<String>,
    /// What is wrong unless the control plane has what the files do not.
    pub(crate) open: Vec<String>,
}

/// Carries out `tollgate validate`.
pub(crate) fn run(
    arguments: &FileArguments,
    global: &Global,
    out: &Output,
) -> Result<Outcome, Failure> {
    let tenant = match &global.tenant {
        Some(tenant) => parse_name(tenant)?,
        None => Name::default_name(),
    };
    let mut entries = files::load(&arguments.file)?;
    let findings = check(&mut entries, &tenant);
    if !findings.faults.is_empty() {
        return Err(Failure::Faults(findings.faults));
    }
    if !out.is_for_people() {
        out.value(&json!({ "valid": true, "resources": entries.len(), "open": findings.open }))?;
        return Ok(Outcome::Done);
    }
    for line in &findings.open {
        out.note(line);
    }
    let noun = if entries.len() == 1 { "resource is" } else { "resources are" };
    let unless = if findings.open.is_empty() {
        ""
    } else {
        ", if the control plane has what is named above"
    };
    out.line(&format!("{} {noun} valid{unless}", entries.len()))?;
    Ok(Outcome::Done)
}

/// Checks documents by themselves and together. What secrets are made of is not looked up.
pub(crate) fn check(entries: &mut [Entry], tenant: &Name) -> Findings {
    let mut faults: Vec<(usize, Issues)> = Vec::new();
    for (i, entry) in entries.iter_mut().enumerate() {
        if let Err(issues) = secrets::placehold(&mut entry.value) {
            faults.push((i, issues));
        }
    }
    let Envelopes { documents, faults: of_envelopes } = files::envelopes(entries, tenant);
    let mut set = Set::default();
    let mut indexes: HashMap<ResourceId, usize> = HashMap::new();
    for (i, document) in documents.iter().enumerate() {
        // A secret without its value was reported above, where it says so.
        let is_reported = faults.iter().any(|(reported, _)| *reported == i);
        match document.as_ref().map(|document| check_one(document, 0)) {
            Some(Ok(checked)) => {
                indexes.insert(checked.id.clone(), i);
                set.insert(Arc::new(checked));
            }
            Some(Err(issues)) if !is_reported => faults.push((i, issues)),
            Some(Err(_)) | None => {}
        }
    }
    faults.extend(of_envelopes);
    let touched: Vec<ResourceId> = indexes.keys().cloned().collect();
    let mut open = Vec::new();
    for (id, issues) in set.check(&touched) {
        let Some(&i) = indexes.get(&id) else { continue };
        let (unsure, sure) = issues.0.into_iter().partition(|issue| is_open(issue, &id, &set));
        faults.push((i, Issues(sure)));
        open.push((i, Issues(unsure)));
    }
    Findings { faults: lines(entries, faults), open: lines(entries, open) }
}

/// Whether a fault may be none where the control plane holds more than the files.
fn is_open(issue: &Issue, id: &ResourceId, set: &Set) -> bool {
    match issue.code.as_str() {
        "unknown_reference" => true,
        "no_host" | "foreign_host" => {
            id.tenant != Name::default_name()
                && set
                    .get(&ResourceId::new(Kind::Tenant, Name::default_name(), id.tenant.clone()))
                    .is_none()
        }
        _ => false,
    }
}

fn lines(entries: &[Entry], found: Vec<(usize, Issues)>) -> Vec<String> {
    let each =
        found.into_iter().flat_map(|(i, issues)| issues.0.into_iter().map(move |issue| (i, issue)));
    files::describe_located(entries, each.collect())
}
