//! Questions to nodes that are connected here: what would become of a request. Only a node knows, for it has the
//! matcher, the policies, the counters and the keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tollgate_proto::v1;

/// How long a node may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
/// Questions that wait for a node's stream.
const QUEUE: usize = 4;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// None of the gateway is connected to this control plane.
    #[error("no node of gateway `{0}` is connected to this control plane; ask one that has some")]
    NoNode(String),
    /// It has too much to do, has left, or is of a version that answers none.
    #[error("node `{0}` has not answered in time; try again")]
    NoAnswer(String),
    /// It answered with what is no answer.
    #[error("node `{0}` has answered what cannot be read")]
    Unreadable(String),
}

type Key = (String, String);

/// Who can be asked, and who waits for an answer.
#[derive(Default)]
pub(crate) struct Questions(Mutex<Table>);

#[derive(Default)]
struct Table {
    newest: u64,
    nodes: HashMap<Key, (u64, mpsc::Sender<v1::Explain>)>,
    waiting: HashMap<u64, (Key, oneshot::Sender<v1::Explained>)>,
}

/// A node's place among those who can be asked. Dropped, it is not asked any more.
pub(crate) struct Place {
    questions: Arc<Questions>,
    key: Key,
    id: u64,
    asked: mpsc::Receiver<v1::Explain>,
}

impl Place {
    /// The next question.
    pub(crate) async fn next(&mut self) -> Option<v1::Explain> {
        self.asked.recv().await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.questions.table();
        // Another stream of the same node may have taken its place.
        if table.nodes.get(&self.key).is_some_and(|(id, _)| *id == self.id) {
            table.nodes.remove(&self.key);
        }
    }
}

impl Questions {
    /// Lets a node be asked.
    pub(crate) fn enter(self: &Arc<Self>, gateway: &str, node: &str) -> Place {
        let key = (gateway.to_owned(), node.to_owned());
        let (ask, asked) = mpsc::channel(QUEUE);
        let mut table = self.table();
        table.newest += 1;
        let id = table.newest;
        table.nodes.insert(key.clone(), (id, ask));
        Place { questions: Arc::clone(self), key, id, asked }
    }

    /// Asks a node of a gateway; gives its name and the answer.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(crate) async fn ask(
        &self,
        gateway: &str,
        mut question: v1::Explain,
    ) -> Result<(String, Value), AskError> {
        let (key, ask, answer) = {
            let mut table = self.table();
            let node = table.nodes.iter().find(|((of, _), _)| of == gateway);
            let (key, ask) = match node {
                Some((key, (_, ask))) => (key.clone(), ask.clone()),
                None => return Err(AskError::NoNode(gateway.to_owned())),
            };
            table.newest += 1;
            question.id = table.newest;
            let (sender, answer) = oneshot::channel();
            table.waiting.insert(question.id, (key.clone(), sender));
            (key, ask, answer)
        };
        let _waiting = Waiting { questions: self, id: question.id };
        let no_answer = || AskError::NoAnswer(key.1.clone());
        ask.try_send(question).map_err(|_full| no_answer())?;
        let answer = tokio::time::timeout(ANSWER_LIMIT, answer).await;
        let answer = answer.map_err(|_late| no_answer())?.map_err(|_gone| no_answer())?;
        let value = serde_json::from_slice(&answer.json);
        match value {
            Ok(value) => Ok((key.1, value)),
            Err(_not_json) => Err(AskError::Unreadable(key.1)),
        }
    }

    /// Takes a node's answer. One that nobody asked that node for leads to nothing.
    pub(crate) fn answered(&self, gateway: &str, node: &str, answer: v1::Explained) {
        let mut table = self.table();
        let is_its_own = |(key, _): &(Key, _)| key.0 == gateway && key.1 == node;
        if table.waiting.get(&answer.id).is_some_and(is_its_own)
            && let Some((_, sender)) = table.waiting.remove(&answer.id)
        {
            // Who asked may have gone.
            drop(sender.send(answer));
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is waited for.
struct Waiting<'a> {
    questions: &'a Questions,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.questions.table().waiting.remove(&self.id);
    }
}
