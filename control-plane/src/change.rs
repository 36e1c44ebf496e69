//! How the configuration changes. Read [`Changes::apply`]: its lines are the travel of a change.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::task::TaskTracker;
use tollgate_model::{Document, Issue, Issues, Name, ResourceId};

use crate::content::{ContentError, Difference, needs_held};
use crate::live::{Live, LiveError, LiveState, id_of};
use crate::seal::SealError;
use crate::store::{self, NewRevision, Scope, Store, StoreError, Transaction};
use crate::validate::{Place, Plan, Prepared, Step, Terms, plan};

/// The most resources of one change.
pub const CHANGE_RESOURCES: usize = 50_000;
/// Changes with more resources are worked on beside the threads that answer.
const SMALL: usize = 32;
/// Revisions that are read from the log at once.
pub(crate) const LOG_PAGE: u32 = 256;

/// What an operator wants changed, all of it or none of it.
#[derive(Debug, Default)]
pub struct Change {
    /// What is written and taken away.
    pub operations: Vec<Operation>,
    /// Who looks after what is written.
    pub manager: Manager,
    /// What is taken away besides.
    pub prune: Option<Prune>,
    /// Why, for the history.
    pub message: String,
    /// Whether it is only tried.
    pub is_dry_run: bool,
    /// What was wrong with it already when it was read; told together with all other faults.
    pub faults: Issues,
}

/// One operation of a change.
#[derive(Debug)]
pub struct Operation {
    /// JSON pointer to where it stands in what was sent; issues begin with it.
    pub place: String,
    /// What must be there for it to be carried out.
    pub expect: Expect,
    /// What it does.
    pub action: Action,
}

/// What an operation does.
#[derive(Debug)]
pub enum Action {
    /// Writes a resource.
    Put(Document),
    /// Takes a resource away; does nothing where it is not there.
    Delete(ResourceId),
}

/// What must be there before an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Whatever there is.
    #[default]
    Anything,
    /// The resource at this version.
    Version(u64),
    /// Nothing.
    Absent,
}

/// Who makes a change.
#[derive(Clone, Debug, Default)]
pub struct Manager {
    /// `console`, `cli`, `import` or `api`; none: whoever looks after a resource goes on to.
    pub name: Option<Arc<str>>,
    /// Whether resources that others look after are taken over.
    pub is_forced: bool,
}

impl Manager {
    /// Who looks after a resource from now on.
    pub(crate) fn of(&self, held: &Arc<str>) -> Arc<str> {
        self.name.clone().unwrap_or_else(|| Arc::clone(held))
    }
}

/// Which resources are taken away when a change does not name them.
#[derive(Clone, Debug)]
pub struct Prune {
    /// Those that this manager looks after …
    pub managed_by: Arc<str>,
    /// … in these tenants.
    pub tenants: Vec<Name>,
}

/// A return to an earlier revision.
#[derive(Debug)]
pub struct RollBack {
    /// The revision whose content is to be in force again.
    pub revision: u64,
    /// The tenant whose part goes back; none: all.
    pub tenant: Option<Name>,
    /// Why, for the history.
    pub message: String,
    /// Whether it is only tried.
    pub is_dry_run: bool,
}

/// What became of a change.
#[derive(Debug)]
pub struct Outcome {
    /// The revision that it made; none where nothing changed, or it was only tried.
    pub revision: Option<u64>,
    /// The revision in force when it was done.
    pub in_force: u64,
    /// Whether it was only tried.
    pub is_dry_run: bool,
    /// One for each resource.
    pub lines: Vec<Line>,
}

/// What became of one resource.
#[derive(Debug)]
pub struct Line {
    /// Which.
    pub id: ResourceId,
    /// What was done to it.
    pub done: Done,
    /// Its version from now on; 0 where it is not there.
    pub version: u64,
    /// Where an update differs from what was there.
    pub diff: Vec<Difference>,
}

/// What was done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was not there.
    Create,
    /// It said something else.
    Update,
    /// It was there.
    Delete,
    /// Nothing: it is as it was to be.
    Unchanged,
}

