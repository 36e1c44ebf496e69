//! The stream to a node: what it lacks goes down, what it runs comes up.
//!
//! A stream holds no queue of its own. It is asked for the next message when the connection has room for
//! one; who was too slow for the shared queue gets all that it missed as one delta, or a snapshot.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{Stream, stream};
use jiff::Timestamp;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tollgate_model::ResourceId;
use tollgate_model::wire::Digest;
use tollgate_proto::v1;
use tollgate_proto::v1::control_message::Message as Down;
use tollgate_proto::v1::node_message::Message as Up;
use tollgate_proto::v1::sync_server::Sync;
use tonic::{Request, Response, Status, Streaming};

use crate::authority::NodeIdentity;
use crate::cause;
use crate::change::LOG_PAGE;
use crate::fanout::{Missed, Published, message};
use crate::live::{Live, LiveState, id_of};
use crate::metrics::Metrics;
use crate::nodes::{Nodes, Seat};
use crate::purges::{Batch, Purges};
use crate::questions::{Place, Questions};
use crate::seal::ClusterKeys;
use crate::snapshot::{Snapshots, delta};
use crate::store::{Store, StoreError};
use crate::transport;

/// How often a node says how it is doing.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A node that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a node may take to say who it is.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// What all streams share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) live: Arc<Live>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) purges: Purges,
    pub(crate) questions: Arc<Questions>,
    pub(crate) keys: Arc<ClusterKeys>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) snapshots: Snapshots,
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

/// Implements `tollgate.v1.Sync`.
#[derive(Clone)]
pub(crate) struct SyncService(Arc<Shared>);

impl SyncService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<v1::ControlMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Sync for SyncService {
    type StreamStream = Messages;

