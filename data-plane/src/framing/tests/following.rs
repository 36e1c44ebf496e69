//! What the validator tells of where it is.

use super::super::{Framing, Limits, Position, violation};

#[test]
fn the_position_is_followed_through_a_request() {
    let mut framing = Framing::new(Limits::default());
    assert_eq!(framing.position(), Position::BetweenRequests);
    for (bytes, position, requests) in [
        (&b"\r\n"[..], Position::BetweenRequests, 0),
        (b"P", Position::InHead, 0),
        (b"OST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r", Position::InHead, 0),
        (b"\n", Position::InBody, 1),
        (b"5\r\nab", Position::InBody, 1),
        (b"cde\r\n0\r\n", Position::InBody, 1),
        (b"x-checksum: 1\r\n", Position::InBody, 1),
        (b"\r\n", Position::BetweenRequests, 1),
        (b"PUT / HTTP/1.1\r\nhost: a\r\n", Position::InHead, 1),
        (b"content-length: 4\r\n\r\nab", Position::InBody, 2),
        (b"cdGET /", Position::InHead, 2),
        (b" HTTP/1.1\r\nhost: a\r\n\r\n", Position::BetweenRequests, 3),
    ] {
        framing.push(bytes).unwrap();
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!((framing.position(), framing.requests()), (position, requests), "{shown}");
    }
}

#[test]
fn after_a_violation_nothing_passes() {
    let mut framing = Framing::new(Limits::default());
    let refused = framing.push(b"GET / HTTP/1.1\nhost: a\n\n");
    assert_eq!(refused, Err(violation::BARE_LF));
    assert_eq!(framing.push(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"), refused);
    assert_eq!(framing.push(b""), refused);
}

#[test]
fn after_a_release_everything_passes() {
    let mut framing = Framing::new(Limits::default());
    framing.push(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n\r\n").unwrap();
    framing.release();
    framing.push(b"\x81\x05hello\n\0").unwrap();
    assert_eq!(framing.position(), Position::Upgraded);
    assert_eq!(framing.requests(), 1);
}

#[test]
fn memory_for_a_cut_token_is_bounded() {
    let mut framing =
        Framing::new(Limits { target_bytes: 1 << 20, head_bytes: 1 << 21, ..Limits::default() });
    framing.push(b"GET http://a/").unwrap();
    for _ in 0..1000 {
        framing.push(&[b'x'; 1000]).unwrap();
    }
    assert!(framing.carry.capacity() <= 1024, "{}", framing.carry.capacity());
}
