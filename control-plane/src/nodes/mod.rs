//! What each node runs, refuses and lags behind: of those that are connected here from their own word, of
//! the others from what their control plane wrote down.

mod status;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tollgate_model::ResourceId;
use tollgate_model::wire::issues_from_wire;
use tollgate_proto::v1;

use self::status::{names, node_row, of_row};
use crate::authority::NodeIdentity;
use crate::cause;
use crate::store::{ReportRow, Store, StoreError};

pub(crate) use self::status::{Applied, NodeStatus, Purged, Rejected};

/// How often what nodes run is written down though nothing happened, where others read it.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// The same, where nobody else reads it.
const REPORT_EVERY_ALONE: Duration = Duration::from_mins(1);
/// The shortest time between two writes: what happens in between is written down as one.
const REPORT_PAUSE: Duration = Duration::from_millis(50);
/// What was not confirmed for so long is not believed any more: its control plane is gone.
const BELIEVED_FOR: SignedDuration = SignedDuration::from_secs(16);
/// How often others' words are read while somebody waits for them.
const READ_EVERY: Duration = Duration::from_millis(50);

type Key = (String, String);

struct Local {
    status: NodeStatus,
    /// The stream that it is connected by; none where it has left.
    seat: Option<(u64, CancellationToken)>,
    is_dirty: bool,
}

#[derive(Default)]
struct Table {
    local: HashMap<Key, Local>,
    /// What other control planes wrote down.
    remote: Vec<NodeStatus>,
    seats: u64,
}

/// All nodes.
pub(crate) struct Nodes {
    store: Store,
    /// Tells this process from all others of the store.
    replica: String,
    table: Mutex<Table>,
    changed: watch::Sender<()>,
    live_nodes: watch::Sender<u32>,
    to_report: Notify,
}

/// A node's place while its stream is open. Dropped, the node has left.
pub(crate) struct Seat {
    nodes: Arc<Nodes>,
    key: Key,
    id: u64,
    /// Cancelled where another stream of the same node takes its place, or the node is expelled.
    pub(crate) replaced: CancellationToken,
}

