//! Frames of the connection: the preface, sizes, SETTINGS, PING, GOAWAY, and what nobody knows.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_testkit::upstream::Upstream;

use super::{
    Answer, Case, Closed, Fresh, GoAway, HalfClosed, Ignored, Open, Reset, case, check, event, get,
    post,
};
use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR,
    FrameWire, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE,
    RST_STREAM, Received, SETTINGS, WINDOW_UPDATE, block, frame, settings,
};
use crate::support::tls::Tls;
use crate::support::{TestNode, plainly, soon};

/// A kind of frame that no document knows.
const UNKNOWN: u8 = 0xfe;

/// What is no beginning of HTTP/2.
fn beginnings() -> Vec<(&'static str, Vec<u8>)> {
    let settings = || frame(SETTINGS, 0, 0, &[]);
    let with = |bytes: &[u8]| [PREFACE, bytes, &get(1, "/")].concat();
    vec![
        ("no preface", [settings(), get(1, "/")].concat()),
        ("another preface", [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &settings()[..]].concat()),
        ("the preface twice", with(PREFACE)),
        ("a request before SETTINGS", with(b"")),
        ("PING before SETTINGS", with(&frame(PING, 0, 0, &[0; 8]))),
        ("an unknown frame before SETTINGS", with(&frame(UNKNOWN, 0, 0, &[0; 8]))),
        ("an acknowledgement before SETTINGS", with(&frame(SETTINGS, ACK, 0, &[]))),
    ]
}

/// RFC 9113 §3.4.
#[tokio::test]
async fn a_connection_that_does_not_begin_as_http_2_does_ends_without_an_answer_to_its_requests() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    for (name, bytes) in beginnings() {
        let mut wire = node.wire().await;
        wire.send(bytes).await;
        // A reset of the connection is as good.
        while wire.more().await {}
        assert_eq!(backend.requests(), 0, "{name}");
    }
    assert_eq!(node.get("/").await.status, 200);
}

/// RFC 9113 §3.2: over TLS, HTTP/2 was agreed on, and nothing else is looked for.
#[tokio::test]
async fn the_same_holds_where_tls_agreed_on_http_2() {
    let tls = Tls::simple();
    let client = tls.client().with_alpn(&["h2"]);
    for (name, bytes) in beginnings() {
        let mut stream = client.connect(tls.address, "api.test").await.unwrap();
        let _ = soon(stream.write_all(&bytes)).await;
        let mut read = Vec::new();
        let _ = soon(stream.read_to_end(&mut read)).await;
        assert_eq!(tls.backend.requests(), 0, "{name}");
    }
}

/// The head of a frame whose payload never comes.
fn head(kind: u8, stream: u32, length: u32) -> Vec<u8> {
    let mut head = frame(kind, END_HEADERS, stream, &[]);
    head[..3].copy_from_slice(&length.to_be_bytes()[1..]);
    head
}

fn sizes() -> Vec<Case> {
    // Unless a node's SETTINGS say otherwise.
    let most = 1 << 14;
    let whole = frame(DATA, END_STREAM, 1, &[b'x'; 1 << 14]);
    let size = GoAway(FRAME_SIZE_ERROR);
    let mut cases = vec![case(
        "4.2",
        "DATA of the largest size",
        Fresh,
        [post(1, "/"), whole].concat(),
        Answer(200),
    )];
    for (name, kind, stage, stream) in [
        ("DATA too large", DATA, Open, 1),
        ("HEADERS too large", HEADERS, Fresh, 1),
        ("SETTINGS too large", SETTINGS, Fresh, 0),
        ("an unknown frame too large", UNKNOWN, Fresh, 1),
    ] {
        cases.push(case("4.2", name, stage, head(kind, stream, most + 2), size));
    }
    for (section, name, kind, stream, length) in [
        ("6.5", "SETTINGS of 5 bytes", SETTINGS, 0, 5),
        ("6.5", "SETTINGS of 7 bytes", SETTINGS, 0, 7),
        ("6.7", "PING of 7 bytes", PING, 0, 7),
        ("6.7", "PING of 9 bytes", PING, 0, 9),
        ("6.8", "GOAWAY of 7 bytes", GOAWAY, 0, 7),
        ("6.9", "WINDOW_UPDATE of 3 bytes", WINDOW_UPDATE, 0, 3),
        ("6.9", "WINDOW_UPDATE of 5 bytes", WINDOW_UPDATE, 1, 5),
        ("6.4", "RST_STREAM of 3 bytes", RST_STREAM, 1, 3),
        ("6.4", "RST_STREAM of 5 bytes", RST_STREAM, 1, 5),
        ("6.3", "PRIORITY of 4 bytes", PRIORITY, 1, 4),
        ("6.3", "PRIORITY of 6 bytes", PRIORITY, 1, 6),
        ("6.1", "padded DATA of no bytes", DATA, 1, 0),
    ] {
        let flags = if kind == DATA { PADDED } else { 0 };
        let bytes = frame(kind, flags, stream, &vec![1; length]);
        let case = match kind {
            PRIORITY => case(section, name, Open, bytes, Reset(FRAME_SIZE_ERROR)).stricter(),
            _ => case(section, name, Open, bytes, size),
        };
        cases.push(case.named(PROTOCOL_ERROR));
    }
    cases
}