impl Done {
    /// The word in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// What is to be written cannot be run: every fault.
    #[error("the change has faults")]
    Faults(Issues),
    /// Something is there that was not expected, or another manager's.
    #[error("the change meets something else than it expects")]
    Conflict(Issues),
    /// There is no such revision.
    #[error("there is no revision {0}")]
    NoRevision(u64),
    /// More resources than one change may have.
    #[error("a change has at most {CHANGE_RESOURCES} resources")]
    TooMany,
    /// The store did not answer.
    #[error(transparent)]
    Store(StoreError),
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Another control plane, a newer one, has written what this one does not know.
    #[error("follow the change log")]
    Behind(#[from] LiveError),
    /// The control plane is stopping.
    #[error("the control plane is stopping")]
    Stopping,
}

/// Makes changes.
#[derive(Clone)]
pub struct Changes {
    store: Store,
    live: Arc<Live>,
    tasks: TaskTracker,
}

impl Changes {
    pub(crate) fn new(store: Store, live: Arc<Live>, tasks: TaskTracker) -> Self {
        Self { store, live, tasks }
    }

    /// Carries out a change, all of it or nothing, and gives what became of it. When this returns, the
    /// change is durable and on its way to every node. A caller that hangs up does not stop it.
    ///
    /// # Errors
    ///
    /// Why it was not carried out; nothing is changed then.
    pub async fn apply(&self, actor: &str, change: Change) -> Result<Outcome, ChangeError> {
        let (this, actor) = (self.clone(), actor.to_owned());
        let work = self.tasks.spawn(async move {
            let Change { operations, manager, prune, message, is_dry_run, faults } = change;
            if operations.len() > CHANGE_RESOURCES {
                return Err(ChangeError::TooMany);
            }
            let prepared = this.prepare(operations).await?;
            let terms = Terms { manager, prune, now: now(), faults };
            if is_dry_run {
                return this.try_out(prepared, terms).await;
            }
            let mut transaction = this.store.begin().await?;
            this.catch_up_within(&mut transaction).await?;
            let plan = this.plan(prepared, terms).await?;
            this.commit(transaction, &actor, &message, plan).await
        });
        work.await.map_err(|_stopped| ChangeError::Stopping)?
    }

    /// Puts the content of an earlier revision in force again, as a new revision.
    ///
    /// # Errors
    ///
    /// Why it was not done; nothing is changed then.
    pub async fn roll_back(&self, actor: &str, back: RollBack) -> Result<Outcome, ChangeError> {
        let (this, actor) = (self.clone(), actor.to_owned());
        let work = self.tasks.spawn(async move {
            let scope =
                back.tenant.as_ref().map_or(Scope::Platform, |name| Scope::Tenant(name.as_str()));
            let mut transaction = this.store.begin().await?;
            this.catch_up_within(&mut transaction).await?;
            if back.revision > transaction.revision() {
                return Err(ChangeError::NoRevision(back.revision));
            }
            let differences = transaction.changed_since(back.revision, scope).await?;
            let is_tenants = |kind: &str| back.tenant.is_none() || !is_platform(kind);
            let differences = differences.into_iter().filter(|found| is_tenants(&found.kind));
            let prepared =
                differences.map(|found| this.restore(found)).collect::<Result<_, _>>()?;
            let terms = Terms::of(now());
            let plan = this.plan(prepared, terms).await?;
            if back.is_dry_run {
                return Ok(tried(plan));
            }
            let message = if back.message.is_empty() {
                format!("roll back to revision {}", back.revision)
            } else {
                back.message
            };
            this.commit(transaction, &actor, &message, plan).await
        });
        work.await.map_err(|_stopped| ChangeError::Stopping)?
    }

    /// Checks every operation by itself, while nobody waits for it.
    async fn prepare(&self, operations: Vec<Operation>) -> Result<Vec<Prepared>, ChangeError> {
        let contents = self.live.contents().clone();
        let work = move |operations: Vec<Operation>| {
            let one = |operation: Operation| {
                let step = match operation.action {
                    Action::Delete(id) => Step::Delete(id),
                    Action::Put(document) if needs_held(&document) => Step::PutHeld(document),
                    Action::Put(document) => {
                        step(document.id.clone(), contents.given(document, None))?
                    }
                };
                let place = Place::At(operation.place);
                Ok(Prepared { place, expect: operation.expect, keeper: None, step })
            };
            operations.into_iter().map(one).collect::<Result<Vec<_>, ChangeError>>()
        };
        if operations.len() <= SMALL && !operations.iter().any(takes_long) {
            return work(operations);
        }
        let done = tokio::task::spawn_blocking(move || work(operations)).await;
        done.map_err(|_stopped| ChangeError::Stopping)?
    }

