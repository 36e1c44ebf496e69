//! Bytes of a connection: one verdict however they were read, and no head that httparse refuses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_data_plane::framing::{Framing, Limits, Position};

fuzz_target!(|bytes: &[u8]| {
    // The first byte says how long the pieces of the second reading are, the second how narrow
    // the limits.
    let [piece, narrow, stream @ ..] = bytes else { return };
    let limits = match usize::from(*narrow) {
        0..128 => Limits::default(),
        narrow => Limits { head_bytes: narrow, header_count: narrow % 8, target_bytes: narrow / 4 },
    };
    let mut whole = Framing::new(limits);
    let verdict = whole.push(stream);

    let mut cut = Framing::new(limits);
    let mut seen = 0;
    for piece in stream.chunks(usize::from(*piece).max(1)) {
        if cut.push(piece).is_err() {
            break;
        }
        seen += piece.len();
    }
    assert_eq!(cut.violation(), verdict.err());
    assert_eq!(cut.position(), whole.position());
    assert_eq!(cut.requests(), whole.requests());
    assert_eq!(seen == stream.len(), verdict.is_ok());

    if let Some(head) = first_head(limits, stream) {
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut headers);
        assert_eq!(request.parse(head), Ok(httparse::Status::Complete(head.len())));
    }
});

/// The first head with the empty lines before it, if the validator is content with it.
fn first_head(limits: Limits, stream: &[u8]) -> Option<&[u8]> {
    let mut framing = Framing::new(limits);
    for (at, byte) in stream.iter().enumerate() {
        framing.push(std::slice::from_ref(byte)).ok()?;
        if framing.requests() == 1 {
            assert!(framing.position() != Position::InHead);
            return stream.get(..=at);
        }
    }
    None
}
