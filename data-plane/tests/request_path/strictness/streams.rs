//! Frames of a stream, by the state that it is in.

use super::{
    Answer, Case, Closed, Fresh, GoAway, HalfClosed, Ignored, Open, Reset, Stage, case, check, get,
    post,
};
use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, HEADERS, PADDED, PRIORITY,
    PROTOCOL_ERROR, RST_STREAM, STREAM_CLOSED, WINDOW_UPDATE, WITH_PRIORITY, block, frame,
};

const WHOLE: u8 = END_HEADERS | END_STREAM;

fn data(stream: u32) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, b"x")
}

fn update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn priority(stream: u32, other: u32) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &[&other.to_be_bytes()[..], &[15]].concat())
}

/// A request's head with these bytes before and behind its block.
fn head(flags: u8, before: &[u8], behind: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE | flags, 1, &[before, &block("GET", "/", &[]), behind].concat())
}

fn bodies() -> Vec<Case> {
    let protocol = GoAway(PROTOCOL_ERROR);
    let padded = |payload: &[u8]| frame(DATA, PADDED | END_STREAM, 1, payload);
    let request = |data: Vec<u8>| [post(1, "/"), data].concat();
    vec![
        case("6.1", "DATA of no stream", Fresh, data(0), protocol),
        case("5.1", "DATA of an idle stream", Fresh, data(1), protocol),
        case("5.1", "DATA of an idle stream behind an open one", Open, data(3), protocol),
        case("6.1", "DATA of a server's stream", Fresh, data(2), protocol),
        case("5.1", "DATA behind a request's end", HalfClosed, data(1), Reset(STREAM_CLOSED))
            .stricter()
            .named(PROTOCOL_ERROR),
        case("5.1", "DATA of a closed stream", Closed, data(1), Reset(STREAM_CLOSED)),
        case("5.1", "DATA of a reset stream", Stage::Reset, data(1), Reset(STREAM_CLOSED)),
        case("6.1", "padding longer than the frame", Open, padded(&[5, b'x']), protocol),
        case("6.1", "padding as long as the frame", Open, padded(&[2, b'x']), protocol),
        case("6.1", "padding", Fresh, request(padded(b"\x03x\0\0\0")), Answer(200)),
        case("6.1", "nothing but padding", Fresh, request(padded(b"\x03\0\0\0")), Answer(200)),
        case("6.1", "no data", Fresh, request(frame(DATA, END_STREAM, 1, b"")), Answer(200)),
    ]
}

#[tokio::test]
async fn data_is_taken_where_a_body_is_due() {
    check(bodies()).await;
}

fn heads() -> Vec<Case> {
    let protocol = GoAway(PROTOCOL_ERROR);
    let smaller = [get(5, "/?hang"), get(3, "/")].concat();
    let skipped = [get(1, "/?size=0"), reset(1, 8), get(7, "/?hang"), get(5, "/")].concat();
    let on_itself = head(WITH_PRIORITY, &[0, 0, 0, 1, 15], b"");
    let ordered = head(WITH_PRIORITY, &[0x80, 0, 0, 3, 15], b"");
    let short = frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[0; 4]);
    let padded = |before: &[u8], behind: &[u8]| head(PADDED, before, behind);
    let no_padding = frame(HEADERS, WHOLE | PADDED, 1, b"");
    vec![
        case("6.2", "HEADERS of no stream", Fresh, get(0, "/"), protocol),
        case("5.1.1", "a request on an even stream", Fresh, get(2, "/"), protocol),
        case("5.1.1", "a request on a smaller stream", Fresh, smaller, protocol),
        case("5.1.1", "a request on a stream that was skipped", Fresh, skipped, protocol),
        case(
            "5.1",
            "HEADERS behind a request's end",
            HalfClosed,
            get(1, "/"),
            Reset(STREAM_CLOSED),
        )
        .stricter()
        .named(PROTOCOL_ERROR),
        case("5.1", "HEADERS of a closed stream", Closed, get(1, "/"), GoAway(STREAM_CLOSED))
            .named(PROTOCOL_ERROR),
        case("5.1", "HEADERS of a reset stream", Stage::Reset, get(1, "/"), Reset(STREAM_CLOSED))
            .stricter()
            .named(PROTOCOL_ERROR),
        case("6.2", "padding longer than the frame", Fresh, padded(&[200], b""), protocol),
        case("6.2", "padding", Fresh, padded(&[3], b"\0\0\0"), Answer(200)),
        case("6.2", "padded HEADERS of no bytes", Fresh, no_padding, GoAway(FRAME_SIZE_ERROR))
            .named(PROTOCOL_ERROR),
        case("6.2", "HEADERS with half a priority", Fresh, short, GoAway(FRAME_SIZE_ERROR))
            .named(PROTOCOL_ERROR),
        case("6.2", "HEADERS with a priority", Fresh, ordered, Answer(200)),
        // RFC 7540 §5.3.1; RFC 9113 §5.3.2 has it ignored.
        case("5.3.2", "HEADERS that depend on themselves", Fresh, on_itself, Reset(PROTOCOL_ERROR)),
    ]
}

