//! What HTTP/2 demands of a server, one case for each demand: what a client sends, and what must come of it.
//!
//! A case of a fault names what RFC 9113 asks for. Where the node does otherwise, the case says so as well:
//!
//! - `stricter`: the connection ends where only the stream had to. §5.4.1 lets a server choose that.
//! - `named`: GOAWAY or `RST_STREAM` has another code. h2 has `PROTOCOL_ERROR` for nearly every connection that it ends.
//!   The frame has no effect all the same, and a code is for who reads logs: a client acts alike on each of these.
//! - `answered`: an answer of 400 comes before the stream ends. §8.1.1 lets a server choose that.
//! - `but`: anything else, with the reason beside it.

mod compression;
mod fields;
mod flow;
mod frames;
mod streams;

use std::time::Duration;

use http::Request;
use tollgate_testkit::upstream::Upstream;

use crate::support::frames::{
    CANCEL, DATA, END_HEADERS, END_STREAM, FrameWire, GOAWAY, HEADERS, RST_STREAM, Received, block,
    frame,
};
use crate::support::{Http2, TestNode, full, plainly};

/// Where the stream 1 stands before a case.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Idle.
    Fresh,
    /// The head of a request came, its body is still to come; no answer is under way.
    Open,
    /// The request is whole; no answer is under way.
    HalfClosed,
    /// Request and answer are whole.
    Closed,
    /// The client has reset it.
    Reset,
}

/// What comes of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// GOAWAY with this code, then the connection's end.
    GoAway(u32),
    /// The connection's end without a word.
    End,
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// An answer with this status.
    Answer(u16),
    /// Nothing; the connection goes on.
    Ignored,
    /// Nothing in time where something had to come.
    Silence,
}

use Outcome::{Answer, End, GoAway, Ignored, Reset, Silence};
use Stage::{Closed, Fresh, HalfClosed, Open};

struct Case {
    /// Of RFC 9113, or of RFC 7541 in `compression`.
    section: &'static str,
    name: &'static str,
    stage: Stage,
    bytes: Vec<u8>,
    outcome: Outcome,
    /// Requests of it that reach the upstream, where that matters; of an idle stream only.
    forwarded: Option<u64>,
}

fn case(
    section: &'static str,
    name: &'static str,
    stage: Stage,
    bytes: Vec<u8>,
    outcome: Outcome,
) -> Case {
    Case { section, name, stage, bytes, outcome, forwarded: None }
}

impl Case {
    fn stricter(mut self) -> Self {
        let Reset(code) = self.outcome else { panic!("{}: no stream's error", self.name) };
        self.outcome = GoAway(code);
        self
    }

    fn named(mut self, code: u32) -> Self {
        let before = self.outcome;
        self.outcome = match self.outcome {
            GoAway(_) => GoAway(code),
            Reset(_) => Reset(code),
            End | Answer(_) | Ignored | Silence => panic!("{before:?} has no code"),
        };
        assert_ne!(before, self.outcome, "{}: it has this code already", self.name);
        self
    }

    fn answered(self) -> Self {
        assert!(matches!(self.outcome, Reset(_)), "{}: no stream's error", self.name);
        self.but(Answer(400))
    }

    fn but(mut self, outcome: Outcome) -> Self {
        assert_ne!(outcome, self.outcome, "{}: it is so already", self.name);
        self.outcome = outcome;
        self
    }

    fn forwarding(mut self, requests: u64) -> Self {
        self.forwarded = Some(requests);
        self
    }
}

/// A stream behind those of every case.
const LAST: u32 = 0x1001;
/// Longer than anything takes to come.
const IN_TIME: Duration = Duration::from_secs(10);
/// A request that is whole.
fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block("GET", path, &[]))
}

/// A request whose body is still to come.
fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block("POST", path, &[]))
}

/// Runs cases, each on a connection of its own; tells all that came out otherwise.
async fn check(cases: Vec<Case>) {
    Box::pin(check_all(cases)).await;
}

async fn check_all(cases: Vec<Case>) {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    let mut other = Http2::to(node.address).await;
    let mut faults = Vec::new();
    for case in &cases {
        let before = backend.requests();
        let seen = outcome(&node, case).await;
        if seen != case.outcome {
            let (section, name, wanted) = (case.section, case.name, case.outcome);
            faults.push(format!("§{section} {name}: {wanted:?} was due, {seen:?} came"));
        }
        let probes = u64::from(matches!(seen, Reset(_) | Answer(_) | Ignored));
        let forwarded = backend.requests() - before - probes;
        if case.forwarded.is_some_and(|wanted| wanted != forwarded) {
            faults.push(format!("§{} {}: {forwarded} went upstream", case.section, case.name));
        }
        // The others on the node notice nothing.
        assert_eq!(other.call(Request::get("http://api.test/"), full("")).await.status, 200);
    }
    assert!(faults.is_empty(), "{} of {}: {faults:#?}", faults.len(), cases.len());
}

async fn outcome(node: &TestNode, case: &Case) -> Outcome {
    let mut wire = FrameWire::to(node.address).await;
    enter(&mut wire, case.stage).await;
    wire.send(&case.bytes).await;
    let seen = match case.outcome {
        // Then the probe's answer is what comes next.
        Ignored => Ignored,
        GoAway(_) | End | Reset(_) | Answer(_) | Silence => event(&mut wire).await.1,
    };
    match seen {
        GoAway(_) => {
            assert!(wire.next().await.is_none(), "{}: something behind GOAWAY", case.name);
            return seen;
        }
        End | Silence => return seen,
        Reset(_) | Answer(_) | Ignored => {}
    }
    // The connection goes on.
    wire.send(get(LAST, "/")).await;
    loop {
        match event(&mut wire).await {
            (LAST, Answer(200)) => return seen,
            // Of a stream that ended before its request did (RFC 9113 §8.1).
            (stream, Reset(_)) if stream != LAST && seen != Ignored => {}
            (_, otherwise) => return otherwise,
        }
    }
}

/// Brings the stream 1 there.
async fn enter(wire: &mut FrameWire, stage: Stage) {
    match stage {
        Fresh => {}
        Open => wire.send(post(1, "/?hang")).await,
        HalfClosed => wire.send(get(1, "/?hang")).await,
        Closed => {
            wire.send(get(1, "/?size=0")).await;
            while !wire.next().await.is_some_and(|frame| ends(&frame)) {}
        }
        Stage::Reset => {
            let reset = frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
            wire.send([post(1, "/?hang"), reset].concat()).await;
        }
    }
}

/// Whether a stream's answer is whole with this frame.
fn ends(frame: &Received) -> bool {
    matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0
}

/// The next frame that tells what came of something, and its stream.
async fn event(wire: &mut FrameWire) -> (u32, Outcome) {
    let next = async {
        loop {
            let Some(frame) = wire.next().await else { return (0, End) };
            let outcome = match frame.kind {
                GOAWAY => GoAway(frame.code()),
                RST_STREAM => Reset(frame.code()),
                HEADERS => Answer(status(&frame.payload)),
                _ => continue,
            };
            return (frame.stream, outcome);
        }
    };
    tokio::time::timeout(IN_TIME, next).await.unwrap_or((0, Silence))
}

/// The status of an answer, where it is 200 or 400: the node's encoder takes those from the static table
/// (RFC 7541 appendix A).
fn status(block: &[u8]) -> u16 {
    // Behind what changes the size of the table.
    match block.iter().find(|byte| **byte & 0xe0 != 0x20) {
        Some(0x88) => 200,
        Some(0x8c) => 400,
        _ => 0,
    }
}
