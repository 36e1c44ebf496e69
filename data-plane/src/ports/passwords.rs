//! Passwords checked: their hashes are costly on purpose, so they are worked out on a thread of their
//! own, one at a time, and remembered.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;
use tollgate_model::credential::KeyHash;
use tollgate_model::password::PasswordHash;
use tollgate_policy::policy::Caller;
use tollgate_policy::ports::{Proof, Proving};
use zeroize::Zeroizing;

/// How many checks may wait on one node.
const QUEUE: usize = 256;
/// How long a request waits for its check.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many answers of a kind are remembered at least, the newest of them.
const REMEMBERED: usize = 4_096;

/// The node's queue of checks; the thread begins with the first of them.
#[derive(Default)]
pub struct Passwords {
    queue: OnceLock<Option<SyncSender<Check>>>,
}

/// A password to be checked against a hash.
pub struct Question<'a> {
    /// Who it is if it is right; none: nobody, whatever comes out.
    pub caller: Option<Arc<Caller>>,
    /// What it is checked against.
    pub hash: PasswordHash,
    /// What was sent.
    pub password: &'a str,
    /// The cluster's.
    pub credential_key: &'a [u8; 32],
}

struct Check {
    name: KeyHash,
    hash: PasswordHash,
    password: Zeroizing<String>,
    credential_key: Zeroizing<[u8; 32]>,
    answer: oneshot::Sender<bool>,
}

/// Answers that were worked out before. Right and wrong ones apart, so that guesses push out no
/// caller who is right.
#[derive(Default)]
pub struct Memory {
    right: Generations,
    wrong: Generations,
}

/// A set that forgets the oldest, roughly.
#[derive(Default)]
struct Generations {
    young: HashSet<KeyHash>,
    old: HashSet<KeyHash>,
}

impl Passwords {
    /// Answers from a request thread's own memory, or has it worked out.
    pub fn prove<'a>(&self, question: Question<'_>, memory: &'a RefCell<Memory>) -> Proving<'a> {
        let Question { caller, hash, password, credential_key } = question;
        let name = hash.question(password, credential_key);
        if let Some(is_right) = memory.borrow_mut().recall(&name) {
            return Proving::Now(proof(is_right, caller));
        }
        let (answer, answered) = oneshot::channel();
        let check = Check {
            name,
            hash,
            password: Zeroizing::new(password.to_owned()),
            credential_key: Zeroizing::new(*credential_key),
            answer,
        };
        if !self.ask(check) {
            return Proving::Now(Proof::Unavailable);
        }
        Proving::Wait(Box::pin(async move {
            match tokio::time::timeout(PATIENCE, answered).await {
                Ok(Ok(is_right)) => {
                    memory.borrow_mut().remember(name, is_right);
                    proof(is_right, caller)
                }
                Ok(Err(_)) | Err(_) => Proof::Unavailable,
            }
        }))
    }

    /// Whether there is room for one more.
    fn ask(&self, check: Check) -> bool {
        let start = || {
            let (sender, receiver) = sync_channel(QUEUE);
            let thread = std::thread::Builder::new().name("passwords".to_owned());
            thread.spawn(move || work(receiver)).ok().map(|_detached| sender)
        };
        let queue = self.queue.get_or_init(start);
        queue.as_ref().is_some_and(|queue| queue.try_send(check).is_ok())
    }
}

/// Ends once the node has dropped its end of the queue.
fn work(queue: Receiver<Check>) {
    // Many requests at once may ask the same before their threads have heard the answer.
    let mut memory = Memory::default();
    for check in queue {
        if check.answer.is_closed() {
            continue;
        }
        let is_right = memory.recall(&check.name).unwrap_or_else(|| {
            let is_right = check.hash.is_of(&check.password, &check.credential_key);
            memory.remember(check.name, is_right);
            is_right
        });
        // Who no longer waits has gone meanwhile.
        let _: Result<(), bool> = check.answer.send(is_right);
    }
}

fn proof(is_right: bool, caller: Option<Arc<Caller>>) -> Proof {
    match caller {
        Some(caller) if is_right => Proof::Caller(caller),
        _ => Proof::Wrong,
    }
}

impl Memory {
    fn recall(&mut self, name: &KeyHash) -> Option<bool> {
        if self.right.holds(name) {
            Some(true)
        } else if self.wrong.holds(name) {
            Some(false)
        } else {
            None
        }
    }