#[tokio::test]
async fn frames_of_a_wrong_size_end_their_connection() {
    check(sizes()).await;
}

fn ping(flags: u8, stream: u32) -> Vec<u8> {
    frame(PING, flags, stream, &[7; 8])
}

fn unknown() -> Vec<Case> {
    let unknown = |stream| frame(UNKNOWN, 0xff, stream, b"anything");
    let reserved = |mut bytes: Vec<u8>| {
        bytes[5] |= 0x80;
        bytes
    };
    let within = [post(1, "/"), unknown(1), frame(DATA, END_STREAM, 1, b"x")].concat();
    vec![
        case("4.1", "an unknown frame", Fresh, unknown(0), Ignored),
        case("4.1", "an unknown frame of an idle stream", Fresh, unknown(1), Ignored),
        case("5.5", "an unknown frame within a stream", Fresh, within, Answer(200)),
        case("5.1", "an unknown frame of a closed stream", Closed, unknown(1), Ignored),
        case("4.1", "flags that nobody knows", Fresh, ping(0xfe, 0), Ignored),
        case("4.1", "the reserved bit of a stream's id", Fresh, reserved(get(1, "/")), Answer(200)),
        case(
            "4.1",
            "the reserved bit of the connection's id",
            Fresh,
            reserved(ping(0, 0)),
            Ignored,
        ),
    ]
}

#[tokio::test]
async fn what_nobody_knows_is_ignored() {
    check(unknown()).await;
}

/// SETTINGS with one setting.
fn one(identifier: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &settings(&[(identifier, value)]))
}

fn of_the_connection() -> Vec<Case> {
    let protocol = GoAway(PROTOCOL_ERROR);
    let goaway = |stream| frame(GOAWAY, 0, stream, &[0; 8]);
    let acknowledged = frame(SETTINGS, ACK, 0, &settings(&[(3, 1)]));
    let push = |stream| {
        let promised = [&2_u32.to_be_bytes()[..], &block("GET", "/", &[])].concat();
        frame(PUSH_PROMISE, END_HEADERS, stream, &promised)
    };
    let overflow = [frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0, 0]), one(4, 0x1_0000)].concat();
    vec![
        case("6.5", "SETTINGS of a stream", Open, frame(SETTINGS, 0, 1, &[]), protocol),
        case("6.5", "a payload to acknowledge", Fresh, acknowledged, GoAway(FRAME_SIZE_ERROR))
            .named(PROTOCOL_ERROR),
        case("6.5.2", "ENABLE_PUSH of 2", Fresh, one(2, 2), protocol),
        case("6.5.2", "ENABLE_PUSH of 0", Fresh, one(2, 0), Ignored),
        case("6.5.2", "ENABLE_PUSH of 1", Fresh, one(2, 1), Ignored),
        case("6.5.2", "INITIAL_WINDOW_SIZE", Fresh, one(4, 1 << 31), GoAway(FLOW_CONTROL_ERROR))
            .named(PROTOCOL_ERROR),
        case("6.5.2", "the largest window", Fresh, one(4, (1 << 31) - 1), Ignored),
        case("6.9.2", "SETTINGS overflow a window", Open, overflow, GoAway(FLOW_CONTROL_ERROR)),
        case("6.5.2", "MAX_FRAME_SIZE below 16,384", Fresh, one(5, 16_383), protocol),
        case("6.5.2", "MAX_FRAME_SIZE above 2^24-1", Fresh, one(5, 1 << 24), protocol),
        case("6.5.2", "the largest MAX_FRAME_SIZE", Fresh, one(5, (1 << 24) - 1), Ignored),
        case("6.5.2", "a setting that nobody knows", Fresh, one(0xf0f0, 7), Ignored),
        // RFC 8441 §3.
        case("6.5.2", "ENABLE_CONNECT_PROTOCOL of 2", Fresh, one(8, 2), protocol),
        case("6.7", "PING of a stream", Open, ping(0, 1), protocol),
        case("6.7", "an answer to no PING", Fresh, ping(ACK, 0), Ignored),
        case("6.8", "GOAWAY of a stream", Open, goaway(1), protocol),
        case("6.6", "PUSH_PROMISE of a stream", Open, push(1), protocol),
        case("6.6", "PUSH_PROMISE of no stream", Fresh, push(0), protocol),
        case("8.4", "PUSH_PROMISE of an idle stream", Fresh, push(3), protocol),
    ]
}

