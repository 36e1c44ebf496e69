//! The stream from the control plane: connects, says what is held, takes what comes, acknowledges.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tollgate_model::Name;
use tollgate_policy::policies::{CATALOG, Entry};
use tollgate_proto::v1;
use tollgate_proto::v1::control_message::Message as Down;
use tollgate_proto::v1::node_message::Message;
use tollgate_proto::v1::sync_client::SyncClient;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::LoadSource;
use super::backoff::Backoff;
use super::enrol::{self, EnrolError, Enrolment};
use super::intake::{Intake, Taken, Violation};
use super::readiness::Readiness;
use super::tls;
use crate::explain::Explainer;
use crate::settings::{ControlPlane, Settings};

/// What one message of the control plane is at most.
const MESSAGE_LIMIT_BYTES: usize = 64 << 20;
/// Messages that wait to be sent; a control plane that does not read them for [`ANSWER_TIME`] is gone.
const OUTBOX_MESSAGES: usize = 32;
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// A session that lasts this long was a good one.
const GOOD_SESSION_TIME: Duration = Duration::from_secs(1);
/// Questions that are answered at once.
const MOST_QUESTIONS: usize = 4;
const REPEAT_WARNING_TIME: Duration = Duration::from_secs(60);

static POLICIES: LazyLock<Vec<v1::PolicySchema>> = LazyLock::new(policy_schemas);

/// Why there is no stream, or no more.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    #[error("connect to {plane}")]
    Connect {
        plane: ControlPlane,
        #[source]
        source: tonic::transport::Error,
    },
    #[error("the control plane ended the stream: {}", .0.message())]
    Status(Box<Status>),
    #[error("the control plane closed the stream")]
    Closed,
    #[error("the control plane did not answer within {ANSWER_TIME:?}")]
    TooSlow,
    #[error("the control plane broke the protocol")]
    Violation(#[from] Violation),
}

/// Keeps a stream to one of the control planes.
pub(super) struct Client {
    planes: Vec<ControlPlane>,
    gateway: Name,
    node: Name,
    enrolment: Enrolment,
    intake: Intake,
    readiness: Arc<Readiness>,
    asked: Asked,
    started: Instant,
}

/// Where the answers to a control plane's questions come from.
pub(super) struct Asked {
    pub(super) load: LoadSource,
    pub(super) explainer: Explainer,
}

/// The last problem that was logged, and when.
#[derive(Default)]
struct Complaint(Option<(String, Instant)>);

/// An open stream.
struct Session {
    channel: Channel,
    outbox: mpsc::Sender<v1::NodeMessage>,
    incoming: Streaming<v1::ControlMessage>,
    /// When the control plane welcomed the node.
    good_since: Option<Instant>,
}

/// What happens in a session.
enum Event {
    Message(Box<v1::ControlMessage>),
    HeartbeatDue,
    RenewalDue,
    Renewed(Result<v1::JoinResponse, Status>),
    Explained(Option<v1::Explained>),
}

impl Client {
    /// A client of the control planes in the settings.
    pub(super) fn new(
        settings: &Settings,
        enrolment: Enrolment,
        intake: Intake,
        readiness: Arc<Readiness>,
        asked: Asked,
    ) -> Self {
        Self {
            planes: settings.control_plane.clone(),
            gateway: settings.gateway.clone(),
            node: settings.node.clone(),
            enrolment,
            intake,
            readiness,
            asked,
            started: Instant::now(),
        }
    }