#[tokio::test]
async fn a_request_begins_a_new_stream_of_the_clients() {
    check(heads()).await;
}

fn of_any_state() -> Vec<Case> {
    let protocol = GoAway(PROTOCOL_ERROR);
    let most = (1 << 31) - 1;
    vec![
        case("6.3", "PRIORITY of no stream", Fresh, priority(0, 1), protocol),
        case("6.3", "PRIORITY of an idle stream", Fresh, priority(1, 3), Ignored),
        case("6.3", "PRIORITY of an open stream", Open, priority(1, 3), Ignored),
        case("6.3", "PRIORITY behind a request's end", HalfClosed, priority(1, 3), Ignored),
        case("6.3", "PRIORITY of a closed stream", Closed, priority(1, 3), Ignored),
        case("5.3.2", "PRIORITY on itself", Open, priority(1, 1), Reset(PROTOCOL_ERROR)),
        case("6.4", "RST_STREAM of no stream", Fresh, reset(0, 8), protocol),
        case("6.4", "RST_STREAM of an idle stream", Fresh, reset(1, 8), protocol),
        case("6.4", "RST_STREAM of an open stream", Open, reset(1, 8), Ignored),
        case("6.4", "RST_STREAM behind a request's end", HalfClosed, reset(1, 8), Ignored),
        case("5.1", "RST_STREAM of a closed stream", Closed, reset(1, 8), Ignored),
        case("7", "a code that nobody knows", HalfClosed, reset(1, 0xbad), Ignored),
        case("6.9", "WINDOW_UPDATE of an idle stream", Fresh, update(1, 1), protocol),
        case("6.9", "WINDOW_UPDATE behind a request's end", HalfClosed, update(1, 1), Ignored),
        case("5.1", "WINDOW_UPDATE of a closed stream", Closed, update(1, 1), Ignored),
        case("5.1", "WINDOW_UPDATE of a reset stream", Stage::Reset, update(1, 1), Ignored),
        case("6.9", "an update of nothing", Fresh, update(0, 0), protocol),
        case("6.9", "a stream's update of nothing", Open, update(1, 0), Reset(PROTOCOL_ERROR))
            .stricter(),
        case("6.9", "an update's reserved bit", Open, update(1, (1 << 31) | 1), Ignored),
        case("6.9.1", "a window above 2^31-1", Fresh, update(0, most), GoAway(FLOW_CONTROL_ERROR)),
        case("6.9.1", "the largest window", Fresh, update(0, most - 65_535), Ignored),
        case("6.9.1", "a stream's largest window", Open, update(1, most - 65_535), Ignored),
        case(
            "6.9.1",
            "a window above 2^31-1 by two updates",
            Fresh,
            [update(0, most - 65_535), update(0, 1)].concat(),
            GoAway(FLOW_CONTROL_ERROR),
        ),
        case(
            "6.9.1",
            "a stream's window above 2^31-1",
            Open,
            update(1, most),
            Reset(FLOW_CONTROL_ERROR),
        ),
        case(
            "6.9.1",
            "a stream's window above 2^31-1 by two updates",
            Open,
            [update(1, most - 65_535), update(1, 1)].concat(),
            Reset(FLOW_CONTROL_ERROR),
        ),
    ]
}

#[tokio::test]
async fn priorities_resets_and_updates_fit_the_state_of_their_stream() {
    check(of_any_state()).await;
}