#[tokio::test]
async fn frames_of_the_connection_are_read_as_they_must_be() {
    check(of_the_connection()).await;
}

fn heads_in_pieces() -> Vec<Case> {
    let protocol = GoAway(PROTOCOL_ERROR);
    let block = block("GET", "/", &[]);
    let (first, rest) = block.split_at(5);
    let begun = || frame(HEADERS, END_STREAM, 1, first);
    let more = |flags, stream, bytes: &[u8]| frame(CONTINUATION, flags, stream, bytes);
    let mended = |bytes: Vec<u8>| [begun(), bytes, more(END_HEADERS, 1, rest)].concat();
    let in_two = mended(Vec::new());
    let in_three = mended(more(0, 1, b""));
    let empty = [frame(HEADERS, END_STREAM, 1, b""), more(END_HEADERS, 1, &block)].concat();
    let within = |name, bytes| case("6.10", name, Fresh, mended(bytes), protocol);
    let lone = more(END_HEADERS, 1, &block);
    vec![
        case("4.3", "a head in two pieces", Fresh, in_two, Answer(200)),
        case("4.3", "a head in three pieces, one empty", Fresh, in_three, Answer(200)),
        case("4.3", "a head whose first piece is empty", Fresh, empty, Answer(200)),
        case("6.10", "CONTINUATION of an idle stream", Fresh, lone.clone(), protocol),
        case("6.10", "CONTINUATION of an open stream", Open, lone.clone(), protocol),
        case("6.10", "CONTINUATION of a whole request", HalfClosed, lone, protocol),
        case("6.10", "CONTINUATION of no stream", Fresh, more(END_HEADERS, 0, rest), protocol),
        within("CONTINUATION of another stream within a head", more(END_HEADERS, 3, rest)),
        within("CONTINUATION of no stream within a head", more(END_HEADERS, 0, rest)),
        within("DATA within a head", frame(DATA, 0, 1, b"x")),
        within("HEADERS within a head", get(3, "/")),
        within("PRIORITY within a head", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        within("RST_STREAM within a head", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])),
        within("SETTINGS within a head", frame(SETTINGS, 0, 0, &[])),
        within("PING within a head", ping(0, 0)),
        within("GOAWAY within a head", frame(GOAWAY, 0, 0, &[0; 8])),
        within("WINDOW_UPDATE within a head", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        within("an unknown frame within a head", frame(UNKNOWN, 0, 1, b"")),
    ]
}

#[tokio::test]
async fn nothing_may_stand_within_a_head() {
    check(heads_in_pieces()).await;
}

#[tokio::test]
async fn settings_are_acknowledged_and_pings_are_answered_with_their_bytes() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    let mut wire = FrameWire::to(node.address).await;
    // RFC 9113 §3.4: a server's SETTINGS come first.
    let first = wire.next().await.unwrap();
    assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
    let second = wire.next_of(SETTINGS).await.unwrap();
    assert_eq!((second.flags, second.payload.len()), (ACK, 0));
    // Each is acknowledged, in the order of its coming.
    wire.send([one(3, 7), one(3, 8), ping(0, 0)].concat()).await;
    for _ in 0..2 {
        let next = answer(&mut wire).await;
        assert_eq!((next.kind, next.flags, next.payload.len()), (SETTINGS, ACK, 0));
    }
    let next = answer(&mut wire).await;
    assert_eq!((next.kind, next.flags, next.stream, next.payload), (PING, ACK, 0, vec![7; 8]));
    // An answer to no PING is not answered: the next is the other's.
    wire.send([ping(ACK, 0), frame(PING, 0, 0, b"12345678")].concat()).await;
    assert_eq!(answer(&mut wire).await.payload, b"12345678");
}

/// The next frame but for the window that the node gives when it likes.
async fn answer(wire: &mut FrameWire) -> Received {
    loop {
        let next = wire.next().await.expect("the connection goes on");
        if next.kind != WINDOW_UPDATE {
            return next;
        }
    }
}

/// RFC 9113 §6.8: a client that goes away still takes the answers that are under way.
#[tokio::test]
async fn a_client_that_goes_away_gets_its_last_answer() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    let mut wire = FrameWire::to(node.address).await;
    wire.send([get(1, "/?delay_ms=50"), frame(GOAWAY, 0, 0, &[0; 8])].concat()).await;
    assert_eq!(event(&mut wire).await, (1, Answer(200)));
    while let Some(frame) = wire.next().await {
        assert!(frame.kind != GOAWAY || frame.code() == 0, "{frame:?}");
    }
    assert_eq!(node.get("/").await.status, 200);
}
