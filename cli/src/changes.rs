//! Changes as people read them: what was done to which resource, and where the nodes stand.

use clap::Args;
use similar::TextDiff;
use std::time::Duration;

use serde_json::Value;
use tollgate_model::file::dotted;

use crate::admin::{Applied, Change, Changed, Rejection};
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::session::parse_duration;
use crate::yaml;

/// The flags of every verb that makes a change.
#[derive(Args)]
pub(crate) struct ChangeArguments {
    /// Wait until every node runs it, at most so long (10s where no time is given)
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "10s", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
}

/// Prints what became of a change, and says whether every node runs it.
///
/// `place` names where in the user's files a rejected resource stands.
pub(crate) fn report(
    changed: &Changed,
    place: impl Fn(&Rejection) -> Option<Vec<String>>,
    out: &Output,
) -> Result<Outcome, Failure> {
    if out.is_for_people() {
        let rows = changed.changes.iter().map(|change| {
            vec![
                done(&change.op, changed.dry_run).to_owned(),
                change.kind.clone(),
                format!("{}/{}", change.tenant, change.name),
            ]
        });
        out.table(&["RESULT", "KIND", "RESOURCE"], rows.collect(), "no resource is named")?;
        out.line(&summary(changed))?;
    }
    match &changed.applied {
        Some(applied) => report_applied(applied, place, out),
        None => Ok(Outcome::Done),
    }
}

/// Says which nodes run a revision; on standard error which do not, and why.
pub(crate) fn report_applied(
    applied: &Applied,
    place: impl Fn(&Rejection) -> Option<Vec<String>>,
    out: &Output,
) -> Result<Outcome, Failure> {
    if out.is_for_people() {
        out.line(&if applied.nodes_total == 0 {
            format!("no node is connected to run revision {}", applied.revision)
        } else {
            format!(
                "{} of {} nodes run revision {}",
                applied.nodes_applied, applied.nodes_total, applied.revision
            )
        })?;
    }
    for node in &applied.pending {
        out.note(&format!(
            "node {node} has not answered in time; `tollgate status` shows when it does"
        ));
    }
    for rejection in &applied.rejected {
        out.note(&format!(
            "node {} refuses {} {}/{}:",
            rejection.node, rejection.kind, rejection.tenant, rejection.name
        ));
        let lines = place(rejection).unwrap_or_else(|| reasons(&rejection.issues));
        lines.iter().for_each(|line| out.note(&format!("  {line}")));
    }
    Ok(applied.outcome())
}

/// Issues of a resource, a line each.
#[must_use]
pub(crate) fn reasons(issues: &[tollgate_model::Issue]) -> Vec<String> {
    issues
        .iter()
        .map(|issue| format!("{}: {} ({})", dotted(&issue.at), issue.problem, issue.code))
        .collect()
}

fn done(op: &str, is_dry_run: bool) -> &str {
    match (op, is_dry_run) {
        ("create", false) => "created",
        ("update", false) => "updated",
        ("delete", false) => "deleted",
        ("create", true) => "would create",
        ("update", true) => "would update",
        ("delete", true) => "would delete",
        (other, _) => other,
    }
}

fn summary(changed: &Changed) -> String {
    let counts: Vec<String> = ["create", "update", "delete", "unchanged"]
        .into_iter()
        .filter_map(|op| {
            let count = changed.changes.iter().filter(|change| change.op == op).count();
            let word = match op {
                "unchanged" => op.to_owned(),
                _ if changed.dry_run => format!("to {op}"),
                _ => done(op, false).to_owned(),
            };
            (count > 0).then(|| format!("{count} {word}"))
        })
        .collect();
    let counts = counts.join(", ");
    match changed.revision {
        _ if changed.dry_run => format!("dry run, nothing is changed: {counts}"),
        Some(revision) => format!("revision {revision}: {counts}"),
        None => format!("nothing to change: {counts}"),
    }
}

/// What a revision did to a resource, as a unified diff of YAML.
#[must_use]
pub(crate) fn unified(change: &Change) -> String {
    if change.before.is_null() && change.after.is_null() {
        let mut text = format!("{} {}\n", change.op, change.id());
        for field in change.diff.iter().flatten() {
            let side = |value: &Option<Value>| {
                value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string)
            };
            text.push_str(&format!(
                "  {}: {} -> {}\n",
                dotted(&field.at),
                side(&field.before),
                side(&field.after)
            ));
        }
        return text;
    }
    let text = |value: &Value| if value.is_null() { String::new() } else { yaml::document(value) };
    unified_texts(&change.id(), &text(&change.before), &text(&change.after))
}

/// A unified diff of two texts of the resource that `title` names; empty where they are equal.
#[must_use]
pub(crate) fn unified_texts(title: &str, before: &str, after: &str) -> String {
    let side = |text: &str, which: &str| {
        if text.is_empty() { "/dev/null".to_owned() } else { format!("{title} ({which})") }
    };
    TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(3)
        .header(&side(before, "before"), &side(after, "after"))
        .to_string()
}