    /// Connects, again and again, until it is stopped.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let _ended = stop.run_until_cancelled(Box::pin(self.keep_connected())).await;
        self.readiness.set_disconnected("the node is stopping".to_owned());
    }

    async fn keep_connected(&mut self) {
        let mut backoff = Backoff::new();
        let mut complaint = Complaint::default();
        let planes = self.planes.clone();
        let first = first_index(&self.node, planes.len());
        for (attempt, plane) in planes.iter().cycle().skip(first).enumerate() {
            let (good_since, error) = self.session(plane).await;
            let problem = super::described(&error);
            complaint.say(plane, &problem);
            self.readiness.set_disconnected(problem);
            if good_since.is_some_and(|at| at.elapsed() >= GOOD_SESSION_TIME) {
                backoff.reset();
            } else if good_since.is_none() && (attempt + 1) % planes.len() != 0 {
                // The next control plane may be well.
                continue;
            }
            sleep(backoff.next()).await;
        }
    }

    /// One session, from the connection to its end; and since when it was a good one.
    async fn session(&mut self, plane: &ControlPlane) -> (Option<Instant>, SessionError) {
        let mut session = match self.open(plane).await {
            Ok(session) => session,
            Err(error) => return (None, error),
        };
        let error = match self.converse(&mut session).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        (session.good_since, error)
    }

    async fn open(&mut self, plane: &ControlPlane) -> Result<Session, SessionError> {
        let config = self.enrolment.tls(plane).await?;
        let channel = tls::connect(plane, config)
            .await
            .map_err(|source| SessionError::Connect { plane: plane.clone(), source })?;
        let (outbox, outgoing) = mpsc::channel(OUTBOX_MESSAGES);
        send(&outbox, Message::Hello(self.hello())).await?;
        let mut client = SyncClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
            .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
        let answer = timeout(ANSWER_TIME, client.stream(ReceiverStream::new(outgoing))).await;
        let incoming = answer.map_err(|_late| SessionError::TooSlow)??.into_inner();
        Ok(Session { channel, outbox, incoming, good_since: None })
    }

    async fn converse(&mut self, session: &mut Session) -> Result<Infallible, SessionError> {
        let late_at = Instant::now() + ANSWER_TIME;
        let mut heartbeat = interval(Duration::from_secs(1));
        let mut renewals = FuturesUnordered::new();
        let mut questions = FuturesUnordered::new();
        loop {
            let is_welcome = session.good_since.is_some();
            let renewal_due_in = self.enrolment.renewal_due_in();
            let event = tokio::select! {
                message = session.incoming.message() => {
                    Event::Message(Box::new(message?.ok_or(SessionError::Closed)?))
                }
                _ = heartbeat.tick(), if is_welcome => Event::HeartbeatDue,
                () = sleep_until(late_at), if !is_welcome => return Err(SessionError::TooSlow),
                () = sleep(renewal_due_in), if is_welcome && renewals.is_empty() => Event::RenewalDue,
                Some(answer) = renewals.next() => Event::Renewed(answer),
                Some(answer) = questions.next() => Event::Explained(answer),
            };
            match event {
                Event::Message(message) => {
                    if let Some(Down::Explain(asked)) = message.message {
                        // Beyond them the control plane waits in vain, and says so.
                        if questions.len() < MOST_QUESTIONS {
                            questions.push(explain(self.asked.explainer.clone(), asked));
                        }
                    } else if let Some(period) = self.take(session, *message).await? {
                        heartbeat = interval(period);
                        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    }
                }
                Event::HeartbeatDue => {
                    send(&session.outbox, Message::Heartbeat(self.heartbeat())).await?;
                }
                Event::RenewalDue => {
                    if self.enrolment.is_renewal_due() {
                        let request = self.enrolment.renewal();
                        renewals.push(enrol::renew(session.channel.clone(), request));
                    }
                }
                Event::Renewed(answer) => self.enrolment.take_renewal(answer),
                Event::Explained(None) => {}
                Event::Explained(Some(answer)) => {
                    send(&session.outbox, Message::Explained(answer)).await?;
                }
            }
        }
    }

    /// Takes a message; gives the heartbeat's period where it was the welcome.
    async fn take(
        &mut self,
        session: &mut Session,
        message: v1::ControlMessage,
    ) -> Result<Option<Duration>, SessionError> {
        match self.intake.take(message)? {
            Taken::Nothing => Ok(None),
            Taken::Welcome { heartbeat, applied } => {
                session.good_since = Some(Instant::now());
                self.readiness.set_connected();
                tracing::info!(
                    revision = self.readiness.revision(),
                    "connected to a control plane"
                );
                if let Some(applied) = applied {
                    send(&session.outbox, Message::Applied(applied)).await?;
                }
                Ok(Some(heartbeat))
            }
            Taken::Purged(number) => {
                send(&session.outbox, Message::Purged(v1::Purged { number })).await?;
                Ok(None)
            }
            Taken::Applied { applied, keep } => {
                let message = v1::NodeMessage { message: Some(Message::Applied(applied)) };
                let unsent = session.outbox.try_send(message).err();
                // Before any wait: whatever ends the session, what was applied is kept.
                self.intake.keep(keep);
                if let Some(message) = unsent.and_then(|unsent| unsent.into_inner().message) {
                    send(&session.outbox, message).await?;
                }
                Ok(None)
            }
        }
    }

    fn hello(&mut self) -> v1::Hello {
        let (epoch, revision, digest) = self.intake.begin();
        let (purge_epoch, purge_number) = self.intake.purged();
        let labels = [("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)];
        v1::Hello {
            node: self.node.as_str().to_owned(),
            gateway: self.gateway.as_str().to_owned(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            epoch,
            revision,
            digest: digest.as_bytes().to_vec().into(),
            policies: POLICIES.clone(),
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            purge_epoch,
            purge_number,
        }
    }

    fn heartbeat(&self) -> v1::Heartbeat {
        let load = (self.asked.load)();
        v1::Heartbeat {
            open_connections: load.open_connections,
            requests_total: load.requests_total,
            uptime_seconds: self.started.elapsed().as_secs(),
            resident_bytes: load.resident_bytes,
        }
    }
}

impl Complaint {
    /// The same is not said again and again.
    fn say(&mut self, plane: &ControlPlane, problem: &str) {
        let is_known = self
            .0
            .as_ref()
            .is_some_and(|(known, at)| known == problem && at.elapsed() < REPEAT_WARNING_TIME);
        if is_known {
            tracing::debug!(%plane, problem, "not connected to the control plane");
            return;
        }
        tracing::warn!(%plane, problem, "not connected to the control plane; what is held is served");
        self.0 = Some((problem.to_owned(), Instant::now()));
    }
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

async fn send(
    outbox: &mpsc::Sender<v1::NodeMessage>,
    message: Message,
) -> Result<(), SessionError> {
    let message = v1::NodeMessage { message: Some(message) };
    match outbox.send_timeout(message, ANSWER_TIME).await {
        Ok(()) => Ok(()),
        Err(SendTimeoutError::Timeout(_)) => Err(SessionError::TooSlow),
        Err(SendTimeoutError::Closed(_)) => Err(SessionError::Closed),
    }
}

/// Answers a question on a thread where it may take its time.
async fn explain(explainer: Explainer, asked: v1::Explain) -> Option<v1::Explained> {
    let runtime = tokio::runtime::Handle::current();
    let answer = move || runtime.block_on(timeout(ANSWER_TIME, explainer.answer(&asked)));
    tokio::task::spawn_blocking(answer).await.ok()?.ok()?
}

/// Not all nodes begin with the same control plane.
fn first_index(node: &Name, planes: usize) -> usize {
    let hash = blake3::hash(node.as_str().as_bytes());
    let first = hash.as_bytes().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    usize::try_from(first).unwrap_or(0).checked_rem(planes).unwrap_or(0)
}

fn policy_schemas() -> Vec<v1::PolicySchema> {
    let schema = |entry: &Entry| v1::PolicySchema {
        name: entry.name.to_owned(),
        schema_hash: blake3::hash((entry.schema)().as_value().to_string().as_bytes())
            .as_bytes()
            .to_vec()
            .into(),
    };
    CATALOG.iter().map(schema).collect()
}
