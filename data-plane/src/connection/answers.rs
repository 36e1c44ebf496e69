//! Answers over HTTP/2 that the client leaves lying. Each has a bound of its own: what goes on beside it on the
//! same connection does not keep it open.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The exchanges of one connection of HTTP/2. As hyper's executor it learns which task carries which of them.
#[derive(Clone, Default)]
pub(super) struct Answers(Rc<Inner>);

#[derive(Default)]
struct Inner {
    open: RefCell<Slab<Rc<Answer>>>,
    /// Begun, and not yet given to a task.
    begun: RefCell<Option<Rc<Answer>>>,
}

#[derive(Default)]
struct Answer {
    task: OnceCell<AbortHandle>,
    /// Whether the client has yet to take a piece that is there for it.
    is_waiting: Cell<bool>,
    /// Pieces so far.
    pieces: Cell<u64>,
    /// What the sweep saw last, and since when.
    seen: Cell<Option<(u64, Instant)>>,
}

/// An exchange's place among the others; left when it is dropped.
pub(super) struct Ticket {
    answers: Answers,
    answer: Rc<Answer>,
    key: usize,
}

impl Answers {
    /// Puts an exchange among them. The next task is its.
    pub(super) fn begin(&self) -> Ticket {
        let answer = Rc::<Answer>::default();
        *self.0.begun.borrow_mut() = Some(Rc::clone(&answer));
        let key = self.0.open.borrow_mut().insert(Rc::clone(&answer));
        Ticket { answers: self.clone(), answer, key }
    }

    /// Gives up those of which no piece was taken for so long: h2 resets their streams.
    pub(super) fn give_up(&self, now: Instant, limit: Duration) {
        for (_, answer) in &*self.0.open.borrow() {
            answer.give_up(now, limit);
        }
    }
}

impl Answer {
    fn give_up(&self, now: Instant, limit: Duration) {
        if !self.is_waiting.get() {
            self.seen.set(None);
            return;
        }
        let pieces = self.pieces.get();
        match self.seen.get() {
            Some((seen, since)) if seen == pieces => {
                if now - since > limit
                    && let Some(task) = self.task.get()
                {
                    task.abort();
                }
            }
            _ => self.seen.set(Some((pieces, now))),
        }
    }
}

impl<F: Future + 'static> hyper::rt::Executor<F> for Answers {
    fn execute(&self, future: F) {
        let task = tokio::task::spawn_local(future).abort_handle();
        if let Some(answer) = self.0.begun.borrow_mut().take() {
            // A new one has none.
            let _ = answer.task.set(task);
        }
    }
}

impl Ticket {
    /// The connection asked for a piece of the answer: with one in its hands, the client is next.
    pub(super) fn asked(&self, has_piece: bool) {
        self.answer.is_waiting.set(has_piece);
        if has_piece {
            self.answer.pieces.set(self.answer.pieces.get() + 1);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.answers.0.open.borrow_mut().try_remove(self.key);
    }
}
