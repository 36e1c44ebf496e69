//! Endpoints that are named: what a name stands for, and what comes of it when that changes or nobody knows.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tollgate_data_plane::upstream::names::Resolver;
use tollgate_testkit::upstream::Upstream;

use crate::support::{TestNode, Wire, eventually, request};

/// How a server of names answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Good,
    /// With SERVFAIL.
    Failing,
    /// With what is no answer.
    Raving,
    Silent,
}

/// A server of names on a free port, which knows addresses of version 4.
struct Dns {
    address: SocketAddr,
    state: Arc<State>,
    socket: Arc<UdpSocket>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct State {
    zone: Mutex<HashMap<String, (u32, Vec<Ipv4Addr>)>>,
    mood: Mutex<Option<Mood>>,
    questions: AtomicU64,
}

impl Dns {
    fn start() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let address = socket.local_addr().unwrap();
        let state = Arc::new(State {
            zone: Mutex::default(),
            mood: Mutex::new(Some(Mood::Good)),
            questions: AtomicU64::new(0),
        });
        let (serving, known) = (Arc::clone(&socket), Arc::clone(&state));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = serving.recv_from(&mut buffer) {
                let Some(mood) = *known.mood.lock().unwrap() else { return };
                known.questions.fetch_add(1, Ordering::SeqCst);
                if let Some(answer) = known.answer(&buffer[..length], mood) {
                    serving.send_to(&answer, from).unwrap();
                }
            }
        });
        Self { address, state, socket, thread: Some(thread) }
    }

    /// What a name stands for from now on, and for how many seconds.
    fn set(&self, name: &str, ttl: u32, addresses: &[Ipv4Addr]) {
        let known = (ttl, addresses.to_vec());
        self.state.zone.lock().unwrap().insert(name.to_owned(), known);
    }

    fn be(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = Some(mood);
    }

    fn questions(&self) -> u64 {
        self.state.questions.load(Ordering::SeqCst)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        *self.state.mood.lock().unwrap() = None;
        self.socket.send_to(b"end", self.address).unwrap();
        let _ = self.thread.take().unwrap().join();
    }
}

impl State {
    /// RFC 1035 §4: the header, the question as it was asked, and a record for each address.
    fn answer(&self, query: &[u8], mood: Mood) -> Option<Vec<u8>> {
        let mut at = 12;
        let mut labels = Vec::new();
        while query[at] > 0 {
            let end = at + 1 + usize::from(query[at]);
            labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        let (question, is_of_v4) = (&query[12..at + 5], query[at + 1..at + 3] == [0, 1]);
        let known = self.zone.lock().unwrap().get(&labels.join(".")).cloned();
        let (ttl, addresses) = match (mood, &known) {
            (Mood::Silent, _) => return None,
            (Mood::Raving, _) => return Some([&query[..2], &[0xff; 60]].concat()),
            (Mood::Good, Some((ttl, addresses))) if is_of_v4 => (*ttl, addresses.as_slice()),
            (Mood::Good | Mood::Failing, _) => (0, &[][..]),
        };
        let code = match (mood, &known) {
            (Mood::Good, Some(_)) => 0,
            (Mood::Good, None) => 3,
            _ => 2,
        };
        let count = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        let mut answer =
            [&query[..2], &[0x81, 0x80 | code, 0, 1], &count, &[0; 4], question].concat();
        for address in addresses {
            answer.extend([0xc0, 12, 0, 1, 0, 1]);
            answer.extend(ttl.to_be_bytes());
            answer.extend([0, 4]);
            answer.extend(address.octets());
        }
        Some(answer)
    }
}

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NOBODY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Two servers at the same port of two addresses.
fn servers() -> (Upstream, Upstream) {
    loop {
        let a = Upstream::start("a").unwrap();
        let b = SocketAddr::from((SECOND, a.address().port()));
        // The port may be somebody else's there.
        if let Ok(b) = Upstream::start_at("b", b) {
            return (a, b);
        }
    }
}

fn upstream(port: u16, more: &str) -> String {
    format!(
        "kind: Upstream\nname: backend\nspec:\n  endpoints: [{{url: 'http://orders.test:{port}'}}]\n  {more}\n---\n\
         kind: Api\nname: shop\nspec: {{base_path: /, upstream: backend}}\n"
    )
}

fn node(dns: &Dns, yaml: &str) -> TestNode {
    TestNode::looking_up(Resolver::Server(dns.address)).begin(yaml)
}

async fn shares(wire: &mut Wire, calls: u32) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    for _ in 0..calls {
        let answer = wire.call("GET /", &[], "").await;
        let who = match answer.field("x-server") {
            "" => answer.status.to_string(),
            name => name.to_owned(),
        };
        *shares.entry(who).or_default() += 1;
    }
    shares
}