    fn remember(&mut self, name: KeyHash, is_right: bool) {
        if is_right {
            self.right.add(name);
        } else {
            self.wrong.add(name);
        }
    }
}

impl Generations {
    /// What is asked for again stays.
    fn holds(&mut self, name: &KeyHash) -> bool {
        if self.young.contains(name) {
            return true;
        }
        let is_old = self.old.contains(name);
        if is_old {
            self.add(*name);
        }
        is_old
    }

    fn add(&mut self, name: KeyHash) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn name(number: usize) -> KeyHash {
        KeyHash::of(&number.to_le_bytes(), &KEY)
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_bounded() {
        let mut memory = Memory::default();
        memory.remember(name(0), true);
        for i in 1..10 * REMEMBERED {
            memory.remember(name(i), i % 2 == 0);
            assert_eq!(memory.recall(&name(0)), Some(true), "{i}");
        }
        assert_eq!(memory.recall(&name(1)), None);
        for generations in [&memory.right, &memory.wrong] {
            assert!(generations.young.len() + generations.old.len() <= 2 * REMEMBERED);
        }
    }

    #[test]
    fn guesses_push_out_nobody_who_is_right() {
        let mut memory = Memory::default();
        memory.remember(name(0), true);
        for i in 1..4 * REMEMBERED {
            memory.remember(name(i), false);
        }
        assert_eq!(memory.recall(&name(0)), Some(true));
    }

    async fn ask(
        passwords: &Passwords,
        memory: &RefCell<Memory>,
        hash: PasswordHash,
        password: &str,
    ) -> (bool, Proof) {
        let caller = Some(Arc::new(Caller {
            tenant: tollgate_model::Name::default_name(),
            application: tollgate_model::Name::default_name(),
            credential: tollgate_model::Name::default_name(),
            groups: Box::default(),
            expires_at_unix_micros: None,
            is_disabled: false,
            verification_key: None,
            chain: None,
        }));
        let question = Question { caller, hash, password, credential_key: &KEY };
        match passwords.prove(question, memory) {
            Proving::Now(proof) => (false, proof),
            Proving::Wait(proof) => (true, proof.await),
        }
    }

    #[tokio::test]
    async fn an_answer_is_waited_for_once_right_or_wrong() {
        let (passwords, memory) = (Passwords::default(), RefCell::default());
        let hash = PasswordHash::of("correct horse", "default/web", &KEY).unwrap();
        for is_new in [true, false] {
            let (waited, proof) = ask(&passwords, &memory, hash, "correct horse").await;
            assert!(waited == is_new && matches!(proof, Proof::Caller(_)));
            let (waited, proof) = ask(&passwords, &memory, hash, "wrong horse").await;
            assert!(waited == is_new && matches!(proof, Proof::Wrong));
        }
        // Another hash is another question, whatever was known of the old one.
        let changed = PasswordHash::of("another horse", "default/web", &KEY).unwrap();
        let (waited, proof) = ask(&passwords, &memory, changed, "correct horse").await;
        assert!(waited && matches!(proof, Proof::Wrong));
    }

    #[tokio::test]
    async fn where_too_many_wait_the_next_is_turned_away_at_once() {
        let (passwords, memory) = (Passwords::default(), RefCell::default());
        let hash = PasswordHash::of_nobody("web", &KEY);
        let mut waiting = Vec::new();
        let mut turned_away = 0;
        for i in 0..QUEUE + 8 {
            let password = format!("guess {i}");
            let question =
                Question { caller: None, hash, password: &password, credential_key: &KEY };
            match passwords.prove(question, &memory) {
                Proving::Now(Proof::Unavailable) => turned_away += 1,
                Proving::Now(_) => panic!("nothing is known of {password}"),
                Proving::Wait(proof) => waiting.push(proof),
            }
        }
        assert!(turned_away > 0 && waiting.len() >= QUEUE);
        // Of those that have gone, none is worked out: the next is answered soon.
        drop(waiting);
        let began = std::time::Instant::now();
        let (_, proof) = loop {
            let (waited, proof) = ask(&passwords, &memory, hash, "one more").await;
            if !matches!(proof, Proof::Unavailable) {
                break (waited, proof);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert!(matches!(proof, Proof::Wrong) && began.elapsed() < PATIENCE);
    }
}
