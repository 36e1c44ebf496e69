//! A server of names on a free port, over UDP and TCP, which says what a test tells it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// More than that is not sent over UDP (RFC 1035 §4.2.1).
const MOST_OVER_UDP: usize = 512;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    Good,
    /// With SERVFAIL.
    Failing,
    /// With what is no answer.
    Raving,
    Silent,
}

/// What a record says.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Address(Ipv4Addr),
    Alias(String),
    /// Priority, weight, port, target.
    Service(u16, u16, u16, String),
}

/// A record, of the name that is asked for unless it has another owner.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) owner: Option<String>,
    pub(crate) ttl: u32,
    pub(crate) data: Data,
}

/// What is known of a name; none: it answers with SERVFAIL.
type Known = Option<Vec<Record>>;

pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    socket: Arc<UdpSocket>,
    threads: Vec<JoinHandle<()>>,
}

struct State {
    zone: Mutex<HashMap<String, Known>>,
    /// None: it ends.
    mood: Mutex<Option<Mood>>,
    questions: AtomicU64,
    over_tcp: AtomicU64,
}

impl Dns {
    pub(crate) fn start() -> Self {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            // The port may be somebody else's over TCP.
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()) {
                break (Arc::new(socket), listener);
            }
        };
        let address = socket.local_addr().unwrap();
        let state = Arc::new(State {
            zone: Mutex::default(),
            mood: Mutex::new(Some(Mood::Good)),
            questions: AtomicU64::new(0),
            over_tcp: AtomicU64::new(0),
        });
        let (serving, known) = (Arc::clone(&socket), Arc::clone(&state));
        let over_udp = std::thread::spawn(move || known.serve_udp(&serving));
        let known = Arc::clone(&state);
        let over_tcp = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if known.mood.lock().unwrap().is_none() {
                    return;
                }
                let known = Arc::clone(&known);
                // Ends with the connection, which the node closes.
                std::thread::spawn(move || known.serve_tcp(stream.unwrap()));
            }
        });
        Self { address, state, socket, threads: vec![over_udp, over_tcp] }
    }

    /// What a name stands for from now on, and for how many seconds.
    pub(crate) fn set(&self, name: &str, ttl: u32, addresses: &[Ipv4Addr]) {
        self.tell(name, ttl, addresses.iter().copied().map(Data::Address));
    }

    /// The servers of a service: priority, weight, port and target of each.
    pub(crate) fn serve(&self, name: &str, ttl: u32, servers: &[(u16, u16, u16, &str)]) {
        let data = servers.iter().map(|(priority, weight, port, target)| {
            Data::Service(*priority, *weight, *port, (*target).to_owned())
        });
        self.tell(name, ttl, data);
    }

    /// What it says of a name, whatever is asked, and of its aliases.
    pub(crate) fn tell(&self, name: &str, ttl: u32, data: impl Iterator<Item = Data>) {
        self.claim(name, data.map(|data| Record { owner: None, ttl, data }).collect());
    }

    /// The same, also of other names.
    pub(crate) fn claim(&self, name: &str, records: Vec<Record>) {
        self.state.zone.lock().unwrap().insert(name.to_owned(), Some(records));
    }

    /// Answers with SERVFAIL for a name alone.
    pub(crate) fn fail(&self, name: &str) {
        self.state.zone.lock().unwrap().insert(name.to_owned(), None);
    }

    /// A name is there no more.
    pub(crate) fn forget(&self, name: &str) {
        self.state.zone.lock().unwrap().remove(name);
    }

    pub(crate) fn be(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = Some(mood);
    }

    /// All that was asked.
    pub(crate) fn questions(&self) -> u64 {
        self.state.questions.load(Ordering::SeqCst)
    }

    /// Of that, over TCP.
    pub(crate) fn questions_over_tcp(&self) -> u64 {
        self.state.over_tcp.load(Ordering::SeqCst)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        *self.state.mood.lock().unwrap() = None;
        self.socket.send_to(b"end", self.address).unwrap();
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl State {
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Some(mood) = *self.mood.lock().unwrap() else { return };
            self.questions.fetch_add(1, Ordering::SeqCst);
            let Some(mut answer) = self.answer(&buffer[..length], mood) else { continue };
            if answer.len() > MOST_OVER_UDP {
                // RFC 2181 §9: who is told that something is missing asks over TCP.
                answer[2] |= 2;
                answer[6..8].fill(0);
                answer.truncate(end_of_question(&answer));
            }
            socket.send_to(&answer, from).unwrap();
        }
    }

    fn serve_tcp(&self, mut stream: TcpStream) {
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut query).is_err() {
                return;
            }
            let Some(mood) = *self.mood.lock().unwrap() else { return };
            self.questions.fetch_add(1, Ordering::SeqCst);
            self.over_tcp.fetch_add(1, Ordering::SeqCst);
            let Some(answer) = self.answer(&query, mood) else { continue };
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            if stream.write_all(&[&length[..], &answer].concat()).is_err() {
                return;
            }
        }
    }

    /// RFC 1035 §4: the header, the question as it was asked, and the records.
    fn answer(&self, query: &[u8], mood: Mood) -> Option<Vec<u8>> {
        let mut at = 12;
        let mut labels = Vec::new();
        while query[at] > 0 {
            let end = at + 1 + usize::from(query[at]);
            labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        let question = &query[12..end_of_question(query)];
        let sort = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        let (code, records) = match mood {
            Mood::Silent => return None,
            Mood::Raving => return Some([&query[..2], &[0xff; 60]].concat()),
            Mood::Failing => (2, Vec::new()),
            Mood::Good => match self.zone.lock().unwrap().get(&labels.join(".")) {
                None => (3, Vec::new()),
                Some(None) => (2, Vec::new()),
                Some(Some(records)) => (0, records.clone()),
            },
        };
        let mut written = Vec::new();
        let mut count: u16 = 0;
        // RFC 1034 §3.6.2: an alias is told whatever is asked.
        for Record { owner, ttl, data } in records {
            let (own, rest) = match data {
                Data::Address(address) => (1, address.octets().to_vec()),
                Data::Alias(target) => (5, name(&target)),
                Data::Service(priority, weight, port, target) => {
                    let numbers = [priority, weight, port].map(u16::to_be_bytes).concat();
                    (33, [numbers, name(&target)].concat())
                }
            };
            if own != sort && own != 5 {
                continue;
            }
            let owner = owner.map_or_else(|| vec![0xc0, 12], |owner| name(&owner));
            written.extend(owner);
            written.extend([0, own.to_be_bytes()[1], 0, 1]);
            written.extend(ttl.to_be_bytes());
            written.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
            written.extend(rest);
            count += 1;
        }
        let head = [&query[..2], &[0x81, 0x80 | code, 0, 1], &count.to_be_bytes(), &[0; 4]];
        Some([&head.concat(), question, &written].concat())
    }
}

fn end_of_question(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] > 0 {
        at += 1 + usize::from(message[at]);
    }
    at + 5
}

/// Labels, each after its length.
fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut written: Vec<u8> = labels
        .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat())
        .collect();
    written.push(0);
    written
}
