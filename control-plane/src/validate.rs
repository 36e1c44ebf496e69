//! What a change makes of the configuration: the next state, or every reason why there is none. Pure: it
//! reads the current state and the change, and nothing else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tollgate_model::{Document, Issue, Issues, Name, ResourceId};

use crate::change::{ChangeError, Done, Expect, Line, Manager, Prune};
use crate::content::{Candidate, ContentError, Contents, differences, shown, to_store};
use crate::live::{Entry, LiveState};
use crate::store::{self, Content, StoreError};

/// Where in what was sent an operation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At this JSON pointer.
    At(String),
    /// Nowhere: the resource is named instead.
    Named,
}

impl Place {
    /// An issue of a resource, as the sender of the change sees it.
    fn issue(&self, id: &ResourceId, issue: Issue) -> Issue {
        match self {
            Self::At(at) => issue.under(at),
            Self::Named => named(id, issue, ""),
        }
    }
}

/// An issue of a resource that was not sent: its sentence names the resource.
fn named(id: &ResourceId, issue: Issue, at: &str) -> Issue {
    let colon = if issue.at.is_empty() { "" } else { " at " };
    let problem = format!("{id}{colon}{}: {}", issue.at, issue.problem);
    Issue { at: at.to_owned(), code: issue.code, problem }
}

/// An operation that was looked at by itself.
pub(crate) struct Prepared {
    pub(crate) place: Place,
    pub(crate) expect: Expect,
    /// Who looks after it where it is not there and the change names nobody.
    pub(crate) keeper: Option<Arc<str>>,
    pub(crate) step: Step,
}

/// What an operation does.
pub(crate) enum Step {
    /// Writes a resource.
    Put(Box<Candidate>),
    /// Writes one whose sealed values are those in force.
    PutHeld(Document),
    /// Takes a resource away.
    Delete(ResourceId),
    /// Cannot be done.
    Faulty(ResourceId, Issues),
}

impl Step {
    fn id(&self) -> &ResourceId {
        match self {
            Self::Put(candidate) => &candidate.id,
            Self::PutHeld(document) => &document.id,
            Self::Delete(id) | Self::Faulty(id, _) => id,
        }
    }
}

/// What a change comes to.
pub(crate) struct Plan {
    pub(crate) next: LiveState,
    /// For the log; empty where nothing changes.
    pub(crate) changes: Vec<store::Change>,
    pub(crate) changed: Vec<ResourceId>,
    /// One for each operation.
    pub(crate) lines: Vec<Line>,
}

/// What all operations of a change have in common.
pub(crate) struct Terms {
    pub(crate) manager: Manager,
    pub(crate) prune: Option<Prune>,
    pub(crate) now: Timestamp,
    /// Of what did not even read; each at its place.
    pub(crate) faults: Issues,
}

impl Terms {
    /// Whoever looks after a resource goes on to.
    pub(crate) fn of(now: Timestamp) -> Self {
        Self { manager: Manager::default(), prune: None, now, faults: Issues::default() }
    }
}

/// Puts a change on top of the current state.
///
/// # Errors
///
/// Every fault of every operation, each at its place.
pub(crate) fn plan(
    current: &LiveState,
    prepared: Vec<Prepared>,
    terms: &Terms,
    contents: &Contents,
) -> Result<Plan, ChangeError> {
    let mut planner = Planner {
        current,
        terms,
        contents,
        next: current.next(terms.now),
        changes: Vec::with_capacity(prepared.len()),
        lines: Vec::with_capacity(prepared.len()),
        places: HashMap::with_capacity(prepared.len()),
        faulty: HashSet::new(),
        faults: terms.faults.clone(),
        conflicts: Issues::default(),
    };
    for operation in prepared {
        planner.take(operation)?;
    }
    if let Some(prune) = &terms.prune {
        planner.prune(prune)?;
    }
    planner.check_all()
}

struct Planner<'a> {
    current: &'a LiveState,
    terms: &'a Terms,
    contents: &'a Contents,
    next: LiveState,
    changes: Vec<store::Change>,
    lines: Vec<Line>,
    places: HashMap<ResourceId, Place>,
    /// What is to be written and cannot be run.
    faulty: HashSet<ResourceId>,
    faults: Issues,
    conflicts: Issues,
}

