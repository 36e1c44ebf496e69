//! Clients of HTTP/2 that flood a node with frames, and clients that let it wait. Each has a bound, and the others on the
//! node get their answers meanwhile.

use std::time::{Duration, Instant};

use http::Request;
use tokio::io::AsyncWriteExt;
use tollgate_testkit::upstream::Upstream;

use crate::support::frames::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FrameWire, GOAWAY,
    HEADERS, PING, PRIORITY, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    block, frame,
};
use crate::support::{Http2, TestNode, eventually, full, plainly, soon};

/// Far more than a node takes of what carries nothing: it has to end the connection before that.
const FLOOD: usize = 100_000;
/// What one write of a flood holds.
const AT_ONCE: usize = 100;

fn start(limits: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let gateway = format!("---\nkind: Gateway\nname: default\nspec: {{limits: {{{limits}}}}}\n");
    let node = TestNode::with(&(plainly(backend.address()) + &gateway));
    (backend, node)
}

/// A request that is whole.
fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block("GET", path, &[]))
}

/// A request whose body is still to come.
fn post(stream: u32, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block("POST", path, fields))
}

/// Streams as a client numbers them.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

/// The node goes on for the others, and lets go of the one.
async fn serves_on(node: &TestNode, other: &mut Http2) {
    assert_eq!(other.call(Request::get("http://api.test/"), full("")).await.status, 200);
    assert_eq!(node.get("/").await.status, 200);
    eventually(|| (node.open_connections() == 1).then_some(())).await;
}