/// Waits until these alone answer.
async fn settles_to(node: &TestNode, names: &[&str]) {
    let mut wire = node.wire().await;
    for _ in 0..200 {
        let shares = shares(&mut wire, 6).await;
        if shares.keys().map(String::as_str).eq(names.iter().copied()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never {names:?}: {:?}", shares(&mut wire, 6).await);
}

#[tokio::test]
async fn each_address_of_a_name_is_an_endpoint_and_its_host_is_the_name() {
    let (dns, (a, b)) = (Dns::start(), servers());
    let port = a.address().port();
    dns.set("orders.test", 60, &[SECOND, FIRST]);
    let node = node(&dns, &upstream(port, ""));
    // The very first call waits for the answer.
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.seen("host")), (200, format!("orders.test:{port}")));
    let shares = shares(&mut node.wire().await, 20).await;
    assert_eq!(shares, BTreeMap::from([("a".to_owned(), 10), ("b".to_owned(), 10)]));
    // Connections are kept for each.
    assert!(a.connections() <= 2 && b.connections() <= 2);
    // Nobody asked again.
    assert_eq!(dns.questions(), 1);
}

#[tokio::test]
async fn an_address_that_is_gone_gets_no_new_calls_and_ends_those_it_has() {
    let (dns, (a, b)) = (Dns::start(), servers());
    dns.set("orders.test", 1, &[FIRST]);
    let node = node(&dns, &upstream(a.address().port(), ""));
    settles_to(&node, &["a"]).await;
    let mut wire = node.wire().await;
    wire.send(request("GET /?delay_ms=4000", &[], "")).await;
    eventually(|| (a.under_way() == 1).then_some(())).await;
    dns.set("orders.test", 1, &[SECOND]);
    settles_to(&node, &["b"]).await;
    assert_eq!((a.under_way(), b.under_way()), (1, 0));
    assert_eq!(wire.answer().await.field("x-server"), "a");
    dns.set("orders.test", 1, &[FIRST, SECOND]);
    settles_to(&node, &["a", "b"]).await;
}

#[tokio::test]
async fn the_last_good_answer_stays_where_there_is_no_new_one() {
    let (dns, (a, _b)) = (Dns::start(), servers());
    dns.set("orders.test", 0, &[FIRST]);
    let port = a.address().port();
    let mut node = node(&dns, &upstream(port, ""));
    settles_to(&node, &["a"]).await;
    for mood in [Mood::Failing, Mood::Raving, Mood::Silent] {
        dns.be(mood);
        let asked = dns.questions();
        eventually(|| (dns.questions() > asked).then_some(())).await;
        assert_eq!(shares(&mut node.wire().await, 4).await.len(), 1);
        // Nor does a changed configuration forget it.
        node.apply(&upstream(port, "timeouts: {connect: 2s}"));
        assert_eq!(shares(&mut node.wire().await, 4).await, BTreeMap::from([("a".to_owned(), 4)]));
    }
    dns.set("orders.test", 0, &[SECOND]);
    dns.be(Mood::Good);
    settles_to(&node, &["b"]).await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_a_502_until_somebody_does() {
    let (dns, (a, _b)) = (Dns::start(), servers());
    let node = node(&dns, &upstream(a.address().port(), ""));
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    dns.set("orders.test", 60, &[FIRST]);
    settles_to(&node, &["a"]).await;
}

#[tokio::test]
async fn no_call_waits_for_a_silent_server_of_names_longer_than_for_a_connection() {
    let (dns, (a, _b)) = (Dns::start(), servers());
    dns.be(Mood::Silent);
    let node = node(&dns, &upstream(a.address().port(), "timeouts: {connect: 300ms}"));
    let started = std::time::Instant::now();
    assert_eq!(node.get("/").await.code(), "upstream_unreachable");
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(dns.questions() > 0);
}

#[tokio::test]
async fn who_is_behind_a_name_is_asked_how_it_is() {
    let (dns, (a, b)) = (Dns::start(), servers());
    dns.set("orders.test", 1, &[FIRST, NOBODY]);
    let health = "health: {active: {interval: 100ms, unhealthy_after: 1, healthy_after: 1}}\n  retry: {attempts: 0}";
    let node = node(&dns, &upstream(a.address().port(), health));
    settles_to(&node, &["a"]).await;
    dns.set("orders.test", 1, &[SECOND, NOBODY]);
    settles_to(&node, &["b"]).await;
    // One connection of the calls, the others of the questions.
    eventually(|| (b.connections() > 2).then_some(())).await;
}

#[tokio::test]
async fn the_same_request_goes_to_the_same_address_on_every_node() {
    let (dns, (a, _b)) = (Dns::start(), servers());
    let yaml = upstream(a.address().port(), "balance: consistent_hash\n  hash_by: header.x-cart");
    let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for addresses in [[FIRST, SECOND], [SECOND, FIRST]] {
        dns.set("orders.test", 60, &addresses);
        let node = node(&dns, &yaml);
        let mut wire = node.wire().await;
        for cart in 0..16 {
            let answer = wire.call("GET /", &[&format!("x-cart: {cart}")], "").await;
            found.entry(cart).or_default().push(answer.field("x-server").to_owned());
        }
    }
    assert!(found.values().all(|servers| servers[0] == servers[1]), "{found:?}");
    assert!(found.values().any(|servers| servers[0] != found[&0][0]), "{found:?}");
}