    async fn stream(
        &self,
        request: Request<Streaming<v1::NodeMessage>>,
    ) -> Result<Response<Messages>, Status> {
        let shared = Arc::clone(&self.0);
        let identity = transport::identity(&request)
            .ok_or_else(|| Status::unauthenticated("a node's certificate is needed; join first"))?;
        check_known(&shared.store, &identity).await?;
        let ended = shared.stopping.child_token();
        let (say_hello, hello) = oneshot::channel();
        let reader = Reader { shared: Arc::clone(&shared), identity, ended: ended.clone() };
        shared.tasks.spawn(reader.run(request.into_inner(), say_hello));
        let outbound = Outbound::new(shared, hello, ended);
        let messages = stream::unfold(outbound, |mut outbound| async move {
            Some((outbound.next().await?, outbound))
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

/// Refuses a node that was forgotten after its certificate was made.
pub(crate) async fn check_known(store: &Store, identity: &NodeIdentity) -> Result<(), Status> {
    match store.knows_node(identity.gateway(), identity.node()).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Status::unauthenticated("this node is not known any more; join again")),
        // TLS has verified the certificate, and a cluster must come up again while its store is away.
        Err(StoreError::Unavailable { .. }) => Ok(()),
        Err(error) => {
            tracing::error!(error = cause(&error), "look up a node");
            Err(Status::unavailable("the store does not answer; try again"))
        }
    }
}

/// A node that has said who it is.
struct Greeting {
    hello: v1::Hello,
    /// What ends the stream from outside.
    replaced: CancellationToken,
}

/// Takes in what the node says.
struct Reader {
    shared: Arc<Shared>,
    identity: NodeIdentity,
    ended: CancellationToken,
}

impl Reader {
    async fn run(
        self,
        mut inbound: Streaming<v1::NodeMessage>,
        say_hello: oneshot::Sender<Result<Greeting, Status>>,
    ) {
        let _guard = self.ended.clone().drop_guard();
        let hello = match self.hello(&mut inbound).await {
            Ok(hello) => hello,
            // Who has hung up needs no answer.
            Err(status) => return drop(say_hello.send(Err(status))),
        };
        let seat = self.shared.nodes.connect(&self.identity, &hello, Timestamp::now());
        let (node, gateway) = (hello.node.clone(), hello.gateway.clone());
        tracing::info!(node, gateway, build = hello.build, "a node has connected");
        let replaced = seat.replaced.clone();
        if say_hello.send(Ok(Greeting { hello, replaced })).is_ok() {
            self.listen(&mut inbound, &seat).await;
        }
        tracing::info!(node, gateway, "a node has left");
    }

    /// The first message, which says who the node is; that must be whose certificate it is.
    async fn hello(&self, inbound: &mut Streaming<v1::NodeMessage>) -> Result<v1::Hello, Status> {
        let first = tokio::select! {
            () = self.ended.cancelled() => return Err(Status::unavailable("the stream has ended")),
            first = tokio::time::timeout(HELLO_LIMIT, inbound.message()) => first,
        };
        let first = first.map_err(|_elapsed| Status::deadline_exceeded("no Hello came"))??;
        let Some(Up::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message is not Hello"));
        };
        if hello.node != self.identity.node() || hello.gateway != self.identity.gateway() {
            return Err(Status::unauthenticated("the certificate is another node's"));
        }
        Ok(hello)
    }

    async fn listen(&self, inbound: &mut Streaming<v1::NodeMessage>, seat: &Seat) {
        loop {
            let message = tokio::select! {
                () = self.ended.cancelled() => return,
                () = seat.replaced.cancelled() => return,
                message = tokio::time::timeout(SILENCE, inbound.message()) => message,
            };
            let Ok(Ok(Some(v1::NodeMessage { message: Some(message) }))) = message else { return };
            match message {
                Up::Applied(applied) => self.applied(seat, applied),
                Up::Heartbeat(heartbeat) => seat.heartbeat(&heartbeat, Timestamp::now()),
                Up::Explained(answer) => {
                    let (gateway, node) = (self.identity.gateway(), self.identity.node());
                    self.shared.questions.answered(gateway, node, answer);
                }
                Up::Purged(purged) => seat.purged(purged.number, Timestamp::now()),
                // Once is enough.
                Up::Hello(_) => return,
            }
        }
    }

    fn applied(&self, seat: &Seat, applied: v1::Applied) {
        let Some(revision) = seat.applied(applied, Timestamp::now()) else { return };
        if let Some(at) = self.shared.live.fanout().published_at(revision) {
            self.shared.metrics.change_to_applied.observe(at.elapsed());
        }
    }
}

/// Makes the messages to a node, one when it is asked for one.
struct Outbound {
    shared: Arc<Shared>,
    /// None once it has come.
    hello: Option<oneshot::Receiver<Result<Greeting, Status>>>,
    replaced: CancellationToken,
    ended: CancellationToken,
    /// Revisions as they take effect.
    revisions: broadcast::Receiver<Arc<Published>>,
    purges: broadcast::Receiver<Arc<Batch>>,
    live_nodes: watch::Receiver<u32>,
    /// None until the node has said who it is.
    questions: Option<Place>,
    /// The revision that the node has when it has all that was sent.
    sent: u64,
    /// The newest purge that it has then.
    sent_purge: u64,
    /// What goes before anything new: the rest of a snapshot, what was missed.
    pending: VecDeque<v1::ControlMessage>,
    is_over: bool,
    /// Ends the reader when the node is gone and this is dropped.
    _guard: DropGuard,
}

/// What a stream waits for.
enum Event {
    Revision(Result<Arc<Published>, RecvError>),
    Purges(Result<Arc<Batch>, RecvError>),
    Question(v1::Explain),
    LiveNodes,
}

impl Outbound {
    fn new(
        shared: Arc<Shared>,
        hello: oneshot::Receiver<Result<Greeting, Status>>,
        ended: CancellationToken,
    ) -> Self {
        let revisions = shared.live.fanout().subscribe();
        let purges = shared.purges.subscribe();
        let live_nodes = shared.nodes.live_nodes();
        Self {
            shared,
            hello: Some(hello),
            replaced: CancellationToken::new(),
            _guard: ended.clone().drop_guard(),
            ended,
            revisions,
            purges,
            live_nodes,
            questions: None,
            sent: 0,
            sent_purge: 0,
            pending: VecDeque::new(),
            is_over: false,
        }
    }

    /// The next message; none after the end.
    async fn next(&mut self) -> Option<Result<v1::ControlMessage, Status>> {
        if self.is_over {
            return None;
        }
        match self.produce().await {
            Ok(Some(message)) => Some(Ok(message)),
            Ok(None) => None,
            Err(status) => {
                self.is_over = true;
                Some(Err(status))
            }
        }
    }

    async fn produce(&mut self) -> Result<Option<v1::ControlMessage>, Status> {
        if let Some(hello) = self.hello.take() {
            let Ok(greeting) = hello.await else { return Ok(None) };
            let greeting = greeting?;
            self.replaced = greeting.replaced;
            let (gateway, node) = (&greeting.hello.gateway, &greeting.hello.node);
            self.questions = Some(self.shared.questions.enter(gateway, node));
            return self.welcome(&greeting.hello).await.map(Some);
        }
        loop {
            if let Some(message) = self.pending.pop_front() {
                return Ok(Some(message));
            }
            let event = tokio::select! {
                biased;
                () = self.replaced.cancelled() => {
                    return Err(Status::aborted("another stream of this node has taken its place"));
                }
                () = self.ended.cancelled() => {
                    return Err(Status::unavailable("the control plane ends this stream; connect again"));
                }
                published = self.revisions.recv() => Event::Revision(published),
                batch = self.purges.recv() => Event::Purges(batch),
                Some(asked) = next_question(&mut self.questions) => Event::Question(asked),
                changed = self.live_nodes.changed() => match changed {
                    Ok(()) => Event::LiveNodes,
                    Err(_closed) => return Ok(None),
                },
            };
            match event {
                Event::Revision(Err(RecvError::Closed)) | Event::Purges(Err(RecvError::Closed)) => {
                    return Ok(None);
                }
                Event::Revision(Err(RecvError::Lagged(_))) => self.catch_up().await?,
                Event::Revision(Ok(published)) => self.publish(&published).await?,
                Event::Purges(Err(RecvError::Lagged(_))) => {
                    self.send_missed_purges(Some(self.sent_purge)).await;
                }
                Event::Purges(Ok(batch)) => self.purge(&batch).await,
                Event::Question(asked) => {
                    let message = Some(Down::Explain(asked));
                    self.pending.push_back(v1::ControlMessage { message });
                }
                Event::LiveNodes => {
                    let live_nodes = *self.live_nodes.borrow_and_update();
                    self.pending.push_back(cluster_message(live_nodes));
                }
            }
        }
    }

    /// Puts a revision behind what is pending, unless the node has it.
    async fn publish(&mut self, published: &Published) -> Result<(), Status> {
        if published.to <= self.sent {
            return Ok(());
        }
        if published.from != self.sent {
            return self.catch_up().await;
        }
        let Some(message) = published.message() else {
            return self.send_snapshot(self.shared.live.state()).await;
        };
        self.sent = published.to;
        self.pending.push_back(message);
        self.shared.metrics.deltas_sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The same of purges.
    async fn purge(&mut self, batch: &Batch) {
        if batch.to <= self.sent_purge {
            return;
        }
        if batch.from == self.sent_purge {
            self.sent_purge = batch.to;
            self.pending.push_back(batch.message());
        } else {
            self.send_missed_purges(Some(self.sent_purge)).await;
        }
    }

    /// `held`: the newest purge that the node has; none where it has none of this store.
    async fn send_missed_purges(&mut self, held: Option<u64>) {
        let batches = self.shared.purges.missed(held).await;
        self.sent_purge = batches.last().map_or_else(|| held.unwrap_or(0), |batch| batch.to);
        self.pending.extend(batches.iter().map(Batch::message));
    }

    /// The first message, and what the node lacks put behind it.
    async fn welcome(&mut self, hello: &v1::Hello) -> Result<v1::ControlMessage, Status> {
        let epoch = self.shared.store.epoch();
        let state = self.shared.live.state();
        let digest = Digest::from_bytes(&hello.digest);
        let is_ours = hello.epoch == epoch && hello.revision <= state.revision();
        if is_ours && hello.revision == state.revision() && digest == Some(*state.digest()) {
            self.sent = state.revision();
        } else if is_ours && hello.revision < state.revision() {
            self.sent = hello.revision;
            match self.shared.live.fanout().missed(hello.revision, digest.as_ref()) {
                Missed::Resources(changed) => self.send_delta(state, &changed).await?,
                Missed::Contradicted => self.send_snapshot(state).await?,
                Missed::TooMuch => self.send_from_log(state, hello.revision).await?,
            }
        } else {
            self.send_snapshot(state).await?;
        }
        let held = (hello.purge_epoch == epoch).then_some(hello.purge_number);
        self.send_missed_purges(held).await;
        let cluster = v1::Cluster { live_nodes: *self.live_nodes.borrow_and_update() };
        let welcome = v1::Welcome {
            epoch,
            credential_key: self.shared.keys.credential_key().to_vec().into(),
            heartbeat_seconds: u32::try_from(HEARTBEAT.as_secs()).unwrap_or(u32::MAX),
            cluster: Some(cluster),
        };
        Ok(v1::ControlMessage { message: Some(Down::Welcome(welcome)) })
    }

    /// For a stream that was too slow.
    async fn catch_up(&mut self) -> Result<(), Status> {
        let state = self.shared.live.state();
        if state.revision() <= self.sent {
            return Ok(());
        }
        match self.shared.live.fanout().missed(self.sent, None) {
            Missed::Resources(changed) => self.send_delta(state, &changed).await,
            Missed::TooMuch | Missed::Contradicted => self.send_snapshot(state).await,
        }
    }

    /// For a node that comes back after more than is kept in memory, such as a new start of this process.
    async fn send_from_log(&mut self, state: Arc<LiveState>, from: u64) -> Result<(), Status> {
        let limit = self.shared.live.fanout().tail_resources();
        match changed_since(&self.shared.store, from, state.revision(), limit).await {
            Some(changed) => self.send_delta(state, &changed).await,
            None => self.send_snapshot(state).await,
        }
    }

    async fn send_delta(
        &mut self,
        state: Arc<LiveState>,
        changed: &[ResourceId],
    ) -> Result<(), Status> {
        match message(delta(self.sent, changed, &state)) {
            Some(message) => {
                self.sent = state.revision();
                self.pending.push_back(message);
                self.shared.metrics.deltas_sent.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            None => self.send_snapshot(state).await,
        }
    }

    async fn send_snapshot(&mut self, state: Arc<LiveState>) -> Result<(), Status> {
        let shared = Arc::clone(&self.shared);
        // An older one does where one message leads on from it.
        let bridge = |from: u64| match shared.live.fanout().missed(from, None) {
            Missed::Resources(changed) => message(delta(from, &changed, &state)),
            Missed::TooMuch | Missed::Contradicted => None,
        };
        let serves = |revision: u64| bridge(revision).is_some();
        let snapshot = shared.snapshots.get(Arc::clone(&state), serves).await.map_err(|error| {
            tracing::error!(error = cause(&error), "make a snapshot");
            Status::unavailable("no snapshot could be made; try again")
        })?;
        self.sent = snapshot.revision;
        self.pending.extend(snapshot.chunks.iter().cloned());
        shared.metrics.snapshots_sent.fetch_add(1, Ordering::Relaxed);
        if snapshot.revision < state.revision() {
            let Some(message) = bridge(snapshot.revision) else {
                // What led on from it was let go of in this very moment.
                return Err(Status::unavailable("the configuration moves too fast; connect again"));
            };
            self.sent = state.revision();
            self.pending.push_back(message);
        }
        Ok(())
    }
}

/// None where there can be no more.
async fn next_question(questions: &mut Option<Place>) -> Option<v1::Explain> {
    questions.as_mut()?.next().await
}

fn cluster_message(live_nodes: u32) -> v1::ControlMessage {
    v1::ControlMessage { message: Some(Down::Cluster(v1::Cluster { live_nodes })) }
}

/// What the log says was changed after `from`; none where that is too much, or the log cannot be read.
async fn changed_since(store: &Store, from: u64, to: u64, limit: usize) -> Option<Vec<ResourceId>> {
    if to.saturating_sub(from) > u64::from(LOG_PAGE) {
        return None;
    }
    let revisions = store.changes_after(from, LOG_PAGE).await.ok()?;
    let mut changed = std::collections::BTreeSet::new();
    for change in revisions.iter().flat_map(|revision| &revision.changes) {
        changed.insert(id_of(&change.kind, &change.tenant, &change.name).ok()?);
        if changed.len() > limit {
            return None;
        }
    }
    let is_whole = revisions.last().is_some_and(|last| last.number >= to);
    is_whole.then(|| changed.into_iter().collect())
}