#[tokio::test]
async fn frames_that_carry_nothing_end_their_connection() {
    let (backend, node) = start("");
    let mut other = Http2::to(node.address).await;
    let floods = [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        // Each changes the windows of all streams.
        ("SETTINGS with a window", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("an unknown kind", frame(0xfe, 0, 0, b"anything")),
        ("an empty one of an unknown kind", frame(0xfe, 0, 0, b"")),
    ];
    for (i, (name, bytes)) in floods.iter().enumerate() {
        let mut wire = FrameWire::to(node.address).await;
        wire.floods_to_the_end(&bytes.repeat(AT_ONCE), FLOOD / AT_ONCE).await;
        serves_on(&node, &mut other).await;
        let seen = node.metric("tollgate_http2_floods_total");
        assert_eq!(seen, u64::try_from(i + 1).unwrap(), "{name}");
    }
    assert_eq!(backend.requests(), 2 * u64::try_from(floods.len()).unwrap());
}

#[tokio::test]
async fn a_client_that_updates_windows_for_what_it_is_sent_floods_nobody() {
    let (_backend, node) = start("");
    let mut wire = FrameWire::to(node.address).await;
    // Both windows for every hundred bytes, three times what may come at once.
    wire.send(get(1, "/?size=1500000&chunked")).await;
    let hundred = [0, 0, 0, 100];
    let both =
        [frame(WINDOW_UPDATE, 0, 0, &hundred), frame(WINDOW_UPDATE, 0, 1, &hundred)].concat();
    let mut bytes = 0;
    loop {
        let piece = wire.next_of(DATA).await.expect("the answer goes on");
        if piece.flags & END_STREAM != 0 {
            break;
        }
        bytes += piece.payload.len();
        wire.send(both.repeat(piece.payload.len().div_ceil(100))).await;
    }
    assert_eq!(bytes, 1_500_000);
    assert_eq!(node.metric("tollgate_http2_floods_total"), 0);
}

#[tokio::test]
async fn requests_that_are_reset_before_they_were_begun_end_their_connection() {
    let (_backend, node) = start("");
    let mut other = Http2::to(node.address).await;
    let mut wire = FrameWire::to(node.address).await;
    let pairs = |stream| [get(stream, "/"), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
    let flood: Vec<u8> = streams().take(5_000).flat_map(pairs).collect();
    wire.floods_to_the_end(&flood, 1).await;
    serves_on(&node, &mut other).await;
}

#[tokio::test]
async fn requests_that_are_reset_once_they_were_begun_end_their_connection() {
    let (backend, node) = start("");
    let mut other = Http2::to(node.address).await;
    let mut wire = FrameWire::to(node.address).await;
    // Fewer of them mean further down that the node has ended it.
    eventually(|| (node.open_connections() == 2).then_some(())).await;
    let mut streams = streams();
    let ended = soon(async {
        for round in 1..200 {
            let batch: Vec<u32> = streams.by_ref().take(50).collect();
            let requests: Vec<u8> = batch.iter().flat_map(|id| get(*id, "/?hang")).collect();
            let resets = |id: &u32| frame(RST_STREAM, 0, *id, &[0, 0, 0, 8]);
            let resets: Vec<u8> = batch.iter().flat_map(resets).collect();
            if wire.0.stream.write_all(&requests).await.is_err() {
                return true;
            }
            // The node has begun them: their upstream has seen them.
            let wanted = round * 50;
            while backend.requests() < wanted && node.open_connections() > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if wire.0.stream.write_all(&resets).await.is_err() || node.open_connections() < 2 {
                return true;
            }
        }
        false
    })
    .await;
    assert!(ended, "{} requests were begun and reset", backend.requests());
    assert!(backend.requests() < 4_000, "{}", backend.requests());
    eventually(|| (node.metric("tollgate_http2_floods_total") == 1).then_some(())).await;
    eventually(|| (backend.under_way() == 0).then_some(())).await;
    serves_on(&node, &mut other).await;
}

/// What a client does on a stream for which the node has to reset it.
type Fault = fn(u32) -> Vec<u8>;

/// CVE-2025-8671: the node resets streams for what the client does on them, and the upstream's work was for nothing.
#[tokio::test]
async fn a_client_that_makes_the_node_reset_its_streams_is_told_to_calm_down() {
    let (backend, node) = start("");
    let mut other = Http2::to(node.address).await;
    let faults: [(&str, Fault); 3] = [
        ("a window that overflows", |id| frame(WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff])),
        ("more than was announced", |id| frame(DATA, 0, id, b"1234")),
        ("trailers that end nothing", |id| {
            frame(HEADERS, END_HEADERS, id, &block("GET", "/", &[]))
        }),
    ];
    for (name, fault) in faults {
        let before = backend.requests();
        let mut wire = FrameWire::to(node.address).await;
        let begun = |id| [post(id, "/?early&hang", &[("content-length", "3")]), fault(id)].concat();
        let flood: Vec<u8> = streams().take(5_000).flat_map(begun).collect();
        let _ = soon(wire.0.stream.write_all(&flood)).await;
        let goaway = wire.next_of(GOAWAY).await.unwrap_or_else(|| panic!("{name}: no GOAWAY"));
        // Or that it may not go on with a stream that was refused.
        assert!([PROTOCOL_ERROR, ENHANCE_YOUR_CALM].contains(&goaway.code()), "{name}");
        assert!(backend.requests() - before <= 300, "{name}: {}", backend.requests() - before);
        drop(wire);
        serves_on(&node, &mut other).await;
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up_after_a_few_frames() {
    let (backend, node) = start("");
    let mut other = Http2::to(node.address).await;
    let field = [&[0, 1, b'a', 126][..], &[b'x'; 126]].concat();
    for (name, piece) in [("empty", vec![]), ("one field each", field)] {
        let mut wire = FrameWire::to(node.address).await;
        let head = frame(HEADERS, 0, 1, &block("GET", "/", &[]));
        let more = frame(CONTINUATION, 0, 1, &piece).repeat(5_000);
        let _ = soon(wire.0.stream.write_all(&[head, more].concat())).await;
        let goaway = wire.next_of(GOAWAY).await.unwrap_or_else(|| panic!("{name}: no GOAWAY"));
        assert_eq!(goaway.code(), ENHANCE_YOUR_CALM, "{name}");
        drop(wire);
        serves_on(&node, &mut other).await;
    }
    assert_eq!(backend.requests(), 4);
}

#[tokio::test]
async fn empty_pieces_of_a_body_and_empty_heads_are_taken_a_few_times() {
    let (_backend, node) = start("");
    let mut other = Http2::to(node.address).await;
    let empty_pieces = [post(1, "/", &[]), frame(DATA, 0, 1, b"").repeat(1_000)].concat();
    let small_pieces = [post(1, "/?hang", &[]), frame(DATA, 0, 1, b"x").repeat(20_000)].concat();
    let empty_heads: Vec<u8> = streams()
        .take(1_000)
        .flat_map(|id| frame(HEADERS, END_HEADERS | END_STREAM, id, b""))
        .collect();
    for (name, flood) in
        [("pieces", empty_pieces), ("small pieces", small_pieces), ("heads", empty_heads)]
    {
        let mut wire = FrameWire::to(node.address).await;
        let _ = soon(wire.0.stream.write_all(&flood)).await;
        let goaway = wire.next_of(GOAWAY).await.unwrap_or_else(|| panic!("{name}: no GOAWAY"));
        assert_eq!(goaway.code(), ENHANCE_YOUR_CALM, "{name}");
        drop(wire);
        serves_on(&node, &mut other).await;
    }
}

/// A few bytes that stand for very many (RFC 7541 §7.3).
#[tokio::test]
async fn a_head_that_unpacks_to_very_much_is_refused() {
    let (backend, node) = start("");
    let mut other = Http2::to(node.address).await;
    // One field of 3,000 bytes that enters the table as number 62, then named 5,000 times.
    let mut bomb = block("GET", "/", &[]);
    bomb.extend([0x40, 1, b'a', 0x7f, 0xb9, 0x16]);
    bomb.extend(vec![b'x'; 3_000]);
    bomb.extend(vec![0x80 | 62; 5_000]);
    let mut wire = FrameWire::to(node.address).await;
    let started = Instant::now();
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb)).await;
    let goaway = wire.next_of(GOAWAY).await.expect("GOAWAY");
    assert_eq!(goaway.code(), ENHANCE_YOUR_CALM);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(wire);
    serves_on(&node, &mut other).await;
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn over_http_2_there_may_be_as_many_fields_as_over_http_1() {
    let (backend, node) = start("headers: 20");
    let mut client = Http2::to(node.address).await;
    let with = |name: &str, count: usize| {
        (0..count).fold(Request::get("http://api.test/"), |request, i| {
            request.header(name.replace('#', &i.to_string()), "x")
        })
    };
    assert_eq!(client.call(with("x-#", 20), full("")).await.status, 200);
    let answer = client.call(with("x-#", 21), full("")).await;
    assert_eq!((answer.status, answer.code().as_str()), (431, "head_too_large"));
    let answer = client.call(with("x-same", 21), full("")).await;
    assert_eq!(answer.status, 431);
    // Clients cut it into pieces as they like (RFC 9113 §8.2.3).
    assert_eq!(client.call(with("cookie", 50), full("")).await.status, 200);
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_the_others_go_on() {
    let (backend, node) = start("streams: 10");
    let mut wire = FrameWire::to(node.address).await;
    let requests: Vec<u8> =
        streams().take(30).flat_map(|id| get(id, "/?delay_ms=300&size=0")).collect();
    wire.send(requests).await;
    let (mut refused, mut answered) = (Vec::new(), Vec::new());
    while refused.len() + answered.len() < 30 {
        let frame = wire.next().await.expect("the connection goes on");
        match frame.kind {
            RST_STREAM => {
                assert_eq!(frame.code(), REFUSED_STREAM);
                refused.push(frame.stream);
            }
            HEADERS => answered.push(frame.stream),
            _ => {}
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, streams().take(10).collect::<Vec<_>>());
    assert_eq!((refused.len(), backend.requests()), (20, 10));
}

#[tokio::test]
async fn an_answer_that_is_left_lying_is_given_up_and_what_goes_on_beside_it_is_not() {
    let (backend, node) = start("idle_time: 1s");
    // Windows of nothing.
    let mut wire = FrameWire::with(node.address, &[(4, 0)]).await;
    let mut ids = streams();
    for id in ids.by_ref().take(5) {
        wire.send(get(id, "/?size=1000000000")).await;
    }
    eventually(|| (backend.open_connections() == 5).then_some(())).await;
    let mut reset = Vec::new();
    let since = Instant::now();
    // The connection is never idle, and never at rest.
    while reset.len() < 5 {
        assert!(since.elapsed() < Duration::from_secs(15), "{reset:?}");
        let id = ids.next().unwrap();
        wire.send(get(id, "/?size=0")).await;
        loop {
            let frame = wire.next().await.expect("the connection goes on");
            match frame.kind {
                RST_STREAM => {
                    assert_eq!(frame.code(), CANCEL);
                    reset.push(frame.stream);
                }
                HEADERS if frame.stream == id => break,
                _ => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    reset.sort_unstable();
    assert_eq!(reset, streams().take(5).collect::<Vec<_>>());
    assert!(since.elapsed() > Duration::from_millis(900), "{:?}", since.elapsed());
    assert!(backend.sent_bytes() < 64 << 20, "{}", backend.sent_bytes());
    eventually(|| (backend.open_connections() <= 1).then_some(())).await;
    let id = ids.next().unwrap();
    wire.send(get(id, "/?size=0")).await;
    assert_eq!(wire.next_of(HEADERS).await.map(|frame| frame.stream), Some(id));
    let all = usize::try_from(id.div_ceil(2)).unwrap();
    let records = node.records(all).await;
    let cut = records.iter().filter(|record| record["complete"] == false).count();
    assert_eq!(cut, 5);
}

#[tokio::test]
async fn a_client_that_never_reads_is_let_go() {
    let (backend, node) = start("idle_time: 1s");
    let mut wire = FrameWire::with(node.address, &[(4, 0x7fff_ffff)]).await;
    wire.send(frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0])).await;
    for id in streams().take(20) {
        wire.send(get(id, "/?size=1000000000")).await;
    }
    eventually(|| (backend.requests() == 20).then_some(())).await;
    eventually(|| (backend.open_connections() == 0).then_some(())).await;
    assert!(backend.sent_bytes() < 256 << 20, "{}", backend.sent_bytes());
    eventually(|| (node.open_connections() == 0).then_some(())).await;
    assert_eq!(node.get("/").await.status, 200);
}

#[tokio::test]
async fn pings_keep_no_connection_open_that_nobody_uses() {
    let (_backend, node) = start("idle_time: 1s, head_time: 1s");
    let mut wire = FrameWire::to(node.address).await;
    let ended = soon(async {
        loop {
            if wire.0.stream.write_all(&frame(PING, 0, 0, &[0; 8])).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    ended.await;
    eventually(|| (node.open_connections() == 0).then_some(())).await;
}
