//! Windows: what the node sends fits the client's, and what it is sent its own (RFC 9113 §5.2 and §6.9).

use std::time::Duration;

use tollgate_testkit::upstream::Upstream;

use super::{get, post};
use crate::support::frames::{
    DATA, END_STREAM, FLOW_CONTROL_ERROR, FrameWire, HEADERS, PING, RST_STREAM, Received, SETTINGS,
    WINDOW_UPDATE, frame, settings,
};
use crate::support::{TestNode, eventually, plainly};

/// What a client gives before it says otherwise (RFC 9113 §6.9.2).
const FIRST_WINDOW: usize = 65_535;
const WINDOW: u16 = 4;

struct Flow {
    backend: Upstream,
    node: TestNode,
    wire: FrameWire,
}

impl Flow {
    async fn with(first: &[(u16, u32)]) -> Self {
        let backend = Upstream::start("a").unwrap();
        let node = TestNode::with(&plainly(backend.address()));
        let wire = FrameWire::with(node.address, first).await;
        Self { backend, node, wire }
    }

    /// Asks for an answer, and reads its head.
    async fn ask(&mut self, stream: u32, path: &str) {
        self.wire.send(get(stream, path)).await;
        assert_eq!(self.wire.next_of(HEADERS).await.unwrap().stream, stream);
    }

    async fn update(&mut self, stream: u32, bytes: u32) {
        self.wire.send(frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())).await;
    }

    async fn window(&mut self, bytes: u32) {
        self.wire.send(frame(SETTINGS, 0, 0, &settings(&[(WINDOW, bytes)]))).await;
    }

    async fn data(&mut self) -> Received {
        self.wire.next_of(DATA).await.expect("the answer goes on")
    }

    /// Reads so many bytes of answers; their number for each stream, by half of its id.
    async fn exactly(&mut self, bytes: usize) -> [usize; 4] {
        let mut of_streams = [0; 4];
        while of_streams.iter().sum::<usize>() < bytes {
            let data = self.data().await;
            of_streams[usize::try_from(data.stream / 2).unwrap()] += data.payload.len();
        }
        assert_eq!(of_streams.iter().sum::<usize>(), bytes);
        of_streams
    }

    /// Nothing of an answer comes while windows are empty.
    async fn rests(&mut self) {
        // Behind these, all that was under way has come.
        for _ in 0..2 {
            self.wire.send(frame(PING, 0, 0, &[0; 8])).await;
            loop {
                let next = self.wire.next().await.expect("the connection goes on");
                assert_ne!(next.kind, DATA, "{next:?}");
                if next.kind == PING {
                    break;
                }
            }
        }
        assert!(self.wire.0.is_silent_for(Duration::from_millis(50)).await);
    }
}

#[tokio::test]
async fn a_window_of_one_byte_gives_one_byte() {
    let mut flow = Flow::with(&[(WINDOW, 1)]).await;
    flow.ask(1, "/?size=5").await;
    for _ in 0..4 {
        flow.exactly(1).await;
        flow.rests().await;
        flow.update(1, 1).await;
    }
    let last = flow.data().await;
    assert_eq!(last.payload.len(), 1);
    // Its end needs no window.
    assert!(last.flags & END_STREAM != 0 || flow.data().await.flags & END_STREAM != 0);
}

#[tokio::test]
async fn an_answer_without_a_body_needs_no_window() {
    let mut flow = Flow::with(&[(WINDOW, 0)]).await;
    flow.wire.send(get(1, "/?size=0")).await;
    while flow.wire.next().await.expect("its end").flags & END_STREAM == 0 {}
}

/// RFC 9113 §6.9.2.
#[tokio::test]
async fn settings_change_the_windows_of_streams_that_are_under_way() {
    let mut flow = Flow::with(&[(WINDOW, 0)]).await;
    flow.ask(1, "/?size=1000").await;
    flow.rests().await;
    flow.window(1).await;
    flow.exactly(1).await;
    flow.rests().await;
    flow.window(10).await;
    flow.exactly(9).await;
    flow.rests().await;
    // Ten were sent: the window is eight below nothing.
    flow.window(2).await;
    flow.rests().await;
    flow.update(1, 8).await;
    flow.rests().await;
    flow.update(1, 1).await;
    flow.exactly(1).await;
    flow.rests().await;
    // The connection's is not theirs to change.
    flow.window(1 << 20).await;
    flow.exactly(989).await;
}

#[tokio::test]
async fn a_streams_window_and_the_connections_both_count() {
    let mut flow = Flow::with(&[]).await;
    flow.ask(1, "/?size=200000").await;
    flow.exactly(FIRST_WINDOW).await;
    flow.rests().await;
    // One alone is not enough, whichever.
    flow.update(0, 10).await;
    flow.rests().await;
    flow.update(1, 7).await;
    flow.exactly(7).await;
    flow.rests().await;
    flow.update(1, 5).await;
    flow.exactly(3).await;
    flow.rests().await;
    flow.update(0, 1).await;
    flow.exactly(1).await;
    flow.rests().await;
}