impl Nodes {
    pub(crate) fn new(store: Store, replica: String) -> Self {
        Self {
            store,
            replica,
            table: Mutex::default(),
            changed: watch::Sender::new(()),
            live_nodes: watch::Sender::new(0),
            to_report: Notify::new(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats a node. A stream that it had before ends.
    pub(crate) fn connect(
        self: &Arc<Self>,
        identity: &NodeIdentity,
        hello: &v1::Hello,
        now: Timestamp,
    ) -> Seat {
        let key = (identity.gateway().to_owned(), identity.node().to_owned());
        let replaced = CancellationToken::new();
        let mut table = self.table();
        table.seats += 1;
        let id = table.seats;
        let local = Local {
            status: NodeStatus {
                gateway: key.0.clone(),
                name: key.1.clone(),
                build: hello.build.clone(),
                labels: hello.labels.clone().into_iter().collect(),
                is_connected: true,
                revision: None,
                purge: (hello.purge_epoch == self.store.epoch()).then_some(hello.purge_number),
                last_seen_at: now,
                ..NodeStatus::default()
            },
            seat: Some((id, replaced.clone())),
            is_dirty: true,
        };
        let before = table.local.insert(key.clone(), local);
        if let Some((_, seat)) = before.and_then(|before| before.seat) {
            tracing::warn!(
                node = key.1,
                gateway = key.0,
                "a node has come twice; the newer stream stays"
            );
            seat.cancel();
        }
        table.remote.retain(|status| (&status.gateway, &status.name) != (&key.0, &key.1));
        self.note(&table, true);
        drop(table);
        Seat { nodes: Arc::clone(self), key, id, replaced }
    }

    /// Tells all who wait, and counts who is there.
    fn note(&self, table: &Table, is_to_report: bool) {
        let connected = table.all().filter(|status| status.is_connected).count();
        let connected = u32::try_from(connected).unwrap_or(u32::MAX);
        self.live_nodes.send_if_modified(|count| std::mem::replace(count, connected) != connected);
        self.changed.send_replace(());
        if is_to_report {
            self.to_report.notify_one();
        }
    }

    /// How many nodes are connected; changes with it.
    pub(crate) fn live_nodes(&self) -> watch::Receiver<u32> {
        self.live_nodes.subscribe()
    }

    /// All nodes that are connected somewhere, or were here a moment ago.
    pub(crate) fn present(&self) -> Vec<NodeStatus> {
        self.table().all().cloned().collect()
    }

    /// All nodes that have ever joined, by gateway and name.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub(crate) async fn all(&self) -> Result<Vec<NodeStatus>, StoreError> {
        let rows = self.store.nodes().await?;
        let reports = self.store.node_reports().await?;
        let mut known: BTreeMap<Key, NodeStatus> = rows.into_iter().map(of_row).collect();
        let now = Timestamp::now();
        for report in reports {
            let key = (report.gateway.clone(), report.name.clone());
            if known.contains_key(&key)
                && let Some(status) = self.of_report(report, now)
            {
                known.insert(key, status);
            }
        }
        for local in self.table().local.values() {
            let key = (local.status.gateway.clone(), local.status.name.clone());
            let is_newest =
                local.seat.is_some() || known.get(&key).is_none_or(|held| !held.is_connected);
            if is_newest {
                known.insert(key, local.status.clone());
            }
        }
        Ok(known.into_values().collect())
    }

    /// What another control plane, or an earlier process, wrote down.
    fn of_report(&self, row: ReportRow, now: Timestamp) -> Option<NodeStatus> {
        let mut status: NodeStatus = serde_json::from_value(row.report).ok()?;
        let is_believed = now.duration_since(row.at) <= BELIEVED_FOR;
        // What this process says of a node stands in its own table.
        status.is_connected = row.is_connected && is_believed && row.replica != self.replica;
        status.last_seen_at = row.at;
        Some(status)
    }

    /// Waits until every connected node runs `revision`, but not longer than `limit`; says where they
    /// stand then. Of what nodes refuse only the given resources are told.
    ///
    /// # Errors
    ///
    /// Why the store does not answer, where other control planes have nodes too.
    pub(crate) async fn wait_applied(
        &self,
        revision: u64,
        resources: &HashSet<ResourceId>,
        limit: Duration,
    ) -> Result<Applied, StoreError> {
        let look = |table: &Table| {
            let applied = table.applied(revision, resources);
            (applied.pending.is_empty(), applied)
        };
        self.wait(limit, look).await
    }

    /// Waits until every connected node has carried out all purges up to this one, but not longer than
    /// `limit`; says where they stand then.
    ///
    /// # Errors
    ///
    /// Why the store does not answer, where other control planes have nodes too.
    pub(crate) async fn wait_purged(
        &self,
        number: u64,
        limit: Duration,
    ) -> Result<Purged, StoreError> {
        let look = |table: &Table| {
            let purged = table.purged(number);
            (purged.pending.is_empty(), purged)
        };
        self.wait(limit, look).await
    }

    /// Looks at what nodes say until it is enough, or time is up.
    async fn wait<T>(
        &self,
        limit: Duration,
        look: impl Fn(&Table) -> (bool, T),
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + limit;
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let mut until = deadline;
            if self.store.is_shared() {
                self.read_others().await?;
                until = until.min(Instant::now() + READ_EVERY);
            }
            let (is_enough, seen) = look(&self.table());
            if is_enough || Instant::now() >= deadline {
                return Ok(seen);
            }
            // Whether it was told or time is up: look again.
            drop(tokio::time::timeout_at(until, changed.changed()).await);
        }
    }

    /// Ends the stream of a node that is not to be here any more.
    pub(crate) fn expel(&self, gateway: &str, name: &str) {
        let key = (gateway.to_owned(), name.to_owned());
        let mut table = self.table();
        if let Some((_, seat)) = table.local.remove(&key).and_then(|local| local.seat) {
            seat.cancel();
        }
        table.remote.retain(|status| (&status.gateway, &status.name) != (&key.0, &key.1));
        self.note(&table, false);
    }

    /// Writes down what nodes run and reads what others wrote, until the end.
    pub(crate) async fn keep(&self, stopping: CancellationToken) {
        let every = if self.store.is_shared() { REPORT_EVERY } else { REPORT_EVERY_ALONE };
        loop {
            let is_told = tokio::select! {
                () = stopping.cancelled() => break,
                () = self.to_report.notified() => true,
                () = tokio::time::sleep(every) => false,
            };
            self.exchange(!is_told).await;
            tokio::time::sleep(REPORT_PAUSE).await;
        }
        self.leave_all();
        self.exchange(false).await;
    }

    /// Writes down what is known here, and reads what is known elsewhere.
    async fn exchange(&self, is_everything: bool) {
        let done = async {
            self.write(is_everything).await?;
            if self.store.is_shared() { self.read_others().await } else { Ok(()) }
        };
        if let Err(error) = done.await {
            tracing::warn!(error = cause(&error), "write down what nodes run");
        }
    }

    fn leave_all(&self) {
        let mut table = self.table();
        for local in table.local.values_mut() {
            if let Some((_, seat)) = local.seat.take() {
                seat.cancel();
            }
            local.status.is_connected = false;
            local.is_dirty = true;
        }
    }

    /// Writes down what changed, or everything.
    async fn write(&self, is_everything: bool) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let statuses: Vec<NodeStatus> = {
            let mut table = self.table();
            let dirty = table.local.values_mut().filter(|local| local.is_dirty || is_everything);
            dirty
                .map(|local| {
                    local.is_dirty = false;
                    local.status.clone()
                })
                .collect()
        };
        let written = self.write_statuses(&statuses, now).await;
        let mut table = self.table();
        for status in &statuses {
            let key = (status.gateway.clone(), status.name.clone());
            let Some(local) = table.local.get_mut(&key) else { continue };
            if written.is_err() {
                local.is_dirty = true;
            } else if local.seat.is_none() && !local.is_dirty {
                table.local.remove(&key);
            }
        }
        written
    }

