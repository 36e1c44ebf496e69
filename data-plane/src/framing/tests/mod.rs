//! The validator against tables, against itself over any cutting, and against two other parsers.

mod accepted;
mod refused;
mod limits;
mod following;
mod properties;
mod guarded;
mod strategy;

use super::{Framing, Limits, Position, Violation};

/// Where a stream left the validator.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    outcome: Result<(), Violation>,
    position: Position,
    requests: u64,
}

/// Pushes the pieces one after the other, as reads would.
fn verdict<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Verdict {
    let mut framing = Framing::new(limits);
    let outcome = pieces.into_iter().try_for_each(|piece| framing.push(piece));
    assert_eq!(framing.violation(), outcome.err(), "the violation is remembered");
    Verdict { outcome, position: framing.position(), requests: framing.requests() }
}

/// The verdict on a stream, which must be the same whole, byte by byte and cut in two anywhere.
fn verdict_however_cut(limits: Limits, bytes: &[u8]) -> Verdict {
    let whole = verdict(limits, [bytes]);
    assert_eq!(whole, verdict(limits, bytes.chunks(1)), "byte by byte");
    for at in 1..bytes.len() {
        let (start, end) = bytes.split_at(at);
        assert_eq!(whole, verdict(limits, [start, end]), "cut at {at}");
    }
    whole
}