#[tokio::test]
async fn streams_share_the_connections_window() {
    let mut flow = Flow::with(&[(WINDOW, 40_000)]).await;
    flow.wire.send([get(1, "/?size=100000"), get(3, "/?size=100000")].concat()).await;
    let [one, other, ..] = flow.exactly(FIRST_WINDOW).await;
    assert!(one <= 40_000 && other <= 40_000, "{one} and {other}");
    flow.rests().await;
    // What is left of the streams' own.
    flow.update(0, 1 << 20).await;
    let [one, other, ..] = flow.exactly(80_000 - FIRST_WINDOW).await;
    assert_eq!(one + other, 80_000 - FIRST_WINDOW);
    flow.rests().await;
    // A third is not held up by those that wait for theirs.
    flow.ask(5, "/?size=100").await;
    assert_eq!(flow.exactly(100).await, [0, 0, 100, 0]);
}

/// RFC 9113 §4.2 and §6.5.2.
#[tokio::test]
async fn no_frame_is_larger_than_the_client_takes() {
    for (first, most) in [(&[][..], 16_384), (&[(5, 20_000)][..], 20_000)] {
        let mut flow = Flow::with(first).await;
        flow.ask(1, "/?size=60000").await;
        let mut bytes = 0;
        while bytes < 60_000 {
            let data = flow.data().await;
            assert!(data.payload.len() <= most, "{} of {most}", data.payload.len());
            bytes += data.payload.len();
        }
    }
}

/// RFC 7541 §4.2: the first block after a client made the table smaller says so.
#[tokio::test]
async fn the_nodes_table_of_fields_is_no_larger_than_the_client_takes() {
    let mut flow = Flow::with(&[(1, 0)]).await;
    // The client's SETTINGS are acknowledged: the node has them.
    while flow.wire.next_of(SETTINGS).await.unwrap().flags == 0 {}
    flow.wire.send(get(1, "/?size=0")).await;
    let head = flow.wire.next_of(HEADERS).await.unwrap();
    assert_eq!(head.payload[..2], [0x20, 0x88], "{head:?}");
    for stream in [3, 5] {
        flow.wire.send(get(stream, "/?size=0")).await;
        let head = flow.wire.next_of(HEADERS).await.unwrap();
        // Nothing of a table that holds nothing: static entries only, of which 61 is the last.
        let indices = indices(&head.payload);
        assert!(indices.len() > 3 && indices.iter().all(|index| *index <= 61), "{indices:?}");
    }
}

/// The entries of its tables that a block names (RFC 7541 §6).
fn indices(mut block: &[u8]) -> Vec<usize> {
    let mut indices = Vec::new();
    while let Some(first) = block.first() {
        let (prefix_bits, strings) = match first {
            0x80.. => (7, 0),
            0x40.. => (6, 1),
            0x20.. => (5, 0),
            _ => (4, 1),
        };
        let is_update = (0x20..0x40).contains(first);
        let index = integer(&mut block, prefix_bits);
        if !is_update {
            indices.push(index);
        }
        // A name of its own comes before the value.
        let strings = if strings == 1 && index == 0 { 2 } else { strings };
        for _ in 0..strings {
            let length = integer(&mut block, 7);
            block = &block[length..];
        }
    }
    indices
}

/// An integer with a prefix of so many bits (RFC 7541 §5.1).
fn integer(block: &mut &[u8], prefix_bits: u32) -> usize {
    let most = (1_usize << prefix_bits) - 1;
    let mut value = usize::from(block[0]) & most;
    *block = &block[1..];
    if value < most {
        return value;
    }
    let mut shift = 0;
    loop {
        let byte = block[0];
        *block = &block[1..];
        value += usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

/// RFC 9113 §6.9.1.
#[tokio::test]
async fn a_client_that_sends_beyond_the_nodes_window_loses_the_stream() {
    let mut flow = Flow::with(&[]).await;
    // Its upstream reads nothing: what the systems between keep is full one day.
    flow.wire.send(post(1, "/?hang")).await;
    eventually(|| (flow.backend.requests() == 1).then_some(())).await;
    let piece = frame(DATA, 0, 1, &[b'x'; 16_384]);
    let mut sent = 0;
    let reset = loop {
        flow.wire.send(&piece).await;
        sent += 16_384;
        assert!(sent < 64 << 20, "{sent} bytes were taken");
        if let Ok(next) = tokio::time::timeout(Duration::ZERO, flow.wire.next()).await {
            let next = next.expect("the connection goes on");
            if next.kind == RST_STREAM {
                break next;
            }
        }
    };
    assert_eq!((reset.stream, reset.code()), (1, FLOW_CONTROL_ERROR));
    flow.ask(3, "/?size=10").await;
    flow.exactly(10).await;
    assert_eq!(flow.node.get("/").await.status, 200);
}