impl Planner<'_> {
    fn take(&mut self, operation: Prepared) -> Result<(), ChangeError> {
        let Prepared { place, expect, keeper, step } = operation;
        let id = step.id().clone();
        if self.places.contains_key(&id) {
            let problem = format!("{id} stands twice in this change; say it once");
            self.faults.0.push(place.issue(&id, Issue::new("", "duplicate", problem)));
            return Ok(());
        }
        self.places.insert(id.clone(), place.clone());
        let held = self.current.get(&id).cloned();
        if let Err(issue) = expected(&id, expect, held.as_deref()) {
            self.conflicts.0.push(place.issue(&id, issue));
        }
        let candidate = match step {
            Step::Put(candidate) => Ok(*candidate),
            Step::PutHeld(document) => self.contents.given(document, held.as_deref()),
            Step::Faulty(_, issues) => Err(ContentError::Faults(issues)),
            Step::Delete(_) => return self.delete(&id, held.as_deref(), &place),
        };
        match candidate {
            Ok(candidate) => match held {
                Some(held) => self.update(candidate, &held, &place),
                None => self.create(candidate, keeper),
            },
            Err(ContentError::Faults(issues)) => {
                self.faults.0.extend(issues.0.into_iter().map(|issue| place.issue(&id, issue)));
                self.faulty.insert(id);
                Ok(())
            }
            Err(ContentError::Seal(error)) => Err(error.into()),
            Err(ContentError::Store(error)) => Err(error.into()),
        }
    }

    fn create(
        &mut self,
        candidate: Candidate,
        keeper: Option<Arc<str>>,
    ) -> Result<(), ChangeError> {
        let id = candidate.id.clone();
        let after = to_store(&candidate.labels, &candidate.kept)?;
        let named = self.terms.manager.name.clone();
        let managed_by = named.or(keeper).unwrap_or_else(|| Arc::from("api"));
        self.write(&id, &managed_by, Content::Create { after });
        self.line(id, Done::Create, self.next.revision());
        self.next.put(candidate, managed_by);
        Ok(())
    }

    fn update(
        &mut self,
        candidate: Candidate,
        held: &Entry,
        place: &Place,
    ) -> Result<(), ChangeError> {
        let id = candidate.id.clone();
        let managed_by = self.terms.manager.of(&held.managed_by);
        let is_same = *held.labels == candidate.labels && says_the_same(held, &candidate);
        let is_taken_over = self.terms.manager.is_forced && managed_by != held.managed_by;
        if is_same && !is_taken_over {
            self.line(id, Done::Unchanged, held.checked.version);
            return Ok(());
        }
        self.check_manager(&id, held, place);
        let before = to_store(&held.labels, &held.kept)?;
        let after = to_store(&candidate.labels, &candidate.kept)?;
        let mut diff = differences(&shown(&id, &before), &shown(&id, &after));
        if diff.is_empty() && !is_same {
            // What differs is sealed: that it does is all that can be said.
            let sealed = Some(Value::from("(sealed)"));
            let at = "/spec".to_owned();
            diff.push(crate::content::Difference { at, before: sealed.clone(), after: sealed });
        }
        self.write(&id, &managed_by, Content::Update { before, after });
        self.lines.push(Line { id, done: Done::Update, version: self.next.revision(), diff });
        self.next.put(candidate, managed_by);
        Ok(())
    }

    fn delete(
        &mut self,
        id: &ResourceId,
        held: Option<&Entry>,
        place: &Place,
    ) -> Result<(), ChangeError> {
        let Some(held) = held else {
            self.line(id.clone(), Done::Unchanged, 0);
            return Ok(());
        };
        self.check_manager(id, held, place);
        let before = to_store(&held.labels, &held.kept)?;
        let managed_by = Arc::clone(&held.managed_by);
        self.write(id, &managed_by, Content::Delete { before });
        self.line(id.clone(), Done::Delete, 0);
        self.next.take_out(id);
        Ok(())
    }

    /// Takes away what the manager made in these tenants and this change no longer has.
    fn prune(&mut self, prune: &Prune) -> Result<(), ChangeError> {
        let tenants: HashSet<&Name> = prune.tenants.iter().collect();
        let current = self.current;
        let surplus = current.iter().filter(|entry| {
            let id = &entry.checked.id;
            *entry.managed_by == *prune.managed_by
                && !id.kind.is_platform()
                && tenants.contains(&id.tenant)
                && !self.places.contains_key(id)
        });
        let surplus: Vec<Arc<Entry>> = surplus.cloned().collect();
        for entry in surplus {
            let (id, place) = (entry.checked.id.clone(), Place::At("/prune".to_owned()));
            self.places.insert(id.clone(), Place::Named);
            self.delete(&id, Some(&entry), &place)?;
        }
        Ok(())
    }

    fn check_manager(&mut self, id: &ResourceId, held: &Entry, place: &Place) {
        let manager = &self.terms.manager;
        let Some(name) = manager.name.as_deref().filter(|_| !manager.is_forced) else { return };
        if *name != *held.managed_by {
            let by = &held.managed_by;
            let problem =
                format!("{id} is managed by `{by}`; change it there, or take it over with `force`");
            self.conflicts.0.push(place.issue(id, Issue::new("", MANAGED_ELSEWHERE, problem)));
        }
    }

    fn write(&mut self, id: &ResourceId, managed_by: &Arc<str>, content: Content) {
        self.changes.push(store::Change {
            kind: id.kind.name().to_owned(),
            tenant: id.tenant.as_str().to_owned(),
            name: id.name.as_str().to_owned(),
            managed_by: managed_by.to_string(),
            content,
        });
    }

    fn line(&mut self, id: ResourceId, done: Done, version: u64) {
        self.lines.push(Line { id, done, version, diff: Vec::new() });
    }

    /// What only all resources together show, as far as the change touches them.
    fn check_all(mut self) -> Result<Plan, ChangeError> {
        let touched = self.lines.iter().filter(|line| line.done != Done::Unchanged);
        let changed: Vec<ResourceId> = touched.map(|line| line.id.clone()).collect();
        for (id, issues) in self.next.set().check(&changed) {
            let found = issues.0.into_iter().filter(|issue| !self.is_consequence(&id, issue));
            let found: Vec<Issue> = found.map(|issue| self.place(&id, issue)).collect();
            self.faults.0.extend(found);
        }
        if !self.faults.0.is_empty() {
            self.faults.0.extend(self.conflicts.0);
            return Err(ChangeError::Faults(self.faults));
        }
        if !self.conflicts.0.is_empty() {
            return Err(ChangeError::Conflict(self.conflicts));
        }
        Ok(Plan { next: self.next, changes: self.changes, changed, lines: self.lines })
    }

    /// Whether a resource is only missing because it is faulty itself, which is told already.
    fn is_consequence(&self, id: &ResourceId, issue: &Issue) -> bool {
        if issue.code != "unknown_reference" {
            return false;
        }
        // Which resources those are that did not even read, nobody knows.
        if !self.terms.faults.0.is_empty() {
            return true;
        }
        self.next.set().get(id).is_some_and(|checked| {
            let named = checked.references.iter().filter(|reference| reference.at == issue.at);
            named.into_iter().any(|reference| self.faulty.contains(&reference.to))
        })
    }

    fn place(&self, id: &ResourceId, issue: Issue) -> Issue {
        if let Some(place) = self.places.get(id) {
            return place.issue(id, issue);
        }
        // A tenant's hosts decide about its APIs, and so a change of the one may break the other.
        let cause = self.places.get(&ResourceId::of_tenant(&id.tenant));
        match cause {
            Some(Place::At(at)) => named(id, issue, at),
            Some(Place::Named) | None => named(id, issue, ""),
        }
    }
}

/// The code of a write to what another manager looks after.
pub(crate) const MANAGED_ELSEWHERE: &str = "managed_elsewhere";

fn expected(id: &ResourceId, expect: Expect, held: Option<&Entry>) -> Result<(), Issue> {
    let problem = match (expect, held.map(|held| held.checked.version)) {
        (Expect::Anything, _) | (Expect::Absent, None) => return Ok(()),
        (Expect::Version(expected), Some(actual)) if expected == actual => return Ok(()),
        (Expect::Version(expected), Some(actual)) => {
            format!("{id} is at version {actual} by now, not {expected}; read it again")
        }
        (Expect::Version(expected), None) => {
            format!("{id} is not there, at version {expected} or any")
        }
        (Expect::Absent, Some(actual)) => format!("{id} is there already, at version {actual}"),
    };
    Err(Issue::new("", "version_conflict", problem))
}

/// Whether both say the same to nodes, however it is written.
fn says_the_same(held: &Entry, candidate: &Candidate) -> bool {
    if held.sent == candidate.sent {
        return true;
    }
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    read(&held.sent) == read(&candidate.sent)
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