    async fn write_statuses(
        &self,
        statuses: &[NodeStatus],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let known = self.store.nodes().await?;
        let known: HashSet<(&str, &str)> =
            known.iter().map(|row| (row.gateway.as_str(), row.name.as_str())).collect();
        let (mut seen, mut reports) = (Vec::new(), Vec::new());
        for status in statuses {
            if !known.contains(&(status.gateway.as_str(), status.name.as_str())) {
                // Another control plane was told to forget it.
                self.expel(&status.gateway, &status.name);
                continue;
            }
            reports.push(self.report_row(status, now)?);
            seen.push(node_row(status));
        }
        self.store.nodes_seen(&seen).await?;
        self.store.write_node_reports(&reports).await
    }

    fn report_row(&self, status: &NodeStatus, now: Timestamp) -> Result<ReportRow, StoreError> {
        let report = serde_json::to_value(status).map_err(|error| {
            StoreError::corrupt(format!("report of node {}", status.name), error)
        })?;
        Ok(ReportRow {
            gateway: status.gateway.clone(),
            name: status.name.clone(),
            replica: self.replica.clone(),
            is_connected: status.is_connected,
            report,
            at: now,
        })
    }

    async fn read_others(&self) -> Result<(), StoreError> {
        let reports = self.store.node_reports().await?;
        let now = Timestamp::now();
        let others = reports.into_iter().filter_map(|row| self.of_report(row, now));
        let others: Vec<NodeStatus> = others.filter(|status| status.is_connected).collect();
        let mut table = self.table();
        let is_here = |status: &NodeStatus| {
            let key = (status.gateway.clone(), status.name.clone());
            table.local.get(&key).is_some_and(|local| local.seat.is_some())
        };
        let others: Vec<NodeStatus> =
            others.into_iter().filter(|status| !is_here(status)).collect();
        if others != table.remote {
            table.remote = others;
            self.note(&table, false);
        }
        Ok(())
    }
}