    /// What brings a resource back to what it said.
    fn restore(&self, found: store::Difference) -> Result<Prepared, ChangeError> {
        let id = id_of(&found.kind, &found.tenant, &found.name).map_err(|source| {
            StoreError::corrupt(format!("{} {}/{}", found.kind, found.tenant, found.name), source)
        })?;
        let step = match found.then {
            Some(content) => step(id.clone(), self.live.contents().kept(id, &content))?,
            None => Step::Delete(id),
        };
        let keeper = Some(Arc::from(found.managed_by));
        Ok(Prepared { place: Place::Named, expect: Expect::Anything, keeper, step })
    }

    async fn plan(&self, prepared: Vec<Prepared>, terms: Terms) -> Result<Plan, ChangeError> {
        let (current, contents) = (self.live.state(), self.live.contents().clone());
        if prepared.len() <= SMALL {
            return plan(&current, prepared, &terms, &contents);
        }
        let work = move || plan(&current, prepared, &terms, &contents);
        tokio::task::spawn_blocking(work).await.map_err(|_stopped| ChangeError::Stopping)?
    }

    async fn try_out(&self, prepared: Vec<Prepared>, terms: Terms) -> Result<Outcome, ChangeError> {
        let newest = self.store.newest_revision().await?;
        self.catch_up(newest).await?;
        Ok(tried(self.plan(prepared, terms).await?))
    }

    async fn commit(
        &self,
        mut transaction: Transaction,
        actor: &str,
        message: &str,
        plan: Plan,
    ) -> Result<Outcome, ChangeError> {
        let Plan { next, changes, changed, lines } = plan;
        let is_dry_run = false;
        if changes.is_empty() {
            let in_force = transaction.revision();
            return Ok(Outcome { revision: None, in_force, is_dry_run, lines });
        }
        let new = NewRevision { actor, message, at: next.committed_at() };
        let number = transaction.append(new, &changes).await?;
        transaction.commit().await?;
        self.live.publish(next, changed);
        tracing::info!(revision = number, actor, resources = changes.len(), "committed a revision");
        Ok(Outcome { revision: Some(number), in_force: number, is_dry_run, lines })
    }

    /// Takes over what other control planes have committed; under the lock, so that nothing is missing.
    async fn catch_up_within(&self, transaction: &mut Transaction) -> Result<(), ChangeError> {
        while self.live.state().revision() < transaction.revision() {
            let from = self.live.state().revision();
            let revisions = transaction.changes_after(from, LOG_PAGE).await?;
            self.advance(from, &revisions)?;
        }
        Ok(())
    }

    /// Takes over what is committed, up to `revision` at least.
    pub(crate) async fn catch_up(&self, revision: u64) -> Result<(), ChangeError> {
        while self.live.state().revision() < revision {
            let from = self.live.state().revision();
            let revisions = self.store.changes_after(from, LOG_PAGE).await?;
            self.advance(from, &revisions)?;
        }
        Ok(())
    }

    fn advance(&self, from: u64, revisions: &[store::Revision]) -> Result<(), ChangeError> {
        if revisions.is_empty() && self.live.state().revision() == from {
            let what = format!("the change log after revision {from}");
            return Err(StoreError::corrupt(what, "it ends before the newest revision").into());
        }
        Ok(self.live.follow(revisions)?)
    }

    pub(crate) fn state(&self) -> Arc<LiveState> {
        self.live.state()
    }
}

/// Whether a password has to be hashed for it, which is costly on purpose.
fn takes_long(operation: &Operation) -> bool {
    match &operation.action {
        Action::Put(document) => document.spec.pointer("/basic/password/value").is_some(),
        Action::Delete(_) => false,
    }
}

/// A candidate, or its faults, as a step; other troubles end the whole change.
fn step(
    id: ResourceId,
    candidate: Result<crate::content::Candidate, ContentError>,
) -> Result<Step, ChangeError> {
    match candidate {
        Ok(candidate) => Ok(Step::Put(Box::new(candidate))),
        Err(ContentError::Faults(issues)) => Ok(Step::Faulty(id, issues)),
        Err(ContentError::Seal(error)) => Err(error.into()),
        Err(ContentError::Store(error)) => Err(error.into()),
    }
}

fn tried(plan: Plan) -> Outcome {
    let in_force = plan.next.revision().saturating_sub(1);
    Outcome { revision: None, in_force, is_dry_run: true, lines: plan.lines }
}

fn is_platform(kind: &str) -> bool {
    tollgate_model::Kind::from_name(kind).is_some_and(tollgate_model::Kind::is_platform)
}

/// Now, as exactly as the store keeps it.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

impl From<Issue> for ChangeError {
    fn from(issue: Issue) -> Self {
        Self::Faults(Issues::one(issue))
    }
}
