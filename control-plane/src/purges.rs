//! Purges of the nodes' caches: each written down, handed to all streams in order, and remembered for nodes
//! that are away. They are no configuration: no revision comes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use tokio::sync::{Mutex, broadcast};
use tollgate_proto::v1;
use tollgate_proto::v1::control_message::Message;
use tollgate_proto::v1::purge::What;

use crate::cause;
use crate::store::{NewPurge, PurgeRow, Store, StoreError};

/// Purges of one message: with the longest values far below what a gRPC client takes.
const MESSAGE_PURGES: usize = 200;
/// Messages that wait for a stream before it reads the rest from the store.
const QUEUE_MESSAGES: usize = 256;

/// What is let go, and whose.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) tenant: String,
    pub(crate) subject: Subject,
    /// Who wants it.
    pub(crate) actor: String,
}

/// What is let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// What is stored for a URL.
    Url(String),
    /// Everything of an API.
    Api(String),
    /// Everything with a tag.
    Tag(String),
}

impl Subject {
    /// The word in the store and in answers, and what stands beside it.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Url(url) => ("url", url),
            Self::Api(api) => ("api", api),
            Self::Tag(tag) => ("tag", tag),
        }
    }
}

/// Purges that go out together.
pub(crate) struct Batch {
    /// The number before the first of them.
    pub(crate) from: u64,
    /// That of the last.
    pub(crate) to: u64,
    message: v1::ControlMessage,
}

impl Batch {
    /// As nodes get it.
    pub(crate) fn message(&self) -> v1::ControlMessage {
        self.message.clone()
    }

    fn of(rows: &[PurgeRow]) -> Option<Self> {
        let (first, last) = (rows.first()?, rows.last()?);
        let (from, to) = (first.number.saturating_sub(1), last.number);
        let Some(purges) = rows.iter().map(wire).collect() else {
            return Some(Self::everything(from, to));
        };
        let purges = v1::Purges { number: to, everything: false, purges };
        Some(Self { from, to, message: message(purges) })
    }

    fn everything(from: u64, to: u64) -> Self {
        let purges = v1::Purges { number: to, everything: true, purges: Vec::new() };
        Self { from, to, message: message(purges) }
    }
}

/// All purges.
pub(crate) struct Purges {
    store: Store,
    /// Held while the next ones are read, so that they go out in order.
    turn: Mutex<()>,
    /// The newest that went out.
    newest: AtomicU64,
    sender: broadcast::Sender<Arc<Batch>>,
}

impl Purges {
    /// Goes on after the newest one of the store.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub(crate) async fn open(store: &Store) -> Result<Self, StoreError> {
        let newest = AtomicU64::new(store.newest_purge().await?);
        let (sender, _) = broadcast::channel(QUEUE_MESSAGES);
        Ok(Self { store: store.clone(), turn: Mutex::default(), newest, sender })
    }

    /// Writes a purge down and has it carried out; gives its number.
    ///
    /// # Errors
    ///
    /// Why the store does not answer. It may be written down all the same: the followers find it then.
    pub(crate) async fn make(&self, wanted: Wanted, now: Timestamp) -> Result<u64, StoreError> {
        let Wanted { tenant, subject, actor } = wanted;
        let (what, value) = subject.parts();
        let purge =
            NewPurge { tenant, what: what.to_owned(), value: value.to_owned(), actor, at: now };
        let number = self.store.add_purge(&purge).await?;
        tracing::info!(number, tenant = purge.tenant, what, actor = purge.actor, "a purge");
        self.follow().await?;
        Ok(number)
    }

    /// Hands out what any control plane has written down since the last time.
    ///
    /// # Errors
    ///
    /// Why the store does not answer.
    pub(crate) async fn follow(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let newest = self.newest();
        if self.store.newest_purge().await? <= newest {
            return Ok(());
        }
        for batch in self.after(newest).await? {
            self.newest.store(batch.to, Ordering::Release);
            // Nobody may be listening.
            drop(self.sender.send(Arc::new(batch)));
        }
        Ok(())
    }

    /// Purges from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Batch>> {
        self.sender.subscribe()
    }

    /// What a node lacks that has carried out all up to `held`; that is none where it knows of none of this
    /// store. Where the store cannot say it, everything goes.
    pub(crate) async fn missed(&self, held: Option<u64>) -> Vec<Batch> {
        let newest = self.newest();
        let everything = || vec![Batch::everything(held.unwrap_or(0), newest)];
        match held {
            Some(held) if held == newest => Vec::new(),
            Some(held) if held < newest => match self.after(held).await {
                Ok(batches) => batches,
                Err(error) => {
                    tracing::warn!(error = cause(&error), "read the purges that a node has missed");
                    everything()
                }
            },
            // Purges of another store are no measure. One that is ahead has them from another control
            // plane, and this one comes to them.
            Some(_) => Vec::new(),
            None => everything(),
        }
    }

    fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    async fn after(&self, number: u64) -> Result<Vec<Batch>, StoreError> {
        match self.store.purges_after(number).await? {
            Some(rows) => Ok(rows.chunks(MESSAGE_PURGES).filter_map(Batch::of).collect()),
            None => Ok(vec![Batch::everything(number, self.store.newest_purge().await?)]),
        }
    }
}

/// None where a newer Tollgate has written down what this one does not know.
fn wire(row: &PurgeRow) -> Option<v1::Purge> {
    let value = row.purge.value.clone();
    let what = match row.purge.what.as_str() {
        "url" => What::Url(value),
        "api" => What::Api(value),
        "tag" => What::Tag(value),
        _ => return None,
    };
    Some(v1::Purge { tenant: row.purge.tenant.clone(), what: Some(what) })
}

fn message(purges: v1::Purges) -> v1::ControlMessage {
    v1::ControlMessage { message: Some(Message::Purges(purges)) }
}