impl Table {
    fn all(&self) -> impl Iterator<Item = &NodeStatus> {
        self.local.values().map(|local| &local.status).chain(&self.remote)
    }

    fn applied(&self, revision: u64, resources: &HashSet<ResourceId>) -> Applied {
        let mut applied = Applied { revision, ..Applied::default() };
        for status in self.all().filter(|status| status.is_connected) {
            applied.nodes_total += 1;
            if !status.runs(revision) {
                applied.pending.push(status.name.clone());
                continue;
            }
            applied.nodes_applied += 1;
            for rejected in &status.rejected {
                if resources.iter().any(|id| names(id, rejected)) {
                    applied.rejected.push((status.name.clone(), rejected.clone()));
                }
            }
        }
        applied.pending.sort();
        applied.rejected.sort_by(|(a, _), (b, _)| a.cmp(b));
        applied
    }

    fn purged(&self, number: u64) -> Purged {
        let connected = || self.all().filter(|status| status.is_connected);
        let is_behind = |status: &&NodeStatus| status.purge.is_none_or(|own| own < number);
        let mut pending: Vec<String> =
            connected().filter(is_behind).map(|status| status.name.clone()).collect();
        pending.sort();
        let nodes_total = connected().count();
        Purged { nodes_total, nodes_purged: nodes_total - pending.len(), pending }
    }
}

impl Seat {
    /// Takes down what the node says it runs. Gives the revision, where it is new.
    pub(crate) fn applied(&self, applied: v1::Applied, now: Timestamp) -> Option<u64> {
        let rejected = applied.rejected.into_iter().map(|rejection| {
            let id = rejection.id.unwrap_or_default();
            Rejected {
                kind: id.kind,
                tenant: id.tenant,
                name: id.name,
                version: rejection.version,
                issues: issues_from_wire(&rejection.issues),
            }
        });
        let rejected: Vec<Rejected> = rejected.collect();
        self.update(now, self.nodes.store.is_shared(), |status| {
            let is_new = status.revision != Some(applied.revision);
            status.revision = Some(applied.revision);
            status.rejected = rejected;
            is_new.then_some(applied.revision)
        })
        .flatten()
    }

    /// Takes down which purges the node has carried out.
    pub(crate) fn purged(&self, number: u64, now: Timestamp) {
        self.update(now, self.nodes.store.is_shared(), |status| status.purge = Some(number));
    }

    /// Takes down how the node is doing.
    pub(crate) fn heartbeat(&self, heartbeat: &v1::Heartbeat, now: Timestamp) {
        self.update(now, false, |status| {
            status.open_connections = heartbeat.open_connections;
            status.resident_bytes = heartbeat.resident_bytes;
            status.requests_total = heartbeat.requests_total;
            status.uptime_seconds = heartbeat.uptime_seconds;
        });
    }

    fn update<T>(
        &self,
        now: Timestamp,
        is_to_report: bool,
        change: impl FnOnce(&mut NodeStatus) -> T,
    ) -> Option<T> {
        let mut table = self.nodes.table();
        let local = table.local.get_mut(&self.key)?;
        if local.seat.as_ref().is_none_or(|(id, _)| *id != self.id) {
            return None;
        }
        let result = change(&mut local.status);
        local.status.last_seen_at = now;
        local.is_dirty = true;
        self.nodes.note(&table, is_to_report);
        Some(result)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.nodes.table();
        let Some(local) = table.local.get_mut(&self.key) else { return };
        if local.seat.as_ref().is_some_and(|(id, _)| *id == self.id) {
            local.seat = None;
            local.status.is_connected = false;
            local.is_dirty = true;
            self.nodes.note(&table, true);
        }
    }
}
